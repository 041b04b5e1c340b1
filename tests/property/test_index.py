"""FingerprintIndex against brute force through the scheme's own similarity, while it changes."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from qis.about import Fingerprint
from qis.fingerprint import (
    FingerprintIndex,
    Ontology,
    SetScheme,
    TermScheme,
    VectorScheme,
    _term_index,
)

# Of 100 terms most have information; any bits are a sketch of some of them.
PARENTS = {f"T:{n}": [f"T:{(n - 1) // 3}"] for n in range(1, 100)}
TERMS = TermScheme(Ontology("toy", PARENTS, {f"T:{n}": n // 3 / 7 for n in range(100)}))
SCHEMES = [VectorScheme(dimensions=4), SetScheme(), TERMS]
# Sketches near each other, near the complement of each other, and anything else.
near = st.integers(0, 255).map(lambda bit: (1 << bit).to_bytes(32, "big"))
far = near.map(lambda sketch: bytes(255 - byte for byte in sketch))
few = st.lists(st.integers(0, 99), min_size=1, max_size=17).map(
    lambda numbers: TERMS.fingerprint([f"T:{n}" for n in numbers]).sketch
)
sketches = (
    st.sampled_from([bytes(32), b"\xff" * 32])
    | few
    | near
    | far
    | st.binary(min_size=32, max_size=32)
)


class IndexAgainstBruteForce(RuleBasedStateMachine):
    @initialize(scheme=st.sampled_from(SCHEMES), unsorted=st.sampled_from([0, 3, 1_024]))
    def start(self, scheme, unsorted):
        # Rows that wait for the lists of the term index are compared otherwise: few, and many.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(_term_index, "_UNSORTED", unsorted)
        self.scheme = scheme
        self.index = FingerprintIndex(scheme)
        self.model = {}

    def ranked(self, query):
        pairs = [(self.scheme.similarity(query, other), at) for at, other in self.model.items()]
        return [(at, similarity) for similarity, at in sorted(pairs, key=lambda p: (-p[0], p[1]))]

    @rule(batch=st.lists(sketches, max_size=12))
    def add(self, batch):
        added = [Fingerprint(sketch, self.scheme.id) for sketch in batch]
        positions = self.index.add(iter(added))
        assert len(positions) == len(added)
        assert not set(positions) & set(self.model)
        self.model |= dict(zip(positions, added, strict=True))

    @rule(data=st.data())
    def remove(self, data):
        gone = data.draw(st.lists(st.sampled_from(sorted(self.model)))) if self.model else []
        self.index.remove(gone)
        for at in set(gone):
            del self.model[at]
        assert not any(at in self.index for at in gone)

    @rule(sketch=sketches, k=st.integers(1, 40))
    def search(self, sketch, k):
        query = Fingerprint(sketch, self.scheme.id)
        assert self.index.search(query, k) == self.ranked(query)[:k]

    @rule(sketch=sketches, data=st.data())
    def within(self, sketch, data):
        query = Fingerprint(sketch, self.scheme.id)
        ranked = self.ranked(query)
        present = st.sampled_from([similarity for _, similarity in ranked] or [0.5])
        least = data.draw(present | st.floats(0, 1))
        expected = [pair for pair in ranked if pair[1] >= least]
        assert self.index.within(query, least) == expected

    @rule()
    def save_and_load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self.index.save(path)
            self.index = FingerprintIndex.load(path, self.scheme)
            assert [file.name for file in Path(folder).iterdir()] == ["index"]

    def teardown(self):
        self.patch.undo()

    @invariant()
    def length(self):
        assert len(self.index) == len(self.model)


TestIndexAgainstBruteForce = IndexAgainstBruteForce.TestCase
TestIndexAgainstBruteForce.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None
)

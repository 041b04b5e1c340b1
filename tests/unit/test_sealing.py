"""A sketch made with a secret leaves sealed: what packets carry of it is noise to others."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.errors import InputError, SchemeMismatchError
from qis.fingerprint import Ontology, SetScheme, TermScheme, VectorScheme

SECRET = bytes(range(32))
KEY = qis.Identity.from_seed(bytes(32))
NOW = 1_800_000_000
ONTOLOGY = Ontology("toy/1", {f"T:{n}": [f"T:{(n - 1) // 4}"] for n in range(1, 200)}, None)
FEATURES = {
    "terms": (TermScheme, (ONTOLOGY,), ["T:100", "T:150", "T:7"], ["T:100", "T:151"]),
    "vectors": (VectorScheme, (4,), [0.2, -1.0, 0.7, 0.1], [0.2, -1.1, 0.6, 0.1]),
    "sets": (SetScheme, (), [f"drug {n}" for n in range(20)], [f"drug {n}" for n in range(18)]),
}
KINDS = pytest.mark.parametrize("kind", FEATURES)


def of_kind(kind, secret=SECRET):
    make, arguments, mine, theirs = FEATURES[kind]
    return make(*arguments, secret=secret), mine, theirs


def signed(scheme, features, number=0, key=KEY):
    return qis.Packet.sign(
        key,
        outcome=qis.Counts(question="q", events=30, total=200),
        fingerprint=scheme.fingerprint(features),
        issued_at=NOW,
        lifetime_s=86_400,
        sequence=NOW * 1_000_000 + number,
        routing_keys=scheme.routing_keys(features, at=NOW),
        seal=scheme.seal,
    )


@KINDS
def test_what_is_opened_is_what_was_sealed(kind):
    scheme, mine, theirs = of_kind(kind)
    packet = signed(scheme, mine)
    read = qis.Packet.parse(bytes(packet))
    for each in (packet, read, pickle.loads(pickle.dumps(read))):  # noqa: S301  our own
        assert each.fingerprint == packet.fingerprint
        assert each.fingerprint.sketch != scheme.fingerprint(mine).sketch
        assert scheme.open(each) == scheme.open(each.fingerprint) == scheme.fingerprint(mine)
    opened = scheme.open(read)
    assert scheme.open(opened) is opened
    assert scheme.relevance(theirs, opened) == scheme.relevance(theirs, scheme.fingerprint(mine))
    filtered = scheme.relevance(theirs, opened)
    if (
        kind == "vectors"
    ):  # an interest's filter is what other nodes can check where nothing is secret
        filtered = scheme.similarity(scheme.fingerprint(theirs), opened)
    assert scheme.interest(theirs).relevance(read.fingerprint) == filtered


@KINDS
def test_similarity_of_sealed_sketches_is_an_error_not_noise(kind):
    scheme, mine, _ = of_kind(kind)
    sealed = signed(scheme, mine).fingerprint
    own = scheme.fingerprint(mine)
    asked = [
        lambda: scheme.similarity(own, sealed),
        lambda: scheme.similarity(sealed, own),
        lambda: scheme.relevance(mine, sealed),
        lambda: scheme.explain(mine, sealed),
        lambda: scheme.seal(sealed, bytes(32), 7),
        lambda: qis.FingerprintIndex(scheme).add([own, sealed]),
        lambda: qis.FingerprintIndex(scheme).search(sealed),
    ]
    if kind == "terms":
        asked.append(lambda: scheme.terms_of(sealed))
    for ask in asked:
        with pytest.raises(InputError, match=r"scheme\.open\(packet\)"):
            ask()


@KINDS
def test_an_open_sketch_does_not_leave(kind):
    scheme, mine, _ = of_kind(kind)
    for fingerprint in (scheme.fingerprint(mine), *scheme.fingerprints([mine, mine])):
        assert fingerprint.is_open
        with pytest.raises(InputError, match=r"seal=scheme\.seal"):
            qis.Packet.sign(
                KEY,
                outcome=qis.Counts(question="q", events=30, total=200),
                fingerprint=fingerprint,
                issued_at=NOW,
                lifetime_s=86_400,
            )
        # Nor to other nodes as part of an interest, nor compared by those who cannot open.
        with pytest.raises(InputError, match="sealed in packets"):
            qis.Interest(fingerprint, scheme.base_keys(mine), 0.5)
    with pytest.raises(InputError, match="sealed in packets"):
        scheme.interest(mine, share_sketch=True)
    assert scheme.interest(mine).near is None


@KINDS
def test_without_a_secret_nothing_is_sealed(kind):
    scheme, mine, theirs = of_kind(kind, None)
    packet = signed(scheme, mine)
    assert packet.fingerprint == scheme.open(packet) == scheme.fingerprint(mine)
    assert 0.0 < scheme.relevance(theirs, packet.fingerprint) <= 1.0


@KINDS
def test_only_the_scheme_itself_opens(kind):
    scheme, mine, _ = of_kind(kind)
    for secret in (bytes(32), None):
        other, _, _ = of_kind(kind, secret)
        with pytest.raises(SchemeMismatchError):
            other.open(signed(scheme, mine))
        with pytest.raises(SchemeMismatchError):
            other.seal(scheme.fingerprint(mine), bytes(32), 1)
    with pytest.raises(InputError):
        scheme.open("packet")


@given(st.binary(min_size=32, max_size=32), st.integers(2**32, 2**64 - 1))
@settings(max_examples=50)
def test_any_sketch_and_sequence_come_back(sketch, sequence):
    scheme, _, _ = of_kind("terms")
    fingerprint = qis.Fingerprint(sketch, scheme.id)
    sealed = scheme.seal(fingerprint, KEY.issuer.key, sequence)
    assert sealed.carried_by == (KEY.issuer.key, sequence)
    assert scheme.open(sealed) == fingerprint


def test_who_knows_fifty_patients_reads_nothing_of_others():
    """The former secret was a substitution: each term had one code, which known patients tell."""
    scheme, _, _ = of_kind("terms")
    patients = [[f"T:{n}", f"T:{n + 1}"] for n in range(100, 150)]
    known = [(ONTOLOGY.most_specific(p), signed(scheme, p, n)) for n, p in enumerate(patients)]
    width = 20

    def codes(sketch):
        bits = int.from_bytes(sketch, "big") >> 16
        return {bits >> (width * at) & (1 << width) - 1 for at in range(12)}

    def read(of, sketches):
        """Terms that all known patients have who share a code with a sketch."""
        found = set()
        for code in codes(of):
            having = [
                terms
                for (terms, _), sketch in zip(known, sketches, strict=True)
                if code in codes(sketch)
            ]
            found |= frozenset.intersection(*having) if having and code else set()
        return found

    stolen = signed(scheme, ["T:120", "T:101"], 99)
    # Without sealing the attack works; it is seen here on the opened sketches.
    opened = [scheme.open(packet).sketch for _, packet in known]
    assert read(scheme.open(stolen).sketch, opened) >= {"T:120", "T:101"}
    sealed = [packet.fingerprint.sketch for _, packet in known]
    assert read(stolen.fingerprint.sketch, sealed) == set()


def test_sealed_sketches_of_one_patient_look_like_noise():
    scheme, mine, _ = of_kind("terms")
    other = qis.Identity.from_seed(bytes([1]) * 32)
    sketches = [
        np.unpackbits(np.frombuffer(signed(scheme, mine, n, key).fingerprint.sketch, np.uint8))
        for key in (KEY, other)
        for n in range(100)
    ]
    ones = np.mean(sketches, axis=0)
    assert abs(float(ones.mean()) - 0.5) < 0.02
    assert 0.3 < ones.min() < ones.max() < 0.7
    agreements = [float(np.mean(a == b)) for a, b in pairwise(sketches)]
    assert abs(float(np.mean(agreements)) - 0.5) < 0.02

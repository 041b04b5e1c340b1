"""The zoo of wrong inputs, cut to the callables that an application begins with."""

import pytest

from benchmarks.wrong_inputs import fits, run

CLEAN = (
    "Issuer", "Site", "Roster", "Fingerprint", "Effect", "Counts", "Moments.from_values",
    "Packet.sign", "Packet.parse", "synthesise", "MemoryStore.evidence", "MemoryStore.add",
    "inverse_variance", "VectorScheme.similarity", "Roster.site_of", "Identity.sign",
)  # fmt: skip


def test_wrong_inputs_are_refused_in_our_words_or_taken_for_what_they_are():
    counts, failures = run(lambda name: name in CLEAN)
    assert counts["callables"] == len(CLEAN)
    assert counts["refused"] > 1_000
    assert not failures


@pytest.mark.parametrize(
    ("value", "kind", "taken"),
    [(3, int, True), (True, int, False), ("3", float, False), (b"x", str, False), (2, float, True)],
)
def test_the_judge_tells_nonsense(value, kind, taken):
    assert fits(value, kind) is taken

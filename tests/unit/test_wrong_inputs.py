"""The zoo of wrong inputs, cut to what an application begins with; all of it is a benchmark."""

from collections.abc import Iterable

import numpy as np
import pytest

from benchmarks._wrong_zoo import fits, foreign, plain
from benchmarks.wrong_inputs import run

BEGUN_WITH = (
    "Issuer", "Site", "Roster", "Fingerprint", "Effect", "Effect.from_ratio", "Counts",
    "Moments.from_values", "Packet.sign", "Packet.parse", "synthesise", "MemoryStore.evidence",
    "MemoryStore.add", "inverse_variance", "VectorScheme.similarity", "Roster.site_of",
    "Identity.sign", "FingerprintIndex.add", "FingerprintIndex.search", "Disclosure",
    "Disclosure.check", "LikelihoodProfile.from_function", "SynthesisLoop.publish",
)  # fmt: skip


def cut():
    """Every second value, and those of other libraries that broke most."""
    yield from list(plain())[::2]
    yield from list(foreign())[::3]


def test_wrong_inputs_are_refused_in_our_words_or_taken_for_what_they_are():
    counts, failures = run(lambda name: name in BEGUN_WITH, cut)
    assert counts["callables"] == len(BEGUN_WITH)
    assert counts["refused"] > 2_000
    assert not [failure for failure in failures if not failure.startswith("unnamed")]


@pytest.mark.parametrize(
    ("value", "kind", "taken"),
    [
        (3, int, True), (True, int, False), ("3", float, False), (b"x", str, False),
        (2, float, True), (np.int64(3), int, True), (np.array(0.5), float, True),
        (np.array(0.5), int, False), (["a"], Iterable[str], True), ([1], Iterable[str], False),
        ("ab", Iterable[str], False), (None, str | None, True), (np.zeros(2), bytes, False),
    ],
)  # fmt: skip
def test_the_judge_tells_nonsense(value, kind, taken):
    assert fits(value, kind) is taken

"""Epochs of routing keys: whatever lives is registered for, whatever the clocks of both say."""

from hypothesis import assume, given, settings, strategies as st

import qis
from qis.about import EPOCH_S, epoch_at, epochs_read_at, epochs_signed_at, last_expiry
from qis.packet import CLOCK_TOLERANCE_S

EDGE = 200 * EPOCH_S
OFF = st.integers(-CLOCK_TOLERANCE_S, CLOCK_TOLERANCE_S)
SCHEME = qis.SetScheme(secret=bytes(range(32)))
NEAR_EDGES = st.one_of(
    st.integers(EDGE - EPOCH_S, EDGE + EPOCH_S),
    st.builds(
        lambda edge, near: (200 + edge) * EPOCH_S + near,
        st.integers(-1, 1),
        st.integers(-9999, 9999),
    ),
)


@given(NEAR_EDGES, OFF, OFF, st.integers(0, 2 * EPOCH_S))
def test_a_reader_has_registered_for_whatever_lives(
    true_time: int, publisher_off: int, reader_off: int, after: int
) -> None:
    epoch = epoch_at(true_time + publisher_off)
    read_at = true_time + after + reader_off
    assume(read_at < last_expiry(epoch))  # of a longer life nothing is left
    assert epoch in epochs_read_at(read_at)


@given(NEAR_EDGES, OFF, st.integers(0, 2 * EPOCH_S))
def test_the_epoch_of_a_version_is_among_those_that_are_tried(
    first_at: int, off: int, after: int
) -> None:
    epoch = epoch_at(first_at + off)
    corrected_at = first_at + after
    assume(corrected_at < last_expiry(epoch))
    assert epoch in epochs_signed_at(corrected_at)


@given(NEAR_EDGES)
def test_whoever_publishes_has_an_epoch_at_least(issued_at: int) -> None:
    assert last_expiry(epoch_at(issued_at)) - issued_at > EPOCH_S - 7_201


@settings(max_examples=20)
@given(st.sets(st.text(min_size=1), min_size=1, max_size=5), st.integers(0, 1_000))
def test_keys_of_two_epochs_have_nothing_in_common(words: set[str], epoch: int) -> None:
    base = SCHEME.base_keys(words)
    keys = [set(SCHEME.keys_of_epoch(base, each)) for each in (epoch, epoch + 1)]
    assert not keys[0] & keys[1]
    assert not set(base) & (keys[0] | keys[1])
    assert len(keys[0]) == len(keys[1]) == len(base)
    assert keys[0] == set(SCHEME.keys_of_epoch(reversed(base), epoch))

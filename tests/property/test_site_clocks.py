"""No minority decides about a clock, and a majority that agrees does."""

from hypothesis import given, strategies as st

from qis.transport.site_clocks import ClockState, Reading, opinion_of

T = 300.0
OFFSETS = st.floats(-1e10, 1e10, allow_nan=False)
LIES = st.lists(st.builds(Reading, OFFSETS, st.booleans()), max_size=12)
HONEST = st.one_of(
    st.builds(Reading, st.floats(-T, T)),
    st.builds(Reading, st.floats(-1e9, T), st.just(value=True)),
)


@given(lies=LIES, honest=st.lists(HONEST, max_size=12), order=st.randoms())
def test_as_many_honest_sites_as_liars_keep_a_right_clock(lies, honest, order):
    if len(honest) < len(lies):
        return
    readings = [*lies, *honest]
    order.shuffle(readings)
    assert opinion_of(readings).state is not ClockState.DOUBTED


@given(
    wrong_s=st.floats(601.0, 4e7),
    sign=st.sampled_from([-1.0, 1.0]),
    jitter=st.lists(st.floats(-150.0, 150.0), min_size=2, max_size=12),
    lies=LIES,
)
def test_a_wrong_clock_is_doubted_by_a_majority_in_sessions(wrong_s, sign, jitter, lies):
    lies = lies[: len(jitter) - 1]
    readings = [*(Reading(sign * wrong_s + each) for each in jitter), *lies]
    opinion = opinion_of(readings)
    assert opinion.state is ClockState.DOUBTED
    assert opinion.others >= len(jitter)


@given(lies=LIES, vouching=st.integers(0, 5))
def test_no_minority_vouches_for_a_clock(lies, vouching):
    readings = [*lies, *[Reading(0.0)] * vouching]
    honest = [Reading(86_400.0)] * len(readings)
    assert opinion_of([*readings, *honest]).state is not ClockState.AGREED


def test_one_site_alone_is_an_opinion():
    assert opinion_of([Reading(1e6)]).state is ClockState.DISPUTED
    assert opinion_of([Reading(0.0)]).state is ClockState.UNKNOWN
    assert opinion_of([]).state is ClockState.UNKNOWN
    assert opinion_of([Reading(1.0), Reading(-2.0)]).state is ClockState.AGREED
    assert opinion_of([Reading(1e6), Reading(2e6)]).state is ClockState.DISPUTED


def test_sites_that_have_long_been_silent_say_nothing_and_count_as_heard():
    quiet = [Reading(-9e5, is_bound=True)] * 4
    assert opinion_of([*quiet, Reading(1e5, is_bound=True)]).state is ClockState.DISPUTED
    assert opinion_of(quiet).state is ClockState.UNKNOWN
    ahead = [Reading(1e5, is_bound=True), Reading(4e5, is_bound=True)]
    assert opinion_of(ahead).state is ClockState.DOUBTED  # at least so much, so they agree
    assert opinion_of([*quiet, *ahead]).state is ClockState.DISPUTED

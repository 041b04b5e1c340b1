"""Adding and removing one at a time gives the bits of the whole."""

import math

import pytest
from hypothesis import given, strategies as st

import qis
from qis.errors import InputError
from qis.synthesis import pool_profiles
from qis.synthesis.running import ExactSum, RunningFixedEffect

NUMBERS = st.floats(-1e100, 1e100)
EFFECTS = st.builds(
    qis.Effect,
    question=st.just("q"),
    measure=st.just("OR"),
    estimate=st.floats(-50, 50),
    standard_error=st.floats(1e-8, 1e4),
)


@given(st.lists(NUMBERS), st.lists(NUMBERS))
def test_the_sum_is_that_of_what_is_left(kept, gone):
    total = ExactSum()
    for number in [*gone, *kept]:
        total.add(number)
    for number in reversed(gone):
        total.add(-number)
    assert total.value == math.fsum(kept)


@given(st.lists(EFFECTS, min_size=2, max_size=12), st.lists(EFFECTS, max_size=5), st.randoms())
def test_running_equals_pooling_at_once(kept, gone, random):
    steps = [(True, effect) for effect in kept + gone]
    random.shuffle(steps)
    running = RunningFixedEffect()
    for _, effect in steps:
        running.add(effect)
    for effect in gone:
        running.remove(effect)
    pooled = pool_profiles(kept, model="fixed")
    assert running.count == len(kept)
    assert (running.estimate, running.standard_error) == (pooled.estimate, pooled.standard_error)
    assert running.interval() == pooled.interval


def test_nothing_is_known_of_nothing():
    running = RunningFixedEffect()
    assert (running.estimate, running.standard_error) == (None, None)
    assert running.interval() == (-math.inf, math.inf)
    with pytest.raises(InputError, match="nothing to take out"):
        running.remove(qis.Effect(question="q", measure="OR", estimate=0.0, standard_error=1.0))

"""The sum of many numbers is the correctly rounded one, as `math.fsum` gives it."""

import math

import numpy as np
from hypothesis import given, strategies as st

from qis.synthesis._sites import total

LENGTHS = st.integers(250, 3_000)
SEEDS = st.integers(0, 2**32 - 1)


@given(LENGTHS, SEEDS, st.sampled_from((0.0, 1.0, 40.0, 300.0, 700.0)))
def test_of_numbers_of_all_sizes(length, seed, reach):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=length) * np.exp(rng.uniform(-reach, reach, length))
    assert total(values) == math.fsum(values.tolist())


@given(LENGTHS, SEEDS, st.sampled_from((1e-320, 1e-12, 1.0, 1e150, 1e305)))
def test_of_numbers_that_cancel(length, seed, unit):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=length) * unit
    values = rng.permutation(np.concatenate((half, -half[3:], [unit * 2.0**-60])))
    assert total(values) == math.fsum(values.tolist())


@given(LENGTHS, st.floats(-1e300, 1e300))
def test_of_equal_numbers(length, value):
    assert total(np.full(length, value / length)) == math.fsum([value / length] * length)

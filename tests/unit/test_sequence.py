import math

import numpy as np
import pytest

import qis
from qis.errors import InputError
from qis.synthesis import anytime_interval, mixing_scale_for


def test_the_formula_of_robbins():
    # For a Brownian motion S at time I: |S - I theta| < sqrt((I + r) log((I + r) / (r a²))).
    information, r, alpha = 50.0, 4.0, 0.05
    bound = math.sqrt((information + r) * math.log((information + r) / (r * alpha**2)))
    low, high = anytime_interval(0.3, information**-0.5, mixing_scale=r**-0.5)
    assert high - 0.3 == pytest.approx(bound / information, rel=1e-12)
    assert 0.3 - low == pytest.approx(bound / information, rel=1e-12)


def test_the_mixing_scale_is_the_best_one():
    best = mixing_scale_for(0.1)
    width = anytime_interval(0.0, 0.1, mixing_scale=best)[1]
    for factor in (0.5, 0.99, 1.01, 2.0):
        assert anytime_interval(0.0, 0.1, mixing_scale=best * factor)[1] > width


def test_it_is_always_wider_than_the_interval_for_one_look():
    for error in np.geomspace(1e-4, 1e4, 41):
        assert anytime_interval(0.0, error, mixing_scale=0.5)[1] > 1.959964 * error


def test_it_covers_at_all_looks_together_where_the_naive_one_does_not():
    rng = np.random.default_rng(11)
    runs, looks = 400, 100
    errors = rng.uniform(0.2, 0.6, looks)
    weights = np.cumsum(errors**-2)
    estimates = np.cumsum(rng.normal(0.0, errors, (runs, looks)) * errors**-2, axis=1) / weights
    half = [anytime_interval(0.0, w**-0.5, mixing_scale=0.5)[1] for w in weights]
    covered = (np.abs(estimates) <= half).all(axis=1).mean()
    naive = (np.abs(estimates) <= 1.96 / np.sqrt(weights)).all(axis=1).mean()
    assert covered >= 0.95
    assert naive < 0.8


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((math.nan, 1.0, 1.0), "estimate"),
        ((0.0, 0.0, 1.0), "standard_error"),
        ((0.0, 1.0, -1.0), "mixing_scale"),
        ((0.0, 1.0, 1e-200), "mixing_scale"),
    ],
)
def test_bad_numbers_are_named(arguments, field):
    with pytest.raises(InputError) as caught:
        anytime_interval(*arguments[:2], mixing_scale=arguments[2])
    assert caught.value.field == field


@pytest.mark.parametrize("factor", [1e-120, 1e120])
def test_units_carry_through(factor):
    plain = anytime_interval(0.3, 0.1, mixing_scale=0.5)
    scaled = anytime_interval(0.3 * factor, 0.1 * factor, mixing_scale=0.5 * factor)
    assert [x / factor for x in scaled] == pytest.approx(plain, rel=1e-12)


def test_means_of_few_people_have_no_confidence_sequence_and_say_so():
    few = [qis.Moments(question="q", total=n, mean=1.0, ss=4.0 * n) for n in (11, 200)]
    many = [qis.Moments(question="q", total=n, mean=1.0, ss=4.0 * n) for n in (300, 200)]
    found = qis.synthesise(few, model="fixed", tau_scale=1.0)
    assert found.confidence_sequence is None
    assert "fewer than 50 people" in found.no_sequence
    assert qis.synthesise(many, model="fixed", tau_scale=1.0).confidence_sequence is not None

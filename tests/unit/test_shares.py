"""The weights that plots and explanations show are those of the chosen model."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.synthesis.shares import shares

EFFECTS = st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(0.05, 0.8)), min_size=2, max_size=6)


def effect(estimate, error, **more):
    return qis.Effect(question="q", measure="OR", estimate=estimate, standard_error=error, **more)


@given(EFFECTS)
@settings(max_examples=20)
def test_of_estimates_they_are_those_of_inverse_variance(pairs):
    outcomes = [effect(*pair) for pair in pairs]
    errors = np.array([error for _, error in pairs])
    for model in ("fixed", "random"):
        found = qis.synthesise(outcomes, model=model)
        tau2 = 0.0 if model == "fixed" else found.tau**2
        expected = 1.0 / (errors**2 + tau2)
        assert found.weights == pytest.approx(list(expected / expected.sum()), rel=1e-9)


def counts(*cells):
    events, total, control_events, control_total = cells
    return qis.Counts(
        question="q",
        events=events,
        total=total,
        control_events=control_events,
        control_total=control_total,
    )


def test_of_counts_under_random_effects_against_own_quadrature():
    outcomes = [counts(3, 40, 9, 41), counts(0, 11, 2, 12), counts(30, 300, 41, 290)]
    found = qis.synthesise(outcomes, model="random")
    middle, step, tau = found.estimate, found.standard_error, found.tau
    theta = np.linspace(-14.0, 12.0, 40_001)
    bends = []
    for outcome in outcomes:
        log = outcome.log_likelihood(theta)
        heights = [
            np.log(np.trapezoid(np.exp(log - log.max() - 0.5 * ((theta - mu) / tau) ** 2), theta))
            for mu in (middle - step, middle, middle + step)
        ]
        bends.append(2.0 * heights[1] - heights[0] - heights[2])
    assert found.weights == pytest.approx([b / sum(bends) for b in bends], rel=1e-5)
    fixed = qis.synthesise(outcomes, model="fixed")
    assert fixed.weights[2] > found.weights[2] + 0.05  # random effects weigh more alike


def test_of_means_in_large_units():
    frame = {"mean": [1000.0, 1040.0], "sd": [90.0, 70.0], "total": [200, 150]}
    study = qis.Study(question="q", measure="MN", model="random", tau_scale=30.0)
    found = qis.synthesise(frame, study=study)
    expected = [1.0 / (s * s / n + found.tau**2) for s, n in ((90.0, 200), (70.0, 150))]
    assert found.weights == pytest.approx([e / sum(expected) for e in expected], rel=0.01)


def test_a_site_that_says_nothing_weighs_nothing_and_without_an_estimate_there_are_none():
    silent = counts(0, 10, 0, 12)
    for model in ("fixed", "random"):
        found = qis.synthesise([counts(3, 40, 9, 41), silent], model=model)
        assert found.weights == pytest.approx((1.0, 0.0))
        assert qis.synthesise([counts(0, 9, 3, 9)], model=model).weights == (None,)
    assert shares([], None) == ()


def test_explain_and_to_dict_show_the_chosen_model():
    outcomes = [effect(-0.6, 0.1, n=10), effect(0.5, 0.6, n=10)]
    for model in ("fixed", "random"):
        found = qis.synthesise(outcomes, model=model)
        assert found.to_dict()["weight"] == list(found.weights)
        text = found.explain()
        assert f"its weight under the {model} model" in text
        assert f"weight {found.weights[0]:.1%}" in text
    assert math.isclose(sum(found.weights), 1.0)

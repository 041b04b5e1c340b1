"""Risk difference and number needed to treat, against values worked out by hand."""

import math

import pytest

import qis
from qis.errors import InputError, NoEstimateError
from qis.synthesis import pool_profiles
from qis.synthesis.absolute import absolute_effect


def pooled(measure, ratio, error=0.2):
    effect = qis.Effect(
        question="q", measure=measure, estimate=math.log(ratio), standard_error=error
    )
    return pool_profiles([effect])


@pytest.mark.parametrize(
    ("measure", "ratio", "base", "risk"),
    [
        ("OR", 0.5, 0.2, 1 / 9),  # odds 1/4 become 1/8
        ("OR", 2.0, 0.5, 2 / 3),
        ("RR", 0.75, 0.4, 0.3),
        ("HR", 2.0, 0.1, 1 - 0.9**2),
    ],
)
def test_the_risk_is_that_of_the_ratio_at_the_baseline(measure, ratio, base, risk):
    found = absolute_effect(pooled(measure, ratio), baseline_risk=base)
    assert found.risk == pytest.approx(risk, rel=1e-12)
    assert found.risk_difference == pytest.approx(risk - base, rel=1e-9)
    assert found.number_needed == pytest.approx(1 / abs(risk - base), rel=1e-9)
    assert found.interval[0] < found.risk_difference < found.interval[1]
    assert found.risk_interval[0] == pytest.approx(found.interval[0] + base)


def test_an_interval_about_no_effect_goes_through_infinity():
    words = absolute_effect(pooled("RR", 0.75), baseline_risk=0.4).number_needed_words
    assert words.startswith("NNTB 10 (")
    assert "infinity to NNTH" in words
    sure = absolute_effect(pooled("RR", 0.75, 0.01), baseline_risk=0.4).number_needed_words
    assert "infinity" not in sure


def test_what_cannot_be_said_is_refused():
    with pytest.raises(InputError, match="OR, RR and HR"):
        absolute_effect(pooled("IRR", 0.5), baseline_risk=0.1)
    for base in (0.0, 1.0, math.nan, True, "0.1"):
        with pytest.raises(InputError, match="baseline_risk"):
            absolute_effect(pooled("OR", 0.5), baseline_risk=base)
    with pytest.raises(InputError, match="above 1"):
        absolute_effect(pooled("RR", 3.0), baseline_risk=0.5)
    none = qis.Counts(question="q", events=0, total=9, control_events=3, control_total=9)
    with pytest.raises(NoEstimateError):
        absolute_effect(pool_profiles([none]), baseline_risk=0.1)

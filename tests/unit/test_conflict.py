"""Sites that contradict each other: wide panels give what narrow ones give, in less time."""

import math

import numpy as np
import pytest

import qis
from qis.synthesis import conflict
from qis.synthesis.conflict import smallest_scale
from qis.synthesis.kept import KeptSites


def table(a, c, people=60_000):
    return qis.Counts(question="q", events=a, total=people, control_events=c, control_total=people)


def effect(estimate, error):
    return qis.Effect(question="q", measure="OR", estimate=estimate, standard_error=error)


APART = [table(30_000, 7_500), table(6_750, 30_000)]
WIDE = qis.Counts(question="q", events=3, total=40, control_events=5, control_total=41)


def scale_of(outcomes, tau_scale=0.5):
    kept = KeptSites()
    said = kept.of_all([[outcome] for outcome in outcomes])
    together = kept.together(said)
    return smallest_scale(together, tau_scale, 1.0), float(together.facts().finest.min())


def test_the_answer_is_that_of_narrow_panels(monkeypatch):
    outcomes = [effect(-2.0, 0.01), effect(2.0, 0.02), effect(2.01, 0.01), WIDE]
    scale, finest = scale_of(outcomes)
    assert scale >= 4.0 * finest
    wide = qis.pool_profiles(outcomes, model="random")
    monkeypatch.setattr(conflict, "_WORTH_IT", math.inf)
    assert scale_of(outcomes) == (finest, finest)
    narrow = qis.pool_profiles(outcomes, model="random")
    got = np.array([wide.estimate, *wide.interval, wide.tau, *wide.tau_interval])
    expected = [narrow.estimate, *narrow.interval, narrow.tau, *narrow.tau_interval]
    assert got == pytest.approx(expected, abs=1e-4 * narrow.standard_error)
    assert wide.marks == narrow.marks


@pytest.mark.parametrize("are_profiles", [False, True])
def test_two_contradicting_tables_of_the_largest_size(are_profiles):
    outcomes = [table(400_000, 100_000, 800_000), table(90_000, 400_000, 800_000)]
    if are_profiles:
        outcomes = [outcome.profile() for outcome in outcomes]
    scale, finest = scale_of(outcomes)
    assert scale > 16.0 * finest
    found = qis.pool_profiles(outcomes, model="random")
    # With narrow panels, which took 11 seconds.
    expected = [-0.0597719, -1.8061698, 1.6866255, 1.1908882]
    got = [found.estimate, *found.interval, found.tau]
    assert got == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "outcomes",
    [
        [APART[0], table(29_990, 7_500)],
        [APART[0], WIDE],
        [table(30_000, 0), table(0, 30_000), WIDE],
        [effect(0.0, 0.01) for _ in range(400)] + [effect(1.0, 0.01), WIDE],
        [qis.Counts(question="q", events=8_000, total=20_000)],
    ],
    ids=["agreeing", "one precise", "no finite estimate", "one of many", "one arm"],
)
def test_without_a_conflict_the_most_precise_site_decides(outcomes):
    scale, finest = scale_of(outcomes)
    assert scale == finest


def test_means_have_heavy_tails_and_are_not_asked():
    means = [qis.Moments(question="q", total=10**6, mean=m, ss=1e6) for m in (-2.0, 2.0)]
    scale, finest = scale_of(means)
    assert scale == finest < 0.01

"""Every kind of outcome pools by its own likelihood: proportions, rates, means, differences.

References are metafor's (tests/data/one_arm/one_arm.R), and sums over a plain grid that share no
code with the library.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import optimize, stats

import qis
from qis.errors import InputError, NoEstimateError
from qis.synthesis import pool_profiles, synthesise
from tests._builders import signed

SETS = json.loads(
    (Path(__file__).parents[1] / "data" / "one_arm" / "one_arm.json").read_text(encoding="utf-8")
)
PUBLISHED = 2
"""The first sets are published data; those after them are so small that errors mean little."""


def arm(events, total, person_time=None, **others):
    return qis.Counts(question="q", events=events, total=total, person_time=person_time, **others)


def arms(data, measure):
    times = data["person_time"] if measure == "irln" else [None] * len(data["total"])
    return [arm(*row) for row in zip(data["events"], data["total"], times, strict=True)]


def mean_of(total, mean, ss, *control):
    names = ("control_total", "control_mean", "control_ss")
    return qis.Moments(
        question="q", total=total, mean=mean, ss=ss, **dict(zip(names, control, strict=False))
    )


CASES = [(i, m) for i, data in enumerate(SETS) for m in ("plo", "irln") if m in data]


@pytest.mark.parametrize(("index", "measure"), CASES)
def test_one_arm_equals_metafors_glmm(index, measure):
    data = SETS[index]
    pooled = pool_profiles(arms(data, measure), model="fixed")
    assert pooled.measure == measure.upper()
    assert pooled.estimate == pytest.approx(data[measure]["estimate"], abs=2e-7)
    if index < PUBLISHED:
        # metafor's is from the curvature at the estimate, ours half the width of a drop by 1/2.
        assert pooled.standard_error == pytest.approx(data[measure]["standard_error"], abs=0.01)


@pytest.mark.parametrize(("index", "measure"), CASES)
def test_intervals_of_one_arm_are_where_the_exact_likelihood_drops(index, measure):
    data = SETS[index]
    events, people = sum(data["events"]), sum(data["total"])

    def log_likelihood(theta):
        if measure == "plo":
            return stats.binom.logpmf(events, people, 1.0 / (1.0 + math.exp(-theta)))
        return stats.poisson.logpmf(events, sum(data["person_time"]) * math.exp(theta))

    pooled = pool_profiles(arms(data, measure), model="fixed")
    top = log_likelihood(pooled.estimate) - stats.chi2.ppf(0.95, 1) / 2.0
    ends = [
        optimize.brentq(lambda x: log_likelihood(x) - top, pooled.estimate, pooled.estimate + side)
        for side in (-6.0, 6.0)
    ]
    assert pooled.interval == pytest.approx(ends, abs=1e-8)


def binomial(events, total):
    return lambda x: events * x - total * np.logaddexp(0.0, x)


def poisson(events, time):
    return lambda x: events * x - time * np.exp(x)


def student(n, mean, ss):
    return lambda x: -n / 2.0 * np.log(1.0 + n * (mean - x) ** 2 / ss)


def two_students(*arms):
    """The largest value over the control arm's mean, by trying many."""
    n, mean, ss, m, control, control_ss = arms

    def log_likelihood(x):
        shape = np.shape(x)
        apart = (mean - control - np.ravel(x))[:, np.newaxis]
        shares = np.linspace(0.0, 1.0, 401)
        own, other = apart * (1.0 - shares), apart * shares
        cost = n / 2.0 * np.log1p(n * own**2 / ss)
        cost += m / 2.0 * np.log1p(m * other**2 / control_ss)
        return -cost.min(axis=1).reshape(shape)

    return log_likelihood


def brute_force(functions, tau_scale, means):
    """Quantiles of mu and tau on a plain grid: trapezoids over mu, tau and each site's effect."""
    taus = np.linspace(0.0, 5.5 * tau_scale, 56)
    z = np.linspace(-7.5, 7.5, 301)
    weights = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    fine = np.linspace(means[0] - 7.5 * taus[-1], means[-1] + 7.5 * taus[-1], 12_001)
    tables = [function(fine) for function in functions]
    logs = np.empty((taus.size, means.size))
    for row, tau in enumerate(taus):
        theta = means[:, np.newaxis] + tau * z
        marginals = [
            np.log(
                (np.exp(np.interp(theta, fine, table) - table.max()) * weights).sum(axis=1) + 1e-300
            )
            for table in tables
        ]
        logs[row] = np.sum(marginals, axis=0) - 0.5 * (tau / tau_scale) ** 2
    density = np.exp(logs - logs.max())
    density[0] /= 2.0
    found = []
    for points, heights in ((means, density.sum(axis=0)), (taus, density.sum(axis=1))):
        if points is taus:
            heights[0] *= 2.0
        below = np.concatenate(([0.0], np.cumsum((heights[1:] + heights[:-1]) / 2.0)))
        found.append(np.interp([0.025, 0.5, 0.975], below / below[-1], points))
    return found


RANDOM = {
    "PLO": (
        [arm(7, 13), arm(0, 10), arm(3, 20), arm(4, 4), arm(20, 300)],
        [binomial(7, 13), binomial(0, 10), binomial(3, 20), binomial(4, 4), binomial(20, 300)],
        None,
        (-9.0, 7.0),
    ),
    "IRLN": (
        [arm(7, 13, 20.0), arm(0, 10, 100.0), arm(3, 20, 50.0)],
        [poisson(7, 20.0), poisson(0, 100.0), poisson(3, 50.0)],
        None,
        (-12.0, 5.0),
    ),
    "MN": (
        [mean_of(10, 140.0, 900.0), mean_of(30, 120.0, 4000.0), mean_of(3, 150.0, 200.0)],
        [student(10, 140.0, 900.0), student(30, 120.0, 4000.0), student(3, 150.0, 200.0)],
        10.0,
        (20.0, 250.0),
    ),
    "MD": (
        [
            mean_of(10, 5.0, 90.0, 12, 3.0, 60.0),
            mean_of(30, 7.0, 400.0, 25, 7.5, 500.0),
            mean_of(4, 9.0, 12.0, 3, 1.0, 10.0),
        ],
        [
            two_students(10, 5.0, 90.0, 12, 3.0, 60.0),
            two_students(30, 7.0, 400.0, 25, 7.5, 500.0),
            two_students(4, 9.0, 12.0, 3, 1.0, 10.0),
        ],
        2.0,
        (-20.0, 25.0),
    ),
}


@pytest.mark.parametrize("measure", RANDOM)
def test_random_effects_equal_sums_over_a_plain_grid(measure):
    outcomes, functions, tau_scale, ends = RANDOM[measure]
    pooled = pool_profiles(outcomes, model="random", tau_scale=tau_scale)
    assert pooled.measure == measure
    scale = tau_scale or 1.0
    # A proportion's or rate's standard deviation between sites is 1 by default, on its log scale.
    mean, tau = brute_force(functions, scale, np.linspace(*ends, 401))
    found = [pooled.interval[0], pooled.estimate, pooled.interval[1]]
    assert found == pytest.approx(mean.tolist(), abs=0.01 * scale)
    assert pooled.tau == pytest.approx(tau[1], abs=0.01 * scale)
    assert pooled.tau_interval == pytest.approx((tau[0], tau[2]), abs=0.02 * scale)


@pytest.mark.parametrize("measure", ["MN", "MD"])
def test_means_pool_where_their_summed_likelihood_is_largest(measure):
    outcomes, functions, _, ends = RANDOM[measure]
    pooled = pool_profiles(outcomes, model="fixed")

    def total(x):
        return sum(float(function(np.array([x]))[0]) for function in functions)

    grid = np.linspace(*ends, 20_001)
    start = float(grid[sum(function(grid) for function in functions).argmax()])
    best = optimize.minimize_scalar(lambda x: -total(x), bounds=(start - 1.0, start + 1.0))
    assert pooled.estimate == pytest.approx(best.x, abs=2e-3)
    top = total(best.x) - stats.chi2.ppf(0.95, 1) / 2.0
    for side, end in zip((-1.0, 1.0), pooled.interval, strict=True):
        assert total(end) == pytest.approx(top, abs=1e-3)
        assert (end - pooled.estimate) * side > 0.0


def test_a_hospital_without_events_is_an_ordinary_citizen():
    alone = pool_profiles([arm(0, 10)], model="fixed")
    assert alone.estimate is None
    # (1 - p)**10 has dropped by 1.92 where 10 log(1 - p) is -1.92.
    share = 1.0 - math.exp(-stats.chi2.ppf(0.95, 1) / 20.0)
    assert alone.interval == (-math.inf, pytest.approx(math.log(share / (1.0 - share)), abs=1e-8))
    together = pool_profiles([arm(0, 10), arm(3, 20)], model="fixed")
    assert together.estimate == pytest.approx(math.log(3 / 27), abs=1e-9)


def test_no_error_sends_in_a_circle():
    site = arm(0, 10)
    with pytest.raises(InputError, match="send these counts themselves, which pool as PLO"):
        site.profile()
    with pytest.raises(NoEstimateError, match="send these Counts themselves, which pool as PLO"):
        site.effect("PLO")
    assert pool_profiles([site], model="fixed").measure == "PLO"
    with pytest.raises(InputError, match=r"send \.effect\('SMD'\)"):
        qis.Moments(study=qis.Study(question="q", measure="SMD"), total=3, mean=1.0, ss=1.0)
    for study in ("PLO", "IRLN"):
        time = None if study == "PLO" else 3.0
        declared = qis.Study(question="q", measure=study)
        assert qis.Counts(study=declared, events=1, total=3, person_time=time).measure == study


def test_the_scale_of_tau_must_be_declared_for_means():
    outcomes = [mean_of(10, 1.0, 9.0), mean_of(10, 2.0, 9.0)]
    with pytest.raises(InputError, match="MN has units"):
        pool_profiles(outcomes, model="random")
    assert pool_profiles(outcomes, model="fixed").estimate == pytest.approx(1.5, abs=1e-9)


@pytest.mark.parametrize("model", ["fixed", "random"])
@pytest.mark.parametrize("measure", ["MN", "MD"])
def test_units_and_order_change_nothing_but_the_units(model, measure):
    outcomes, _, tau_scale, _ = RANDOM[measure]
    factor = 2.0**70

    def scaled(outcome):
        parts = {"mean": factor, "ss": factor**2, "control_mean": factor, "control_ss": factor**2}
        given = {name: getattr(outcome, name) for name in parts}
        return qis.Moments(
            question="q",
            total=outcome.total,
            control_total=outcome.control_total,
            **{k: None if v is None else v * parts[k] for k, v in given.items()},
        )

    plain = pool_profiles(outcomes, model=model, tau_scale=tau_scale)
    large = pool_profiles(
        [scaled(outcome) for outcome in reversed(outcomes)],
        model=model,
        tau_scale=tau_scale * factor,
    )
    assert large.estimate / factor == pytest.approx(plain.estimate, rel=1e-12)
    assert [x / factor for x in large.interval] == pytest.approx(plain.interval, rel=1e-12)
    assert (
        pool_profiles(outcomes[::-1], model=model, tau_scale=tau_scale).estimate == plain.estimate
    )


def test_a_few_people_who_agree_by_chance_do_not_outweigh_many():
    few, many = mean_of(3, 10.0, 1e-6), mean_of(400, 1.0, 400.0)
    pooled = pool_profiles([few, many], model="fixed")
    assert pooled.estimate == pytest.approx(1.0, abs=0.02)
    naive = qis.synthesis.inverse_variance(
        [o.effect("MN").estimate for o in (few, many)],
        [o.effect("MN").standard_error for o in (few, many)],
        tau2="FE",
    )
    assert naive.estimate > 9.0


@given(
    st.lists(
        st.tuples(st.integers(3, 500), st.floats(-1e6, 1e6), st.floats(1e-6, 1e9)),
        min_size=1,
        max_size=5,
    )
)
def test_means_of_any_sites_give_a_maximum_within_its_interval(rows):
    outcomes = [mean_of(n, mean, ss) for n, mean, ss in rows]
    pooled = pool_profiles(outcomes, model="fixed")
    low, high = pooled.interval
    assert -math.inf < low < pooled.estimate < high < math.inf
    # No point of a wide grid, nor any site's own mean, is higher.
    grid = np.concatenate(
        ([pooled.estimate], np.linspace(-1.1e6, 1.1e6, 2001), [r[1] for r in rows])
    )
    heights = sum(student(*row)(grid) for row in rows)
    assert heights[0] >= heights.max() - 1e-6 * (1.0 + abs(heights[0]))


def test_estimates_and_counts_of_one_measure_pool_together():
    effect = qis.Effect(question="q", measure="PLO", estimate=-1.0, standard_error=0.5)
    pooled = pool_profiles([effect, arm(3, 20)], model="fixed")

    def total(x):
        return binomial(3, 20)(x) - 2.0 * (x + 1.0) ** 2

    best = optimize.minimize_scalar(
        lambda x: -total(x), bounds=(-4.0, 1.0), options={"xatol": 1e-9}
    )
    assert pooled.estimate == pytest.approx(best.x, abs=1e-6)
    mean = qis.Effect(question="q", measure="MN", estimate=130.0, standard_error=2.0)
    mixed = pool_profiles([mean, mean_of(30, 120.0, 4000.0)], model="random", tau_scale=5.0)
    functions = [student(30, 120.0, 4000.0), lambda x: -0.5 * ((x - 130.0) / 2.0) ** 2]
    expected, _ = brute_force(functions, 5.0, np.linspace(60.0, 190.0, 401))
    assert mixed.estimate == pytest.approx(expected[1], abs=0.05)


SCHEME = qis.VectorScheme(dimensions=2)


def packet(outcome, number):
    return signed(number, outcome, scheme=SCHEME, about=[1.0, 2.0])


def test_a_bare_question_with_one_arm_is_shown_in_percent():
    found = synthesise(
        [packet(arm(e, n), e + 1) for e, n in ((7, 13), (0, 10), (3, 20))], model="fixed"
    )
    assert found.measure == "PLO"
    assert found.back_transformed[0] == pytest.approx(10 / 43, abs=1e-9)
    assert "PLO 23.3 % [" in repr(found)
    assert found.sites_without_events == 1
    assert "1 of 3 sites saw no event." in found.explain()
    assert not found.scale.has_null
    axis = found.forest_plot().axis
    assert all(0.0 < float(label) < 100.0 for _, label in found.scale.ticks(axis.low, axis.high))
    rates = synthesise([packet(arm(3, 10, 12.0), 1), packet(arm(0, 5, 8.0), 2)], model="fixed")
    assert rates.measure == "IRLN"
    assert rates.back_transformed[0] == pytest.approx(3 / 20, abs=1e-9)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (qis.Moments(question="q", total=2, mean=1.0, ss=1.0), "merge_moments"),
        (qis.Moments(question="q", total=9, mean=1.0, ss=0.0), "all have one value"),
        (qis.Record(question="q", content={"a": 1}), r"loop.matches"),
        (
            qis.Counts(question="q", events=1, total=3, control_events=2, control_total=3),
            "declare the measure",
        ),
    ],
)
def test_whatever_is_left_out_says_why_and_what_to_do(outcome, words):
    counted = [packet(arm(1, 3), 1), packet(arm(2, 3), 2)]
    found = synthesise([*counted, packet(outcome, 3)], model="fixed")
    assert len(found.sites) == 2
    for text in (repr(found), found.explain(), found._repr_html_()):
        assert words in text

"""Counts: their likelihoods against exact arithmetic, their effects against metafor."""

import json
import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.errors import InputError, NoEstimateError
from qis.outcomes import Counts, outcome_from_body
from qis.outcomes._conditional import Rates, Tables
from qis.outcomes._curves import Curves
from qis.synthesis import pool_profiles
from qis.synthesis._pooled_curve import PooledCurve
from qis.synthesis.currency import Likelihood

TABLES = [
    "bcg_or",
    "beitler_landis1985",
    "collins1985b",
    "crins2014",
    "eicu_vent",
    "nielweise2007",
    "nissen2007_mi",
]


def counts(events, total, control_events=None, control_total=None, **others):
    return Counts(
        question="a vs b | death",
        events=events,
        total=total,
        control_events=control_events,
        control_total=control_total,
        **others,
    )


def reference(folder, name):
    path = folder / "synthesis" / "reference" / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    table = found["data"]
    columns = (table[key] for key in ("ai", "n1i", "ci", "n2i"))
    return found, [counts(*row) for row in zip(*columns, strict=True)]


def received(outcome):
    """As it comes out of a packet at the other end."""
    packet = qis.Packet.sign(
        qis.Identity.from_seed(bytes(32)),
        outcome=outcome,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=1_800_000_000,
        lifetime_s=60,
    )
    return qis.Packet.parse(bytes(packet)).outcome


@pytest.mark.shared
@pytest.mark.parametrize("name", TABLES)
def test_fixed_effect_is_the_exact_conditional_one(shared_data, name):
    found, sites = reference(shared_data, name)
    exact = found["expected"]["counts"]["exact_conditional_FE"]
    for outcomes in (sites, [received(site.profile()) for site in sites]):
        pooled = pool_profiles([received(outcome) for outcome in outcomes])
        assert pooled.estimate == pytest.approx(exact["log_or"], abs=6e-3)
        # The reference's interval is of another kind (two one-sided exact tests): it is wider.
        assert exact["ci_lo"] < pooled.interval[0] < pooled.interval[1] < exact["ci_hi"]
        assert pooled.interval == pytest.approx(exact_limits(sites), abs=6e-3)


class DirectSum:
    """The definition: every possible table, weighted by log-gammas of the standard library."""

    def __init__(self, site):
        a, n, c, m = site.events, site.total, site.control_events, site.control_total
        self.events = a
        self.support = np.arange(max(0, a + c - m), min(n, a + c) + 1.0)
        gamma = math.lgamma
        self.logs = np.array(
            [
                -gamma(u + 1) - gamma(n - u + 1) - gamma(a + c - u + 1) - gamma(m - a - c + u + 1)
                for u in self.support.tolist()
            ]
        )
        self.own = self.logs[self.support == a][0]

    def at(self, theta):
        logs = self.logs + theta * self.support
        weights = np.exp(logs - logs.max())
        mean = (weights * self.support).sum() / weights.sum()
        variance = (weights * (self.support - mean) ** 2).sum() / weights.sum()
        total = logs.max() + math.log(weights.sum())
        return self.own + theta * self.events - total, self.events - mean, -variance


def exact_limits(sites):
    """Likelihood-ratio limits of the summed hypergeometric likelihoods themselves."""
    parts = [DirectSum(s) for s in sites]

    def value(theta):
        return math.fsum(part.at(theta)[0] for part in parts)

    best = bisect(lambda theta: math.fsum(p.at(theta)[1] for p in parts) > 0.0, -10.0, 10.0)
    level = value(best) - 3.841458820694124 / 2.0
    return tuple(bisect(lambda theta: value(theta) >= level, best, end) for end in (-10.0, 10.0))


def bisect(holds, inside, outside):
    for _ in range(60):
        middle = (inside + outside) / 2.0
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside


@pytest.mark.shared
@pytest.mark.parametrize("name", TABLES)
def test_random_effects_are_those_of_the_exact_hypergeometric_model(shared_data, name):
    found, sites = reference(shared_data, name)
    exact = found["expected"]["exact_bayes_nch"]
    outcomes = [received(site) for site in sites]
    pooled = pool_profiles(outcomes, model="random", tau_scale=0.5, mean_scale=2.0)
    close = {"abs": 6e-3}
    assert pooled.estimate == pytest.approx(exact["mu_median"], **close)
    assert pooled.standard_error == pytest.approx(exact["mu_sd"], **close)
    assert pooled.interval == pytest.approx((exact["mu_q025"], exact["mu_q975"]), **close)
    assert pooled.tau == pytest.approx(exact["tau_median"], **close)
    assert pooled.tau_interval[1] == pytest.approx(exact["tau_q975"], **close)
    silent = sum(not site.all_events for site in sites)
    assert silent == found["n_double_zero"]
    assert len(pooled.uninformative) >= silent


@pytest.mark.shared
def test_ohdsi_sites_pool_to_their_log_ratio(shared_data):
    path = shared_data / "synthesis" / "reference" / "ohdsi_10sites_cox.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    sites = found["sites"]
    curves = Curves(
        points=np.array([found["grid"]] * len(sites)),
        values=np.array([site["loglik"] for site in sites]),
        gradients=np.array([site["grad"] for site in sites]),
        below=np.array([-float(site["events_exposed"]) for site in sites]),
        above=np.array([float(site["events_exposed"] - site["events"]) for site in sites]),
    )
    argmax, _ = PooledCurve(Likelihood(curves=curves)).maximum()
    assert argmax == pytest.approx(found["expected"]["ohdsi_pooled_fixed"][0]["logRr"], abs=6e-3)


@pytest.mark.shared
@pytest.mark.parametrize("name", [*TABLES, "bcg"])
def test_effects_are_metafors_where_no_cell_is_zero(shared_data, name):
    found, sites = reference(shared_data, name)
    for site, y, v in zip(sites, found["effects"]["yi"], found["effects"]["vi"], strict=True):
        cells = (site.events, site.control_events)
        others = (site.total - site.events, site.control_total - site.control_events)
        if 0 in (*cells, *others):
            with pytest.raises(NoEstimateError, match="lose nothing"):
                site.effect(found["measure"])
            continue
        effect = site.effect(found["measure"])
        assert effect.estimate == pytest.approx(y, rel=1e-9, abs=1e-12)
        assert effect.standard_error == pytest.approx(math.sqrt(v), rel=1e-9)
        assert effect.n == site.n


SMALL = st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(SMALL, SMALL, st.integers(-3, 3))
@settings(max_examples=200)
def test_the_likelihood_is_the_definition_in_exact_arithmetic(arm, control, power):
    (a, n), (c, m) = arm, control
    odds = Fraction(2) ** power
    weights = [
        math.comb(n, u) * math.comb(m, a + c - u) * odds**u
        for u in range(max(0, a + c - m), min(n, a + c) + 1)
    ]
    own = math.comb(n, a) * math.comb(m, c) * odds**a
    support = range(max(0, a + c - m), min(n, a + c) + 1)
    mean = sum(u * w for u, w in zip(support, weights, strict=True)) / sum(weights)
    square = sum(u * u * w for u, w in zip(support, weights, strict=True)) / sum(weights)
    found = evaluated(table_of(a, n, c, m), power * math.log(2.0))
    exact = math.log(own / sum(weights)), float(a - mean), float(mean**2 - square)
    assert found == pytest.approx(exact, abs=1e-12)


def table_of(*cells):
    names = "events", "total", "control_events", "control_total"
    return Tables(**{k: np.array([float(v)]) for k, v in zip(names, cells, strict=True)})


def evaluated(rows, theta):
    return tuple(float(found[0, 0]) for found in rows.evaluate(np.array([float(theta)])))


def arms(largest):
    return st.integers(1, largest).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(arms(3000), arms(3000), st.floats(-30.0, 30.0))
@settings(max_examples=150, deadline=None)
def test_every_table_is_the_direct_sum_over_its_support(arm, control, theta):
    (a, n), (c, m) = arm, control
    direct = DirectSum(counts(a, n, c, m)).at(theta)
    assert evaluated(table_of(a, n, c, m), theta) == pytest.approx(direct, rel=1e-9, abs=1e-8)


@given(arms(2**32 - 1), arms(2**32 - 1), st.floats(-60.0, 60.0))
@settings(max_examples=100, deadline=None)
def test_tables_of_any_size_keep_their_digits(arm, control, theta):
    """Slope and curvature are the derivatives of the value; the arms may change places."""
    (a, n), (c, m) = arm, control
    rows, h = table_of(a, n, c, m), 1e-3
    value, slope, bend = evaluated(rows, theta)
    swapped = evaluated(table_of(c, m, a, n), -theta)
    mirrored = swapped[0], -swapped[1], swapped[2]
    assert (value, slope, bend) == pytest.approx(mirrored, rel=1e-9, abs=1e-6)
    ends = [evaluated(rows, theta + side * h) for side in (-1, 1)]
    # Far out, where one cell is all but certain, sums of millions of terms leave 1e-10 of slope,
    # which the division by h enlarges: against an information of 1 that is nothing.
    near = 1e-4 * (abs(slope) + abs(bend)) + 1e-6
    assert (ends[1][0] - ends[0][0]) / (2 * h) == pytest.approx(slope, abs=near)
    assert (ends[1][1] - ends[0][1]) / (2 * h) == pytest.approx(bend, abs=near)
    assert value <= 1e-6
    assert bend <= 0.0


@pytest.mark.parametrize("ratio", [0.03, 0.1, 0.5, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("n", [12, 300, 40_000])
def test_a_profile_keeps_the_limits_from_ratios_of_a_thirtieth_to_thirty(ratio, n):
    p = 0.1 if ratio > 1 else 0.4
    odds = p / (1 - p) * ratio
    sites = [counts(round(n * odds / (1 + odds)), n, round(n * p), n)] * 3
    pooled = pool_profiles([received(site.profile()) for site in sites])
    low, high = exact_limits(sites)
    if not sites[0].events:
        assert pooled.interval[0] == -math.inf
        low = -math.inf
    assert pooled.interval[0] == pytest.approx(low, abs=6e-3)
    assert pooled.interval[1] == pytest.approx(high, abs=6e-3)


def test_the_largest_tables_have_the_estimate_of_two_binomials():
    huge = counts(1_000_000_000, 2_000_000_000, 999_000_000, 2_000_000_000)
    assert huge.profile().maximum == pytest.approx(huge.effect("OR").estimate, abs=1e-6)


def test_person_time_gives_the_conditional_rate_ratio():
    site = counts(12, 100, 7, 90, person_time=250.0, control_person_time=200.0)
    profile = site.profile()
    assert (site.measure, profile.measure, profile.n, profile.events) == ("IRR", "IRR", 190, 19)
    expected = math.log(12 / 250.0) - math.log(7 / 200.0)
    assert profile.maximum == pytest.approx(expected, abs=1e-6)
    effect = site.effect("IRR")
    assert effect.estimate == pytest.approx(expected)
    assert effect.standard_error == pytest.approx(math.sqrt(1 / 12 + 1 / 7))
    theta = 0.4
    p = 250.0 * math.exp(theta) / (250.0 * math.exp(theta) + 200.0)
    own = 12 * math.log(p) + 7 * math.log(1 - p)
    p = 250.0 * math.exp(expected) / (250.0 * math.exp(expected) + 200.0)
    best = 12 * math.log(p) + 7 * math.log(1 - p)
    assert float(profile.log_likelihood(theta)) == pytest.approx(own - best, abs=2e-3)


def test_one_arm_has_no_ratio_but_a_proportion():
    site = counts(3, 20)
    assert site.measure == "PLO"
    with pytest.raises(InputError, match="one arm"):
        site.profile()
    assert site.effect("PLO").estimate == pytest.approx(math.log(3 / 17))
    assert site.effect("PR").standard_error == pytest.approx(math.sqrt(0.15 * 0.85 / 20))
    rate = counts(3, 20, person_time=50.0)
    assert rate.effect("IRLN").estimate == pytest.approx(math.log(3 / 50))
    with pytest.raises(InputError, match="they give PLO, PR"):
        site.effect("OR")


def test_a_double_zero_says_nothing_and_is_listed():
    pooled = pool_profiles([counts(0, 20, 0, 30), counts(3, 20, 1, 20)])
    assert pooled.uninformative == (0,)
    assert pooled.estimate == pool_profiles([counts(3, 20, 1, 20)]).estimate


def test_counts_profiles_and_effects_of_one_measure_pool_together():
    site, other = counts(30, 100, 20, 100), counts(10, 80, 15, 80)
    together = pool_profiles([site, other.effect("OR")])
    all_counts = pool_profiles([site, other])
    assert together.estimate == pytest.approx(all_counts.estimate, abs=0.02)
    as_profile = pool_profiles([site.profile(), other])
    assert as_profile.estimate == pytest.approx(all_counts.estimate, abs=1e-3)
    assert as_profile.interval == pytest.approx(all_counts.interval, abs=1e-3)
    with pytest.raises(InputError, match="differ in measure"):
        pool_profiles([site, other.effect("RR")])
    with pytest.raises(InputError, match="differ in measure"):
        pool_profiles([site, counts(1, 5)])


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((5, 4), "events"),
        ((-1, 4), "events"),
        ((1, 0), "total"),
        ((1, 2, 1), "control_total"),
        ((1, 2, 3, 2), "control_events"),
        ((1.0, 2), "events"),
        ((True, 2), "events"),
        ((1, 2**32), "total"),
    ],
)
def test_impossible_counts_are_refused_with_the_field(arguments, field):
    with pytest.raises(InputError) as caught:
        counts(*arguments)
    assert caught.value.field == field


@pytest.mark.parametrize("times", [(1.0, None), (None, 1.0), (0.0, 1.0), (math.inf, 1.0)])
def test_person_time_is_of_every_arm_and_positive(times):
    with pytest.raises(InputError, match="person"):
        counts(1, 5, 1, 5, person_time=times[0], control_person_time=times[1])


def test_a_study_of_another_measure_is_told_what_to_send():
    study = qis.Study(question="q", measure="RR")
    with pytest.raises(InputError, match=r"effect\('RR'\)"):
        Counts(study=study, events=1, total=5, control_events=1, control_total=5)


@given(st.dictionaries(st.integers(0, 9), st.integers() | st.binary() | st.lists(st.integers())))
def test_a_hostile_body_raises_only_what_the_decoder_expects(body):
    try:
        outcome_from_body(2, body)
    except (LookupError, ValueError, TypeError, struct.error):
        return
    raise AssertionError("no random body is complete")


@given(st.integers(0, 500), st.integers(0, 500), st.floats(-9, 9), st.floats(-30, 30))
@settings(deadline=None)
def test_rates_are_binomial_given_the_events_of_both_arms(a, c, log_time_ratio, theta):
    rows = Rates(
        events=np.array([float(a)]),
        control_events=np.array([float(c)]),
        log_time_ratio=np.array([log_time_ratio]),
    )
    value, slope, bend = evaluated(rows, theta)
    odds = math.exp(theta + log_time_ratio)
    p, q = odds / (1.0 + odds), 1.0 / (1.0 + odds)
    assert value == pytest.approx(a * math.log(p) + c * math.log(q), rel=1e-9, abs=1e-9)
    assert slope == pytest.approx(a * q - c * p, rel=1e-9, abs=1e-9)
    assert bend == pytest.approx(-(a + c) * p * q, rel=1e-9)


BEYOND_SEVEN = {
    "49/50 v 1/50": ((49, 50, 1, 50), 7.2813268537, (5.2240508919, 10.3998223455)),
    "980/1000 v 10/1000": ((980, 1000, 10, 1000), 8.4541177413, None),
}


@pytest.mark.parametrize("name", BEYOND_SEVEN)
@pytest.mark.parametrize("times", [1, 3])
def test_a_log_ratio_beyond_seven_is_an_estimate(name, times):
    cells, estimate, interval = BEYOND_SEVEN[name]
    site = counts(*cells)
    pooled = pool_profiles([site] * times)
    assert pooled.estimate == pytest.approx(estimate, abs=1e-8)
    assert pooled.interval[0] < estimate < pooled.interval[1] < math.inf
    if interval and times == 1:
        assert pooled.interval == pytest.approx(interval, abs=1e-8)
    other_way = pool_profiles([counts(*cells[2:], *cells[:2])] * times)
    assert other_way.estimate == pytest.approx(-estimate, abs=1e-8)


def test_a_rate_ratio_of_millions_is_an_estimate():
    site = counts(5, 50, 3, 50, person_time=10.0, control_person_time=9e6)
    pooled = pool_profiles([site])
    assert pooled.estimate == pytest.approx(math.log(5 / 10.0 / (3 / 9e6)), abs=1e-9)
    assert math.isfinite(sum(pooled.interval))


def test_precise_sites_in_conflict_pool_by_their_likelihoods():
    sites = [counts(3216, 8867, 775, 32120), counts(556, 1814, 955, 13101)]
    pooled = pool_profiles([received(site) for site in sites])
    parts = [DirectSum(site) for site in sites]
    best = bisect(lambda theta: sum(p.at(theta)[1] for p in parts) > 0.0, -9.0, 9.0)
    assert pooled.estimate == pytest.approx(best, abs=1e-8)
    assert (pooled.estimate, *pooled.interval) == pytest.approx((2.701, 2.637, 2.765), abs=5e-4)


@given(st.lists(st.tuples(arms(40), arms(40)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_pooled_counts_are_the_maximum_of_the_direct_sums(tables):
    sites = [counts(a, n, c, m) for (a, n), (c, m) in tables]
    pooled = pool_profiles(sites)
    parts = [DirectSum(site) for site in sites]

    def value(theta):
        return math.fsum(part.at(theta)[0] for part in parts)

    if pooled.estimate is None:
        if any(site.is_informative for site in sites):
            side = 1 if math.isinf(pooled.interval[1]) else -1
            assert value(side * 200.0) == pytest.approx(0.0, abs=1e-9)
            border = pooled.interval[0 if side > 0 else 1]
            assert value(border) == pytest.approx(-3.841458820694124 / 2.0, abs=1e-6)
        return
    assert math.fsum(part.at(pooled.estimate)[1] for part in parts) == pytest.approx(0.0, abs=1e-9)
    drop = value(pooled.estimate) - 3.841458820694124 / 2.0
    for limit in pooled.interval:
        if math.isfinite(limit):
            assert value(limit) == pytest.approx(drop, abs=1e-7)


def test_the_order_of_counts_changes_no_bit():
    sites = [counts(3, 20, 1, 22), counts(0, 9, 2, 11), counts(40, 90, 30, 80), counts(1, 1, 0, 3)]
    for model in ("fixed", "random"):
        one, other = (pool_profiles(s, model=model) for s in (sites, sites[::-1]))
        assert (one.estimate, one.interval, one.tau) == (other.estimate, other.interval, other.tau)

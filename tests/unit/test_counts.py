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
from qis.outcomes._conditional import Hypergeometric, TwoBinomials
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


def exact_limits(sites):
    """Likelihood-ratio limits of the summed hypergeometric likelihoods themselves."""
    tables = [
        Hypergeometric(s.events, s.total, s.control_events, s.control_total)
        if s.all_events * (s.n - s.all_events)
        else None
        for s in sites
    ]
    parts = [table for table in tables if table is not None]

    def value(theta):
        return math.fsum(part.value(theta) for part in parts)

    best = bisect(lambda theta: math.fsum(p.gradient(theta) for p in parts) > 0.0, -10.0, 10.0)
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
    argmax, _ = PooledCurve(Likelihood(curves=curves, precision=0.0, centre=0.0)).maximum()
    assert argmax == pytest.approx(found["expected"]["ohdsi_pooled_fixed"][0]["logRr"], abs=6e-3)


@pytest.mark.shared
@pytest.mark.parametrize("name", [*TABLES, "bcg"])
def test_effects_are_metafors_where_no_cell_is_zero(shared_data, name):
    found, sites = reference(shared_data, name)
    for site, y, v in zip(sites, found["effects"]["yi"], found["effects"]["vi"], strict=True):
        cells = (site.events, site.control_events)
        others = (site.total - site.events, site.control_total - site.control_events)
        if 0 in (*cells, *others):
            with pytest.raises(NoEstimateError, match="profile"):
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
    found = Hypergeometric(a, n, c, m)
    theta = power * math.log(2.0)
    # Constant factors are left out of the likelihood.
    constant = found.value(0.0) - math.log(
        Fraction(math.comb(n, a) * math.comb(m, c), math.comb(n + m, a + c))
    )
    assert found.value(theta) == pytest.approx(math.log(own / sum(weights)) + constant, abs=1e-12)
    mean = sum(
        u * w for u, w in zip(range(max(0, a + c - m), min(n, a + c) + 1), weights, strict=True)
    ) / sum(weights)
    assert found.gradient(theta) == pytest.approx(float(a - mean), abs=1e-12)


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


def test_very_large_tables_go_over_to_the_profile_likelihood_without_a_seam():
    exact = Hypergeometric(30_000, 100_000, 31_000, 100_000)
    large = TwoBinomials(30_000, 100_000, 31_000, 100_000)
    assert large.limiting_slopes == exact.limiting_slopes
    peak = exact.value(-0.0469)
    for theta in (-0.2, -0.0469, 0.0, 0.1):
        difference = (large.value(theta) - large.value(-0.0469)) - (exact.value(theta) - peak)
        assert abs(difference) < 2e-3
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
    assert site.measure is None
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
    assert pool_profiles([site.profile(), other]) == all_counts
    with pytest.raises(InputError, match="differ in measure"):
        pool_profiles([site, other.effect("RR")])
    with pytest.raises(InputError, match="Counts of two arms"):
        pool_profiles([counts(1, 5)])


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

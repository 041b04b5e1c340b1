"""Likelihood-ratio Q against metafor's, its simulated p against all tables there are, and I²."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import chi2, nchypergeom_fisher

import qis
from qis.outcomes.counts import exact_of
from qis.synthesis import heterogeneity_of, inverse_variance
from qis.synthesis._simulated_q import DRAWS, Arms, _normal, _shares
from qis.synthesis.currency import Likelihood

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "data" / "heterogeneity" / "heterogeneity.json").read_text(
        encoding="utf-8"
    )
)


def counts(*cells):
    a, n, c, m = cells
    return qis.Counts(question="q", events=a, total=n, control_events=c, control_total=m)


def effect(estimate, error):
    return qis.Effect(question="q", measure="OR", estimate=estimate, standard_error=error)


@pytest.mark.parametrize("data", REFERENCE, ids=[data["measure"] for data in REFERENCE])
def test_q_of_whole_likelihoods_is_that_of_metafor(data):
    columns = {
        name: data[name]
        for name in (
            "events",
            "total",
            "control_events",
            "control_total",
            "person_time",
            "control_person_time",
        )
        if name in data
    }
    sites = [
        qis.Counts(question="q", **dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]
    found = heterogeneity_of(sites)
    # metafor's optimisers stop at a relative change of about 1e-6 of the deviance.
    assert found.q == pytest.approx(data["answer"]["q"], abs=2e-4)
    assert found.df == data["answer"]["df"]
    assert qis.pool_profiles(sites).estimate == pytest.approx(data["answer"]["estimate"], abs=1e-4)
    if found.method == "chi-squared":
        assert found.p_value == pytest.approx(data["answer"]["p_chi2"], abs=1e-4)


def test_of_normal_estimates_it_is_cochrans():
    rng = np.random.default_rng(1)
    for k in (2, 5, 40):
        y, s = rng.normal(size=k), rng.uniform(0.1, 2.0, k)
        found = heterogeneity_of(
            [effect(*pair) for pair in zip(y.tolist(), s.tolist(), strict=True)]
        )
        classical = inverse_variance(y, s, tau2="FE")
        assert found.q == pytest.approx(classical.q, rel=1e-9)
        assert (found.df, found.method, found.draws) == (k - 1, "chi-squared", 0)
        assert found.p_value == pytest.approx(chi2.sf(classical.q, k - 1), rel=1e-9)
        assert found.i2 == pytest.approx(classical.i2, rel=1e-9)


SPARSE = [
    [(0, 11, 3, 12), (1, 20, 4, 22), (2, 9, 0, 8)],
    [(1, 30, 0, 31), (0, 25, 1, 24), (1, 40, 0, 38), (0, 33, 2, 35)],
    [(6, 40, 1, 42), (0, 40, 3, 37), (2, 15, 2, 14)],
]


def by_all_tables(tables):
    """Q and its p-value by all tables with these margins, each with its probability."""
    theta = qis.pool_profiles([counts(*table) for table in tables]).estimate

    def law(table, at):
        a, n, c, m = table
        return nchypergeom_fisher(n + m, n, a + c, math.exp(at))

    supports = [range(max(0, a + c - m), min(n, a + c) + 1) for a, n, c, m in tables]

    def own(table, u):
        low, high = max(0, table[0] + table[2] - table[3]), min(table[1], table[0] + table[2])
        if u in (low, high):  # the probability goes to 1 as the odds ratio goes to 0 or infinity
            return 0.0
        found = minimize_scalar(
            lambda at: -law(table, at).logpmf(u),
            bounds=(-12, 12),
            method="bounded",
            options={"xatol": 1e-9},
        )
        return -found.fun

    best = [{u: own(t, u) for u in support} for t, support in zip(tables, supports, strict=True)]
    grid = np.linspace(-9.0, 9.0, 3601)
    logs = [
        {u: np.array(law(t, 0.0).logpmf(u)) + u * grid for u in support}
        for t, support in zip(tables, supports, strict=True)
    ]
    norms = [np.logaddexp.reduce(np.array(list(each.values())), axis=0) for each in logs]
    masses = [
        {u: float(law(t, theta).pmf(u)) for u in s} for t, s in zip(tables, supports, strict=True)
    ]
    statistics = {}
    for us in itertools.product(*supports):
        whole = sum(each[u] - norm for each, norm, u in zip(logs, norms, us, strict=True))
        q = 2.0 * (sum(b[u] for b, u in zip(best, us, strict=True)) - float(whole.max()))
        statistics[us] = q, math.prod(mass[u] for mass, u in zip(masses, us, strict=True))
    seen = statistics[tuple(t[0] for t in tables)][0]
    return seen, sum(p for q, p in statistics.values() if q >= seen - 1e-4)


@pytest.mark.parametrize("tables", SPARSE)
@pytest.mark.parametrize("as_profiles", [False, True])
def test_with_few_events_p_is_that_of_all_tables_there_are(tables, as_profiles):
    sites = [counts(*table) for table in tables]
    q, p = by_all_tables(tables)
    found = heterogeneity_of([site.profile() for site in sites] if as_profiles else sites)
    assert (found.method, found.draws) == ("monte carlo", DRAWS)
    # Profiles are read between nine points; draws scatter by the binomial standard error.
    assert found.q == pytest.approx(q, abs=0.02 if as_profiles else 2e-3)
    error = math.sqrt(p * (1.0 - p) / DRAWS)
    assert found.p_value == pytest.approx(p, abs=3.5 * error + (0.02 if as_profiles else 0.001))


def test_chi_squared_would_have_been_wrong():
    tables = [(1, 300, 0, 300), (0, 300, 1, 300)] * 20
    found = heterogeneity_of([counts(*table) for table in tables])
    assert chi2.sf(found.q, found.df) < 0.05 < found.p_value


def test_order_and_empty_sites_change_nothing_and_the_seed_only_the_draws():
    tables = SPARSE[0]
    sites = [counts(*table) for table in tables]
    plain = heterogeneity_of(sites)
    empty = [counts(0, 30, 0, 20), counts(9, 9, 4, 4)]
    assert heterogeneity_of([empty[0], *sites[::-1], empty[1]]) == plain
    other = heterogeneity_of(sites, seed=b"another")
    assert (other.q, other.df, other.i2) == (plain.q, plain.df, plain.i2)
    assert other.p_value == pytest.approx(plain.p_value, abs=0.06)
    assert heterogeneity_of(sites, seed=b"another") == other


def test_all_who_hold_the_evidence_get_one_p_and_sites_count_not_cohorts():
    key = [qis.Identity.from_seed(bytes([n]) * 32) for n in range(3)]
    packets = [
        qis.Packet.sign(
            key[owner],
            outcome=qis.Counts(
                question="q", cohort=cohort, events=a, total=n, control_events=c, control_total=m
            ),
            fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
            issued_at=1_800_000_000 + owner,
            lifetime_s=60,
            sequence=(1_800_000_000 + number) * 10**6,
        )
        for number, (owner, cohort, (a, n, c, m)) in enumerate(
            zip((0, 0, 1, 2), ("x", "y", "", ""), SPARSE[1], strict=True)
        )
    ]
    found = qis.synthesise(packets, model="random")
    assert found.heterogeneity.df == 2
    assert found.heterogeneity == qis.synthesise(packets[::-1], model="random").heterogeneity
    named = {packet.issuer: name for packet, name in zip(packets[1:], "zyx", strict=True)}
    assert found.heterogeneity == qis.synthesise(packets, model="fixed", names=named).heterogeneity
    assert "likelihood-ratio Q" in found.explain()
    assert "likelihood-ratio Q" in " ".join(found.summary().split())


def test_i2_needs_finite_estimates_and_says_so():
    sites = [counts(3, 100, 9, 101), counts(0, 40, 3, 42), counts(12, 80, 20, 77)]
    found = heterogeneity_of(sites)
    assert found.i2 is None
    assert "1 of 3 informative sites have no finite estimate" in found.no_i2
    assert "no I²" in str(found)
    assert heterogeneity_of([sites[0], sites[2]]).i2 is not None


def test_what_cannot_be_told_has_its_reason():
    alone = heterogeneity_of([counts(3, 100, 9, 101), counts(0, 10, 0, 12)])
    assert (alone.q, alone.df, alone.p_value) == (None, 0, None)
    assert "one site" in str(alone)
    rising = heterogeneity_of([counts(0, 40, 3, 42), counts(0, 14, 2, 15)])
    assert rising.q == pytest.approx(0.0, abs=1e-9)
    assert rising.p_value is None
    assert "ever smaller" in rising.no_p_value
    few = [qis.Moments(question="q", total=11, mean=m, ss=20.0) for m in (1.0, 3.0)]
    assert "fewer than 50 people" in heterogeneity_of(few).no_p_value
    many = [qis.Moments(question="q", total=200, mean=m, ss=400.0) for m in (1.0, 1.3, 1.1)]
    found = heterogeneity_of(many)
    # The variance is profiled out: each site's likelihood is that of Student's t.
    best = minimize_scalar(
        lambda mu: sum(100.0 * math.log1p(200.0 * (m.mean - mu) ** 2 / m.ss) for m in many)
    )
    assert found.q == pytest.approx(2.0 * best.fun, abs=1e-6)
    assert found.p_value == pytest.approx(chi2.sf(found.q, 2), rel=1e-9)


@pytest.mark.parametrize(
    "table", [(3, 40, 9, 42), (0, 11, 3, 12), (1, 500, 6, 300), (18, 20, 3, 22)]
)
@pytest.mark.parametrize("theta", [-1.5, 0.0, 0.8])
def test_events_are_drawn_by_their_distribution(table, theta):
    a, n, c, m = table
    likelihood = Likelihood.of([counts(*table)])
    _, slopes, bends = likelihood.evaluate(np.array([theta]))
    below, above = (float(each[0]) for each in exact_of([counts(*table)]).limiting_slopes)
    arms = Arms(-below, -above, float(-slopes[0]), float(-bends[0]))
    low, high = max(0, a + c - m), min(n, a + c)
    events = np.arange(low, high + 1.0)
    truth = nchypergeom_fisher(n + m, n, a + c, math.exp(theta)).pmf(events)
    found = _shares(events - a, arms)
    assert np.abs(found - truth).max() < 4e-3
    moments = [float(found @ (events - a - arms.mean) ** power) for power in (1, 2)]
    assert moments == pytest.approx([0.0, arms.variance], abs=1e-8)


def test_normal_quantiles_are_those_of_the_distribution_function():
    uniform = np.array([1e-12, 1e-5, 0.02, 0.4999, 0.5, 0.7, 0.999, 1.0 - 1e-9])
    again = [0.5 * math.erfc(-z / math.sqrt(2.0)) for z in _normal(uniform).tolist()]
    assert again == pytest.approx(uniform.tolist(), rel=1e-9)

"""Prediction intervals, and what is told of the prior on tau, against brute force."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

import qis
from qis.synthesis import Mark, bayes, pool_profiles

SCALE = 0.5


def counts(*cells):
    a, n, c, m = cells
    return qis.Counts(question="q", events=a, total=n, control_events=c, control_total=m)


def effect(estimate, error, n=None):
    return qis.Effect(question="q", measure="OR", estimate=estimate, standard_error=error, n=n)


TABLES = [(14, 131, 14, 136), (3, 38, 9, 40), (22, 90, 11, 88), (0, 20, 2, 22), (5, 60, 1, 55)]


def by_brute_force(sites, level=0.95):
    """Limits for a further site, the prior's share and P(tau > its 90 % point), on a dense grid."""
    theta = np.linspace(-12.0, 12.0, 1201)
    curves = [
        np.exp(site.log_likelihood(theta) - site.log_likelihood(theta).max()) for site in sites
    ]
    means = np.linspace(-6.0, 6.0, 241)
    taus = np.linspace(0.025, 3.175, 64)
    density = np.empty((taus.size, means.size))
    for row, tau in enumerate(taus):
        kernel = norm.pdf(theta[:, np.newaxis], means, tau)
        logs = sum(np.log(curve @ kernel) for curve in curves)
        density[row] = logs - 0.5 * (tau / SCALE) ** 2
    density = np.exp(density - density.max())
    weights = density / density.sum()

    def below(x):
        return float((weights * norm.cdf((x - means) / taus[:, np.newaxis])).sum())

    tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
    limits = [brentq(lambda x, p=p: below(x) - p, -12.0, 12.0) for p in tails]
    of_tau = density.sum(axis=1)
    of_tau /= of_tau.sum() * (taus[1] - taus[0])
    prior = 2.0 * norm.pdf(taus, 0.0, SCALE)
    share = np.minimum(of_tau, prior).sum() * (taus[1] - taus[0])
    beyond = of_tau[taus > 1.6449 * SCALE].sum() * (taus[1] - taus[0])
    return limits, share, beyond


@pytest.mark.parametrize("as_profiles", [False, True])
def test_a_further_site_is_predicted_as_by_brute_force(as_profiles):
    sites = [counts(*table) for table in TABLES]
    limits, share, _ = by_brute_force(sites)
    found = pool_profiles([s.profile() for s in sites] if as_profiles else sites, model="random")
    assert found.prediction_interval == pytest.approx(limits, abs=0.01)
    assert found.prior_share == pytest.approx(share, abs=0.02)
    assert found.prediction_interval[0] < found.interval[0]
    assert found.prediction_interval[1] > found.interval[1]


def test_of_normal_estimates_it_is_that_of_bayes_whichever_way_it_is_computed():
    # Counts of many people are as good as normal, and go another way than effects do.
    rng = np.random.default_rng(3)
    sites = []
    for _ in range(6):
        risk = 1.0 / (1.0 + math.exp(rng.normal(0.8, 0.4)))
        sites.append(counts(round(40_000 * risk), 40_000, 12_000, 40_000))
    effects = [site.effect("OR") for site in sites]
    by_grid = pool_profiles(sites, model="random")
    by_nodes = pool_profiles(effects, model="random")
    direct = bayes([e.estimate for e in effects], [e.standard_error for e in effects])
    assert by_nodes.prediction_interval == pytest.approx(direct.predictive.interval, abs=1e-9)
    assert by_grid.prediction_interval == pytest.approx(direct.predictive.interval, abs=2e-3)
    assert by_grid.prior_share == pytest.approx(by_nodes.prior_share, abs=5e-3)


def test_one_site_says_nothing_of_tau_and_the_prior_has_it_all():
    found = pool_profiles([effect(0.3, 0.2)], model="random")
    assert found.marks == (Mark.PRIOR_DOMINATED,)
    assert found.prior_share == pytest.approx(1.0, abs=1e-6)

    def density(tau):
        return 2.0 * norm.pdf(tau, 0.0, SCALE)

    # mu given tau has the variance 0.2² + tau², a further site's effect twice the latter.
    def below(x):
        whole = quad(
            lambda t: density(t) * norm.cdf(x, 0.3, math.hypot(0.2, math.sqrt(2) * t)), 0, 6
        )
        return whole[0]

    assert below(found.prediction_interval[1]) == pytest.approx(0.975, abs=1e-6)


@pytest.mark.parametrize("sites", [2, 3, 4, 5])
def test_up_to_four_sites_the_share_of_the_prior_is_told(sites):
    found = pool_profiles([effect(0.1 * k, 0.3) for k in range(sites)], model="random")
    assert (Mark.FEW_SITES in found.marks) == (sites <= 4)
    assert (f"{found.prior_share:.0%} of what is said" in found.note) == (sites <= 4)
    assert 0.0 < found.prior_share < 1.0


def test_sites_that_differ_more_than_the_prior_allows_are_told_with_the_wider_answer():
    wild = [effect(y, 0.1) for y in (-2.0, 1.5, 3.0, -1.0, 0.2)]
    found = pool_profiles(wild, model="random")
    assert found.marks == (Mark.PRIOR_CONTRADICTED,)
    twice = pool_profiles(wild, model="random", tau_scale=2.0 * SCALE)
    assert found.under_twice_the_scale.interval == twice.interval
    assert twice.interval[0] < found.interval[0]
    assert "Under twice the scale: " in found.note
    alike = pool_profiles([effect(y, 0.1) for y in (0.2, 0.3, 0.1, 0.2, 0.4)], model="random")
    assert alike.marks == ()
    assert alike.under_twice_the_scale is None


def test_credible_and_confidence_intervals_are_told_apart():
    sites = [counts(*table) for table in TABLES]
    found = qis.synthesise(sites, model="random", names=list("abcde"))
    assert found.fixed.interval_kind == "confidence"
    assert found.random.interval_kind == "credible"
    assert found.prediction_interval == found.random.prediction_interval
    text = found.explain()
    assert "(confidence interval)" in text
    assert "(credible interval)" in text
    assert "prediction interval" in text
    assert "prediction interval" in found.summary()
    rising = pool_profiles([counts(0, 20, 2, 22), counts(0, 9, 3, 8)], model="random")
    assert rising.interval_kind == "confidence"
    assert rising.prediction_interval is rising.prior_share is None

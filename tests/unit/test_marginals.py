"""Log-marginals at points of (mu, tau), against plain sums over a site's own effect."""

import math

import numpy as np
import pytest

from qis.outcomes import Counts, Effect, Moments
from qis.synthesis import pool_profiles
from qis.synthesis._pooled_curve import maximum_of
from qis.synthesis.currency import Likelihood
from qis.synthesis.lattice import Panel, TauPoints, mean_matrix
from qis.synthesis.marginals import Marginals
from qis.synthesis.said import Facts


def counts(events, total, control_events, control_total):
    return Counts(
        question="q",
        events=events,
        total=total,
        control_events=control_events,
        control_total=control_total,
    )


def arm(events, total, person_time=None):
    return Counts(question="q", events=events, total=total, person_time=person_time)


SITES = {
    "normal": [Effect(question="q", measure="OR", estimate=0.3, standard_error=0.2)],
    "counts": [counts(3, 20, 5, 18)],
    "no events in one arm": [counts(0, 20, 5, 18)],
    "precise counts": [counts(3216, 8867, 775, 32120)],
    "profile": [counts(3, 20, 5, 18).profile()],
    "sharp profile": [counts(321, 886, 77, 3212).profile()],
    "proportion": [arm(2, 17)],
    "rate": [arm(7, 40, person_time=12.5)],
    "mean": [Moments.from_values(question="q", values=[0.1, -0.6, 0.9, 2.2])],
    "two cohorts": [counts(3, 20, 5, 18), counts(1, 9, 2, 9).profile()],
    "normal and counts": [
        counts(3, 20, 5, 18),
        Effect(question="q", measure="OR", estimate=-0.4, standard_error=0.5),
    ],
}


def plainly(site, mean, tau):
    """The integral by very many equal steps."""
    peak = float(np.clip(maximum_of(site)[0], -40.0, 40.0))
    ends = min(mean, peak) - 13.0 * tau, max(mean, peak) + 13.0 * tau
    theta = np.linspace(*ends, max(math.ceil((ends[1] - ends[0]) / (0.3 * tau)), 2_001))
    logs = site.value(theta) - 0.5 * ((theta - mean) / tau) ** 2
    top = logs.max()
    mass = np.exp(logs - top).sum() * (theta[1] - theta[0])
    return top + math.log(mass / (tau * math.sqrt(2.0 * math.pi)))


@pytest.mark.parametrize("name", SITES)
def test_between_its_points_it_is_the_integral(name):
    site = Likelihood.of(SITES[name])
    points = TauPoints.for_errors(0.5, site.finest)
    panels = [Panel(1, -1), Panel(1, 0)]
    if name == "mean":
        panels = [Panel(-1, k) for k in range(-4, 4)]
    marginals = Marginals([Facts.of(site)])
    table = np.concatenate([marginals.on(p, points.taus)[0][0] for p in panels], axis=1)
    means = np.array([-1.3, -0.41, 0.02, 0.77, 1.9])
    taus = np.array([0.01, 0.043, 0.11, 0.29, 0.7, 1.9, 3.2])
    found = points.interpolated(table, taus) @ mean_matrix(panels, means).T
    right = np.array([[plainly(site, mean, tau) for mean in means.tolist()] for tau in taus])
    # Far in a tail what matters is small beside the drop.
    allowed = 5e-5 + 2e-4 * np.abs(right - right.max())
    if "profile" in name or "two" in name:  # cubics, whose second derivative jumps
        allowed = 5e-3 + 2e-3 * np.abs(right - right.max())
    assert (np.abs(found - right) <= allowed).all(), (np.abs(found - right) / allowed).max(axis=1)


def test_a_site_has_the_same_bits_alone_and_beside_others():
    rng = np.random.default_rng(3)
    outcomes = []
    for _ in range(20):
        n, m = rng.integers(3, 3000, 2).tolist()
        a, c = int(rng.integers(0, n + 1)), int(rng.integers(0, m + 1))
        outcomes.append(counts(a, n, c, m))
    outcomes += [outcome.profile() for outcome in outcomes[:10]]
    outcomes += [
        Effect(question="q", measure="OR", estimate=float(y), standard_error=abs(float(y)) + 0.01)
        for y in rng.normal(size=5)
    ]
    informative = [each for each in outcomes if each is not None and informs(each)]
    sites = [Facts.of(Likelihood.of([each])) for each in informative]
    taus = TauPoints.for_errors(0.5, min(site.finest for site in sites)).taus
    for panel in (Panel(1, 0), Panel(1, -2)):
        together = Marginals(sites).on(panel, taus)
        reverse = Marginals(sites[::-1]).on(panel, taus)
        for k, site in enumerate(sites):
            alone = Marginals([site]).on(panel, taus)
            for whole, back, one in zip(together, reverse, alone, strict=True):
                assert np.array_equal(whole[k], one[0])
                assert np.array_equal(back[len(sites) - 1 - k], one[0])


def informs(outcome):
    return isinstance(outcome, Effect) or outcome.is_informative


@pytest.mark.parametrize("order", [(6, 5, 4, 3, 2, 1, 0), (2, 0, 6, 1, 5, 3, 4)])
def test_the_order_of_sites_changes_no_bit(order):
    outcomes = [
        counts(3, 20, 5, 18),
        counts(0, 20, 5, 18),
        counts(30, 200, 50, 180).profile(),
        counts(2, 9, 1, 9).profile(),
        counts(321, 886, 77, 3212),
        counts(7, 70, 9, 50),
        Effect(question="q", measure="OR", estimate=0.3, standard_error=0.2),
    ]
    plain = pool_profiles(outcomes, model="random")
    other = pool_profiles([outcomes[k] for k in order], model="random")
    assert (other.estimate, other.interval, other.tau) == (
        plain.estimate,
        plain.interval,
        plain.tau,
    )


def test_precise_sites_that_conflict_are_resolved_far_in_each_others_tails():
    # At small tau one of them is 200 standard errors off: exp of that is no float64.
    outcomes = [counts(31_638, 96_409, 8_529, 33_019), counts(7, 10, 6_812, 10_522)]
    outcomes += [counts(90_000, 100_000, 10_000, 100_000), counts(50_000, 90_000, 44_000, 90_000)]
    found = pool_profiles(outcomes, model="random", tau_scale=1.0)
    sites = [Likelihood.of([outcome]) for outcome in outcomes]
    # The estimate is where the posterior of a plain grid has its median.
    means, taus = np.linspace(-5.0, 9.0, 57), np.linspace(0.05, 6.5, 44)
    logs = sum(of_grid(site, means, taus) for site in sites)
    logs -= 0.5 * taus[:, np.newaxis] ** 2
    mass = np.exp(logs - logs.max())
    share = np.add.accumulate(mass.sum(axis=0))
    median = float(np.interp(0.5, (share - 0.5 * mass.sum(axis=0)) / share[-1], means))
    assert found.estimate == pytest.approx(median, abs=0.01 * found.standard_error)
    of_tau = np.add.accumulate(mass.sum(axis=1))
    assert found.tau == pytest.approx(
        float(np.interp(0.5, (of_tau - 0.5 * mass.sum(axis=1)) / of_tau[-1], taus)), abs=0.02
    )


def of_grid(site, means, taus):
    peak, _ = maximum_of(site)
    theta = np.linspace(peak - 12.0 * site.finest, peak + 12.0 * site.finest, 401)
    if site.finest > 0.2:
        theta = np.linspace(-12.0, 12.0, 1601)
    logs = site.value(theta)[:, np.newaxis, np.newaxis]
    logs = logs - 0.5 * ((theta[:, np.newaxis, np.newaxis] - means) / taus[:, np.newaxis]) ** 2
    top = logs.max(axis=0)
    return top + np.log(np.exp(logs - top).sum(axis=0)) - np.log(taus)[:, np.newaxis]


def test_nothing_is_read_into_values_far_from_every_site():
    # A sum that was read wrongly there once had its peak at 1e-48 as an odds ratio.
    outcomes = [counts(3, 20, 5, 18), counts(30, 200, 50, 180), counts(7, 70, 9, 50)]
    found = pool_profiles(outcomes, model="random", tau_scale=5.0)
    assert found.estimate == pytest.approx(-0.756, abs=0.01)

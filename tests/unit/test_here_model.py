"""The model of a site's effect: kernels, expectation propagation, the grid; against references."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

import qis
from qis.here.grid import integrate, integrate_evenly
from qis.here.kernel import POWERS, Likeness
from qis.here.marginal import density_of
from qis.here.model import SHARES, SiteModel
from qis.here.propagation import propagate
from qis.here.tables import SiteLikelihoods
from qis.synthesis.currency import Likelihood

DATA = Path(__file__).parents[1] / "data"


def likeness_of_signs(signs):
    return Likeness(above_chance=signs @ signs.T / signs.shape[1], chance=0.5)


def normal_tables(estimates, errors):
    pairs = zip(estimates, errors, strict=True)
    return SiteLikelihoods.of([Likelihood(precision=error**-2, centre=y) for y, error in pairs])


def counts_tables(rows):
    keys = ("events", "total", "control_events", "control_total")
    outcomes = [qis.Counts(question="q", **dict(zip(keys, row, strict=True))) for row in rows]
    return SiteLikelihoods.of([Likelihood.of([outcome]) for outcome in outcomes])


@given(st.integers(2, 12), st.integers(0, 2**32 - 1), st.sampled_from(POWERS))
def test_no_power_of_a_kernel_is_indefinite(k, seed, power):
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(k, 16))
    kernel = likeness_of_signs(signs).kernel(power)
    assert np.linalg.eigvalsh(kernel).min() > -1e-9
    assert np.allclose(np.diag(kernel), 1.0)


def test_clipping_at_zero_would_be_indefinite():
    """The test above sees something: clipped cosines of directions on a circle fail it."""
    angles = np.arange(24) * (2.0 * np.pi / 24)
    clipped = np.maximum(np.cos(np.subtract.outer(angles, angles)), 0.0)
    assert np.linalg.eigvalsh(clipped).min() < -0.5


def exact(model, structure, tau, estimates, errors):
    """Mean, variance and log evidence under normal likelihoods, by linear algebra."""
    own = (1.0 - structure.share) * tau**2
    prior = model.covariance(structure, tau) + own * np.eye(model.k)
    total = prior + np.diag(np.square(errors))
    solved = np.linalg.solve(total, prior)
    mean = solved.T @ estimates
    covariance = prior - prior @ solved
    _, log_det = np.linalg.slogdet(total)
    fit = estimates @ np.linalg.solve(total, estimates)
    constant = 0.5 * np.log(np.square(errors)).sum()  # likelihoods are 1 at their largest
    return mean, np.diag(covariance), constant - 0.5 * (log_det + fit)


@pytest.mark.parametrize("share", SHARES)
def test_of_normal_likelihoods_without_tails_propagation_is_exact(share):
    rng = np.random.default_rng(3)
    estimates, errors = rng.normal(size=9), rng.uniform(0.05, 1.0, 9)
    likeness = likeness_of_signs(rng.choice([-1.0, 1.0], size=(9, 64)))
    features = rng.normal(size=(9, 2))
    model = SiteModel(k=9, likeness=likeness, tau_scale=0.5, tail_share=0.0, features=features)
    tables = normal_tables(estimates, errors)
    structures = [each for each in model.structures if each.share == share]
    for structure in structures:
        for tau in (0.01, 0.4, 2.0):
            covariance = model.covariance(structure, tau)[np.newaxis]
            extra = [np.array([[model.own_variances(structure, tau)[0]]])]
            found = propagate(tables, covariance, extra, [1.0])
            mean, variance, evidence = exact(model, structure, tau, estimates, errors)
            assert found.own.own_means[0, 0] == pytest.approx(mean, abs=1e-6)
            assert found.own.own_variances[0, 0] == pytest.approx(variance, rel=1e-6)
            assert found.log_evidence[0] == pytest.approx(evidence, abs=1e-6)
            assert found.is_settled.all()


def test_what_others_say_is_what_is_found_without_the_site():
    rng = np.random.default_rng(4)
    estimates, errors = rng.normal(size=8), rng.uniform(0.1, 0.6, 8)
    signs = rng.choice([-1.0, 1.0], size=(8, 64))
    likeness = likeness_of_signs(signs)
    grid = integrate(
        normal_tables(estimates, errors),
        SiteModel(k=8, likeness=likeness, tau_scale=0.5, tail_share=0.0),
    )
    wide = errors.copy()
    wide[0] = 1e4  # says nothing, and is asked for
    asked = integrate(
        normal_tables(estimates, wide),
        SiteModel(k=8, likeness=likeness, tau_scale=0.5, tail_share=0.0),
    )
    others = density_of(grid, 0, with_own=False)
    alone = density_of(asked, 0)
    for share in (0.025, 0.5, 0.975):
        assert others.quantile(share) == pytest.approx(alone.quantile(share), abs=0.02)


def test_sites_that_are_all_alike_give_no_evidence_of_likeness():
    tables = normal_tables([0.1, 0.5, -0.3], [0.2, 0.2, 0.3])
    alike = Likeness(above_chance=np.ones((3, 3)), chance=0.5)
    apart = Likeness(above_chance=np.eye(3), chance=0.5)
    for likeness in (alike, apart, None):
        grid = integrate(tables, SiteModel(k=3, likeness=likeness, tau_scale=0.5))
        assert grid.log_bayes_factor is None
        assert grid.masses.sum() == pytest.approx(1.0)


def many_sites(k, seed, times=1.0):
    rng = np.random.default_rng(seed)
    errors = rng.choice([0.15, 0.57, 1.33], k)
    signs = rng.choice([-1.0, 1.0], size=(k, 64))
    effects = times * (0.4 * signs[:, 0] + rng.normal(0.0, 0.2, k))
    return normal_tables(effects + rng.normal(0.0, errors), errors), likeness_of_signs(signs)


def test_the_refined_grid_agrees_with_a_fine_one():
    tables, likeness = many_sites(40, 5)
    model = SiteModel(k=40, likeness=likeness, tau_scale=0.5)
    refined = integrate(tables, model)
    fine = integrate_evenly(tables, model, 64)
    assert refined.log_bayes_factor == pytest.approx(fine.log_bayes_factor, abs=0.1)
    for one, other in zip(refined.means_and_sds(), fine.means_and_sds(), strict=True):
        assert one == pytest.approx(other, abs=0.01)


def test_a_fixed_grid_would_not():
    tables, likeness = many_sites(30, 5, times=2.5)
    model = SiteModel(k=30, likeness=likeness, tau_scale=0.5)
    refined = integrate(tables, model)
    fixed = integrate_evenly(tables, model, 8)
    assert abs(refined.log_bayes_factor - fixed.log_bayes_factor) > 0.1


def test_order_of_sites_changes_nothing_that_matters():
    tables, likeness = many_sites(12, 6)
    order = np.random.default_rng(7).permutation(12)
    shuffled = normal_tables(tables.middles[order], np.sqrt(tables.variances[order]))
    one = integrate(tables, SiteModel(k=12, likeness=likeness, tau_scale=0.5))
    two = integrate(shuffled, SiteModel(k=12, likeness=likeness.of(order), tau_scale=0.5))
    assert one.means_and_sds()[0][order] == pytest.approx(two.means_and_sds()[0], abs=1e-3)


def test_tables_read_likelihoods_as_they_are():
    rows = [(0, 20, 5, 21), (3, 40, 9, 41), (120, 400, 160, 410), (11, 11, 4, 12)]
    keys = ("events", "total", "control_events", "control_total")
    for row in rows:
        outcome = qis.Counts(question="q", **dict(zip(keys, row, strict=True)))
        exact_one = Likelihood.of([outcome])
        theta = np.linspace(-9.0, 9.0, 331)
        read = SiteLikelihoods.of([exact_one]).value(np.array([0]), theta[np.newaxis])[0]
        values = exact_one.value(theta)
        near = values > values.max() - 20.0
        assert (read - read.max())[near] == pytest.approx((values - values.max())[near], abs=2e-4)


def summaries(grid, site):
    density = density_of(grid, site)
    return [*density.mean_and_sd, *(density.quantile(share) for share in (0.025, 0.5, 0.975))]


def test_long_markov_chains_of_others_agree():
    """Seventeen trials, five without events in one arm; the kernel of the reference's note."""
    rows = json.loads((DATA / "synthesis" / "nielweise2007.json").read_text())["data"]
    rows = list(zip(*(rows[name] for name in ("ai", "n1i", "ci", "n2i")), strict=True))
    rows = [row for row in rows if row[0] + row[2] > 0]
    k = len(rows)
    likeness = index_likeness(k)
    model = SiteModel(k=k, likeness=likeness, tau_scale=0.5, mean_scale=10.0, tail_share=0.0)
    grid = integrate(counts_tables(rows), model)
    reference = json.loads((DATA / "here" / "mcmc_nielweise2007.json").read_text())
    for site, mean, sd, low, median, high in reference["rows"]:
        found = summaries(grid, int(site))
        assert found[:2] == pytest.approx([mean, sd], abs=0.02)
        assert found[3] == pytest.approx(median, abs=0.02)
        assert [found[2], found[4]] == pytest.approx([low, high], abs=0.03)


def index_likeness(k):
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    return Likeness(above_chance=np.exp(-apart / 5.0), chance=0.0)


@pytest.mark.parametrize(
    "number", [0, 1, 2], ids=["four sites without events", "an outlier", "two in conflict"]
)
def test_long_markov_chains_of_ours_agree(number):
    """Made by benchmarks/_site_mcmc.py, which shares no code; with the tail of the deviations."""
    reference = json.loads((DATA / "here" / "mcmc.json").read_text())[number]
    k = len(reference["tables"])
    settings = {name: reference[name] for name in ("tau_scale", "mean_scale", "tail_share")}
    model = SiteModel(k=k, likeness=index_likeness(k), **settings)
    grid = integrate(counts_tables(reference["tables"]), model)
    assert grid.found.is_settled.all()
    for site, (mean, sd, low, median, high) in enumerate(reference["rows"]):
        found = summaries(grid, site)
        assert found[:2] == pytest.approx([mean, sd], abs=0.02)
        assert found[3] == pytest.approx(median, abs=0.02)
        assert [found[2], found[4]] == pytest.approx([low, high], abs=0.03)

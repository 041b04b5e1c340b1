import math

import numpy as np
import pytest
from scipy import stats

from qis.errors import InputError
from qis.synthesis import bayes, heavy_tailed, influence, inverse_variance, weighted_median


@pytest.mark.parametrize(
    ("estimates", "errors", "expected"),
    [
        ([0.1], [0.3], 0.1),
        ([1.0, 2.0], [1.0, 1.0], 1.5),
        ([1.0, 2.0], [1.0, 2.0], 1.0),
        ([3.0, 1.0, 2.0], [1.0, 1.0, 1.0], 2.0),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0], 2.5),
        ([1.0, 2.0, 100.0], [1.0, 1.0, 0.4], 100.0),
        ([1.0, 2.0, 100.0], [1.0, 1.0, 0.6], 2.0),
    ],
)
def test_weighted_median(estimates, errors, expected):
    assert weighted_median(estimates, errors).estimate == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("k", range(1, 13))
def test_with_equal_weights_the_interval_is_the_sign_tests(k):
    # The classical interval by order statistics: y[d] to y[k-1-d], d from the binomial.
    values = np.arange(1.0, k + 1.0)
    found = weighted_median(values, np.ones(k))
    d = int(stats.binom.ppf(0.025, k, 0.5))
    while d > 0 and stats.binom.cdf(d - 1, k, 0.5) > 0.025:
        d -= 1
    expected = (-math.inf, math.inf) if d == 0 else (values[d - 1], values[k - d])
    assert found.interval == expected


@pytest.mark.parametrize("k", [5, 8, 12, 13, 40])
def test_the_sign_tests_interval_covers(k):
    rng = np.random.default_rng(k)
    errors = rng.uniform(0.1, 0.6, k)
    runs = rng.normal(0.0, np.hypot(errors, 0.3), (300, k))
    covered = sum(low <= 0.0 <= high for low, high in (
        weighted_median(y, errors).interval for y in runs
    ))  # fmt: skip
    assert covered >= stats.binom.ppf(0.001, 300, 0.94)


def test_a_minority_cannot_move_the_median_beyond_the_others():
    honest = [0.1, 0.2, 0.3, 0.25]
    for lie in (1e3, -1e3, 1e60):
        found = weighted_median([*honest, lie], [0.2] * 5)
        assert min(honest) <= found.estimate <= max(honest)


def test_influence_is_leave_one_out_and_the_deleted_residual():
    y, s = [0.1, 0.3, -0.2, 0.4, 2.0], [0.2, 0.3, 0.25, 0.2, 0.3]
    table = influence(y, s)
    whole = inverse_variance(y, s)
    for i, (site, without) in enumerate(zip(table.sites, whole.leave_one_out(), strict=True)):
        assert site.estimate == pytest.approx(without.estimate, rel=1e-12)
        assert site.standard_error == pytest.approx(without.standard_error, rel=1e-12)
        assert site.change == pytest.approx(whole.estimate - without.estimate, rel=1e-9)
        spread = math.sqrt(s[i] ** 2 + without.tau2 + without.standard_error**2)
        assert site.residual == pytest.approx((y[i] - without.estimate) / spread, rel=1e-9)
    assert table.odd() == (4,)


def test_odd_sites_are_rare_where_there_are_none():
    rng = np.random.default_rng(2)
    errors = rng.uniform(0.1, 0.5, 12)
    named = sum(bool(influence(rng.normal(0, errors), errors, tau2="FE").odd()) for _ in range(300))
    assert named <= stats.binom.ppf(0.999, 300, 0.05)


@pytest.mark.parametrize("k", range(2, 8))
def test_below_five_sites_it_cannot_tell(k):
    y, s = [0.0] * (k - 1) + [50.0], [0.1] * k
    for found in (influence(y, s, tau2="FE"), weighted_median(y, s), heavy_tailed(y, s)):
        assert found.can_tell == (k >= 5)
        assert found.verdict.startswith("Cannot tell") == (k < 5)
    named = influence(y, s, tau2="FE").odd()
    assert (k - 1 in named) == (k >= 5)


def test_influence_needs_two_sites():
    with pytest.raises(InputError):
        influence([1.0], [1.0])


def test_heavy_tails_by_brute_force():
    # theta integrated out on a fine grid, mu and tau summed over another: no code in common.
    y, s, df = np.array([0.1, 0.3, 2.0]), np.array([0.1, 0.2, 0.15]), 3.0
    z = np.linspace(-8.0, 8.0, 161)
    mu = np.linspace(-6.0, 8.0, 561)
    log_tau = np.linspace(-8.0, 1.3, 94)
    tau = np.exp(log_tau)[:, None, None]
    density = np.ones((len(log_tau), len(mu)))
    for estimate, error in zip(y, s, strict=True):
        theta = estimate + error * z
        standard = (theta[None, None, :] - mu[None, :, None]) / tau
        # The trapezoid rule over theta fails once tau is small against its step.
        values = stats.t._pdf(standard, df) / tau
        exact = (values * np.exp(-0.5 * z * z)).sum(axis=2) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
        small = np.exp(log_tau) < 0.05 * error
        exact[small] = stats.norm.pdf(mu, estimate, error)
        density *= exact
    density *= (stats.halfnorm.pdf(np.exp(log_tau), scale=0.5) * np.exp(log_tau))[:, None]
    density /= density.sum()
    of_mean = density.sum(axis=0)
    mean = float(of_mean @ mu)
    found = heavy_tailed(y, s)
    assert found.mean == pytest.approx(mean, abs=2e-3)
    assert found.sd == pytest.approx(math.sqrt(of_mean @ (mu - mean) ** 2), rel=5e-3)


def test_with_many_degrees_of_freedom_the_tails_are_normal():
    y, s = [-0.9, -1.6, -0.2, 0.4, -0.5], [0.57, 0.44, 0.2, 0.7, 0.3]
    heavy, normal = heavy_tailed(y, s, df=100.0), bayes(y, s)
    assert heavy.mean == pytest.approx(normal.mean, abs=5e-3)
    assert heavy.sd == pytest.approx(normal.sd, rel=0.02)
    assert heavy.interval == pytest.approx(normal.interval, abs=0.01)


def test_a_far_site_moves_heavy_tails_less():
    y, s = [0.1, 0.2, 0.0, 0.15, 0.1, 5.0], [0.1] * 6
    without = heavy_tailed(y[:-1], s[:-1]).mean
    assert abs(heavy_tailed(y, s).mean - without) < 0.25 * abs(bayes(y, s).mean - without)


@pytest.mark.parametrize(
    ("estimates", "errors"),
    [([0.1], [0.3]), ([0.1, 0.1], [0.2, 0.2]), ([0.0, 3.0], [1e-3, 1e-3]), ([0, 1], [1e-3, 10])],
)
def test_heavy_tails_stay_finite(estimates, errors):
    found = heavy_tailed(estimates, errors)
    assert np.isfinite([found.mean, found.sd, *found.interval, found.tau_median]).all()
    assert found.interval[0] < found.median < found.interval[1]


def test_order_changes_no_bit():
    y, s = np.array([0.3, -0.2, 0.5, 1.5]), np.array([0.2, 0.3, 0.1, 0.4])
    assert heavy_tailed(y, s) == heavy_tailed(y[::-1], s[::-1])
    assert influence(y, s).sites == influence(y[::-1], s[::-1]).sites[::-1]
    one, other = weighted_median(y, s), weighted_median(y[::-1], s[::-1])
    assert (one.estimate, one.interval) == (other.estimate, other.interval)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"df": 2.0}, "df"),
        ({"df": 1e3}, "df"),
        ({"tau_scale": 0}, "tau_scale"),
        ({"tau_scale": 1e12}, "tau_scale"),
    ],
)
def test_bad_options_are_named(options, field):
    with pytest.raises(InputError) as caught:
        heavy_tailed([1.0], [1.0], **options)
    assert caught.value.field == field


def test_the_weighted_median_of_many_sites_is_that_of_the_definition():
    rng = np.random.default_rng(11)
    y, s = rng.normal(size=3001), rng.uniform(0.01, 3.0, 3001)
    found = weighted_median(y, s)
    order = np.argsort(y)
    share = (1.0 / s)[order] / (1.0 / s).sum()
    below = np.cumsum(share)
    assert found.estimate == y[order][int(np.searchsorted(below, 0.5))]
    assert found.interval[0] < found.estimate < found.interval[1]

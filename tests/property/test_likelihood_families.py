"""Every family of likelihoods: derivatives, limits and curvatures are those of its values."""

import numpy as np
import pytest
from scipy.special import gammaln

from qis.outcomes._conditional import Rates, Tables
from qis.outcomes._curves import Curves
from qis.outcomes._means import MeanDifferences, Means
from qis.outcomes._poisson import PoissonRates

K = 40
STEP = 1e-4


def tables(random):
    totals = random.integers(5, 3000, (2, K)).astype(float)
    shares = random.uniform(0.0, 1.0, (2, K)) ** 3
    events, control = np.floor(totals * shares)
    events[:4], control[:4] = 0.0, np.maximum(control[:4], 1.0)
    events[4:8], control[4:8] = np.maximum(events[4:8], 1.0), 0.0
    control = np.where(events + control > 0.0, control, 1.0)
    return Tables(events=events, total=totals[0], control_events=control, control_total=totals[1])


def rates(random):
    events, control = random.integers(1, 40, (2, K)).astype(float)
    return Rates(events=events, control_events=control, log_time_ratio=random.normal(0, 1, K))


def poisson(random):
    events = random.integers(0, 30, K).astype(float)
    events[:4] = 0.0
    return PoissonRates(events=events, person_time=random.uniform(1, 90, K))


def means(random):
    return Means(
        people=random.integers(3, 60, K).astype(float),
        mean=random.normal(0, 2, K),
        ss=random.uniform(1, 90, K),
    )


def differences(random):
    people, control = random.integers(3, 60, (2, K)).astype(float)
    return MeanDifferences(
        difference=random.normal(0, 2, K),
        people=people,
        ss=random.uniform(1, 90, K),
        control_people=control,
        control_ss=random.uniform(1, 90, K),
    )


def curves(random):
    """Nine points of tables, as profiles carry them."""
    source = tables(random)
    points = random.normal(0, 1, K)[:, np.newaxis] + np.linspace(-2.5, 2.5, 9)
    rows = [source.evaluate(row) for row in points]
    values, gradients = (
        np.array([found[part][k] for k, found in enumerate(rows)]) for part in (0, 1)
    )
    low, high = source.limiting_slopes
    return Curves(points=points, values=values, gradients=gradients, below=-low, above=high)


FAMILIES = [tables, rates, poisson, means, differences, curves]


@pytest.fixture(params=range(3))
def random(request):
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("family", FAMILIES)
def test_slopes_and_curvatures_are_the_derivatives_of_the_values(family, random):
    rows = family(random)
    theta = random.uniform(-4.0, 4.0, 60)
    if family is curves:  # curvature jumps at the points
        apart = np.abs(rows.points[:, :, np.newaxis] - theta).min(axis=1)
    else:
        apart = np.ones((K, theta.size))
    values, slopes, bends = rows.evaluate(theta)
    above, below = rows.evaluate(theta + STEP), rows.evaluate(theta - STEP)
    near = (apart > 2 * STEP) & (np.abs(values) < 1e5)
    assert near.mean() > 0.9
    expected = ((above[0] - below[0]) / (2 * STEP), (above[1] - below[1]) / (2 * STEP))
    for found, numeric in zip((slopes, bends), expected, strict=True):
        scale = 1.0 + np.abs(numeric)
        assert np.max(np.abs(found - numeric)[near] / scale[near]) < 2e-2
    np.testing.assert_allclose(
        rows.value(theta) if hasattr(rows, "value") else values, values, rtol=1e-12
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_no_curvature_is_larger_than_the_one_that_is_said_to_be(family, random):
    rows = family(random)
    if family is curves:
        # Between two points the mean curvature counts, not that of the cubic at a point.
        mean = -np.diff(rows.gradients, axis=1) / np.diff(rows.points, axis=1)
        np.testing.assert_allclose(rows.sharpest, np.maximum(mean.max(axis=1), 0.0))
        return
    values, _, bends = rows.evaluate(np.linspace(-9.0, 9.0, 2001))
    left = values > values.max(axis=1, keepdims=True) - 30.0
    largest = np.where(left, -bends, 0.0).max(axis=1)
    assert np.all(largest <= rows.sharpest * (1.0 + 1e-9))


@pytest.mark.parametrize("family", [tables, rates, poisson, curves])
def test_slopes_and_values_far_away_are_the_limits(family, random):
    rows = family(random)
    for sign, slope, limit in zip((-1, 1), rows.limiting_slopes, rows.limits, strict=True):
        far, farther = (rows.evaluate(np.array([sign * x]))[:2] for x in (60.0, 80.0))
        finite = np.isfinite(slope)
        np.testing.assert_allclose(far[1][finite, 0], slope[finite], atol=1e-6)
        levels_off = finite & (slope == 0.0)
        np.testing.assert_allclose(farther[0][levels_off, 0], limit[levels_off], atol=1e-6)
        falls = sign * np.where(finite, slope, -np.inf) < 0.0
        assert np.all(limit[falls] == -np.inf)
        assert np.all(farther[0][falls, 0] < far[0][falls, 0])
    low, high = rows.limits
    assert np.isfinite(low).any() or np.isfinite(high).any() or family is rates


@pytest.mark.parametrize("family", [means, differences])
def test_means_are_likeliest_at_their_centre_and_fall_for_ever(family, random):
    rows = family(random)
    at = rows.evaluate(rows.centre)
    np.testing.assert_allclose(np.diagonal(at[1]), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.diagonal(at[0]), 0.0, atol=1e-9)
    np.testing.assert_allclose(-np.diagonal(at[2]), rows.sharpest)
    assert np.all(rows.evaluate(np.array([-50.0, 50.0]))[0] < -1.0)
    assert np.all(np.isneginf(np.array(rows.limits)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_span_holds_the_maximum_where_there_is_one(family, random):
    rows = family(random)
    low, high = rows.span
    assert np.all(low <= high)
    if family is curves:
        np.testing.assert_array_equal((low, high), (rows.points[:, 0], rows.points[:, -1]))
        return
    theta = np.linspace(-20.0, 20.0, 4001)
    best = theta[np.argmax(rows.evaluate(theta)[0], axis=1)]
    inner = np.abs(best) < 19.0
    assert inner.any()
    assert np.all((low[inner] - 0.02 <= best[inner]) & (best[inner] <= high[inner] + 0.02))


@pytest.mark.parametrize("seed", range(40))
def test_the_difference_of_two_means_is_split_where_it_costs_least(seed):
    """Also where the cubic has three roots: arms of unlike variance, far from what was seen."""
    random = np.random.default_rng(seed)
    n1, n2 = random.integers(3, 30, 2).astype(float)
    s1, s2 = 10.0 ** random.uniform(-3, 2, 2)
    one = {"people": n1, "ss": s1, "control_people": n2, "control_ss": s2, "difference": 0.0}
    rows = MeanDifferences(**{name: np.array([value]) for name, value in one.items()})
    theta = random.uniform(-20.0, 20.0, 30)
    share = np.linspace(0.0, 1.0, 20_001)[:, np.newaxis]
    to_control = share * np.abs(theta)
    own = np.abs(theta) - to_control
    cost = 0.5 * (n1 * np.log1p(n1 * own**2 / s1) + n2 * np.log1p(n2 * to_control**2 / s2))
    found = rows.evaluate(theta)[0][0]
    assert np.all(found >= -cost.min(axis=0) - 1e-9)
    np.testing.assert_allclose(found, -cost.min(axis=0), rtol=1e-3)


def test_strides_and_steps_give_the_same_sum():
    """Where a table's events spread by 16 and more, every so many weights are summed."""
    random = np.random.default_rng(5)
    for spread in (17.0, 17.9, 25.0, 60.5):
        n = int(16.0 * spread**2)
        events, control = random.integers(n // 3, n // 2, 2)
        rows = Tables(
            events=np.array([events * 1.0]),
            total=np.array([n * 1.0]),
            control_events=np.array([control * 1.0]),
            control_total=np.array([n * 1.0]),
        )
        theta = np.array([-0.3, 0.0, 0.4])
        low, high = (int(x[0]) for x in rows.support)
        k = np.arange(low, high + 1.0)
        both = events + control
        weight = -(
            gammaln(k + 1) + gammaln(n - k + 1) + gammaln(both - k + 1) + gammaln(n - both + k + 1)
        )
        for t, value in zip(theta, rows.evaluate(theta)[0][0], strict=True):
            tilted = weight + t * k
            total = tilted.max() + np.log(np.exp(tilted - tilted.max()).sum())
            assert value == pytest.approx(tilted[events - low] - total, abs=1e-8)


@pytest.mark.parametrize("spacing", [0.2, 1.0, 1.7])
@pytest.mark.parametrize("mode", [-0.03, 0.4, 9.0])
def test_what_a_sampled_curve_loses_is_told(spacing, mode):
    """Of a polynomial of degree 7 or less the loss is known exactly, wherever its points lie."""
    grid = 0.3 + spacing * np.arange(9.0)
    if mode < grid[-1]:  # a maximum inside takes the place of one of the points
        grid = np.sort(np.append(np.linspace(grid[0], grid[-1], 8), grid[0] + mode + 0.1))
        peak = grid[0] + mode + 0.1
    else:
        peak = grid[-1] + 1.0
    value = np.polynomial.Polynomial([0.0, 0.0, -1.0, 0.02, -0.05, 0.0, -0.001])
    curve = Curves(
        points=grid[np.newaxis],
        values=value(grid - peak)[np.newaxis],
        gradients=value.deriv()(grid - peak)[np.newaxis],
        below=np.zeros(1),
        above=np.zeros(1),
    )
    theta = np.linspace(grid[0] + 1e-3, grid[-1] - 1e-3, 200)
    shown = curve.evaluate(theta)
    for part, exact in enumerate((value, value.deriv())):
        lost = exact(theta - peak) - shown[part][0]
        found = curve.interpolation_error(theta)[part][0]
        size = np.abs((curve.values, curve.gradients)[part]).max()
        np.testing.assert_allclose(found, lost, atol=1e-6 * size)
    beyond = np.array([grid[0] - 1.0, grid[-1] + 1.0])
    assert not np.any(curve.interpolation_error(beyond))

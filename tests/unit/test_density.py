"""Integrals by the trapezoid rule: where a density is, its shares, and its quantiles."""

import math

import numpy as np
import pytest

from qis.synthesis._density import Density, ends_that_matter, is_settled, masses_of


def exponential(u):
    """Log density of the logarithm of an exponential variable, with the Jacobian."""
    return u - np.exp(u)


def zoomed(logs_of, low, high, count=1000):
    while True:
        points = np.linspace(low, high, count)
        logs = logs_of(points)
        ends = ends_that_matter([points], logs, 40.0)
        if is_settled([points], ends):
            return points, logs
        ((low, high),) = ends


@pytest.mark.parametrize("low", [-1e4, -60.0])
def test_a_range_is_narrowed_to_where_the_density_is_and_no_further(low):
    points, logs = zoomed(exponential, low, 20.0)
    assert logs[1:-1].min() > logs.max() - 45.0
    assert points[0] < -40.0
    assert 3.6 < points[-1] < 4.2  # exp(-exp(3.7)) is 2e-18


@pytest.mark.parametrize("share", [0.001, 0.025, 0.5, 0.9, 0.975, 0.999])
def test_shares_and_quantiles_are_those_of_the_exponential_distribution(share):
    points, logs = zoomed(exponential, -1e4, 20.0)
    step = float(points[1] - points[0])
    found = Density(start=float(points[0]), step=step, heights=masses_of(logs))
    exact = math.log(-math.log1p(-share))
    assert found.quantile(share) == pytest.approx(exact, abs=2e-5)
    assert found.above(exact) == pytest.approx(1.0 - share, abs=2e-3)
    assert found.above(found.quantile(share)) == pytest.approx(1.0 - share, abs=2e-3)
    assert (found.above(-1e9), found.above(1e9)) == (1.0, 0.0)


def test_each_axis_is_narrowed_by_itself():
    x, y = np.linspace(-50.0, 50.0, 101), np.linspace(-5.0, 5.0, 21)
    logs = -0.5 * (x[:, None] - 3.0) ** 2 - 0.5 * (y / 0.5) ** 2
    ends = ends_that_matter([x, y], logs, 8.0)
    assert ends == [(-1.0, 7.0), (-2.0, 2.0)]
    assert not is_settled([x, y], ends)
    assert not is_settled([x, y], [(-50.0, 50.0), (-2.0, 2.0)])
    assert is_settled([x, y], [(-50.0, 31.0), (-5.0, 3.5)])
    assert masses_of(logs).sum() == pytest.approx(1.0, abs=1e-14)


def test_what_reaches_the_end_of_a_grid_stays():
    x = np.linspace(0.0, 1.0, 11)
    assert ends_that_matter([x], np.zeros(11), 1.0) == [(0.0, 1.0)]

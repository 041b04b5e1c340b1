"""How far reading curves between and beyond nine points may have moved a pooled number."""

import math
from collections.abc import Sequence

import numpy as np

from qis.outcomes._curves import Curves, Floats
from qis.synthesis.currency import Likelihood
from qis.synthesis.marks import Mark

_TOLERATED = 0.01
"""Part of a standard error by which what was not sampled may move a pooled value, unmarked."""
_UNDERSTATED = 1.2
"""Factor by which what a cubic loses is hardly ever more than the curve itself tells of it."""
_LEVEL = 1e-200
"""Instead of a slope of 0 at a limit: it could then lie anywhere, if anything is wrong."""


def marks_of_common_effect(
    pooled: Likelihood,
    estimate: float | None,
    limits: Sequence[float],
    standard_error: float | None,
) -> tuple[Mark, ...]:
    """What to say of a common effect whose curves were read at the estimate and the finite limits.

    A slope that is wrong by e moves the maximum by e times the squared standard error. A rise from
    the estimate to a limit that is wrong by d moves the limit by d over the slope there; of a
    likelihood that rises for ever the rise is that to its end.
    """
    curves, ends = pooled.curves, [limit for limit in limits if math.isfinite(limit)]
    if curves is None or (estimate is None and not ends):
        return ()  # nothing was read
    error = standard_error or 1.0
    start, unmoved = estimate, error**2
    if start is None:
        first, last = pooled.span
        start = max(last, ends[0]) if math.isinf(limits[1]) else min(first, ends[0])
        unmoved = 0.0
    theta = np.array([start, *ends])
    slopes = np.maximum(np.abs(pooled.evaluate(theta[1:])[1]), _LEVEL)
    values, gradients = (wrong.sum(axis=0) for wrong in curves.interpolation_error(theta))
    beyond = curves.slope_bound(theta[:1]).sum()
    rises = sum(
        np.abs(bound[:, 1:] - bound[:, :1]).sum(axis=0) for bound in curves.rise_bound(theta)
    )
    return of_doubts(
        max([unmoved * float(beyond), *(rises / slopes).tolist()]) / error,
        max(
            [
                unmoved * abs(float(gradients[0])),
                *(np.abs(values[1:] - values[0]) / slopes).tolist(),
            ]
        )
        / error,
    )


def marks_of_mean_effect(
    pooled: Likelihood,
    read: tuple[float, float, float],
    *,
    tau: float,
    slope_error: float,
    sd: float,
) -> tuple[Mark, ...]:
    """What to say of a posterior with this lower limit, median and upper limit.

    `slope_error` is how wrong the slope of the log-likelihood of the mean may be for want of
    samples.
    """
    lost = 0.0
    if pooled.curves is not None:
        low, median, high = read
        lost = _lost_of_mean(pooled.curves, np.array([median, low, high]), tau)
    return of_doubts(slope_error * sd, lost * sd)


def of_doubts(extrapolated: float, lost: float) -> tuple[Mark, ...]:
    """Marks for what was not sampled and for what cubics lose, in standard errors."""
    doubts = {Mark.EXTRAPOLATED: extrapolated, Mark.INTERPOLATED: _UNDERSTATED * lost}
    return tuple(mark for mark, doubt in doubts.items() if doubt > _TOLERATED)


def _lost_of_mean(curves: Curves, theta: Floats, tau: float) -> float:
    """What cubics lose of the slope at the median, or on the way from it to a limit on average.

    Of a site that is precise beside tau its own effect is known by itself: what its curve says far
    from there moves the mean the less.
    """
    read = curves.evaluate(theta)
    values, slopes = curves.interpolation_error(theta, read)
    known = 1.0 / (1.0 + np.maximum(-read[2], 0.0) * tau**2)
    at_median = abs(float((slopes[:, 0] * known[:, 0]).sum()))
    ways = np.abs(theta[1:] - theta[0])
    rises = (values[:, 1:] - values[:, :1]) * np.maximum(known[:, 1:], known[:, :1])
    means = np.abs(rises.sum(axis=0)) / np.maximum(ways, _LEVEL)
    return float(max([at_median, *means.tolist()]))

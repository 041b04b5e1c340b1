"""How far reading curves between and beyond nine points may have moved a pooled number."""

import math
from collections.abc import Sequence

import numpy as np

from qis.outcomes._curves import Curves, Floats
from qis.synthesis.currency import Likelihood
from qis.synthesis.marks import Mark

_TOLERATED = 0.01
"""Part of a standard error by which what was not sampled may move a pooled value, unmarked."""
_HALF = 9
"""At so many values from the estimate to each limit curves are asked how wrong their slopes are."""
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
    start, unmoved = estimate, 0.0
    if start is None:
        first, last = pooled.span
        start = max(last, ends[0]) if math.isinf(limits[1]) else min(first, ends[0])
    else:
        unmoved = error**2
    slopes = np.maximum(np.abs(pooled.evaluate(np.array(ends))[1]), _LEVEL)
    ways = np.abs(np.array(ends) - start)
    theta = _ways(start, ends)

    def moved(wrong: Floats) -> float:
        at_start = unmoved * abs(float(wrong[0]))
        rises = ways * np.abs(_means(wrong, len(ends)))
        return float(max([at_start, *(rises / slopes).tolist()])) / error

    return of_doubts(
        moved(curves.slope_bound(theta).sum(axis=0)),
        moved(curves.interpolation_error(theta).sum(axis=0)),
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
        wrong = _less_known(pooled.curves, _ways(median, (low, high)), tau)
        lost = max([abs(float(wrong[0])), *np.abs(_means(wrong, 2)).tolist()])
    return of_doubts(slope_error * sd, lost * sd)


def of_doubts(extrapolated: float, lost: float) -> tuple[Mark, ...]:
    """Marks for what was not sampled and for what cubics lose, in standard errors."""
    doubts = {Mark.EXTRAPOLATED: extrapolated, Mark.INTERPOLATED: _UNDERSTATED * lost}
    return tuple(mark for mark, doubt in doubts.items() if doubt > _TOLERATED)


def _less_known(curves: Curves, theta: Floats, tau: float) -> Floats:
    """What cubics lose of the slope of the log-likelihood of the mean, shape (m,).

    Of a site that is precise beside tau its own effect is known by itself: what its curve says far
    from there moves the mean the less.
    """
    errors = curves.interpolation_error(theta)
    sharpness = np.maximum(-curves.evaluate(theta)[2], 0.0)
    found: Floats = (errors / (1.0 + sharpness * tau**2)).sum(axis=0)
    return found


def _ways(start: float, ends: Sequence[float]) -> Floats:
    """Values from the start to each end, `_HALF` for each."""
    if not ends:
        return np.array([start])
    return np.concatenate([np.linspace(start, end, _HALF) for end in ends])


def _means(wrong: Floats, ways: int) -> Floats:
    """Means over each way, by the trapezoid rule."""
    rows = wrong.reshape(ways, _HALF) if ways else np.zeros((0, _HALF))
    found: Floats = (rows.sum(axis=1) - 0.5 * (rows[:, 0] + rows[:, -1])) / (_HALF - 1)
    return found

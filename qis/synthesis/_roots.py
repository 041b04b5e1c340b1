"""The root of a decreasing function, by Newton-like steps, and bisection where they fail."""

import math
from collections.abc import Callable
from typing import Final

_STEPS: Final = 300
CONVERGED: Final = 1e-14
"""Relative error of a root at which a search ends; relative to its `floor` for smaller roots."""

StepAt = Callable[[float], tuple[float, float]]
"""Gives the value at a point, and the step from there that it asks for."""


def passing_zero(step_at: StepAt, start: float, low: float, high: float, *, floor: float) -> float:
    """The point between two limits where a function turns from positive to negative.

    Steps alone can go to and fro around the root for ever, each staying between the limits, so
    one that leaves them, or two that do not halve what is between them, are replaced by a
    bisection (as in Brent 1973, chapter 4).

    Parameters
    ----------
    step_at
        Newton's or Fisher's step, for example; 0 where it knows none.
    start
        Where to begin.
    low, high
        The value is positive at `low` (or `low` is the root), negative at `high`.
    floor
        Roots smaller than this are as good as zero. The result is right to 1e-14 of itself or
        of this, whichever is larger.

    """
    x = start
    earlier = last = math.inf
    for _ in range(_STEPS):
        value, step = step_at(x)
        if value > 0.0:
            low = x
        else:
            high = x
        tolerance = CONVERGED * max(abs(x), floor)
        if value == 0.0 or 0.0 < abs(step) <= tolerance or high - low <= tolerance:
            break
        x += step
        if not low < x < high or high - low > 0.5 * earlier:
            x = 0.5 * (low + high)
        earlier, last = last, high - low
    return x

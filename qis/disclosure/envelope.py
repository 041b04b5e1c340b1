"""The least curve with one maximum that nowhere lies below a log-likelihood.

The likelihood of noisy or rounded counts is a mixture over true tables, and a mixture may rise
again far from its maximum: some tables have an arm without events. A profile holds one maximum, so
what is released is the running maximum from both ends. It is nowhere lower than the likelihood, so
an interval read from it is nowhere shorter than the likelihood's own.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.coarse import CoarseOddsRatio

Floats = NDArray[np.float64]

_REACH: Final = 22.0
"""The curve is level beyond this log ratio; a profile measures its limits here."""
_STEP: Final = 0.1
_NEARER: Final = _STEP / 2.0 ** np.arange(1, 9)
"""Distances of further points from the maximum, which is narrow where many people are."""
_HALVINGS: Final = 40


class Envelope:
    """The running maximum of a log-likelihood from both ends, and its derivative.

    Parameters
    ----------
    likelihood
        The likelihood, evaluated once at some 500 log ratios within ± 22.

    """

    def __init__(self, likelihood: CoarseOddsRatio) -> None:
        where = np.linspace(-_REACH, _REACH, round(2 * _REACH / _STEP) + 1)
        heights, slopes = likelihood.at(where)
        top = int(heights.argmax())
        if 0 < top < len(where) - 1:
            mode = _maximum(likelihood, where[top - 1], where[top + 1])
            more = np.setdiff1d(np.concatenate((mode - _NEARER, [mode], mode + _NEARER)), where)
            order = np.argsort(np.append(where, more))
            where = np.append(where, more)[order]
            heights, slopes = (
                np.append(old, new)[order]
                for old, new in zip((heights, slopes), likelihood.at(more), strict=True)
            )
        top = int(heights.argmax())
        raised = np.concatenate(
            (
                np.maximum.accumulate(heights[:top]),
                np.maximum.accumulate(heights[top:][::-1])[::-1],
            )
        )
        side = np.sign(np.arange(len(where)) - top)
        # Outwards it falls or is level; where the running maximum holds it up it is level.
        slopes = np.where(raised > heights, 0.0, -side * np.maximum(-side * slopes, 0.0))
        secants = np.diff(raised) / np.diff(where)
        # A cubic between two points is monotone where neither slope exceeds three times the
        # secant's (Fritsch & Carlson 1980).
        steepest = 3.0 * np.minimum(
            np.abs(np.append(np.inf, secants)), np.abs(np.append(secants, np.inf))
        )
        self._where, self._heights = where, raised
        self._slopes = np.clip(slopes, -steepest, steepest)

    def __call__(self, log_ratios: Floats) -> tuple[Floats, Floats]:
        """Log-likelihoods and derivatives at log ratios of shape (m,); level beyond ± 22."""
        x = np.clip(log_ratios, -_REACH, _REACH)
        piece = np.clip(np.searchsorted(self._where, x, "right") - 1, 0, len(self._where) - 2)
        width = self._where[piece + 1] - self._where[piece]
        t = (x - self._where[piece]) / width
        a, b = self._heights[piece], self._heights[piece + 1]
        p, q = self._slopes[piece] * width, self._slopes[piece + 1] * width
        second, third = 3.0 * (b - a) - 2.0 * p - q, 2.0 * (a - b) + p + q
        values = a + t * (p + t * (second + t * third))
        slopes = (p + t * (2.0 * second + 3.0 * t * third)) / width
        return values, np.where(np.abs(log_ratios) > _REACH, 0.0, slopes)


def _maximum(likelihood: CoarseOddsRatio, low: float, high: float) -> float:
    """The maximum between two points, by halving."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (
            (middle, high) if likelihood.at(np.array([middle]))[1][0] > 0.0 else (low, middle)
        )
    return (low + high) / 2.0

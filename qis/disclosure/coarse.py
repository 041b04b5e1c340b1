"""Likelihood of a log odds ratio from two arms whose true counts are known only roughly.

After rounding or noise, many true tables may be behind what is released. Each arm has a weight for
every pair (events, people) that may be true: the probability that it gives what was released.
The control arm's log odds φ are integrated out with a flat prior on the expected number of events
in both arms. With counts known exactly that gives the conditional likelihood to a few parts in a
thousand, since the number of events says next to nothing about the ratio and is orthogonal to it
(Cox & Reid 1987). So it agrees with `Counts` where counts are exact, and many small sites add no
bias, as they would if φ were maximised over.
"""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_REACH: Final = 40.0
"""Log odds of the control arm are integrated from minus this to this."""
_CURVED: Final = 12.0
"""An arm of n people is tabulated within ± (this + log n); beyond, it is straight to exp(-12)."""
_COARSEST: Final = 0.05
"""Largest step of the integration, in log odds."""
_TABLE: Final = 0.1
"""Largest step of an arm's table, which is cubic between its points."""
_BLOCK: Final = 1 << 21
"""Terms that are in memory at once."""
_MOST: Final = 1 << 29
"""Most terms that are summed: some five seconds."""


@dataclass(frozen=True, slots=True)
class Arm:
    """The counts that may be true of one arm, with their weights.

    Parameters
    ----------
    events, people
        Possible pairs of true counts, shape (m,).
    log_weights
        Log probability of what was released, given the pair, shape (m,).
    size
        Number of people as released, at least 1.

    """

    events: Whole
    people: Whole
    log_weights: Floats
    size: int

    def log_likelihood(self, log_odds: Floats) -> tuple[Floats, Floats]:
        """Log probability of the release at log odds of shape (k,), and its derivative."""
        constants = self.log_weights + _log_binomials(self.people, self.events)
        values, slopes = np.empty_like(log_odds), np.empty_like(log_odds)
        width = max(1, _BLOCK // len(self.events))
        for start in range(0, len(log_odds), width):
            eta = log_odds[start : start + width, np.newaxis]
            terms = constants + self.events * eta - self.people * np.logaddexp(0.0, eta)
            top = terms.max(axis=1, keepdims=True)
            shares = np.exp(terms - top)
            total = shares.sum(axis=1)
            # Observed minus expected events: the derivative of each pair's log-likelihood.
            excess = self.events - self.people / (1.0 + np.exp(-eta))
            values[start : start + width] = top[:, 0] + np.log(total)
            slopes[start : start + width] = (shares * excess).sum(axis=1) / total
        return values, slopes


class CoarseOddsRatio:
    """The integrated log-likelihood as a function of the log odds ratio, within ± 8.

    Parameters
    ----------
    treated, control
        The two arms.

    Raises
    ------
    InputError
        If no pair is possible, or there are too many to sum in seconds.

    """

    def __init__(self, treated: Arm, control: Arm) -> None:
        self._sizes = treated.size, control.size
        # The trapezoidal rule with a step of one standard deviation is exact to 1e-8 for a normal
        # likelihood; the information is at most a quarter of the number of people.
        step = min(_COARSEST, 1.0 / math.sqrt(treated.size + control.size))
        self._phi = np.arange(-_REACH, _REACH, step)
        self._treated = _Tabulated.of(treated)
        self._control, _ = _Tabulated.of(control).at(self._phi)
        chance = _chance(self._phi)
        self._control_information = control.size * chance * (1.0 - chance)

    def at(self, log_ratios: Floats) -> tuple[Floats, Floats]:
        """Log-likelihoods, but for a constant, and derivatives at log ratios of shape (m,)."""
        each = [self._one(log_ratio) for log_ratio in log_ratios.tolist()]
        values, slopes = np.array(each).reshape(-1, 2).T
        return values, slopes

    def _one(self, log_ratio: float) -> tuple[float, float]:
        logs, information, slopes, change = self._parts(log_ratio)
        top = float(logs.max())
        shares = np.exp(logs - top)
        whole = float((shares * information).sum())
        rise = float((shares * (slopes * information + change)).sum())
        return top + math.log(whole), rise / whole

    def _parts(self, log_ratio: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Along φ: log-likelihood, prior density, and the derivatives of both by the log ratio.

        The prior is flat in the expected number of events λ. Since dλ = information dφ, its density
        in φ is the information.
        """
        values, slopes = self._treated.at(self._phi + log_ratio)
        chance = _chance(self._phi + log_ratio)
        own = self._sizes[0] * chance * (1.0 - chance)
        information = own + self._control_information
        return values + self._control, information, slopes, own * (1.0 - 2.0 * chance)


@dataclass(frozen=True, slots=True)
class _Tabulated:
    """An arm's log-likelihood on a grid: cubic between its points, straight beyond them."""

    values: Floats
    slopes: Floats
    start: float
    step: float

    @classmethod
    def of(cls, arm: Arm) -> Self:
        step = min(_TABLE, 1.5 / math.sqrt(arm.size))
        half = math.ceil((_CURVED + math.log(max(1, arm.people.max(initial=0)))) / step)
        if not len(arm.events) or 2 * half * len(arm.events) > _MOST:
            raise InputError(
                f"{len(arm.events)} pairs of counts in an arm of {arm.size} people are none, or "
                "too many to sum over: release fewer people at once, or with less noise",
                field="counts",
                actual=len(arm.events),
                limit=_MOST // (2 * half),
            )
        grid = np.arange(-half, half + 1, dtype=np.float64) * step
        values, slopes = arm.log_likelihood(grid)
        return cls(values, slopes, float(grid[0]), step)

    def at(self, log_odds: Floats) -> tuple[Floats, Floats]:
        positions = np.clip((log_odds - self.start) / self.step, 0.0, len(self.values) - 1.0)
        outside = log_odds - (self.start + positions * self.step)
        piece = np.minimum(positions.astype(np.int64), len(self.values) - 2)
        t = positions - piece
        a, b = self.values[piece], self.values[piece + 1]
        p, q = self.slopes[piece] * self.step, self.slopes[piece + 1] * self.step
        value = a + t * (p + t * (3.0 * (b - a) - 2.0 * p - q + t * (2.0 * (a - b) + p + q)))
        slope = p + t * (2.0 * (3.0 * (b - a) - 2.0 * p - q) + 3.0 * t * (2.0 * (a - b) + p + q))
        slope = slope / self.step
        return value + outside * slope, slope


def _chance(log_odds: Floats) -> Floats:
    chance: Floats = 1.0 / (1.0 + np.exp(-log_odds))
    return chance


def _log_binomials(people: Whole, events: Whole) -> Floats:
    """Logarithms of binomial coefficients, from one running sum of logarithms."""
    most = int(people.max())
    logs = np.concatenate(([0.0], np.add.accumulate(np.log(np.arange(1.0, most + 1.0)))))
    found: Floats = logs[people] - logs[events] - logs[people - events]
    return found

"""Likelihoods of two arms' counts given their totals, as functions of one log ratio.

Conditioning removes the nuisance parameter (the control arm's odds or rate), so that a site with
few events adds no bias of its own, however many such sites there are.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT_SUPPORT: Final = 2**20
"""Most values that the number of events in one arm may take for `Hypergeometric`.

It sums over all of them at each call; above this, `TwoBinomials` is used.
"""


class Hypergeometric:
    """Fisher's noncentral hypergeometric likelihood of a log odds ratio (Fisher 1935).

    Parameters
    ----------
    events, total, control_events, control_total
        Events and people of the first arm, then of the control arm.

    """

    def __init__(self, events: int, total: int, control_events: int, control_total: int) -> None:
        all_events = events + control_events
        first = max(0, all_events - control_total)
        last = min(total, all_events)
        self._off: Floats = np.arange(first, last + 1, dtype=np.float64) - events
        # Sums of the logarithms of ratios keep their digits where differences of log-gammas of
        # large totals lose them.
        u = np.arange(first, last, dtype=np.float64)
        steps = np.log(total - u) + np.log(all_events - u)
        steps -= np.log(u + 1.0) + np.log(control_total - all_events + u + 1.0)
        logs = np.concatenate(([0.0], np.add.accumulate(steps)))
        self._log_weights: Floats = logs - logs[events - first]
        self.limiting_slopes = (float(events - first), float(events - last))

    def value(self, log_ratio: float) -> float:
        """Log-likelihood of the events in the first arm, given the events in both arms."""
        logs = self._log_weights + log_ratio * self._off
        top = float(logs.max())
        return -(top + math.log(float(np.exp(logs - top).sum())))

    def gradient(self, log_ratio: float) -> float:
        """Derivative of `value`."""
        logs = self._log_weights + log_ratio * self._off
        weights = np.exp(logs - logs.max())
        return -float((weights * self._off).sum() / weights.sum())


@dataclass(frozen=True, slots=True)
class TwoBinomials:
    """Profile likelihood of a log odds ratio: what the conditional one tends to in large samples.

    The two differ by less than one part in the number of events, here a million or more.
    """

    events: int
    total: int
    control_events: int
    control_total: int

    limiting_slopes = property(
        lambda self: (
            float(self.events - max(0, self.events + self.control_events - self.control_total)),
            float(self.events - min(self.total, self.events + self.control_events)),
        )
    )

    def value(self, log_ratio: float) -> float:
        """Log-likelihood, maximised over the control arm's odds."""
        expected = self._expected(log_ratio)
        cells = (
            (self.events, expected),
            (self.total - self.events, self.total - expected),
            (self.control_events, self.events + self.control_events - expected),
            (
                self.control_total - self.control_events,
                self.control_total - self.events - self.control_events + expected,
            ),
        )
        # Each logarithm is relative to the observed cell: differences of large terms would lose
        # digits.
        return math.fsum(n * math.log(fitted / n) for n, fitted in cells if n)

    def gradient(self, log_ratio: float) -> float:
        """Derivative of `value`: observed minus expected events of the first arm."""
        return self.events - self._expected(log_ratio)

    def _expected(self, log_ratio: float) -> float:
        """Events in the first arm at which the fitted table has this odds ratio and its margins."""
        all_events = self.events + self.control_events
        low = float(max(0, all_events - self.control_total))
        high = float(min(self.total, all_events))
        # Bisection: the odds ratio rises with u. It ends when no float lies between the bounds.
        for _ in range(200):
            u = 0.5 * (low + high)
            if u in (low, high):
                break
            odds = math.log(u) - math.log(self.total - u)
            control = math.log(all_events - u) - math.log(self.control_total - all_events + u)
            if odds - control < log_ratio:
                low = u
            else:
                high = u
        return 0.5 * (low + high)


@dataclass(frozen=True, slots=True)
class Rates:
    """Conditional likelihood of a log rate ratio: events of the first arm given those of both.

    Binomial, with the odds of the first arm equal to the rate ratio times that of person-times.
    """

    events: int
    control_events: int
    log_time_ratio: float

    @property
    def limiting_slopes(self) -> tuple[float, float]:
        """Slopes at minus and plus infinity."""
        return float(self.events), float(-self.control_events)

    def value(self, log_ratio: float) -> float:
        """Log-likelihood."""
        x = log_ratio + self.log_time_ratio
        # log(1 + exp(x)) without overflow.
        softened = max(x, 0.0) + math.log1p(math.exp(-abs(x)))
        return self.events * x - (self.events + self.control_events) * softened

    def gradient(self, log_ratio: float) -> float:
        """Derivative of `value`."""
        x = log_ratio + self.log_time_ratio
        small = math.exp(-abs(x))
        share = (1.0 if x > 0.0 else small) / (1.0 + small)
        return self.events - (self.events + self.control_events) * share

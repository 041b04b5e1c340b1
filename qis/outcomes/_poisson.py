"""Likelihoods of the log rate of one arm's events over its person-time.

All functions take many sites at once, as those of `qis.outcomes._conditional`.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from qis.outcomes._conditional import Evaluation, Floats, _Rows

_HIGHEST: Final = 600.0
"""Log rates above this are taken as this: exp(600) times any person-time is a finite float64, and
no likelihood is left there."""
_NOTHING_LEFT: Final = 44.0
"""A log-likelihood this far under its largest is left out of every integral: exp(-44) is 8e-20."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonRates(_Rows):
    """``events * theta - person_time * exp(theta)``, theta being the log rate.

    Parameters
    ----------
    events
        Shape (k,).
    person_time
        Time at risk, positive, in any unit, shape (k,).

    """

    events: Floats
    person_time: Floats

    is_concave: ClassVar[bool] = True

    @property
    def limiting_slopes(self) -> tuple[Floats, Floats]:
        """Slopes at minus and at plus infinity, each of shape (k,)."""
        return self.events, np.full_like(self.events, -np.inf)

    @property
    def limits(self) -> tuple[Floats, Floats]:
        """Values at minus and plus infinity, each of shape (k,); 0 where there was no event."""
        low = np.where(self.events > 0.0, -np.inf, 0.0)
        return low, np.full_like(self.events, -np.inf)

    @property
    def span(self) -> tuple[Floats, Floats]:
        """Log rates of a tenth of an event, or of the events, and of ten events more."""
        low = np.log(np.maximum(self.events, 0.1) / self.person_time) - 3.0
        return low, np.log((self.events + 10.0) / self.person_time)

    @property
    def sharpest(self) -> Floats:
        """The largest curvature where any likelihood is left, shape (k,)."""
        # With m expected events the value is at least (m - e)² / (2 m) + … under its largest.
        reach = _NOTHING_LEFT + np.sqrt(_NOTHING_LEFT * (_NOTHING_LEFT + 2.0 * self.events))
        return self.events + reach

    def evaluate(self, log_rate: Floats) -> Evaluation:
        """Log-likelihoods and their derivatives at log rates of shape (m,)."""
        events = self.events[:, np.newaxis]
        expected = self.person_time[:, np.newaxis] * np.exp(np.minimum(log_rate, _HIGHEST))
        return events * log_rate - expected, events - expected, -expected

    def value(self, log_rate: Floats) -> Floats:
        """Log-likelihoods at log rates of shape (m,): float64 of shape (k, m)."""
        return self.evaluate(log_rate)[0]

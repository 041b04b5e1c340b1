"""What one cohort of a site says of a model: a quadratic about an anchor that is known."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qis.outcomes import QuadraticLikelihood
from qis.packet import Packet

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expansion:
    """A quadratic likelihood with its anchor.

    Parameters
    ----------
    site
        Name of the site.
    outcome
        Score and information, of shapes (p,) and (p, p).
    anchor
        The coefficients at which they were taken, shape (p,).
    packet
        The packet that carried it; `None` if it came as an outcome.

    """

    site: str
    outcome: QuadraticLikelihood
    anchor: Floats
    packet: Packet | None = None
    score: Floats = field(init=False)
    information: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", self.outcome.score)
        object.__setattr__(self, "information", self.outcome.information)

    @property
    def natural(self) -> Floats:
        """The natural parameter h = s + H a, shape (p,)."""
        natural: Floats = self.score + self.information @ self.anchor
        return natural

    @property
    def is_silent(self) -> bool:
        """True if these people say nothing of any coefficient."""
        return not self.information.any()

    def value(self, at: Floats) -> float | None:
        """The log-likelihood at other coefficients to second order; `None` if it was not told."""
        told = self.outcome.log_likelihood
        if told is None:
            return None
        move = at - self.anchor
        return told + float(self.score @ move) - 0.5 * float(move @ self.information @ move)

"""How alike sites are, as a covariance: similarities above chance, which no power makes indefinite.

A similarity ``s = c + (1 - c) g`` with `g` positive semidefinite lies at its chance level `c` for a
pair that has nothing in common. Then ``(s**p - c**p) / (1 - c**p)`` is a sum of powers of `g` with
coefficients that are not negative, and so positive semidefinite (Schur 1911). Clipping at zero, or
best matches, would not be: their smallest eigenvalues were seen at -0.99.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POWERS: Final = (1, 4, 16)
"""How fast the correlation of two sites' effects falls with their similarity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How alike k sites are.

    Parameters
    ----------
    above_chance
        Shape (k, k), symmetric, 1 on the diagonal, positive semidefinite: 0 for pairs that are as
        alike as chance makes them, negative for pairs that are less.
    chance
        The similarity of such pairs, in [0, 1).

    """

    above_chance: Floats
    chance: float

    def kernel(self, power: int) -> Floats:
        """Correlations of the sites' effects, shape (k, k): 1 on the diagonal."""
        similarity = self.chance + (1.0 - self.chance) * self.above_chance
        least = self.chance**power
        return (similarity**power - least) / (1.0 - least)

    @property
    def tells_sites_apart(self) -> bool:
        """True unless all pairs of different sites are equally alike: then no data can show more.

        One effect for all and independent deviations are what is left, and both are in the model.
        """
        k = len(self.above_chance)
        others = self.above_chance[~np.eye(k, dtype=np.bool_)]
        return bool(others.size and float(np.ptp(others)) > _SAME)

    def of(self, chosen: NDArray[np.intp]) -> "Likeness":
        """The same of some of the sites."""
        return Likeness(above_chance=self.above_chance[np.ix_(chosen, chosen)], chance=self.chance)


_SAME: Final = 1e-9
"""Similarities that differ by less are one number, rounded."""

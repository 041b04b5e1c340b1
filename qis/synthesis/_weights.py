"""Inverse-variance weights at one tau2, and the sums that every formula of the field is made of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qis.synthesis._sites import Floats, Sites, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """Inverse-variance weights at one tau2, and the sums that every formula is made of.

    Parameters
    ----------
    weights
        ``1 / (v + tau2)``, shape (k,).
    sum1
        Sum of the weights.
    mean
        Weighted mean of the estimates.
    residuals
        Estimates less `mean`.
    add
        The function that makes sums: correctly rounded, or a plain one inside a search.

    """

    weights: Floats
    sum1: float
    mean: float
    residuals: Floats
    add: Callable[[Floats], float]

    @property
    def q(self) -> float:
        """``sum(weights * residuals**2)``."""
        return self.add(self.weights * self.residuals * self.residuals)

    @property
    def trace(self) -> float:
        """Trace of ``P = W - W 1 (1' W 1)^-1 1' W``."""
        return self.add(self.weights * (_sums_of_others(self.weights, self.add) / self.sum1))

    @property
    def trace_square(self) -> float:
        """Trace of ``P P``."""
        squared = self.weights * self.weights
        diagonal = (self.weights * (_sums_of_others(self.weights, self.add) / self.sum1)) ** 2
        off_diagonal = squared * (_sums_of_others(squared, self.add) / self.sum1**2)
        return self.add(diagonal) + self.add(off_diagonal)


def _sums_of_others(values: Floats, add: Callable[[Floats], float]) -> Floats:
    """For each of the positive values the sum of the others, also where one outweighs all."""
    # In this difference the largest value may lose all digits, the others one bit at most.
    rest = add(values) - values
    largest = int(np.argmax(values))
    rest[largest] = add(np.delete(values, largest))
    return rest


def weighted(sites: Sites, tau2: float, *, add: Callable[[Floats], float] = total) -> Weighted:
    """The sums at `tau2`, which is in units of ``sites.scale ** 2``."""
    weights = 1.0 / (sites.variances + tau2)
    sum1 = add(weights)
    # The mean as an offset from the heaviest site: exact where there is one site only.
    origin = float(sites.estimates[np.argmax(weights)])
    offsets = sites.estimates - origin
    shift = add(weights * offsets) / sum1
    return Weighted(
        weights=weights,
        sum1=sum1,
        mean=origin + shift,
        residuals=offsets - shift,
        add=add,
    )

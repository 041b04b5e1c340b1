"""Quantiles of a mixture of normal distributions, which a quadrature over tau leaves of a mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from qis.synthesis._roots import CONVERGED, passing_zero
from qis.synthesis._sites import Floats, total

_STRIDE: Final = 8
"""The first approximation uses every eighth component."""
_STEPS: Final = 12
"""Most Newton steps; a bracket takes over from there."""
_ROOT_HALF: Final = math.sqrt(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalMixture:
    """A mixture of normal distributions; all arrays have shape (components,).

    Parameters
    ----------
    mass
        Weight of each component, non-negative; they need not add up to 1.
    means, sds
        Mean and standard deviation of each component; the latter are positive.

    """

    mass: Floats
    means: Floats
    sds: Floats
    mean: float = field(init=False)
    """The weighted mean of the means; exactly theirs if all are equal."""
    _whole: float = field(init=False)

    def __post_init__(self) -> None:
        whole, origin = total(self.mass), float(self.means[0])
        mean = origin + total(self.mass * (self.means - origin)) / whole
        object.__setattr__(self, "_whole", whole)
        object.__setattr__(self, "mean", mean)

    @property
    def sd(self) -> float:
        """Standard deviation."""
        spread = self.sds**2 + (self.means - self.mean) ** 2
        return math.sqrt(total(self.mass * spread) / self._whole)

    def above(self, x: float) -> float:
        """P(X > x), without loss in the upper tail."""
        return self._tail((x - self.means) / self.sds)

    def quantiles(self, probabilities: Sequence[float]) -> tuple[float, ...]:
        """The x with P(X ≤ x) = each probability.

        The exact sum over all components is slow. Every eighth component, a trapezoid rule of
        wider steps, gives a first value; from there two Newton steps are mostly enough. Where they
        do not converge, a bracket is narrowed.
        """
        few = NormalMixture(
            mass=self.mass[::_STRIDE], means=self.means[::_STRIDE], sds=self.sds[::_STRIDE]
        )
        found = []
        for probability in probabilities:
            x, settled = few._settled(probability, self.mean)
            if settled:
                x, settled = self._settled(probability, x)
            found.append(x if settled else self._bracketed(probability))
        return tuple(found)

    def _settled(self, probability: float, x: float) -> tuple[float, bool]:
        """The quantile by Newton steps from `x`, and true if they converged."""
        for _ in range(_STEPS):
            below, density = self._below_and_density(x)
            if not density > 0.0:
                break
            step = (probability - below) / density
            x += step
            if abs(step) <= CONVERGED * max(abs(x), float(self.sds.min())):
                return x, True
        return x, False

    def _bracketed(self, probability: float) -> float:
        width = float(self.sds.max()) * 40.0
        low, high = float(self.means.min()) - width, float(self.means.max()) + width

        def newton(x: float) -> tuple[float, float]:
            below, density = self._below_and_density(x)
            lacking = probability - below
            return lacking, lacking / density if density > 0.0 else 0.0

        return passing_zero(newton, self.mean, low, high, floor=float(self.sds.min()))

    def _tail(self, z: Floats) -> float:
        tails = np.fromiter(map(math.erfc, (z * _ROOT_HALF).tolist()), np.float64, z.size)
        return 0.5 * total(self.mass * tails) / self._whole

    def _below_and_density(self, x: float) -> tuple[float, float]:
        z = (self.means - x) / self.sds
        # The bounds keep z² from overflow and exp(-z²/2) from underflow, for which numpy warns.
        near = np.clip(z, -1e3, 1e3)
        values = self.mass * np.exp(-0.5 * np.minimum(near * near, 1400.0)) / self.sds
        density = total(values) / (self._whole * math.sqrt(2.0 * math.pi))
        return self._tail(z), density

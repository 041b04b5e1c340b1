"""A finite mixture of normal distributions: what a quadrature over tau leaves of the mean."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from qis.synthesis._sites import Floats, total

_ROOT_HALF: Final = math.sqrt(0.5)
_STEPS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalMixture:
    """Weights, means and standard deviations; shape (components,).

    Parameters
    ----------
    mass
        Non-negative; need not add up to 1.
    means, sds
        Of the components; the standard deviations are positive.

    """

    mass: Floats
    means: Floats
    sds: Floats

    @property
    def mean(self) -> float:
        """The weighted mean of the means; exactly theirs if all are equal."""
        origin = float(self.means[0])
        return origin + total(self.mass * (self.means - origin)) / total(self.mass)

    @property
    def sd(self) -> float:
        """Standard deviation."""
        spread = self.sds**2 + (self.means - self.mean) ** 2
        return math.sqrt(total(self.mass * spread) / total(self.mass))

    def cdf(self, x: float) -> float:
        """P(X ≤ x)."""
        return self._tail((self.means - x) / self.sds)

    def above(self, x: float) -> float:
        """P(X > x), without loss in the upper tail."""
        return self._tail((x - self.means) / self.sds)

    def quantile(self, probability: float) -> float:
        """The x with P(X ≤ x) = `probability`: Newton steps inside a bracket."""
        width = float(self.sds.max()) * 40.0
        low, high = float(self.means.min()) - width, float(self.means.max()) + width
        x = self.mean
        for _ in range(_STEPS):
            gap = self.cdf(x) - probability
            if gap == 0.0:
                return x
            if gap < 0.0:
                low = x
            else:
                high = x
            density = self._density(x)
            step = -gap / density if density > 0.0 else 0.0
            previous, x = x, x + step
            if not low < x < high:
                x = 0.5 * (low + high)
            if abs(x - previous) <= 1e-14 * (abs(x) + high - low):
                break
        return x

    def _tail(self, z: Floats) -> float:
        scaled = (z * _ROOT_HALF).tolist()
        parts = [m * math.erfc(s) for m, s in zip(self.mass.tolist(), scaled, strict=True)]
        return 0.5 * math.fsum(parts) / total(self.mass)

    def _density(self, x: float) -> float:
        z = (x - self.means) / self.sds
        values = self.mass * np.exp(-0.5 * np.minimum(z * z, 1400.0)) / self.sds
        return total(values) / (total(self.mass) * math.sqrt(2.0 * math.pi))

"""The model of a site's effect: a mean, declared slopes, what is shared by likeness, and the rest.

    theta_i = mu + x_i' beta + f_i + u_i

``var f + var u = tau²`` with a half-normal prior on tau; the share of `f` is 0, ¼, ½, ¾ or 1, each
as probable. A prior on the total and on a share leaves "all effects are equal" possible, which two
half-normals do not. `f` is correlated as sites are alike (`qis.here.kernel`), by a power of 1, 4
or 16. `u` is each site's own; in a small share of sites it has an extra standard deviation, so that
a site that looks alike and is not does little harm.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.here.kernel import POWERS, Likeness

Floats = NDArray[np.float64]

SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
MEAN_SCALE: Final = 2.5
TAIL_SHARE: Final = 0.05
TAIL_SCALE: Final = 1.0
SLOPE_SCALE: Final = 0.3
"""Prior standard deviations of the mean, of the extra deviation, and of an effect's change with one
standard deviation of a moderator; on log ratios, and in like units elsewhere."""


class Structure(NamedTuple):
    """How tau² is divided: the share that likeness correlates, and by which power."""

    share: float
    power: int
    log_prior: float


@dataclass(frozen=True, kw_only=True)
class SiteModel:
    """The model of k sites.

    Parameters
    ----------
    likeness
        How alike they are; `None`: not known, or not asked.
    tau_scale, mean_scale
        Scale of the half-normal prior on tau, and standard deviation of the normal prior on mu.
    tail_share, tail_scale
        Share of sites with an extra deviation, and its standard deviation.
    features
        Shape (k, q): moderators, centred, in standard deviations.
    slope_scale
        Prior standard deviation of each slope.
    shares
        Which shares of tau² may be correlated.

    """

    k: int
    likeness: Likeness | None
    tau_scale: float
    mean_scale: float = MEAN_SCALE
    tail_share: float = TAIL_SHARE
    tail_scale: float = TAIL_SCALE
    features: Floats | None = None
    slope_scale: float = SLOPE_SCALE
    shares: tuple[float, ...] = field(default=SHARES)

    @cached_property
    def structures(self) -> tuple[Structure, ...]:
        """The ways to divide tau², with the logarithms of their prior probabilities."""
        return tuple(self._structures())

    def _structures(self) -> Iterator[Structure]:
        if self.likeness is None or not self.likeness.tells_sites_apart:
            yield Structure(0.0, 1, 0.0)
            return
        for share in self.shares:
            powers = POWERS if share > 0.0 else (1,)
            for power in powers:
                yield Structure(share, power, -float(np.log(len(self.shares) * len(powers))))

    @cached_property
    def _slope_part(self) -> Floats:
        if self.features is None:
            return np.zeros((self.k, self.k))
        return np.asarray(self.slope_scale**2 * (self.features @ self.features.T))

    @cached_property
    def _kernels(self) -> dict[int, Floats]:
        if self.likeness is None:
            return {}
        return {power: self.likeness.kernel(power) for power in POWERS}

    def covariance(
        self, structure: Structure, tau: float, mean_scale: float | None = None
    ) -> Floats:
        """Prior covariance of the shared part of the sites' effects, shape (k, k).

        `mean_scale` if it is another than the model's.
        """
        found: Floats = self._slope_part + (mean_scale or self.mean_scale) ** 2
        if structure.share > 0.0:
            found += structure.share * tau * tau * self._kernels[structure.power]
        return found

    def of(self, chosen: NDArray[np.intp]) -> "SiteModel":
        """The same of some of the sites."""
        return replace(
            self,
            k=chosen.size,
            likeness=None if self.likeness is None else self.likeness.of(chosen),
            features=None if self.features is None else self.features[chosen],
        )

    @property
    def tail(self) -> tuple[tuple[float, float], ...]:
        """Weight and extra variance of each component of a site's own deviation."""
        if self.tail_share == 0.0:
            return ((1.0, 0.0),)
        return ((1.0 - self.tail_share, 0.0), (self.tail_share, self.tail_scale**2))

    def own_variances(self, structure: Structure, tau: float) -> tuple[float, ...]:
        """Variance of a site's own deviation, for each component."""
        own = (1.0 - structure.share) * tau * tau
        return tuple(own + extra for _, extra in self.tail)

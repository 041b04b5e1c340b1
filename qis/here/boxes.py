"""The boxes that the posterior is summed over: tau, how tau² is divided, and who is in the tail.

A box is a range of tau, a structure (the share of likeness and its power), and for each site one of
three things: in the tail, not in it, or either. Boxes are split where the mass is: along tau into
thirds, or along one site into both of what it may be. They always cover the whole prior once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from qis.here.model import SiteModel

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]

EITHER: Final = -1
"""A site may be in the tail or not; else the number of its component in `SiteModel.tail`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """g boxes for k sites.

    Parameters
    ----------
    structures
        Shape (g,): numbers of the model's structures.
    lows, highs
        Shape (g,): the range of the prior's distribution function of tau.
    flags
        Shape (g, k): `EITHER`, or the component of a site's own deviation.

    """

    structures: Numbers
    lows: Floats
    highs: Floats
    flags: NDArray[np.int8]

    @classmethod
    def even(cls, model: SiteModel, count: int) -> Self:
        """So many boxes of equal prior probability for each structure; all sites may be either."""
        edges = np.linspace(0.0, 1.0, count + 1)
        number = len(model.structures)
        return cls(
            structures=np.repeat(np.arange(number), count),
            lows=np.tile(edges[:-1], number),
            highs=np.tile(edges[1:], number),
            flags=np.full((number * count, model.k), EITHER, dtype=np.int8),
        )

    @classmethod
    def joined(cls, parts: Sequence["Boxes"]) -> "Boxes":
        """These boxes and those, as one."""
        return Boxes(
            structures=np.concatenate([part.structures for part in parts]),
            lows=np.concatenate([part.lows for part in parts]),
            highs=np.concatenate([part.highs for part in parts]),
            flags=np.concatenate([part.flags for part in parts]),
        )

    def __len__(self) -> int:
        return self.structures.size

    def of(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "Boxes":
        """Some of the boxes."""
        return Boxes(
            structures=self.structures[chosen],
            lows=self.lows[chosen],
            highs=self.highs[chosen],
            flags=self.flags[chosen],
        )

    def taus(self, model: SiteModel) -> Floats:
        """The tau in the middle of each, shape (g,)."""
        quantile = NormalDist().inv_cdf
        middles = (0.5 + 0.25 * (self.lows + self.highs)).tolist()
        return model.tau_scale * np.array([quantile(middle) for middle in middles])

    def shares(self, model: SiteModel) -> Floats:
        """The share of tau² that likeness correlates, shape (g,)."""
        return np.array([each.share for each in model.structures])[self.structures]

    def log_priors(self, model: SiteModel) -> Floats:
        """Logarithms of the boxes' prior probabilities, shape (g,)."""
        found = np.array([each.log_prior for each in model.structures])[self.structures]
        found += np.log(self.highs - self.lows)
        for number, (weight, _) in enumerate(model.tail):
            found += np.log(weight) * (self.flags == number).sum(axis=1)
        return np.asarray(found)

    def own_variances(self, model: SiteModel) -> Floats:
        """Variances of each site's own deviation, shape (components, g, k).

        A site that is known to be in the tail, or not, has the same in all components.
        """
        own = ((1.0 - self.shares(model)) * self.taus(model) ** 2)[:, np.newaxis]
        extra = np.array([variance for _, variance in model.tail])
        known = extra[np.maximum(self.flags, 0)]
        return np.array([own + np.where(self.flags == EITHER, each, known) for each in extra])

    def covariances(self, model: SiteModel) -> Floats:
        """Prior covariances of the shared part of the sites' effects, shape (g, k, k)."""
        pairs = zip(self.structures.tolist(), self.taus(model).tolist(), strict=True)
        return np.array([model.covariance(model.structures[n], tau) for n, tau in pairs])

    def unknown(self, site: int) -> tuple["Boxes", Numbers]:
        """Boxes that cover the whole prior, of a site nothing being known; and their numbers.

        Those in which the site is in the tail, and those in which it is not, each cover the rest.
        """
        kept = np.flatnonzero(self.flags[:, site] <= 0)
        found = self.of(kept)
        found.flags[:, site] = EITHER
        return found, kept

    def thirds(self, chosen: Numbers) -> tuple["Boxes", "Boxes"]:
        """All boxes, of which the chosen keep the middle third, and the outer thirds of these."""
        third = (self.highs[chosen] - self.lows[chosen]) / 3.0
        lows, highs = self.lows.copy(), self.highs.copy()
        lows[chosen] += third
        highs[chosen] -= third
        whole = self.of(chosen)
        below = Boxes(
            structures=whole.structures,
            lows=whole.lows,
            highs=lows[chosen],
            flags=whole.flags,
        )
        above = Boxes(
            structures=whole.structures,
            lows=highs[chosen],
            highs=whole.highs,
            flags=whole.flags,
        )
        rest = Boxes(structures=self.structures, lows=lows, highs=highs, flags=self.flags)
        return rest, Boxes.joined([below, above])

    def by_site(self, chosen: Numbers, sites: Numbers, component: int) -> "Boxes":
        """The chosen boxes, in each of which one site is known to be of a component."""
        found = self.of(chosen)
        found.flags[np.arange(chosen.size), sites] = component
        return found

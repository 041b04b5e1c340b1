"""The boxes that the posterior is summed over: tau, how it is divided, the mean, and the tail.

A box is a range of tau, a structure (the share of likeness and its power), for each site one of
three things (in the tail, not in it, or either), and a normal part of the prior on the mean. Boxes
are split where the mass is: along tau into thirds, along one site into both of what it may be, and
along the mean into narrower normal parts. They always cover the prior once, but for means that the
data exclude.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from qis.here.model import SiteModel

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]

_APART: Final = 1.2
"""Distance of the parts of the mean, in their standard deviations."""
_REACH: Final = 8.0
"""How far about what is known of the mean its parts lie, in standard deviations."""
MEAN_PARTS: Final = 29
"""Into so many parts a box is split along the mean."""
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
    centres, spreads
        Shape (g,): mean and standard deviation of the normal part of the prior on the mean.
    log_weights
        Shape (g,): logarithm of how much of the prior on the mean that part is.

    """

    structures: Numbers
    lows: Floats
    highs: Floats
    flags: NDArray[np.int8]
    centres: Floats
    spreads: Floats
    log_weights: Floats

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
            centres=np.zeros(number * count),
            spreads=np.full(number * count, model.mean_scale),
            log_weights=np.zeros(number * count),
        )

    @classmethod
    def joined(cls, parts: Sequence["Boxes"]) -> "Boxes":
        """These boxes and those, as one."""

        def all_of(name: str) -> Any:
            return np.concatenate([getattr(part, name) for part in parts])

        return Boxes(**{each.name: all_of(each.name) for each in fields(cls)})

    def __len__(self) -> int:
        return self.structures.size

    def of(self, chosen: Numbers) -> "Boxes":
        """Some of the boxes."""
        return Boxes(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    def taus(self, model: SiteModel) -> Floats:
        """The tau in the middle of each, shape (g,)."""
        quantile = NormalDist().inv_cdf
        middles = (0.5 + 0.25 * (self.lows + self.highs)).tolist()
        return model.tau_scale * np.array([quantile(middle) for middle in middles])

    def summed_over_tau_range(self, masses: Floats) -> Floats:
        """For each box the mass of all with its structure and its range of tau, shape (g,)."""
        keys = np.stack((self.structures, self.lows, self.highs), axis=1)
        _, group = np.unique(keys, axis=0, return_inverse=True)
        return np.asarray(np.bincount(group.ravel(), weights=masses)[group.ravel()])

    def shares(self, model: SiteModel) -> Floats:
        """The share of tau² that likeness correlates, shape (g,)."""
        return np.array([each.share for each in model.structures])[self.structures]

    def log_priors(self, model: SiteModel) -> Floats:
        """Logarithms of the boxes' prior probabilities, shape (g,)."""
        found = np.array([each.log_prior for each in model.structures])[self.structures]
        found += np.log(self.highs - self.lows) + self.log_weights
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
        parts = (self.structures.tolist(), self.taus(model).tolist(), self.spreads.tolist())
        return np.array(
            [
                model.covariance(model.structures[number], tau, spread)
                for number, tau, spread in zip(*parts, strict=True)
            ]
        )

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
        below, above = replace(whole, highs=lows[chosen]), replace(whole, lows=highs[chosen])
        return replace(self, lows=lows, highs=highs), Boxes.joined([below, above])

    def by_site(self, chosen: Numbers, sites: Numbers, component: int) -> "Boxes":
        """The chosen boxes, in each of which one site is known to be of a component."""
        found = self.of(chosen)
        found.flags[np.arange(chosen.size), sites] = component
        return found

    def by_mean(self, chosen: Numbers, means: Floats, sds: Floats) -> tuple["Boxes", Numbers]:
        """The chosen boxes, each as a sum of narrower parts of the mean; and whose each part is.

        A normal density is a sum of equally spaced narrower ones, to some 1e-6 where they lie as
        close as here.

        Parameters
        ----------
        means, sds
            What is known of the mean in these boxes: parts are half as wide, and lie about there.

        """
        parts, parents = [], []
        for number, mean, sd in zip(chosen.tolist(), means.tolist(), sds.tolist(), strict=True):
            centre, spread = float(self.centres[number]), float(self.spreads[number])
            narrow = 0.5 * min(sd, spread)
            rest = (spread**2 - narrow**2) ** 0.5
            step = _APART * narrow
            middle, reach = round((mean - centre) / step), int(np.ceil(_REACH * sd / step))
            away = step * np.arange(middle - reach, middle + reach + 1)
            count = away.size
            which = np.full(count, number)
            logs = np.log(step / rest) - 0.5 * (away / rest) ** 2 - 0.5 * np.log(2.0 * np.pi)
            parts.append(
                replace(
                    self.of(which),
                    centres=centre + away,
                    spreads=np.full(count, narrow),
                    log_weights=self.log_weights[which] + logs,
                )
            )
            parents.append(which)
        return Boxes.joined(parts), np.concatenate(parents)

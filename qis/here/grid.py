"""The posterior over tau, the share of likeness and its power: cells that are split where mass is.

A fixed grid of tau fails with many sites: between two of eight points the likelihood rises and
falls again, and Bayes factors of 985 were seen where 0.5 is right. So cells that hold more than a
small part of the mass are split until what is asked of the grid stays where it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.here.model import SiteModel
from qis.here.propagation import Propagated, posterior_row, propagate
from qis.here.tables import SiteLikelihoods
from qis.here.tilted import Tilted

Floats = NDArray[np.float64]

_CELLS: Final = 8
"""Cells of equal prior probability at first, for each structure."""
_HEAVY: Final = 0.06
"""A cell that holds more of the whole mass is split."""
_LIGHTER: Final = 12.0
_STILL: Final = 0.005
"""It is refined until no answer moves by more than this part of its standard deviation …"""
_STILL_EVIDENCE: Final = 0.02
"""… and the logarithm of the evidence for likeness by no more than this."""
_ROUNDS: Final = 8
_NUMBERS_AT_ONCE: Final = 1 << 20
"""Most elements of the covariances that are worked on at once: bounds the memory."""


class _Cell(NamedTuple):
    structure: int
    low: float
    high: float
    """Of the prior's distribution function of tau."""

    @property
    def middle(self) -> float:
        return 0.5 * (self.low + self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What the sites say at g points of tau and structure, and how probable each point is.

    Parameters
    ----------
    model, tables
        What was asked.
    taus, structures
        Shape (g,): tau of each point, and the number of its structure in the model.
    masses
        Shape (g,): posterior probabilities; they sum to 1.
    log_evidence
        Logarithm of the probability of all data, up to a constant of the data.
    found
        What propagation found there.

    """

    model: SiteModel
    tables: SiteLikelihoods
    taus: Floats
    structures: NDArray[np.intp]
    masses: Floats
    log_priors: Floats
    log_evidence: float
    found: Propagated

    @property
    def shares(self) -> Floats:
        """Share of tau² that likeness correlates, at each point."""
        return np.array([self.model.structures[n].share for n in self.structures.tolist()])

    @property
    def log_bayes_factor(self) -> float | None:
        """For some share of likeness against none; `None` if the model has only one of them."""
        logs = self.log_priors + self.found.log_evidence
        some = self.shares > 0.0
        if some.all() or not some.any():
            return None
        parts = []
        for which in (some, ~some):
            prior = sum(
                float(np.exp(self.model.structures[n].log_prior))
                for n in set(self.structures[which].tolist())
            )
            parts.append(_log_sum(logs[which]) - float(np.log(prior)))
        return parts[0] - parts[1]

    def masses_without(self, site: int) -> Floats:
        """Probabilities of the points by all other sites' data."""
        logs = np.log(np.maximum(self.masses, 1e-300)) - self.found.own.log_mass[:, site]
        weights = np.exp(logs - logs.max())
        return np.asarray(weights / weights.sum())

    def log_predictive(self, site: int) -> float:
        """Logarithm of what all others say of a site's data: its likelihood, averaged."""
        log_mass = self.found.own.log_mass[:, site]
        return _log_sum(np.log(np.maximum(self.masses_without(site), 1e-300)) + log_mass)

    def means_and_sds(self, masses: Floats | None = None) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of every site's effect, shape (k,) each."""
        return _moments(self.masses if masses is None else masses, self.found.own)

    def covariances_of(self, site: int) -> Floats:
        """Posterior covariances of a site's shared part with every site's, shape (g, k)."""
        parts = []
        for some in _pieces(len(self.taus), len(self.tables)):
            covariance = _covariances(self.model, self.structures[some], self.taus[some])
            parts.append(posterior_row(covariance, self.found.precisions[some], site))
        return np.concatenate(parts)


def integrate_evenly(tables: SiteLikelihoods, model: SiteModel, cells: int) -> Grid:
    """The same as `integrate` at so many nodes of tau for each structure, none of them split."""
    even = _even_cells(model, cells)
    points = _points(model, even)
    found = _computed(tables, model, points, None)
    return _weighted(tables, model, points, _log_priors(model, even), found)


def _even_cells(model: SiteModel, count: int) -> list[_Cell]:
    edges = np.linspace(0.0, 1.0, count + 1).tolist()
    return [
        _Cell(number, low, high)
        for number in range(len(model.structures))
        for low, high in pairwise(edges)
    ]


def integrate(tables: SiteLikelihoods, model: SiteModel) -> Grid:
    """What k sites say of each other's effects.

    Parameters
    ----------
    tables
        Their log-likelihoods.
    model
        Its units are those of the tables.

    """
    cells = _even_cells(model, _CELLS)
    found = _computed(tables, model, _points(model, cells), None)
    former: tuple[Floats, Floats, float] | None = None
    for _ in range(_ROUNDS):
        grid = _weighted(tables, model, _points(model, cells), _log_priors(model, cells), found)
        masses = grid.masses
        mean, sd = grid.means_and_sds()
        evidence = grid.log_bayes_factor or 0.0
        heavy = np.flatnonzero(masses > _HEAVY).tolist()
        if former is not None:
            moved = np.abs(mean - former[0]) / sd
            wider = np.abs(np.log(sd / former[1]))
            still = max(float(moved.max()), float(wider.max())) < _STILL
            if still and abs(evidence - former[2]) < _STILL_EVIDENCE and not heavy:
                break
        former = mean, sd, evidence
        # Where no cell is heavy any more, all that matter are split once, to see what moves.
        split = heavy or np.flatnonzero(masses > _HEAVY / _LIGHTER).tolist()
        if not split:
            break
        cells, found = _split(tables, model, cells, found, split)
    return _weighted(tables, model, _points(model, cells), _log_priors(model, cells), found)


def _weighted(
    tables: SiteLikelihoods,
    model: SiteModel,
    points: tuple[NDArray[np.intp], Floats],
    log_priors: Floats,
    found: Propagated,
) -> Grid:
    logs = log_priors + found.log_evidence
    total = _log_sum(logs)
    return Grid(
        model=model,
        tables=tables,
        taus=points[1],
        structures=points[0],
        masses=np.exp(logs - total),
        log_priors=log_priors,
        log_evidence=total,
        found=found,
    )


def _split(
    tables: SiteLikelihoods,
    model: SiteModel,
    cells: list[_Cell],
    found: Propagated,
    chosen: list[int],
) -> tuple[list[_Cell], Propagated]:
    """Each chosen cell becomes three, of which the middle one's point is known already."""
    cells, fresh, parents = list(cells), [], []
    for number in chosen:
        cell = cells[number]
        third = (cell.high - cell.low) / 3.0
        fresh.append(cell._replace(high=cell.low + third))
        fresh.append(cell._replace(low=cell.high - third))
        parents += [number, number]
        cells[number] = cell._replace(low=cell.low + third, high=cell.high - third)
    start = found.precisions[parents], found.shifts[parents]
    added = _computed(tables, model, _points(model, fresh), start)
    return [*cells, *fresh], joined([found, added])


def _log_priors(model: SiteModel, cells: Sequence[_Cell]) -> Floats:
    return np.array(
        [model.structures[c.structure].log_prior + np.log(c.high - c.low) for c in cells]
    )


def _computed(
    tables: SiteLikelihoods,
    model: SiteModel,
    points: tuple[NDArray[np.intp], Floats],
    start: tuple[Floats, Floats] | None,
) -> Propagated:
    structures, taus = points
    weights = tuple(weight for weight, _ in model.tail)
    parts = []
    for some in _pieces(len(taus), len(tables)):
        pairs = list(zip(structures[some].tolist(), taus[some].tolist(), strict=True))
        own = np.array([model.own_variances(model.structures[n], tau) for n, tau in pairs])
        extra = tuple(own[:, number, np.newaxis] for number in range(len(weights)))
        begin = None if start is None else (start[0][some], start[1][some])
        covariance = _covariances(model, structures[some], taus[some])
        parts.append(propagate(tables, covariance, extra, weights, begin))
    return joined(parts)


def integrated_without(grid: Grid, site: int) -> Grid:
    """The same without one site's data, at the same points."""
    kept = np.flatnonzero(np.arange(len(grid.tables)) != site)
    model = grid.model.of(kept)
    # Fewer sites may all be alike; the points of the structures that are left go on.
    known = {(each.share, each.power): n for n, each in enumerate(model.structures)}
    former = [grid.model.structures[n] for n in grid.structures.tolist()]
    chosen = np.array([(each.share, each.power) in known for each in former])
    structures = np.array(
        [known[each.share, each.power] for each in former if (each.share, each.power) in known],
        dtype=np.intp,
    )
    tables = grid.tables.without(site)
    start = grid.found.precisions[chosen][:, kept], grid.found.shifts[chosen][:, kept]
    points = structures, grid.taus[chosen]
    found = _computed(tables, model, points, start)
    return _weighted(tables, model, points, grid.log_priors[chosen], found)


def _points(model: SiteModel, cells: Sequence[_Cell]) -> tuple[NDArray[np.intp], Floats]:
    """Structure and tau of each cell's middle."""
    quantile = NormalDist().inv_cdf
    taus = [model.tau_scale * quantile(0.5 + 0.5 * cell.middle) for cell in cells]
    return np.array([cell.structure for cell in cells], dtype=np.intp), np.array(taus)


def _covariances(model: SiteModel, structures: NDArray[np.intp], taus: Floats) -> Floats:
    return np.array(
        [
            model.covariance(model.structures[number], tau)
            for number, tau in zip(structures.tolist(), taus.tolist(), strict=True)
        ]
    )


def _pieces(count: int, k: int) -> list[slice]:
    size = max(_NUMBERS_AT_ONCE // max(k * k, 1), 1)
    return [slice(first, first + size) for first in range(0, count, size)]


def joined(parts: Sequence[Propagated]) -> Propagated:
    """What was found at some points and at others, as one."""

    def all_of(read: Callable[[Propagated], Floats]) -> Floats:
        return np.concatenate([read(part) for part in parts])

    return Propagated(
        log_evidence=all_of(lambda part: part.log_evidence),
        precisions=all_of(lambda part: part.precisions),
        shifts=all_of(lambda part: part.shifts),
        means=all_of(lambda part: part.means),
        variances=all_of(lambda part: part.variances),
        own=Tilted.joined([part.own for part in parts]),
        is_settled=np.concatenate([part.is_settled for part in parts]),
    )


def _moments(masses: Floats, own: Tilted) -> tuple[Floats, Floats]:
    weight = masses[:, np.newaxis]
    parts = list(zip(own.shares, own.own_means, own.own_variances, strict=True))
    mean = sum((weight * share * middle).sum(axis=0) for share, middle, _ in parts)
    second = sum(
        (weight * share * (spread + (middle - mean) ** 2)).sum(axis=0)
        for share, middle, spread in parts
    )
    return np.asarray(mean), np.sqrt(np.asarray(second))


def _log_sum(logs: Floats) -> float:
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum()))

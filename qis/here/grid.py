"""The posterior over tau, how it is divided, and who is in the tail: boxes split where mass is.

A fixed grid of tau fails with many sites: between two of eight points the likelihood rises and
falls again, and Bayes factors of 985 were seen where 0.5 is right. So boxes that hold more than a
small part of the mass are split until what is asked of the grid stays where it is.

Two things are not left to propagation where they would show. Whether a site is in the tail: two
precise sites in conflict make the posterior a mixture of "this one is the exception" and "that one
is", which no normal replacement is. And the mean, where many likelihoods go on for ever to one
side, as those of sites without events do, or fall off slowly: then what all say is lopsided. Such
boxes are split along a site or along the mean (`qis.here.boxes`).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.here.boxes import EITHER, MEAN_PARTS, Boxes
from qis.here.model import SiteModel
from qis.here.propagation import Propagated, mean_of_all, posterior_rows, propagate
from qis.here.tables import SiteLikelihoods
from qis.here.tilted import Tilted

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]

_BOXES: Final = 8
"""Boxes of equal prior probability at first, for each structure."""
_HEAVY: Final = 0.03
"""A box that holds more of the whole mass is split along tau."""
_LIGHTER: Final = 6.0
_NARROWEST: Final = 1e-12
"""Narrower ranges of tau's distribution function are not split: at 1 its numbers end."""
_STILL: Final = 0.005
"""It is refined until no answer moves by more than this part of its standard deviation …"""
_STILL_EVIDENCE: Final = 0.02
"""… and the logarithm of the evidence for likeness by no more than this."""
_ODD: Final = 0.001
"""Boxes are split along sites until these would move the answer by no more than this, in standard
deviations."""
_BENT: Final = 0.02
"""The same of the parts of the mean, into which lopsided boxes are split."""
_SEEN: Final = 1e-4
"""In boxes of less mass it is not looked for such sites."""
_UNSETTLED: Final = 0.1
"""The error is taken to be so large where propagation has not settled."""
_PART: Final = 1e-3
"""Boxes of less than this part of those with the same range of tau are not split along it."""
_ROUNDS: Final = 16
_MOST_BOXES: Final = 3_000
"""No more boxes than these; of more sites fewer, so that the time is at most about doubled …"""
_WORK: Final = 4e7
_FEWEST_SPLIT: Final = 100
"""… but so many may always be added."""
_NUMBERS_AT_ONCE: Final = 1 << 20
"""Most elements of the covariances that are worked on at once: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What the sites say in g boxes, and how probable each box is.

    Parameters
    ----------
    model, tables
        What was asked.
    boxes
        The boxes.
    masses
        Shape (g,): posterior probabilities; they sum to 1.
    log_evidence
        Logarithm of the probability of all data, up to a constant of the data.
    found
        What propagation found there.
    asked
        Number of the site whose answer is shown, `None` if all sites' are.
    error
        By how much sites that may be in the tail may still move the answer, in standard deviations.

    """

    model: SiteModel
    tables: SiteLikelihoods
    boxes: Boxes
    masses: Floats
    log_evidence: float
    found: Propagated
    asked: int | None
    error: float = 0.0

    @cached_property
    def shares(self) -> Floats:
        """Share of tau² that likeness correlates, in each box."""
        return self.boxes.shares(self.model)

    @cached_property
    def own_variances(self) -> Floats:
        """Variances of the sites' own deviations, shape (components, g, k)."""
        return self.boxes.own_variances(self.model)

    @property
    def log_bayes_factor(self) -> float | None:
        """For some share of likeness against none; `None` if the model has only one of them."""
        logs = self.boxes.log_priors(self.model) + self.found.log_evidence
        some = self.shares > 0.0
        if some.all() or not some.any():
            return None
        parts = []
        for which in (some, ~some):
            prior = sum(
                float(np.exp(self.model.structures[n].log_prior))
                for n in set(self.boxes.structures[which].tolist())
            )
            parts.append(_log_sum(logs[which]) - float(np.log(prior)))
        return parts[0] - parts[1]

    @cached_property
    def masses_alike(self) -> Floats:
        """Probabilities of the boxes if nothing of tau² is shared by likeness."""
        none = self.shares == 0.0
        if not none.any():
            return self.masses
        logs = self.boxes.log_priors(self.model) + self.found.log_evidence
        top = float(logs[none].max())
        weights = np.where(none, np.exp(np.minimum(logs - top, 0.0)), 0.0)  # no overflow of others
        return np.asarray(weights / weights.sum())

    def masses_without(self, site: int) -> Floats:
        """Probabilities of the boxes by all other sites' data."""
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
        return np.concatenate(
            [
                posterior_rows(
                    self.boxes.of(some).covariances(self.model),
                    self.found.precisions[some],
                    np.array([site]),
                )[:, 0]
                for some in _pieces(len(self.boxes), len(self.tables))
            ]
        )

    @cached_property
    def shown_masses(self) -> list[Floats]:
        """The probabilities under which the boxes are read: by all data, and if all are alike."""
        return [self.masses] if self.asked is None else [self.masses, self.masses_alike]

    def shown_moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations of what is shown, one after the other."""
        parts = [self.means_and_sds(masses) for masses in self.shown_masses]
        return np.concatenate([mean for mean, _ in parts]), np.concatenate([sd for _, sd in parts])


def integrate_evenly(tables: SiteLikelihoods, model: SiteModel, boxes: int) -> Grid:
    """The same as `integrate` at so many nodes of tau for each structure, none of them split."""
    even = Boxes.even(model, boxes)
    return _weighted(tables, model, even, _computed(tables, model, even, None), None)


def integrate(tables: SiteLikelihoods, model: SiteModel, *, asked: int | None = None) -> Grid:
    """What k sites say of each other's effects.

    Parameters
    ----------
    tables
        Their log-likelihoods.
    model
        Its units are those of the tables.
    asked
        Number of the site whose answer is wanted; `None`: all sites' are.

    """
    boxes = Boxes.even(model, _BOXES)
    return _refined(tables, model, boxes, _computed(tables, model, boxes, None), asked)


def integrated_without(grid: Grid, site: int) -> Grid:
    """The same without one site's data, from the same boxes on: the site stays, in silence."""
    tables = grid.tables.silent(site)
    if (grid.boxes.spreads < grid.model.mean_scale).any():
        # Parts of the mean that all data exclude are not there, and may be possible now.
        return integrate(tables, grid.model, asked=grid.asked)
    boxes, chosen = grid.boxes.unknown(site)
    start = grid.found.precisions[chosen], grid.found.shifts[chosen]
    start[0][:, site], start[1][:, site] = 1.0 / tables.variances[site], 0.0
    found = _computed(tables, grid.model, boxes, start)
    return _refined(tables, grid.model, boxes, found, grid.asked)


class _Chosen(NamedTuple):
    """Boxes that are to be split."""

    heavy: Numbers
    """Along tau."""
    odd: Numbers
    """Along a site each …"""
    sites: Numbers
    """… namely these."""
    bent: Numbers
    """Along the mean."""

    @property
    def number(self) -> int:
        """How many."""
        return self.heavy.size + self.odd.size + self.bent.size


def _refined(
    tables: SiteLikelihoods, model: SiteModel, boxes: Boxes, found: Propagated, asked: int | None
) -> Grid:
    """Boxes are split until what is shown stays where it is."""
    former: tuple[Floats, Floats, float] | None = None
    most = len(boxes) + int(np.clip(_WORK / len(tables) ** 3, _FEWEST_SPLIT, _MOST_BOXES))
    rounds = 0
    while True:
        grid = _weighted(tables, model, boxes, found, asked)
        seen = np.maximum.reduce(grid.shown_masses)
        chosen, error = _odd_and_bent(grid, seen, most - len(boxes))
        # Boxes that differ in a site or the mean only are one, as far as tau is concerned.
        together = boxes.summed_over_tau_range(seen)
        matters = (seen > _PART * together) & (boxes.highs - boxes.lows > _NARROWEST)
        heavy = np.flatnonzero((together > _HEAVY) & matters)
        if heavy.size:
            # First along tau: along the mean each box becomes many.
            chosen = chosen._replace(bent=heavy[:0])
        chosen = chosen._replace(heavy=np.setdiff1d(heavy, chosen.odd))
        mean, sd = grid.shown_moments()
        evidence = grid.log_bayes_factor or 0.0
        is_still = False
        if not chosen.number:
            if former is not None:
                moved = np.abs(mean - former[0]) / sd
                wider = np.abs(np.log(sd / former[1]))
                is_still = max(float(moved.max()), float(wider.max())) < _STILL
                is_still = is_still and abs(evidence - former[2]) < _STILL_EVIDENCE
            # All that matter are split once, to see what moves.
            light = np.flatnonzero((together > _HEAVY / _LIGHTER) & matters)
            chosen = chosen._replace(heavy=light)
        if is_still or rounds == _ROUNDS or not chosen.number:
            return replace(grid, error=error)
        former, rounds = (mean, sd, evidence), rounds + 1
        boxes, found = _split(grid, chosen)


def _odd_and_bent(grid: Grid, seen: Floats, room: int) -> tuple[_Chosen, float]:
    """Boxes that are to be split along sites or the mean, the worst first; and the error if not.

    A site that may be in the tail makes what all say a mixture, and a likelihood that goes on for
    ever to one side makes it lopsided. Of the third cumulant, which no normal replacement has, a
    part reaches the answer that falls as the third power of the correlation between the two.
    """
    own, none = grid.found.own, np.zeros(0, dtype=np.intp)
    boxes = np.flatnonzero(seen > _SEEN)
    odd = np.where(grid.boxes.flags == EITHER, own.oddness, 0.0)[boxes]
    bent = np.zeros(boxes.size)
    for some in _pieces(boxes.size, grid.model.k):
        correlations = _correlations(grid, boxes[some])
        cubes = correlations**3
        odd[some] *= np.abs(cubes).max(axis=1)
        thirds = cubes * own.third[boxes[some], np.newaxis]
        # Sites that pull to different sides are lopsided together in all that follows.
        third = np.maximum(np.abs(thirds.sum(axis=2)), np.sqrt((thirds * thirds).sum(axis=2)))
        fourth = np.einsum("gsk,gk->gs", correlations**4, np.abs(own.fourth[boxes[some]]))
        bent[some] = (third + fourth).max(axis=1)
    unsettled = ~grid.found.is_settled[boxes, np.newaxis] & (own.oddness[boxes] > _ODD)
    unsettled &= grid.boxes.flags[boxes] == EITHER
    odd = np.where(unsettled, np.maximum(odd, _UNSETTLED), odd)
    # Different sites pull to different sides.
    odd_errors, bent_errors = seen[boxes] * np.sqrt((odd * odd).sum(axis=1)), seen[boxes] * bent
    # All or none: where only some are split, errors of the evidence no longer cancel.
    bent_first = np.argsort(-bent_errors, kind="stable")
    if bent_errors.sum() < _BENT or bent_first.size * MEAN_PARTS > room:
        bent_first = bent_first[:0]
    odd_first = _worst(np.where(np.isin(np.arange(boxes.size), bent_first), 0.0, odd_errors), _ODD)
    odd_first = odd_first[: max(room - MEAN_PARTS * bent_first.size, 0)]
    return (
        _Chosen(
            heavy=none,
            odd=boxes[odd_first],
            sites=odd[odd_first].argmax(axis=1) if odd_first.size else none,
            bent=boxes[bent_first],
        ),
        float(odd_errors.sum() + bent_errors.sum()),
    )


def _worst(errors: Floats, bearable: float) -> Numbers:
    """The largest, until those that are left are bearable together."""
    order = np.argsort(-errors, kind="stable")
    left = errors.sum() - np.cumsum(errors[order])
    return np.asarray(order[left + errors[order] > bearable])


def _correlations(grid: Grid, boxes: Numbers) -> Floats:
    """Correlations of sites' effects with each site's shared part, shape (boxes, s, k).

    Of the site that is asked; if the answers of all are shown, of all.
    """
    found, own = grid.found, grid.found.own
    sites = np.arange(grid.model.k) if grid.asked is None else np.array([grid.asked])
    precisions = found.precisions[boxes]
    rows = posterior_rows(grid.boxes.of(boxes).covariances(grid.model), precisions, sites)
    shared = 1.0 / (1.0 / found.variances[boxes] + precisions)
    shares, means = own.shares[:, boxes], own.own_means[:, boxes]
    mean = (shares * means).sum(axis=0)
    effects = (shares * (own.own_variances[:, boxes] + (means - mean) ** 2)).sum(axis=0)
    wide = np.maximum(shared, effects)[:, sites]
    rows = rows / np.sqrt(wide[:, :, np.newaxis] * shared[:, np.newaxis])
    rows[:, np.arange(sites.size), sites] = 0.0  # its own likelihood is met exactly
    return np.asarray(np.clip(rows, -1.0, 1.0))


def _weighted(
    tables: SiteLikelihoods, model: SiteModel, boxes: Boxes, found: Propagated, asked: int | None
) -> Grid:
    logs = boxes.log_priors(model) + found.log_evidence
    total = _log_sum(logs)
    return Grid(
        model=model,
        tables=tables,
        boxes=boxes,
        masses=np.exp(logs - total),
        log_evidence=total,
        found=found,
        asked=asked,
    )


def _split(grid: Grid, chosen: _Chosen) -> tuple[Boxes, Propagated]:
    """Heavy boxes along tau, of which the middle third's point is known; others as they are odd."""
    tables, model, found = grid.tables, grid.model, grid.found
    heavy, odd, sites, bent = chosen
    rest, outer = grid.boxes.thirds(heavy)
    kept = np.setdiff1d(np.arange(len(rest)), np.concatenate((odd, bent)))
    components = range(len(model.tail))
    fresh = [outer, *(grid.boxes.by_site(odd, sites, each) for each in components)]
    parents = [heavy, heavy, *(odd for _ in components)]
    if bent.size:
        some = grid.boxes.of(bent)
        means, sds = mean_of_all(
            some.covariances(model),
            (some.centres, some.spreads),
            (found.precisions[bent], found.shifts[bent]),
        )
        narrower, whose = grid.boxes.by_mean(bent, means, sds)
        fresh.append(narrower)
        parents.append(whose)
    new, former = Boxes.joined(fresh), np.concatenate(parents)
    precisions, shifts = found.precisions[former], found.shifts[former]
    # Of the site that is known now, nothing is like before.
    first = 2 * heavy.size
    at = np.arange(first, first + odd.size * len(model.tail)), np.tile(sites, len(model.tail))
    spread = tables.variances[at[1]] + new.own_variances(model)[0][at]
    precisions[at], shifts[at] = 1.0 / spread, tables.middles[at[1]] / spread
    added = _computed(tables, model, new, (precisions, shifts))
    return Boxes.joined([rest.of(kept), new]), Propagated.joined([found.of(kept), added])


def _computed(
    tables: SiteLikelihoods, model: SiteModel, boxes: Boxes, start: tuple[Floats, Floats] | None
) -> Propagated:
    weights = tuple(weight for weight, _ in model.tail)
    extra = boxes.own_variances(model)
    parts = []
    for some in _pieces(len(boxes), len(tables)):
        begin = None if start is None else (start[0][some], start[1][some])
        covariance = boxes.of(some).covariances(model)
        centres = boxes.centres[some, np.newaxis]
        own = list(extra[:, some])
        parts.append(propagate(tables, covariance, own, weights, begin, centres=centres))
    return Propagated.joined(parts)


def _pieces(number: int, k: int) -> list[Numbers]:
    size = max(_NUMBERS_AT_ONCE // max(k * k, 1), 1)
    return [np.arange(first, min(first + size, number)) for first in range(0, number, size)]


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

"""Public meta-analyses with moderators: a site predicted by the others, by likeness and without.

A folder of CSV files: `yi` and `vi` as metafor gives them, numbers in columns that begin with `n_`,
categories in those that begin with `c_`, "NA" where a value is not known. What is alike is decided
by one rule for all: limits are the smallest and largest number, all weights are 1.
"""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import qis
from qis.here.grid import Grid, integrate
from qis.here.model import SiteModel
from qis.here.moderators import likeness_of_moderators
from qis.here.tables import SiteLikelihoods
from qis.synthesis.currency import Likelihood

TAU_SCALE = 0.5
UNKNOWN = ("NA", "")


class PublicSet(NamedTuple):
    """One meta-analysis."""

    name: str
    tables: SiteLikelihoods
    moderators: list[qis.Moderator]
    codes: Any


def read(path: Path, only: tuple[str, ...] = ()) -> PublicSet:
    """One file; `only` some of its moderators."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    moderators, columns = [], []
    for column in rows[0]:
        if column in ("yi", "vi") or (only and column not in only):
            continue
        values = [None if row[column] in UNKNOWN else row[column] for row in rows]
        known = sorted({value for value in values if value is not None})
        if len(known) < 2:
            continue
        if column.startswith("n_"):
            numbers = [float(value) for value in known]
            moderator = qis.Moderator(name=column, low=min(numbers), high=max(numbers))
            codes = [moderator.code(None if v is None else float(v)) for v in values]
        else:
            moderator = qis.Moderator(name=column, categories=tuple(known))
            codes = [moderator.code(value) for value in values]
        moderators.append(moderator)
        columns.append(codes)
    pairs = [(float(row["yi"]), float(row["vi"])) for row in rows]
    tables = SiteLikelihoods.of([Likelihood(precision=1.0 / v, centre=y) for y, v in pairs])
    return PublicSet(path.stem, tables, moderators, np.array(columns, dtype=np.uint8).T)


def with_likeness(public: PublicSet, codes: Any = None) -> Grid:
    """Our model, by its moderators or by other codes."""
    likeness = likeness_of_moderators(public.moderators, public.codes if codes is None else codes)
    k = len(public.tables)
    return integrate(public.tables, SiteModel(k=k, likeness=likeness, tau_scale=TAU_SCALE))


def random_effects(public: PublicSet) -> Grid:
    """The usual model: all alike, normal, no tails."""
    k = len(public.tables)
    model = SiteModel(k=k, likeness=None, tau_scale=TAU_SCALE, tail_share=0.0)
    return integrate(public.tables, model)


def predicted(grid: Grid) -> tuple[float, float]:
    """Summed log predictive density of each site by the others, and error of the prediction.

    The error is the root mean square, each divided by the site's standard error and a tau of 0.3.
    """
    k = len(grid.tables)
    density = sum(grid.log_predictive(site) for site in range(k))
    misses = []
    for site in range(k):
        mean = float(grid.masses_without(site) @ grid.found.means[:, site])
        spread = grid.tables.variances[site] + 0.09
        misses.append((grid.tables.middles[site] - mean) ** 2 / spread)
    return density, float(np.sqrt(np.mean(misses)))


def permuted(public: PublicSet, times: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """With moderators dealt anew: error against random effects, and log Bayes factor."""
    _, usual = predicted(random_effects(public))
    found = []
    for _ in range(times):
        grid = with_likeness(public, public.codes[rng.permutation(len(public.codes))])
        found.append((predicted(grid)[1] / usual, grid.log_bayes_factor or 0.0))
    return found

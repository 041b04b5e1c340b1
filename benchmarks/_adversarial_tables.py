"""An adversary: 2×2 tables on which pooled profiles are as far from pooled counts as it can find.

The truth is the pooled `Counts`. A set is a list of tables, each held by one site or by many alike:
errors of one sign add up over sites while the standard error shrinks. The search climbs: it keeps
a change that makes the unmarked error larger. Distances are those of the estimate and of both
limits, in the truth's standard errors; `INFINITE` stands for a finite number where the truth has
none, or the reverse.

A search that finds nothing proves nothing, so the same search runs over profiles of the former
rule (nine points as wide apart as it came, `exact=False`) with marks ignored: it must find what was
wrong then, and starts from those tables too.
"""

import math
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal
from unittest.mock import patch

import numpy as np

from qis import Counts, LikelihoodProfile, pool_profiles
from qis.errors import QISError
from qis.outcomes import _sampling
from qis.synthesis import Mark

INFINITE: Final = 99.0
LARGEST: Final = 10**6
Model = Literal["fixed", "random"]
MODELS: Final[tuple[Model, ...]] = ("fixed", "random")
Table = tuple[int, int, int, int]
"""Events and people of the treated arm, then of the control arm."""

FORMER_FAULTS: Final[tuple[tuple[Table, ...], ...]] = (
    ((3216, 8867, 775, 32120), (556, 1814, 955, 13101)),
    ((49, 50, 1, 50),),
    ((980, 1000, 10, 1000),),
    ((400_000, 800_000, 100_000, 800_000), (90_000, 800_000, 400_000, 800_000)),
)
"""Tables on which a former version was wrong without a word."""


SAY_SO: Final = frozenset((Mark.EXTRAPOLATED, Mark.INTERPOLATED))
"""Marks that nine points may not be enough."""


@dataclass(frozen=True)
class Sites:
    """Tables, and how many sites hold each of them."""

    tables: tuple[Table, ...]
    times: tuple[int, ...]

    def counts(self) -> list[Counts]:
        """Every site's counts."""
        return [
            counts_of(t) for t, k in zip(self.tables, self.times, strict=True) for _ in range(k)
        ]

    def profiles(self, *, exact: bool = True) -> list[LikelihoodProfile]:
        """Every site's profile; with `exact` false as the former rule sampled it."""
        return [
            profile_of(t, exact=exact)
            for t, k in zip(self.tables, self.times, strict=True)
            for _ in range(k)
        ]


@lru_cache(maxsize=1 << 14)
def counts_of(table: Table) -> Counts:
    """The table as an outcome."""
    a, n, c, m = table
    return Counts(question="q", events=a, total=n, control_events=c, control_total=m)


@lru_cache(maxsize=1 << 14)
def profile_of(table: Table, *, exact: bool) -> LikelihoodProfile:
    """Its profile; with `exact` false as wide as the former rule made it, whatever is lost."""
    if exact:
        return counts_of(table).profile()
    with patch.object(_sampling, "_EXACT", math.inf):
        return counts_of(table).profile()


@dataclass(frozen=True)
class Verdict:
    """How far pooled profiles are from pooled counts under one model, and whether they say so.

    Only two marks say so: the others are of pooled counts as well. What is refused is neither a
    number nor wrong, and counted.
    """

    error: float
    is_marked: bool
    is_refused: bool = False


def judge(sites: Sites, model: Model, *, exact: bool = True) -> Verdict:
    """Pool the sites as counts and as profiles."""
    try:
        truth = pool_profiles(sites.counts(), model=model)
        found = pool_profiles(sites.profiles(exact=exact), model=model)
    except QISError:
        return Verdict(0.0, is_marked=True, is_refused=True)
    error = 0.0
    scale = truth.standard_error or 1.0
    pairs = zip((truth.estimate, *truth.interval), (found.estimate, *found.interval), strict=True)
    for right, got in pairs:
        if right is not None and got is not None and math.isfinite(right) and math.isfinite(got):
            error = max(error, abs(right - got) / scale)
        elif right != got:
            error = INFINITE
    return Verdict(error, bool(SAY_SO.intersection(found.marks)))


def drawn(
    rng: np.random.Generator, *, sites: int, people: tuple[float, float], tau: float
) -> tuple[Table, ...]:
    """Tables of sites whose log odds ratios differ by `tau`."""
    centre = rng.normal(0.0, 0.7)
    tables = []
    for _ in range(sites):
        n, m = (int(10 ** rng.uniform(*np.log10(people))) for _ in range(2))
        risk = 10 ** rng.uniform(-2.5, -0.1)
        odds = risk / (1.0 - risk) * math.exp(rng.normal(centre, tau))
        a, c = rng.binomial(n, odds / (1.0 + odds)), rng.binomial(m, risk)
        tables.append((int(a), n, int(c), m))
    return tuple(tables)


def _start(rng: np.random.Generator, model: Model) -> Sites:
    """A former fault, or tables of any size and conflict; now and then many sites alike."""
    if rng.random() < 0.1:
        tables = FORMER_FAULTS[int(rng.integers(len(FORMER_FAULTS)))]
        return Sites(tables, (1,) * len(tables))
    most = (2.0, 10.0 ** rng.uniform(1.0, 6.0))
    tables = drawn(rng, sites=int(rng.integers(1, 9)), people=most, tau=rng.uniform(0.0, 1.5))
    if rng.random() < 0.5:
        return Sites(tables, (1,) * len(tables))
    alike = 2.5 if model == "fixed" else 1.2  # powers of ten: 300 sites, or 15
    return Sites(tables, tuple(int(10 ** rng.uniform(0.0, alike)) for _ in tables))


def _changed(rng: np.random.Generator, sites: Sites, model: Model) -> Sites:
    """One table moved, resized, turned around, made anew, or held by more or fewer sites."""
    tables, times = list(sites.tables), list(sites.times)
    which = int(rng.integers(len(tables)))
    a, n, c, m = tables[which]
    kind = rng.integers(6)
    if kind == 0:
        a = int(np.clip(a + rng.normal() * math.sqrt(a + 1.0) * 3.0, 0, n))
        c = int(np.clip(c + rng.normal() * math.sqrt(c + 1.0) * 3.0, 0, m))
    elif kind == 1:
        factor = math.exp(rng.normal())
        n, m = (int(np.clip(size * factor, 1, LARGEST)) for size in (n, m))
        a, c = min(int(a * factor), n), min(int(c * factor), m)
    elif kind == 2:
        a, n, c, m = c, m, a, n
    elif kind == 3:
        a, n, c, m = drawn(rng, sites=1, people=(2, LARGEST), tau=1.5)[0]
    elif kind == 4:
        most = 300 if model == "fixed" else 15
        times[which] = int(np.clip(times[which] * math.exp(rng.normal()), 1, most))
    else:  # the odds ratio moved a little, the size kept
        a = int(np.clip(round(a * math.exp(rng.normal() * 0.1)), 0, n))
    tables[which] = (a, n, c, m)
    return replace(sites, tables=tuple(tables), times=tuple(times))


@dataclass
class Findings:
    """What a search found."""

    sets: int = 0
    refused: int = 0
    worst_marked: float = 0.0
    worst: float = 0.0
    worst_sites: Sites | None = None


def search(model: Model, seconds: float, seed: int) -> Findings:
    """Climb from many starts towards the worst unmarked error."""
    rng = np.random.default_rng([seed, MODELS.index(model)])
    found = Findings()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        here, best = _start(rng, model), -1.0
        for _ in range(40):
            if time.monotonic() > end:
                break
            candidate = _changed(rng, here, model) if best >= 0.0 else here
            verdict = judge(candidate, model)
            found.sets += 1
            found.refused += verdict.is_refused
            if verdict.is_marked:
                found.worst_marked = max(found.worst_marked, verdict.error)
                best = max(best, 0.0)
                continue
            if verdict.error > found.worst:
                found.worst, found.worst_sites = verdict.error, candidate
            if verdict.error >= best:
                best, here = verdict.error, candidate
    return found

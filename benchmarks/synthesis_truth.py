"""Are pooled numbers right, or marked, or refused? An adversarial search against exact likelihoods.

``python benchmarks/synthesis_truth.py [--json] [--seconds 150] [--seed 1]``

The truth is the pooled `Counts`, whose fixed-effect answer is itself compared here with sums over
all tables by log-gammas (`exact_vs_direct_se`). What is searched: sets of two-arm tables of up to a
million people an arm, whose effects differ by up to tau 1.5, changed step by step so that their
*profiles*, pooled, are further and further from the truth without a mark. Distances are those of
the estimate and of both limits, in the truth's standard errors; 99 stands for a finite number where
the truth has none, or the reverse. `adversarial_worst_se_with_marks` is the same search's worst
result among the marked ones: what a reader would have been told without marks.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from _ratio import median_seconds
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

from qis import Counts, pool_profiles
from qis.errors import QISError

_INFINITE: Final = 99.0
_LARGEST: Final = 10**6
_MODELS: Final = ("fixed", "random")
Tables = list[tuple[int, int, int, int]]


def counts_of(tables: Tables) -> list[Counts]:
    """The tables (events and people of two arms) as outcomes."""
    return [
        Counts(question="q", events=a, total=n, control_events=c, control_total=m)
        for a, n, c, m in tables
    ]


@dataclass(frozen=True)
class Verdict:
    """How far pooled profiles are from pooled counts under one model, and whether they say so."""

    error: float
    is_marked: bool


def judge(tables: Tables, model: str) -> Verdict:
    """Pool the tables as counts and as profiles."""
    sites = counts_of(tables)
    truth = pool_profiles(sites, model=model)
    found = pool_profiles([site.profile() for site in sites], model=model)
    error = 0.0
    scale = truth.standard_error or 1.0
    pairs = zip((truth.estimate, *truth.interval), (found.estimate, *found.interval), strict=True)
    for right, got in pairs:
        finite = [value is not None and math.isfinite(value) for value in (right, got)]
        if all(finite):
            error = max(error, abs(right - got) / scale)
        elif any(finite):
            error = _INFINITE
    return Verdict(error, bool(found.marks))


def drawn(
    rng: np.random.Generator, *, sites: int, people: tuple[float, float], tau: float
) -> Tables:
    """Tables of sites whose log odds ratios differ by `tau`."""
    centre = rng.normal(0.0, 0.7)
    tables = []
    for _ in range(sites):
        n, m = (int(10 ** rng.uniform(*np.log10(people))) for _ in range(2))
        risk = 10 ** rng.uniform(-2.5, -0.1)
        odds = risk / (1.0 - risk) * math.exp(rng.normal(centre, tau))
        a, c = rng.binomial(n, odds / (1.0 + odds)), rng.binomial(m, risk)
        tables.append((int(a), n, int(c), m))
    return tables


def changed(rng: np.random.Generator, tables: Tables) -> Tables:
    """One site's counts moved, resized or made anew."""
    tables = list(tables)
    which = int(rng.integers(len(tables)))
    a, n, c, m = tables[which]
    kind = rng.integers(4)
    if kind == 0:
        a = int(np.clip(a + rng.normal() * math.sqrt(a + 1.0) * 3.0, 0, n))
        c = int(np.clip(c + rng.normal() * math.sqrt(c + 1.0) * 3.0, 0, m))
    elif kind == 1:
        factor = math.exp(rng.normal())
        n, m = (int(np.clip(size * factor, 1, _LARGEST)) for size in (n, m))
        a, c = min(int(a * factor), n), min(int(c * factor), m)
    elif kind == 2:
        a, n, c, m = c, m, a, n
    else:
        a, n, c, m = drawn(rng, sites=1, people=(2, _LARGEST), tau=1.5)[0]
    tables[which] = (a, n, c, m)
    return tables


def search(seconds: float, seed: int) -> dict[str, float]:
    """Climb from many starts towards the worst unmarked error."""
    rng = np.random.default_rng(seed)
    worst = dict.fromkeys(_MODELS, 0.0)
    worst_marked = tried = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        model = _MODELS[int(rng.integers(2))]
        here = drawn(
            rng, sites=int(rng.integers(1, 9)), people=(2, _LARGEST), tau=rng.uniform(0.0, 1.5)
        )
        best = -1.0
        for _ in range(25):
            if time.monotonic() > end:
                break
            candidate = changed(rng, here) if best >= 0.0 else here
            verdict = judge(candidate, model)
            tried += 1
            if verdict.is_marked:
                worst_marked = max(worst_marked, verdict.error)
                best = max(best, 0.0)
                continue
            worst[model] = max(worst[model], verdict.error)
            if verdict.error >= best:
                best, here = verdict.error, candidate
    return {
        "adversarial_sets": tried,
        "adversarial_worst_se": max(worst.values()),
        "adversarial_worst_se_fixed": worst["fixed"],
        "adversarial_worst_se_random": worst["random"],
        "adversarial_worst_se_with_marks": worst_marked,
    }


def ordinary(sets: int, seed: int) -> dict[str, float]:
    """How many ordinary sets are marked, and how many refused."""
    rng = np.random.default_rng(seed)
    marked = refused = 0
    for _ in range(sets):
        tables = drawn(
            rng, sites=int(rng.integers(3, 21)), people=(10, 5_000), tau=rng.uniform(0.0, 0.3)
        )
        try:
            profiles = [site.profile() for site in counts_of(tables)]
            found = [pool_profiles(profiles, model=model) for model in _MODELS]
        except QISError:
            refused += 1
            continue
        marked += any(result.marks for result in found)
    return {"marked_share_ordinary": marked / sets, "refused_share_ordinary": refused / sets}


def exact_vs_direct(sets: int, seed: int) -> float:
    """Worst difference of the pooled counts' estimate from sums by log-gammas, in SE."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for _ in range(sets):
        tables = drawn(rng, sites=5, people=(5, 20_000), tau=1.0)
        found = pool_profiles(counts_of(tables))
        if found.estimate is None or found.standard_error is None:
            continue
        slope = _direct_slope(tables)
        root = brentq(slope, found.estimate - 1.0, found.estimate + 1.0, xtol=1e-13)
        worst = max(worst, abs(root - found.estimate) / found.standard_error)
    return worst


def _direct_slope(tables: Tables) -> Callable[[float], float]:
    rows = []
    for a, n, c, m in tables:
        u = np.arange(max(0, a + c - m), min(n, a + c) + 1.0)
        cells = (u, n - u, a + c - u, m - a - c + u)
        rows.append((a, u, -sum(gammaln(cell + 1.0) for cell in cells)))

    def slope(theta: float) -> float:
        total = 0.0
        for a, u, logs in rows:
            tilted = logs + theta * u
            total += a - float(np.exp(tilted - logsumexp(tilted)) @ u)
        return total

    return slope


def empty_site_moves(seed: int) -> float:
    """Largest change of a pooled number by sites without any event."""
    rng = np.random.default_rng(seed)
    empty = counts_of([(0, 30, 0, 20), (0, 7, 0, 700), (9, 9, 4, 4)])
    worst = 0.0
    for sites in (1, 1, 2, 3, 8):
        outcomes = counts_of(drawn(rng, sites=sites, people=(20, 500), tau=0.3))
        for mixed in (outcomes, [outcome.profile() for outcome in outcomes]):
            for model in _MODELS:
                plain = pool_profiles(mixed, model=model)
                beside = pool_profiles([empty[0], *mixed, *empty[1:]], model=model)
                pairs = zip(
                    (plain.estimate or 0.0, *plain.interval, plain.tau or 0.0),
                    (beside.estimate or 0.0, *beside.interval, beside.tau or 0.0),
                    strict=True,
                )
                worst = max(worst, *(abs(x - y) for x, y in pairs if x != y), 0.0)
    return worst


def speed(seed: int) -> dict[str, float]:
    """Milliseconds of random effects of 30 sites, as profiles and as counts."""
    rng = np.random.default_rng(seed)
    sites = counts_of(drawn(rng, sites=30, people=(20, 1_000), tau=0.3))
    profiles = [site.profile() for site in sites]
    taken = median_seconds(
        {
            "random_30_profiles_ms": lambda: pool_profiles(profiles, model="random"),
            "random_30_counts_ms": lambda: pool_profiles(sites, model="random"),
            "fixed_30_counts_ms": lambda: pool_profiles(sites),
        },
        calls=1,
        rounds=7,
    )
    return {name: 1e3 * seconds for name, seconds in taken.items()}


def main() -> None:
    """Print the figures; the last line is JSON with --json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sets", type=int, default=100, help="ordinary sets")
    asked = parser.parse_args()
    figures = {
        **search(asked.seconds, asked.seed),
        **ordinary(asked.sets, asked.seed),
        "exact_vs_direct_se": exact_vs_direct(20, asked.seed),
        "empty_site_moves": empty_site_moves(asked.seed),
        **speed(asked.seed),
    }
    if asked.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:34} {value:.6g}")


if __name__ == "__main__":
    main()

"""Are pooled numbers right, or marked, or refused? An adversarial search against exact likelihoods.

``python benchmarks/synthesis_truth.py [--json] [--full] [--seconds 150] [--seed 1]``

Takes about four minutes on two cores: first what is timed, alone, then the search beside the rest,
which stop when their seconds are over (`adversarial_sets` and `ordinary_sets` say how far they
came). ``--full`` searches for half an hour.

The truth is the pooled `Counts`, whose fixed-effect answer is itself compared here with sums over
all tables by log-gammas (`exact_vs_direct_se`). `_adversarial_tables` says what is searched: any
tables of up to a million people an arm, whose effects differ by up to tau 1.5, held by up to 300
sites. `..._with_marks` is the worst of the marked results, what a reader would have been told
without marks; `..._gates_off` what the search finds in profiles of the former rule with marks
ignored. `increment_ms_1000_profiles` is the processor time of one packet more; `stall_p99_ms` is by
how much a task of the event loop is late while 1,000 profiles are computed in a thread, and
`stall_idle_p99_ms` by how much it is late on this machine when nothing is.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Final

import numpy as np
from _adversarial_library import Library, worst_mixtures
from _adversarial_tables import MODELS, SAY_SO, Table, counts_of, drawn, judge, search
from _incremental import incremental
from _one_arm import one_arm_vs_glmm
from _ratio import median_seconds
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

from qis import pool_profiles
from qis.errors import QISError

_LIBRARY: Final = 400
"""Tables whose mixtures are tried."""
_FEWEST: Final = 20
"""Ordinary sets that are drawn however long it takes."""
_LARGE: Final = 10_000
_ALIKE: Final = 50
"""Profiles made of one table, which differ in their cohort only: sampling one takes long."""
_KEPT: Final = 12
"""So many of the worst mixtures are pooled for real."""


def adversarial(seconds: float, seed: int) -> dict[str, float]:
    """Mixtures of a library, and climbs from single sets; the last fifth with the gates off."""
    rng = np.random.default_rng(seed)
    worst: dict[str, float] = dict.fromkeys(MODELS, 0.0)
    marked, sets, refused = 0.0, 0, 0
    library = Library.of(rng, _LIBRARY, exact=True)
    for sites in worst_mixtures(library, 0.25 * seconds, rng, gates=True, keep=_KEPT):
        for model in MODELS:
            verdict = judge(sites, model)
            sets += 1
            refused += verdict.is_refused
            if verdict.is_marked:
                marked = max(marked, verdict.error)
            else:
                worst[model] = max(worst[model], verdict.error)
    for model, share in (("fixed", 0.2), ("random", 0.35)):
        found = search(model, share * seconds, seed)
        worst[model] = max(worst[model], found.worst)
        marked, sets = max(marked, found.worst_marked), sets + found.sets
        refused += found.refused
    former = Library.of(rng, _LIBRARY // 4, exact=False)
    off = worst_mixtures(former, 0.1 * seconds, rng, gates=False, keep=3)
    return {
        "adversarial_sets": sets,
        "adversarial_refused_share": refused / sets,
        "adversarial_worst_se": max(worst.values()),
        "adversarial_worst_se_fixed": worst["fixed"],
        "adversarial_worst_se_random": worst["random"],
        "adversarial_worst_se_with_marks": marked,
        "adversarial_worst_se_gates_off": max(
            judge(sites, "fixed", exact=False).error for sites in off
        ),
    }


def ordinary(sets: int, seconds: float, seed: int) -> dict[str, float]:
    """How many ordinary sets are marked, and how many refused."""
    rng = np.random.default_rng(seed)
    marked = refused = drawn_sets = 0
    end = time.monotonic() + seconds
    while drawn_sets < sets and (drawn_sets < _FEWEST or time.monotonic() < end):
        drawn_sets += 1
        tables = drawn(
            rng, sites=int(rng.integers(3, 21)), people=(10, 5_000), tau=rng.uniform(0.0, 0.3)
        )
        try:
            profiles = [counts_of(table).profile() for table in tables]
            found = [pool_profiles(profiles, model=model) for model in MODELS]
        except QISError:
            refused += 1
            continue
        marked += any(SAY_SO.intersection(result.marks) for result in found)
    return {
        "ordinary_sets": drawn_sets,
        "marked_share_ordinary": marked / drawn_sets,
        "refused_share_ordinary": refused / drawn_sets,
    }


def exact_vs_direct(sets: int, seed: int) -> float:
    """Worst difference of the pooled counts' estimate from sums by log-gammas, in SE."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for _ in range(sets):
        tables = drawn(rng, sites=5, people=(5, 20_000), tau=1.0)
        found = pool_profiles([counts_of(table) for table in tables])
        if found.estimate is None or found.standard_error is None:
            continue
        slope = _direct_slope(tables)
        root = brentq(slope, found.estimate - 1.0, found.estimate + 1.0, xtol=1e-13)
        worst = max(worst, abs(root - found.estimate) / found.standard_error)
    return worst


def _direct_slope(tables: Sequence[Table]) -> Callable[[float], float]:
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
    empty = [counts_of(table) for table in ((0, 30, 0, 20), (0, 7, 0, 700), (9, 9, 4, 4))]
    worst = 0.0
    for sites in (1, 1, 2, 3, 8):
        tables = drawn(rng, sites=sites, people=(20, 500), tau=0.3)
        outcomes = [counts_of(table) for table in tables]
        for mixed in (outcomes, [outcome.profile() for outcome in outcomes]):
            for model in MODELS:
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
    sites = [counts_of(table) for table in drawn(rng, sites=30, people=(20, 1_000), tau=0.3)]
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


def many(seed: int) -> dict[str, float]:
    """Seconds of 10,000 profiles under both models, nothing of which was computed before."""
    rng = np.random.default_rng(seed)
    tables = drawn(rng, sites=_LARGE // _ALIKE, people=(20, 1_000), tau=0.3)
    profiles = [
        replace(profile, study=None, cohort=f"c{turn}")
        for profile in (counts_of(table).profile() for table in tables)
        for turn in range(_ALIKE)
    ]
    found = {}
    for model in MODELS:
        start = time.perf_counter()
        pool_profiles(profiles, model=model)
        found[f"{model}_{_LARGE}_profiles_s"] = time.perf_counter() - start
    return found


def beside(sets: int, seconds: float, seed: int) -> dict[str, float]:
    """All that is neither timed nor a search."""
    return {
        "exact_vs_direct_se": exact_vs_direct(20, seed),
        "empty_site_moves": empty_site_moves(seed),
        **one_arm_vs_glmm(),
        **ordinary(sets, seconds, seed),
    }


def main() -> None:
    """Print the figures; the last line is JSON with --json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="search for half an hour")
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sets", type=int, default=100, help="ordinary sets")
    asked = parser.parse_args()
    seconds = 1_800.0 if asked.full else asked.seconds
    timed = {**speed(asked.seed), **incremental(1_000, asked.seed), **many(asked.seed)}
    with ProcessPoolExecutor(max_workers=2) as processes:
        searched = processes.submit(adversarial, seconds, asked.seed)
        others = processes.submit(beside, asked.sets, seconds, asked.seed)
        figures = {**searched.result(), **others.result(), **timed}
    if asked.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:34} {value:.6g}")


if __name__ == "__main__":
    main()

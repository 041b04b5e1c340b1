"""What the ways out below a threshold cost, and what suppression does to those who are left.

- rounding: 95 % intervals of single sites and of ten pooled, from counts rounded to 5 (preset
  "nhs") with the rounding in the likelihood, pooled as if exact, and from the counts themselves;
- noise: the same with discrete Laplace noise of scale 1/epsilon on every cell;
- suppression: the pooled log odds ratio of thirty sites, all of them, those without an event cell
  of 1 to 10, and as many of the largest.

The noise is drawn with numpy from the law that OpenDP draws from (tests/unit compares the two).

    python benchmarks/disclosure_ways_out.py --json     # some five minutes
"""

import argparse
import json
import math
from collections.abc import Sequence

import numpy as np

from qis.disclosure import PRESETS, rounded_counts
from qis.disclosure.privacy import profile_of_noisy_cells
from qis.errors import DisclosureError
from qis.outcomes import Counts
from qis.synthesis import pool_profiles
from qis.synthesis.currency import Poolable

LOG_RATIO = -0.5
CONTROL_LOG_ODDS = -0.8
NHS = PRESETS["nhs"]
ROUNDED = ((37, 1), (73, 1), (148, 1), (73, 10))
"""People in each arm, and sites pooled."""
NOISY = ((2.0, 20), (1.0, 20), (1.0, 60), (0.5, 60), (0.5, 150))
"""Epsilon, and people in each arm."""
SITES = 30
Random = np.random.Generator


def table(random: Random, size: int, control_size: int, control_log_odds: float) -> Counts:
    """A site's counts."""
    risks = [1.0 / (1.0 + math.exp(-control_log_odds - shift)) for shift in (LOG_RATIO, 0.0)]
    return counts(
        random.binomial(size, risks[0]), size, random.binomial(control_size, risks[1]), control_size
    )


def counts(events: int, total: int, control_events: int, control_total: int) -> Counts:
    """A table of plain integers."""
    return Counts(
        question="a vs b | event",
        events=int(events),
        total=int(total),
        control_events=int(control_events),
        control_total=int(control_total),
    )


def as_if_exact(found: Counts) -> Counts:
    """Counts rounded to 5, with nothing said about it."""
    arms = (found.events, found.total, found.control_events or 0, found.control_total or 0)
    return counts(*((number + 2) // 5 * 5 for number in arms))


def clipped(cells: Sequence[int]) -> Counts:
    """Noisy cells taken for true ones."""
    a, b, c, d = (max(0, cell) for cell in cells)
    return counts(a, max(1, a + b), c, max(1, c + d))


class Tally:
    """Intervals that cover, their widths, and estimates."""

    def __init__(self) -> None:
        self.covered: list[bool] = []
        self.widths: list[float] = []
        self.estimates: list[float] = []

    def add(self, evidence: Sequence[Poolable]) -> None:
        """Pool, and look."""
        found = pool_profiles(evidence)
        low, high = found.interval
        self.covered.append(low <= LOG_RATIO <= high)
        self.widths.append(high - low)
        if found.estimate is not None:
            self.estimates.append(found.estimate)

    def as_dict(self, name: str) -> dict[str, float]:
        """Coverage, median width, and bias of the mean estimate."""
        return {
            f"{name}_coverage": round(float(np.mean(self.covered)), 3),
            f"{name}_width": round(float(np.median(self.widths)), 2),
            f"{name}_bias": round(float(np.mean(self.estimates)) - LOG_RATIO, 3),
        }


def rounding(random: Random, size: int, sites: int, runs: int) -> dict[str, float]:
    """Rounded counts, modelled and not."""
    tallies = {name: Tally() for name in ("modelled", "as_if_exact", "unrounded")}
    for _ in range(runs):
        tables: list[Counts] = []
        modelled = []
        while len(tables) < sites:
            drawn = table(random, size, size, random.normal(CONTROL_LOG_ODDS, 0.2))
            try:
                modelled.append(rounded_counts(drawn, NHS))
            except DisclosureError:  # a cell of 1 to 7
                continue
            tables.append(drawn)
        tallies["modelled"].add(modelled)
        tallies["as_if_exact"].add([as_if_exact(drawn) for drawn in tables])
        tallies["unrounded"].add(tables)
    return _named(tallies, f"rounding_n{size}_k{sites}")


def noise(random: Random, epsilon: float, size: int, runs: int) -> dict[str, float]:
    """Noisy counts, modelled and not."""
    tallies = {name: Tally() for name in ("modelled", "as_if_exact", "without_noise")}
    chance = 1.0 - math.exp(-epsilon)
    for _ in range(runs):
        drawn = table(random, size, size, CONTROL_LOG_ODDS)
        true = np.array(
            [drawn.events, size - drawn.events, drawn.control_events, size - drawn.control_events]
        )
        cells = (true + random.geometric(chance, 4) - random.geometric(chance, 4)).tolist()
        modelled = profile_of_noisy_cells(cells, epsilon=epsilon, question=drawn.question)
        tallies["modelled"].add([modelled])
        tallies["as_if_exact"].add([clipped(cells)])
        tallies["without_noise"].add([drawn])
    return _named(tallies, f"noise_epsilon{epsilon:g}_n{size}")


def suppression(random: Random, runs: int) -> dict[str, float]:
    """Thirty sites of 20 to 200 people in each arm, and those that rules leave over."""
    tallies = {name: Tally() for name in ("all", "by_events", "by_people")}
    left = []
    for _ in range(runs):
        sizes = random.integers(20, 200, SITES)
        tables = [table(random, size, size, random.normal(-1.7, 0.3)) for size in sizes]
        kept = [found for found in tables if not _is_small(found)]
        largest = sorted(tables, key=lambda found: found.n)[-max(1, len(kept)) :]
        left.append(len(kept) / SITES)
        tallies["all"].add(tables)
        tallies["by_events"].add(kept or tables[:1])
        tallies["by_people"].add(largest)
    return {"suppression_sites_left": round(float(np.mean(left)), 3)} | _named(
        tallies, "suppression"
    )


def _is_small(found: Counts) -> bool:
    return any(0 < events < 11 for events in (found.events, found.control_events or 0))


def _named(tallies: dict[str, Tally], prefix: str) -> dict[str, float]:
    return {
        f"{prefix}_{key}": value
        for name, tally in tallies.items()
        for key, value in tally.as_dict(name).items()
    }


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=1_000)
    arguments = parser.parse_args()
    runs, results = arguments.runs, {"runs": float(arguments.runs)}
    for seed, (size, sites) in enumerate(ROUNDED):
        results |= rounding(np.random.default_rng(seed), size, sites, max(1, runs // sites))
    for seed, (epsilon, size) in enumerate(NOISY):
        results |= noise(np.random.default_rng(100 + seed), epsilon, size, runs)
    results |= suppression(np.random.default_rng(200), max(1, runs // 4))
    print(json.dumps(results) if arguments.json else "\n".join(map(str, results.items())))


if __name__ == "__main__":
    main()

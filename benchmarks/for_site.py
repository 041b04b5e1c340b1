"""What the evidence says for one site: how much better than `qis.shrink`, and how true.

    python benchmarks/for_site.py [--json] [--data FOLDER] [--full]

- **Simulation** (`_site_simulation.py`): sites of 11, 60 and 850 patients, standard error 4.4/√n,
  the one that asks has 11. Two clusters, known by sketches only, whose effects have a standard
  deviation of 0.6; one effect for all, or independent ones, where likeness means nothing; the most
  similar site wrong by 1.5; everything drawn from the prior, for coverage.
- **References**: long Markov chains (`_site_mcmc.py`, and one made elsewhere) for every site of
  three sets of trials, one with four sites without events beside each that asks.
- **Public data** (`_site_public.py`, `--data`): leave-one-out against random effects; with dealt
  moderators; the BCG trials by latitude alone.
- **Grid and time**: the Bayes factor of 160 sites against 64 nodes of tau; 60 sites of counts.

`--full` makes five times as many runs and deals ten times as often.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# One thread each: the matrices are small, and threads would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import _site_public as public
import _site_simulation as simulation

import qis
from qis.here import grid as grids
from qis.here.grid import integrate
from qis.here.kernel import Likeness
from qis.here.marginal import density_of
from qis.here.model import SiteModel
from qis.here.tables import SiteLikelihoods
from qis.synthesis.currency import Likelihood

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("QIS_SHARED_DATA") or ROOT.parent / "shared" / "data")
REFERENCES = ROOT / "tests" / "data" / "here"
STRONG = float(np.log(10.0))
DEALT_AT_MOST = 60  # sites; larger sets are dealt anew with --full only


def simulated(runs: int, pool: ProcessPoolExecutor) -> Iterator[tuple[str, float]]:
    """Figures of the simulation."""
    asked = {
        "k8": (simulation.clusters, 8, runs),
        "k8_three": (simulation.three_clusters, 8, runs),
        "k24": (simulation.clusters, 24, runs),
        "k60": (simulation.clusters, 60, runs),
        "one_8": (simulation.one_effect, 8, runs),
        "one_24": (simulation.one_effect, 24, runs),
        "free_8": (simulation.independent, 8, runs),
        "free_24": (simulation.independent, 24, runs),
        "twin": (simulation.outlier_twin, 24, runs),
        "prior_3": (simulation.from_the_prior, 3, 8 * runs),
        "prior_8": (simulation.from_the_prior, 8, 8 * runs),
        "prior_24": (simulation.from_the_prior, 24, 4 * runs),
    }
    jobs = [
        (name, pool.submit(simulation.answers, draw, k, part, seed))
        for name, (draw, k, count) in asked.items()
        for seed, part in enumerate(_parts(count))
    ]
    found: dict[str, dict[str, float]] = {}
    for name in asked:
        found[name] = simulation.together([job.result() for its, job in jobs if its == name])
    for key in ("k8", "k24", "k60"):
        yield f"rmse_vs_shrink_{key}", found[key]["ratio"]
    yield "rmse_vs_shrink_k8_three_clusters", found["k8_three"]["ratio"]
    useless = ("one_8", "one_24", "free_8", "free_24")
    yield "rmse_uninformative_vs_shrink", statistics.mean(found[key]["ratio"] for key in useless)
    yield "outlier_twin_vs_shrink", found["twin"]["ratio"]
    covered = [found[key]["coverage"] for key in ("prior_3", "prior_8", "prior_24")]
    yield "prior_coverage_min", min(covered)
    yield "prior_coverage_max", max(covered)
    yield "simulated_false_evidence", max(found[key]["strong"] for key in useless)


def _parts(count: int) -> list[int]:
    size = 25
    return [size] * (count // size) or [count]


def references() -> Iterator[tuple[str, float]]:
    """Differences from the Markov chains."""
    differences, ends = [], []
    for tables, model, rows in _references():
        grid = integrate(tables, model)
        for site, row in enumerate(rows):
            density = density_of(grid, site)
            mean, sd = density.mean_and_sd
            low, median, high = (density.quantile(share) for share in (0.025, 0.5, 0.975))
            differences += [abs(mean - row[0]), abs(sd - row[1]), abs(median - row[3])]
            ends += [abs(low - row[2]), abs(high - row[4])]
    yield "mcmc_worst", max(differences)
    yield "mcmc_worst_end", max(ends)


def _references() -> Iterator[tuple[SiteLikelihoods, SiteModel, list[list[float]]]]:
    data = json.loads((ROOT / "tests/data/synthesis/nielweise2007.json").read_text())["data"]
    rows = list(zip(*(data[name] for name in ("ai", "n1i", "ci", "n2i")), strict=True))
    rows = [row for row in rows if row[0] + row[2] > 0]
    k = len(rows)
    likeness = _by_index(k)
    model = SiteModel(k=k, likeness=likeness, tau_scale=0.5, mean_scale=10.0, tail_share=0.0)
    elsewhere = json.loads((REFERENCES / "mcmc_nielweise2007.json").read_text())["rows"]
    yield _counts(rows), model, [row[1:] for row in elsewhere]
    for one in json.loads((REFERENCES / "mcmc.json").read_text()):
        k = len(one["tables"])
        settings = {name: one[name] for name in ("tau_scale", "mean_scale", "tail_share")}
        model = SiteModel(k=k, likeness=_by_index(k), tail_scale=one["tail_scale"], **settings)
        yield _counts(one["tables"]), model, one["rows"]


def _by_index(k: int) -> Likeness:
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    return Likeness(above_chance=np.exp(-apart / 5.0), chance=0.0)


def _counts(rows: Any) -> SiteLikelihoods:
    keys = ("events", "total", "control_events", "control_total")
    outcomes = [qis.Counts(question="q", **dict(zip(keys, row, strict=True))) for row in rows]
    return SiteLikelihoods.of([Likelihood.of([outcome]) for outcome in outcomes])


def on_public_data(folder: Path, times: int, *, all_sets: bool) -> Iterator[tuple[str, float]]:
    """Leave-one-out on a folder of meta-analyses."""
    gains, dealt = [], []
    rng = np.random.default_rng(1)
    for path in sorted(folder.glob("*.csv")):
        one = public.read(path)
        ours, _ = public.predicted(public.with_likeness(one))
        usual, _ = public.predicted(public.random_effects(one))
        gains.append(ours - usual)
        if all_sets or len(one.tables) <= DEALT_AT_MOST:
            dealt += public.permuted(one, times, rng)
    yield "public_sets", len(gains)
    yield "public_sets_better", sum(gain > 0.0 for gain in gains)
    yield "public_worst_loss", min(gains)
    yield "permuted_loss_mean", statistics.mean(ratio for ratio, _ in dealt)
    yield "false_evidence", statistics.mean(log_factor > STRONG for _, log_factor in dealt)
    bcg = public.read(folder / "bcg.csv", only=("n_ablat",))
    ours, _ = public.predicted(public.with_likeness(bcg))
    usual, _ = public.predicted(public.random_effects(bcg))
    yield "bcg_latitude_gain", ours - usual


def grid_error() -> float:
    """The largest error of the logarithm of the Bayes factor, of 160 sites, to 64 nodes of tau."""
    worst = 0.0
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        drawn = (simulation.clusters if seed == 1 else simulation.independent)(rng, 160)
        tables = simulation.tables_of(drawn.estimates, drawn.errors)
        model = SiteModel(k=160, likeness=drawn.likeness, tau_scale=0.5)
        refined = integrate(tables, model).log_bayes_factor
        fine = grids.integrate_evenly(tables, model, 64).log_bayes_factor
        worst = max(worst, abs((refined or 0.0) - (fine or 0.0)))
    return worst


def milliseconds(k: int) -> float:
    """Time of one answer from k sites of counts, from their outcomes to the density."""
    rng = np.random.default_rng(3)
    drawn = simulation.clusters(rng, k)
    totals = simulation.sizes_of(k) // 2 + 1
    risks = 1.0 / (1.0 + np.exp(1.0 - drawn.effects))
    treated, control = rng.binomial(totals, risks), rng.binomial(totals, 0.27)
    control = np.maximum(control, treated + control == 0)  # each has an event
    rows = list(
        zip(treated.tolist(), totals.tolist(), control.tolist(), totals.tolist(), strict=True)
    )
    took = []
    for _ in range(3):
        start = time.perf_counter()
        tables = _counts(rows)
        model = SiteModel(k=k, likeness=drawn.likeness, tau_scale=0.5)
        grid = integrate(tables, model, asked=0)
        density_of(grid, 0).quantile(0.5)
        took.append(1000.0 * (time.perf_counter() - start))
    return min(took)


def main() -> None:
    """Print every figure, and as the last line all of them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--data", type=Path, default=SHARED / "synthesis" / "moderators")
    asked = parser.parse_args()
    if not any(asked.data.glob("*.csv")):
        parser.error(f"{asked.data} has no CSV files: give --data FOLDER")
    figures: dict[str, float] = {"ms_for_60_sites": milliseconds(60)}
    runs, times = (5 * asked.runs, 40) if asked.full else (asked.runs, 4)
    figures.update(references())
    with ProcessPoolExecutor(max_workers=2) as pool:
        others = partial(_listed, asked.data, times, all_sets=asked.full)
        shown = pool.submit(others)
        error = pool.submit(grid_error)
        figures.update(simulated(runs, pool))
        figures.update(shown.result())
        figures["grid_error"] = error.result()
    figures = {name: round(float(value), 4) for name, value in figures.items()}
    if not asked.json:
        for name, value in figures.items():
            print(f"{name:34} {value:g}")
    print(json.dumps(figures))


def _listed(folder: Path, times: int, *, all_sets: bool) -> list[tuple[str, float]]:
    return list(on_public_data(folder, times, all_sets=all_sets))


if __name__ == "__main__":
    main()

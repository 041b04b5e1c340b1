"""What lying sites do to each way of pooling: bias and coverage, by simulation.

Honest sites have true effects N(0.2, 0.1²) on a log scale and standard errors from 0.1 to 0.5.
Liars claim an effect larger by `--lie`, with an ordinary standard error. Run it as
``python benchmarks/synthesis_liars.py [--json]``; it takes some minutes, most of them for the
heavy-tailed model on 50 sites.
"""

import argparse
import json
import math

import numpy as np

from qis.synthesis import bayes, heavy_tailed, influence, inverse_variance, weighted_median

TRUTH, TAU = 0.2, 0.1
SETTINGS = ((3, 0), (3, 1), (5, 0), (5, 2), (50, 0), (50, 15))
Result = tuple[float, tuple[float, float]]


def without_odd_sites(y: np.ndarray, s: np.ndarray) -> Result:
    """REML after leaving out the sites that `influence` finds odd, one at a time."""
    while len(y) > 1:
        table = influence(y, s)
        odd = table.odd()
        if not odd:
            break
        worst = max(odd, key=lambda i: abs(table.sites[i].residual))
        y, s = np.delete(y, worst), np.delete(s, worst)
    pooled = inverse_variance(y, s)
    return pooled.estimate, pooled.interval


def methods(y: np.ndarray, s: np.ndarray) -> dict[str, Result]:
    """Estimate and 95 % interval by each method."""
    fixed = inverse_variance(y, s, tau2="FE")
    random = inverse_variance(y, s)
    modified = inverse_variance(y, s, interval="hksj")
    posterior = bayes(y, s)
    heavy = heavy_tailed(y, s)
    median = weighted_median(y, s)
    return {
        "fixed effect": (fixed.estimate, fixed.interval),
        "REML, z": (random.estimate, random.interval),
        "REML, modified HKSJ": (modified.estimate, modified.interval),
        "Bayes, normal": (posterior.mean, posterior.interval),
        "heavy-tailed, t(3)": (heavy.mean, heavy.interval),
        "weighted median": (median.estimate, median.interval),
        "REML less odd sites": without_odd_sites(y, s),
    }


def simulate(k: int, liars: int, lie: float, runs: int, seed: int) -> dict[str, dict[str, float]]:
    """Bias, root mean square error, coverage and median width of each method."""
    rng = np.random.default_rng([seed, k, liars])
    found: dict[str, list[Result]] = {}
    for _ in range(runs):
        s = rng.uniform(0.1, 0.5, k)
        y = rng.normal(TRUTH, np.hypot(s, TAU))
        y[:liars] += lie
        for name, result in methods(y, s).items():
            found.setdefault(name, []).append(result)
    table = {}
    for name, results in found.items():
        errors = np.array([estimate - TRUTH for estimate, _ in results])
        limits = np.array([interval for _, interval in results])
        covered = (limits[:, 0] <= TRUTH) & (limits[:, 1] >= TRUTH)
        width = float(np.median(limits[:, 1] - limits[:, 0]))
        table[name] = {
            "bias": float(errors.mean()),
            "rmse": float(np.sqrt(np.mean(errors**2))),
            "coverage": float(covered.mean()),
            "median_width": width if math.isfinite(width) else None,
        }
    return table


def main() -> None:
    """Simulate every setting and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--lie", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    report = {}
    for k, liars in SETTINGS:
        runs = options.runs if k < 20 else max(1, options.runs // 5)
        table = simulate(k, liars, options.lie, runs, options.seed)
        report[f"{liars} of {k}"] = {"runs": runs, "methods": table}
        if options.json:
            continue
        print(f"\n{liars} of {k} sites lie by {options.lie:+g} ({runs} runs)")
        print(f"{'':22}{'bias':>8}{'rmse':>8}{'coverage':>10}{'width':>8}")
        for name, row in table.items():
            width = "∞" if row["median_width"] is None else f"{row['median_width']:.2f}"
            print(f"{name:22}{row['bias']:8.3f}{row['rmse']:8.3f}{row['coverage']:10.3f}{width:>8}")
    if options.json:
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

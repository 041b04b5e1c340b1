"""How often intervals are wrong, by simulation.

    python benchmarks/synthesis_intervals.py {rare,looks,liars} [--runs N] [--json]

`rare`: 95 % intervals where events are rare. Forty sites of 30 treated and 30 control patients,
risk 1 % in the control arms, one common odds ratio: coverage, and bias of the log odds ratio, for
`pool_profiles` of `Counts` and for inverse variance with 0.5 in all cells of sites that have a zero
(sites without any event left out).

`looks`: how often an interval that is looked at after every packet excludes the truth at some look.
One site arrives a look, with a standard error from 0.2 to 0.6 about one common effect. Beside the
usual 95 % interval: the confidence sequence at three mixing scales, and its width relative to the
usual one.

`liars`: what lying sites do to each way of pooling. Honest sites have true effects N(0.2, 0.1²) on
a log scale and standard errors from 0.1 to 0.5; liars claim an effect larger by `--lie`, with an
ordinary standard error. It takes minutes, most of them for the heavy-tailed model on 50 sites.
"""

import argparse
import json
import math
import statistics
from typing import Any

import numpy as np

from qis import Counts, pool_profiles
from qis.synthesis import (
    anytime_interval,
    bayes,
    heavy_tailed,
    influence,
    inverse_variance,
    weighted_median,
)

SITES, ARM, RISK = 40, 30, 0.01
RATIOS = (1.0, 2.0, 0.5, 0.2)
LOOKS = (1, 2, 5, 10, 20, 50, 100)
MIXING_SCALES = (0.1, 0.5, 2.0)
TRUTH, TAU = 0.2, 0.1
SETTINGS = ((3, 0), (3, 1), (5, 0), (5, 2), (50, 0), (50, 15))
Result = tuple[float, tuple[float, float]]


def corrected(table: tuple[int, int]) -> tuple[float, float]:
    """Log odds ratio and standard error with 0.5 added to all cells if one of them is zero."""
    cells = [table[0], ARM - table[0], table[1], ARM - table[1]]
    a, b, c, d = (cell + 0.5 for cell in cells) if 0 in cells else cells
    return math.log(a * d / (b * c)), math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def rare_events(ratio: float, runs: int, seed: int) -> dict[str, float]:
    """Coverage and bias of both methods under one odds ratio."""
    rng = np.random.default_rng(seed)
    odds = RISK / (1 - RISK) * ratio
    truth = math.log(ratio)
    found: dict[str, list[tuple[float | None, bool]]] = {"profiles": [], "corrected": []}
    for _ in range(runs):
        treated = rng.binomial(ARM, odds / (1 + odds), SITES).tolist()
        control = rng.binomial(ARM, RISK, SITES).tolist()
        tables = list(zip(treated, control, strict=True))
        pooled = pool_profiles(
            [
                Counts(question="q", events=a, total=ARM, control_events=c, control_total=ARM)
                for a, c in tables
            ]
        )
        covers = pooled.interval[0] <= truth <= pooled.interval[1]
        found["profiles"].append((pooled.estimate, covers))
        numbers = [corrected(table) for table in tables if any(table)]
        if numbers:
            plain = inverse_variance(*zip(*numbers, strict=True), tau2="FE")
            covers = plain.interval[0] <= truth <= plain.interval[1]
            found["corrected"].append((plain.estimate, covers))
    result = {}
    for name, runs_of in found.items():
        finite = [estimate for estimate, _ in runs_of if estimate is not None]
        result[f"{name}_coverage"] = sum(covers for _, covers in runs_of) / len(runs_of)
        result[f"{name}_bias"] = statistics.fmean(finite) - truth
        result[f"{name}_without_estimate"] = 1.0 - len(finite) / len(runs_of)
    return result


def many_looks(runs: int, seed: int) -> dict[str, dict[int, dict[str, float]]]:
    """Error (share of runs with the truth outside at any look so far) and relative width."""
    rng = np.random.default_rng(seed)
    most = max(LOOKS)
    errors = rng.uniform(0.2, 0.6, (runs, most))
    weights = errors**-2.0
    information = weights.cumsum(axis=1)
    score = (rng.normal(0.0, errors) * weights).cumsum(axis=1)
    distance = np.abs(score / information)
    standard_error = information**-0.5
    # anytime_interval takes one number; the boundary depends on the standard error alone, so it
    # is tabulated and interpolated in the logarithm.
    knots = np.geomspace(standard_error.min() * 0.999, standard_error.max() * 1.001, 4000)
    boundaries = {"naive": 1.959963984540054 * standard_error}
    for scale in MIXING_SCALES:
        half = [anytime_interval(0.0, float(x), mixing_scale=scale)[1] for x in knots]
        boundaries[f"sequence, {scale:g}"] = np.exp(
            np.interp(np.log(standard_error), np.log(knots), np.log(half))
        )
    table = {}
    for name, half in boundaries.items():
        outside = np.maximum.accumulate(distance > half, axis=1)
        ratio = half / boundaries["naive"]
        table[name] = {
            look: {
                "error": float(outside[:, look - 1].mean()),
                "relative_width": float(ratio[:, look - 1].mean()),
            }
            for look in LOOKS
        }
    return table


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


def with_liars(k: int, liars: int, lie: float, runs: int, seed: int) -> dict[str, dict[str, float]]:
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


def rare(options: argparse.Namespace) -> dict[str, Any]:
    """Under each odds ratio."""
    runs = options.runs or 2000
    results = {ratio: rare_events(ratio, runs, seed) for seed, ratio in enumerate(RATIOS)}
    if options.json:
        return {str(ratio): result for ratio, result in results.items()}
    print(f"{'odds ratio':>10} {'method':>10} {'coverage':>9} {'bias':>7} {'no estimate':>12}")
    for ratio, result in results.items():
        for name in ("profiles", "corrected"):
            print(
                f"{ratio:10} {name:>10} {result[f'{name}_coverage']:9.3f} "
                f"{result[f'{name}_bias']:7.3f} {result[f'{name}_without_estimate']:12.4f}"
            )
    return {}


def looks(options: argparse.Namespace) -> dict[str, Any]:
    """After each number of looks."""
    runs = options.runs or 20_000
    table = many_looks(runs, options.seed)
    if options.json:
        return {name: {str(look): row[look] for look in LOOKS} for name, row in table.items()}
    print(f"share of {runs} runs with the truth outside at any look (width / usual width)")
    print(f"{'looks':>6}" + "".join(f"{name:>18}" for name in table))
    for look in LOOKS:
        cells = (
            f"{r[look]['error']:.3f} ({r[look]['relative_width']:.2f})" for r in table.values()
        )
        print(f"{look:6}" + "".join(f"{cell:>18}" for cell in cells))
    return {}


def liars(options: argparse.Namespace) -> dict[str, Any]:
    """In each setting, as it is done."""
    report = {}
    for k, lying in SETTINGS:
        runs = options.runs or 400
        runs = runs if k < 20 else max(1, runs // 5)
        table = with_liars(k, lying, options.lie, runs, options.seed)
        report[f"{lying} of {k}"] = {"runs": runs, "methods": table}
        if options.json:
            continue
        print(f"\n{lying} of {k} sites lie by {options.lie:+g} ({runs} runs)")
        print(f"{'':22}{'bias':>8}{'rmse':>8}{'coverage':>10}{'width':>8}")
        for name, row in table.items():
            width = "∞" if row["median_width"] is None else f"{row['median_width']:.2f}"
            print(f"{name:22}{row['bias']:8.3f}{row['rmse']:8.3f}{row['coverage']:10.3f}{width:>8}")
    return report


def main() -> None:
    """Simulate what is asked for, and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("question", choices=("rare", "looks", "liars"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, help="simulated meta-analyses of a setting")
    parser.add_argument("--lie", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    report = {"rare": rare, "looks": looks, "liars": liars}[options.question](options)
    if options.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()

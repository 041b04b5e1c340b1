"""Do intervals cover where events are rare? Pooled likelihoods beside 0.5 added to zero cells.

``python benchmarks/synthesis_coverage.py [--runs 2000] [--json]``. Forty sites of 30 treated and 30
control patients, risk 1 % in the control arms, one common odds ratio. Coverage of 95 % intervals
and bias of the log odds ratio, for `pool_profiles` of `Counts` and for inverse variance with 0.5
in all cells of sites that have a zero (sites without any event left out).
"""

import argparse
import json
import math
import statistics

import numpy as np

from qis import Counts, inverse_variance, pool_profiles

SITES, ARM, RISK = 40, 30, 0.01
RATIOS = (1.0, 2.0, 0.5, 0.2)


def corrected(table: tuple[int, int]) -> tuple[float, float]:
    """Log odds ratio and standard error with 0.5 added to all cells if one of them is zero."""
    cells = [table[0], ARM - table[0], table[1], ARM - table[1]]
    a, b, c, d = (cell + 0.5 for cell in cells) if 0 in cells else cells
    return math.log(a * d / (b * c)), math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def simulate(ratio: float, runs: int, seed: int) -> dict[str, float]:
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


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=2000)
    options = parser.parse_args()
    results = {ratio: simulate(ratio, options.runs, seed) for seed, ratio in enumerate(RATIOS)}
    if options.json:
        print(json.dumps({str(ratio): result for ratio, result in results.items()}))
        return
    print(f"{'odds ratio':>10} {'method':>10} {'coverage':>9} {'bias':>7} {'no estimate':>12}")
    for ratio, result in results.items():
        for name in ("profiles", "corrected"):
            print(
                f"{ratio:10} {name:>10} {result[f'{name}_coverage']:9.3f} "
                f"{result[f'{name}_bias']:7.3f} {result[f'{name}_without_estimate']:12.4f}"
            )


if __name__ == "__main__":
    main()

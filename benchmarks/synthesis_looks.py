"""How often an interval that is looked at after every packet excludes the truth at some look.

One site arrives a look, with a standard error from 0.2 to 0.6 about one common effect. Beside the
usual 95 % interval: the confidence sequence at three mixing scales, and its width relative to the
usual one. Run it as ``python benchmarks/synthesis_looks.py [--json]``.
"""

import argparse
import json

import numpy as np

from qis.synthesis import anytime_interval

LOOKS = (1, 2, 5, 10, 20, 50, 100)
MIXING_SCALES = (0.1, 0.5, 2.0)


def simulate(runs: int, seed: int) -> dict[str, dict[int, dict[str, float]]]:
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


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    table = simulate(options.runs, options.seed)
    if options.json:
        print(json.dumps(table, indent=1))
        return
    print(f"share of {options.runs} runs with the truth outside at any look (width / usual width)")
    print(f"{'looks':>6}" + "".join(f"{name:>18}" for name in table))
    for look in LOOKS:
        cells = (
            f"{r[look]['error']:.3f} ({r[look]['relative_width']:.2f})" for r in table.values()
        )
        print(f"{look:6}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()

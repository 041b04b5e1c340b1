"""What a site of 11 patients gains from sites of 847 and 612, as its truth moves away from theirs.

Standard errors are ``unit / sqrt(n)``. The two large sites share one true effect, 0; the small
one's is ``distance``. Run it as ``python benchmarks/synthesis_shrinkage.py [--json] [--svg FILE]``.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

from qis.synthesis import inverse_variance, shrink

PATIENTS = (847, 612, 11)
UNIT = 4.4  # of a log odds ratio with one third of the patients having the event
DISTANCES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
SHRUNKEN = {
    "shrunken": {"method": "bayes"},
    "shrunken, wide": {"method": "bayes", "tau_scale": 2.0},
    "shrunken, REML": {"method": "REML"},
}
WAYS = ("local", "pooled", *SHRUNKEN)


def simulate(runs: int, seed: int) -> list[dict[str, float]]:
    """One row a distance: root mean square error of each way, and coverage of the intervals."""
    errors = np.array([UNIT / math.sqrt(n) for n in PATIENTS])
    noise = np.random.default_rng(seed).normal(0.0, errors, (runs, 3))
    rows = []
    for distance in DISTANCES:
        truth = np.array([0.0, 0.0, distance])
        misses: dict[str, list[float]] = {way: [] for way in WAYS}
        covered: dict[str, list[bool]] = {way: [] for way in WAYS}
        for y in truth + noise:
            pairs = list(zip(y.tolist(), errors.tolist(), strict=True))
            pooled = inverse_variance(y, errors, tau2="FE")
            half = 1.959964 * errors[2]
            found = {
                "local": (float(y[2]), (y[2] - half, y[2] + half)),
                "pooled": (pooled.estimate, pooled.interval),
            }
            for way, settings in SHRUNKEN.items():
                one = shrink(pairs[2], pairs[:2], **settings)
                found[way] = (one.estimate, one.interval)
            for way, (estimate, (low, high)) in found.items():
                misses[way].append(estimate - distance)
                covered[way].append(bool(low <= distance <= high))
        row = {"distance": distance}
        for way in WAYS:
            row[way] = float(np.sqrt(np.mean(np.square(misses[way]))))
            row[f"{way} coverage"] = float(np.mean(covered[way]))
        rows.append(row)
    return rows


def equal_vote() -> float:
    """By how much the plain mean of the three multiplies the error of the largest site."""
    variances = [UNIT**2 / n for n in PATIENTS]
    return math.sqrt(sum(variances)) / 3.0 / math.sqrt(variances[0])


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Error against distance as an SVG file."""
    import matplotlib as mpl  # noqa: PLC0415  (only with --svg)

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "qis"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt  # noqa: PLC0415  (after the backend)

    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    styles = {
        "local": "--",
        "pooled": ":",
        "shrunken": "-",
        "shrunken, wide": (0, (6, 1)),
        "shrunken, REML": "-.",
    }
    colours = {
        "local": "#777777",
        "pooled": "#b03030",
        "shrunken": "#1f4e8c",
        "shrunken, wide": "#2f8f5b",
    }
    for way, style in styles.items():
        axes.plot(
            [row["distance"] for row in rows],
            [row[way] for row in rows],
            linestyle=style,
            color=colours.get(way, "#4f9bd9"),
            label=way,
            linewidth=2,
        )
    axes.set_xlabel("distance of the small site's true effect from the others' (log scale)")
    axes.set_ylabel("root mean square error")
    axes.set_ylim(0, 4.2)
    axes.set_title("Error of a site with 11 patients beside 847 and 612", fontsize=10)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def main() -> None:
    """Simulate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = simulate(options.runs, options.seed)
    if options.svg:
        draw(rows, options.svg)
    if options.json:
        print(json.dumps({"equal_vote_factor": equal_vote(), "rows": rows}, indent=1))
        return
    print(f"an equal vote multiplies the largest site's error by {equal_vote():.2f}")
    print("root mean square error (coverage of the 95 % interval), for the site of 11 patients")
    print(f"{'distance':>9}" + "".join(f"{way:>18}" for way in WAYS))
    for row in rows:
        cells = (f"{row[way]:.2f} ({row[f'{way} coverage']:.2f})" for way in WAYS)
        print(f"{row['distance']:9.2f}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()

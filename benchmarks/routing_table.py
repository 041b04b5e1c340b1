"""The table of docs/overlay.md: one network a seed, and each fault but the last in a copy of it.

    python benchmarks/routing_table.py --nodes 1000 --seeds 3

Prints one JSON object for each seed and fault, and pooled recall with its 95 % interval (Wilson).
"""

import argparse
import json
import os
import resource
import sys
import time
from collections import defaultdict
from math import sqrt
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import routing
from _interests import RADIUS, closed_form

FAULTS = {
    "faultless": {},
    "dead .2, loss .05": {"dead": 0.2, "loss": 0.05},
    "and droppers .1": {"dead": 0.2, "loss": 0.05, "droppers": 0.1},
    "the same, re-published": {"dead": 0.2, "loss": 0.05, "droppers": 0.1, "republished": True},
    "churn .1": {"churn": 0.1},
    "churn .3": {"churn": 0.3},
}

DRAWN_FROM = 30  # pairs in a bin
Bins = dict[str, list[Any]]  # by distance: found, due


def in_a_copy(args: argparse.Namespace, seed: int, world: Any) -> dict[str, Any]:
    """The figures, measured in a forked process so that this one's network stays as it is."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            with os.fdopen(writer, "w") as pipe:
                json.dump(routing.measure(args, seed, world), pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    figures: dict[str, Any] = json.loads(text)
    return figures


def spent(start: float) -> str:
    """What this process has taken since then, copies not counted."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{time.process_time() - start:.0f} s of CPU, {memory:.2f} GiB"


def interval(found: float, due: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; pairs of one publication are not independent."""
    z, p = 1.96, found / due
    centre, half = p + z * z / (2 * due), z * sqrt(p * (1 - p) / due + (z / (2 * due)) ** 2)
    return (centre - half) / (1 + z * z / due), (centre + half) / (1 + z * z / due)


def draw(pooled: dict[str, Bins], path: Path) -> None:
    """Recall by distance beside the closed form, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  the extra [plot]

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "qis"
    figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
    bits = range(10, RADIUS + 1)
    axes.plot(bits, [closed_form(d) for d in bits], "--", color="#999999", label="closed form")
    colours = dict(zip(FAULTS, ("#1f4e8c", "#b3541e", "#7a1f1f", "#2e7d4f"), strict=False))
    for i, fault in enumerate(f for f in colours if f in pooled):
        rows = sorted((int(name.split("-")[0]), row) for name, row in pooled[fault].items())
        rows = [(low, row) for low, row in rows if low < RADIUS and row[1] >= DRAWN_FROM]
        positions = [low + 5 + 0.6 * (i - 1.5) for low, _ in rows]
        shares = [found / due for _, (found, due) in rows]
        ends = [interval(found, due) for _, (found, due) in rows]
        errors = [[p - e[0] for p, e in zip(shares, ends, strict=True)]]
        errors.append([max(0.0, e[1] - p) for p, e in zip(shares, ends, strict=True)])
        axes.errorbar(positions, shares, errors, fmt="o", ms=3, color=colours[fault], label=fault)
    axes.set_ylim(0.93, 1.002)
    axes.set_xlabel("bits that differ")
    axes.set_ylabel("delivered")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure and print."""
    parser = routing.parser()
    parser.add_argument("--draw", type=Path, metavar="SVG", help="recall by distance")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS)
    args = parser.parse_args()
    args.json = True
    pooled: dict[str, Bins] = defaultdict(lambda: defaultdict(lambda: [0.0, 0]))
    for seed in range(args.seeds):
        start = time.process_time()
        world = routing.settled(args, seed)
        print(f"# seed {seed} settled: {spent(start)}", flush=True)
        for fault in args.faults:
            own = argparse.Namespace(**(vars(args) | FAULTS[fault]))
            is_last = fault == args.faults[-1]  # nobody needs the network after that
            figures = (routing.measure if is_last else in_a_copy)(own, seed, world)
            print(json.dumps({"fault": fault, "seed": seed} | figures), flush=True)
            for bits, row in figures["recall_by_distance"].items():
                pooled[fault][bits][0] += row["recall"] * row["pairs"]
                pooled[fault][bits][1] += row["pairs"]
        del world
        print(f"# seed {seed} measured: {spent(start)}", flush=True)
    for fault, bins in pooled.items():
        found, due = sum(f for f, _ in bins.values()), sum(d for _, d in bins.values())
        low, high = interval(found, due)
        print(f"{fault}: recall {found / due:.4f} ({low:.4f} to {high:.4f}) of {due} pairs")
        print("  ", *(f"{bits}: {f / d:.4f}" for bits, (f, d) in sorted(bins.items())))
    if args.draw:
        draw(pooled, args.draw)


if __name__ == "__main__":
    main()

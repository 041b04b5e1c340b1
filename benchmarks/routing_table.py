"""The table of docs/overlay.md: one network a seed, and each fault in a copy of its process.

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

FAULTS = {
    "faultless": {},
    "dead .2, loss .05": {"dead": 0.2, "loss": 0.05},
    "and droppers .1": {"dead": 0.2, "loss": 0.05, "droppers": 0.1},
    "the same, re-published": {"dead": 0.2, "loss": 0.05, "droppers": 0.1, "republished": True},
    "churn .1": {"churn": 0.1},
    "churn .3": {"churn": 0.3},
}


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


def interval(found: float, due: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; pairs of one publication are not independent."""
    z, p = 1.96, found / due
    centre, half = p + z * z / (2 * due), z * sqrt(p * (1 - p) / due + (z / (2 * due)) ** 2)
    return (centre - half) / (1 + z * z / due), (centre + half) / (1 + z * z / due)


def main() -> None:
    """Measure and print."""
    parser = routing.parser()
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS)
    args = parser.parse_args()
    args.json = True
    pooled: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for seed in range(args.seeds):
        start = time.process_time()
        world = routing.settled(args, seed)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        seconds = time.process_time() - start
        print(f"# seed {seed} settled: {seconds:.0f} s of CPU, {memory:.2f} GiB", flush=True)
        for fault in args.faults:
            own = argparse.Namespace(**(vars(args) | FAULTS[fault]))
            figures = in_a_copy(own, seed, world)
            print(json.dumps({"fault": fault, "seed": seed} | figures), flush=True)
            for row in figures["recall_by_distance"].values():
                pooled[fault].append((row["recall"] * row["pairs"], row["pairs"]))
    for fault, rows in pooled.items():
        found, due = sum(f for f, _ in rows), sum(d for _, d in rows)
        low, high = interval(found, due)
        print(f"{fault}: recall {found / due:.4f} ({low:.4f} to {high:.4f}) of {due} pairs")


if __name__ == "__main__":
    main()

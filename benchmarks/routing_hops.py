"""How lookups grow with the network: path and requests, against log2 N.

    python benchmarks/routing_hops.py --nodes 100 1000 10000 100000 --draw docs/overlay-hops.svg

Lookups of random ids only, nobody subscribes. Up to 1,000 nodes these have joined by messages
and then looked up 24 ids each, as their subscriptions would; a second row shows the same with
tables filled as if they had, which are complete. Above, only the latter. Faults:
20 % die at once, 5 % of datagrams are lost; each lookup is then by another living node, within 5 s.
"""

import argparse
import math
import random
import resource
import time
from pathlib import Path
from typing import Any

from qis.simulation import Report, Simulation

JOINED_UP_TO = 1_000
WITHIN_S, ENDED_S = 5.0, 60.0
WARMING = 24
Row = tuple[int, str, str, Report]


def looked_up(network: Simulation, count: int, rng: random.Random) -> Report:
    """Figures of so many lookups."""
    network.reset()
    alive = network.alive()
    for node in rng.sample(alive, min(count, len(alive))):
        network.at(rng.uniform(0.0, WITHIN_S), network.look_up, node)
    network.run(ENDED_S)
    return network.report()


def measure(nodes: int, joins: Any, lookups: int) -> list[Row]:
    """Faultless and with faults."""
    rng = random.Random(nodes)
    rows = []
    network = Simulation.build([()] * nodes, joins=joins, seed=nodes)
    if joins == "messages":
        for node in range(nodes):
            for _ in range(WARMING):
                network.at(rng.uniform(0.0, ENDED_S), network.look_up, node)
        network.run(2 * ENDED_S)
    rows.append((nodes, joins, "faultless", looked_up(network, lookups, rng)))
    network.kill(rng.sample(range(nodes), nodes // 5))
    network.loss = 0.05
    rows.append((nodes, joins, "20 % dead, 5 % loss", looked_up(network, lookups, rng)))
    return rows


def draw(rows: list[Row], path: Path) -> None:
    """The 99th percentile of the path against the number of nodes, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  the extra [plot]

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "qis"
    figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
    sizes = sorted({nodes for nodes, *_ in rows})
    axes.plot(sizes, [math.log2(n) for n in sizes], "--", color="#999999", label="log₂ N")
    for fault, marker in (("20 % dead, 5 % loss", "s-"), ("faultless", "o-")):
        by_size: dict[int, float] = {}
        for nodes, _, name, report in rows:  # joined by messages, where there are such
            if name == fault:
                by_size.setdefault(nodes, report.hops_p99)
        colour = "#1f4e8c" if fault == "faultless" else "#b3541e"
        axes.plot(
            list(by_size), list(by_size.values()), marker, color=colour, label=f"99 %, {fault}"
        )
    axes.set_xscale("log")
    axes.set_ylim(0.0, 18.0)
    axes.set_yticks(range(0, 18, 4))
    axes.set_xlabel("nodes")
    axes.set_ylabel("length of a lookup's path")
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1_000])
    parser.add_argument("--lookups", type=int, default=500)
    parser.add_argument("--draw", type=Path)
    args = parser.parse_args()
    rows = []
    print("nodes | joins | faults | path p50, p99 | requests p50, p99 | log2 N")
    for nodes in args.nodes:
        start = time.process_time()
        for joins in ("messages", "tables") if nodes <= JOINED_UP_TO else ("tables",):
            measured = measure(nodes, joins, args.lookups)
            rows += measured
            for _, _, fault, r in measured:
                path, requests = (r.hops_p50, r.hops_p99), (r.requests_p50, r.requests_p99)
                cells = (nodes, joins, fault, path, requests, f"{math.log2(nodes):.1f}")
                print(*cells, sep=" | ")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"# {time.process_time() - start:.0f} s of CPU, {memory:.2f} GiB so far", flush=True)
    if args.draw:
        draw(rows, args.draw)


if __name__ == "__main__":
    main()

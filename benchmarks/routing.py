"""Routing in simulated networks: recall, hops, requests, copies and load.

Interests: clusters of 5-50 agents at Hamming distances 5-100 from their centre; 24 bands of 5 bits;
radius 80. Dead nodes die at once after subscriptions have settled; droppers acknowledge and drop;
loss is per datagram. The network is one refresh period old when measuring starts.

    python benchmarks/routing.py --nodes 1000 --dead 0.2 --loss 0.05 --json
"""

import argparse
import json
import random
import statistics
import time
from collections import Counter
from typing import Any

from blake3 import blake3

from qis.simulation import Simulation

BANDS, BAND_BITS, RADIUS = 24, 5, 80
REFRESH_S = 720.0  # the longest pause between two refreshes


def clustered_sketches(count: int, rng: random.Random) -> list[int]:
    """Sketches of 256 bits, most of them in clusters."""
    sketches = []
    while len(sketches) < count:
        centre = rng.getrandbits(256)
        for _ in range(min(rng.randint(5, 50), count - len(sketches))):
            flips = rng.sample(range(256), rng.randint(5, 100))
            sketches.append(centre ^ sum(1 << bit for bit in flips))
    rng.shuffle(sketches)
    return sketches


def band_keys(sketch: int) -> list[bytes]:
    """One key a band, as `VectorScheme` makes them but for its secret."""
    mask = (1 << BAND_BITS) - 1
    values = ((sketch >> band * BAND_BITS) & mask for band in range(BANDS))
    return [blake3(bytes([band, value])).digest(8) for band, value in enumerate(values)]


def closed_form(distance: int) -> float:
    """Probability that two sketches at a distance share a band."""
    return 1 - (1 - (1 - distance / 256) ** BAND_BITS) ** BANDS


def percentile(values: list[int], share: float) -> int:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def measure(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """All figures of one network."""
    rng = random.Random(seed)
    sketches = clustered_sketches(args.nodes, rng)
    wanted = [band_keys(sketch) for sketch in sketches]
    network = Simulation(wanted, seed=seed)
    network.join_all()
    network.run(REFRESH_S)
    state = [len(node.holder.holdings) for node in network.nodes]
    network.loss = args.loss
    network.kill(rng.sample(range(args.nodes), int(args.dead * args.nodes)))
    alive = sorted(set(range(args.nodes)) - network.dead)
    network.droppers = set(rng.sample(alive, int(args.droppers * args.nodes)))
    network.lookups.clear()
    publishers = rng.sample(alive, min(args.publications, len(alive)))
    lookups, result = [], Counter()
    bins = {}
    messages, forwarded = [], Counter()
    for publisher in publishers:
        before = [node.holder.outflow.sent for node in network.nodes]
        packet = network.publish(publisher, wanted[publisher])
        network.run(25.0 if not args.republished else 60.0)
        lookups += network.lookups
        network.lookups.clear()
        forwarded.update(
            {i: n.holder.outflow.sent - before[i] for i, n in enumerate(network.nodes)}
        )
        received = network.receivers(packet)
        for i in alive:
            distance = (sketches[i] ^ sketches[publisher]).bit_count()
            if i != publisher and distance <= RADIUS:
                found, due = bins.setdefault(distance // 10 * 10, [0, 0])
                bins[distance // 10 * 10] = [found + (i in received), due + 1]
        result["copies"] += sum(network.copies[packet, i] for i in received)
        result["receivers"] += len(received)
        result["strangers"] += sum(set(wanted[i]).isdisjoint(wanted[publisher]) for i in received)
        sent = network.nodes[publisher].publisher.sent
        if not args.republished:  # a second publication, its holders known
            network.publish(publisher, wanted[publisher])
            network.run(4.0)  # before the first is repeated
            messages.append(network.nodes[publisher].publisher.sent - sent)
    sends = [forwarded[i] for i in alive]
    return {
        "nodes": args.nodes,
        "seed": seed,
        "hops_p50": percentile([path for path, _ in lookups], 0.5),
        "hops_p99": percentile([path for path, _ in lookups], 0.99),
        "requests_p50": percentile([requests for _, requests in lookups], 0.5),
        "recall": sum(f for f, _ in bins.values()) / max(1, sum(d for _, d in bins.values())),
        "recall_by_distance": {
            low: [found / due, due, closed_form(low + 5)]
            for low, (found, due) in sorted(bins.items())
        },
        "strangers": result["strangers"],
        "copies": result["copies"] / max(1, result["receivers"]),
        "messages_per_publish": percentile(messages, 0.5),
        "state_per_node_p99": percentile(state, 0.99),
        "load_max_over_mean": max(sends) / max(1e-9, statistics.fmean(sends)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--publications", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    for fault in ("dead", "loss", "droppers"):
        parser.add_argument(f"--{fault}", type=float, default=0.0)
    parser.add_argument("--republished", action="store_true", help="measure after a repetition")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    for seed in range(args.seeds):
        start = time.perf_counter()
        figures = measure(args, seed)
        figures["wall_s"] = round(time.perf_counter() - start, 1)
        if args.json:
            print(json.dumps(figures), flush=True)
        else:
            print(*(f"{name}: {value}" for name, value in figures.items()), sep="\n")


if __name__ == "__main__":
    main()

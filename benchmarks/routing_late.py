"""What latecomers get: sites that subscribe an hour after publication, and after replacements.

    python benchmarks/routing_late.py --nodes 100 --seeds 3

A fifth of all nodes want nothing at first. An hour after 40 publications half of these subscribe.
Then half of all others but the publishers are replaced within a second; every packet is repeated
once; and the rest of the latecomers subscribe. Packets live for a day. Recall is of all matching
packets, whether a key is shared or not; beside it, of those that share one.
"""

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _interests import vector_interests

from qis.about import Interest
from qis.simulation import Simulation

PUBLICATIONS = 40
HOUR_S = 3_600.0


def recall(network: Simulation, late: list[int], wanted: list[Interest]) -> tuple[int, int, int]:
    """Packets delivered to these nodes, due to them, and due under a shared key."""
    found = due = shared = 0
    for packet_id, publication in network.publications.items():
        for node in network.concerned(packet_id).intersection(late):
            due += 1
            shared += not set(publication.keys).isdisjoint(wanted[node].all_keys)
            found += node in publication.delivered
    return found, due, shared


def measure(nodes: int, seed: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Of those an hour late, and of those after the replacement and one repetition."""
    rng = random.Random(seed)
    wanted = vector_interests(nodes, rng)
    late = rng.sample(range(nodes), nodes // 5)
    network = Simulation.build([[] if i in late else wanted[i] for i in range(nodes)], seed=seed)
    network.run(720.0)
    publishers = rng.sample(sorted(set(range(nodes)).difference(late)), min(PUBLICATIONS, nodes))
    for node in publishers:
        network.publish(node)
    network.run(HOUR_S)
    first, second = late[::2], late[1::2]
    for node in first:
        network.subscribe(node, wanted[node])
    network.run(60.0)
    an_hour_late = recall(network, first, wanted)
    others = set(network.alive()).difference(late, publishers)
    network.churn(0.5, among=others, over_s=1.0)
    network.run(HOUR_S)  # every packet is repeated hourly
    for node in second:
        network.subscribe(node, wanted[node])
    network.run(60.0)
    return an_hour_late, recall(network, second, wanted)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    totals = [[0, 0, 0], [0, 0, 0]]
    for seed in range(args.seeds):
        for total, counts in zip(totals, measure(args.nodes, seed), strict=True):
            total[:] = [a + b for a, b in zip(total, counts, strict=True)]
    for name, (found, due, shared) in zip(("an hour late", "replaced"), totals, strict=True):
        print(f"{name}: {found} of {due} ({found / due:.4f}), {found / shared:.4f} of those routed")


if __name__ == "__main__":
    main()

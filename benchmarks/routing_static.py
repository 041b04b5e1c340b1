"""What no messages are needed for at 100,000 agents: state of holders, and pairs sharing a key.

    python benchmarks/routing_static.py --nodes 10000 100000

Subscriptions lie at the 3 nodes closest to each key, by brute force, as all lookups end there when
nobody fails (measured up to 10,000); a packet reaches whoever shares a key with it, as it does
there. Nothing is sent, so this is a bound on recall and no measurement of it.
"""

import argparse
import random
import sys
from bisect import bisect_left
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _interests import RADIUS, bands_for, vector_interests

from qis.overlay.ids import ID_BITS, rendezvous_id

HOLDERS = 3


def closest(places: list[int], target: int, count: int) -> list[int]:
    """The places closest to a target; `places` is sorted."""
    for bits in range(ID_BITS + 1):  # the smallest subtree around the target that has enough
        low = target >> bits << bits
        first, last = bisect_left(places, low), bisect_left(places, low + (1 << bits))
        if last - first >= count:
            return sorted(places[first:last], key=lambda place: place ^ target)[:count]
    return places


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--publications", type=int, default=200)
    args = parser.parse_args()
    for nodes in args.nodes:
        rng = random.Random(0)
        interests = vector_interests(nodes, rng)
        places = sorted(rng.getrandbits(ID_BITS) for _ in range(nodes))
        subscribers = Counter(key for interest in interests for key in interest.routing_keys)
        state: Counter[int] = Counter()
        for key, count in subscribers.items():
            for place in closest(places, rendezvous_id(key), HOLDERS):
                state[place] += count
        held = sorted(state[place] for place in places)
        print(f"{nodes} nodes, {bands_for(nodes)} bands and bits, {len(subscribers)} keys")
        print(f"subscriptions per node, p99: {held[int(0.99 * nodes)]}, most: {held[-1]}")
        due, sharing = Counter[int](), Counter[int]()
        sketches = [int.from_bytes(interest.fingerprint.sketch) for interest in interests]
        keys = [frozenset(interest.routing_keys) for interest in interests]
        touched = 0
        for publisher in rng.sample(range(nodes), args.publications):
            for other in range(nodes):
                distance = (sketches[publisher] ^ sketches[other]).bit_count()
                shares = not keys[publisher].isdisjoint(keys[other])
                touched += shares
                if other != publisher and distance <= RADIUS:
                    due[distance // 10 * 10] += 1
                    sharing[distance // 10 * 10] += shares
        print(f"agents that share a key with a packet: {touched / args.publications / nodes:.3f}")
        for low in sorted(due):
            print(f"  {low}-{low + 9}: {sharing[low] / due[low]:.4f} of {due[low]}")


if __name__ == "__main__":
    main()

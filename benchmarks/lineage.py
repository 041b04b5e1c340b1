"""Twenty sites gossip their syntheses for six rounds: how often 95 % intervals still cover.

With lineage a received synthesis counts only if none of its leaves counts already. The naive rule
pools whatever comes as if it were new. Packets, stores and the counting rule are the library's.

    python benchmarks/lineage.py --json
"""

import argparse
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import qis
from qis.evidence import MemoryStore, Roster, Site
from qis.evidence.lineage import expiry_of, leaves_of, with_derived
from qis.outcomes import Derived

NOW = 1_800_000_000
SITES = 20
PEERS = 2
TRUTH = 0.3
ABOUT = qis.Fingerprint(bytes(32), bytes(8))
IDENTITIES = tuple(qis.Identity.from_seed(bytes([n + 1]) * 32) for n in range(SITES))
ROSTER = Roster(tuple(Site.of(f"site {n}", key.issuer) for n, key in enumerate(IDENTITIES)))

Estimate = tuple[float, float]
"""Estimate and standard error."""


@dataclass
class Node:
    """A site with its store, and what the naive rule made of the same messages."""

    identity: qis.Identity
    own: qis.Packet
    naive: Estimate
    store: MemoryStore = field(default_factory=lambda: MemoryStore(roster=ROSTER))


def pooled(estimates: Sequence[Estimate]) -> Estimate:
    """Inverse-variance mean and its standard error."""
    weights = [error**-2 for _, error in estimates]
    total = math.fsum(weights)
    mean = math.fsum(w * e for w, (e, _) in zip(weights, estimates, strict=True)) / total
    return mean, total**-0.5


def evidence(node: Node, now: float) -> tuple[list[qis.Packet], Estimate]:
    """What counts at a node under the rule, and its synthesis."""
    review = with_derived(node.store.review("q", now=now), ROSTER, now=now)
    packets = list(review.evidence)
    outcomes = [packet.outcome for packet in packets]
    return packets, pooled([(o.estimate, o.standard_error) for o in outcomes])


def derived(node: Node, now: int) -> qis.Packet:
    """The node's synthesis as a packet."""
    packets, (estimate, error) = evidence(node, now)
    leaves = leaves_of(packets)
    return qis.Packet.sign(
        node.identity,
        outcome=Derived(
            question="q",
            measure="OR",
            model="fixed",
            estimate=estimate,
            standard_error=error,
            sites=len(leaves),
        ),
        fingerprint=ABOUT,
        issued_at=now,
        lifetime_s=expiry_of(packets) - now,
        leaves=leaves,
    )


def begin(rng: random.Random) -> list[Node]:
    """Twenty sites, each with its own estimate of one truth."""
    nodes = []
    for identity in IDENTITIES:
        error = rng.uniform(0.2, 0.8)
        estimate = rng.gauss(TRUTH, error)
        own = qis.Packet.sign(
            identity,
            outcome=qis.Effect(question="q", measure="OR", estimate=estimate, standard_error=error),
            fingerprint=ABOUT,
            issued_at=NOW,
            lifetime_s=86_400,
        )
        node = Node(identity, own, (estimate, error))
        node.store.add(own, now=NOW)
        nodes.append(node)
    return nodes


def gossip(rng: random.Random, rounds: int) -> list[Node]:
    """The sites after some rounds, in each of which everybody tells two others."""
    nodes = begin(rng)
    for turn in range(1, rounds + 1):
        now = NOW + turn
        letters = [(node, derived(node, now), node.naive) for node in nodes]
        heard: dict[int, list[Estimate]] = {id(node): [node.naive] for node in nodes}
        for sender, packet, naive in letters:
            for peer in rng.sample([node for node in nodes if node is not sender], PEERS):
                peer.store.add(packet, now=now)
                heard[id(peer)].append(naive)
        for node in nodes:
            node.naive = pooled(heard[id(node)])
    return nodes


def covers(estimate: Estimate) -> bool:
    """Whether the 95 % interval holds the truth."""
    return abs(estimate[0] - TRUTH) <= 1.959964 * estimate[1]


def coverage(*, runs: int, rounds: int, seed: int) -> dict[str, float]:
    """Share of intervals over all sites and runs that hold the truth, under either rule."""
    rng = random.Random(seed)
    held = naive = leaves = 0
    for _ in range(runs):
        for node in gossip(rng, rounds):
            packets, estimate = evidence(node, NOW + rounds)
            held += covers(estimate)
            naive += covers(node.naive)
            leaves += len(leaves_of(packets))
    count = runs * SITES
    return {
        "rounds": rounds,
        "coverage": held / count,
        "coverage_naive": naive / count,
        "sites_in_a_synthesis": leaves / count,
    }


def main() -> None:
    """Print the coverage round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    results = [coverage(runs=arguments.runs, rounds=rounds, seed=7) for rounds in range(7)]
    print(json.dumps(results) if arguments.json else "\n".join(map(str, results)))


if __name__ == "__main__":
    main()

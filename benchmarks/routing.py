"""Routing in simulated networks: recall, hops, requests, copies and load.

    python benchmarks/routing.py --nodes 1000 --dead 0.2 --loss 0.05 --droppers 0.1 --seeds 3 --json

Interests: clusters of 5-50 agents at Hamming distances 5-100 from their centre; 24 bands of 5 bits
(42 of 6 above 30,000 agents); radius 80. Or `--terms`: 8 keys each of a skewed vocabulary, 4
holders. Or `--phenotypes DIR`: published cases. With `--hot` this share of all is one cluster more,
at distances 5-60, and all publications are its. Or `--hot-key`: this share of all wants one routing
key, and nobody anything else. With `--audience` nobody subscribes but those whom one of the
publications concerns, which are chosen beforehand: recall is of the same pairs, for a small part of
the traffic. State and load of such a network say nothing.

The network is one refresh period old when measuring starts. Dead nodes die at once, droppers
acknowledge and drop, loss is per datagram; all publications then begin within 5 s, and are judged
24 s later, before the publishers repeat them (with `--republished` after that): at most 5 % of
nodes have refreshed by then. With `--churn` so many die and as many join, by messages, within a
minute, just before. From 10,000 nodes on, routing tables are filled and subscriptions lie at their
holders as if all joins, lookups and a refresh had happened (with `--joins tables` subscriptions are
placed and refreshed by messages, with `--joins messages` all is). Hops and requests are those of
lookups of ids that were never looked up before.
"""

import argparse
import json
import random
import resource
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from _interests import Cases, audience, bands_for, closed_form, term_keys, vector_interests

from qis.simulation import Simulation

REFRESHED_S = 720.0  # the longest pause between two refreshes
WITHIN_S, JUDGED_S, REPEATED_S = 5.0, 29.0, 70.0
KNOWN, ANSWERED_S = 5, 0.9  # so many publish again, and the repetitions begin only after this
CHURN_S = 60.0
HOT_KEY = b"hot key!"
PRECOMPUTED_FROM = 10_000
KEYS = (
    "nodes",
    "hops_p50",
    "hops_p99",
    "requests_p50",
    "recall",
    "recall_by_distance",
    "precision",
    "copies",
    "messages_per_publish",
    "state_per_node_p99",
    "load_max_over_mean",
    "pairs_reached",
    "pairs_possible",
)


def settled(args: argparse.Namespace, seed: int) -> tuple[Simulation, random.Random, Cases | None]:
    """A network, one refresh period old; the chance of its measurement; its cases if it has."""
    rng = random.Random(seed)
    cases = None
    if args.phenotypes:
        cases = Cases(args.phenotypes, args.nodes, rng)
        wanted: list[Any] = cases.interests
    elif args.hot_key:
        hot = set(rng.sample(range(args.nodes), round(args.hot_key * args.nodes)))
        wanted = [[HOT_KEY] if node in hot else [] for node in range(args.nodes)]
    elif args.terms:
        wanted = term_keys(args.nodes, rng)
    else:
        wanted = vector_interests(
            args.nodes, rng, hot=round(args.hot * args.nodes), share_sketch=not args.keys_only
        )
        if args.audience:
            args.authors = rng.sample(wanted, min(args.publications, args.nodes))
            wanted = audience(wanted, args.authors)
    joins = args.joins or ("messages" if args.nodes < PRECOMPUTED_FROM else "placed")
    one_key = args.terms or args.phenotypes
    network = Simulation.build(wanted, joins=joins, seed=seed, holders=4 if one_key else 3)
    if joins != "placed":
        network.run(REFRESHED_S)
    return network, rng, cases


def hurt(network: Simulation, args: argparse.Namespace, rng: random.Random) -> None:
    """Bring the faults in, all at once; churn takes a minute."""
    if args.churn:
        network.churn(args.churn, over_s=CHURN_S)
    network.loss = args.loss
    network.kill(rng.sample(network.alive(), round(args.dead * args.nodes)))
    network.drop_at(rng.sample(network.alive(), round(args.droppers * args.nodes)))
    network.reset()


def publish(network: Simulation, args: argparse.Namespace, rng: random.Random) -> list[int]:
    """Let publications and lookups begin; the publishers."""
    alive = network.alive()
    able = [node for node in alive if node < args.hot * args.nodes] if args.hot else alive
    if args.audience:  # an author that has gone has come again
        able = [node for node in alive if network.members[node].interest in args.authors]
    publishers = rng.sample(able, min(args.publications, len(able)))
    keys = [HOT_KEY] if args.hot_key else None
    for node in publishers:
        network.at(rng.uniform(0.0, WITHIN_S), network.publish, node, keys)
    for node in rng.choices(alive, k=args.lookups):
        network.at(rng.uniform(0.0, WITHIN_S), network.look_up, node)
    return publishers


def by_distance(network: Simulation, bands: tuple[int, int]) -> dict[str, Any]:
    """Recall in bins of 10 bits, beside the share that shares a key, and its closed form."""
    due, found, sharing = Counter[int](), Counter[int](), Counter[int]()
    expected: Counter[int] = Counter()
    for packet_id, publication in network.publications.items():
        own = network.members[publication.publisher].interest
        for node in sorted(network.concerned(packet_id) - network.dead):
            other = network.members[node].interest
            if own is None or other is None:
                return {}
            sketches = (int.from_bytes(i.fingerprint.sketch) for i in (own, other))
            distance = int.__xor__(*sketches).bit_count()
            low = distance // 10 * 10
            due[low] += 1
            found[low] += node in publication.delivered
            sharing[low] += not set(own.routing_keys).isdisjoint(other.routing_keys)
            expected[low] += closed_form(distance, *bands)
    return {
        f"{low}-{low + 9}": {
            "recall": found[low] / due[low],
            "sharing": sharing[low] / due[low],
            "closed_form": expected[low] / due[low],
            "pairs": due[low],
        }
        for low in sorted(due)
    }


def messages_when_known(network: Simulation, publishers: list[int]) -> float:
    """Median number of messages of a second publication, whose holders are known."""
    counters = [network.nodes[node].publisher for node in publishers]
    before = [counter.sent for counter in counters]
    for node in publishers:
        network.publish(node)
    network.run(ANSWERED_S)
    sent = [counter.sent - past for counter, past in zip(counters, before, strict=True)]
    return float(statistics.median(sent))


def found_cases(network: Simulation, cases: Cases) -> dict[str, float]:
    """How many of a case's disease its packet came to, and how many agents of all."""
    found, due, touched = Counter[str](), Counter[str](), 0
    for publication in network.publications.values():
        came = set(publication.copies)
        touched += len(came)
        for name, other_papers in (("same_disease", False), ("other_papers", True)):
            ought = cases.of_disease(publication.publisher, other_papers=other_papers)
            found[name] += len((ought - network.dead) & came)
            due[name] += len(ought - network.dead)
    return {
        "recall_same_disease": found["same_disease"] / due["same_disease"],
        "recall_same_disease_other_papers": found["other_papers"] / due["other_papers"],
        "touched": touched / len(network.publications) / len(network.nodes),
    }


def measure(args: argparse.Namespace, seed: int, world: Any = None) -> dict[str, Any]:
    """All figures of one network; `world` is one that `settled` gave."""
    network, rng, cases = world or settled(args, seed)
    state = network.report()
    hurt(network, args, rng)
    publishers = publish(network, args, rng)
    network.run(REPEATED_S if args.republished else JUDGED_S)
    report = network.report()
    figures = report.to_dict()
    is_measured_in_bits = not (args.phenotypes or args.terms or args.hot_key)
    bins = by_distance(network, bands_for(args.nodes)) if is_measured_in_bits else {}
    figures["recall_by_distance"] = bins
    figures["state_per_node_p99"] = state.state_per_node_p99
    figures = {key: figures[key] for key in KEYS}
    if args.churn:  # whoever has gone and come counts once
        figures |= {"nodes": args.nodes, "pairs_possible": args.nodes * (args.nodes - 1) // 2}
    if args.hot or args.hot_key:
        figures["busiest_share"] = report.busiest_share
    if cases is not None:
        figures |= found_cases(network, cases)
    if not args.hot_key:
        figures["messages_per_publish"] = messages_when_known(network, publishers[:KNOWN])
    if not args.json:
        figures |= {
            "requests_p99": report.requests_p99,
            "wanted_of_arrivals": report.arrivals_wanted,
        }
    return figures


def show(figures: dict[str, Any]) -> None:
    """Print for people."""
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for row, entries in value.items():
                cells = (f"{key} {number:.4f}" for key, number in entries.items())
                print(f"  {row:>6}  {'  '.join(cells)}")
        else:
            print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--publications", type=int, default=200, help="at most")
    parser.add_argument("--lookups", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    for fault in ("dead", "loss", "droppers", "churn"):
        parser.add_argument(f"--{fault}", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--hot", type=float, default=0.0, metavar="SHARE", help="of one topic")
    parser.add_argument("--hot-key", type=float, default=0.0, metavar="SHARE", help="of one key")
    parser.add_argument("--audience", action="store_true", help="nobody else subscribes")
    parser.add_argument("--keys-only", action="store_true", help="no sketches at other nodes")
    parser.add_argument("--terms", action="store_true", help="8 keys of a skewed vocabulary")
    parser.add_argument("--phenotypes", type=Path, metavar="DIR", help="interests of cases")
    parser.add_argument("--joins", choices=("messages", "tables", "placed"))
    parser.add_argument("--republished", action="store_true", help="judge after one repetition")
    parser.add_argument("--json", action="store_true", help="one object a seed")
    return parser


def main() -> None:
    """Measure and print."""
    args = parser().parse_args()
    for seed in range(args.seeds):
        start = time.process_time()
        figures = measure(args, seed)
        if args.json:
            print(json.dumps(figures), flush=True)
        else:
            show(figures)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"seed {seed}: {time.process_time() - start:.0f} s of CPU, {memory:.2f} GiB\n")


if __name__ == "__main__":
    main()

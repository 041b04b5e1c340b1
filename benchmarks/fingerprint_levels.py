"""What a level of routing keys costs on the wire: bytes a publication and a delivery, keyed mode.

``python benchmarks/fingerprint_levels.py --data DIR [--level NAME] [--json]``, data as for
fingerprint_quality.py. 240 published cases are agents of a simulated overlay, each with an interest
in its own terms, of a scheme with a secret, so that the keys of two epochs are registered; every
eighth publishes once. Bytes are all datagrams of 20 seconds, answers and tries included, without
the channel; keys registered are those that the median node keeps for others.
"""

import argparse
import json
import random
from pathlib import Path
from statistics import fmean

from fingerprint_quality import PublishedCases

from qis.about import EPOCH_S
from qis.fingerprint import Everything, Level, LoadBudget, NearestCells, TermScheme
from qis.simulation import Simulation

AGENTS = 240
EVERY = 8
NOW = 200 * EPOCH_S + 86_400
SECRET = bytes(range(32))


def levels(cases: PublishedCases, name: str | None) -> dict[str, Level]:
    """The levels to measure, by name; cells take a while to build."""
    found: dict[str, Level] = {
        "budget": LoadBudget(),
        "small_budget": LoadBudget(0.5, 5.5),
        "everything": Everything(sites=AGENTS),
    }
    if name in (None, "cells"):
        found["cells"] = NearestCells(cases.cells(), 8)
    return {each: found[each] for each in found if name in (None, each)}


def measured(cases: PublishedCases, level: Level) -> dict[str, float]:
    """Figures of one level."""
    scheme = TermScheme(cases.ontology, secret=SECRET, levels=level)
    rows = random.Random(7).sample(range(len(cases.terms)), AGENTS)
    agents = [cases.terms[row] for row in rows]
    interests = [scheme.interest(terms).at(NOW) for terms in agents]
    network = Simulation.build(interests, seed=1, joins="tables")
    network.run(300.0)
    network.reset()
    for number in range(0, AGENTS, EVERY):
        keys = scheme.routing_keys(agents[number], at=NOW)
        network.publish(number, keys, fingerprint=scheme.fingerprint(agents[number]))
    network.run(20.0)
    report = network.report()
    published = len(network.publications)
    delivered = sum(len(network.delivered(each)) for each in network.publications)
    return {
        "keys": fmean(len(scheme.base_keys(terms)) for terms in agents),
        "bytes_a_publication": report.bytes / published,
        "deliveries_a_publication": delivered / published,
        "bytes_a_delivery": report.bytes / max(delivered, 1),
        "keys_registered_at_a_node": report.state_per_node_p50,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--level", help="only this one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cases = PublishedCases(options.data, None)
    found = {
        f"{name}_{key}": value
        for name, level in levels(cases, options.level).items()
        for key, value in measured(cases, level).items()
    }
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:44}{value:12.1f}")


if __name__ == "__main__":
    main()

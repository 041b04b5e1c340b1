"""`simulate`: a network of the real core in virtual time, hurt as one likes, and measured."""

import argparse
from typing import Final

import numpy as np

from qis.command._adding import Commands, add
from qis.command.progress import ProgressLine, shown
from qis.command.result import CommandResult
from qis.errors import InputError
from qis.fingerprint import VectorScheme
from qis.simulation import Simulation

_MOST_NODES: Final = 10_000
_DIMENSIONS: Final = 16
_ALIKE: Final = 20
"""Nodes whose patients are alike, on average."""
_SECONDS: Final = 25
"""Virtual seconds after the publications."""


def add_to(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command of this module."""
    parser = add(commands, common, "simulate", simulate)
    parser.add_argument("--nodes", type=int, default=200, help="2 to 10,000 (%(default)s)")
    parser.add_argument("--dead", type=float, default=0.2, help="share that dies (%(default)s)")
    parser.add_argument(
        "--loss", type=float, default=0.05, help="share of datagrams that is lost (%(default)s)"
    )
    parser.add_argument("--packets", type=int, default=20, help="publications (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all randomness (%(default)s)")


def simulate(options: argparse.Namespace) -> CommandResult:
    """Simulate a keyed network: who hears whom when nodes die and datagrams are lost.

    Each node works on patients that resemble those of some twenty others. Two runs with the same
    options are the same.
    """
    _check(options)
    rng = np.random.default_rng(options.seed)
    nodes = options.nodes
    centres = rng.normal(size=(nodes // _ALIKE + 1, _DIMENSIONS))
    spread = rng.uniform(0.1, 0.8, size=(nodes, 1))
    noise = spread * rng.normal(size=(nodes, _DIMENSIONS))
    features = centres[rng.integers(len(centres), size=nodes)] + noise
    with shown() as progress:
        network = _built(features, options.seed, progress)
        network.loss = options.loss
        network.kill(rng.choice(nodes, round(options.dead * nodes), replace=False).tolist())
        network.reset()
        packets = [network.publish(node) for node in network.alive()[: options.packets]]
        for node in network.alive():
            network.look_up(node)
        for second in range(_SECONDS):
            progress(second, _SECONDS, "virtual seconds")
            network.run(1.0)
    due = sum(len(network.concerned(packet) - network.dead) for packet in packets)
    found = sum(len(network.delivered(packet) - network.dead) for packet in packets)
    report = network.report()
    said = f"{found} of {due} deliveries to living nodes that they concern"
    return CommandResult(
        text=f"{report}\n\n{said}",
        values={"due": due, "delivered": found, **report.to_dict()},
    )


def _built(features: object, seed: int, progress: ProgressLine) -> Simulation:
    scheme = VectorScheme(dimensions=_DIMENSIONS)
    return Simulation.build(features, scheme=scheme, joins="tables", seed=seed, progress=progress)  # type: ignore[arg-type]


def _check(options: argparse.Namespace) -> None:
    for name, low, high in (
        ("nodes", 2, _MOST_NODES),
        ("dead", 0.0, 0.9),
        ("loss", 0.0, 0.5),
        ("packets", 1, 1_000),
        ("seed", 0, 2**63),
    ):
        given = getattr(options, name)
        if not low <= given <= high:
            raise InputError(f"--{name} is {given:g}; it is from {low:g} to {high:g}", field=name)

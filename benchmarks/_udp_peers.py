"""The same packets by other engines, on the same machine in the same run.

Their subscriber verifies and parses each packet in its callback as qis does ("verified"), or only
takes it ("bare"). They do not encrypt here, acknowledge no single packet, and find nobody to whom a
packet is relevant; nats has a server between the two, whose time is not counted.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import shutil
import statistics
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

MISSING: Final = "not installed"
REPETITIONS: Final = 3
FIGURES: Final = ("cpu_over_verify", "latency_p50_us", "latency_p99_us")
Measure = Callable[..., dict[str, Any]]


def engines() -> dict[str, str]:
    """The version of each engine, or "not installed"."""
    found = {}
    for name, package, module, program in (
        ("zenoh", "eclipse-zenoh", "zenoh", None),
        ("nats", "nats-py", "nats", "nats-server"),
    ):
        is_here = importlib.util.find_spec(module) and (program is None or shutil.which(program))
        found[name] = importlib.metadata.version(package) if is_here else MISSING
    return found


def peers(cpu: Measure, latency: Measure, *, packets: int, singles: int) -> dict[str, Any]:
    """Medians of interleaved repetitions, and their ratios: qis over the other.

    Parameters
    ----------
    cpu, latency
        Measure the CPU time of a receiver and the latency to it, given who gives and who takes.
    packets, singles
        How many each.

    """
    versions = engines()

    def ours() -> dict[str, float]:
        return cpu(packets) | latency(singles)

    def theirs(module: ModuleType, kind: str) -> dict[str, float]:
        taker = functools.partial(module.taker, verifies=kind == "verified")
        return cpu(packets, module.giver, taker) | latency(singles, module.single, taker)

    sides: dict[str, Callable[[], dict[str, float]]] = {"qis": ours}
    for name, version in versions.items():
        if version != MISSING:
            module = importlib.import_module(f"_udp_{name}")
            for kind in ("verified", "bare"):
                sides[f"{name} {kind}"] = functools.partial(theirs, module, kind)
    rounds = [{side: run() for side, run in sides.items()} for _ in range(REPETITIONS)]
    medians = {
        side: {name: statistics.median(found[side][name] for found in rounds) for name in FIGURES}
        for side in sides
    }
    return {
        "versions": versions,
        "medians": medians,
        "qis_over": {
            side: {name: medians["qis"][name] / own[name] for name in FIGURES}
            for side, own in medians.items()
            if side != "qis"
        },
    }

"""Figures in words, as claims need them."""

import math
from collections.abc import Callable
from typing import Any

from _case_claim import percent, three
from _case_record import Record, best_federated


def auc_of(record: Record, method: str) -> str:
    return three(record.article["methods"][method]["auc"])


def third(record: Record, method: str) -> str:
    return three(record.article["methods"][method]["auc_small"])


def is_gained(record: Record) -> bool:
    methods = record.article["methods"]
    gain: float = methods["fedavg"]["auc_small"] - methods["local"]["auc_small"]
    return gain > 0.01


def appendix(record: Record, method: str) -> float:
    found: float = record.parts["appendix"]["scenarios"]["847/612/11"][method]["auc"]
    return found


def bits(record: Record, method: str) -> str:
    return three(appendix(record, method))


def lost(record: Record, method: str) -> float:
    return appendix(record, "fedavg 10") - appendix(record, method)


def weights(record: Record) -> dict[str, float]:
    found: dict[str, float] = record.parts["small_sites"]["weights"]
    return found


def balanced(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = record.scenario("actg", "none cut to 11")["methods"]
    return found


def anywhere_better(record: Record) -> list[str]:
    """Scenarios where the corrected interval puts the packet above every federated averaging."""
    return [
        f"{row['data']} {row['scenario']}"
        for row in record.table
        if row["packet_against"][best_federated(row)]["auc"]["low"] > 0.0
    ]


def goal(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = record.parts["bandwidth"]["goal"][-1]
    return found


def reached(record: Record, nodes: int) -> str:
    row = record.sites(nodes)
    return f"{row['pairs_reached']:,} of {row['pairs_possible']:,} pairs at {row['nodes']:,} sites"


def hops(record: Record) -> str:
    rows = record.parts["pairs"]["by_number"]
    return ", ".join(
        f"{row['hops_p99']:.0f} at {row['nodes']:,} (log₂ N = {math.log2(row['nodes']):.1f})"
        for row in rows
    )


def without_rules(record: Record) -> str:
    shares = record.parts["inversion"]["packets_no_rules"]
    return ", ".join(f"{percent(share)} at n = {n}" for n, share in shares.items())


def zhu(record: Record) -> str:
    shares = record.parts["inversion"]["zhu"]
    return ", ".join(f"{percent(share)} ({name})" for name, share in shares.items())


def rarest(record: Record, name: str = "keys") -> str:
    part = record.parts["rarest"]
    if "not_run" in part:
        return f"not run: {part['not_run']}"
    row = part[name]
    return f"reach {three(row['reach'])}, {percent(row['touched'])} of sites touched"


def nothing(words: str) -> Callable[[Record], str]:
    return lambda _: words

"""Delivery: in how many broken networks a packet that nobody has is called sent."""

import asyncio

from benchmarks._broken_networks import CASES, publish_in


def figures(full: bool) -> dict[str, float]:  # noqa: ARG001, FBT001  as quick as it is
    """Cases, those where somebody was misled, and the same by the former rule.

    That rule called sent whatever a transport had taken. Where it misleads nobody there would be
    nothing to find.
    """
    untold = former = 0
    for name, (_, code) in CASES.items():
        untold += not asyncio.run(publish_in(name)).is_told(code)
        former += asyncio.run(publish_in(name, by_former_rule=True)).sent > 0
    return {
        "unsent_cases": float(len(CASES)),
        "unsent_untold": float(untold),
        "unsent_untold_by_former_rule": float(former),
    }

"""The state of an overlay node in words: whether a packet is held, and how healthy the node is."""

from collections.abc import Iterable
from typing import Final

from qis.health import Condition, HealthState
from qis.overlay.addresses import unpack_address
from qis.overlay.node import OverlayNode, Standing
from qis.refusals import Claim
from qis.transport.base import Holding

UNANSWERED_LIMIT: Final = 8
"""Requests given up in a row, none answered in between, from which on a node is cut off. Each was
tried three times within 4 s; peers that died are mixed with others that answer."""
_STATES: Final = {
    "one_node": HealthState.DEGRADED,
    "joining": HealthState.DEGRADED,
    "no_answer": HealthState.CUT_OFF,
    # A remark: it lacks nothing as long as two members reach it.
    "client": HealthState.OK,
    "client_of_one": HealthState.DEGRADED,
}
RELAYS_WANTED: Final = 2
"""Members that a site which cannot be called should reach: they forward to it what others send."""
_REMEDY: Final = (
    "check that UDP to and from the peers passes every firewall and NAT (advertise=), that their "
    "addresses and keys are current, that their rosters list this site, and that this machine's "
    "clock is right"
)
NOBODY_CALLED: Final = (
    "if nobody here can be called from outside, run a relay (any member's node that can be, it "
    "forwards for the others), or take NATS"
)


def holding_of(node: OverlayNode, packet_id: bytes, refusals: Iterable[Claim] = ()) -> Holding:
    """Tell whether other nodes hold a packet under each of its keys, and if not, why.

    `refusals` are the reasons for which others have refused packets lately, whichever those were.
    """
    progress = node.progress(packet_id)
    if progress is None:
        return Holding(
            is_held=False,
            reason="this node knows nothing of it: it was not published here since it was opened, "
            "has expired, or was replaced",
        )
    if progress.is_held:
        return Holding(is_held=True, holders=progress.holders)
    missing = progress.keys - progress.held
    reason = (
        f"no other node has acknowledged it under {missing} of its {progress.keys} routing keys"
    )
    if (why := alone(node.standing)) is not None:
        reason = f"{reason}: {why}"
    reason = "; ".join([reason, *map(str, refusals)])
    return Holding(is_held=False, holders=progress.holders, reason=reason)


def judge(condition: Condition, standing: Standing, *, now: float, heard_s_ago: float) -> None:
    """Set a node's health by its connection to the other nodes.

    Parameters
    ----------
    condition
        The node's health.
    standing
        What the node knows of others, and how many requests were not answered.
    now
        Unix seconds.
    heard_s_ago
        Seconds since a request was last answered, or since it was opened.

    """
    is_alone, relays = not standing.peers, standing.relays
    hold = {
        "one_node": is_alone and not standing.knows_of,
        "joining": is_alone and standing.knows_of > 0 and standing.is_joining,
        "no_answer": not standing.is_joining
        and standing.knows_of > 0
        and (is_alone or standing.unanswered >= UNANSWERED_LIMIT),
        "client": relays is not None and relays >= RELAYS_WANTED,
        "client_of_one": relays is not None and 0 < relays < RELAYS_WANTED,
    }
    seen_as = standing.seen_as
    seen = "" if seen_as is None else " (it is seen as {}:{})".format(*unpack_address(seen_as))
    texts = {
        "one_node": "this node is alone: it was given no peer, and none has called yet. What is "
        "published here is held by nobody else until one does. If others "
        f"try in vain: {NOBODY_CALLED}",
        "joining": f"no answer yet from {_peers(standing)}",
        "client": f"this site cannot be called at the address that it tells others{seen}; {relays} "
        "members that it reaches forward to it what the others send, sealed",
        "client_of_one": f"this site cannot be called at the address that it tells others{seen}, "
        "and reaches one member only: while that one is away nothing comes. Forward a port to this "
        "node (advertise=), or have one more site be callable",
        "no_answer": f"nobody has answered for {heard_s_ago:.0f} s; {_REMEDY}; {NOBODY_CALLED}",
    }
    for code, state in _STATES.items():
        if hold[code]:
            condition.set(code, state, texts[code], now=now)
        else:
            condition.clear(code, now=now)


def alone(standing: Standing) -> str | None:
    """Return why nobody can hold anything of this node, or `None` if others answer."""
    if standing.peers:
        return None
    if not standing.knows_of:
        return "this node is alone, nobody else is in its network"
    return f"no answer from {_peers(standing)}"


def _peers(standing: Standing) -> str:
    count = standing.knows_of
    return "the one peer it knows of" if count == 1 else f"any of the {count} peers it knows of"

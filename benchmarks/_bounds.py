"""How much a node holds: the size of each table beside its limit, and all of it in bytes."""

import gc
import os
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from _site import Site

from qis.channel import initiator, sessions
from qis.overlay import (
    handover,
    lookup_driver,
    message_store,
    publications,
    rate_limiter,
    record,
    relaying,
    rendezvous,
    rounds,
    rpc,
    send_window,
    subscription_table,
    table,
    validator,
)
from qis.overlay.delivering import UNDELIVERED_LIMIT
from qis.transport._held import HELD_LIMIT, KNOWN_LIMIT

_PARTS = {
    "subscriptions held": (
        ("node", "rendezvous", "subscription_table", "_held"),
        subscription_table.SUBSCRIBERS_LIMIT,
    ),
    "packets retained": (
        ("node", "rendezvous", "message_store", "_packets"),
        message_store.RETAINED_LIMIT,
    ),
    "forwarded packets": (("node", "rendezvous", "_handled"), rendezvous.HANDLED_LIMIT),
    "deliveries that wait": (
        ("node", "rendezvous", "send_window", "_waiting"),
        send_window.WAITING_LIMIT,
    ),
    "deliveries of the application": (("node", "delivering", "_waiting"), UNDELIVERED_LIMIT),
    "requests under way": (("node", "_rpc", "_under_way"), rpc.UNDER_WAY_LIMIT),
    "tokens of others": (("node", "_rpc", "_tokens"), rpc.TOKENS_LIMIT),
    "verified records": (("node", "_admission", "_known"), record.KNOWN_RECORDS_LIMIT),
    "budgets": (("node", "_rate_limiter", "_spent"), rate_limiter.SOURCES_LIMIT),
    "ids looked up": (("node", "lookup_driver", "_near"), lookup_driver.TARGETS_LIMIT),
    "remembered keys": (("node", "publisher", "_rounds", "_known"), rounds.REMEMBERED_KEYS_LIMIT),
    "own publications": (("node", "publisher", "_publications"), publications.PUBLICATIONS_LIMIT),
    "news of nodes": (("node", "handover", "_news"), handover.NEW_NODES_LIMIT),
    "reach of keys": (("node", "handover", "_reach"), handover.REACH_LIMIT),
    "news by key": (("node", "handover", "_news_of"), handover.REACH_LIMIT),
    "arrivals": (("node", "relaying", "_arrived"), relaying.LATELY_LIMIT),
    "arrivals to relay": (("node", "relaying", "_lately"), relaying.LATELY_LIMIT),
    "requests to relay": (("node", "relaying", "_obeyed"), relaying.OBEYED_LIMIT),
    "verified packets": (("_validator", "_verified"), validator.VERIFIED_LIMIT),
    "packets of the application": (("_reception", "_held"), HELD_LIMIT),
    "ids of former ones": (("_reception", "_held", "_known"), KNOWN_LIMIT),
    "sessions": (("channels", "sessions", "_in_use"), sessions.SESSIONS_LIMIT),
    "unconfirmed sessions": (("channels", "sessions", "_unconfirmed"), sessions.UNCONFIRMED_LIMIT),
    "calls": (("channels", "_initiator", "_calls"), initiator.CALLS_LIMIT),
}


def sizes(site: Site) -> dict[str, tuple[int, int]]:
    """How much is in each table, and how much may be."""
    found = {}
    for name, (path, limit) in _PARTS.items():
        part: Any = site
        for each in path:
            part = getattr(part, each, None)
        if part is not None:
            found[name] = (part if isinstance(part, int) else len(part), limit)
    buckets = site.node.table._buckets.values()  # noqa: SLF001  what is inside is measured
    found["a bucket"] = (max((len(b.contacts) for b in buckets), default=0), table.BUCKET_SIZE)
    found["a reserve"] = (max((len(b.reserve) for b in buckets), default=0), table.RESERVE_SIZE)
    return found


def held_bytes(site: Site) -> int:
    """Bytes of all objects that a site holds, each once; not those of who attacks it."""
    seen = {id(site), id(site.lies)}
    waiting = deque([site])
    total = 0
    while waiting:
        each = waiting.popleft()
        total += sys.getsizeof(each)
        for part in _parts_of(each):
            if id(part) not in seen and not isinstance(part, (type, ModuleType)):
                seen.add(id(part))
                waiting.append(part)
    return total


def _parts_of(each: object) -> Iterator[Any]:
    if isinstance(each, FunctionType):  # what it closes over, not the module that it is in
        yield from each.__closure__ or ()
        yield from each.__defaults__ or ()
    else:
        yield from gc.get_referents(each)


def resident_bytes() -> int:
    """Memory of this process now; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")

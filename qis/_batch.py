"""Verification of many packets over threads: libsodium runs outside the interpreter's lock."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from qis.errors import PeerError
from qis.packet import Packet

_BATCH: Final = 32
"""Packets handed to a thread at once: fewer, and handing over costs more than it saves."""


def verify_many(
    buffers: Iterable[bytes], *, now: float | None, workers: int | None
) -> list[Packet | PeerError]:
    """As `qis.Packet.verify_many`."""
    data = list(buffers)
    batches = [data[start : start + _BATCH] for start in range(0, len(data), _BATCH)]
    threads = min(workers or _processors(), len(batches))
    if threads < 2:
        return [_verified(raw, now) for raw in data]
    with ThreadPoolExecutor(threads, thread_name_prefix="qis-verify") as pool:
        done = pool.map(lambda batch: [_verified(raw, now) for raw in batch], batches)
        return [found for batch in done for found in batch]


def _verified(raw: bytes, now: float | None) -> Packet | PeerError:
    try:
        return Packet.parse(raw, now=now)
    except PeerError as error:
        return error


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

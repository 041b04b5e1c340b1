"""Many at once over threads: libsodium runs outside the interpreter's lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from qis._given import byte_string, several, whole_number

Result = TypeVar("Result")
_BATCH: Final = 32
"""Packets handed to a thread at once: fewer, and handing over costs more than it saves."""

_MOST_THREADS: Final = 1_024


def over_threads(
    alone: Callable[[bytes], Result],
    together: Callable[[list[bytes]], list[Result]],
    buffers: Iterable[bytes],
    *,
    workers: int | None,
) -> list[Result]:
    """Give a result for each buffer, in order, computed by `workers` threads.

    `workers` of `None` means as many threads as the process may use processors.

    One thread is faster with several buffers together. Several threads are not: while one reads
    what it has verified, the others wait for the interpreter's lock.
    """
    data = [byte_string(each, "buffers") for each in several(buffers, "buffers", "bytes")]
    batches = [data[start : start + _BATCH] for start in range(0, len(data), _BATCH)]
    if workers is not None:
        workers = whole_number(workers, "workers", 1, _MOST_THREADS)
    threads = min(workers or _processors(), len(batches))
    if threads < 2:
        return [found for batch in batches for found in together(batch)]
    with ThreadPoolExecutor(threads, thread_name_prefix="qis-verify") as pool:
        done = pool.map(lambda batch: list(map(alone, batch)), batches)
        return [found for batch in done for found in batch]


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

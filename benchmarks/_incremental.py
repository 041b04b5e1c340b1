"""How long one packet more takes among many, and how long the event loop stands still meanwhile."""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from _adversarial_tables import counts_of, drawn

from qis import Identity, MemoryStore, Packet, Roster, VectorScheme, synthesise
from qis.evidence.store import Reviewer
from qis.loop._in_thread import in_thread
from qis.synthesis import KeptSites, Synthesis

_ISSUED_AT = 1_800_000_000
_COHORTS = 5
"""Packets made of one table, which differ in nothing else: sampling a profile takes long."""
_MORE = 9
_TICK_S = 0.002


def packets_of(sites: int, seed: int) -> list[Packet]:
    """Packets with a profile each, by as many issuers."""
    rng = np.random.default_rng(seed)
    tables = drawn(rng, sites=-(-sites // _COHORTS), people=(20, 1_000), tau=0.3)
    profiles = [counts_of(table).profile() for table in tables]
    outcomes = [
        replace(profile, study=None, cohort=f"c{turn}")
        for turn in range(_COHORTS)
        for profile in profiles
    ]
    fingerprint = VectorScheme(dimensions=3).fingerprint([0.2, -1.0, 0.7])
    return [
        Packet.sign(
            Identity.from_seed(number.to_bytes(32, "big")),
            outcome=outcome,
            fingerprint=fingerprint,
            issued_at=_ISSUED_AT,
            lifetime_s=86_400,
        )
        for number, outcome in enumerate(outcomes[:sites])
    ]


def incremental(sites: int, seed: int) -> dict[str, float]:
    """Milliseconds of processor time for all sites at first, and for one more at a time."""
    packets = packets_of(sites + _MORE, seed)
    store = MemoryStore(roster=Roster.open(), capacity=2 * len(packets))
    for packet in packets[:sites]:
        store.add(packet, now=_ISSUED_AT)
    study_id, kept = packets[0].outcome.study_id, KeptSites()

    def made(kept: KeptSites) -> Callable[[], Synthesis]:
        reviewer = store.reviewer(study_id, now=_ISSUED_AT + 1)
        return lambda: _synthesis(reviewer, kept)

    first = _cpu_ms(made(kept))
    more = []
    for packet in packets[sites:]:
        store.add(packet, now=_ISSUED_AT)
        more.append(_cpu_ms(made(kept)))
    stalls = asyncio.run(_stalls(made(KeptSites())))
    idle = asyncio.run(_stalls(lambda: time.sleep(1.0)))
    return {
        f"first_ms_{sites}_profiles": first,
        f"increment_ms_{sites}_profiles": statistics.median(more),
        "stall_p99_ms": 1e3 * float(np.quantile(stalls, 0.99)),
        "stall_idle_p99_ms": 1e3 * float(np.quantile(idle, 0.99)),
        "stall_worst_ms": 1e3 * max(stalls),
    }


def _synthesis(reviewer: Reviewer, kept: KeptSites) -> Synthesis:
    return synthesise(reviewer.review(), model="random", kept=kept)


def _cpu_ms(call: Callable[[], Synthesis]) -> float:
    start = time.process_time()
    call()
    return 1e3 * (time.process_time() - start)


async def _stalls(call: Callable[[], object]) -> list[float]:
    """By how much a task that sleeps 2 ms wakes late, while all sites are computed in a thread."""
    found = []
    computing = asyncio.ensure_future(in_thread(call))  # as a loop does
    while not computing.done():
        start = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        found.append(time.perf_counter() - start - _TICK_S)
    await computing
    return found

"""Rotated and ended keys, sequences from nowhere, rosters to and fro, a slow clock: what counts.

Each figure is counted at readers: two stores, one in memory and one on disk, and a loop over a
folder. Nothing is measured in seconds.
"""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import qis
from qis.evidence import Admission, EvidenceStore, MemoryStore, SQLiteStore
from qis.testing import VirtualClock

NOW = 1_800_000_000
DAY_S = 86_400
SCHEME = qis.VectorScheme(dimensions=4, bands=6)
NEAR = [1.0, 0.5, -0.2, 0.1]
STUDY = qis.Study(question="a vs b | death", measure="OR", model="fixed")
KEYS = [qis.Identity.from_seed(bytes([number] * 32)) for number in range(1, 6)]
SLOW_S = 2 * 3_600
WITHIN_S = 20.0


def packet_of(
    key: int, second: int, *, estimate: float = 0.1, sequence: int | None = None, cohort: str = ""
) -> qis.Packet:
    """A packet of one of the keys, issued so many seconds from `NOW`."""
    return qis.Packet.sign(
        KEYS[key],
        outcome=qis.Effect(
            study=STUDY, cohort=cohort, measure="OR", estimate=estimate, standard_error=0.2, n=400
        ),
        fingerprint=SCHEME.fingerprint(NEAR),
        issued_at=NOW + second,
        lifetime_s=30 * DAY_S,
        sequence=sequence,
        routing_keys=SCHEME.routing_keys(NEAR),
    )


def site(name: str, *keys: qis.SiteKey) -> qis.Site:
    """A site with these keys."""
    return qis.Site(name=name, keys=keys)


def key(number: int, start: int | None = None, end: int | None = None) -> qis.SiteKey:
    """One of the keys, valid from and until so many seconds from `NOW`."""
    return qis.SiteKey(
        issuer=KEYS[number].issuer,
        valid_from=None if start is None else NOW + start,
        valid_until=None if end is None else NOW + end,
    )


@contextlib.contextmanager
def stores(roster: qis.Roster) -> Iterator[list[EvidenceStore]]:
    """One store in memory and one on disk."""
    with tempfile.TemporaryDirectory() as folder:
        disk = SQLiteStore(Path(folder) / "evidence.db", roster=roster)
        with contextlib.closing(disk):
            yield [MemoryStore(roster=roster), disk]


def evidence(store: EvidenceStore, at: int = 0) -> list[qis.Packet]:
    """What counts of the study."""
    return store.evidence(STUDY, now=NOW + at)


def rotation() -> dict[str, float]:
    """A key used while the clock was two days ahead; its successor publishes at the right time."""
    old, new = packet_of(0, 2 * DAY_S, estimate=9.0), packet_of(1, 10)
    roster = qis.Roster((site("north", key(0), key(1, 0)),))
    counts = True
    with stores(roster) as both:
        for store in both:
            store.add(new, now=NOW + 10)
            store.add(old, now=NOW + 2 * DAY_S)  # when the wrong date comes, others still hold it
            counts &= evidence(store, 2 * DAY_S) == [new]
            store.roster = qis.Roster((site("north", key(0)),))
            counts &= evidence(store, 2 * DAY_S) == [old]  # so that the other way is seen to count
    return {"rotation_counts": float(counts)}


def ended() -> dict[str, float]:
    """Late packets under an ended key, of higher and of the same sequence, and retractions."""
    good = packet_of(0, 0)
    late = [packet_of(0, second, estimate=5.0) for second in (DAY_S, 2 * DAY_S)]
    late.append(packet_of(0, 3 * DAY_S, estimate=5.0, sequence=good.sequence))
    removed = 0
    for order in ([good, *late], [*late, good]):
        with stores(qis.Roster((site("north", key(0, end=DAY_S)),))) as both:
            for store in both:
                store.add_many(order, now=NOW + 3 * DAY_S)
                removed += evidence(store) != [good]
    return {
        "late_packets_under_an_ended_key": float(len(late)),
        "good_evidence_removed": float(removed),
    }


def sequences() -> dict[str, float]:
    """Sequences ahead of their own issue time, up to the highest that there is."""
    limit = (NOW + 300) * 1_000_000
    ahead = [packet_of(0, 0, sequence=n) for n in (limit + 1, 2**63, 2**64 - 1)]
    refused, pinned = 0, 0
    with stores(qis.Roster.open()) as both:
        for store in both:
            refused += sum(
                store.add(packet, now=NOW) is Admission.SEQUENCE_AHEAD for packet in ahead
            )
            good = packet_of(0, 1)
            store.add(good, now=NOW + 1)
            pinned += evidence(store) != [good]
        offered = len(ahead) * len(both)
    return {
        "sequences_ahead_offered": float(offered),
        "sequences_ahead_refused": float(refused),
        "sites_pinned_by_a_sequence": float(pinned),
    }


def histories(number: int) -> dict[str, float]:
    """The same packets in any order under any history of rosters: the last roster decides alone."""
    rng = random.Random(14)
    packets = [
        packet_of(which, second, estimate=second / 10, cohort=cohort)
        for which in range(4)
        for second in range(0, 40, 10)
        for cohort in ("", "women")
    ]
    different = 0
    for _ in range(number):
        last = _any_roster(rng)
        with stores(last) as both:
            both[0].add_many(packets, now=NOW + 40)
            expected = both[0].review(STUDY, now=NOW + 40)
            for packet in rng.sample(packets, len(packets)):
                both[1].roster = _any_roster(rng)
                both[1].add(packet, now=NOW + 40)
            both[1].roster = last
            different += both[1].review(STUDY, now=NOW + 40) != expected
    return {"roster_histories": float(number), "roster_histories_different": float(different)}


def _any_roster(rng: random.Random) -> qis.Roster:
    owners: dict[str, list[qis.SiteKey]] = {}
    for number in range(4):
        owner = rng.choice(["north", "south", ""])
        if owner:
            start, end = rng.choice([None, 5, 15]), rng.choice([None, 20, 30])
            owners.setdefault(owner, []).append(key(number, start, end))
    return qis.Roster(tuple(site(name, *keys) for name, keys in owners.items()))


async def _read_by_a_slow_clock(folder: Path) -> int:
    """How many of three sites' packets a reader misses once its slow clock is set right."""
    clock = VirtualClock(float(NOW - SLOW_S))
    roster = qis.Roster(tuple(site(f"site {n}", key(n)) for n in range(4)))
    right = VirtualClock(float(NOW))
    for number in range(3):
        writer = qis.DirectoryTransport(folder, KEYS[number], roster=roster, clock=right)
        async with writer:
            await writer.publish(packet_of(number, 0), SCHEME.routing_keys(NEAR))
    reader = qis.DirectoryTransport(folder, KEYS[3], roster=roster, clock=clock, poll_s=0.01)
    store = MemoryStore(roster=roster)
    loop = qis.SynthesisLoop(
        KEYS[3],
        reader,
        SCHEME,
        interest=SCHEME.interest(NEAR),
        interest_people=0,
        disclosure=qis.Disclosure.preset("none"),
        store=store,
        clock=clock,
    )
    async with loop:
        await _until(lambda: reader.statistics.refused.total() >= 3)
        if evidence(store):
            return 3  # the clock was not slow, so that nothing was seen
        clock.set(float(NOW))
        await _until(lambda: len(evidence(store)) == 3)
    return 3 - len(evidence(store))


async def _until(holds: Callable[[], bool]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WITHIN_S):
            while not holds():  # noqa: ASYNC110  no event of its own
                await asyncio.sleep(0.01)


def slow_clock() -> dict[str, float]:
    """Good packets that a slow clock takes for packets from the future, and that are lost by it."""
    with tempfile.TemporaryDirectory() as folder:
        missed = asyncio.run(_read_by_a_slow_clock(Path(folder)))
    return {"good_packets_set_aside_by_a_slow_clock": float(missed)}


def figures(full: bool) -> dict[str, float]:  # noqa: FBT001  as every part is called
    """All of them; `full` looks at more histories."""
    parts: Iterable[dict[str, float]] = (
        rotation(),
        ended(),
        sequences(),
        histories(300 if full else 40),
        slow_clock(),
    )
    return {name: value for part in parts for name, value in part.items()}

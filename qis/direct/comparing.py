"""Comparing what two members hold, so that both come to have all of it.

The asker sends a digest of its packets. If the other's differs, it answers with one for each 64th
of the space of ids; of those that differ the asker then lists its ids, range by range, and learns
what the other lacks, which it sends, and what the other will send. Every step is one frame, sent
until it is acknowledged, and may come twice.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from qis.direct.frames import BUCKETS, ID_SIZE, IDS_LIMIT, NONCE_SIZE, Buckets, Holds, Lacks
from qis.direct.store import PacketStore, bucket_range

PATIENCE_S: Final = 20.0
"""How long a comparison may stand still before another member is asked instead."""
LAST: Final = b"\xff" * ID_SIZE


@dataclass(slots=True)
class Comparison:
    """One that this node has begun: what it waits for."""

    key: bytes
    nonce: bytes
    moved_at: float
    has_answer: bool = False
    ranges: set[bytes] = field(default_factory=set)
    """Ends of the ranges that have not been answered."""
    coming: set[bytes] = field(default_factory=set)
    """First bytes of the ids of packets that the other has promised."""

    @property
    def is_over(self) -> bool:
        """True if all has been answered and all that was promised has come."""
        return self.has_answer and not self.ranges and not self.coming

    def is_stuck(self, now: float) -> bool:
        """True if nothing has come of it for a while."""
        return now - self.moved_at >= PATIENCE_S


def begin(key: bytes, rng: random.Random, now: float) -> Comparison:
    """A comparison with a member."""
    return Comparison(key, rng.randbytes(NONCE_SIZE), now)


def ranges_of(store: PacketStore, answer: Buckets) -> list[Holds]:
    """What to list where the digests differ."""
    own = store.bucket_digests(answer.nonce)
    found = []
    for bucket in range(BUCKETS):
        if own[bucket] != answer.digests[bucket]:
            found += listed(store, answer.nonce, *bucket_range(bucket))
    return found


def listed(store: PacketStore, nonce: bytes, low: bytes, high: bytes) -> list[Holds]:
    """All ids in [low, high], in ranges of at most `IDS_LIMIT`."""
    ids = store.between(low, high)
    found = []
    for start in range(0, max(1, len(ids)), IDS_LIMIT):
        part = tuple(ids[start : start + IDS_LIMIT])
        end = high if start + IDS_LIMIT >= len(ids) else part[-1]
        found.append(Holds(nonce, low, end, part))
        low = following(end)
    return found


def compared(
    store: PacketStore, question: Holds, unwanted: Sequence[bytes] | frozenset[bytes]
) -> Lacks:
    """What this node lacks of what was listed, and what it has beyond that."""
    theirs = set(question.ids)
    beyond = [each for each in store.between(question.low, question.high) if each not in theirs]
    until = question.high
    if len(beyond) > IDS_LIMIT:
        beyond = beyond[:IDS_LIMIT]
        until = beyond[-1]
    wanted = [
        each
        for each in question.ids
        if each <= until and each not in store and each not in unwanted
    ]
    return Lacks(question.nonce, question.low, until, tuple(wanted), tuple(beyond))


def following(short: bytes) -> bytes:
    """The next id after one."""
    return (int.from_bytes(short) + 1).to_bytes(ID_SIZE) if short < LAST else LAST

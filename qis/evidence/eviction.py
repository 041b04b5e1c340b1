"""What a full store drops: the strangers' first, then the heaviest issuer's, the oldest first.

A bound that can be filled by one issuer is no bound for the others, so whoever holds most loses
first, down to a common level.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from qis.evidence.roster import Roster
from qis.identity import Issuer

_SPARE = 16
"""A full store frees a 16th more than it must, since it takes long to find what may go."""


class Worth(IntEnum):
    """What a store loses with a packet, least first."""

    SUPERSEDED = 0
    SURPLUS = 1
    """A third packet under one sequence: two prove the equivocation."""
    DECIDING = 2
    PROOF = 3


class Kept(NamedTuple):
    """A packet of one issuer, as far as eviction looks at it."""

    sequence: int
    id: bytes
    decides: bool
    """Whether it is the head of its evidence key."""


class Loss(NamedTuple):
    """A packet that may go; the smallest goes first."""

    worth: Worth
    sequence: int
    id: bytes


def to_free(held: int, capacity: int) -> int:
    """How many packets a store drops that holds `held`; 0 unless that is above its capacity."""
    return 0 if held <= capacity else held - capacity + capacity // _SPARE


def shares(held: Mapping[bytes, int], roster: Roster, needed: int) -> dict[bytes, int]:
    """How many packets each issuer loses, `needed` in total or all that there are.

    Issuers that the roster does not accept lose first; among the others, as among these, the
    heaviest are cut down to one level.
    """
    lost: dict[bytes, int] = {}
    strangers = {issuer: n for issuer, n in held.items() if not roster.accepts(Issuer(issuer))}
    known = {issuer: n for issuer, n in held.items() if issuer not in strangers}
    for group in (strangers, known):
        if needed > 0 and group:
            cut = _cut_to_level(group, needed)
            needed -= sum(cut.values())
            lost.update(cut)
    return lost


def losses(kept: Iterable[Kept], number: int) -> list[Loss]:
    """What one issuer loses: `number` packets, and the other half of a proof that would be torn.

    Half a proof would let evidence count that was refuted.
    """
    kept = sorted(kept)
    at: Counter[int] = Counter(packet.sequence for packet in kept)
    place: Counter[int] = Counter()
    order: list[Loss] = []
    for packet in kept:
        place[packet.sequence] += 1
        if at[packet.sequence] > 1:
            worth = Worth.PROOF if place[packet.sequence] <= 2 else Worth.SURPLUS
        else:
            worth = Worth.DECIDING if packet.decides else Worth.SUPERSEDED
        order.append(Loss(worth, packet.sequence, packet.id))
    order.sort()
    last = order[number - 1]
    if number < len(order) and last.worth is Worth.PROOF:
        number += order[number][:2] == last[:2]
    return order[:number]


def _cut_to_level(held: Mapping[bytes, int], needed: int) -> dict[bytes, int]:
    """Cut the largest numbers down to one level, so that `needed` are cut in total."""
    low, high = 0, max(held.values())  # the level is the highest that cuts enough
    while low < high:
        level = (low + high + 1) // 2
        if sum(n - level for n in held.values() if n > level) >= needed:
            low = level
        else:
            high = level - 1
    cut = {issuer: n - low for issuer, n in held.items() if n > low}
    surplus = sum(cut.values()) - needed
    for issuer in sorted(cut)[: max(surplus, 0)]:
        cut[issuer] -= 1
    return {issuer: n for issuer, n in cut.items() if n > 0}

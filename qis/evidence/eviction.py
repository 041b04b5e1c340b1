"""What a full store drops: the strangers' first, then the heaviest issuer's, the oldest first.

A bound that can be filled by one issuer is no bound for the others, so whoever holds most loses
first, down to a common level.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from qis.evidence.roster import Roster
from qis.identity import Issuer

_SPARE = 16
"""A full store frees a 16th more than it must, since it takes long to find what may go."""


class Worth(IntEnum):
    """What a store loses with a packet that is not merely superseded, least first."""

    SURPLUS = 0
    """A third packet under one sequence: two prove the equivocation."""
    DECIDING = 1
    PROOF = 2


class Kept(NamedTuple):
    """A packet that is held, as far as eviction looks at it."""

    sequence: int
    issuer: bytes
    place: Any
    """Where the store has it."""
    decides: bool
    """Whether it is the head of its evidence key."""
    id: bytes | None
    """Of the packet, if its issuer has signed another under its sequence; else `None`."""


class Losses(NamedTuple):
    """What a store lets go of, and what it remembers of that."""

    going: list[Kept]
    floors: dict[bytes, int]
    """The highest sequence of each issuer that is let go of and was not superseded."""


_SEQUENCE: Final = attrgetter("sequence")


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


def losses(kept: Iterable[Kept], lost: Mapping[bytes, int]) -> Losses:
    """Which packets go: of each issuer as many as it loses, and the rest of a proof that tears.

    Half a proof would let evidence count that was refuted.

    Parameters
    ----------
    kept
        By sequence; read only until all that goes is found.
    lost
        How many packets each issuer loses.

    """
    going: list[Kept] = []
    dearer: dict[bytes, list[Kept]] = {issuer: [] for issuer in lost}
    lacking = dict(lost)
    for packet in kept:
        issuer = packet.issuer
        if issuer not in lacking:
            continue
        if packet.decides or packet.id is not None:
            dearer[issuer].append(packet)
            continue
        going.append(packet)
        lacking[issuer] -= 1
        if not lacking[issuer]:
            del lacking[issuer]
            if not lacking:
                break
    floors: dict[bytes, int] = {}
    for issuer, number in lacking.items():
        more = _cheapest(dearer[issuer], number)
        floors[issuer] = max(packet.sequence for packet in more)
        going += more
    return Losses(going, floors)


def _cheapest(dearer: list[Kept], number: int) -> list[Kept]:
    """The packets of an issuer that go first, of those that are not merely superseded."""
    order: list[tuple[Worth, int, bytes, Kept]] = []
    for sequence, slot in groupby(dearer, key=_SEQUENCE):
        several = sorted((packet.id or b"", packet) for packet in slot)
        for nth, (packet_id, packet) in enumerate(several):
            worth = Worth.PROOF if nth < 2 else Worth.SURPLUS
            worth = Worth.DECIDING if packet.id is None else worth
            order.append((worth, sequence, packet_id, packet))
    order.sort()
    last = order[number - 1]
    if number < len(order) and last[0] is Worth.PROOF:
        number += order[number][:2] == last[:2]
    return [packet for *_, packet in order[:number]]


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

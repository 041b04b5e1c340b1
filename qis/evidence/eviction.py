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
    """What a store loses with a packet, least first."""

    SUPERSEDED = 0
    SURPLUS = 1
    """A third packet under one sequence: two prove the equivocation."""
    DECIDING = 2
    PROOF = 3


class Kept(NamedTuple):
    """A packet that is held, as far as eviction looks at it."""

    sequence: int
    issuer: bytes
    place: Any
    """Where the store has it."""
    decides: bool
    """Whether it is the head of its evidence key."""


class Loss(NamedTuple):
    """A packet that may go; of each issuer the smallest goes first."""

    worth: Worth
    packet: Kept


_SLOT: Final = attrgetter("sequence", "issuer")


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


def losses(kept: Iterable[Kept], lost: Mapping[bytes, int]) -> list[Loss]:
    """Which packets go: of each issuer as many as it loses, and the rest of a proof that tears.

    Half a proof would let evidence count that was refuted.

    Parameters
    ----------
    kept
        By sequence, issuer and packet id; read only until all that goes is found.
    lost
        How many packets each issuer loses.

    """
    going: dict[bytes, list[Loss]] = {issuer: [] for issuer in lost}
    dearer: dict[bytes, list[Loss]] = {issuer: [] for issuer in lost}
    lacking = set(lost)
    for (_, issuer), slot in groupby(kept, key=_SLOT):
        if issuer not in lacking:
            continue
        for loss in _valued(list(slot)):
            (dearer if loss.worth else going)[issuer].append(loss)
        if len(going[issuer]) >= lost[issuer]:
            lacking.discard(issuer)
            if not lacking:
                break
    for issuer in lacking:
        going[issuer] += _cheapest(dearer[issuer], lost[issuer] - len(going[issuer]))
    return [loss for issuer in lost for loss in going[issuer]]


def _valued(slot: list[Kept]) -> list[Loss]:
    """What a store loses with each packet under one issuer and sequence."""
    if len(slot) == 1:
        return [Loss(Worth.DECIDING if slot[0].decides else Worth.SUPERSEDED, slot[0])]
    proof, surplus = slot[:2], slot[2:]
    return [Loss(Worth.PROOF, packet) for packet in proof] + [
        Loss(Worth.SURPLUS, packet) for packet in surplus
    ]


def _cheapest(order: list[Loss], number: int) -> list[Loss]:
    order.sort(key=lambda loss: (loss.worth, loss.packet.sequence))
    cut = order[number - 1 : number + 1]
    if len(cut) == 2 and cut[0].worth is Worth.PROOF:
        number += _SLOT(cut[0].packet) == _SLOT(cut[1].packet)
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

"""What a full store drops: the strangers' first, then the heaviest issuer's, the oldest first.

A bound that can be filled by one issuer is no bound for the others, so whoever holds most loses
first, down to a common level.
"""

from collections.abc import Mapping
from enum import IntEnum

from qis.evidence.roster import Roster
from qis.identity import Issuer

_SPARE = 64
"""A full store frees a 64th more than it must, so that not every packet has to make room."""


class Worth(IntEnum):
    """What a store loses with a packet, least first."""

    SUPERSEDED = 0
    DECIDING = 1
    PROOF = 2


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

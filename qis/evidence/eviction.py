"""What a full store drops: what the roster refuses, then the heaviest issuer's, the oldest first.

A bound that can be filled by one issuer is no bound for the others, so whoever holds most loses
first, down to a common level. Of what the roster refuses the strangers' packets go first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from qis.evidence.roster import Roster
from qis.identity import Issuer

_SPARE = 16
"""A full store frees a 16th more than it must, since it takes long to find what may go."""


class Kept(NamedTuple):
    """A held packet, with what eviction has to know of it."""

    sequence: int
    issuer: bytes
    handle: Any
    """What the store finds it by: a row id, or the packet itself."""


class EvictionCandidates(Protocol):
    """What a store could drop, in order; eviction reads only as far as it must."""

    def singles(self, *, decide: bool) -> Iterable[Kept]:
        """Packets alone under their issuer and sequence, by sequence: those that decide, or not."""

    def doubles(self) -> Iterable[Kept]:
        """All others, by issuer, sequence and id: of each slot the first two are its proof."""


class Losses(NamedTuple):
    """The packets that a store drops, and what it remembers of them."""

    going: list[Kept]
    floors: dict[bytes, int]
    """The highest sequence of each issuer that is let go of and was not superseded."""


def to_free(held: int, capacity: int) -> int:
    """How many packets a store drops that holds `held`; 0 unless that is above its capacity."""
    return 0 if held <= capacity else held - capacity + capacity // _SPARE


def strangers_of(held: Mapping[bytes, int], roster: Roster) -> dict[bytes, int]:
    """How many packets are held of each issuer that the roster does not accept."""
    return {issuer: n for issuer, n in held.items() if not roster.accepts(Issuer(issuer))}


def refused_losses(refused: Callable[[], Iterable[Kept]], most: int) -> tuple[list[Kept], bool]:
    """Choose at most `most` packets without a say to drop; return them, and whether others stay.

    Nothing is remembered of them: they must not bar what has a say, and should the roster come to
    accept them, they may come again.
    """
    held = Counter([kept.issuer for kept in refused()])
    if not held:
        return [], False
    going = list(_taken(((kept,) for kept in refused()), _cut_to_level(held, most)))
    return going, len(going) < held.total()


def shares(held: Mapping[bytes, int], roster: Roster, needed: int) -> dict[bytes, int]:
    """Return how many packets each issuer loses, `needed` in total or all that there are.

    Issuers that the roster does not accept lose first; among the others, as among these, the
    heaviest are cut down to one level.
    """
    lost: dict[bytes, int] = {}
    strangers = strangers_of(held, roster)
    known = {issuer: n for issuer, n in held.items() if issuer not in strangers}
    for group in (strangers, known):
        if needed > 0 and group:
            cut = _cut_to_level(group, needed)
            needed -= sum(cut.values())
            lost.update(cut)
    return lost


def losses(held: EvictionCandidates, lost: Mapping[bytes, int]) -> Losses:
    """Choose the packets to drop, `lost[issuer]` of each: the least valuable and oldest first.

    That is what was superseded; then what proves nothing more, as two packets under one sequence
    prove the equivocation; then what decides; and last proofs, never half of one, since that would
    let evidence count that was refuted.
    """
    lacking = dict(lost)
    superseded = list(_taken(((packet,) for packet in held.singles(decide=False)), lacking))
    dearer: list[Kept] = []
    if lacking:
        slots = [list(slot) for _, slot in groupby(held.doubles(), key=itemgetter(0, 1))]
        slots.sort()
        dearer += _taken(((packet,) for slot in slots for packet in slot[2:]), lacking)
        dearer += _taken(((packet,) for packet in held.singles(decide=True)), lacking)
        dearer += _taken((slot[:2] for slot in slots), lacking)
    floors: dict[bytes, int] = {}
    for sequence, issuer, _ in dearer:
        floors[issuer] = max(sequence, floors.get(issuer, 0))
    return Losses(superseded + dearer, floors)


def _taken(groups: Iterable[Sequence[Kept]], lacking: dict[bytes, int]) -> Iterator[Kept]:
    """Yield packets to drop, each group whole, until each issuer has lost what it should."""
    if not lacking:
        return
    for group in groups:
        issuer = group[0].issuer
        if issuer in lacking:
            yield from group
            lacking[issuer] -= len(group)
            if lacking[issuer] <= 0:
                del lacking[issuer]
                if not lacking:
                    return


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
    # The level is a whole number, so it may cut a few too many; they stay, in a fixed order.
    surplus = sum(cut.values()) - needed
    for issuer in sorted(cut)[: max(surplus, 0)]:
        cut[issuer] -= 1
    return {issuer: n for issuer, n in cut.items() if n > 0}

"""How far one publication of a packet has come: whom it is handed to under each of its keys."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qis.overlay.message_store import Carried
from qis.overlay.record import Contact
from qis.overlay.timers import Timer

SHARE_GROUPED: Final = 0.3
"""A holder of more than this share of a packet's keys is asked for all of them first."""


@dataclass(slots=True)
class Handing:
    """One packet under one key: whom it is handed to, in order."""

    holders: list[Contact] = field(default_factory=list)
    next: int = 0
    is_covered: bool = False
    """A holder that has known the key for long has forwarded it."""
    is_held: bool = False


@dataclass(slots=True)
class Round:
    """One publication of a packet.

    Parameters
    ----------
    carried
        The packet.
    attempt
        In [0, 255], the number of the repetition: it decides which keys are chosen, and at which
        holder to begin.
    to_all
        True if all holders are to have it, not just one of each key.
    handings
        By the index of the key in `carried.keys`.
    then
        Called with this round and now when it has ended.
    trusts
        True if holders need not forward after one that has known the key for long.
    is_repeat
        True if the packet is held already, so that nobody waits for this round.
    asked
        How many requests to holders are under way.
    unfound, found
        Indices of the keys whose holders are being looked up, and of those whose holders have been
        found and are asked next.
    patience
        Timer after which the holders found so far are asked, though some lookups still run.
    acknowledged
        Called with the index of a key and another node that has it under this key.
    is_over
        True if it has ended; answers that come later change nothing.

    """

    carried: Carried
    attempt: int
    to_all: bool
    handings: dict[int, Handing]
    then: Callable[["Round", float], None]
    trusts: bool = True
    is_repeat: bool = False
    acknowledged: Callable[[int, Contact], None] = lambda _, __: None
    asked: int = 0
    unfound: set[int] = field(init=False)
    found: list[int] = field(default_factory=list)
    patience: Timer | None = None
    is_over: bool = False

    def __post_init__(self) -> None:
        self.unfound = set(self.handings)

    @property
    def unheld(self) -> list[int]:
        """Indices of the keys under which no other node has acknowledged it."""
        return [key_index for key_index, handing in self.handings.items() if not handing.is_held]

    @property
    def has_tried_all(self) -> bool:
        """True if every holder of every key has been asked."""
        return all(each.next >= len(each.holders) for each in self.handings.values())

    def take_found(self) -> list[int]:
        """Indices of the keys whose holders were found since the last call; sorts these.

        Each publication begins at the next holder; the first one where most keys share holders.
        So a packet costs few messages where there are few nodes. Where there are more, keys that
        begin at one holder could both be chosen for a subscriber, and one bad node would do.
        Repetitions begin elsewhere, or a holder of many keys that drops them would come first.
        """
        held = Counter(contact for each in self.handings.values() for contact in each.holders)
        count = {c: n if n > len(self.handings) * SHARE_GROUPED else 0 for c, n in held.items()}
        key_indices, self.found = sorted(self.found), []
        for handing in (self.handings[key_index] for key_index in key_indices):
            first = self.attempt % len(handing.holders)
            handing.holders = handing.holders[first:] + handing.holders[:first]
            if not self.attempt:
                handing.holders.sort(key=lambda c: (-count[c], c.id if count[c] else 0))
        return key_indices

"""The part of a publisher: each of its packets is published, and again while it lives.

Each new publication of a packet starts at the next holder: this brings a packet to all of them,
which keep it for those that come later, and reaches what a bad first holder left out. A key under
which nobody has acknowledged a packet is tried again soon; until then it counts as not handed over.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from qis.overlay.handing import Handing, Round
from qis.overlay.retained import Carried
from qis.overlay.rounds import Rounds
from qis.overlay.timers import Timer, Timers

REPEAT_AFTER_S: Final = (30.0, 600.0, 3_600.0)
"""When a packet is published again; the last pause repeats while it lives."""
FEW_KEYS: Final = 8
"""A packet of so few keys is repeated first at all their holders, whether or not they know the same
subscribers: who shares just one key with it depends on one holder at a time, which may be bad."""
TRY_AGAIN_S: Final = (5.0, 10.0, 20.0, 40.0)
"""When it is tried again under keys of which no holder has answered; the last pause repeats."""
PUBLICATIONS_LIMIT: Final = 4_096
"""Own packets that are published again; the oldest is handed to all its holders and left there."""
BACKLOG_LIMIT: Final = 1_024
"""Packets not handed over from which on the application has to wait with more."""


@dataclass(slots=True)
class _Publication:
    """A packet of this node, and what is under way of it.

    `unheld` are the places of the keys of which no holder has answered, after so many `tries`.
    """

    carried: Carried
    rounds: list[Round] = field(default_factory=list)
    again: Timer | None = None
    unheld: set[int] = field(default_factory=set)
    tries: int = 0


class Publisher:
    """Publishes one node's packets.

    Parameters
    ----------
    rounds, timers
        Of this node.
    unix_s
        As of `Settings`: packets expire by the wall clock.

    """

    def __init__(
        self, rounds: Rounds, timers: Timers, *, unix_s: Callable[[float], float] = lambda now: now
    ) -> None:
        self._rounds = rounds
        self._unix_s = unix_s
        self._timers = timers
        self._publications: OrderedDict[bytes, _Publication] = OrderedDict()
        self._unspread: dict[bytes, _Publication] = {}
        self._unheld = 0

    @property
    def sent(self) -> int:
        """Messages to holders, tries not counted."""
        return self._rounds.sent

    @property
    def is_idle(self) -> bool:
        """Whether holders have acknowledged all that was published, under each of its keys."""
        return not len(self._rounds) and not self._unheld

    @property
    def is_full(self) -> bool:
        """Whether the application should wait with more."""
        return len(self._rounds) + self._unheld >= BACKLOG_LIMIT

    def publish(self, carried: Carried, now: float) -> None:
        """Hand a packet to the network, now and again while it lives."""
        publication = _Publication(carried)
        self._publications[carried.id] = publication
        self._unspread[carried.id] = publication
        if len(self._publications) > PUBLICATIONS_LIMIT:
            oldest, left = self._publications.popitem(last=False)
            if left.again is not None:  # which would keep the packet for up to an hour
                left.again.cancel()
            if self._unspread.pop(oldest, None) is not None:
                self._begin(left, range(len(left.carried.keys)), 0, now, to_all=True)
        self._publish(publication, 0, now)

    def spread(self, now: float) -> None:
        """Hand all that lives to all of its holders, so that this node may go."""
        for publication in list(self._unspread.values()):
            awaited = [current for current in publication.rounds if not current.is_repeat]
            for current in awaited:
                current.to_all = True
            if not awaited and self._is_alive(publication, now):
                places = range(len(publication.carried.keys))
                self._begin(publication, places, 0, now, to_all=True)

    def _publish(self, publication: _Publication, salt: int, now: float) -> None:
        carried = publication.carried
        is_current = self._publications.get(carried.id) is publication
        if not is_current or not self._is_alive(publication, now):
            if is_current:
                del self._publications[carried.id]
                self._unspread.pop(carried.id, None)
            return
        pause_s = REPEAT_AFTER_S[min(salt, len(REPEAT_AFTER_S) - 1)]
        following = (salt + 1) % 256
        publication.again = self._timers.start(
            now + pause_s, lambda at: self._publish(publication, following, at)
        )
        is_sure = salt == 1 and len(carried.keys) <= FEW_KEYS
        places = range(len(carried.keys))
        self._begin(
            publication,
            places,
            salt,
            now,
            to_all=is_sure,
            trusts=not is_sure,
            is_repeat=salt > 0 and not publication.unheld,
        )

    def _begin(
        self,
        publication: _Publication,
        places: Iterable[int],
        salt: int,
        now: float,
        *,
        to_all: bool,
        trusts: bool = True,
        is_repeat: bool = False,
    ) -> None:
        def then(ended: Round, at: float) -> None:
            publication.rounds.remove(ended)
            self._note(publication, ended, at)

        handings = {place: Handing() for place in places}
        current = Round(publication.carried, salt, to_all, handings, then, trusts, is_repeat)
        publication.rounds.append(current)
        self._rounds.begin(current, now)

    def _note(self, publication: _Publication, ended: Round, now: float) -> None:
        was_unheld = bool(publication.unheld)
        publication.unheld -= ended.handings.keys()
        if self._is_alive(publication, now):
            publication.unheld.update(ended.unheld)
        is_unheld = bool(publication.unheld)
        self._unheld += is_unheld - was_unheld
        if is_unheld and not was_unheld:
            self._wait(publication, ended, now)
        elif not is_unheld:
            publication.tries = 0
            if ended.has_tried_all:
                self._unspread.pop(publication.carried.id, None)

    def _is_alive(self, publication: _Publication, now: float) -> bool:
        return publication.carried.expires_at > self._unix_s(now)

    def _wait(self, publication: _Publication, ended: Round, now: float) -> None:
        pause_s = TRY_AGAIN_S[min(publication.tries, len(TRY_AGAIN_S) - 1)]
        publication.tries += 1

        def again(at: float) -> None:
            places, publication.unheld = sorted(publication.unheld), set()
            if not places:
                return
            self._unheld -= 1
            if publication.carried.expires_at > at:
                self._begin(publication, places, ended.salt, at, to_all=ended.to_all)

        self._timers.start(now + pause_s, again)

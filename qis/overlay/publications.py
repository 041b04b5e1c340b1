"""The part of a publisher: each of its packets is published, and again while it lives.

Each new publication of a packet starts at the next holder: this brings a packet to all of them,
which keep it for those that come later, and reaches what a bad first holder left out. A key under
which no other node has acknowledged a packet is tried again soon, and at once when nodes turn up.

A packet is *held* from when another node has acknowledged it under each of its keys. That those
nodes may go again does not change it: for that the repetitions are there.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from qis.overlay.handing import Handing, Round
from qis.overlay.lru_cache import LruCache
from qis.overlay.message_store import Carried
from qis.overlay.record import Contact
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
"""Own packets that are published again; the oldest that is held is handed to all its holders and
left there."""
BACKLOG_LIMIT: Final = 1_024
"""Packets not handed over from which on the application has to wait with more."""
REMEMBERED_LIMIT: Final = 16_384
"""Packets that are no longer repeated and are remembered as held."""
SOON_S: Final = 0.5
"""When packets that nobody holds are tried again after nodes have turned up, so that several that
come together are met by one try."""


class Progress(NamedTuple):
    """How far a packet has come: under how many of its keys other nodes have acknowledged it."""

    keys: int
    held: int
    holders: int
    tries: int

    @property
    def is_held(self) -> bool:
        """True if another node has acknowledged it under each of its keys."""
        return self.held >= self.keys


@dataclass(slots=True)
class _Publication:
    """A packet of this node, and what is under way of it.

    `held` are which keys another node has ever acknowledged it under, as bits;
    `unheld` those of which none has answered the last time, after so many `tries`.
    """

    carried: Carried
    rounds: list[Round] = field(default_factory=list)
    again: Timer | None = None
    unheld: set[int] = field(default_factory=set)
    tries: int = 0
    retry: Timer | None = None
    retry_at: float = 0.0
    to_all: bool = False
    held: int = 0
    holders: set[int] = field(default_factory=set)

    @property
    def progress(self) -> Progress:
        return Progress(
            len(self.carried.keys), self.held.bit_count(), len(self.holders), self.tries
        )


class Publications:
    """Publishes one node's packets.

    Parameters
    ----------
    rounds, timers
        The rounds and timers of this node.
    unix_s
        Gives the date, in Unix seconds, of a moment `now`: packets expire by the wall clock.

    """

    def __init__(
        self, rounds: Rounds, timers: Timers, *, unix_s: Callable[[float], float] = lambda now: now
    ) -> None:
        self._rounds = rounds
        self._unix_s = unix_s
        self._timers = timers
        self._publications: OrderedDict[bytes, _Publication] = OrderedDict()
        self._newest: dict[bytes, _Publication] = {}
        self._unspread: dict[bytes, _Publication] = {}
        self._retrying: dict[bytes, _Publication] = {}
        self._not_held: dict[bytes, _Publication] = {}
        self._were_held: LruCache[bytes, int] = LruCache(REMEMBERED_LIMIT)

    @property
    def sent(self) -> int:
        """Messages to holders, tries not counted."""
        return self._rounds.sent

    @property
    def is_idle(self) -> bool:
        """True if nothing is under way that could bring a packet to another holder soon."""
        return not len(self._rounds) and not self._retrying

    @property
    def is_full(self) -> bool:
        """True if the application should wait before it publishes more."""
        return len(self._rounds) + len(self._retrying) >= BACKLOG_LIMIT

    def all_held(self, now: float) -> bool:
        """True if everything published that is alive, and not replaced, is held."""
        return not any(self._is_alive(each, now) for each in self._not_held.values())

    def progress(self, packet_id: bytes) -> Progress | None:
        """How far a packet has come; `None` if nothing is known of it."""
        publication = self._publications.get(packet_id)
        if publication is not None:
            return publication.progress
        holders = self._were_held.get(packet_id)
        return None if holders is None else Progress(1, 1, holders, 0)

    def publish(self, carried: Carried, now: float) -> None:
        """Hand a packet to the network, now and again while it lives.

        One that is published already is handed over once more. One that it replaces is left.
        """
        publication = self._publications.get(carried.id)
        if publication is None:
            publication = self._begun(carried, now)
        elif publication.again is not None:
            publication.again.cancel()
        self._publish(publication, 0, now)

    def spread(self, now: float) -> None:
        """Hand all that lives to all of its holders, so that this node may go."""
        for publication in list(self._unspread.values()):
            publication.to_all = True
            awaited = [current for current in publication.rounds if not current.is_repeat]
            for current in awaited:
                current.to_all = True
            is_due = not awaited and publication.retry is None
            if is_due and self._is_alive(publication, now):
                key_indices = range(len(publication.carried.keys))
                self._begin(publication, key_indices, 0, now, to_all=True)

    def own(self) -> list[Carried]:
        """What is published again while it lives."""
        return [publication.carried for publication in self._publications.values()]

    def withdraw(self, packet_id: bytes) -> None:
        """Repeat a packet no more."""
        publication = self._publications.get(packet_id)
        if publication is not None:
            self._leave(publication)

    def met(self, now: float) -> None:
        """Nodes have turned up: what nobody holds is tried again soon, not only when it is due."""
        for publication in list(self._retrying.values()):
            if publication.retry_at > now + SOON_S and publication.retry is not None:
                publication.retry.cancel()
                self._retry_in(publication, SOON_S, now)

    def _begun(self, carried: Carried, now: float) -> _Publication:
        publication = _Publication(carried)
        former = self._newest.get(carried.topic) if carried.topic else None
        if (
            former is not None
            and former.carried.sequence < carried.sequence
            and set(former.carried.keys) <= set(carried.keys)  # else its holders do not get this
        ):
            self._leave(former)
        if carried.topic:
            self._newest[carried.topic] = publication
        for kept in (self._publications, self._unspread, self._not_held):
            kept[carried.id] = publication
        if len(self._publications) > PUBLICATIONS_LIMIT:
            of_held = (each for each in self._publications if each not in self._not_held)
            left = self._publications[next(of_held, next(iter(self._publications)))]
            is_unspread = left.carried.id in self._unspread
            self._timers.guard.at_limit(
                "overlay.publications.PUBLICATIONS_LIMIT",
                "",
                "a packet of this site is published again no longer: who comes late depends on "
                "the holders that have it now",
            )
            self._leave(left)
            if is_unspread:
                self._begin(left, range(len(left.carried.keys)), 0, now, to_all=True)
        return publication

    def _leave(self, publication: _Publication) -> None:
        """Repeat a packet no longer: it is replaced, has expired, or has to make room."""
        packet_id, topic = publication.carried.id, publication.carried.topic
        if publication.progress.is_held:
            self._were_held.put(packet_id, len(publication.holders))
        if publication.again is not None:  # which would keep the packet for up to an hour
            publication.again.cancel()
        self._stop_retrying(publication)
        for kept in (self._publications, self._unspread, self._not_held):
            kept.pop(packet_id, None)
        if self._newest.get(topic) is publication:
            del self._newest[topic]

    def _publish(self, publication: _Publication, attempt: int, now: float) -> None:
        carried = publication.carried
        if self._publications.get(carried.id) is not publication:
            return
        if not self._is_alive(publication, now):
            self._leave(publication)
            return
        pause_s = REPEAT_AFTER_S[min(attempt, len(REPEAT_AFTER_S) - 1)]
        following = (attempt + 1) % 256  # one byte on the wire
        publication.again = self._timers.start(
            now + pause_s, lambda at: self._publish(publication, following, at)
        )
        # Whoever shares a single key depends on one holder at a time: the second attempt asks all.
        is_sure = attempt == 1 and len(carried.keys) <= FEW_KEYS
        key_indices = range(len(carried.keys))
        self._begin(
            publication,
            key_indices,
            attempt,
            now,
            to_all=is_sure,
            trusts=not is_sure,
            is_repeat=attempt > 0 and not publication.unheld,
        )

    def _begin(
        self,
        publication: _Publication,
        key_indices: Iterable[int],
        attempt: int,
        now: float,
        *,
        to_all: bool,
        trusts: bool = True,
        is_repeat: bool = False,
    ) -> None:
        def then(ended: Round, at: float) -> None:
            publication.rounds.remove(ended)
            self._note(publication, ended, at)

        current = Round(
            publication.carried,
            attempt,
            to_all,
            {key_index: Handing() for key_index in key_indices},
            then,
            trusts,
            is_repeat,
            acknowledged=partial(self._acknowledged, publication),
        )
        publication.rounds.append(current)
        self._rounds.begin(current, now)

    def _acknowledged(self, publication: _Publication, key_index: int, holder: Contact) -> None:
        """Another node has it under a key."""
        publication.held |= 1 << key_index
        publication.holders.add(holder.id)
        if publication.progress.is_held:
            self._not_held.pop(publication.carried.id, None)

    def _note(self, publication: _Publication, ended: Round, now: float) -> None:
        is_current = self._publications.get(publication.carried.id) is publication
        if not is_current or not self._is_alive(publication, now):
            self._stop_retrying(publication)
            return
        publication.unheld -= ended.handings.keys()
        publication.unheld.update(ended.unheld)
        if publication.unheld:
            if publication.retry is None:
                pause_s = TRY_AGAIN_S[min(publication.tries, len(TRY_AGAIN_S) - 1)]
                publication.tries += 1
                publication.to_all |= ended.to_all
                self._retry_in(publication, pause_s, now, attempt=ended.attempt)
        else:
            self._stop_retrying(publication)
            publication.tries = 0
            if ended.has_tried_all:
                self._unspread.pop(publication.carried.id, None)

    def _is_alive(self, publication: _Publication, now: float) -> bool:
        return publication.carried.expires_at > self._unix_s(now)

    def _retry_in(
        self, publication: _Publication, pause_s: float, now: float, *, attempt: int = 0
    ) -> None:
        """Hand it over once more, after a pause, under the keys of which no holder has answered."""

        def again(at: float) -> None:
            self._stop_retrying(publication)
            key_indices, publication.unheld = sorted(publication.unheld), set()
            if self._is_alive(publication, at):
                self._begin(publication, key_indices, attempt, at, to_all=publication.to_all)

        publication.retry = self._timers.start(now + pause_s, again)
        publication.retry_at = now + pause_s
        self._retrying[publication.carried.id] = publication

    def _stop_retrying(self, publication: _Publication) -> None:
        if publication.retry is not None:
            publication.retry.cancel()
            publication.retry = None
            self._retrying.pop(publication.carried.id, None)

"""The part of a publisher: hand a packet to one live holder of each key, and again while it lives.

Holders are remembered, so that a second publication under known keys needs no lookup. Each new
publication of a packet starts at the next holder: this brings a packet to all of them, which keep
it for those that come later, and reaches what a bad first holder left out. Holders name nodes that
have turned up closer to the key; those are handed the packet too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qis.overlay.finder import Finder
from qis.overlay.ids import rendezvous_id
from qis.overlay.links import Links
from qis.overlay.messages import Known, Publish, Published
from qis.overlay.record import Contact
from qis.overlay.retained import Carried
from qis.overlay.subscriber import HOLDERS, REFRESH_S
from qis.overlay.timers import Timers

REPEAT_AFTER_S: Final = (30.0, 600.0, 3_600.0)
"""When a packet is published again; the last pause repeats while it lives."""
PUBLICATIONS_LIMIT: Final = 4_096
"""Own packets that are published again; the oldest is then left to its holders."""
REMEMBERED_KEYS_LIMIT: Final = 4_096
"""Keys whose holders are remembered; the oldest goes first."""
HOLDERS_KNOWN_S: Final = 1_200.0
"""How long remembered holders are used before they are looked up again."""


@dataclass(slots=True)
class _Publication:
    """A packet of this node, and for each of its keys the holders that have acknowledged it."""

    carried: Carried
    kept_by: list[set[int]]


@dataclass(slots=True)
class _Handing:
    """One packet on its way under one key; to all holders, or until a mature one has it."""

    publication: _Publication
    place: int
    salt: int
    holders: list[Contact]
    to_all: bool
    next: int = 0
    known: Known = field(default_factory=Known)


class Publisher:
    """Publishes one node's packets."""

    def __init__(
        self,
        *,
        finder: Finder,
        links: Links,
        timers: Timers,
        hold_here: Callable[[Publish, float], Published | None],
        salt: bytes,
        holders: int = HOLDERS,
    ) -> None:
        self.sent = 0
        self._finder = finder
        self._links = links
        self._timers = timers
        self._hold_here = hold_here
        self._salt = salt
        self._holders = holders
        self._known: dict[bytes, tuple[float, list[Contact]]] = {}
        self._publications: dict[bytes, _Publication] = {}
        self._under_way = 0

    @property
    def is_idle(self) -> bool:
        """Whether all that was published has been handed over, as far as holders answer."""
        return not self._under_way

    def publish(self, carried: Carried, now: float) -> None:
        """Hand a packet to the network, now and again while it lives."""
        publication = _Publication(carried, [set() for _ in carried.keys])
        self._publications[carried.id] = publication
        if len(self._publications) > PUBLICATIONS_LIMIT:
            del self._publications[next(iter(self._publications))]
        self._publish(publication, 0, now)

    def spread(self, now: float) -> None:
        """Hand all that lives to all of its holders, so that this node may go."""
        for publication in self._live(now):
            for place, kept_by in enumerate(publication.kept_by):
                if len(kept_by) < self._holders:
                    self._publish_under(publication, place, 0, now, to_all=True)

    def _live(self, now: float) -> list[_Publication]:
        return [p for p in self._publications.values() if p.carried.expires_at > now]

    def _publish(self, publication: _Publication, salt: int, now: float) -> None:
        carried = publication.carried
        if self._publications.get(carried.id) is not publication or carried.expires_at <= now:
            self._publications.pop(carried.id, None)
            return
        pause_s = REPEAT_AFTER_S[min(salt, len(REPEAT_AFTER_S) - 1)]
        following = (salt + 1) % 256
        self._timers.start(now + pause_s, lambda at: self._publish(publication, following, at))
        for place in range(len(carried.keys)):
            self._publish_under(publication, place, salt, now, to_all=False)

    def _publish_under(
        self, publication: _Publication, place: int, salt: int, now: float, *, to_all: bool
    ) -> None:
        key = publication.carried.keys[place]
        self._under_way += 1

        def then(found: list[Contact], at: float) -> None:
            holders = found[: self._holders]
            self._known.pop(key, None)
            self._known[key] = (at + HOLDERS_KNOWN_S, holders)
            if len(self._known) > REMEMBERED_KEYS_LIMIT:
                del self._known[next(iter(self._known))]
            begin(holders, at)

        def begin(holders: list[Contact], at: float) -> None:
            first = salt % len(holders)
            order = holders[first:] + holders[:first]
            self._hand(_Handing(publication, place, salt, order, to_all), at)

        known_until, holders = self._known.get(key, (0.0, []))
        if known_until > now and holders:
            begin(holders, now)
        else:
            target = rendezvous_id(key, self._salt)
            self._finder.find(target, width=self._holders, now=now, then=then)

    def _hand(self, handing: _Handing, now: float) -> None:
        """Try the next holder, if one is left."""
        if handing.next >= len(handing.holders):
            self._under_way -= 1
            return
        contact = handing.holders[handing.next]
        handing.next += 1
        carried = handing.publication.carried
        is_here = contact.id == self._finder.own.id

        def build(request: bytes, token: bytes) -> Publish:
            return Publish(
                request=request,
                token=token,
                salt=handing.salt,
                hops=0 if is_here else 1,
                place=handing.place,
                known=handing.known,
                keys=carried.keys,
                packet=carried.packet,
            )

        def on_answer(answer: Published, at: float) -> None:
            handing.publication.kept_by[handing.place].add(contact.id)
            self._take_news(handing, answer)
            # What only this node keeps is gone when it goes.
            if handing.to_all or is_here or answer.news or answer.age_s < REFRESH_S:
                handing.known = answer.known
                self._hand(handing, at)
            else:
                self._under_way -= 1

        def on_silence(at: float) -> None:
            self._known.pop(carried.keys[handing.place], None)
            self._hand(handing, at)

        if is_here:
            answer = self._hold_here(build(bytes(8), bytes(16)), now)
            if answer is None:
                self._hand(handing, now)
            else:
                on_answer(answer, now)
            return
        self.sent += 1
        self._links.ask(
            build,
            contact.record,
            now,
            expects=Published,
            on_answer=on_answer,
            on_silence=on_silence,
        )

    def _take_news(self, handing: _Handing, answer: Published) -> None:
        """Go on with nodes that the holder knows to be closer than one of the holders."""
        key = handing.publication.carried.keys[handing.place]
        target = rendezvous_id(key, self._salt)
        for contact in map(self._finder.contact, answer.news):
            if contact is None or contact in handing.holders:
                continue
            ranked = sorted([*handing.holders, contact], key=lambda node: node.id ^ target)
            if contact in ranked[: self._holders]:
                handing.holders.append(contact)
                self._known.pop(key, None)

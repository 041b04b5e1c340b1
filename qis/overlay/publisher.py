"""The part of a publisher: hand a packet to one live holder of each key, and again while it lives.

A node that is asked to hold several of the packet's keys is asked once for all of them. Holders are
remembered, so that a second publication under known keys needs no lookup. Each new publication of a
packet starts at the next holder: this brings a packet to all of them, which keep it for those that
come later, and reaches what a bad first holder left out. Holders name nodes that have turned up
closer to a key; those are handed the packet too.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from qis.overlay.finder import Finder
from qis.overlay.ids import rendezvous_id
from qis.overlay.links import Links
from qis.overlay.messages import Known, Publish, Published
from qis.overlay.record import Contact
from qis.overlay.retained import Carried
from qis.overlay.subscriber import HOLDERS, REFRESH_S
from qis.overlay.timers import Timer, Timers

REPEAT_AFTER_S: Final = (30.0, 600.0, 3_600.0)
"""When a packet is published again; the last pause repeats while it lives."""
PUBLICATIONS_LIMIT: Final = 4_096
"""Own packets that are published again; the oldest is then left to its holders."""
REMEMBERED_KEYS_LIMIT: Final = 4_096
"""Keys whose holders are remembered; the oldest goes first."""
SHARE_GROUPED: Final = 0.3
"""A holder of more than this share of a packet's keys is asked for all of them first."""
HOLDERS_KNOWN_S: Final = 1_200.0
"""How long remembered holders are used before they are looked up again."""


@dataclass(slots=True)
class _Publication:
    """A packet of this node, and what is under way of it."""

    carried: Carried
    rounds: "list[_Round]" = field(default_factory=list)
    again: Timer | None = None


@dataclass(slots=True)
class _Handing:
    """One packet under one key: whom it is handed to, in order."""

    holders: list[Contact] = field(default_factory=list)
    next: int = 0
    known: Known = field(default_factory=Known)


@dataclass(slots=True)
class _Round:
    """One publication of a packet; `handings` by the place of the key among the packet's."""

    publication: _Publication
    salt: int
    to_all: bool
    handings: dict[int, _Handing]
    looked_up: int = 0
    asked: int = 0

    def order_holders(self) -> None:
        """Begin each publication at the next holder; the first one where most keys share holders.

        So a packet costs few messages where there are few nodes. Where there are more, keys that
        begin at one holder could both be chosen for a subscriber, and one bad node would do.
        Repetitions begin elsewhere, or a holder of many keys that drops them would come first.
        """
        held = Counter(contact for each in self.handings.values() for contact in each.holders)
        count = {c: n if n > len(self.handings) * SHARE_GROUPED else 0 for c, n in held.items()}
        for handing in self.handings.values():
            first = self.salt % len(handing.holders)
            handing.holders = handing.holders[first:] + handing.holders[:first]
            if not self.salt:
                handing.holders.sort(key=lambda c: (-count[c], c.id if count[c] else 0))


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
        self._unspread: dict[bytes, _Publication] = {}
        self._under_way = 0

    @property
    def is_idle(self) -> bool:
        """Whether all that was published has been handed over, as far as holders answer."""
        return not self._under_way

    def publish(self, carried: Carried, now: float) -> None:
        """Hand a packet to the network, now and again while it lives."""
        publication = _Publication(carried)
        self._publications[carried.id] = publication
        if len(self._publications) > PUBLICATIONS_LIMIT:
            oldest = next(iter(self._publications))
            again = self._publications.pop(oldest).again
            if again is not None:  # which would keep the packet for up to an hour
                again.cancel()
            self._unspread.pop(oldest, None)
        self._unspread[carried.id] = publication
        self._publish(publication, 0, now)

    def spread(self, now: float) -> None:
        """Hand all that lives to all of its holders, so that this node may go."""
        for publication in list(self._unspread.values()):
            for current in publication.rounds:
                current.to_all = True
            if not publication.rounds and publication.carried.expires_at > now:
                places = range(len(publication.carried.keys))
                self._begin(publication, places, 0, now, to_all=True)

    def _publish(self, publication: _Publication, salt: int, now: float) -> None:
        carried = publication.carried
        if self._publications.get(carried.id) is not publication or carried.expires_at <= now:
            if self._publications.get(carried.id) is publication:
                del self._publications[carried.id]
                self._unspread.pop(carried.id, None)
            return
        pause_s = REPEAT_AFTER_S[min(salt, len(REPEAT_AFTER_S) - 1)]
        following = (salt + 1) % 256
        publication.again = self._timers.start(
            now + pause_s, lambda at: self._publish(publication, following, at)
        )
        self._begin(publication, range(len(carried.keys)), salt, now, to_all=False)

    def _begin(
        self,
        publication: _Publication,
        places: Iterable[int],
        salt: int,
        now: float,
        *,
        to_all: bool,
    ) -> None:
        """Find the holders of each key, then hand the packet to the first of each."""
        current = _Round(publication, salt, to_all, {place: _Handing() for place in places})
        self._under_way += 1
        publication.rounds.append(current)
        for place in current.handings:
            self._find(current, place, publication.carried.keys[place], now)

    def _find(self, current: _Round, place: int, key: bytes, now: float) -> None:
        def then(found: list[Contact], at: float) -> None:
            holders = found[: self._holders]
            self._known.pop(key, None)
            self._known[key] = (at + HOLDERS_KNOWN_S, holders)
            if len(self._known) > REMEMBERED_KEYS_LIMIT:
                del self._known[next(iter(self._known))]
            found_holders(holders, at)

        def found_holders(holders: list[Contact], at: float) -> None:
            current.handings[place].holders = list(holders)
            current.looked_up += 1
            if current.looked_up == len(current.handings):
                current.order_holders()
                self._go_on(current, list(current.handings), at)

        known_until, holders = self._known.get(key, (0.0, []))
        if known_until > now and holders:
            found_holders(holders, now)
        else:
            target = rendezvous_id(key, self._salt)
            self._finder.find(target, width=self._holders, now=now, then=then)

    def _go_on(self, current: _Round, places: list[int], now: float) -> None:
        """Hand the packet to the next holder of each of these keys, as far as there is one."""
        groups: defaultdict[Contact, list[int]] = defaultdict(list)
        for place in places:
            handing = current.handings[place]
            if handing.next < len(handing.holders):
                groups[handing.holders[handing.next]].append(place)
                handing.next += 1
        size = Publish.places_limit(len(current.handings))
        requests = [
            (contact, group[start : start + size])
            for contact, group in groups.items()
            for start in range(0, len(group), size)
        ]
        current.asked += len(requests)
        for contact, group in requests:
            self._ask(current, contact, group, now)
        if not current.asked and not requests:
            self._under_way -= 1
            current.publication.rounds.remove(current)
            if all(each.next >= len(each.holders) for each in current.handings.values()):
                self._unspread.pop(current.publication.carried.id, None)

    def _ask(self, current: _Round, contact: Contact, places: list[int], now: float) -> None:
        carried = current.publication.carried
        is_here = contact.id == self._finder.own.id
        known = tuple(current.handings[place].known for place in places)

        def build(request: bytes, token: bytes) -> Publish:
            return Publish(
                request=request,
                token=token,
                salt=current.salt,
                hops=0 if is_here else 1,
                places=sum(1 << place for place in places),
                keys=carried.keys,
                packet=carried.packet,
                known=known if any(entry.count for entry in known) else (),
            )

        def on_answer(answer: Published, at: float) -> None:
            current.asked -= 1
            self._go_on(current, self._heard(current, contact, places, answer), at)

        def on_silence(at: float) -> None:
            current.asked -= 1
            for place in places:
                self._known.pop(carried.keys[place], None)
            self._go_on(current, places, at)

        if is_here:
            answer = self._hold_here(build(bytes(8), bytes(16)), now)
            if answer is None:
                on_silence(now)
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

    def _heard(
        self, current: _Round, contact: Contact, places: list[int], answer: Published
    ) -> list[int]:
        """The places that have to go on to their next holder."""
        if len(answer.known) != len(places):  # not what was asked: as good as no answer
            return places
        is_here = contact.id == self._finder.own.id
        named = [found for found in map(self._finder.contact, answer.news) if found is not None]
        going_on = []
        for place, known in zip(places, answer.known, strict=True):
            has_news = self._take_news(current, place, named)
            # What only this node keeps is gone when it goes.
            if current.to_all or is_here or has_news or known.age_s < REFRESH_S:
                current.handings[place].known = known
                going_on.append(place)
        return going_on

    def _take_news(self, current: _Round, place: int, named: list[Contact]) -> bool:
        """Whether a holder has named a node that is closer to the key than one of the holders."""
        key = current.publication.carried.keys[place]
        handing = current.handings[place]
        has_news = False
        for contact in named:
            if contact in handing.holders:
                continue
            target = rendezvous_id(key, self._salt)
            ranked = sorted([*handing.holders, contact], key=lambda node: node.id ^ target)
            if contact in ranked[: self._holders]:
                handing.holders.append(contact)
                self._known.pop(key, None)
                has_news = True
        return has_news

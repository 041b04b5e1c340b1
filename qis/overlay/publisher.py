"""The part of a publisher: hand a packet to one live holder of each key, and again while it lives.

Holders are remembered, so that a second publication under known keys needs no lookup. Each new
publication of a packet starts at the next holder: this brings a packet to all of them, which keep
it for those that come later, and reaches what a bad first holder left out.
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
class _Handing:
    """One packet on its way under one key."""

    carried: Carried
    place: int
    salt: int
    holders: list[Contact]
    next: int = 0
    left: int = 0
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
        self._publications: dict[bytes, Carried] = {}

    def publish(self, carried: Carried, now: float) -> None:
        """Hand a packet to the network, now and again while it lives."""
        self._publications[carried.id] = carried
        if len(self._publications) > PUBLICATIONS_LIMIT:
            del self._publications[next(iter(self._publications))]
        self._publish(carried, 0, now)

    def _publish(self, carried: Carried, salt: int, now: float) -> None:
        if carried.id not in self._publications or carried.expires_at <= now:
            self._publications.pop(carried.id, None)
            return
        pause_s = REPEAT_AFTER_S[min(salt, len(REPEAT_AFTER_S) - 1)]
        self._timers.start(now + pause_s, lambda at: self._publish(carried, (salt + 1) % 256, at))
        for place, key in enumerate(carried.keys):
            self._publish_under(carried, place, key, salt, now)

    def _publish_under(
        self, carried: Carried, place: int, key: bytes, salt: int, now: float
    ) -> None:
        def then(found: list[Contact], at: float) -> None:
            holders = found[: self._holders]
            self._known.pop(key, None)
            self._known[key] = (at + HOLDERS_KNOWN_S, holders)
            if len(self._known) > REMEMBERED_KEYS_LIMIT:
                del self._known[next(iter(self._known))]
            self._begin(carried, place, salt, holders, at)

        known_until, holders = self._known.get(key, (0.0, []))
        if known_until > now and holders:
            self._begin(carried, place, salt, holders, now)
        else:
            target = rendezvous_id(key, self._salt)
            self._finder.find(target, width=self._holders, now=now, then=then)

    def _begin(
        self, carried: Carried, place: int, salt: int, holders: list[Contact], now: float
    ) -> None:
        first = salt % len(holders)
        order = holders[first:] + holders[:first]
        self._hand(_Handing(carried, place, salt, order, left=len(order)), now)

    def _hand(self, handing: _Handing, now: float) -> None:
        """Try the next holder, if one is left."""
        if handing.next >= len(handing.holders):
            return
        contact = handing.holders[handing.next]
        handing.next += 1
        carried = handing.carried

        def build(request: bytes, token: bytes) -> Publish:
            return Publish(
                request=request,
                token=token,
                salt=handing.salt,
                hops=1,
                place=handing.place,
                known=handing.known,
                keys=carried.keys,
                packet=carried.packet,
            )

        def on_answer(answer: Published, at: float) -> None:
            if answer.age_s < REFRESH_S:
                handing.known = answer.known
                self._hand(handing, at)

        def on_silence(at: float) -> None:
            self._known.pop(carried.keys[handing.place], None)
            self._hand(handing, at)

        if contact.id == self._finder.own.id:
            answer = self._hold_here(build(bytes(8), bytes(16)), now)
            if answer is not None:
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

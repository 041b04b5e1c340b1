"""The one gate between a network and its subscribers: verify once, then match.

Cheapest checks first; a packet's id enters the memory of what was seen only after its signature
has verified, or anyone could make us ignore a packet that is still to come.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum

from qis.about import Interest
from qis.errors import PeerError, RoutingKeysError, SchemeMismatchError, UntrustedIssuerError
from qis.evidence.roster import Roster
from qis.identity import Issuer
from qis.overlay.subscription import Wanted, wanted_of
from qis.packet import Packet, content_id, issuer_key, screen
from qis.transport._held import Held, HeldPackets
from qis.transport.base import Delivery, Statistics

INBOX_LIMIT = 4_096
"""Deliveries that wait in one subscription; more are dropped and counted."""


class Verdict(Enum):
    """What became of an arrival."""

    ACCEPTED = "new, verified, and given to whoever wants it"
    DUPLICATE = "seen before"
    REFUSED = "not a packet to be used"
    FULL = "no room to keep it; it may come again"


class Inbox:
    """One subscription's deliveries; an async iterator that ends when the transport closes."""

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self._waiting: asyncio.Queue[Delivery | None] = asyncio.Queue(INBOX_LIMIT + 1)

    @property
    def is_full(self) -> bool:
        """Whether another delivery would have to be dropped."""
        return self._waiting.qsize() >= INBOX_LIMIT

    def put(self, delivery: Delivery) -> None:
        """Add a delivery; the caller has checked that there is room."""
        self._waiting.put_nowait(delivery)

    def close(self) -> None:
        """End the iteration after what is waiting."""
        if not self._waiting.full():  # the place kept free for this; a second close needs none
            self._waiting.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        delivery = await self._waiting.get()
        if delivery is None:
            self._waiting.put_nowait(None)
            raise StopAsyncIteration
        return delivery


class Reception:
    """Decides about every arrival of one node, and holds what has verified.

    Holding serves three needs at once: a packet that comes again is recognised, a subscription
    that opens later gets what came before it, and other nodes can be offered what they missed.
    """

    def __init__(
        self,
        roster: Roster,
        statistics: Statistics,
        *,
        parse: Callable[[bytes], Packet] = Packet.parse,
    ) -> None:
        self.roster = roster
        self._parse = parse
        self._statistics = statistics
        self._held = HeldPackets()
        self._inboxes: list[Inbox] = []

    @property
    def interests(self) -> tuple[Interest, ...]:
        """The interests that are registered now."""
        return tuple(inbox.interest for inbox in self._inboxes)

    def wanted_keys(self) -> frozenset[bytes]:
        """All routing keys and study ids that are registered now."""
        return frozenset(key for interest in self.interests for key in interest.all_keys)

    def wanted(self) -> Wanted:
        """The same keys, and which packets under each: those near to one of the sketches."""
        return wanted_of(self.interests)

    def accepts(self, issuer: Issuer) -> bool:
        """Whether the roster lists an issuer now."""
        return self.roster.accepts(issuer)

    def hold(self, packet: Packet, keys: tuple[bytes, ...], *, hops: int = 0) -> None:
        """Keep a packet that was signed here or has verified."""
        self._held.put(Held(packet, keys, hops))

    @contextmanager
    def inbox(self, interest: Interest, *, now: float) -> Iterator[Inbox]:
        """An inbox for an interest, as long as the context lasts; begins with what is held."""
        inbox = Inbox(interest)
        for held in self._held.live(now):
            if held.hops and self._wants(interest, held.packet, held.keys) and not inbox.is_full:
                self._deliver(inbox, held, now)
        self._inboxes.append(inbox)
        try:
            yield inbox
        finally:
            self._inboxes.remove(inbox)

    def close(self) -> None:
        """End all subscriptions."""
        for inbox in self._inboxes:
            inbox.close()

    def receive(
        self, data: bytes, routing_keys: Iterable[bytes], *, hops: int, now: float
    ) -> Verdict:
        """Check an arrival and deliver it. Never raises, whatever the bytes."""
        keys = tuple(routing_keys)
        try:
            data = screen(data, now=now)
            if content_id(data) in self._held:
                self._statistics.duplicates += 1
                return Verdict.DUPLICATE
            if not self.accepts(Issuer(issuer_key(data))):
                raise UntrustedIssuerError("the roster does not list the issuer", field="issuer")
            packet = self._parse(data)
            if not packet.travels_under(keys):
                raise RoutingKeysError("not the routing keys that the issuer signed", field="keys")
        except PeerError as error:
            self._statistics.refused[type(error).__name__] += 1
            return Verdict.REFUSED
        wanted = [inbox for inbox in self._inboxes if self._wants(inbox.interest, packet, keys)]
        if any(inbox.is_full for inbox in wanted):
            self._statistics.dropped += 1
            return Verdict.FULL
        self.hold(packet, keys, hops=hops)
        if not wanted:
            self._statistics.unmatched += 1
        for inbox in wanted:
            self._deliver(inbox, Held(packet, keys, hops), now)
        return Verdict.ACCEPTED

    def _deliver(self, inbox: Inbox, held: Held, now: float) -> None:
        inbox.put(Delivery(packet=held.packet, hops=held.hops, received_at=now))
        self._statistics.delivered += 1
        self._statistics.hops[held.hops] += 1

    def _wants(self, interest: Interest, packet: Packet, keys: Iterable[bytes]) -> bool:
        try:
            return interest.matches(packet.fingerprint, packet.outcome.study_id, keys)
        except SchemeMismatchError as error:
            self._statistics.refused[type(error).__name__] += 1
            return False

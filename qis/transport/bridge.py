"""Two networks joined: what is published on one side is published on the other.

No loop can form: a packet that went through is known by its id and goes no further, and each side
gives nobody what is their own. Of one piece of evidence nothing older follows something newer,
since a stream keeps what came last.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from qis._clock import SYSTEM
from qis._guard import Backoff, Guard, SetAside
from qis.about import Fingerprint, Interest, next_change
from qis.errors import InputError, TransportError
from qis.evidence.roster import Roster
from qis.health import Notices
from qis.overlay.lru_cache import LruCache
from qis.transport._topic import topic_of
from qis.transport.base import Delivery, Transport

KNOWN_LIMIT: Final = 65_536
"""Packets, and pieces of evidence, that are remembered; what is forgotten may go through again."""
CONFIRM_S: Final = 1.0
"""Seconds between two looks at whether what went through is held."""


class _Everything(Interest):
    """An interest that every packet matches, for networks that show every packet."""

    __slots__ = ()

    def matches(
        self,
        fingerprint: Fingerprint,  # noqa: ARG002
        study: bytes,  # noqa: ARG002
        routing_keys: Iterable[bytes] | None,  # noqa: ARG002
    ) -> bool:
        """Want all of them."""
        return True


EVERYTHING: Final = _Everything(Fingerprint(bytes(32), bytes(8)), (), 0.0)
"""What a bridge wants of a stream or a folder; over UDP nobody can ask for everything."""


class Bridge:
    """What goes through a bridge, and how much.

    Parameters
    ----------
    sides
        The two transports, open.
    roster
        Whose packets go through.
    interests
        What is wanted of each side.

    """

    def __init__(
        self, sides: Sequence[Transport], roster: Roster, interests: Sequence[Interest]
    ) -> None:
        self._sides = sides
        self._roster = roster
        self._interests = interests
        self.notices = Notices(logging.getLogger("qis.bridge"))
        self._guard = Guard(self.notices)
        self._clock = SYSTEM
        self._known: LruCache[bytes, None] = LruCache(KNOWN_LIMIT)
        self._newest: LruCache[bytes, int] = LruCache(KNOWN_LIMIT)
        self.carried = [0, 0]
        """Packets carried from the first to the second, and from the second to the first."""
        self.refused = 0
        """Packets that the roster does not accept."""

    async def run(self) -> None:
        """Carry packets both ways until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for side in (0, 1):
                for number, interest in enumerate(self._interests, start=1):
                    tasks.create_task(self._follow(side, interest, f"interest-{number}"))

    async def _follow(self, side: int, interest: Interest, name: str) -> None:
        backoff = Backoff()
        while True:
            with self._guard.item("bridge.following"):
                limit = asyncio.timeout(self._keys_last_s(interest))
                try:
                    async with limit:
                        await self._subscribed(side, interest, name, backoff)
                except TimeoutError:
                    if limit.expired():  # its routing keys are over: subscribe with new ones
                        continue
                    raise
                raise TransportError("a transport has ended the bridge's subscription")
            await asyncio.sleep(backoff.failed())

    def _keys_last_s(self, interest: Interest) -> float | None:
        """Return for how many seconds an interest's routing keys are right; `None`: for ever."""
        if interest.keys_of_epoch is None:
            return None
        now = self._clock.wall()
        return next_change(now) - now

    async def _subscribed(self, side: int, interest: Interest, name: str, backoff: Backoff) -> None:
        source, dated = self._sides[side], interest.at(self._clock.wall())
        async with source.subscribe(dated, name=name, memory=b"bridge") as deliveries:
            under_way = _Carrying()
            confirming = asyncio.create_task(self._confirm(side, under_way))
            try:
                async for delivery in deliveries:
                    await self._try(side, delivery, under_way)
                    backoff.succeeded()
            finally:
                confirming.cancel()
                await asyncio.wait([confirming])

    async def _try(self, side: int, delivery: Delivery, under_way: "_Carrying") -> None:
        """Carry a packet; one that fails is tried again, ever later, and holds nothing else up."""
        packet_id = delivery.packet.id
        with self._guard.item("bridge.carrying") as item:
            await self._carry(side, delivery, under_way)
        if item.failed:
            under_way.failed[packet_id] = delivery
            under_way.set_aside.failed(packet_id, asyncio.get_running_loop().time())
        else:
            under_way.failed.pop(packet_id, None)
            under_way.set_aside.done(packet_id)

    async def _carry(self, side: int, delivery: Delivery, under_way: "_Carrying") -> None:
        packet = delivery.packet
        if not self._roster.accepts(packet.issuer):
            self.refused += 1
            self.notices.tell(
                "refusal",
                f"UntrustedIssuerError: {packet.issuer}",
                "a packet is not carried: the bridge's roster does not list its issuer",
            )
            await delivery.done()
            return
        if not packet.travels_under(delivery.routing_keys):
            self.refused += 1
            self.notices.tell(
                "refusal",
                f"RoutingKeysError: {packet.issuer}",
                "a packet is not carried: it comes from a network in direct mode, where routing "
                "keys do not travel, and was signed for more keys than its study's; publish it on "
                "both sides, or sign it with routing_keys=()",
            )
            await delivery.done()
            return
        topic = topic_of(packet)
        newest = self._newest.get(topic)
        if packet.id in self._known or (newest is not None and newest > packet.sequence):
            await delivery.done()
            return
        self._newest.put(topic, packet.sequence)
        backoff = Backoff()
        while True:  # what cannot go out waits here, and is not done on the other side
            try:
                await self._sides[1 - side].publish(packet, delivery.routing_keys)
                break
            except InputError:
                raise
            except TransportError as error:
                self.notices.tell("health", "bridge_waits", f"a packet waits: {error}")
                await asyncio.sleep(backoff.failed())
        self._known.put(packet.id, None)
        self.carried[side] += 1
        under_way.unheld[packet.id] = delivery

    async def _confirm(self, side: int, under_way: "_Carrying") -> None:
        while True:
            await asyncio.sleep(CONFIRM_S)
            with self._guard.item("bridge.confirming"), suppress(TransportError):
                await self._look(self._sides[1 - side], under_way.unheld)
            for packet_id in under_way.set_aside.due(asyncio.get_running_loop().time()):
                await self._try(side, under_way.failed[packet_id], under_way)

    async def _look(self, target: Transport, unheld: dict[bytes, Delivery]) -> None:
        """Say that packets are done once the other side holds them."""
        if unheld:
            await target.flush(CONFIRM_S)
        for packet_id in list(unheld):
            if target.holding(packet_id).is_held:
                await unheld[packet_id].done()
                del unheld[packet_id]


class _Carrying:
    """What one subscription of a bridge has brought, and that is not done."""

    __slots__ = ("failed", "set_aside", "unheld")

    def __init__(self) -> None:
        self.unheld: dict[bytes, Delivery] = {}
        self.failed: dict[bytes, Delivery] = {}
        self.set_aside: SetAside[bytes] = SetAside()


@asynccontextmanager
async def bridge(
    a: Transport, b: Transport, *, roster: Roster, interests: Iterable[Interest] = ()
) -> AsyncIterator[Bridge]:
    """Carry packets between two networks while the context lasts.

    The bridge is a node of both, with keys of its own, and reads what it carries. On a NATS server
    its account has to be allowed to publish under every site's key; over UDP it keeps repeating
    what it carried, so it should stay.

    Parameters
    ----------
    a, b
        The two transports, opened and closed by the caller.
    roster
        Whose packets go through.
    interests
        What is carried. Empty: everything, which only streams and folders can show.

    Raises
    ------
    InputError
        If no interests are given and one of the two does not show everything, or both are one.

    """
    if a is b:
        raise InputError("a bridge joins two transports, and these are one", field="b")
    wanted = tuple(interests) or (EVERYTHING,)
    for side in (a, b):
        if wanted == (EVERYTHING,) and not side.shows_everything:
            raise InputError(
                f"{type(side).__name__} delivers what is asked for: say with interests= what to "
                "carry",
                field="interests",
            )
    made = Bridge((a, b), roster, wanted)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.wait([running])

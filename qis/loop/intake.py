"""Takes packets in: from all interests into one queue, and from there in batches into the store."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from itertools import count
from typing import Final

from qis._guard import Backoff, SetAside, is_stray
from qis.about import Interest
from qis.errors import InputError, TransportError
from qis.evidence import Admission, EvidenceStore
from qis.health import Condition, HealthState, Notices
from qis.loop.clock_watch import LOOK_S
from qis.loop.events import Announcer
from qis.loop.journal import Journal
from qis.loop.matches import Matches
from qis.outcomes import UnknownOutcome
from qis.packet import Packet
from qis.transport import Delivery, Transport

WAITING_LIMIT: Final = 1_024
"""Most packets that wait for the store; beyond that they stay in the transport's inbox."""
BATCH: Final = 512
"""Most packets that are stored in one transaction, before other tasks run."""
COPIES_LIMIT: Final = 16
"""Deliveries of one packet that are acknowledged once it is stored; it may come again meanwhile."""
BUSY: Final = 16
"""A batch of so many packets shows that more are coming, so that waiting for them pays."""
GATHER_S: Final = 0.05
"""Seconds for which the next batch then gathers: a transaction costs as much as many packets."""


Arrivals = list[tuple[Packet, Admission]]
"""Packets, each with the store's verdict."""


class Intake:
    """Subscribes to interests and stores what arrives.

    Parameters
    ----------
    transport, store, journal, announcer
        The other parts of the loop.
    arrived
        Called with every packet before it is stored.
    arriving
        Called with each batch before it is stored; what it raises keeps the batch out.
    changed
        Called with the id of each study whose evidence may have changed.
    condition
        The loop's health, which shows that packets cannot be stored or recorded.
    clock
        Gives Unix seconds.

    """

    def __init__(
        self,
        transport: Transport,
        store: EvidenceStore,
        *,
        journal: Journal,
        announcer: Announcer,
        arrived: Callable[[Packet], None],
        arriving: Callable[[Sequence[Packet]], None],
        changed: Callable[[bytes], None],
        condition: Condition,
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._store = store
        self._journal = journal
        self._announcer = announcer
        self._arrived = arrived
        self._arriving = arriving
        self._changed = changed
        self._clock = clock
        self._notices = Notices(logging.getLogger("qis.evidence"))
        self._notices.listen(announcer.relay)
        self._guard = announcer.guard
        self._waiting: deque[Packet] = deque()
        self._undone: dict[bytes, deque[Delivery]] = {}
        self._set_aside: SetAside[Packet] = SetAside()
        self._condition = condition
        self.matches = Matches(self._notices)
        self._has_some, self._has_room = asyncio.Event(), asyncio.Event()
        self._followers: dict[Interest, asyncio.Task[None]] = {}
        self._names: dict[Interest, str] = {}
        self._registered: dict[Interest, Interest] = {}

    async def watch(self, interest: Interest) -> None:
        """Subscribe to an interest, which is registered when this returns."""
        if interest in self._followers:
            raise InputError("this interest is watched already", field="interest")
        registered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        taken = {self._names[each] for each in self._followers}
        self._names[interest] = next(
            name for number in count(1) if (name := f"interest-{number}") not in taken
        )
        follower = asyncio.create_task(self._follow(interest, registered))
        self._followers[interest] = follower
        try:
            await registered
        except BaseException:
            del self._followers[interest]
            follower.cancel()
            raise

    async def renew(self) -> None:
        """Register the routing keys of today for each interest whose keys follow the date.

        The new ones before the old ones are let go, so that nothing passes in between; where a
        subscription has a name, it goes on under the new ones, from where it was.
        """
        for interest, former in list(self._followers.items()):
            keys = self._registered.get(interest)
            if keys in (None, interest.at(self._clock())):  # being registered just now, or current
                continue
            with self._guard.item("loop.renewal") as item:
                registered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                if self._transport.is_durable:
                    await _end(former)
                    registered.set_result(None)
                follower = asyncio.create_task(self._follow(interest, registered))
                await registered  # raises if it fails; then the former goes on
                if self._followers.get(interest) is former:
                    self._followers[interest] = follower
                    await _end(former)
                else:  # it was unwatched meanwhile
                    await _end(follower)
            if item.failed:  # so that the next look tries again
                self._registered[interest] = keys

    async def keep_renewing(self) -> None:
        """Renew when dates come, until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(LOOK_S)

    async def unwatch(self, interest: Interest) -> None:
        """End the subscription to an interest; packets that came stay."""
        follower = self._followers.pop(interest, None)
        if follower is None:
            raise InputError("this interest is not watched", field="interest")
        self._registered.pop(interest, None)
        await _end(follower)

    async def aclose(self) -> None:
        """End all subscriptions."""
        for interest in list(self._followers):
            await self.unwatch(interest)

    async def run(self) -> None:
        """Store what arrives, until cancelled.

        What the store cannot take is set aside and tried again. When too much is set aside, nothing
        more is taken from the transport, which acknowledges only what it has room for.
        """
        is_busy = False
        while True:
            if is_busy and len(self._waiting) < BATCH:
                await asyncio.sleep(GATHER_S)
            packets = await self._next()
            # Without a pause between store and record: the process may end in any pause.
            for arrivals in self._stored(packets):
                await self._recorded(arrivals)
                for packet, _ in arrivals:
                    await self._done(packet)
                self._tell(arrivals)
            is_busy = len(packets) >= BUSY
            await asyncio.sleep(0)

    async def _next(self) -> list[Packet]:
        """Wait for the packets to store next: those due for another try, else new ones."""
        while True:
            if due := self._set_aside.due(self._now_s()):
                return due[:BATCH]
            if self._waiting and len(self._set_aside) < WAITING_LIMIT:
                count = min(len(self._waiting), BATCH)
                packets = [self._waiting.popleft() for _ in range(count)]
                self._has_room.set()
                return packets
            self._has_some.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._set_aside.next_s()):
                    await self._has_some.wait()

    def _stored(self, packets: list[Packet]) -> Iterator[Arrivals]:
        """Store packets in one transaction or, if that fails, each alone; yields the verdicts."""
        with self._guard.item("loop.store") as item:
            for packet in packets:
                self._arrived(packet)
            self._arriving(packets)
            admissions = self._store.add_many(packets, now=self._clock())
            arrivals = list(zip(packets, admissions, strict=True))
        if not item.failed:
            for packet in packets:
                self._set_aside.done(packet)
            self._tell_health()
            yield arrivals
        elif len(packets) > 1 and not isinstance(item.error, OSError):
            for packet in packets:  # so that one packet's fault concerns no other
                yield from self._stored([packet])
        else:  # one packet alone, or a full disk, which would refuse each of them
            for packet in packets:
                self._put_aside(packet)
            self._tell_health()

    def _put_aside(self, packet: Packet) -> None:
        if packet.expires_at > self._clock():
            self._set_aside.failed(packet, self._now_s())
            return
        self._set_aside.done(packet)
        self._undone.pop(packet.id, None)  # it is not stored, and cannot be any more
        subject = f"unstored: {packet.issuer}"
        self._notices.tell("limit", subject, "a packet expired before it could be stored")

    def _tell_health(self) -> None:
        now, count = self._clock(), len(self._set_aside)
        if count:
            text = f"{count} packets that came in cannot be stored; see the event 'fault'"
            self._condition.set("unstored", HealthState.DEGRADED, text, now=now)
        else:
            self._condition.clear("unstored", now=now)

    async def _recorded(self, arrivals: Arrivals) -> None:
        """Record in the audit log what came in; while that fails, nothing more is taken in."""
        backoff = Backoff()
        while True:
            with self._guard.item("loop.audit") as item:
                self._journal.received(arrivals)
            now = self._clock()
            if not item.failed:
                self._condition.clear("unrecorded", now=now)
                return
            text = "the audit log cannot be written, so nothing is taken in and nothing leaves"
            self._condition.set("unrecorded", HealthState.DEGRADED, text, now=now)
            await asyncio.sleep(backoff.failed())

    def _tell(self, arrivals: Arrivals) -> None:
        statistics = self._announcer.statistics
        statistics.received += len(arrivals)
        statistics.admissions.update([admission.label for _, admission in arrivals])
        for study_id in {
            packet.outcome.study_id for packet, admission in arrivals if admission.changes_evidence
        }:
            self._changed(study_id)
        for packet, admission in arrivals:
            self._announcer.tell("received", packet=packet, reason=admission.label)
            if admission.changes_evidence:
                self.matches.add(packet)
                self._tell_unknown(packet)
            if admission is Admission.EQUIVOCATION:
                self._announcer.tell("equivocation", packet=packet, reason=str(packet.issuer))
            if not admission.kept:
                kind = "limit" if admission is Admission.EVICTED else "refusal"
                subject = f"{admission.label}: {packet.issuer}"
                self._notices.tell(kind, subject, f"not stored: {admission.sentence}")

    def _tell_unknown(self, packet: Packet) -> None:
        """Say that what came in is kept and not read, once for each kind."""
        if isinstance(packet.outcome, UnknownOutcome):
            kind = packet.outcome.kind
            text = (
                f"a packet of kind {kind}, which a newer version knows, is kept and passed on, and "
                "not read: what its site found does not count here until the library is updated"
            )
            self._notices.tell("limit", f"unknown kind {kind}", text)

    async def _follow(self, interest: Interest, registered: "asyncio.Future[None]") -> None:
        """Queue what a subscription yields; subscribe again if it ends or fails."""
        backoff = Backoff()
        while True:
            with self._guard.item("loop.subscription"):
                try:
                    async with self._subscribed(interest) as deliveries:
                        if not registered.done():
                            registered.set_result(None)
                        async for delivery in deliveries:
                            backoff.succeeded()
                            await self._take(delivery)
                except asyncio.CancelledError as error:
                    if not is_stray():
                        raise
                    ended = TransportError("the transport has cancelled a subscription")
                    if not registered.done():
                        registered.set_exception(ended)
                        return
                    raise ended from error
                except Exception as error:
                    if not registered.done():
                        registered.set_exception(error)
                        return
                    raise
                raise TransportError("the transport has ended a subscription")
            await asyncio.sleep(backoff.failed())

    def _subscribed(
        self, interest: Interest
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        name, interest = self._names[interest], self._dated(interest)
        if not self._transport.is_durable:
            return self._transport.subscribe(interest)
        return self._transport.subscribe(interest, name=name, memory=self._store.memory)

    def _dated(self, interest: Interest) -> Interest:
        """Return the interest with the routing keys of today, and note that they are registered."""
        dated = interest.at(self._clock())
        self._registered[interest] = dated
        return dated

    async def _take(self, delivery: Delivery) -> None:
        while len(self._waiting) >= WAITING_LIMIT:
            self._has_room.clear()
            await self._has_room.wait()
        copies = self._undone.setdefault(delivery.packet.id, deque(maxlen=COPIES_LIMIT))
        copies.append(delivery)
        self._waiting.append(delivery.packet)
        self._has_some.set()

    async def _done(self, packet: Packet) -> None:
        """Tell the network that a packet is in the store and in the audit log."""
        for delivery in self._undone.pop(packet.id, ()):
            with self._guard.item("loop.done"):  # then it comes again, and is a duplicate
                await delivery.done()

    def _now_s(self) -> float:
        """Seconds of a steady clock, which is never set."""
        return asyncio.get_running_loop().time()


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])

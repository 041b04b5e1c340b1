"""What comes in: several standing interests, one queue, and the store's verdict in batches."""

import asyncio
from collections.abc import Callable
from typing import Final

from qis.about import Interest
from qis.errors import InputError
from qis.evidence import Admission, EvidenceStore
from qis.loop.events import Announcer
from qis.loop.journal import Journal
from qis.packet import Packet
from qis.transport import Delivery, Transport

QUEUE_LIMIT: Final = 1_024
"""Deliveries that wait for the store; above that the transport's own inbox fills."""
BATCH: Final = 512
"""Deliveries taken in at one go, in one transaction, before others get their turn."""
BUSY: Final = 16
"""A batch of so many is a sign that more are coming."""
GATHER_S: Final = 0.05
"""How long the next batch then gathers: a transaction costs as much as many packets."""


class Intake:
    """Follows interests and takes in what they bring.

    Parameters
    ----------
    transport, store, journal, announcer
        The other parts of the loop.
    arrived
        Called with every packet, before the store has it.
    changed
        Called with the id of each study whose evidence may have changed.
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
        changed: Callable[[bytes], None],
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._store = store
        self._journal = journal
        self._announcer = announcer
        self._arrived = arrived
        self._changed = changed
        self._clock = clock
        self._queue: asyncio.Queue[Delivery | BaseException] = asyncio.Queue(QUEUE_LIMIT)
        self._followers: dict[Interest, asyncio.Task[None]] = {}

    async def watch(self, interest: Interest) -> None:
        """Follow an interest from now on; registered when this returns."""
        if interest in self._followers:
            raise InputError("this interest is watched already", field="interest")
        registered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        follower = asyncio.create_task(self._follow(interest, registered))
        self._followers[interest] = follower
        try:
            await registered
        except BaseException:
            del self._followers[interest]
            follower.cancel()
            raise

    async def unwatch(self, interest: Interest) -> None:
        """Follow an interest no longer; what came stays."""
        follower = self._followers.pop(interest, None)
        if follower is None:
            raise InputError("this interest is not watched", field="interest")
        await _end(follower)

    async def aclose(self) -> None:
        """Follow nothing any more."""
        for interest in list(self._followers):
            await self.unwatch(interest)

    async def run(self) -> None:
        """Take in, for ever.

        Raises
        ------
        StorageError
            If the store or the audit log cannot be written.

        """
        is_busy = False
        while True:
            if is_busy and self._queue.qsize() < BATCH:
                await asyncio.sleep(GATHER_S)
            found = [await self._queue.get()]  # nothing is held over a pause that may be the end
            while len(found) < BATCH and not self._queue.empty():
                found.append(self._queue.get_nowait())
            packets = []
            for item in found:
                if isinstance(item, BaseException):
                    raise item
                packets.append(item.packet)
            self._admit(packets)
            is_busy = len(packets) >= BUSY
            await asyncio.sleep(0)

    def _admit(self, packets: list[Packet]) -> None:
        for packet in packets:
            self._arrived(packet)
        admissions = self._store.add_many(packets, now=self._clock())
        arrivals = list(zip(packets, admissions, strict=True))
        self._journal.received(arrivals)
        statistics = self._announcer.statistics
        statistics.received += len(arrivals)
        statistics.admissions.update([admission.label for admission in admissions])
        for packet, admission in arrivals:
            self._announcer.tell("received", packet=packet, reason=admission.label)
            if admission is Admission.EQUIVOCATION:
                self._announcer.tell("equivocation", packet=packet, reason=str(packet.issuer))
        for study_id in {
            packet.outcome.study_id for packet, admission in arrivals if admission.changes_evidence
        }:
            self._changed(study_id)

    async def _follow(self, interest: Interest, registered: "asyncio.Future[None]") -> None:
        try:
            async with self._transport.subscribe(interest) as deliveries:
                registered.set_result(None)
                async for delivery in deliveries:
                    await self._queue.put(delivery)
        except Exception as error:  # noqa: BLE001  raised again by whoever waits for it
            if registered.done():
                await self._queue.put(error)
            else:
                registered.set_exception(error)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])

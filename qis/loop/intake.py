"""What comes in: several standing interests, one queue, and the store's verdict in batches."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from qis.about import Interest
from qis.errors import InputError
from qis.evidence import Admission, EvidenceStore
from qis.health import Notices
from qis.loop.events import Announcer
from qis.loop.journal import Journal
from qis.packet import Packet
from qis.transport import Transport

WAITING_LIMIT: Final = 1_024
"""Packets that wait for the store; above that the transport's own inbox fills."""
BATCH: Final = 512
"""Packets taken in at one go, in one transaction, before others get their turn."""
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
        self._notices = Notices(logging.getLogger("qis.evidence"))
        self._notices.listen(announcer.relay)
        self._waiting: deque[Packet] = deque()
        self._failure: Exception | None = None
        self._has_some, self._has_room = asyncio.Event(), asyncio.Event()
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
            if is_busy and len(self._waiting) < BATCH:
                await asyncio.sleep(GATHER_S)
            while not self._waiting:
                if self._failure is not None:
                    raise self._failure
                self._has_some.clear()
                await self._has_some.wait()
            count = min(len(self._waiting), BATCH)
            packets = [self._waiting.popleft() for _ in range(count)]
            self._has_room.set()
            self._admit(packets)  # at once: nothing is held over a pause that may be the end
            is_busy = count >= BUSY
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
            if not admission.kept:
                kind = "limit" if admission is Admission.EVICTED else "refusal"
                subject = f"{admission.label}: {packet.issuer}"
                self._notices.tell(kind, subject, f"not stored: {admission.sentence}")
        for study_id in {
            packet.outcome.study_id for packet, admission in arrivals if admission.changes_evidence
        }:
            self._changed(study_id)

    async def _follow(self, interest: Interest, registered: "asyncio.Future[None]") -> None:
        try:
            async with self._transport.subscribe(interest) as deliveries:
                registered.set_result(None)
                async for delivery in deliveries:
                    while len(self._waiting) >= WAITING_LIMIT:
                        self._has_room.clear()
                        await self._has_room.wait()
                    self._waiting.append(delivery.packet)
                    self._has_some.set()
        except Exception as error:  # noqa: BLE001  raised again by whoever waits for it
            if registered.done():
                self._failure = error
                self._has_some.set()
            else:
                registered.set_exception(error)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])

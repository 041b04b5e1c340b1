"""From the outbox to the network, in order, until the network has taken it."""

import asyncio
from collections.abc import Callable
from typing import Final

from qis.errors import TransportError
from qis.loop.events import Announcer
from qis.loop.journal import Journal
from qis.loop.outbox import Outbox, Unsent
from qis.transport import Transport

FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 60.0
CONFIRM_S: Final = 60.0
"""How long the transport waits for its network before it says that it has not taken all yet."""


class Sender:
    """Hands what is in the outbox to the transport; a failing network is tried again for ever.

    A packet leaves the outbox when the transport has accepted it and says (`Transport.flush`) that
    its network has taken what it accepted. A process that dies in between sends it again.

    Parameters
    ----------
    outbox, transport, announcer, journal
        The other parts of the loop.
    clock
        Gives Unix seconds.

    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        announcer: Announcer,
        *,
        journal: Journal,
        clock: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._announcer = announcer
        self._journal = journal
        self._clock = clock
        self._handed = 0
        self._filled = asyncio.Event()
        self._unconfirmed = asyncio.Event()
        self._taken = asyncio.Event()

    def wake(self) -> None:
        """There is something in the outbox."""
        self._filled.set()

    @property
    def is_full(self) -> bool:
        """Whether the outbox can take no other packet."""
        return self._outbox.unsent >= self._outbox.limit

    async def room(self) -> None:
        """Wait until the outbox can take another packet."""
        while self.is_full:
            await self._next_taken()

    async def flush(self) -> None:
        """Wait until the network has taken all."""
        while self._outbox.unsent:
            await self._next_taken()

    async def hand_over(self) -> None:
        """Give packets to the transport, for ever."""
        while True:
            self._filled.clear()
            while batch := self._outbox.queued(after=self._handed):
                for unsent in batch:
                    if unsent.packet.expires_at <= self._clock():
                        self._journal.not_emitted(unsent.packet, "it expired first")
                        self._announcer.tell("expired", packet=unsent.packet)
                    else:
                        await self._publish(unsent)
                    self._handed = unsent.number
                    self._unconfirmed.set()
            await self._filled.wait()

    async def confirm(self) -> None:
        """Take out of the outbox what the network has taken, for ever."""
        while True:
            await self._unconfirmed.wait()
            self._unconfirmed.clear()
            number = self._handed
            try:
                is_held = await self._transport.flush(CONFIRM_S)
            except TransportError as error:  # it may be opened again, and the loop with it
                self._announcer.tell("unsent", reason=str(error))
                return
            if not is_held:
                self._announcer.tell("unsent", reason="no other site has acknowledged it")
                self._unconfirmed.set()
                await asyncio.sleep(FIRST_RETRY_S)  # should it be answered at once
                continue
            self._outbox.taken(up_to=number)
            self._taken.set()
            self._announcer.tell("sent", remaining=self._outbox.unsent)

    async def _publish(self, unsent: Unsent) -> None:
        delay = FIRST_RETRY_S
        while True:
            try:
                await self._transport.publish(unsent.packet, unsent.routing_keys)
            except TransportError as error:
                self._announcer.tell("unsent", packet=unsent.packet, reason=str(error))
                await asyncio.sleep(delay)
                delay = min(2.0 * delay, LAST_RETRY_S)
            else:
                return

    async def _next_taken(self) -> None:
        self._taken.clear()
        await self._taken.wait()

"""Asks the network for this site's own packets before it publishes under a study.

What a restored backup has forgotten, other sites still have. A packet of this key that the account
does not know stops what leaves (`qis.loop.accounting`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Final

from qis._guard import Guard
from qis.about import MAX_ROUTING_KEYS, SKETCH_SIZE, Fingerprint, Interest
from qis.errors import TransportError
from qis.identity import Issuer
from qis.packet import Packet
from qis.transport import Delivery, Transport

ASK_S: Final = 3.0
"""Longest wait for the network's answer: what comes later is found by the loop's own interests, if
they cover it, or at the next opening."""
_TURNS: Final = 8


class OwnPackets:
    """Asks once for each study, by a subscription of its own that ends with the answer.

    Parameters
    ----------
    transport
        The open transport.
    issuer
        This site's key.
    notice
        Called with each own packet that comes.
    guard
        Contains what the transport raises: a network that cannot be asked stops nobody.

    """

    def __init__(
        self,
        transport: Transport,
        issuer: Issuer,
        notice: Callable[[Packet], None],
        *,
        guard: Guard,
    ) -> None:
        self._transport = transport
        self._issuer = issuer
        self._notice = notice
        self._guard = guard
        self._asked: set[bytes] = set()

    @property
    def has_asked(self) -> bool:
        """True if it has asked at all."""
        return bool(self._asked)

    async def ask(self, studies: Iterable[bytes]) -> None:
        """Wait until the network has answered for these studies, at most `ASK_S` seconds each.

        Without a connection nothing is asked, which the transport's health tells; the next call
        asks for them again.
        """
        new = sorted(set(studies) - self._asked)
        self._asked.update(new)
        for at in range(0, len(new), MAX_ROUTING_KEYS):
            asking = tuple(new[at : at + MAX_ROUTING_KEYS])
            with self._guard.item("loop.own_packets"):
                try:
                    await self._ask(asking)
                except TransportError:
                    self._asked.difference_update(asking)

    async def _ask(self, studies: tuple[bytes, ...]) -> None:
        interest = Interest(Fingerprint(bytes(SKETCH_SIZE), bytes(8)), (), 1.0, studies=studies)
        async with self._transport.subscribe(interest) as deliveries:
            came: list[Packet] = []
            taking = asyncio.create_task(self._take(deliveries, came))
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_S):
                        await self._transport.catch_up(ASK_S)
                count = -1
                while count != len(came):  # what has come is taken out turn by turn
                    count = len(came)
                    for _ in range(_TURNS):
                        await asyncio.sleep(0)
            finally:
                taking.cancel()
                await asyncio.wait([taking])
        for packet in came:
            self._notice(packet)

    async def _take(self, deliveries: AsyncIterator[Delivery], came: list[Packet]) -> None:
        async for delivery in deliveries:
            if delivery.packet.issuer == self._issuer:
                came.append(delivery.packet)  # noqa: PERF401  each as it comes

"""What waits for one subscriber, as an async iterator that may be cancelled and asked again."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from qis.about import Interest
from qis.transport.base import Delivery

INBOX_LIMIT: Final = 4_096
"""Deliveries that wait in one subscription; more are not taken yet, and come again."""


class Inbox:
    """One subscription's deliveries; an async iterator that ends when the transport closes.

    Parameters
    ----------
    interest
        Which deliveries the subscription wants.
    earlier
        Deliveries of packets that came before it opened, yielded first. An iterator, since they may
        be more than an inbox may hold.
    on_room
        Called when half of what was waiting in a full inbox has been read.

    """

    def __init__(
        self, interest: Interest, earlier: Iterator[Delivery], on_room: Callable[[], None]
    ) -> None:
        self.interest = interest
        self._earlier = earlier
        self._on_room = on_room
        self._was_full = False
        self._waiting: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """True if another delivery has no room; after that `on_room` is called once it has."""
        self._was_full |= len(self._waiting) >= INBOX_LIMIT
        return len(self._waiting) >= INBOX_LIMIT

    def put(self, delivery: Delivery) -> None:
        """Add a delivery; the caller has checked that there is room."""
        self._waiting.append(delivery)
        self._changed.set()

    def close(self) -> None:
        """End the iteration after what is waiting."""
        self._is_closed = True
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        for delivery in self._earlier:
            return delivery
        while not self._waiting:
            if self._is_closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        delivery = self._waiting.popleft()
        if self._was_full and len(self._waiting) <= INBOX_LIMIT // 2:
            self._was_full = False
            self._on_room()
        return delivery

    def __repr__(self) -> str:
        return f"<Inbox with {len(self._waiting)} waiting{', closed' if self._is_closed else ''}>"

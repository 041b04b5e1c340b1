"""Packets on their way to this node's own application, which may have no room for them yet."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from qis.overlay.message_store import Carried
from qis.overlay.timers import Timers

DELIVER_AGAIN_S: Final = 0.25
"""Pause before what the application had no room for is offered again."""
TRIES: Final = 20
"""How often the first that waits is offered, some 5 s, before it goes behind the others: it may be
one that the application fails on."""
UNDELIVERED_LIMIT: Final = 16_384
"""Packets that wait for the application; beyond these one is refused and counted."""

Arrived = tuple[bytes, tuple[bytes, ...] | None, int]
"""A packet, the keys that it travels under (`None`: they do not travel, as in direct mode), and the
nodes that it went through."""
Receive = Callable[[Sequence[Arrived], float], list[bool]]
"""The application's gate: takes what has arrived, and now; false asks for a packet once more."""


class Delivering:
    """Offers packets to the application, in order, until it takes them."""

    def __init__(self, receive: Receive, timers: Timers, refused: Counter[str]) -> None:
        self._receive = receive
        self._timers = timers
        self._refused = refused
        self._waiting: deque[tuple[Carried, int]] = deque()
        self._tries = 0

    def deliver(self, carried: Carried, hops: int, now: float) -> None:
        """Give a packet to the application; if that has no room, again a little later."""
        waiting = self._waiting
        if not waiting and self._takes(carried, hops, now):
            return
        if len(waiting) >= UNDELIVERED_LIMIT:
            self._refused["undelivered"] += 1
            self._timers.guard.at_limit(
                "overlay.delivering.UNDELIVERED_LIMIT",
                "",
                "a packet for this site was dropped: the application reads too slowly; it comes "
                "when it is published again, within an hour",
            )
            return
        waiting.append((carried, hops))
        if len(waiting) == 1:
            self._timers.start(now + DELIVER_AGAIN_S, self._go_on)

    def _takes(self, carried: Carried, hops: int, now: float) -> bool:
        return self._receive([(carried.packet, carried.keys, hops)], now)[0]

    def _go_on(self, now: float) -> None:
        waiting = self._waiting
        while waiting:
            carried, hops = waiting[0]
            is_taken = True
            with self._timers.guard.item("overlay.undelivered"):  # set aside: others wait behind it
                is_taken = self._takes(carried, hops, now)
            if not is_taken:
                self._tries += 1
                if self._tries % TRIES == 0:
                    waiting.rotate(-1)
                self._timers.start(now + DELIVER_AGAIN_S, self._go_on)
                return
            self._tries = 0
            waiting.popleft()

"""Deliveries to each subscriber: a few under way at once, the others wait their turn.

A subscriber that comes late may be owed thousands of packets. Sent at once they would overrun its
receive buffer, and be lost, and sent again. Each acknowledgement lets the next one go; a subscriber
that acknowledges nothing is given up with all that waits for it, and asks again when it is back.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qis.overlay.links import Links
from qis.overlay.messages import Deliver, Delivered
from qis.overlay.record import NodeRecord
from qis.overlay.retained import Carried

WINDOW: Final = 32
"""Deliveries under way to one subscriber."""
WAITING_LIMIT: Final = 65_536
"""Deliveries that wait in all; beyond these one is dropped and counted."""


@dataclass(slots=True)
class _Flow:
    under_way: int = 0
    waiting: deque[tuple[Carried, int]] = field(default_factory=deque)


class Outflow:
    """Sends packets to subscribers, each until it is acknowledged or the subscriber is silent.

    Parameters
    ----------
    links
        What sends.
    on_change
        Called with a packet and +1 when its delivery begins, -1 when it has ended either way.

    """

    def __init__(self, links: Links, on_change: Callable[[Carried, int], None]) -> None:
        self.sent = 0
        self.dropped = 0
        self._links = links
        self._on_change = on_change
        self._waiting = 0
        self._flows: dict[NodeRecord, _Flow] = {}

    def send(self, carried: Carried, to: NodeRecord, hops: int, now: float) -> None:
        """Deliver a packet, after what waits for the same subscriber already."""
        flow = self._flows.setdefault(to, _Flow())
        if flow.under_way < WINDOW:
            self._on_change(carried, 1)
            self._ask(flow, carried, to, hops, now)
        elif self._waiting < WAITING_LIMIT:
            self._on_change(carried, 1)
            self._waiting += 1
            flow.waiting.append((carried, hops))
        else:
            self.dropped += 1

    def _ask(self, flow: _Flow, carried: Carried, to: NodeRecord, hops: int, now: float) -> None:
        flow.under_way += 1
        self.sent += 1

        def ended(at: float) -> None:
            flow.under_way -= 1
            self._on_change(carried, -1)
            if flow.waiting:
                self._waiting -= 1
                following, its_hops = flow.waiting.popleft()
                self._ask(flow, following, to, its_hops, at)
            elif not flow.under_way:
                self._flows.pop(to, None)

        def given_up(at: float) -> None:
            for waiting, _ in flow.waiting:
                self._on_change(waiting, -1)
            self.dropped += len(flow.waiting)
            self._waiting -= len(flow.waiting)
            flow.waiting.clear()
            ended(at)

        self._links.ask(
            lambda request, _: Deliver(
                request=request,
                hops=min(hops + 1, 255),
                keys=carried.keys,
                packet=carried.packet,
            ),
            to,
            now,
            expects=Delivered,
            on_answer=lambda _, at: ended(at),
            on_silence=given_up,
        )

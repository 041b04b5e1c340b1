"""Packets on their way to other nodes: a few under way at once to each, the others wait.

A subscriber that comes late, or a new holder, may be owed thousands of packets. Sent at once they
would overrun its receive buffer, be lost, and be sent again. Each acknowledgement lets the next one
go; a node that acknowledges nothing is given up with all that waits for it, and asks again when it
is back.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from qis.overlay.links import Build, Links
from qis.overlay.messages import Deliver, Delivered, Message
from qis.overlay.record import NodeRecord
from qis.overlay.retained import Carried

_Answer = TypeVar("_Answer", bound=Message)
WINDOW: Final = 32
"""Packets under way to one node."""
WAITING_LIMIT: Final = 65_536
"""Packets that wait in all; beyond these one is dropped and counted."""
WAITING_FOR_ONE_LIMIT: Final = 8_192
"""Packets that wait for one node."""


@dataclass(frozen=True, slots=True)
class _Item:
    carried: Carried
    build: Build
    expects: type[Message]
    on_answer: Callable[[Any, float], None]


@dataclass(slots=True)
class _Flow:
    to: NodeRecord
    under_way: int = 0
    waiting: deque[_Item] = field(default_factory=deque)


class Outflow:
    """Sends packets, each until it is acknowledged or its receiver is silent.

    Parameters
    ----------
    links
        What sends.
    own_key
        This node's; what it has issued itself is counted in `own_under_way`.

    """

    def __init__(self, links: Links, own_key: bytes) -> None:
        self.sent = 0
        self.dropped = 0
        self.own_under_way = 0
        self._links = links
        self._own_key = own_key
        self._waiting = 0
        # By the node's key: ever new records of one node share a window, and go to the newest.
        self._flows: dict[bytes, _Flow] = {}

    def deliver(self, carried: Carried, to: NodeRecord, hops: int, now: float) -> None:
        """Send a packet to a subscriber."""

        def build(request: bytes, _: bytes) -> Deliver:
            return Deliver(
                request=request,
                hops=min(hops + 1, 255),
                keys=carried.keys,
                packet=carried.packet,
            )

        self.send(carried, to, build, now, expects=Delivered, on_answer=lambda _, at: None)  # noqa: ARG005

    def send(
        self,
        carried: Carried,
        to: NodeRecord,
        build: Build,
        now: float,
        *,
        expects: type[_Answer],
        on_answer: Callable[[_Answer, float], None],
    ) -> None:
        """Send a packet in a message of some kind, after what waits for the same node already."""
        flow = self._flows.setdefault(to.key, _Flow(to))
        if to.sequence > flow.to.sequence:
            flow.to = to
        item = _Item(carried, build, expects, on_answer)
        is_full = self._waiting >= WAITING_LIMIT or len(flow.waiting) >= WAITING_FOR_ONE_LIMIT
        if flow.under_way >= WINDOW and is_full:
            self.dropped += 1
            return
        self._count(carried, 1)
        if flow.under_way < WINDOW:
            self._ask(flow, item, now)
        else:
            self._waiting += 1
            flow.waiting.append(item)

    def _ask(self, flow: _Flow, item: _Item, now: float) -> None:
        to = flow.to
        flow.under_way += 1
        self.sent += 1

        def ended(at: float) -> None:
            flow.under_way -= 1
            self._count(item.carried, -1)
            if flow.waiting:
                self._waiting -= 1
                self._ask(flow, flow.waiting.popleft(), at)
            elif not flow.under_way:
                self._flows.pop(to.key, None)

        def answered(answer: Message, at: float) -> None:
            item.on_answer(answer, at)
            ended(at)

        def given_up(at: float) -> None:
            if to == flow.to:  # and has not moved since
                for waiting in flow.waiting:
                    self._count(waiting.carried, -1)
                self.dropped += len(flow.waiting)
                self._waiting -= len(flow.waiting)
                flow.waiting.clear()
            ended(at)

        self._links.ask(
            item.build,
            to,
            now,
            expects=item.expects,
            on_answer=answered,
            on_silence=given_up,
        )

    def _count(self, carried: Carried, change: int) -> None:
        if carried.issuer == self._own_key:
            self.own_under_way += change

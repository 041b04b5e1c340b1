"""Packets on their way to other nodes: a few under way at once to each, the others wait.

A subscriber that comes late, or a new holder, may be owed thousands of packets. Sent at once they
would overrun its receive buffer, be lost, and be sent again. Each acknowledgement lets the next one
go; a node that acknowledges nothing is given up with all that waits for it, and asks again when it
is back.

What goes out under one routing key is one line, and only so much of a line is under way at once and
may wait, so that a key that half the network wants holds up nobody but itself. Wherever packets
wait, their issuers take turns, so that one that floods a key holds up its own packets.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from qis.overlay.message_store import Carried
from qis.overlay.messages import Deliver, Delivered, Message
from qis.overlay.record import NodeRecord
from qis.overlay.rpc import UNDER_WAY_LIMIT, Build, Rpc
from qis.overlay.turn_queue import TurnQueue

_Answer = TypeVar("_Answer", bound=Message)
WINDOW: Final = 64
"""Packets under way to one node."""
LINE_WINDOW: Final = 1_024
"""Packets under way of one line."""
ALL_WINDOW: Final = UNDER_WAY_LIMIT // 2
"""Packets under way in all; the other requests under way are for lookups. Of one line no more are
under way than there is room left for others, and always one."""
WAITING_LIMIT: Final = 65_536
"""Packets that wait in all. Of one line no more wait than there is room left for others: one alone
takes half of it, two take a third each; beyond that one is dropped and counted."""
WAITING_FOR_ONE_LIMIT: Final = 16_384
"""Packets that wait for one node: all that a holder keeps."""


@dataclass(slots=True)
class _Flow:
    """What goes to one node, by its newest record."""

    to: NodeRecord
    under_way: int = 0
    waiting: "TurnQueue[_Item]" = field(default_factory=TurnQueue)


@dataclass(slots=True)
class _Line:
    """What goes out under one key; `waiting` counts also those that wait for their node."""

    name: bytes
    under_way: int = 0
    waiting: int = 0
    ready: "TurnQueue[_Item]" = field(default_factory=TurnQueue)


@dataclass(frozen=True, slots=True)
class _Item:
    carried: Carried
    flow: _Flow
    line: _Line
    build: Build
    expects: type[Message]
    on_answer: Callable[[Any, float], None]
    on_silence: Callable[[float], None]
    is_packet: bool


def _do_nothing(*_: object) -> None:
    """Do nothing: the default of callbacks."""


class SendWindow:
    """Sends packets, each until it is acknowledged or its receiver is silent.

    Parameters
    ----------
    rpc
        Sends the requests and waits for their answers.
    own_key
        This node's 32-byte public key; packets that it has issued are counted in `own_under_way`.

    """

    def __init__(self, rpc: Rpc, own_key: bytes) -> None:
        self.sent = 0
        self.dropped = 0
        self.own_under_way = 0
        self._rpc = rpc
        self._own_key = own_key
        self._under_way = 0
        self._waiting = 0
        # By the node's key: ever new records of one node share a window, and go to the newest.
        self._flows: dict[bytes, _Flow] = {}
        self._lines: dict[bytes, _Line] = {}

    def deliver(
        self,
        carried: Carried,
        to: NodeRecord,
        hops: int,
        now: float,
        *,
        line: bytes = b"",
        on_answer: Callable[[Delivered, float], None] = _do_nothing,
        on_silence: Callable[[float], None] = _do_nothing,
    ) -> None:
        """Send a packet to a subscriber."""

        def build(request: bytes, _: bytes) -> Deliver:
            return Deliver(
                request=request,
                hops=min(hops + 1, 255),
                keys=carried.keys,
                packet=carried.packet,
            )

        self.send(
            carried,
            to,
            build,
            now,
            line=line,
            expects=Delivered,
            on_answer=on_answer,
            on_silence=on_silence,
        )

    def send(
        self,
        carried: Carried,
        to: NodeRecord,
        build: Build,
        now: float,
        *,
        expects: type[_Answer],
        on_answer: Callable[[_Answer, float], None],
        on_silence: Callable[[float], None] = _do_nothing,
        line: bytes = b"",
        is_packet: bool = True,
    ) -> None:
        """Send a packet in a message of some kind, after what waits for the same node already.

        `line` names what it competes with; by default that is what goes to the same node. One of
        `on_answer` and `on_silence` is called, the latter also if it is dropped. A message that is
        about the packet and does not contain it is none of those `sent`.
        """
        name = line or to.key
        its_line = self._lines.setdefault(name, _Line(name))
        flow = self._flows.setdefault(to.key, _Flow(to))
        if to.sequence > flow.to.sequence:
            flow.to = to
        item = _Item(carried, flow, its_line, build, expects, on_answer, on_silence, is_packet)
        is_ready = flow.under_way < WINDOW
        is_next = is_ready and not its_line.ready and self._has_room(its_line)
        if not is_next and (
            its_line.waiting >= WAITING_LIMIT - self._waiting
            or len(flow.waiting) >= WAITING_FOR_ONE_LIMIT
        ):
            self.dropped += 1
            for_one = len(flow.waiting) >= WAITING_FOR_ONE_LIMIT
            self._rpc.guard.at_limit(
                f"overlay.send_window.{'WAITING_FOR_ONE_LIMIT' if for_one else 'WAITING_LIMIT'}",
                to.key.hex(),
                "a packet for this node was dropped: too many wait for it or under this key; it "
                "gets it when it is published again, within an hour",
            )
            on_silence(now)
            self._forget_idle(item)
            return
        self._waits(item, 1)
        if is_ready:
            self._release(item, now)
        else:
            flow.waiting.put(carried.issuer, item)

    def _has_room(self, line: _Line) -> bool:
        return line.under_way < max(1, min(LINE_WINDOW, ALL_WINDOW - self._under_way))

    def _release(self, item: _Item, now: float) -> None:
        """Put an item whose node may get it at the end of its line."""
        item.flow.under_way += 1
        item.line.ready.put(item.carried.issuer, item)
        self._go_on(item.line, now)

    def _go_on(self, line: _Line, now: float) -> None:
        while line.ready and self._has_room(line):
            self._ask(line.ready.take(), now)

    def _ask(self, item: _Item, now: float) -> None:
        self._waits(item, -1)
        self._is_under_way(item, 1)
        self.sent += item.is_packet
        to = item.flow.to

        guard = self._rpc.guard

        def answered(answer: Message, at: float) -> None:
            with guard.item("overlay.handed"):  # the window opens whatever follows from the answer
                item.on_answer(answer, at)
            self._end(item, at)

        def given_up(at: float) -> None:
            if to == item.flow.to:  # and has not moved since
                dropped, item.flow.waiting = item.flow.waiting, TurnQueue()
                self.dropped += len(dropped)
                for each in dropped:
                    with guard.item("overlay.unhanded"):
                        each.on_silence(at)
                    self._waits(each, -1)
                    self._forget_idle(each)
            with guard.item("overlay.unhanded"):
                item.on_silence(at)
            self._end(item, at)

        self._rpc.ask(
            item.build,
            to,
            now,
            expects=item.expects,
            on_answer=answered,
            on_silence=given_up,
        )

    def _end(self, item: _Item, now: float) -> None:
        self._is_under_way(item, -1)
        item.flow.under_way -= 1
        if item.flow.waiting:
            self._release(item.flow.waiting.take(), now)
        self._go_on(item.line, now)
        self._forget_idle(item)

    def _waits(self, item: _Item, change: int) -> None:
        item.line.waiting += change
        self._waiting += change
        self._count(item, change)

    def _is_under_way(self, item: _Item, change: int) -> None:
        item.line.under_way += change
        self._under_way += change
        self._count(item, change)

    def _count(self, item: _Item, change: int) -> None:
        if item.carried.issuer == self._own_key:
            self.own_under_way += change

    def _forget_idle(self, item: _Item) -> None:
        if not item.flow.under_way and not item.flow.waiting:
            self._flows.pop(item.flow.to.key, None)
        if not item.line.under_way and not item.line.waiting:
            self._lines.pop(item.line.name, None)

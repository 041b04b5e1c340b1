"""Virtual time, and datagrams that take it: late, lost, twice, or never across a partition."""

import gc
import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from math import ceil
from typing import Any, Final

from qis._gate import checked
from qis._given import real_number, whole_number
from qis.errors import InputError
from qis.overlay.bundles import BUNDLE_HEAD
from qis.overlay.messages import MAGIC, Publish, Subscribe
from qis.overlay.node import OverlayNode
from qis.simulation.progress import Progress

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]
_EPOCH = 1_000_000_000.0
"""Unix seconds when virtual time begins."""
LONGEST_S: Final = 400 * 86_400.0
"""Most virtual seconds of one call: as long as a packet may live."""
_LATEST_S: Final = 3_600.0
_KIND = len(MAGIC)
_FOR_HOLDERS = (BUNDLE_HEAD[_KIND], Subscribe.KIND, Publish.KIND)


class Wire:
    """Drives nodes by their datagrams and timers.

    Parameters
    ----------
    seed
        Seed of all randomness.
    latency_s
        Range of a datagram's delay in seconds, uniform.
    loss, duplicate
        Probability that a datagram is lost, or comes twice.
    progress
        Called with how much is done, of how much, and of what.

    """

    def __init__(
        self,
        *,
        seed: int,
        latency_s: tuple[float, float],
        loss: float,
        duplicate: float,
        progress: Progress,
    ) -> None:
        for name, chance in (("loss", loss), ("duplicate", duplicate)):
            if not 0.0 <= chance <= 1.0:
                raise InputError(f"{name} is {chance!r}; it is a probability", field=name)
        if not 0.0 <= latency_s[0] <= latency_s[1] <= _LATEST_S:
            raise InputError(
                f"latency_s is {latency_s!r}; it is a range of seconds, at most {_LATEST_S:g}",
                field="latency_s",
            )
        self.now = _EPOCH
        self.loss = loss
        self.duplicate = duplicate
        self.nodes: list[OverlayNode] = []
        self.dead: set[int] = set()
        self.datagrams = 0
        self.datagram_bytes = 0
        self._rng = random.Random(seed)  # noqa: S311  a simulation, repeatable on purpose
        self._latency_s = latency_s
        self._progress = progress
        self._sides: dict[int, int] = {}
        self._order = count()
        self._events: list[Event] = []
        self._timer_at: dict[int, float] = {}
        self._index: dict[bytes, int] = {}

    @checked
    def at(self, seconds: float, action: Callable[..., None], *args: object) -> None:
        """Do something that many seconds from now."""
        seconds = real_number(seconds, "seconds", 0.0, LONGEST_S)
        self._schedule(self.now + seconds, action, *args)

    @checked
    def run(self, seconds: float) -> None:
        """Let virtual time pass; progress is told after each minute of it."""
        seconds = real_number(seconds, "seconds", 0.0, LONGEST_S)
        start, minutes = self.now, ceil(seconds / 60.0)
        for minute in range(1, minutes + 1):
            self._run_until(start + min(60.0 * minute, seconds))
            self._progress(minute, minutes, "minutes pass")

    def _run_until(self, end: float) -> None:
        events = self._events
        with unscanned():
            while events and events[0][0] <= end:
                self.now, _, action, args = heapq.heappop(events)
                action(*args)
        self.now = end

    @checked
    def kill(self, nodes: Iterable[int]) -> None:
        """Let nodes die at once, without a word."""
        self.dead.update(self._numbered(nodes, "nodes"))

    @checked
    def leave(self, nodes: Iterable[int]) -> None:
        """Let nodes withdraw and say good-bye, once, and be gone."""
        for node in self._numbered(nodes, "nodes"):
            self._ready(node).leave(self.now)
            self._flush(node)
            self.dead.add(node)

    @checked
    def partition(self, *sides: Iterable[int]) -> None:
        """Lose everything between nodes of different sides, until `heal`."""
        numbered = [self._numbered(nodes, "sides") for nodes in sides]
        self._sides = {node: side for side, nodes in enumerate(numbered) for node in nodes}

    def heal(self) -> None:
        """End a partition."""
        self._sides = {}

    def alive(self) -> list[int]:
        """The nodes that have not died, in order."""
        return [i for i in range(len(self.nodes)) if i not in self.dead]

    def _numbered(self, nodes: Iterable[int], field: str) -> list[int]:
        """The numbers of nodes that there are, refused if one is none."""
        return [whole_number(node, field, 0, len(self.nodes) - 1) for node in nodes]

    def _schedule(self, when: float, action: Callable[..., None], *args: object) -> None:
        heapq.heappush(self._events, (when, next(self._order), action, args))

    def _attach(self, node: OverlayNode) -> int:
        self.nodes.append(node)
        self._index[node.contact.record.address] = len(self.nodes) - 1
        return len(self.nodes) - 1

    def _ready(self, index: int) -> OverlayNode:
        """A node that is about to need what it holds."""
        return self.nodes[index]

    def _flush(self, index: int) -> None:
        """Send what a node has to send, and see to its next timer."""
        node = self.nodes[index]
        for data, address, _ in node.datagrams():
            self._send(index, data, address)
        at = node.next_timer()
        if at is not None and at < self._timer_at.get(index, float("inf")):
            self._timer_at[index] = at
            self._schedule(max(at, self.now), self._wake, index, at)

    def _wake(self, index: int, at: float) -> None:
        if self._timer_at.get(index) != at:
            return
        del self._timer_at[index]
        if index not in self.dead:
            self._ready(index).handle_timer(self.now)
            self._flush(index)

    def _send(self, source: int, data: bytes, address: bytes) -> None:
        target = self._index.get(address)
        self.datagrams += 1
        self.datagram_bytes += len(data)
        if target is None or self._sides.get(source) != self._sides.get(target):
            return
        # The order of draws is part of what a seed means: changed, every recorded figure changes.
        chance = self._rng.random
        least, most = self._latency_s
        for _ in range(1 + (chance() < self.duplicate)):
            if chance() >= self.loss:
                when = self.now + least + (most - least) * chance()
                self._schedule(when, self._arrive, source, target, data)

    def _arrive(self, source: int, target: int, data: bytes) -> None:
        if target not in self.dead:
            address = self.nodes[source].contact.record.address
            may_need_subscriptions = data[_KIND] in _FOR_HOLDERS
            node = self._ready(target) if may_need_subscriptions else self.nodes[target]
            node.receive_datagram(data, address, self.now)
            self._flush(target)


@contextmanager
def unscanned() -> Iterator[None]:
    """Hold off the search for cycles: nodes make none, and it took a quarter of all time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

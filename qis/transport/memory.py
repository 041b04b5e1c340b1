"""A network inside one process, with the faults of a real one and a clock of its own.

Time is virtual: latency delays and reorders deliveries without anybody waiting, and one seed gives
one history. Everything still passes the same gate as on a real network.
"""

import asyncio
import heapq
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import count

from qis.about import Interest
from qis.errors import InputError, TransportError
from qis.evidence.roster import Roster
from qis.identity import Identity
from qis.packet import Packet
from qis.transport._reception import Reception
from qis.transport.base import Delivery, Statistics, Transport, require_signed_keys

RETAIN_LIMIT = 100_000
"""Packets kept for subscribers that come later; the oldest go first."""

_Carried = tuple[bytes, tuple[bytes, ...]]


class MemoryNetwork:
    """What joins `MemoryTransport`s.

    Parameters
    ----------
    seed
        Seed of all chance.
    latency_s
        Range of the delay of a datagram in virtual seconds, uniform.
    loss, duplicate, reorder
        Probability that a datagram is lost, arrives twice, or is delayed ten times as long.
    now
        Unix seconds at which the network starts; default: the machine's clock.

    """

    def __init__(
        self,
        *,
        seed: int = 0,
        latency_s: tuple[float, float] = (0.005, 0.05),
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        now: float | None = None,
    ) -> None:
        for name, chance in (("loss", loss), ("duplicate", duplicate), ("reorder", reorder)):
            if not 0.0 <= chance <= 1.0:
                raise InputError(f"{name} is {chance!r}; it is a probability", field=name)
        if not 0.0 <= latency_s[0] <= latency_s[1]:
            raise InputError("latency_s is a range (least, most)", field="latency_s")
        self.now = time.time() if now is None else now
        self._random = random.Random(seed)  # noqa: S311  a simulation, repeatable on purpose
        self._latency_s = latency_s
        self._faults = (loss, duplicate, reorder)
        self._events: list[tuple[float, int, MemoryTransport, _Carried]] = []
        self._order = count()
        self._nodes: list[MemoryTransport] = []
        self._retained: dict[bytes, _Carried] = {}
        self._pump: asyncio.Handle | None = None

    def _join(self, node: "MemoryTransport") -> None:
        self._nodes.append(node)

    def _leave(self, node: "MemoryTransport") -> None:
        self._nodes.remove(node)

    def _publish(self, origin: "MemoryTransport", packet: Packet, keys: tuple[bytes, ...]) -> None:
        carried = (bytes(packet), keys)
        self._retained[packet.id] = carried
        if len(self._retained) > RETAIN_LIMIT:
            del self._retained[next(iter(self._retained))]
        for node in self._nodes:
            if node is not origin and node.shares_key(keys):
                self._send(node, carried)

    def _catch_up(self, node: "MemoryTransport") -> None:
        for carried in self._retained.values():
            if node.shares_key(carried[1]):
                self._send(node, carried)

    def _send(self, node: "MemoryTransport", carried: _Carried) -> None:
        loss, duplicate, reorder = self._faults
        copies = 2 if self._random.random() < duplicate else 1
        for _ in range(copies):
            delay = self._random.uniform(*self._latency_s)
            if self._random.random() < reorder:
                delay *= 10.0
            if self._random.random() >= loss:
                heapq.heappush(self._events, (self.now + delay, next(self._order), node, carried))
        if self._pump is None and self._events:
            self._pump = asyncio.get_running_loop().call_soon(self._deliver_next)

    def _deliver_next(self) -> None:
        self._pump = None
        at, _, node, (data, keys) = heapq.heappop(self._events)
        self.now = max(self.now, at)
        node._arrive(data, keys, self.now)  # noqa: SLF001  the network is the transport's other half
        if self._events:
            self._pump = asyncio.get_running_loop().call_soon(self._deliver_next)

    async def settle(self) -> None:
        """Return once nothing is under way any more."""
        while self._events:  # noqa: ASYNC110  each turn of the loop delivers one
            await asyncio.sleep(0)


class MemoryTransport(Transport):
    """A node on a `MemoryNetwork`, reached directly by every other.

    Parameters
    ----------
    network
        The network to join.
    identity
        This node's key.
    roster
        Whose packets are let through; default: everybody's.

    """

    def __init__(
        self, network: MemoryNetwork, identity: Identity, *, roster: Roster | None = None
    ) -> None:
        self.issuer = identity.issuer
        self._network = network
        self._statistics = Statistics()
        self._reception = Reception(Roster.open() if roster is None else roster, self._statistics)
        self._is_open = True
        network._join(self)  # noqa: SLF001

    @property
    def is_open(self) -> bool:
        """Whether `aclose` has not been called."""
        return self._is_open

    @property
    def leaves_machine(self) -> bool:
        """Nothing leaves the process."""
        return False

    @property
    def statistics(self) -> Statistics:
        """Counters since the transport was opened."""
        return self._statistics

    def shares_key(self, keys: Iterable[bytes]) -> bool:
        """Whether an interest registered here has one of these routing keys or study ids."""
        wanted = set(keys)
        return not wanted.isdisjoint(self._reception.wanted_keys())

    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Send a packet to every node that registered one of its keys."""
        if not self._is_open:
            raise TransportError("the transport is closed")
        keys = require_signed_keys(packet, routing_keys)
        self._reception.hold(packet, keys)
        self._statistics.published += 1
        self._statistics.bytes_sent += len(bytes(packet))
        self._network._publish(self, packet, keys)  # noqa: SLF001

    @asynccontextmanager
    async def subscribe(self, interest: Interest) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest; what was published before and is retained comes too."""
        if not self._is_open:
            raise TransportError("the transport is closed")
        with self._reception.inbox(interest, now=self._network.now) as inbox:
            self._network._catch_up(self)  # noqa: SLF001
            yield inbox

    async def aclose(self) -> None:
        """Leave the network."""
        if self._is_open:
            self._is_open = False
            self._network._leave(self)  # noqa: SLF001
            self._reception.close()

    def _arrive(self, data: bytes, keys: tuple[bytes, ...], now: float) -> None:
        if self._is_open:
            self._statistics.bytes_received += len(data)
            self._reception.receive(data, keys, hops=1, now=now)

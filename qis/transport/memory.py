"""A network inside one process, with the faults of a real one and a clock of its own.

One seed gives one history, and everything passes the same gate as on a real network. By default
each node reaches every other directly, which is cheap and enough to develop against; with
``overlay=True`` packets find their way as they do between machines.
"""

import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from qis._clock import Clock
from qis._gate import checked
from qis._guard import Guard
from qis.about import Interest
from qis.errors import InputError, TransportError
from qis.evidence.roster import Roster
from qis.health import Condition, HealthState
from qis.identity import Identity
from qis.overlay.addresses import pack_address
from qis.packet import Packet
from qis.relay.frames import tags_of
from qis.transport._carriers import Carrier, Direct, Overlaid
from qis.transport._stateful import StatefulTransport
from qis.transport._virtual_time import VirtualTime
from qis.transport.base import Delivery, Holding, Statistics, require_signed_keys
from qis.transport.reception import Reception

_PORT = 4_000


class MemoryNetwork:
    """A network in memory, to which each `MemoryTransport` of it is a node.

    Parameters
    ----------
    seed
        Seed of all randomness: networks made and used alike with one seed behave identically.
    latency_s
        Range of the delay of a datagram in virtual seconds, uniform.
    loss, duplicate, reorder
        Probability that a datagram is lost, arrives twice, or is delayed ten times as long. The
        direct mode repeats nothing, so what it loses is lost.
    now
        Unix seconds at which the network starts; default: the machine's clock.
    overlay
        Route packets by the overlay, as over UDP; otherwise each node reaches all others directly.

    Examples
    --------
    >>> import qis
    >>> qis.MemoryNetwork(seed=1, loss=0.2)  # doctest: +ELLIPSIS
    <MemoryNetwork of 0 nodes at ... s, loss 0.2, duplicate 0, reorder 0>

    """

    @checked
    def __init__(
        self,
        *,
        seed: int = 0,
        latency_s: tuple[float, float] = (0.005, 0.05),
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        now: float | None = None,
        overlay: bool = False,
    ) -> None:
        for name, chance in (("loss", loss), ("duplicate", duplicate), ("reorder", reorder)):
            if not 0.0 <= chance <= 1.0:
                raise InputError(f"{name} is {chance!r}; it is a probability", field=name)
        if not 0.0 <= latency_s[0] <= latency_s[1]:
            raise InputError("latency_s is a range (least, most)", field="latency_s")
        self.overlay = overlay
        self._random = random.Random(seed)  # noqa: S311  a simulation, repeatable on purpose
        self._latency_s = latency_s
        self._faults = (loss, duplicate, reorder)
        self._nodes: dict[int, Carrier] = {}
        self._alive: dict[Carrier, int] = {}
        self._sides: dict[Carrier, int] = {}
        self._message_store: dict[bytes, tuple[bytes, tuple[bytes, ...]]] = {}
        self._time = VirtualTime(
            time.time() if now is None else now,
            lambda: any(carrier.is_busy for carrier in self._alive),
        )

    @property
    def now(self) -> float:
        """Unix seconds on the network's virtual clock."""
        return self._time.now

    async def settle(self) -> None:
        """Return once nothing is under way any more."""
        await self._time.settle()

    @checked
    async def advance(self, seconds: float) -> None:
        """Advance the virtual time by `seconds`, doing what is due, such as refreshes.

        Raises
        ------
        InputError
            If `seconds` is negative.

        """
        if not seconds >= 0.0:
            raise InputError("time does not go back", field="seconds", actual=seconds, limit=0.0)
        await self._time.advance(seconds)

    @checked
    def partition(self, *sides: "Iterable[MemoryTransport]") -> None:
        """Lose all datagrams between different sides; transports in no side form one more."""
        self._sides = {
            transport._carrier: side  # noqa: SLF001  the transport is the network's other half
            for side, transports in enumerate(sides)
            for transport in transports
        }

    def heal(self) -> None:
        """End the partition."""
        self._sides = {}

    @checked
    def kill(self, transport: "MemoryTransport") -> None:
        """Stop a node at once, without telling the others."""
        self._alive.pop(transport._carrier, None)  # noqa: SLF001  as above

    def _join(
        self,
        identity: Identity,
        reception: Reception,
        statistics: Statistics,
        guard: Guard,
        condition: Condition,
    ) -> Carrier:
        number = len(self._nodes) + 1
        if not self.overlay:
            carrier: Carrier = Direct(
                reception,
                statistics,
                guard=guard,
                others=lambda: [
                    node for node in self._alive if isinstance(node, Direct) and node is not carrier
                ],
                message_store=self._message_store,
                send=self._send,
                wake=lambda when, action, is_awaited: self._time.at(
                    when,
                    lambda at: action(at) if carrier in self._alive else None,
                    is_under_way=is_awaited,
                ),
            )
            self._nodes[number] = carrier
            self._alive[carrier] = number
            return carrier
        address = pack_address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", _PORT)
        overlaid = Overlaid(
            identity,
            reception,
            statistics,
            address=address,
            guard=guard,
            rng=random.Random(self._random.getrandbits(64)),  # noqa: S311  as above
            condition=condition,
            clock=lambda: self.now,
            key_at=self._key_at,
            now=self.now,
            send=lambda data, to: self._send_datagram(overlaid, data, to),
            wake=lambda when, action: self._time.at(
                when, lambda at: action(at) if overlaid in self._alive else None, is_under_way=False
            ),
        )
        known = self._entries()
        self._nodes[number] = overlaid
        self._alive[overlaid] = number
        overlaid.join(self._random.sample(known, min(2, len(known))), self.now)
        return overlaid

    def _entries(self) -> list[tuple[bytes, bytes]]:
        """Return the nodes, two of which a newcomer is given."""
        return [node.peer for node in self._alive if isinstance(node, Overlaid)]

    def _key_at(self, address: bytes) -> bytes | None:
        tag, _ = tags_of(address)
        keys = (node.peer[0] for node in self._alive if isinstance(node, Overlaid))
        return next((key for key in keys if key.startswith(tag)), None)

    def _send_datagram(self, origin: Overlaid, data: bytes, address: bytes) -> None:
        target = self._nodes.get(int.from_bytes(address[13:16]))
        if isinstance(target, Overlaid):
            source = origin.peer
            self._send(origin, target, lambda now: target.receive(data, source, now))

    def _send(self, origin: Carrier, target: Carrier, action: Callable[[float], None]) -> None:
        loss, duplicate, reorder = self._faults

        def arrive(now: float) -> None:
            if target in self._alive and self._sides.get(origin) == self._sides.get(target):
                action(now)

        if origin not in self._alive:
            return
        for _ in range(2 if self._random.random() < duplicate else 1):
            delay = self._random.uniform(*self._latency_s)
            if self._random.random() < reorder:
                delay *= 10.0
            if self._random.random() >= loss:
                self._time.at(self.now + delay, arrive, is_under_way=True)

    def _leave(self, carrier: Carrier) -> None:
        carrier.leave(self.now)
        self._alive.pop(carrier, None)

    def __repr__(self) -> str:
        loss, duplicate, reorder = self._faults
        return (
            f"<MemoryNetwork of {len(self._alive)} nodes at {self.now:.3f} s, loss {loss:g}, "
            f"duplicate {duplicate:g}, reorder {reorder:g}>"
        )


class MemoryTransport(StatefulTransport):
    """A node on a `MemoryNetwork`.

    Parameters
    ----------
    network
        The network to join.
    identity
        This node's key.
    roster
        Whose packets are accepted; default: everybody's.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> qis.MemoryTransport(qis.MemoryNetwork(), key)
    <MemoryTransport of 3b6a27bcceb6a42d, open, 0 published, 0 delivered>

    """

    @checked
    def __init__(
        self, network: MemoryNetwork, identity: Identity, *, roster: Roster | None = None
    ) -> None:
        self.issuer = identity.issuer
        self._network = network
        self._statistics = Statistics()
        roster = Roster.open() if roster is None else roster
        clock = Clock(lambda: network.now, lambda: network.now)
        self._reception = Reception(roster, self._statistics, notices=self.notices, clock=clock)
        self._clocks = self._reception.clocks
        guard = Guard(self.notices)
        self._is_open = True
        self._condition = Condition(self.notices, now=network.now)
        self._carrier = network._join(  # noqa: SLF001  the network is the transport's other half
            identity, self._reception, self._statistics, guard, self._condition
        )

    @property
    def leaves_machine(self) -> bool:
        """False: nothing leaves the process."""
        return False

    @checked
    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Send a packet to the nodes that have registered one of its keys."""
        if not self._is_open:
            raise TransportError("the transport is closed")
        keys = require_signed_keys(packet, routing_keys)
        self._reception.hold(packet, keys)
        self._statistics.published += 1
        self._carrier.publish(packet, keys, self._network.now)

    @checked
    @asynccontextmanager
    async def subscribe(
        self,
        interest: Interest,
        *,
        name: str = "",  # noqa: ARG002  not durable
        memory: bytes = b"",  # noqa: ARG002
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest; packets that were published before are delivered too."""
        if not self._is_open:
            raise TransportError("the transport is closed")
        with self._reception.inbox(interest, now=self._network.now) as inbox:
            self._carrier.interests_changed(self._network.now, has_more=True)
            yield inbox
        if self._is_open:
            self._carrier.interests_changed(self._network.now, has_more=False)

    @checked
    async def flush(self, timeout_s: float) -> bool:  # noqa: ARG002  it is the network's time
        """Let the network settle; true if all that was published is held then (`holding`)."""
        self._carrier.spread(self._network.now)
        await self._network.settle()
        return self._carrier.all_held(self._network.now)

    @checked
    async def catch_up(self, timeout_s: float) -> None:  # noqa: ARG002  it is the network's time
        """Let the network settle, so that all that was published has arrived."""
        await self._network.settle()

    @checked
    def holding(self, packet_id: bytes) -> Holding:
        """Tell whether other nodes hold a packet, as over UDP.

        Without the overlay every published packet is held at once, since the network itself keeps
        it for later subscribers.
        """
        return self._carrier.holding(packet_id)

    @checked
    def believe(self, roster: Roster) -> None:
        """Admit packets and nodes by another roster from now on."""
        self._reception.roster = roster
        self._carrier.judge_again()

    @checked
    def withdraw(self, packets: Iterable[Packet]) -> None:
        """Stop repeating these packets of this node, and stop keeping them for others."""
        self._carrier.withdraw([packet.id for packet in packets])

    async def aclose(self) -> None:
        """Leave the network and end all subscriptions; idempotent."""
        if self._is_open:
            self._is_open = False
            self._network._leave(self._carrier)  # noqa: SLF001  as above
            self._condition = Condition(
                self.notices, now=self._network.now, state=HealthState.CLOSED
            )
            self._reception.close()

    def __repr__(self) -> str:
        state = "open" if self._is_open else "closed"
        return f"<MemoryTransport of {str(self.issuer)[:16]}, {state}, {self._statistics.brief}>"

"""Networks in direct mode in virtual time: dead members, slow links, and sites behind a NAT."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import qis
from qis.transport._carriers import Overlaid
from qis.transport._modes import BothModes

Figure = TypeVar("Figure")
NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=4)
NEAR = [1.0, 0.5, -0.2, 0.1]
HEADS = 28 + 29
"""Bytes of IP and UDP, and of the channel, which is left out in virtual time."""
MAPPING_S = 110.0
"""How long a NAT remembers that something went out."""
PUBLIC = 1 << 20


class SmallNetwork(qis.MemoryNetwork):
    """A memory network whose members may have a slow link, or be behind NATs of their own.

    Parameters
    ----------
    bits_per_s
        Of each member's link upwards; 0: without limit.
    nats
        Numbers of the members, from 1, that nobody reaches but in answer: what they send comes
        from another address, and what comes passes for `MAPPING_S` after something went to where
        it comes from.

    """

    def __init__(
        self, *, bits_per_s: float = 0.0, nats: frozenset[int] = frozenset(), **options: Any
    ) -> None:
        super().__init__(overlay=True, now=NOW, **options)
        self.sent_bytes = 0
        self._bits_per_s = bits_per_s
        self._free_at: dict[bytes, float] = {}
        self._nats = nats
        self._sent_at: dict[tuple[int, int], float] = {}

    def _entries(self) -> list[tuple[bytes, bytes]]:
        """Of nodes behind NATs no newcomer could make anything."""
        found = super()._entries()
        callable_ = [each for each in found if int.from_bytes(each[1][13:16]) not in self._nats]
        return callable_ or found

    def _send_datagram(self, origin: Overlaid, data: bytes, address: bytes) -> None:
        self.sent_bytes += len(data) + HEADS
        source = int.from_bytes(origin.peer[1][13:16])
        number = int.from_bytes(address[13:16])
        if source in self._nats:
            self._sent_at[source, number & PUBLIC - 1] = self.now
        is_mapped = bool(number & PUBLIC)
        number &= PUBLIC - 1
        if number in self._nats:
            sent_at = self._sent_at.get((number, source), float("-inf"))
            if not is_mapped or self.now - sent_at > MAPPING_S:
                return
        target = self._nodes.get(number)
        if not isinstance(target, Overlaid):
            return
        key, seen = origin.peer
        if source in self._nats:
            seen = seen[:13] + (source | PUBLIC).to_bytes(3) + seen[16:]
        self._send(origin, target, lambda now: target.receive(data, (key, seen), now))

    def _send(self, origin: Any, target: Any, action: Callable[[float], None]) -> None:
        if not self._bits_per_s:
            super()._send(origin, target, action)
            return
        size = (600 + HEADS) * 8
        start = max(self.now, self._free_at.get(origin, 0.0))
        if start - self.now > 2.0:  # the link's queue is full
            return
        self._free_at[origin] = start + size / self._bits_per_s
        wait_s = self._free_at[origin] - self.now
        former = self._latency_s
        self._latency_s = (former[0] + wait_s, former[1] + wait_s)
        super()._send(origin, target, action)
        self._latency_s = former


def identities(count: int) -> list[qis.Identity]:
    """The keys of the members."""
    return [qis.Identity.from_seed(n.to_bytes(32)) for n in range(1, count + 1)]


def packet_of(identity: qis.Identity, question: str, *, at: int = NOW) -> qis.Packet:
    """A packet that is near to everybody's interest."""
    return qis.Packet.sign(
        identity,
        outcome=qis.Counts(question=question, events=30, total=200),
        fingerprint=SCHEME.fingerprint(NEAR),
        issued_at=at,
        lifetime_s=86_400,
        routing_keys=SCHEME.routing_keys(NEAR),
    )


def kept(transport: qis.MemoryTransport) -> set[bytes]:
    """Ids of what a member keeps."""
    node: Any = transport._carrier.node  # noqa: SLF001  what it keeps is shown to nobody
    store = (node.direct if isinstance(node, BothModes) else node).node.store
    return {store.get(short).id for short in store.between(bytes(8), b"\xff" * 8)}


def recall(transports: Sequence[qis.MemoryTransport], packets: Sequence[qis.Packet]) -> float:
    """Share of (member, packet) pairs that are complete."""
    wanted = {packet.id for packet in packets}
    return sum(len(kept(each) & wanted) for each in transports) / (len(wanted) * len(transports))


def roster_of(keys: Sequence[qis.Identity]) -> qis.Roster:
    """The roster of these members, closed."""
    return qis.Roster(tuple(qis.Site.of(f"site {n}", k.issuer) for n, k in enumerate(keys)))


async def opened(network: SmallNetwork, count: int) -> list[qis.MemoryTransport]:
    """All members, joined."""
    keys = identities(count)
    roster = roster_of(keys)
    transports = []
    for key in keys:
        transports.append(qis.MemoryTransport(network, key, roster=roster))
        await network.settle()
    return transports


async def dead_and_lossy(count: int) -> tuple[float, float]:
    """Recall among the living after 60 s and after one period of comparing: 20 % dead, 5 % lost."""
    network = SmallNetwork(seed=count, loss=0.05)
    transports = await opened(network, count)
    for each in transports[::5]:
        network.kill(each)
    living = [each for n, each in enumerate(transports) if n % 5]
    packets = []
    for number, each in enumerate(living[:24]):
        packets.append(packet_of(identities(count)[transports.index(each)], f"q{number}"))
        await each.publish(packets[-1], SCHEME.routing_keys(NEAR))
    await network.advance(60.0)
    first = recall(living, packets)
    await network.advance(720.0)
    return first, recall(living, packets)


async def link(bits_per_s: float, latency_s: float) -> tuple[float, float]:
    """Bytes that 24 members send until 60 s after 24 publications, and their recall."""
    network = SmallNetwork(
        seed=1, bits_per_s=bits_per_s, latency_s=(latency_s * 0.95, latency_s * 1.05)
    )
    transports = await opened(network, 24)
    before = network.sent_bytes
    packets = []
    for number, each in enumerate(transports):
        packets.append(packet_of(identities(24)[number], f"q{number}"))
        await each.publish(packets[-1], SCHEME.routing_keys(NEAR))
        await network.advance(2.0)
    await network.advance(60.0)
    return network.sent_bytes - before, recall(transports, packets)


async def behind_nats(silence_s: float) -> float:
    """Share of packets that come both ways between two sites behind NATs and four others.

    After a silence that is longer than the NATs remember.
    """
    network = SmallNetwork(seed=2, nats=frozenset({5, 6}))
    transports = await opened(network, 6)
    await network.advance(silence_s)
    packets = []
    for number, each in enumerate(transports):
        packets.append(packet_of(identities(6)[number], f"q{number}"))
        await each.publish(packets[-1], SCHEME.routing_keys(NEAR))
    await network.advance(60.0)
    return recall(transports, packets)


def run(what: Coroutine[Any, Any, Figure]) -> Figure:
    """Run a coroutine to its end."""
    return asyncio.run(what)

"""Many overlay nodes in virtual time: the same core as on a real network, under any faults.

What is left out is said here: signatures are replaced by a hash (they cost 54 µs each and decide
nothing in an honest network), packets are 512 bytes of no content, and there is no channel.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from blake3 import blake3

from qis._layout import PACKET_SIZE
from qis.errors import InputError
from qis.overlay.addresses import pack_address
from qis.overlay.lookup import Lookup
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.record import Admission, Credentials
from qis.overlay.retained import Carried
from qis.overlay.subscriber import HOLDERS

LIFETIME_S = 86_400.0
"""How long a simulated packet lives."""


class Simulation:
    """A network of N nodes.

    Parameters
    ----------
    wanted
        For each node, the routing keys that it subscribes to.
    seed
        Of all chance: one seed, one history.
    latency_s
        Range of a datagram's delay, uniform.
    loss, duplicate
        Probability that a datagram is lost, or comes twice.
    holders
        Holders of each key.

    """

    def __init__(
        self,
        wanted: Sequence[Iterable[bytes]],
        *,
        seed: int = 0,
        latency_s: tuple[float, float] = (0.005, 0.05),
        loss: float = 0.0,
        duplicate: float = 0.0,
        holders: int = HOLDERS,
    ) -> None:
        for name, chance in (("loss", loss), ("duplicate", duplicate)):
            if not 0.0 <= chance <= 1.0:
                raise InputError(f"{name} is {chance!r}; it is a probability", field=name)
        self.now = 1_000_000_000.0
        self.loss = loss
        self.duplicate = duplicate
        self.dead: set[int] = set()
        self.droppers: set[int] = set()
        self.side_of: dict[int, int] = {}
        self.datagrams = 0
        self.datagram_bytes = 0
        self.copies: dict[tuple[bytes, int], int] = {}
        self.hops_of: dict[tuple[bytes, int], int] = {}
        self.lookups: list[tuple[int, int]] = []
        self._rng = random.Random(seed)  # noqa: S311  a simulation, repeatable on purpose
        self._latency_s = latency_s
        self._wanted = [tuple(sorted(set(keys))) for keys in wanted]
        self._published = count()
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_at: dict[int, float] = {}
        admission = Admission(_is_signature, lambda _: True)
        self.nodes = [self._node(i, admission, holders) for i in range(len(self._wanted))]
        self._index = {n.contact.record.address: i for i, n in enumerate(self.nodes)}

    # --- what can be done -------------------------------------------------------------------

    def join_all(self, *, apart_s: float = 0.05) -> None:
        """Let the nodes enter one after the other by a random earlier one, then subscribe."""
        for i in range(1, len(self.nodes)):
            known = self.nodes[self._rng.randrange(i)].contact.record
            peers = [(known.key, known.address)]
            self.at(i * apart_s, lambda i=i, peers=peers: self._join(i, peers))  # type: ignore[misc]
        self.run(len(self.nodes) * apart_s + 30.0)
        for i, keys in enumerate(self._wanted):
            self.at(i * apart_s, lambda i=i, keys=keys: self._want(i, keys))  # type: ignore[misc]
        self.run(len(self.nodes) * apart_s + 30.0)

    def publish(self, publisher: int, keys: Iterable[bytes]) -> bytes:
        """Publish a packet at a node; its id."""
        node = self.nodes[publisher]
        number = next(self._published).to_bytes(8)
        packet = (node.contact.record.key + number).ljust(PACKET_SIZE, b"\x00")
        carried = _carried(packet, tuple(sorted(set(keys))), self.now)
        node.publisher.publish(carried, self.now)
        self._flush(publisher)
        return carried.id

    def kill(self, nodes: Iterable[int]) -> None:
        """Let nodes die at once, without a word."""
        self.dead.update(nodes)

    def partition(self, *sides: Iterable[int]) -> None:
        """Lose everything between nodes of different sides; no sides heal."""
        self.side_of = {node: side for side, nodes in enumerate(sides) for node in nodes}

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), action))

    def receivers(self, packet_id: bytes) -> set[int]:
        """The nodes that a packet has come to."""
        return {node for packet, node in self.copies if packet == packet_id}

    # --- the network ------------------------------------------------------------------------

    def _node(self, index: int, admission: Admission, holders: int) -> OverlayNode:
        def receive(packet: bytes, keys: tuple[bytes, ...], hops: int, now: float) -> bool:
            arrival = (_carried(packet, keys, now).id, index)
            self.copies[arrival] = self.copies.get(arrival, 0) + 1
            self.hops_of.setdefault(arrival, hops)
            return True

        def inspect(packet: bytes, keys: tuple[bytes, ...], now: float) -> Carried:
            return _carried(packet, () if index in self.droppers else keys, now)

        settings = Settings(
            credentials=_credentials(self._rng.randbytes(32)),
            address=pack_address(f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}", 4_000),
            inspect=inspect,
            receive=receive,
            accepts=lambda _: True,
            holders=holders,
        )
        rng = random.Random(self._rng.getrandbits(64))  # noqa: S311  as above
        node = OverlayNode(settings, rng=rng, now=self.now, admission=admission)
        node.finder.finished = self._note_lookup
        return node

    def _note_lookup(self, lookup: Lookup) -> None:
        self.lookups.append((lookup.path_length, lookup.requests))

    def _join(self, index: int, peers: list[tuple[bytes, bytes]]) -> None:
        self.nodes[index].join(peers, self.now)
        self._flush(index)

    def _want(self, index: int, keys: tuple[bytes, ...]) -> None:
        self.nodes[index].interests.want(keys, self.now)
        self._flush(index)

    def _flush(self, index: int) -> None:
        node = self.nodes[index]
        for data, address, _ in node.datagrams():
            self._send(index, data, address)
        at = node.next_timer()
        if at is not None and at < self._timer_at.get(index, float("inf")):
            self._timer_at[index] = at
            due = max(at, self.now)
            heapq.heappush(self._events, (due, next(self._order), lambda: self._wake(index, at)))

    def _wake(self, index: int, at: float) -> None:
        if self._timer_at.get(index) != at:
            return
        del self._timer_at[index]
        if index not in self.dead:
            self.nodes[index].handle_timer(self.now)
            self._flush(index)

    def _send(self, source: int, data: bytes, address: bytes) -> None:
        target = self._index.get(address)
        self.datagrams += 1
        self.datagram_bytes += len(data)
        if target is None or self.side_of.get(source) != self.side_of.get(target):
            return
        for _ in range(1 + (self._rng.random() < self.duplicate)):
            if self._rng.random() >= self.loss:
                self.at(
                    self._rng.uniform(*self._latency_s),
                    lambda: self._arrive(source, target, data),
                )

    def _arrive(self, source: int, target: int, data: bytes) -> None:
        if target not in self.dead:
            address = self.nodes[source].contact.record.address
            self.nodes[target].receive_datagram(data, address, self.now)
            self._flush(target)


def _carried(packet: bytes, keys: tuple[bytes, ...], now: float) -> Carried:
    return Carried(
        id=blake3(packet).digest(),
        issuer=packet[:32],
        expires_at=now + LIFETIME_S,
        keys=keys,
        packet=packet,
    )


def _credentials(key: bytes) -> Credentials:
    return Credentials(key=key, sign=lambda text: _seal(key, text), verify=_is_signature)


def _seal(key: bytes, text: bytes) -> bytes:
    return blake3(key + text).digest(64)


def _is_signature(key: bytes, text: bytes, signature: bytes) -> bool:
    return signature == _seal(key, text)

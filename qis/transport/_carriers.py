"""How a node of an in-memory network sends packets to others: directly, or by the overlay."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Final

from qis import _layout
from qis._clock import Clock
from qis._guard import LAST_PAUSE_S, Guard
from qis.channel.channels import Opened
from qis.direct.frames import MAGIC
from qis.health import Condition
from qis.identity import Identity
from qis.overlay.lru_cache import LruCache
from qis.packet import CLOCK_TOLERANCE_S, Packet, issuer_key
from qis.refusals import Claim, judge_refusals
from qis.relay import Relays
from qis.transport._modes import (
    Node,
    NodeParts,
    after_both,
    called_otherwise,
    holding,
    judged_again,
    paths_of,
)
from qis.transport._relayed import RelayedChannels
from qis.transport._standing import judge
from qis.transport.base import Holding, Statistics
from qis.transport.reception import Reception, Verdict

TRIES: Final = 5
"""Retries of an arrival on which this node failed that keep virtual time moving. Later retries
happen only when something else moves the time."""
RETAIN_LIMIT: Final = 100_000
"""Packets that the direct mode keeps for subscribers that come later; the oldest go first."""


class Carrier(ABC):
    """The part of a node that decides where packets go."""

    @property
    def is_busy(self) -> bool:
        """True if it waits for an answer or for its own next step."""
        return False

    @abstractmethod
    def publish(self, packet: Packet, keys: tuple[bytes, ...], now: float) -> None:
        """Send a packet to the nodes that want one of its keys."""

    @abstractmethod
    def interests_changed(self, now: float, *, has_more: bool) -> None:
        """Register what is wanted here now; `has_more` if that is more than before."""

    @abstractmethod
    def withdraw(self, packet_ids: Iterable[bytes]) -> None:
        """Stop repeating and keeping these packets of this node."""

    @abstractmethod
    def spread(self, now: float) -> None:
        """Bring what was published here to other nodes, so that it outlives this one."""

    @abstractmethod
    def leave(self, now: float) -> None:
        """Tell the other nodes that this one leaves."""

    def holding(self, packet_id: bytes) -> Holding:  # noqa: ARG002
        """Tell whether the network holds a packet; by default it holds all packets at once."""
        return Holding(is_held=True)

    def all_held(self, now: float) -> bool:  # noqa: ARG002
        """True if the network holds all that was published here."""
        return True

    def judge_again(self) -> None:  # noqa: B027  which most need not
        """React to a change of whom the reception accepts."""


class Direct(Carrier):
    """Knows every node of the process, and sends to those that share a key.

    Parameters
    ----------
    guard
        Contains what an arrival raises.
    others
        Gives the other nodes that are alive now.
    message_store
        What was published before: packet id → (packet, keys). Shared by all nodes of the network.
    reception, statistics
        What verifies this node's arrivals, and its counters.
    send
        Called with (from, to, action): runs the action later at `to`, unless it is lost.
    wake
        Called with a time in Unix seconds, what is to be done then, and whether `settle` waits.

    """

    def __init__(
        self,
        reception: Reception,
        statistics: Statistics,
        *,
        guard: Guard,
        others: Callable[[], Iterable["Direct"]],
        message_store: dict[bytes, tuple[bytes, tuple[bytes, ...]]],
        send: Callable[["Direct", "Direct", Callable[[float], None]], None],
        wake: Callable[[float, Callable[[float], None], bool], None],
    ) -> None:
        self._reception = reception
        self._statistics = statistics
        self._guard = guard
        self._others = others
        self._message_store = message_store
        self._send = send
        self._now = 0.0
        # Ids of what a full subscription has kept out; they come once it has room.
        self._kept_out: LruCache[bytes, None] = LruCache(RETAIN_LIMIT)
        self._awaited: set[bytes] = set()
        self._wake = wake
        reception.on_room = self._again

    def publish(self, packet: Packet, keys: tuple[bytes, ...], now: float) -> None:  # noqa: ARG002
        """Send to every node that wants one of the keys, and keep the packet for later nodes."""
        carried = (bytes(packet), keys)
        self._message_store[packet.id] = carried
        if len(self._message_store) > RETAIN_LIMIT:
            oldest, _ = self._message_store.pop(next(iter(self._message_store)))
            self._guard.at_limit(
                "transport._carriers.RETAIN_LIMIT",
                issuer_key(oldest).hex(),
                "a packet is kept no longer: who subscribes later does not get it",
            )
        self._statistics.bytes_sent += len(carried[0])
        for node in self._others():
            if node.wants(keys):
                self._send(self, node, node.arrival(packet.id, *carried))

    def interests_changed(self, now: float, *, has_more: bool) -> None:  # noqa: ARG002
        """Take in what was published before and is wanted now."""
        for packet_id, (data, keys) in self._message_store.items() if has_more else ():
            if self.wants(keys):
                self._send(self, self, self.arrival(packet_id, data, keys))

    def withdraw(self, packet_ids: Iterable[bytes]) -> None:
        """Stop keeping these for later subscribers."""
        for packet_id in packet_ids:
            self._message_store.pop(packet_id, None)

    def spread(self, now: float) -> None:
        """Nothing to do: the network keeps what was published."""

    def leave(self, now: float) -> None:
        """Nothing to do: the other nodes see at once who is alive."""

    def wants(self, keys: Iterable[bytes]) -> bool:
        """True if an interest registered here has one of these routing keys or study ids."""
        return not set(keys).isdisjoint(self._reception.wanted_keys())

    def arrival(
        self, packet_id: bytes, data: bytes, keys: tuple[bytes, ...]
    ) -> Callable[[float], None]:
        """Return the action that takes a packet in when it arrives here."""

        def arrive(now: float) -> None:
            self._statistics.datagrams_received += 1
            self._statistics.bytes_received += len(data)
            self._now = now
            with self._guard.item("memory.arrival"):
                self._take(packet_id, data, keys, now)

        return arrive

    def _take(
        self, packet_id: bytes, data: bytes, keys: tuple[bytes, ...], now: float, tries: int = 0
    ) -> None:
        """Take an arrival in; what could not be judged now comes again from the message store."""
        verdict = self._reception.receive(data, keys, hops=1, now=now)
        if verdict is Verdict.FULL:
            self._kept_out.put(packet_id, None)
        elif verdict in (Verdict.FAULT, Verdict.UNHEARD):
            pause_s = min(2.0**tries, LAST_PAUSE_S)
            self._come_again(packet_id, now + pause_s, tries + 1)
        elif verdict is Verdict.EARLY:
            self._come_again(
                packet_id, int.from_bytes(data[_layout.ISSUED_AT]) - CLOCK_TOLERANCE_S, 0
            )

    def _come_again(self, packet_id: bytes, when: float, tries: int) -> None:
        if packet_id in self._awaited:
            return
        self._awaited.add(packet_id)

        def arrive(now: float) -> None:
            self._awaited.discard(packet_id)
            self._now = now
            data, keys = self._message_store.get(packet_id, (b"", ()))
            if data:
                with self._guard.item("memory.arrival"):
                    self._take(packet_id, data, keys, now, tries)

        # Time moves on for the first tries; a node that always fails must not keep it moving.
        self._wake(when, arrive, 0 < tries <= TRIES)

    def _again(self) -> None:
        """Take in what a full subscription has kept out, as far as there is room."""
        while self._kept_out:
            packet_id = next(iter(self._kept_out))
            data, keys = self._message_store.get(packet_id, (b"", ()))
            self._kept_out.pop(packet_id, None)
            if data:
                self._take(packet_id, data, keys, self._now)
                if packet_id in self._kept_out:  # full again
                    self._kept_out.move_to_end(packet_id, last=False)
                    return


class PlainChannels:
    """In the place of channels where the network itself vouches for who has sent what.

    Parameters
    ----------
    key_at
        Gives the key of the node that a relayed address is of.

    """

    def __init__(self, key_at: Callable[[bytes], bytes | None]) -> None:
        self._key_at = key_at
        self._peer = (b"", b"")
        self._out: list[tuple[bytes, bytes]] = []

    def came_from(self, peer: tuple[bytes, bytes]) -> None:
        """Believe that what comes next from this (key, address) does."""
        self._peer = peer

    def send(self, datagram: bytes, address: bytes, key: bytes | None, now: float) -> None:  # noqa: ARG002
        """Send as it is."""
        self._out.append((datagram, address))

    def receive(self, data: bytes, address: bytes, now: float) -> list[Opened]:  # noqa: ARG002
        """Take as it is."""
        key = self._peer[0] if address == self._peer[1] else self._key_at(address)
        return [] if key is None else [Opened(data, address, key)]

    def datagrams(self) -> list[tuple[bytes, bytes]]:
        """What has to be sent now; taken once."""
        found, self._out = self._out, []
        return found


class Overlaid(Carrier):
    """A node of the overlay, which differs from one on UDP in its clock and its transmission only.

    Parameters
    ----------
    identity, address
        The node's key, and its address as the overlay's 18 bytes.
    reception, statistics
        What verifies this node's arrivals, and its counters.
    now
        Unix seconds at which it begins.
    guard
        Contains what a datagram or an alarm raises.
    rng
        Source of all randomness of the node.
    send
        Called with (datagram, address).
    wake
        Called with a time in Unix seconds and what is to be done then.
    condition
        Told how the node stands to the others.
    clock
        Gives the network's time in Unix seconds.
    key_at
        Gives the key of the node that has relayed from an address.

    """

    def __init__(
        self,
        identity: Identity,
        reception: Reception,
        statistics: Statistics,
        *,
        address: bytes,
        guard: Guard,
        rng: Random,
        now: float,
        send: Callable[[bytes, bytes], None],
        wake: Callable[[float, Callable[[float], None]], None],
        condition: Condition,
        clock: Callable[[], float],
        key_at: Callable[[bytes], bytes | None],
    ) -> None:
        self._condition = condition
        self._now = clock
        self._opened_at = now
        self._validator = reception.validator
        self._parts = NodeParts(
            identity=identity,
            address=address,
            reception=reception,
            statistics=statistics,
            guard=guard,
            rng=rng,
            clock=Clock(clock, clock),
            secret=partial(rng.randbytes, 32),
        )
        self.node: Node = self._parts.node(now)
        self._reception = reception
        self._statistics = statistics
        self._guard = guard
        self._send = send
        self._wake = wake
        self._alarm_at = float("inf")
        self._plain = PlainChannels(key_at)
        relays = Relays(
            lambda: paths_of(self.node), rng=rng, refused=statistics.refused, guard=guard
        )
        self._channels = RelayedChannels(self._plain, relays)

    @property
    def peer(self) -> tuple[bytes, bytes]:
        """Key and address (18 bytes), by which others can join."""
        record = self.node.contact.record
        return record.key, record.address

    @property
    def is_busy(self) -> bool:
        """True if a request is under way or a handover is due."""
        return self.node.is_busy

    def join(self, peers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Enter the network through these peers."""
        self.node.join(peers, now)
        self._flush()

    def publish(self, packet: Packet, keys: tuple[bytes, ...], now: float) -> None:
        """Hand a packet to the rendezvous nodes of its keys."""
        self.node.publish(self._validator.carried(packet, keys), now)
        self._flush()

    def interests_changed(self, now: float, *, has_more: bool) -> None:  # noqa: ARG002
        """Register what is wanted here at the rendezvous nodes of its keys."""
        self.node.want(self._reception.wanted(), now)
        self._flush()

    def spread(self, now: float) -> None:
        """Hand all own packets that live to all rendezvous nodes of their keys."""
        self.node.spread(now)
        self._flush()

    def holding(self, packet_id: bytes) -> Holding:
        """Tell whether other nodes have acknowledged a packet under each of its keys."""
        return holding(self.node, packet_id, self._refusals(self._now()))

    def _refusals(self, now: float) -> list[Claim]:
        known = (contact.record.key for contact in self.node.table)
        return self._reception.refusals.claims(known, now)

    def all_held(self, now: float) -> bool:
        """True if other nodes have acknowledged all that was published here."""
        return self.node.all_held(now)

    def withdraw(self, packet_ids: Iterable[bytes]) -> None:
        """Stop repeating these packets."""
        self.node.withdraw(packet_ids)

    def judge_again(self) -> None:
        """Drop nodes that are no longer accepted."""
        self.node = judged_again(self.node, self._parts, self._now())
        self._flush()

    def leave(self, now: float) -> None:
        """Withdraw all subscriptions and tell the other nodes that this one leaves."""
        self.node.leave(now)
        self._flush()

    def receive(self, data: bytes, peer: tuple[bytes, bytes], now: float) -> None:
        """Take a datagram in, from a key and address that the network vouches for, as a channel."""
        self._statistics.datagrams_received += 1
        self._statistics.bytes_received += len(data)
        with self._guard.item("memory.datagram"):
            self._plain.came_from(peer)
            called = self._channels.receive(data, peer[1], now)
            # The keyed mode is told no sender here: it then proves addresses by its own tokens.
            arrivals = [
                (plain, address, key if plain.startswith(MAGIC) else None)
                for plain, address, key in called
            ]
            self.node = called_otherwise(self.node, self._parts, called, now)
            self.node.receive_datagrams(arrivals, now)
            if not called:
                self.node.handle_timer(now)
        self._flush()

    def _flush(self) -> None:
        now = self._now()
        with self._guard.item("memory.relays"):
            self._channels.handle_timer(now)
        for plain, address, key in self.node.datagrams():
            self._plain.send(plain, address, key, now)
        for data, address in self._channels.datagrams(now):
            self._statistics.datagrams_sent += 1
            self._statistics.bytes_sent += len(data)
            with self._guard.item("memory.sending"):  # as if lost on the way
                self._send(data, address)
        standing = self.node.standing
        heard_at = self._opened_at if standing.heard_at is None else standing.heard_at
        judge(self._condition, standing, now=now, heard_s_ago=now - heard_at)
        judge_refusals(self._condition, self._refusals(now), now=now)
        times = (self.node.next_timer(), self._channels.next_timer())
        due = min((at for at in times if at is not None), default=None)
        if due is not None and due < self._alarm_at:
            self._alarm_at = due
            self._wake(due, self._ring)

    def _ring(self, now: float) -> None:
        if now >= self._alarm_at:
            self._alarm_at = float("inf")
            with self._guard.item("memory.alarm"):
                self.node.handle_timer(now)
                self.node = after_both(self.node, now)
            self._flush()

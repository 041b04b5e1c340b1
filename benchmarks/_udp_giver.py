"""A node that has packets for another and nothing else: as holders send them, or all at once.

What goes out are the overlay's own messages, with its own retries, under its own channel.
"""

import random
import secrets
import select
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from _processes import identity
from _udp_nodes import signed

import qis
from qis.channel import Channels
from qis.overlay.addresses import pack_address, unpack_address
from qis.overlay.bundles import messages_of
from qis.overlay.messages import Deliver, Delivered, Message, decode
from qis.overlay.record import NodeRecord
from qis.overlay.rpc import Rpc
from qis.overlay.send_window import WINDOW
from qis.overlay.timers import Timers
from qis.packet import Packet
from qis.transport._peer_names import parse_peer
from qis.transport._socket import RECEIVE_BUFFER

LOST_S = 5.0
"""After so long without an acknowledgement a packet counts as lost."""
NODES = 4
"""Nodes of a process that floods."""


class Giver:
    """Delivers packets to one node."""

    def __init__(self, number: int, address: str) -> None:
        rng = random.Random(secrets.randbits(256))
        self.sent = self.answered = self.silent = 0
        self._behind_s = 0.0
        self._timers = Timers()
        self._rpc = Rpc(self._timers, rng, rng.randbytes(32))
        self._channels = Channels(
            identity(number), accepts=qis.Roster.open().accepts, rng=rng, secret=rng.randbytes(32)
        )
        key, packed_address = parse_peer(address)
        self._to = NodeRecord(key=key, sequence=0, address=packed_address, signature=b"")
        self._address = unpack_address(packed_address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._socket.bind(("127.0.0.1", 0))

    def prepare(self, packets: list[Packet]) -> list[bytes]:
        """The sealed datagrams of a flood; for this node no time passes meanwhile."""
        now, began = self._now(), time.time()
        for packet in packets:
            self._ask(packet, now)
        datagrams = self._sealed(now)
        self._behind_s += time.time() - began
        return datagrams

    def wait(self, until: float) -> None:
        """Wait, and for this node no time passes."""
        pause_s = max(0.0, until - time.time())
        self._behind_s += pause_s
        time.sleep(pause_s)

    def send(self, datagrams: list[bytes]) -> None:
        """As fast as the system takes them."""
        for datagram in datagrams:
            self._socket.sendto(datagram, self._address)
        self.sent += len(datagrams)

    def sealed(self, packets: list[Packet]) -> list[bytes]:
        """The datagrams that deliver packets, as a holder's; this node expects no answer."""
        now = self._now()
        for number, packet in enumerate(packets):
            request = number.to_bytes(8)
            message = Deliver(request=request, hops=1, keys=_keys(packet), packet=bytes(packet))
            self._rpc.send(message, self._to)
        return self._sealed(now)

    def send_paced(self, datagrams: list[bytes], packets: int) -> None:
        """Send with a window as a holder's, and wait until all packets are acknowledged.

        Nothing is sent again, and a loss is an error: this is so little work that it hardly
        disturbs who receives.
        """
        sent = acknowledged = 0
        while acknowledged < packets:
            end = min((acknowledged + WINDOW) * len(datagrams) // packets, len(datagrams))
            self.send(datagrams[sent:end])
            sent = max(sent, end)
            if not select.select([self._socket], [], [], LOST_S)[0]:
                raise RuntimeError("a packet was lost")
            for message in self._heard():
                if isinstance(message, Delivered):
                    acknowledged += 1 + len(message.others)

    def go_on(self) -> None:
        """Take acknowledgements in and try again, until nothing is under way."""
        while self.is_waiting:
            due = self._timers.next_at()
            pause_s = 0.01 if due is None else min(max(due - self._now(), 0.0), 0.1)
            select.select([self._socket], [], [], pause_s)
            self.step()

    @property
    def is_waiting(self) -> bool:
        """Whether an answer may come."""
        return self._rpc.is_waiting

    def step(self) -> None:
        """Take in what has come, and do what is due."""
        self._drain()
        now = self._now()
        self._timers.run(now)
        self._channels.handle_timer(now)
        self.send(self._sealed(now))

    def _now(self) -> float:
        return time.time() - self._behind_s

    def _ask(self, packet: Packet, now: float) -> None:
        def build(request: bytes, _: bytes) -> Deliver:
            return Deliver(request=request, hops=1, keys=_keys(packet), packet=bytes(packet))

        self._rpc.ask(
            build,
            self._to,
            now,
            expects=Delivered,
            on_answer=self._on_answer,
            on_silence=self._on_silence,
        )

    def _on_answer(self, _answer: Message, _now: float) -> None:
        self.answered += 1

    def _on_silence(self, _now: float) -> None:
        self.silent += 1

    def _sealed(self, now: float) -> list[bytes]:
        for data, address, key in self._rpc.take():
            self._channels.send(data, address, key, now)
        return [datagram for datagram, _ in self._channels.datagrams()]

    def _drain(self) -> None:
        for message in self._heard():
            self._rpc.hear(message, self._to.address, self._now())

    def _heard(self) -> Iterator[Message]:
        while True:
            try:
                data, (host, port) = self._socket.recvfrom(65_536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            for plain, _, _ in self._channels.receive(data, pack_address(host, port), self._now()):
                for message in map(decode, messages_of(plain) or ()):
                    if message is not None:
                        yield message


def _keys(packet: Packet) -> tuple[bytes, ...]:
    return (packet.outcome.study_id,)


def introduced(number: int, address: str, first: Packet) -> Giver:
    """A node with a session: the receiver has acknowledged its first packet."""
    giver = Giver(number, address)
    giver.send(giver.prepare([first]))
    giver.go_on()
    if giver.answered != 1:
        raise RuntimeError("the receiver does not answer")
    return giver


def flooder(pipe: Connection, number: int, count: int) -> None:
    """A process that sends all its packets at once and, after a word, those that are missing.

    It is several nodes, since one has no more than 16,384 requests under way.
    """
    address = pipe.recv()
    givers, datagrams = [], []
    for nth in range(NODES):
        first, *packets = signed(NODES * number + nth, count // NODES + 1)
        giver = introduced(NODES * number + nth, address, first)
        datagrams.append(giver.prepare(packets))
        givers.append(giver)
    pipe.send("ready")
    until = pipe.recv()
    for giver in givers:
        giver.wait(until)
    began = time.monotonic()
    for giver, its_datagrams in zip(givers, datagrams, strict=True):
        giver.send(its_datagrams)
    sent = sum(map(len, datagrams))
    pipe.send({"sent": sent, "began": began, "ended": time.monotonic()})
    pipe.recv()
    before = sum(giver.sent for giver in givers)
    while any(giver.is_waiting for giver in givers):
        for giver in givers:
            giver.step()
        time.sleep(0.001)
    resent = sum(giver.sent for giver in givers) - before
    silent = sum(giver.silent for giver in givers)
    pipe.send({"resent": resent, "silent": silent, "ended": time.monotonic()})


def holder(pipe: Connection, number: int, count: int) -> None:
    """A process that delivers as a holder of the receiver's subscription does."""
    first, *packets = signed(number, count + 1)
    giver = introduced(number, pipe.recv(), first)
    datagrams = giver.sealed(packets)
    pipe.send("ready")
    pipe.recv()
    giver.send_paced(datagrams, len(packets))
    pipe.send("done")
    pipe.recv()

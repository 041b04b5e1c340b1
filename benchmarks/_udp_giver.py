"""A node that has packets for another and nothing else: as holders send them, or all at once.

What goes out are the overlay's own messages, with its own retries, under its own channel.
"""

import random
import secrets
import select
import socket
import time
from multiprocessing.connection import Connection

from _udp_nodes import signed
from loop import identity

import qis
from qis.channel import Channels
from qis.overlay.addresses import pack_address, unpack_address
from qis.overlay.bundles import messages_of
from qis.overlay.inspection import Inspector
from qis.overlay.links import Links
from qis.overlay.messages import Deliver, Delivered, Message, decode
from qis.overlay.outflow import Outflow
from qis.overlay.record import NodeRecord
from qis.overlay.timers import Timers
from qis.packet import Packet
from qis.transport._carriers import topic_of
from qis.transport._peer_names import parse_peer
from qis.transport._socket import RECEIVE_BUFFER

NODES = 4
"""Nodes of a process that floods."""


class Giver:
    """Delivers packets to one node."""

    def __init__(self, number: int, address: str) -> None:
        rng = random.Random(secrets.randbits(256))
        self.sent = self.answered = self.silent = 0
        self._behind_s = 0.0
        self._timers = Timers()
        self._links = Links(self._timers, rng)
        self._inspector = Inspector(lambda _: True, topic_of)
        self._outflow = Outflow(self._links, b"")
        self._channels = Channels(identity(number), accepts=qis.Roster.open().accepts, rng=rng)
        key, place = parse_peer(address)
        self._to = NodeRecord(key=key, sequence=0, address=place, signature=b"")
        self._place = unpack_address(place)
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
            self._socket.sendto(datagram, self._place)
        self.sent += len(datagrams)

    def deliver(self, packets: list[Packet]) -> None:
        """As a holder does: with a window, and again if they are not acknowledged."""
        now = self._now()
        for packet in packets:
            self._outflow.deliver(
                Inspector(lambda _: True, topic_of).carried(packet, _keys(packet)), self._to, 0, now
            )
        self.send(self._sealed(now))
        self.go_on()

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
        return self._links.is_waiting

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

        self._links.ask(
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
        for data, address, key in self._links.take():
            self._channels.send(data, address, key, now)
        return [datagram for datagram, _ in self._channels.datagrams()]

    def _drain(self) -> None:
        while True:
            try:
                data, (host, port) = self._socket.recvfrom(65_536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            now, address = self._now(), pack_address(host, port)
            for plain, _ in self._channels.receive(data, address, now):
                for message in map(decode, messages_of(plain) or ()):
                    if message is not None:
                        self._links.hear(message, address, now)


def _keys(packet: Packet) -> tuple[bytes, ...]:
    return (packet.outcome.study_id,)


def _introduced(number: int, address: str, first: Packet) -> Giver:
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
        giver = _introduced(NODES * number + nth, address, first)
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
    giver = _introduced(number, pipe.recv(), first)
    pipe.send("ready")
    pipe.recv()
    giver.deliver(packets)
    pipe.send("done")
    pipe.recv()

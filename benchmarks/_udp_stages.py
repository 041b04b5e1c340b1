"""Where a receiver's CPU time goes: the same datagrams, each time taken one step further.

Every step is run for all datagrams from a real socket, 32 at a time, as the transport takes them; a
stage is what its step takes longer than the one before. No clock is read inside. What the event
loop, timers and the iterator add is the whole, measured in the transport, less the last step.
"""

import random
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from _processes import identity, verification_s
from _udp_nodes import INTEREST, RECEIVER, signed

import qis
from qis.channel import Channels
from qis.overlay.addresses import pack_address, unpack_address
from qis.overlay.bundles import bundled, messages_of
from qis.overlay.delivering import Arrived
from qis.overlay.messages import Deliver, decode
from qis.overlay.node import Arrival, OverlayNode, Settings
from qis.overlay.record import Credentials
from qis.transport._socket import BATCH
from qis.transport.base import Statistics
from qis.transport.reception import Reception

COUNT: Final = 2_048
ROUNDS: Final = 5
SEAL: Final = "seal acknowledgements"
SEND: Final = "send acknowledgements"
"""These two are done for a whole batch, as the transport does them."""
ACCEPTS: Final = qis.Roster.open().accepts
Datagram = tuple[bytes, bytes]
Step = Callable[[list[Datagram]], object]


class Pair:
    """Two sockets on loopback, and the channel between them."""

    def __init__(self, stack: ExitStack) -> None:
        self.here, self.there = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
        )
        for end in (self.here, self.there):
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)  # noqa: FBT003  the socket's own signature
        self.address = pack_address(*self.here.getsockname())
        self._sender_at = pack_address(*self.there.getsockname())
        self.channels, self._sender = (
            Channels(identity(number), accepts=ACCEPTS, rng=random.Random(number), secret=bytes(32))
            for number in (RECEIVER, 1)
        )

    def sealed(self, plain: bytes, now: float) -> bytes:
        """A datagram of the sender; the first makes the session."""
        self._sender.send(plain, self.address, identity(RECEIVER).issuer.key, now)
        while True:
            out = self._sender.datagrams()
            if out[0][0][0] == 4:
                return out[0][0]
            for data, _ in out:
                self.channels.receive(data, self._sender_at, now)
            for data, _ in self.channels.datagrams():
                self._sender.receive(data, self.address, now)

    def seal(self, answers: list[tuple[bytes, bytes, bytes | None]]) -> None:
        """Put what a node says under the channel."""
        for answer, to, key in answers:
            self.channels.send(answer, to, key or identity(1).issuer.key, time.time())

    def send(self) -> None:
        """What the channel has to send."""
        for data, to in self.channels.datagrams():
            self.here.sendto(data, unpack_address(to))


def node_of(address: bytes, now: float, stack: ExitStack) -> tuple[OverlayNode, Reception]:
    """A node with one subscription, and its gate."""
    reception = Reception(qis.Roster.open(), Statistics())
    stack.enter_context(reception.inbox(INTEREST, now=now))
    settings = Settings(
        credentials=Credentials.of(identity(RECEIVER)),
        address=address,
        inspect=reception.validator,
        verify_ahead=reception.validator.verify_ahead,
        receive=reception.takes,
        accepts=ACCEPTS,
    )
    return OverlayNode(settings, rng=random.Random(0), secret=bytes(32), now=now), reception


def steps_of(pair: Pair, node: OverlayNode, reception: Reception) -> dict[str, Step]:
    """What is done with some (datagram, address), step by step."""

    def opened(datagrams: list[Datagram]) -> list[Arrival]:
        now = time.time()
        return [
            arrived
            for data, address in datagrams
            for arrived in pair.channels.receive(data, address, now)
        ]

    def decoded(datagrams: list[Datagram]) -> list[Arrived]:
        parts = [part for plain, _, _ in opened(datagrams) for part in messages_of(plain) or ()]
        messages = [message for message in map(decode, parts) if isinstance(message, Deliver)]
        return [(message.packet, message.keys, message.hops) for message in messages]

    def parsed(datagrams: list[Datagram]) -> None:
        qis.Packet.verify_many([packet for packet, _, _ in decoded(datagrams)], workers=1)

    def admitted(datagrams: list[Datagram]) -> None:
        reception.takes(decoded(datagrams), time.time())

    def noded(datagrams: list[Datagram]) -> None:
        node.receive_datagrams(opened(datagrams), time.time())

    return {
        "socket read": lambda datagrams: None,  # noqa: ARG005
        "unseal": opened,
        "decode messages": decoded,
        "verify and parse": parsed,
        "admission and delivery": admitted,
        "overlay node": noded,
        SEAL: noded,
        SEND: noded,
    }


def microseconds(step_name: str, packets: list[qis.Packet], at_once: int = BATCH) -> float:
    """CPU time of one packet from the socket to the end of a step, so many datagrams at once."""
    with ExitStack() as stack:
        now = time.time()
        pair = Pair(stack)
        node, reception = node_of(pair.address, now, stack)
        step = steps_of(pair, node, reception)[step_name]
        bundles = bundled([(delivery(each, nth), b"", None) for nth, each in enumerate(packets)])
        datagrams = [pair.sealed(plain, now) for plain, _, _ in bundles]
        spent_s = 0.0
        for start in range(0, len(datagrams), at_once):
            batch = datagrams[start : start + at_once]
            for datagram in batch:
                pair.there.sendto(datagram, pair.here.getsockname())
            began = time.process_time()
            arrived = [pair.here.recvfrom(2_048) for _ in batch]
            step([(data, pack_address(*source)) for data, source in arrived])
            if step_name in {SEAL, SEND}:
                pair.seal(node.datagrams())
            if step_name == SEND:
                pair.send()
            spent_s += time.process_time() - began
        return 1e6 * spent_s / len(packets)


def delivery(packet: qis.Packet, number: int) -> bytes:
    """The message of a holder that delivers a packet."""
    keys = (packet.outcome.study_id,)
    message = Deliver(request=number.to_bytes(8), hops=1, keys=keys, packet=bytes(packet))
    return message.encode()


def stages(whole_us: float) -> dict[str, float]:
    """Microseconds of each stage, of so many in the whole transport; medians of some rounds."""
    packets = signed(2, COUNT)
    with ExitStack() as stack:
        pair = Pair(stack)
        names = list(steps_of(pair, *node_of(pair.address, time.time(), stack)))
    rounds = [{name: microseconds(name, packets) for name in names} for _ in range(ROUNDS)]
    ends = [statistics.median(found[name] for found in rounds) for name in names]
    verify_us = 1e6 * verification_s()
    found = {name: end - begin for name, begin, end in zip(names, [0.0, *ends], ends, strict=False)}
    found["event loop, timers, iterator"] = whole_us - ends[-1]
    of_the_same_us = 1e6 * verification_s(of_the_same=True)
    alone_us = statistics.median(microseconds(SEND, packets, 1) for _ in range(ROUNDS))
    return {
        "verify, bare": verify_us,
        "the same packet over and over": of_the_same_us,
        **found,
        "whole": whole_us,
        "all stages": ends[-1],
        "all stages, each datagram alone": alone_us,
    }

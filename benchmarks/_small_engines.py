"""The same packets by a broker and by a mesh: everybody takes everything from NATS, or from zenoh.

Neither encrypts here, verifies a packet, or acknowledges one. Bytes are those of their streams with
52 bytes of IP and TCP for each message; TCP's own acknowledgements are not counted.
"""

import asyncio
import json
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import nats

from qis.testing import NATSServer

TOPIC = "packets"
TCP_HEADS = 52
WITHIN_S = 60.0
COUNTED = 64
"""Messages by which the bytes of one are found."""
Signed = Sequence[Sequence[bytes]]
"""Packets, by publisher."""


class Cost(NamedTuple):
    """What one delivery to another site costs."""

    size: float
    cpu_s: float


async def nats_cost(signed: Signed) -> Cost:
    """Where everybody takes all from a server of its own, whose CPU time counts too."""
    sites, rounds = len(signed), len(signed[0])
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with NATSServer(Path(folder), 'listen: "127.0.0.1:{port}"\n') as server:
            clients = [await nats.connect(server.url) for _ in range(sites)]
            got = [0] * sites
            for number, client in enumerate(clients):

                async def take(_message: object, number: int = number) -> None:
                    got[number] += 1

                await client.subscribe(TOPIC, cb=take)
                await client.flush()
            cpu_before = time.process_time()
            for number in range(rounds):
                for mine, client in zip(signed, clients, strict=True):
                    await client.publish(TOPIC, mine[number])
                async with asyncio.timeout(WITHIN_S):
                    while min(got) < (number + 1) * sites:  # noqa: ASYNC110  callbacks count
                        await asyncio.sleep(0.005)
            own_cpu_s = time.process_time() - cpu_before
            for client in clients:
                await client.close()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    server_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    deliveries = sites * sites * rounds  # each gets its own back too
    published = len("PUB packets 512\r\n") + 514 + TCP_HEADS
    delivered = len("MSG packets 1 512\r\n") + 514 + TCP_HEADS
    size = (sites * rounds * published + deliveries * delivered) / (sites * (sites - 1) * rounds)
    return Cost(size, (own_cpu_s + server_cpu_s) / deliveries)


def zenoh_cost(signed: Signed) -> Cost | None:
    """Where each pair of peers has a TCP connection; `None`, and said, if it is not installed."""
    try:
        import zenoh  # noqa: PLC0415  of the extra [bench], and missed by nobody else
    except ImportError as error:
        print(f"no figures of zenoh: {error} (extra [bench])", file=sys.stderr)
        return None
    sites = len(signed)
    got = [0] * sites
    with ExitStack() as stack:
        publishers = _mesh(zenoh, got, stack)
        deliver_at = time.monotonic() + WITHIN_S
        while min(got) < sites - 1:  # until all are connected with all
            got[:] = [0] * sites
            _publish(publishers, [bytes(512)] * sites)
            time.sleep(0.5)
            if time.monotonic() > deliver_at:
                raise TimeoutError("zenoh's peers do not find each other")
        got[:] = [0] * sites
        cpu_before = time.process_time()
        for number, packets in enumerate(zip(*signed, strict=True), start=1):
            _publish(publishers, packets)
            until = time.monotonic() + WITHIN_S
            while min(got) < number * (sites - 1):
                if time.monotonic() > until:
                    raise TimeoutError(f"zenoh has delivered {got}")
                time.sleep(0.005)
        cpu_s = time.process_time() - cpu_before
        for publisher in publishers:
            publisher.undeclare()
    return Cost(_zenoh_size(zenoh), cpu_s / (sites * (sites - 1) * len(signed[0])))


def _mesh(zenoh: Any, got: list[int], stack: ExitStack) -> list[Any]:
    """Publishers of as many peers as there are counters, each subscribed to what others publish."""
    publishers: list[Any] = []
    addresses: list[str] = []
    for number in range(len(got)):
        address = f"tcp/127.0.0.1:{_free_port()}"
        session = stack.enter_context(_session(zenoh, address, addresses))
        addresses.append(address)

        def take(_sample: object, number: int = number) -> None:
            got[number] += 1

        session.declare_subscriber(TOPIC, take, allowed_origin=zenoh.Locality.REMOTE)
        publishers.append(
            session.declare_publisher(
                TOPIC,
                congestion_control=zenoh.CongestionControl.BLOCK,
                allowed_destination=zenoh.Locality.REMOTE,
            )
        )
    return publishers


def _publish(publishers: Sequence[Any], packets: Sequence[bytes]) -> None:
    for publisher, packet in zip(publishers, packets, strict=True):
        publisher.put(packet)


def _session(zenoh: Any, listen: str, connect: Sequence[str]) -> Any:
    """A peer on loopback that looks for nobody by itself."""
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("scouting/gossip/enabled", "false")
    config.insert_json5("listen/endpoints", json.dumps([listen]))
    config.insert_json5("connect/endpoints", json.dumps(list(connect)))
    return zenoh.open(config)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class _Counting:
    """A relay of one TCP connection that counts the bytes from the end that has connected."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        far = socket.create_connection(("127.0.0.1", self._to))
        threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()
        self._pass_on(near, far, True)  # noqa: FBT003  a thread's argument

    def _pass_on(self, origin: socket.socket, to: socket.socket, counts: bool) -> None:  # noqa: FBT001
        try:
            while data := origin.recv(65_536):
                self.count += counts * len(data)
                to.sendall(data)
        except OSError:
            pass  # the other end has closed
        to.close()


def _zenoh_size(zenoh: Any) -> float:
    """Bytes of a message between two peers, one at a time, with IP and TCP."""
    port = _free_port()
    got = threading.Semaphore(0)
    with _session(zenoh, f"tcp/127.0.0.1:{port}", []) as taking:
        taking.declare_subscriber(TOPIC, lambda _: got.release())
        relay = _Counting(port)
        address = [f"tcp/127.0.0.1:{relay.port}"]
        with _session(zenoh, f"tcp/127.0.0.1:{_free_port()}", address) as giving:
            publisher = giving.declare_publisher(TOPIC)
            for _ in range(int(WITHIN_S)):  # until they are connected
                publisher.put(bytes(512))
                if got.acquire(timeout=1.0):
                    break
            before = relay.count
            for _ in range(COUNTED):
                publisher.put(bytes(512))
                if not got.acquire(timeout=WITHIN_S):
                    raise TimeoutError("zenoh delivers nothing")
            return (relay.count - before) / COUNTED + TCP_HEADS

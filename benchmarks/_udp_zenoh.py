"""eclipse-zenoh instead of the transport: peers on loopback, over TCP, that look for nobody."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import zenoh
from _udp_nodes import PAUSE_S, signed
from _udp_taken import TOPIC, Taken, free_port


def _session(*, listen: str = "", connect: str = "") -> Any:
    """A peer on loopback that looks for nobody by itself."""
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("scouting/gossip/enabled", "false")
    config.insert_json5("listen/endpoints", json.dumps([listen] if listen else []))
    config.insert_json5("connect/endpoints", json.dumps([connect] if connect else []))
    return zenoh.open(config)


def taker(pipe: Connection, verifies: bool) -> None:  # noqa: FBT001  a process's argument
    """A process that subscribes."""
    taken = Taken(verifies=verifies)
    address = f"tcp/127.0.0.1:{free_port()}"
    with _session(listen=address) as session:
        subscriber = session.declare_subscriber(TOPIC, lambda s: taken.take(s.payload.to_bytes()))
        pipe.send(address)
        taken.answer(pipe)
        subscriber.undeclare()


@contextmanager
def _publisher(address: str) -> Iterator[Callable[[bytes], None]]:
    """What publishes, and waits while the other end has no room."""
    with _session(connect=address) as session:
        publisher = session.declare_publisher(
            TOPIC, congestion_control=zenoh.CongestionControl.BLOCK
        )
        yield publisher.put


def giver(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes as fast as it may."""
    packets = [bytes(packet) for packet in signed(number, count)]
    with _publisher(pipe.recv()) as put:
        pipe.send("ready")
        pipe.recv()
        for packet in packets:
            put(packet)
        pipe.send("done")
        pipe.recv()


def single(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes one at a time."""
    started: dict[bytes, float] = {}
    packets = [bytes(packet) for packet in signed(number, count)]
    with _publisher(pipe.recv()) as put:
        pipe.send("ready")
        pipe.recv()
        for packet in packets:
            started[packet] = time.monotonic()
            put(packet)
            time.sleep(PAUSE_S)
        pipe.send(started)
        pipe.recv()

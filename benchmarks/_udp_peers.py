"""Two message engines in the place of the transport, for the same packets on the same machine.

The subscriber verifies and parses each packet in its callback, as qis does, or only takes it. Neither
engine encrypts here, and neither answers each packet; neither finds out for whom a packet is.
"""

import asyncio
import importlib.metadata
import importlib.util
import json
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

from _udp_nodes import PAUSE_S, signed
from loop import verification_s

import qis

TOPIC: Final = "qis/benchmark"
STARTS_WITHIN_S: Final = 10.0


class Taken:
    """What a subscriber has taken, by its bytes, and when."""

    def __init__(self, *, verifies: bool) -> None:
        self.seen: dict[bytes, float] = {}
        self._verifies = verifies

    def take(self, data: bytes) -> None:
        """One packet."""
        if self._verifies:
            qis.Packet.parse(data)
        self.seen[data] = time.monotonic()

    def answer(self, pipe: Connection) -> None:
        """Answer the parent until it says stop."""
        while (word := pipe.recv()) != "stop":
            pipe.send(self.seen if word == "seen" else self.state())
        pipe.send(verification_s())

    def state(self) -> dict[str, float]:
        """The counters now."""
        return {"taken": len(self.seen), "cpu_s": time.process_time(), "at": time.monotonic()}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def zenoh_session(*, listen: str = "", connect: str = "") -> Any:
    """A peer on loopback that looks for nobody by itself."""
    import zenoh  # noqa: PLC0415  only where it is installed

    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("scouting/gossip/enabled", "false")
    config.insert_json5("listen/endpoints", json.dumps([listen] if listen else []))
    config.insert_json5("connect/endpoints", json.dumps([connect] if connect else []))
    return zenoh.open(config)


def zenoh_taker(pipe: Connection, verifies: bool) -> None:  # noqa: FBT001  a process's argument
    """A process that subscribes."""
    taken = Taken(verifies=verifies)
    address = f"tcp/127.0.0.1:{free_port()}"
    with zenoh_session(listen=address) as session:
        subscriber = session.declare_subscriber(TOPIC, lambda s: taken.take(s.payload.to_bytes()))
        pipe.send(address)
        taken.answer(pipe)
        subscriber.undeclare()


@contextmanager
def zenoh_put(address: str) -> Iterator[Callable[[bytes], None]]:
    """What publishes, and waits while the other end has no room."""
    import zenoh  # noqa: PLC0415  only where it is installed

    with zenoh_session(connect=address) as session:
        publisher = session.declare_publisher(
            TOPIC, congestion_control=zenoh.CongestionControl.BLOCK
        )
        yield publisher.put


def zenoh_giver(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes as fast as it may."""
    packets = [bytes(packet) for packet in signed(number, count)]
    with zenoh_put(pipe.recv()) as put:
        pipe.send("ready")
        pipe.recv()
        for packet in packets:
            put(packet)
        pipe.send("done")
        pipe.recv()


def zenoh_single(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes one at a time."""
    started: dict[bytes, float] = {}
    packets = [bytes(packet) for packet in signed(number, count)]
    with zenoh_put(pipe.recv()) as put:
        pipe.send("ready")
        pipe.recv()
        for packet in packets:
            started[packet] = time.monotonic()
            put(packet)
            time.sleep(PAUSE_S)
        pipe.send(started)
        pipe.recv()

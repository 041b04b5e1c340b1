"""What a subscriber of another engine keeps, and a port for it."""

import socket
import time
from multiprocessing.connection import Connection

from _processes import verification_s

import qis

TOPIC = "qis.benchmark"


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

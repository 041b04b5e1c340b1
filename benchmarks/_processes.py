"""What several benchmarks on loopback share: keys, processes and pipes, a bare verification."""

import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nacl import bindings

import qis


def identity(number: int) -> qis.Identity:
    """One key a number."""
    return qis.Identity.from_seed(number.to_bytes(32, "big"))


def study(number: int) -> qis.Study:
    """One study a number."""
    return qis.Study(question=f"question {number}", measure="OR", model="fixed")


def verification_s() -> float:
    """CPU seconds of one bare verification, over and over and nothing else."""
    public, secret = bindings.crypto_sign_seed_keypair(bytes(32))
    signed = bindings.crypto_sign(bytes(456), secret)
    times = []
    for _ in range(25):
        start = time.process_time()
        for _ in range(40):
            bindings.crypto_sign_open(signed, public)
        times.append((time.process_time() - start) / 40)
    return statistics.median(times)


def resident_mb() -> float:
    """Resident set of this process."""
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def ask(pipe: Connection, word: Any) -> Any:
    """A question to a process, and its answer."""
    pipe.send(word)
    return pipe.recv()


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again until it holds, a minute at most."""
    until = time.monotonic() + 60.0
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.05)


@contextlib.contextmanager
def process(target: Callable[..., Any], *arguments: Any) -> Any:
    """A process, and the pipe to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    running = context.Process(target=target, args=(there, *arguments), daemon=True)
    running.start()
    there.close()
    try:
        yield here
    finally:
        running.join(10.0)
        running.terminate()

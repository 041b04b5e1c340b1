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

KEYS, VERIFIED = 40, 1_000
SIGNED_SIZE = 456


def identity(number: int) -> qis.Identity:
    """One key a number."""
    return qis.Identity.from_seed(number.to_bytes(32, "big"))


def study(number: int) -> qis.Study:
    """One study a number."""
    return qis.Study(question=f"question {number}", measure="OR", model="fixed")


def verification_s(*, of_the_same: bool = False) -> float:
    """CPU seconds of one bare verification, of one packet's bytes after the other and nothing else.

    All are different, as those that arrive, unless `of_the_same`: of the same bytes again and again
    the processor learns the way that a verification takes, and is faster.
    """
    pairs = [bindings.crypto_sign_seed_keypair(n.to_bytes(32, "big")) for n in range(KEYS)]
    signed = [
        (bindings.crypto_sign(n.to_bytes(SIGNED_SIZE, "big"), secret), public)
        for n in range(VERIFIED // KEYS)
        for public, secret in pairs
    ]
    signed = signed[:1] * VERIFIED if of_the_same else signed
    times = []
    for start in range(0, VERIFIED, KEYS):
        began = time.process_time()
        for data, public in signed[start : start + KEYS]:
            bindings.crypto_sign_open(data, public)
        times.append((time.process_time() - began) / KEYS)
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


def rounded(value: Any) -> Any:
    """Four digits of whatever is within."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value

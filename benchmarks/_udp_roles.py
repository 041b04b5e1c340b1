"""Starts the processes of one measurement, and waits until all has come."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from _processes import ask, process

QUIET_S = 1.0
Role = Callable[..., None]
"""What a process does."""


def started(
    stack: ExitStack, taker: Role, giver: Role, number: int, packets: int
) -> tuple[Connection, list[Connection]]:
    """A receiver and so many processes that have its address and their share of the packets."""
    taking = stack.enter_context(process(taker))
    giving = [stack.enter_context(process(giver, 1 + n, packets // number)) for n in range(number)]
    address = taking.recv()
    for pipe in giving:
        pipe.send(address)
    for pipe in giving:
        pipe.recv()
    return taking, giving


def settled(taking: Connection, counter: str) -> dict[str, Any]:
    """The receiver's counters once this one stands still."""
    last = ask(taking, "")
    while True:
        time.sleep(QUIET_S)
        state = ask(taking, "")
        if state[counter] == last[counter]:
            return dict(last)
        last = state

"""Computing beside the event loop without keeping it waiting."""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Final, TypeVar

Result = TypeVar("Result")

TURN_S: Final = 0.0005
"""How long a thread computes before another one that waits has its turn. Python's default of 5 ms
keeps an event loop, which needs two turns to wake a task, waiting for 10 ms and more."""


class Turns:
    """Makes threads take turns more often while something is computed.

    The interval is one for the whole process; it is put back unless somebody else has set it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._computing = 0
        self._former = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._computing += 1
            if self._computing == 1:
                self._former = sys.getswitchinterval()
                if self._former > TURN_S:
                    sys.setswitchinterval(TURN_S)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._computing -= 1
            is_ours = self._former > TURN_S and sys.getswitchinterval() == TURN_S
            if not self._computing and is_ours:
                sys.setswitchinterval(self._former)


_TURNS: Final = Turns()


async def in_thread(call: Callable[[], Result]) -> Result:
    """Call a function in a thread, beside which the event loop has its turns."""

    def called() -> Result:
        with _TURNS:
            return call()

    return await asyncio.to_thread(called)

"""Says on standard error how far a command has come: one changing line in a terminal, else lines.

Nothing is said in the first second, so that what is quick stays quiet, and nothing of it goes to
standard output, which programs read.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, TextIO

BEGINS_S: Final = 1.0
IN_TERMINAL_S, IN_LOG_S = 0.2, 10.0
"""Least seconds between two changes of the line, and between two lines of a log."""
_CELLS: Final = 24
"""Width of the bar."""
_ERASE: Final = "\r\x1b[K"


class ProgressLine:
    """How far a command has come.

    Parameters
    ----------
    stream
        Where it is shown; default: standard error.
    clock
        Gives seconds.

    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._is_terminal = self._stream.isatty()
        self._next_s = clock() + BEGINS_S
        self._is_shown = False

    def __call__(self, done: int, total: int, what: str) -> None:
        """Say that so much of the whole is done; as `Simulation(progress=)` calls it."""
        filled = _CELLS * done // max(total, 1)
        bar = f"[{'#' * filled}{'.' * (_CELLS - filled)}] " if self._is_terminal else ""
        self.say(f"{bar}{what}: {done:,} of {total:,}")

    def say(self, text: str) -> None:
        """Say what is going on, if it is time to."""
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + (IN_TERMINAL_S if self._is_terminal else IN_LOG_S)
        self._write(f"{_ERASE}{text}" if self._is_terminal else f"{text}\n")
        self._is_shown = True

    def end(self) -> None:
        """Leave the terminal's line as it was."""
        if self._is_terminal and self._is_shown:
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads it, or it is closed: no harm is done
            self._stream.write(text)
            self._stream.flush()


@contextmanager
def shown() -> Iterator[ProgressLine]:
    """Show progress until the block is left."""
    progress = ProgressLine()
    try:
        yield progress
    finally:
        progress.end()


@asynccontextmanager
async def watched(text: Callable[[], str]) -> AsyncIterator[None]:
    """Show, until the block is left, what `text` says and since when."""

    async def watch(progress: ProgressLine) -> None:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(IN_TERMINAL_S)
            progress.say(f"{text()}, {time.monotonic() - began_s:.0f} s")

    with shown() as progress:
        watching = asyncio.create_task(watch(progress))
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

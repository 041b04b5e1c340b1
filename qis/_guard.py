"""Containment: what comes in may fail, and the node goes on; nobody is left untold.

Everything that handles what comes from outside (a datagram, a file, an alarm, a poll, a callback)
runs inside `Guard.item`. What goes *out* does not: there an error reaches the caller, and nothing
leaves.
"""

import asyncio
import logging
from collections.abc import Container, Hashable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from qis.health import Notices

Key = TypeVar("Key", bound=Hashable)

FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 60.0


class Guard:
    """Contain exceptions: count each, tell the application, and let the node go on.

    Parameters
    ----------
    notices
        Who is told, with kind "fault" and the subject ``"<seam>: <error's class>"``; default: the
        log, "qis.fault".

    """

    def __init__(self, notices: Notices | None = None) -> None:
        self._notices = Notices(logging.getLogger("qis.fault")) if notices is None else notices
        self.faults = 0

    def item(self, seam: str) -> "Item":
        """Contain one item. `asyncio.CancelledError`, `KeyboardInterrupt`, `SystemExit` pass.

        Parameters
        ----------
        seam
            Where, as the operators' page lists it: ``"udp.handling"``, ``"directory.file"`` …

        """
        return Item(self, seam)

    def at_limit(self, limit: str, who: str, reason: str, *, times: int = 1) -> None:
        """Tell that something was dropped or refused at a limit, and who loses by it.

        Parameters
        ----------
        limit
            The row of the Limits table in docs/overlay.md: module and constant below `qis`.
        who
            Whom it costs, or whose it was: a key in hexadecimal digits; empty: this node.
        reason
            What is lost, and how it may come back.
        times
            How often.

        """
        subject = f"{limit}: {who}" if who else limit
        self._notices.tell("limit", subject, reason, times=times)

    def foreign_use(self, subject: str, reason: str) -> None:
        """Tell that somebody else uses the key of this node."""
        self._notices.tell("foreign_use", subject, reason, level=logging.ERROR)

    def contained(self, seam: str, error: BaseException) -> None:
        """Count and tell an exception that was contained at a seam."""
        self.faults += 1
        kind = type(error).__name__
        # Data of patients or of strangers may stand in the text: only our own errors' is shown.
        said = str(error) if type(error).__module__.startswith("qis") else ""
        self._notices.tell(
            "fault",
            f"{seam}: {kind}",
            f"{kind} at {seam} ({_raised_at(error)}) was contained. {said}".strip(),
        )


class Item:
    """One contained item; afterwards it says whether it `failed`, and of what."""

    __slots__ = ("_guard", "_seam", "error")

    def __init__(self, guard: Guard, seam: str) -> None:
        self._guard = guard
        self._seam = seam
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):  # MemoryError and RecursionError are among them
            self.error = error
            self._guard.contained(self._seam, error)
            return True
        return False

    @property
    def failed(self) -> bool:
        """True if the item raised an `Exception`."""
        return self.error is not None


class Backoff:
    """Pauses of a handler that keeps failing: doubled each time, up to a limit.

    It only says how long: its owner waits, by a clock that nobody sets (an event loop's).
    """

    def __init__(self, first_s: float = FIRST_PAUSE_S, last_s: float = LAST_PAUSE_S) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._next_s = first_s

    def failed(self) -> float:
        """Count a failure; return the seconds to wait before the next try."""
        pause_s, self._next_s = self._next_s, min(2.0 * self._next_s, self._last_s)
        return pause_s

    def succeeded(self) -> None:
        """Start again at the first pause."""
        self._next_s = self._first_s


class SetAside(Generic[Key]):
    """Items that failed and are tried again, each ever later; the others go on meanwhile.

    Its owner says what time it is, by a clock that nobody sets, and bounds how many there are.
    """

    def __init__(self, first_s: float = FIRST_PAUSE_S, last_s: float = LAST_PAUSE_S) -> None:
        self._pauses_s = (first_s, last_s)
        self._items: dict[Key, tuple[float, Backoff]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def failed(self, key: Key, now_s: float) -> None:
        """Note that an item failed, for the first time or again; its pause doubles each time."""
        _, backoff = self._items.get(key) or (now_s, Backoff(*self._pauses_s))
        self._items[key] = (now_s + backoff.failed(), backoff)

    def done(self, key: Key) -> None:
        """Forget an item, which needs no other try."""
        self._items.pop(key, None)

    def keep(self, keys: Container[Key]) -> None:
        """Forget all items but these."""
        self._items = {key: item for key, item in self._items.items() if key in keys}

    def waits(self, key: Key, now_s: float) -> bool:
        """True if it is too early to try an item again."""
        return key in self._items and now_s < self._items[key][0]

    def due(self, now_s: float) -> list[Key]:
        """Return the items that may be tried now."""
        return [key for key, (due_s, _) in self._items.items() if due_s <= now_s]

    def next_s(self) -> float | None:
        """Return when the first item is due, by the owner's clock; `None` if there is none."""
        return min((due_s for due_s, _ in self._items.values()), default=None)


def is_stray() -> bool:
    """True if a `CancelledError` that was just caught comes from within what the task awaited.

    Clients of brokers cancel what waits when their connection goes. Nobody has cancelled the task
    itself then, and a task that ended for it would end unseen.
    """
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


def _raised_at(error: BaseException) -> str:
    """Return module and line where an error arose. They hold no data, so a report may show them."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown line"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno}"

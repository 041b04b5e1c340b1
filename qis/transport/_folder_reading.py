"""Reads the files of a shared folder: those that are new or have changed, each as often as needed.

What is remembered of a file is its size and its date, and when it is due if its packet is dated in
the future. A file on which this node fails is tried again, ever later; the others go on meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from os import DirEntry
from pathlib import Path
from typing import Final, NamedTuple

from qis import _layout
from qis._clock import Clock
from qis._guard import Guard, SetAside
from qis.errors import TransportError
from qis.health import Notices
from qis.packet import CLOCK_TOLERANCE_S, content_id, issuer_key
from qis.transport._shared_file import ForeignFileError, read_regular, require_readable
from qis.transport.base import Statistics
from qis.transport.carried import LARGEST, decode_carried
from qis.transport.reception import Reception, Verdict

_TURN: Final = 256
"""Files that are read before other tasks of the event loop run."""
_HEARD_AGAIN: Final = 32
"""Packets dated in the future that a look reads once more, to verify them."""

_Mark = tuple[int, int]


class _Early(NamedTuple):
    """What is remembered of a file whose packet is dated in the future."""

    key: bytes
    """Key of the issuer that it names; not necessarily verified."""
    due_at: float
    """Unix seconds from which on it is admitted."""


class FolderReading:
    """Gives the files of a folder to a reception.

    Parameters
    ----------
    path, reception, statistics
        The folder, for what is told; the gate; and the counters.
    notices, guard, clock
        Who is told, and the node's clock.
    pauses_s
        Shortest and longest pause, in seconds, until a file that failed is tried again.
    on_modified
        Called with when a new file was modified, and the time now, both in Unix seconds.

    """

    def __init__(
        self,
        path: Path,
        reception: Reception,
        statistics: Statistics,
        *,
        notices: Notices,
        guard: Guard,
        clock: Clock,
        pauses_s: tuple[float, float],
        on_modified: Callable[[float, float], None],
    ) -> None:
        self._path = path
        self._reception = reception
        self._statistics = statistics
        self._notices = notices
        self._guard = guard
        self._clock = clock
        self._on_modified = on_modified
        self._seen: dict[str, _Mark] = {}
        self._early: dict[str, _Early] = {}
        self._unheard: dict[str, None] = {}
        self._set_aside: SetAside[str] = SetAside(*pauses_s)

    @property
    def waiting(self) -> int:
        """Files whose packets are dated in the future."""
        return len(self._early)

    def again(self, name: str) -> None:
        """Read a file again at the next look."""
        self._seen.pop(name, None)

    def forget(self) -> None:
        """Read all files again at the next look."""
        self._seen.clear()
        self._early.clear()
        self._unheard.clear()

    async def take(self, files: Sequence[DirEntry[str]]) -> None:
        """Read what is new among these, which are all that there are."""
        # Only of files that are there: otherwise what is remembered would grow for ever.
        there = {entry.name for entry in files}
        self._seen = {name: mark for name, mark in self._seen.items() if name in there}
        self._take_back(self._early.keys() - there)
        self._hear_again(there)
        self._set_aside.keep(there)
        taken = 0
        for entry in files:
            taken += self._tried(entry)
            if taken % _TURN == _TURN - 1:
                await asyncio.sleep(0)

    def _take_back(self, gone: set[str]) -> None:
        """Forget what packets dated in the future showed of clocks, since they were deleted."""
        for name in gone:
            del self._early[name]
            key = self._reception.clocks.take_back(bytes.fromhex(name.removesuffix(".qis")))
            if key is not None:  # whatever else it has there may say the same
                for other, early in self._early.items():
                    if early.key == key:
                        self._seen.pop(other, None)

    def _hear_again(self, there: set[str]) -> None:
        """Read once more some packets dated in the future that could not be verified yet."""
        self._unheard = {name: None for name in self._unheard if name in there}
        for name in list(self._unheard)[:_HEARD_AGAIN]:
            del self._unheard[name]
            self._seen.pop(name, None)

    def _tried(self, entry: DirEntry[str]) -> bool:
        """Read a file; true if it was new or changed. One that fails is tried again, ever later."""
        now_s = asyncio.get_running_loop().time()
        if self._set_aside.waits(entry.name, now_s):
            return False
        is_new = True
        with self._guard.item("directory.file") as item:
            try:
                is_new = self._look_at(entry)
            except FileNotFoundError:  # whose owner has just deleted it
                is_new = False
            except PermissionError:  # one unreadable file must not hide the others
                self._refuse("unreadable_file", entry.name, "not readable for this account")
        if item.failed:
            self._seen.pop(entry.name, None)
            self._set_aside.failed(entry.name, now_s)
        else:
            self._set_aside.done(entry.name)
        return is_new

    def _look_at(self, entry: DirEntry[str]) -> bool:
        """Read a file if it is new or has changed; true if so."""
        found = entry.stat(follow_symlinks=False)
        mark = (found.st_size, found.st_mtime_ns)
        now = self._clock.wall()
        early = self._early.get(entry.name)
        is_due = early is not None and early.due_at <= now
        if self._seen.get(entry.name) == mark and not is_due:
            return False
        self._early.pop(entry.name, None)
        self._on_modified(found.st_mtime, now)
        self._seen[entry.name] = mark
        try:
            require_readable(found, LARGEST)
            is_done = self._receive(entry)
        except ForeignFileError as error:
            self._refuse("foreign_file", entry.name, str(error))
        else:
            if not is_done:
                del self._seen[entry.name]
        return True

    def _refuse(self, why: str, name: str, what: str) -> None:
        self._statistics.refused[why] += 1
        self._notices.tell(
            "refusal", f"{why}: {what}", f"{self._path / name} is {what}: it is not taken in"
        )

    def _receive(self, entry: DirEntry[str]) -> bool:
        """Take a file in; true if it need not be read again unless it changes."""
        data = read_regular(entry.path, LARGEST)
        self._statistics.bytes_received += len(data)
        carried = decode_carried(data)
        if carried is None or entry.name != f"{content_id(carried[0]).hex()}.qis":
            self._statistics.refused["foreign_file"] += 1  # no notice: it may still be copied
            return True
        packet, keys = carried
        verdict = self._reception.receive(packet, keys, hops=1, now=self._clock.wall())
        if verdict is Verdict.FAULT:
            raise TransportError(f"{entry.name} could not be taken in")
        if verdict is Verdict.UNHEARD:
            self._unheard[entry.name] = None
        if verdict in (Verdict.EARLY, Verdict.UNHEARD):
            _, issued_at = _layout.TIMES.unpack(packet)
            early = _Early(issuer_key(packet), issued_at - CLOCK_TOLERANCE_S)
            self._early[entry.name] = early
        return verdict is not Verdict.FULL

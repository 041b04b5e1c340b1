"""Packets through a shared folder: a network drive, SFTP, a USB stick, object storage that syncs.

For sites that can open no port. Each packet is one file, named by its id, so that writing it twice
is writing it once, and whoever copies the folder in any order copies the network. Files are made
under another name and renamed when they are whole. A file that is still being copied does not
verify, and is looked at again when it has changed.
"""

import asyncio
import logging
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final, Self

from qis import _files
from qis._clock import Clock
from qis._gate import checked
from qis._guard import LAST_PAUSE_S, Backoff, Guard
from qis._paths import folder_path
from qis.about import Interest
from qis.errors import InputError, TransportError
from qis.evidence.roster import Roster
from qis.health import Condition, HealthState
from qis.identity import Identity
from qis.packet import CLOCK_TOLERANCE_S, Packet
from qis.transport._folder_reading import FolderReading
from qis.transport._folder_watch import FolderMark, FolderState, FolderWatch
from qis.transport._shared_file import ForeignFileError, read_regular
from qis.transport._stateful import StatefulTransport
from qis.transport._tidying import tidy
from qis.transport.base import Delivery, Holding, Statistics, require_signed_keys
from qis.transport.carried import LARGEST, encode_carried
from qis.transport.reception import Reception
from qis.transport.site_clocks import span

_NAME: Final = re.compile(r"[0-9a-f]{64}\.qis")


class DirectoryTransport(StatefulTransport):
    """A node whose network is a folder. Open it with ``async with``.

    The folder holds files ``<id>.qis``: the packet's 512 bytes and its routing keys, 8 bytes each.
    All else in it is ignored, and nothing is ever deleted but this site's own files: packets that
    have expired by this machine's clock and the file server's, and what a stopped process left
    half-written. Everybody who can write there can
    delete there too: keep evidence in a store, not in the folder.

    Parameters
    ----------
    path
        The folder; made if its parent exists.
    identity
        This site's key.
    roster
        Whose packets are taken; default: everybody's.
    poll_s
        Seconds between two looks at the folder while somebody subscribes.
    clock
        Gives Unix seconds.

    Raises
    ------
    InputError
        If `poll_s` is not positive.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> qis.DirectoryTransport("shared", key)  # opened by ``async with``
    <DirectoryTransport 'shared', closed, 0 published, 0 delivered>

    """

    @checked
    def __init__(
        self,
        path: str | PathLike[str],
        identity: Identity,
        *,
        roster: Roster | None = None,
        poll_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 0.0 < poll_s < 1e6:
            raise InputError(f"poll_s is {poll_s!r:.40}; it is positive", field="poll_s")
        if "://" in str(path):
            raise InputError(
                f"{str(path)!r:.60} is an address and no folder: it is for "
                "qis.transport.cloud.CloudTransport",
                field="path",
                actual=path,
            )
        self.path = folder_path(path, without="a qis.MemoryTransport")
        self._identity = identity
        self._poll_s = poll_s
        self._clock = Clock.of(clock)
        self._statistics = Statistics()
        self._guard = Guard(self.notices)
        self._reception = Reception(
            roster or Roster.open(), self._statistics, notices=self.notices, clock=self._clock
        )
        self._clocks = self._reception.clocks
        pauses_s = (poll_s, max(poll_s, LAST_PAUSE_S))
        self._backoff = Backoff(*pauses_s)
        self._reading = FolderReading(
            self.path,
            self._reception,
            self._statistics,
            notices=self.notices,
            guard=self._guard,
            clock=self._clock,
            pauses_s=pauses_s,
            on_modified=partial(self._compare, of="others write"),
        )
        self._watch = FolderWatch(FolderMark(0, 0))
        self._polling: asyncio.Task[None] | None = None
        self._is_open = False
        self._condition = self._closed()

    @property
    def shows_everything(self) -> bool:
        """True: whoever reads the folder reads all of it."""
        return True

    async def __aenter__(self) -> Self:
        if not self._is_open:
            with _translated(self.path):
                self.path.mkdir(exist_ok=True)
                self._watch = FolderWatch(_mark_of(self.path))
                self._tidy()
            self._is_open = True
            self._condition = Condition(self.notices, now=self._clock.wall())
        return self

    @checked
    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Put a packet into the folder; it is synced to disk when this returns."""
        keys = require_signed_keys(packet, routing_keys)
        self._require_open()
        self._reception.hold(packet, keys)
        name = f"{packet.id.hex()}.qis"
        content = encode_carried(packet, keys)
        try:
            with _translated(self.path):
                self._require_same_folder()
                if self._write(name, content):
                    self._statistics.bytes_sent += len(content)
                    written = (self.path / name).stat().st_mtime
                    self._compare(
                        written, self._clock.wall(), of="this site writes", both_ways=True
                    )
        except TransportError as error:
            self._condition.set(
                "folder_not_writable",
                HealthState.DEGRADED,
                f"packets cannot be put into the folder: {error}",
                now=self._clock.wall(),
            )
            raise
        self._condition.clear("folder_not_writable", now=self._clock.wall())
        self._reading.again(name)
        self._statistics.published += 1

    @checked
    async def catch_up(self, timeout_s: float) -> None:
        """Read all files that are in the folder now, for at most `timeout_s` seconds."""
        with self._guard.item("directory.poll"), suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._take_in()

    @checked
    def holding(self, packet_id: bytes) -> Holding:
        """Tell whether the packet's file lies in the folder, where `publish` has synced it to disk.

        Whether anybody else reads the folder cannot be known.
        """
        name = f"{packet_id.hex()}.qis"
        try:
            is_there = stat.S_ISREG(os.lstat(self.path / name).st_mode)
        except FileNotFoundError:
            is_there = False
        except OSError as error:
            return Holding(is_held=False, reason=f"{self.path}: {error.strerror or error}")
        if is_there:
            return Holding(is_held=True)
        return Holding(is_held=False, reason=f"{name} is not in {self.path}")

    @checked
    @asynccontextmanager
    async def subscribe(
        self,
        interest: Interest,
        *,
        name: str = "",  # noqa: ARG002  not durable
        memory: bytes = b"",  # noqa: ARG002
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest; matching packets that are in the folder already come first."""
        self._require_open()
        with self._reception.inbox(interest, now=self._clock.wall()) as inbox:
            if self._polling is None:
                self._polling = asyncio.create_task(self._poll())
            try:
                yield inbox
            finally:
                if not self._reception.interests[1:] and self._polling is not None:
                    self._polling.cancel()
                    self._polling = None

    @checked
    def withdraw(self, packets: Iterable[Packet]) -> None:
        """Delete the files of these own packets; copies elsewhere stay.

        Raises
        ------
        TransportError
            If the folder refuses.

        """
        own = [packet for packet in packets if packet.issuer == self._identity.issuer]
        with _translated(self.path):
            for packet in own:
                (self.path / f"{packet.id.hex()}.qis").unlink(missing_ok=True)
                self._watch.forget([f"{packet.id.hex()}.qis"])

    @checked
    def believe(self, roster: Roster) -> None:
        """Admit packets by another roster from now on; all files are read once more."""
        self._reception.roster = roster
        self._reading.forget()

    async def aclose(self) -> None:
        """Stop reading the folder, which stays as it is; idempotent."""
        if not self._is_open:
            return
        self._is_open = False
        self._condition = self._closed()
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None
        self._reception.close()

    def _closed(self) -> Condition:
        return Condition(self.notices, now=self._clock.wall(), state=HealthState.CLOSED)

    async def _poll(self) -> None:
        while True:
            with self._guard.item("directory.poll") as item:  # a share that is away comes back
                await self._take_in()
            with self._guard.item("directory.health"):  # the clock is the application's
                self._judge(is_away=item.failed)
            pause_s = self._backoff.failed() if item.failed else self._poll_s
            await asyncio.sleep(pause_s)

    def _judge(self, *, is_away: bool) -> None:
        now = self._clock.wall()
        if is_away:
            self._condition.set(
                "folder_away",
                HealthState.CUT_OFF,
                f"{self.path} cannot be read, so nothing comes in: is the share mounted, and may "
                "this account read it?",
                now=now,
            )
        else:
            self._backoff.succeeded()
            self._condition.clear("folder_away", now=now)

    async def _take_in(self) -> None:
        with os.scandir(self.path) as entries:
            files = [entry for entry in entries if _NAME.fullmatch(entry.name)]
        if self._look_over({entry.name for entry in files}) is FolderState.SAME:
            await self._reading.take(files)  # an empty mount point does not show that all is gone

    def _compare(self, modified: float, now: float, *, of: str, both_ways: bool = False) -> None:
        """Tell if the file server's clock differs from this machine's; either may be wrong."""
        apart_s = modified - now
        if apart_s > CLOCK_TOLERANCE_S or (both_ways and apart_s < -CLOCK_TOLERANCE_S):
            way = "ahead of" if apart_s > 0.0 else "behind"
            self.notices.tell(
                "health",
                "clock_files",
                f"the files that {of} in {self.path} are dated {span(apart_s)} {way} this "
                "machine's clock: one of the two clocks is wrong",
            )

    def _write(self, name: str, content: bytes) -> bool:
        """Write a file unless it is there already; true if it was written."""
        target = self.path / name
        with suppress(FileNotFoundError, ForeignFileError):  # what is foreign there is replaced
            if read_regular(target, LARGEST) == content:
                # Whoever wrote it may have died before it was on disk.
                _files.sync(target)
                _files.sync_folder(self.path)
                return False
        _files.replace(target, content, mode=_files.SHARED, draft=str(self._identity.issuer))
        return True

    def _tidy(self) -> None:
        now = self._clock.wall()
        own = self._identity.issuer
        removed, kept = tidy(self.path, own, self._guard, now=now, largest=LARGEST)
        self._statistics.tidied += removed
        if removed:
            self.notices.tell(
                "health",
                "folder_tidied",
                f"{removed} packets of this site in {self.path} had expired and are deleted",
                level=logging.INFO,
                always=True,
            )
        if kept:
            self.notices.tell(
                "health",
                "clock_files",
                f"{kept} packets of this site in {self.path} have expired by this machine's clock "
                "and not by the file server's, so they stay: one of the two clocks is wrong",
            )

    def _look_over(self, names: set[str]) -> FolderState:
        """Tell if the folder is another than before, or has lost all of its packets at once."""
        now = self._clock.wall()
        state = self._watch.look(_mark_of(self.path), names)
        if state is FolderState.REPLACED:
            self._condition.set(
                "folder_replaced",
                HealthState.CUT_OFF,
                f"{self.path} is on another device than when it was opened, and none of its "
                "packets is there: is the share mounted? Nothing is published into it. If this is "
                "the right folder, open it again",
                now=now,
            )
        elif state is FolderState.EMPTIED:
            self._condition.set(
                "folder_replaced",
                HealthState.DEGRADED,
                f"all packets in {self.path} have gone at once: were they deleted, or is it "
                "another folder? What they showed stays in force; this site's own are held by "
                "nobody there any more",
                now=now,
            )
        else:
            self._condition.clear("folder_replaced", now=now)
        return state

    def _require_same_folder(self) -> None:
        """Refuse to publish into an empty mount point, where nobody would ever see it."""
        if not self._watch.is_suspect(_mark_of(self.path)):
            return
        with os.scandir(self.path) as entries:
            names = {entry.name for entry in entries if _NAME.fullmatch(entry.name)}
        if self._look_over(names) is FolderState.REPLACED:
            raise TransportError(
                f"{self.path} is on another device than when it was opened, and has none of its "
                "packets: is the share mounted? Nothing was published; if this is "
                "the right folder, open it again"
            )

    def _require_open(self) -> None:
        if not self._is_open:
            raise TransportError("the transport is not open: use it in 'async with'")

    def __repr__(self) -> str:
        state = "open" if self._is_open else "closed"
        return f"<DirectoryTransport {str(self.path)!r}, {state}, {self._statistics.brief}>"


def _mark_of(folder: Path) -> FolderMark:
    found = folder.stat()
    return FolderMark(found.st_dev, found.st_ino)


class _translated:  # noqa: N801  reads as a statement
    """Turn what the file system refuses into a `TransportError` that says where."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, TransportError):
            raise TransportError(
                f"{self._path}: {error.strerror or error}; nothing was published"
            ) from error

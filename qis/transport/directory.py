"""Store and forward through a folder: a share, a stick, whatever a sync tool carries.

A file is one packet with its routing keys and a hash of both, named after the packet's id. It is
written under another name and moved into place, so nobody reads half of one; a copy that a sync
tool has not finished fails its hash and is read again later. The folder is all the state there is:
whoever opens it resumes where it stands.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Final, Self

from blake3 import blake3

from qis._layout import PACKET_SIZE
from qis.about import MAX_ROUTING_KEYS, ROUTING_KEY_SIZE, Interest
from qis.errors import InputError, PeerError, TransportError
from qis.evidence.roster import Roster
from qis.identity import Identity
from qis.packet import Packet
from qis.transport._reception import Reception, Verdict
from qis.transport.base import Delivery, Statistics, Transport, require_signed_keys

_HASH_SIZE: Final = 32
_LARGEST: Final = PACKET_SIZE + MAX_ROUTING_KEYS * ROUTING_KEY_SIZE + _HASH_SIZE
_NAME: Final = re.compile(r"[0-9a-f]{64}\.qis")

_Stamp = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds: what tells whether a file changed."""


class DirectoryTransport(Transport):
    """A node that meets the others in a folder. Needs no port; an async context manager.

    Not promised: when a packet arrives, which is up to whatever carries the folder. Everybody who
    may write the folder can delete what is in it, and see all that is published.

    Parameters
    ----------
    path
        A folder that exists: one that is not mounted must not be mistaken for an empty one.
    identity
        This node's key. Only files that this key signed are ever deleted, once expired.
    roster
        Whose packets are let through; default: everybody's.
    poll_s
        How often the folder is read, in seconds.
    clock
        Gives Unix seconds.

    """

    def __init__(
        self,
        path: str | PathLike[str],
        identity: Identity,
        *,
        roster: Roster | None = None,
        poll_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not poll_s > 0.0:
            raise InputError(f"poll_s is {poll_s!r}; it must be positive", field="poll_s")
        self.path = Path(path)
        self.issuer = identity.issuer
        self._poll_s = poll_s
        self._clock = clock
        self._statistics = Statistics()
        self._reception = Reception(Roster.open() if roster is None else roster, self._statistics)
        self._read: dict[str, _Stamp] = {}
        self._reader: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether it was entered, and not closed since."""
        return self._reader is not None

    @property
    def statistics(self) -> Statistics:
        """Counters since the transport was opened."""
        return self._statistics

    async def __aenter__(self) -> Self:
        if not self.path.is_dir():
            raise TransportError(f"{self.path} is no folder: make it, or mount what holds it")
        await asyncio.to_thread(self._tidy)
        self._reader = asyncio.create_task(self._keep_reading())
        return self

    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Put a packet into the folder; it is on the folder's disk when this returns."""
        self._require_open()
        keys = require_signed_keys(packet, routing_keys)
        content = bytes(packet) + b"".join(keys)
        try:
            await asyncio.to_thread(self._write, packet, content + blake3(content).digest())
        except OSError as error:
            raise TransportError(
                f"{self.path}: {error.strerror or error}; not published"
            ) from error
        self._reception.hold(packet, keys)
        self._statistics.published += 1
        self._statistics.bytes_sent += len(content) + _HASH_SIZE

    @asynccontextmanager
    async def subscribe(self, interest: Interest) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest; what is in the folder already comes too."""
        self._require_open()
        with self._reception.inbox(interest, now=self._clock()) as inbox:
            self._wake.set()
            yield inbox

    async def aclose(self) -> None:
        """Stop reading; what is in the folder stays."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
            self._reception.close()

    def _require_open(self) -> None:
        if self._reader is None:
            raise TransportError("the transport is closed; open it with 'async with'")

    def _write(self, packet: Packet, content: bytes) -> None:
        target = self.path / _name_of(packet)
        part = self.path / f"{self._part_prefix}{secrets.token_hex(8)}.part"
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(self.path)

    @property
    def _part_prefix(self) -> str:
        return f".qis-{str(self.issuer)[:16]}-"

    def _tidy(self) -> None:
        """Delete what a crash of ours left unfinished, and what we published and has expired."""
        now = self._clock()
        for entry in self._entries():
            if entry.name.startswith(self._part_prefix) and entry.name.endswith(".part"):
                Path(entry.path).unlink(missing_ok=True)
            elif _NAME.fullmatch(entry.name):
                packet = _own_packet(_content(Path(entry.path)), self.issuer.key)
                if packet and packet.expires_at <= now and _name_of(packet) == entry.name:
                    Path(entry.path).unlink(missing_ok=True)

    def _entries(self) -> list[os.DirEntry[str]]:
        """The regular files of the folder; none if it cannot be read now."""
        try:
            with os.scandir(self.path) as entries:
                return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError as error:  # a share that is away comes back
            self._statistics.refused[type(error).__name__] += 1
            return []

    async def _keep_reading(self) -> None:
        while True:
            self._wake.clear()
            for name, stamp, content in await asyncio.to_thread(self._news):
                if self._receive(content):
                    self._read[name] = stamp
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_s)

    def _news(self) -> list[tuple[str, _Stamp, bytes]]:
        """Files that are new or changed since they were read, the oldest first."""
        news: list[tuple[str, _Stamp, bytes]] = []
        present: set[str] = set()
        for entry in self._entries():
            if not _NAME.fullmatch(entry.name):
                continue
            present.add(entry.name)
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            stamp = status.st_size, status.st_mtime_ns
            if self._read.get(entry.name) != stamp:
                news.append((entry.name, stamp, _content(Path(entry.path))))
        for name in self._read.keys() - present:
            del self._read[name]
        return sorted(news, key=lambda item: (item[1][1], item[0]))

    def _receive(self, content: bytes) -> bool:
        """Judge a file's content; whether it need not be read again unless it changes."""
        keys = _keys_of(content)
        if keys is None:
            self._statistics.refused["IncompleteFile"] += 1
            return True
        self._statistics.bytes_received += len(content)
        verdict = self._reception.receive(content[:PACKET_SIZE], keys, hops=1, now=self._clock())
        return verdict is not Verdict.FULL


def _name_of(packet: Packet) -> str:
    return f"{packet.id.hex()}.qis"


def _content(path: Path) -> bytes:
    """At most one byte more than the largest file may have; empty if it cannot be read now."""
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST + 1)
    except OSError:
        return b""


def _keys_of(content: bytes) -> tuple[bytes, ...] | None:
    """The routing keys in a whole file; `None` if it is not whole."""
    keys = content[PACKET_SIZE:-_HASH_SIZE]
    if not PACKET_SIZE + _HASH_SIZE <= len(content) <= _LARGEST or len(keys) % ROUTING_KEY_SIZE:
        return None
    if blake3(content[:-_HASH_SIZE]).digest() != content[-_HASH_SIZE:]:
        return None
    return tuple(keys[at : at + ROUTING_KEY_SIZE] for at in range(0, len(keys), ROUTING_KEY_SIZE))


def _own_packet(content: bytes, key: bytes) -> Packet | None:
    """The packet in a file, if this key signed it."""
    try:
        packet = Packet.parse(content[:PACKET_SIZE])
    except PeerError:
        return None
    return packet if packet.issuer.key == key else None


def _sync_folder(folder: Path) -> None:
    """Make a new name durable, where the system lets us."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""What left the site, came in, was used and was refused: no change goes unseen.

Every entry carries the hash of the one before it, so that a change, an insertion or a cut anywhere
but at the end breaks the chain. A chain cannot show that its own end is missing, nor that whoever
may write the file made all of it anew. For that the newest hash, `AuditLog.head`, has to be kept
where they cannot write, and given to `AuditLog.verify`.

A line is an `Entry` as JSON in one form (keys sorted, ASCII, no spaces), with ``hash``: BLAKE3-256
of the line without it.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from os import PathLike
from typing import Any, Final, Self

from blake3 import blake3

from qis._database import sync_folder
from qis._paths import file_path
from qis.errors import StorageDamagedError, StorageError
from qis.evidence.audit_entry import (
    AuditHead,
    AuditNote,
    Entry,
    Event,
    chained,
    content_of,
    digest_of,
    entry_of,
    line_of,
)

_TAIL: Final = 65_536
"""Bytes read from the end to find the last line; no entry is longer."""


class AuditLog:
    """An append-only file of entries, each on disk before `record` returns.

    One process at a time writes it, and its threads take turns. A line that was cut by a crash was
    never acknowledged: it is removed when the log is opened, and an entry says so.

    Parameters
    ----------
    path
        The file; made if there is none.

    Raises
    ------
    StorageError
        If another process writes it, or the disk refuses.
    StorageDamagedError
        If its last whole line is no entry.

    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = file_path(path, without="audit=None")
        self._torn = b""
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._refusal(error) from error
        try:
            self._lock()
            self._head, self._size = self._end()
            if self._torn:
                os.ftruncate(self._file, self._size)
            sync_folder(self.path.parent)
        except OSError as error:
            os.close(self._file)
            raise error if isinstance(error, StorageError) else self._refusal(error) from error

    @classmethod
    def open(cls, path: str | PathLike[str], *, now: float) -> Self:
        """Open a log, and record it if an unfinished line had to be removed."""
        log = cls(path)
        log.note_recovery(now=now)
        return log

    def note_recovery(self, *, now: float) -> None:
        """Record that an unfinished line was removed on opening, if one was."""
        if self._torn:
            torn, self._torn = self._torn, b""
            self.record(
                "recovered",
                now=now,
                reason="an unfinished last line, never acknowledged, was removed on opening",
                details={"bytes": len(torn), "blake3": blake3(torn).hexdigest()},
            )

    @property
    def head(self) -> AuditHead:
        """Number of entries and newest hash; keep it where the log's writer cannot change it."""
        return self._head

    def record(
        self,
        event: Event,
        *,
        now: float,
        subject: tuple[str, ...] = (),
        rule: str = "",
        reason: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Append an entry; it is on disk when this returns.

        Parameters
        ----------
        event
            One of `audit_entry.EVENTS`.
        now
            Unix seconds.
        subject
            What it is about: hexadecimal ids of packets, or the digest of a synthesis.
        rule
            The rule that allowed or refused it.
        reason
            In words.
        details
            Whatever else should be known, as JSON holds it. No patient's data.

        Raises
        ------
        InputError
            If the event is unknown, or the entry is no JSON or longer than 60,000 bytes.
        StorageError
            If the disk refuses; then nothing was appended.

        """
        note = AuditNote(event, subject, rule, reason, details or {})
        return self.record_many((note,), now=now)[0]

    def record_many(self, notes: Iterable[AuditNote], *, now: float) -> list[Entry]:
        """Append entries, all or none, synced once.

        Raises
        ------
        InputError
            If an event is unknown, or an entry is no JSON or longer than 60,000 bytes.
        StorageError
            If the disk refuses; then nothing was appended.

        """
        self.note_recovery(now=now)
        head, lines, entries = self._head, [], []
        for note in notes:
            content = chained(note, head, now)
            lines.append(line_of(content))
            entries.append(entry_of(content))
            head = AuditHead(entries[-1].number + 1, entries[-1].hash)
        if lines:
            self._write(b"".join(lines))
        self._head = head
        return entries

    def verify(self, *, head: AuditHead | None = None) -> AuditHead:
        """Check the whole chain, as it is on disk now.

        Finds every change, insertion, reordering and removal but one at the end; and that too,
        back to `head`. Cannot find that somebody who may write the file wrote all of it anew, or
        cut it and went on, after the newest `head` that you have.

        Parameters
        ----------
        head
            A head kept elsewhere: the log must contain it.

        Returns
        -------
        The head of what is on disk.

        Raises
        ------
        StorageDamagedError
            If the chain is broken; `field` is ``line`` and `actual` its number, from 1.

        """
        last = AuditHead()
        found = head is None or head == last
        for entry in self.entries():
            last = AuditHead(entry.number + 1, entry.hash)
            found = found or last == head
        if not found:
            raise self._damage(last.count, f"the log does not contain {head}: it was cut or remade")
        if last != self._head:
            raise self._damage(last.count, f"it ends with {last}, but {self._head} was written")
        return last

    def entries(self) -> Iterator[Entry]:
        """All entries in order, each checked against the one before it."""
        last = AuditHead()
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                entry = self._parsed(line, number)
                if (entry.number, entry.previous) != (last.count, last.hash):
                    raise self._damage(number, "it does not follow the line before it")
                last = AuditHead(entry.number + 1, entry.hash)
                yield entry

    def export(self, target: str | PathLike[str]) -> AuditHead:
        """Verify the log and write it to a new file, one JSON object a line.

        Raises
        ------
        StorageDamagedError
            If the chain is broken.
        StorageError
            If the file exists or cannot be written.

        """
        head = self.verify()
        try:
            with file_path(target, field="target").open("xb") as file:
                file.writelines(entry.line() + b"\n" for entry in self.entries())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"{target}: {error.strerror}", field="target") from error
        return head

    def close(self) -> None:
        """Unlock the file; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        if self._file < 0:
            raise StorageError(f"{self.path}: the log is closed", field="path")
        try:
            rest = memoryview(line)
            while rest:  # a disk that is full takes a part, and refuses the next
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise self._refusal(error) from error
        self._size += len(line)

    def _lock(self) -> None:
        if os.name != "posix":
            return
        import fcntl  # noqa: PLC0415  there is none on Windows

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"{self.path}: another process or log writes it, and it has one writer",
                field="path",
            ) from error

    def _end(self) -> tuple[AuditHead, int]:
        """Return the head, and the file's size up to the end of the last whole line."""
        size = os.fstat(self._file).st_size
        tail = os.pread(self._file, _TAIL, max(0, size - _TAIL))
        cut = tail.rfind(b"\n") + 1
        self._torn = tail[cut:]
        if len(self._torn) == _TAIL:
            raise self._damage(0, f"its last {_TAIL} bytes are no line")
        whole = size - len(self._torn)
        if whole == 0:
            return AuditHead(), 0
        start = tail.rfind(b"\n", 0, cut - 1) + 1
        entry = self._parsed(tail[start:cut], 0)
        return AuditHead(entry.number + 1, entry.hash), whole

    def _parsed(self, line: bytes, number: int) -> Entry:
        try:
            content = json.loads(line)
            entry = entry_of(content)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._damage(number, "it is no entry") from error
        if entry.line() + b"\n" != line or digest_of(content_of(entry)) != entry.hash:
            raise self._damage(number, "it is not what was written")
        return entry

    def _damage(self, number: int, what: str) -> StorageDamagedError:
        where = f"line {number}" if number else "the last line"
        return StorageDamagedError(f"{self.path}, {where}: {what}", field="line", actual=number)

    def _refusal(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path}: {error.strerror}; nothing was appended", field="path", actual=error.errno
        )

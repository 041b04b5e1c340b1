"""What left the site, came in, was used and was refused: no change goes unseen.

Every entry carries the hash of the one before it, so that a change, an insertion or a cut anywhere
but at the end breaks the chain. A chain cannot show that its own end is missing, nor that whoever
may write the file made all of it anew. For that the newest hash, `AuditLog.head`, has to be kept
where they cannot write, and given to `AuditLog.verify`.

A line is an `Entry` as JSON in one form (keys sorted, ASCII, no spaces), with ``hash``: BLAKE3-256
of the line without it. A file that has grown large is closed and named after its first entry's
number, and the chain goes on in a new one.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from os import PathLike
from typing import Any, Final, Self

from blake3 import blake3

from qis._files import sync_folder
from qis._gate import checked
from qis._paths import file_path
from qis.errors import InputError, StorageDamagedError, StorageError
from qis.evidence.audit_entry import (
    AuditHead,
    AuditNote,
    Entry,
    Event,
    chained,
    entry_of,
    line_of,
)
from qis.evidence.audit_reader import (
    AuditReader,
    closed_segments,
    damage,
    parsed_line,
    segment_name,
)

_TAIL: Final = 65_536
"""Bytes read from the end to find the last line; no entry is longer."""
SEGMENT_BYTES: Final = 64 * 2**20
"""Size from which on a file of the log is closed and another begun."""


class AuditLog:
    """An append-only file of entries, each on disk before `record` returns.

    One process at a time writes it, and its threads take turns. A line that was cut by a crash was
    never acknowledged: it is removed when the log is opened, and an entry says so.

    Parameters
    ----------
    path
        The file; made if there is none. Closed segments lie beside it and may be moved elsewhere,
        all but the last.
    heads
        A file that the newest `head` is appended to (`hand_out`), best on another machine: whoever
        cuts or remakes the log cannot write there. A loop does so when it opens, every hour and
        when it closes.
    segment_bytes
        Size from which on a file is closed and another begun.

    Raises
    ------
    StorageError
        If another process writes it, or the disk refuses.
    StorageDamagedError
        If its last whole line is no entry.

    Examples
    --------
    >>> import qis, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with qis.AuditLog.open(f"{folder.name}/audit.log", now=1_800_000_000) as log:
    ...     entry = log.record("configured", now=1_800_000_000, reason="by hand")
    ...     [entry.event for entry in log.entries()]
    ['configured']
    >>> folder.cleanup()

    """

    @checked
    def __init__(
        self,
        path: str | PathLike[str],
        *,
        heads: str | PathLike[str] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.path = file_path(path, without="audit=None")
        self.heads = None if heads is None else file_path(heads, field="heads")
        if type(segment_bytes) is not int or segment_bytes < _TAIL:
            raise InputError(
                f"segment_bytes is {segment_bytes!r:.40}; it is at least {_TAIL}",
                field="segment_bytes",
                actual=segment_bytes,
                limit=_TAIL,
            )
        self._segment_bytes = segment_bytes
        self._torn = b""
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._refusal(error) from error
        try:
            self._lock(self._file)
            self._finish_rotation()
            self._head, self._size = self._end()
            if self._torn:
                os.ftruncate(self._file, self._size)
            sync_folder(self.path.parent)
        except OSError as error:
            os.close(self._file)
            raise error if isinstance(error, StorageError) else self._refusal(error) from error

    @classmethod
    @checked
    def open(
        cls,
        path: str | PathLike[str],
        *,
        now: float,
        heads: str | PathLike[str] | None = None,
    ) -> Self:
        """Open a log, and record it if an unfinished line had to be removed."""
        log = cls(path, heads=heads)
        log.note_recovery(now=now)
        return log

    @classmethod
    @checked
    def read(cls, path: str | PathLike[str], *, begins: AuditHead | None = None) -> AuditReader:
        """Read a log without write access, also while its site is running; see `AuditReader`."""
        return AuditReader(path, begins=begins)

    @checked
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

    @checked
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

    @checked
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

    @checked
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

        Examples
        --------
        >>> import tempfile
        >>> import qis
        >>> with tempfile.TemporaryDirectory() as folder, qis.AuditLog(f"{folder}/audit") as log:
        ...     log.verify() == log.head
        True

        """
        try:
            last = self._reader().verify(head=head)
        except FileNotFoundError as error:
            raise self._damage(0, "the file is gone") from error
        if last != self._head:
            raise self._damage(last.count, f"it ends with {last}, but {self._head} was written")
        return last

    def entries(self) -> Iterator[Entry]:
        """All entries in order, each checked against the one before it."""
        return self._reader().entries()

    @checked
    def contains(self, head: AuditHead) -> bool:
        """True if the log, as it is on disk, has come to this head; verified from there on.

        Raises
        ------
        StorageDamagedError
            If the chain is broken.

        """
        found = head == AuditHead()
        for entry in self.since(max(0, head.count - 1)):
            found = found or (entry.number + 1, entry.hash) == (head.count, head.hash)
        return found

    def since(self, number: int) -> Iterator[Entry]:
        """The entries from this number on, each checked against the one before it, if that is too.

        Raises
        ------
        StorageDamagedError
            If the chain is broken there.

        """
        return self._reader().since(number)

    def handed_out(self) -> AuditHead | None:
        """The newest head in the file `heads`; `None` if there is none, or no such file.

        Raises
        ------
        StorageError
            If the file cannot be read.
        InputError
            If its last line names no head.

        """
        if self.heads is None:
            return None
        try:
            lines = self.heads.read_text(encoding="ascii").split("\n")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeError) as error:
            raise StorageError(f"{self.heads}: {error}", field="heads") from error
        whole = [line for line in lines[:-1] if line.strip()]
        return AuditHead.parse(whole[-1].rpartition(" ")[2]) if whole else None

    @checked
    def hand_out(self, *, now: float) -> AuditHead:
        """Append the head to the file `heads`, if there is one; returns it.

        A line is the time, in Unix seconds, and the head.

        Raises
        ------
        StorageError
            If that file cannot be written. The log itself is not concerned.

        """
        if self.heads is None:
            return self._head
        try:
            with self.heads.open("ab") as file:
                file.write(f"{now:.0f} {self._head}\n".encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"{self.heads}: {error.strerror}; the head of the audit log was not handed out",
                field="heads",
                actual=error.errno,
            ) from error
        return self._head

    @checked
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

    def _reader(self) -> AuditReader:
        names = closed_segments(self.path)
        if not names:
            return AuditReader(self.path)
        with names[0].open("rb") as file:
            first = self._parsed(file.readline(), 0)
        # Older segments may lie elsewhere; whoever holds their last head checks that.
        return AuditReader(self.path, begins=AuditHead(first.number, first.previous))

    def _write(self, line: bytes) -> None:
        if self._file < 0:
            raise StorageError(f"{self.path}: the log is closed", field="path")
        self._require_same_file()
        try:
            if self._size >= self._segment_bytes:
                self._rotate()
            rest = memoryview(line)
            while rest:  # a disk that is full takes a part, and refuses the next
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise self._refusal(error) from error
        self._size += len(line)

    def _require_same_file(self) -> None:
        """Raise if the file is not the one that was opened, or somebody else has changed its end.

        What is written into a file that has no name any more would be lost with this process.
        """
        mine = os.fstat(self._file)
        try:
            there = self.path.stat()
        except OSError as error:
            raise self._replaced("is gone") from error
        if not os.path.samestat(mine, there):
            raise self._replaced("was replaced")
        if mine.st_size != self._size:
            raise self._replaced(f"has {mine.st_size} bytes and had {self._size}: it was changed")

    def _replaced(self, what: str) -> StorageDamagedError:
        return StorageDamagedError(
            f"{self.path} {what} while it was written: nothing is recorded any more, so nothing "
            "leaves. Bring the file back, then open the log again",
            field="path",
        )

    def _rotate(self) -> None:
        """Close the file as a segment and go on in a new one; its name is never without a file."""
        with self.path.open("rb") as file:
            first = self._parsed(file.readline(), 0)
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        fresh.unlink(missing_ok=True)
        new = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            self._lock(new)
            os.link(self.path, segment_name(self.path, first.number))
            fresh.replace(self.path)
            sync_folder(self.path.parent)
        except OSError:  # no hard links here, or no space: one long file is as good
            os.close(new)
            fresh.unlink(missing_ok=True)
            self._segment_bytes *= 2
            return
        os.close(self._file)
        self._file, self._size = new, 0

    def _finish_rotation(self) -> None:
        """Undo a rotation that a crash has interrupted: then the file has two names."""
        mine = os.fstat(self._file)
        for name in closed_segments(self.path)[-1:]:
            if os.path.samestat(name.stat(), mine):
                name.unlink()

    def _lock(self, file: int) -> None:
        if os.name != "posix":
            return
        import fcntl  # noqa: PLC0415  there is none on Windows

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"{self.path}: another process or log writes it, and it has one writer",
                field="path",
            ) from error

    def _end(self) -> tuple[AuditHead, int]:
        """Return the head, and the file's size up to the end of the last whole line."""
        head, size, self._torn = self._end_of(self._file)
        if size == 0 and (names := closed_segments(self.path)):
            with names[-1].open("rb") as segment:
                head, _, torn = self._end_of(segment.fileno())
            if torn:
                raise self._damage(head.count, f"{names[-1].name} ends within a line")
        return head, size

    def _end_of(self, file: int) -> tuple[AuditHead, int, bytes]:
        size = os.fstat(file).st_size
        tail = os.pread(file, _TAIL, max(0, size - _TAIL))
        cut = tail.rfind(b"\n") + 1
        torn = tail[cut:]
        if len(torn) == _TAIL:
            raise self._damage(0, f"its last {_TAIL} bytes are no line")
        whole = size - len(torn)
        if whole == 0:
            return AuditHead(), 0, torn
        start = tail.rfind(b"\n", 0, cut - 1) + 1
        entry = self._parsed(tail[start:cut], 0)
        return AuditHead(entry.number + 1, entry.hash), whole, torn

    def _parsed(self, line: bytes, number: int) -> Entry:
        return parsed_line(self.path, line, number)

    def _damage(self, number: int, what: str) -> StorageDamagedError:
        return damage(self.path, number, what)

    def _refusal(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path}: {error.strerror}; nothing was appended", field="path", actual=error.errno
        )

    def __repr__(self) -> str:
        return f"<AuditLog {str(self.path)!r}>"

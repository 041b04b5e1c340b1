"""Reads and verifies an audit log without write access, also while its site writes it.

A log is a row of segments: closed ones, each named after the number of its first entry, and the
file that is written. The chain runs through all of them.
"""

import json
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final

from qis._gate import checked
from qis._paths import file_path
from qis.errors import InputError, StorageDamagedError, StorageError
from qis.evidence.audit_entry import AuditHead, Entry, content_of, digest_of, entry_of

_DIGITS: Final = 12


def segment_name(path: Path, first: int) -> Path:
    """The name of a closed segment whose first entry has this number."""
    return path.with_name(f"{path.name}.{first:0{_DIGITS}d}")


def closed_segments(path: Path) -> list[Path]:
    """The closed segments of a log that are there, in order."""
    start = f"{path.name}."
    names = (each for each in path.parent.iterdir() if each.name.startswith(start))
    return sorted(
        each for each in names if len(tail := each.name[len(start) :]) == _DIGITS and tail.isdigit()
    )


class AuditReader:
    """An audit log as it is on disk, read only; made by `AuditLog.read`.

    Whoever may read the files can use it, on another machine too. A last line that its writer has
    not finished is left out.

    Parameters
    ----------
    path
        The file that is written; the closed segments lie beside it.
    begins
        The head at which the oldest segment that is still there begins, from a former `verify`;
        by default the log begins with its first entry.

    Examples
    --------
    >>> import tempfile
    >>> import qis
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with qis.AuditLog(f"{folder}/audit.jsonl") as log:
    ...         _ = log.record("configured", rule="cms", now=1_800_000_000)
    ...     qis.AuditLog.read(f"{folder}/audit.jsonl").verify().count
    1

    """

    @checked
    def __init__(self, path: str | PathLike[str], *, begins: AuditHead | None = None) -> None:
        self.path = file_path(path)
        self._begins = AuditHead() if begins is None else begins

    @property
    def head(self) -> AuditHead:
        """Number of entries and newest hash, after checking all of the log; as `verify`."""
        return self.verify()

    @checked
    def verify(self, *, head: AuditHead | None = None) -> AuditHead:
        """Check the whole chain.

        Parameters
        ----------
        head
            A head that was handed out before: the log must contain it.

        Returns
        -------
        AuditHead
            The head of what is on disk.

        Raises
        ------
        StorageDamagedError
            If the chain is broken or does not contain `head`; `field` is ``line``, and `actual`
            the line's number, from 1 over all segments.
        StorageError
            If a file cannot be read.

        """
        last, found = self._begins, head in (None, self._begins)
        for entry in self.entries():
            last = AuditHead(entry.number + 1, entry.hash)
            found = found or last == head
        if not found:
            raise damage(
                self.path, last.count, f"the log does not contain {head}: it was cut or remade"
            )
        return last

    def entries(self) -> Iterator[Entry]:
        """All entries in order, each checked against the one before it.

        Raises
        ------
        StorageDamagedError
            If the chain is broken.
        StorageError
            If a file cannot be read.

        """
        last = self._begins
        try:
            # First the file that is written: if it becomes a segment now, it is found as one too.
            with self.path.open("rb") as current:
                own = os.fstat(current.fileno())
                for name in closed_segments(self.path):
                    with name.open("rb") as segment:
                        if os.path.samestat(os.fstat(segment.fileno()), own):
                            continue
                        for entry in self._lines(segment, last, is_closed=True):
                            last = AuditHead(entry.number + 1, entry.hash)
                            yield entry
                yield from self._lines(current, last, is_closed=False)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"{self.path}: {error.strerror}", field="path") from error

    @checked
    def since(self, number: int) -> Iterator[Entry]:
        """The entries from this number on; those before are passed over unchecked.

        Each of the others is checked against the one before it.

        Raises
        ------
        StorageDamagedError
            If the chain is broken there.
        StorageError
            If a file cannot be read.

        """
        names = closed_segments(self.path)
        firsts = [int(name.name[-_DIGITS:]) for name in names]
        begin = max((first for first in firsts if first <= number), default=0)
        files = [name for name, first in zip(names, firsts, strict=True) if first >= begin]
        previous: Entry | None = None
        at = begin
        try:
            for name in (*files, self.path):
                with name.open("rb") as file:
                    for line in file:
                        at += 1
                        if at <= number or (name == self.path and not line.endswith(b"\n")):
                            continue
                        entry = parsed_line(self.path, line, at)
                        is_next = entry.number == at - 1 and (
                            previous is None or entry.previous == previous.hash
                        )
                        if not is_next:
                            raise damage(self.path, at, "it does not follow the line before it")
                        previous = entry
                        yield entry
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"{self.path}: {error.strerror}", field="path") from error

    @checked
    def packets_of(self, synthesis: bytes) -> tuple[str, ...]:
        """The ids of the packets that a synthesis was made of, in hexadecimal digits, sorted.

        Parameters
        ----------
        synthesis
            Its `digest`.

        Raises
        ------
        InputError
            If the log has no whole entry of its use.
        StorageDamagedError, StorageError
            As `entries`.

        """
        used: dict[str, set[str]] = {}
        found: tuple[str, ...] | None = None
        for entry in self.entries():
            if entry.event != "used":
                continue
            details = entry.details
            if details["part"][0] == 1 and not details["since"]:
                used[details["study"]] = set()
            packets = used.setdefault(details["study"], set())
            packets.update(details.get("added", ()))
            packets.difference_update(details.get("removed", ()))
            is_whole = details["part"][0] == details["part"][1]
            if is_whole and entry.subject == (synthesis.hex(),):
                # Segments that lie elsewhere may hold what this one counts from.
                found = tuple(sorted(packets)) if len(packets) == details["packets"] else None
        if found is None:
            raise InputError(
                f"the log has no whole record of how synthesis {synthesis.hex()} was made",
                field="synthesis",
                actual=synthesis,
            )
        return found

    def _lines(self, file: BinaryIO, last: AuditHead, *, is_closed: bool) -> Iterator[Entry]:
        number = last.count
        for line in file:
            number += 1
            if not line.endswith(b"\n") and not is_closed:
                return  # its writer has not finished it
            entry = parsed_line(self.path, line, number)
            if (entry.number, entry.previous) != (last.count, last.hash):
                if last == self._begins:
                    raise damage(
                        self.path,
                        entry.number + 1,
                        f"it is the first entry there and number {entry.number + 1} of the log: "
                        "bring the earlier segments back, or give the head that it begins at "
                        "(AuditLog.read(path, begins=…))",
                    )
                raise damage(self.path, number, "it does not follow the line before it")
            last = AuditHead(entry.number + 1, entry.hash)
            yield entry

    def __repr__(self) -> str:
        return f"<AuditReader of {str(self.path)!r}>"


def parsed_line(path: Path, line: bytes, number: int) -> Entry:
    """The entry of a line, from 1; 0 for the last one, whose number is not known.

    Raises
    ------
    StorageDamagedError
        If it is not what was written.

    """
    try:
        entry = entry_of(json.loads(line))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damage(path, number, "it is no entry") from error
    if entry.line() + b"\n" != line or digest_of(content_of(entry)) != entry.hash:
        raise damage(path, number, "it is not what was written")
    return entry


def damage(path: Path, number: int, what: str) -> StorageDamagedError:
    """The error for a log that is not what was written."""
    where = f"line {number}" if number else "the last line"
    return StorageDamagedError(f"{path}, {where}: {what}", field="line", actual=number)

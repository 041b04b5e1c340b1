"""Files of JSON lines: each line is on disk before what it records happens.

Several processes may use one file: whoever decides by what it holds reads and writes under its lock
(`LineFile.writing`), so that no two of them decide by the same former lines.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from qis._files import sync_folder
from qis.errors import StorageDamagedError, StorageError

Line = TypeVar("Line")


class LineFile(Generic[Line]):
    """The lines of a file, read as they come, by this process or another.

    Parameters
    ----------
    path
        Made with the first line, mode 0600. `None`: the lines are in memory only.
    made
        Builds a line from its JSON.

    Raises
    ------
    StorageDamagedError
        If `made` cannot read a line.

    """

    def __init__(self, path: Path | None, made: Callable[[dict[str, Any]], Line]) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._made = made
        self._read = 0  # bytes of complete lines that were read
        self._file: int | None = None  # while this process writes
        self.refresh()

    def refresh(self) -> None:
        """Read what was added. An unfinished last line is left alone: it may still be written.

        Raises
        ------
        StorageDamagedError
            If a line cannot be read, or lines that were read are there no longer.

        """
        if self.path is None:
            return
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(self._read)
                added = file.read() if size >= self._read else b""
        except FileNotFoundError:
            size, added = 0, b""
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}", field="ledger") from error
        if size < self._read:
            raise StorageDamagedError(
                f"{self.path} was cut short or deleted: it had {self._read} bytes, now {size}; "
                "bring the file back, since without it nobody knows what was released",
                field="ledger",
                actual=size,
                limit=self._read,
            )
        for line in added.split(b"\n")[:-1]:
            try:
                self.lines.append(self._made(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                number = len(self.lines) + 1
                raise StorageDamagedError(
                    f"{self.path}, line {number}: not what was written; bring the file back from a "
                    "backup, since without it nobody knows what was released",
                    field="ledger",
                    actual=number,
                ) from error
            self._read += len(line) + 1

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the file's lock, with all lines read; may be entered again by its holder.

        Raises
        ------
        StorageError
            If the file cannot be opened or written.
        StorageDamagedError
            As `refresh`.

        """
        if self.path is None or self._file is not None:
            yield
            return
        try:
            is_new = not self.path.exists()
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._not_noted(error) from error
        try:
            _lock(self._file)
            if is_new:  # the name of a new file must survive a power cut too
                sync_folder(self.path.parent)
            self.refresh()
            yield
        finally:
            file, self._file = self._file, None
            os.close(file)

    def append(self, content: dict[str, Any]) -> None:
        """Add a line and sync it.

        Raises
        ------
        StorageError
            If it cannot be written; then nothing was added, and nothing may be released.

        """
        with self.writing():
            if self._file is not None:
                self._write(self._file, json.dumps(content).encode() + b"\n")
            else:
                self.lines.append(self._made(content))

    def _write(self, file: int, line: bytes) -> None:
        try:
            # Half a line, whose release was never made: nobody else writes under the lock.
            os.ftruncate(file, self._read)
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            except OSError:
                # Half a line before the next one would make the file unreadable.
                os.ftruncate(file, self._read)
                raise
        except OSError as error:
            raise self._not_noted(error) from error
        self.refresh()

    def _not_noted(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path}: {error.strerror}; the release was not noted and must not be made",
            field="ledger",
        )


def _lock(file: int) -> None:
    """Wait until no other process writes; the lock ends with the open file."""
    if os.name == "posix":
        import fcntl  # noqa: PLC0415  there is none on Windows

        fcntl.flock(file, fcntl.LOCK_EX)

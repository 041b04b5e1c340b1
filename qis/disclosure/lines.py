"""Files of JSON lines: each line is on disk before what it records happens."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from qis._database import sync_folder
from qis.errors import StorageDamagedError, StorageError

Line = TypeVar("Line")


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Append a line and sync it. The file has mode 0600.

    Raises
    ------
    StorageError
        If the line cannot be written; then nothing was appended, and nothing may be released.

    """
    line = json.dumps(content).encode() + b"\n"
    try:
        is_new = not path.exists()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(file).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            # Half a line before the next one would make the file unreadable.
            os.ftruncate(file, size)
            raise
        finally:
            os.close(file)
        if is_new:  # the name of a new file must survive a power cut too
            sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: {error.strerror}; the release was not noted and must not be made",
            field="ledger",
        ) from error


def read_lines(path: Path, made: Callable[[dict[str, Any]], Line]) -> list[Line]:
    """Read all lines, each built by `made` from its JSON; an unfinished last line is cut off.

    What an unfinished line would have recorded was never released.

    Raises
    ------
    StorageDamagedError
        If `made` cannot read a line.

    """
    lines = path.read_bytes().split(b"\n")
    if lines[-1]:
        os.truncate(path, path.stat().st_size - len(lines[-1]))
    found = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            found.append(made(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageDamagedError(
                f"{path}, line {number}: not what was written; bring the file back from a backup, "
                "since without it nobody knows what was released",
                field="ledger",
                actual=number,
            ) from error
    return found

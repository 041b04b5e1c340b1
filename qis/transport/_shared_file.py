"""Reads a file of a shared folder, which anybody may have put there, safely.

A symbolic link may lead out of the folder, opening a FIFO blocks until somebody writes, a device
may do anything, and a sparse file of no blocks may claim a size of 600 MB. So the file is checked
before it is opened, opened without following links or blocking, and checked again after opening.
"""

import errno
import os
import stat
from typing import Final

_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class ForeignFileError(Exception):
    """Not a file to be read; the text says what it is instead."""


def require_readable(found: os.stat_result, limit: int) -> None:
    """Raise unless it is a regular file of at most `limit` bytes."""
    if not stat.S_ISREG(found.st_mode):
        kinds = [name for is_one, name in _KINDS if is_one(found.st_mode)]
        raise ForeignFileError(kinds[0] if kinds else "not a regular file")
    if found.st_size > limit:
        raise ForeignFileError(f"larger than {limit} bytes")


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises
    ------
    ForeignFileError
        If it is not a regular file, or is larger.
    OSError
        If the system refuses.

    """
    require_readable(os.lstat(path), limit)
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # it has become a link or a FIFO meanwhile
            raise ForeignFileError("not a regular file any more") from error
        raise
    try:
        require_readable(os.fstat(descriptor), limit)
        data = b""
        while len(data) <= limit and (more := os.read(descriptor, limit + 1 - len(data))):
            data += more
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise ForeignFileError(f"larger than {limit} bytes")
    return data

"""Files on disk: whole or not at all, durable when a call returns, private where they hold secrets.

The one place that syncs files and folders, but for those that are written line by line under a lock
of their own (`qis/account/witness.py`, `qis/evidence/audit.py`).
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final, Literal

from qis.errors import KeyFileError

PRIVATE: Final = 0o600
SHARED: Final = 0o666
"""Modes of new files; the second is narrowed by the process's umask, as that of any file."""

# What a file system says that does not sync folders, as most network shares, or a folder that may
# be written and not read. Anything else is a failure of the disk.
_NOT_SYNCED: Final = frozenset(
    {
        errno.EINVAL,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.ENOSYS,
        errno.EBADF,
        errno.EISDIR,
        errno.EACCES,
        errno.EPERM,
    }
)


def create(path: Path, content: bytes) -> None:
    """Make a file with mode 0600, durable when this returns; what is there is never replaced.

    Raises
    ------
    FileExistsError
        If there is something under that name.
    OSError
        If it cannot be written; nothing is left behind then.

    """
    draft = _written(path, content, PRIVATE, path.name)
    try:
        try:
            os.link(draft, path)  # fails where the name is taken, as a rename would not
        except FileExistsError:
            raise
        except OSError:  # no hard links on this file system: reserve the name, then replace it
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
            try:
                draft.replace(path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    finally:
        draft.unlink(missing_ok=True)
    try:
        sync_folder(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace(path: Path, content: bytes, *, mode: int = PRIVATE, draft: str = "") -> None:
    """Write a file, durable when this returns; until then the former one stands.

    Parameters
    ----------
    path
        The file, which need not exist.
    content
        All of its bytes.
    mode
        Mode of the new file.
    draft
        How the name of the temporary file beside it goes on after a dot; default: as the file's.

    Raises
    ------
    OSError
        If it cannot be written; nothing is changed then, or the disk failed after the change.

    """
    temporary = _written(path, content, mode, draft or path.name)
    try:
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


@contextmanager
def durable(path: Path, how: Literal["xb", "ab"]) -> Iterator[BinaryIO]:
    """Open a new file, or one to append to, and have all on disk when the block is left in peace.

    A block that raises leaves what it has written until then.
    """
    with path.open(how) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync(path: Path) -> None:
    """Have on disk what is in a file, whoever wrote it; does nothing where systems cannot."""
    if os.name != "posix":  # elsewhere only what is open for writing can be synced
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make names durable that were added to a folder, where the file system offers it.

    Raises
    ------
    OSError
        If the disk fails.

    """
    try:
        sync(folder)
    except OSError as error:
        if error.errno not in _NOT_SYNCED:
            raise


def read_private(path: str | PathLike[str], largest: int) -> bytes:
    """Read at most `largest` bytes of a file that other accounts must not be able to read.

    Raises
    ------
    KeyFileError
        If they are, or the file cannot be read.

    """
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(largest)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}", field="path") from error
    except ValueError as error:  # a NUL in the name
        raise KeyFileError(f"{str(path)!r:.200} is no file's name: {error}", field="path") from None
    if os.name == "posix" and mode & 0o077:
        raise KeyFileError(
            f"{path} has mode {mode:04o}, so others can read the key: "
            f"if nobody did, run chmod 600 {path}; else make a new key",
            field="mode",
            actual=mode,
            limit=PRIVATE,
        )
    return content


def _written(path: Path, content: bytes, mode: int, name: str) -> Path:
    """Write a temporary file in the same folder, synced; removed if it cannot be written whole."""
    draft = path.with_name(f".{name[:80]}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    return draft

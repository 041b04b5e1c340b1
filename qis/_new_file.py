"""Files that are there whole or not at all, whatever fails while they are written."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def create(path: Path, content: bytes) -> None:
    """Make a file with mode 0600, durable when this returns; what is there is never replaced.

    Raises
    ------
    FileExistsError
        If there is something under that name.
    OSError
        If it cannot be written; nothing is left behind then.

    """
    draft = _written(path, content)
    try:
        try:
            os.link(draft, path)  # fails where the name is taken, as a rename would not
        except FileExistsError:
            raise
        except OSError:  # no hard links on this file system: reserve the name, then replace it
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            try:
                draft.replace(path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Write a file with mode 0600, durable when this returns; until then the former one stands.

    Raises
    ------
    OSError
        If it cannot be written; nothing is changed then.

    """
    draft = _written(path, content)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _written(path: Path, content: bytes) -> Path:
    """Write a temporary file in the same folder, synced; removed if it cannot be written whole."""
    draft = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
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


def _sync_folder(folder: Path) -> None:
    """Make a new name durable, where the system lets us; network shares often do not."""
    if os.name != "posix":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

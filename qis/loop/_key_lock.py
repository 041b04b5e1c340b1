"""One writer for each key: a lock file, which the system releases however its process ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qis.errors import StorageError
from qis.identity import Issuer


@contextmanager
def locked(path: Path | None, issuer: Issuer) -> Iterator[None]:
    """Hold the lock file of a key, in the folder of `path`, while the context lasts.

    Without a path, and on Windows, nothing is locked.

    Raises
    ------
    StorageError
        If somebody else holds it.

    """
    if path is None or os.name != "posix":
        yield
        return
    import fcntl  # noqa: PLC0415  there is none on Windows

    name = path.with_name(f"{issuer}.lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(f"{name}: {error.strerror}", field="outbox") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"{name}: another loop or process publishes with this key, and a key has one "
                "writer",
                field="outbox",
                actual=issuer,
            ) from error
        yield
    finally:
        os.close(lock)

"""The witness of an account: a small file beside the key that says how far the account had come.

Whoever restores an older copy of the account, cuts it or deletes it, has to do so with this file
too. It is also the lock of the key: one loop at a time holds it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qis._files import sync_folder
from qis.errors import StorageDamagedError, StorageError

_SIZE: Final = 2_048
"""Bytes, padded with spaces: it is overwritten in place, by one write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a witness says.

    Parameters
    ----------
    account
        Where the account lay.
    name
        The account's random name, 32 hexadecimal digits.
    counter
        Number of changes that the account had.

    """

    account: str
    name: str
    counter: int


class Witness:
    """A witness file; made when it is first written to.

    Parameters
    ----------
    path
        The file.

    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Statement | None:
        """Return what it says, `None` if it was never written.

        Raises
        ------
        StorageDamagedError
            If it is no witness.
        StorageError
            If it cannot be read.

        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}", field="witness") from error
        if not content:  # a lock that was only held
            return None
        try:
            said = json.loads(content)
            return Statement(
                account=str(said["account"]), name=str(said["name"]), counter=int(said["counter"])
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StorageDamagedError(
                f"{self.path} is no witness of an account", field="witness"
            ) from error

    def write(self, said: Statement, *, is_durable: bool = False) -> None:
        """Write down how far the account has come.

        Without `is_durable` it is not synced: after a power cut it may be behind, which says
        nothing against the account, and never ahead of it.

        Raises
        ------
        StorageError
            If it cannot be written.

        """
        line = json.dumps(
            {"account": said.account, "name": said.name, "counter": said.counter}
        ).encode()
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.write(file, line.ljust(_SIZE - 1) + b"\n")
                if is_durable:
                    os.fsync(file)
            finally:
                os.close(file)
            if is_durable:
                sync_folder(self.path.parent)
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}", field="witness") from error

    @contextmanager
    def held(self, refusal: str) -> Iterator[None]:
        """Hold its lock while the context lasts; the system releases it with the process.

        Raises
        ------
        StorageError
            If somebody else holds it; `refusal` says who that may be.

        """
        lock = locked(self.path, refusal)
        try:
            yield
        finally:
            os.close(lock)


def locked(path: Path, refusal: str) -> int:
    """Lock a file and return its descriptor, which unlocks it when closed.

    Raises
    ------
    StorageError
        If somebody else has locked it, with `refusal` as its text, or the disk refuses.

    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", field="path") from error
    if os.name != "posix":
        return lock
    import fcntl  # noqa: PLC0415  there is none on Windows

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StorageError(f"{path}: {refusal}", field="path") from error
    return lock

"""The file of an account: transactions, each of which is counted, and single values.

Whoever has the file open notices if it is replaced, deleted or brought back from an older copy.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Final, Self

from qis._database import open_database, open_in_memory, translated
from qis._paths import file_path
from qis.account.tables import SCHEMA
from qis.account.witness import locked
from qis.errors import StorageDamagedError, StorageError
from qis.identity import Issuer

IN_MEMORY: Final = Path("the account in memory")


class AccountFile:
    """A file of facts and tables that is changed in counted transactions only.

    Parameters
    ----------
    path
        A file (mode 0600), made if there is none. `None`: in memory.

    Raises
    ------
    StorageDamagedError
        If it is damaged or no account.
    StorageError
        If the disk refuses.

    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self.path = None if path is None else file_path(path, without="None")
        self._lock = threading.RLock()
        self.is_open = True
        self._depth = 0
        self._queue_lock = -1
        self.on_change: Callable[[], None] = lambda: None
        """Called at the end of each transaction, to write down what belongs to every change."""
        self._seen = 0
        if self.path is None:
            self._database = open_in_memory(SCHEMA)
            return
        self._database = open_database(self.path, SCHEMA)
        try:
            self._identity = self.path.stat()
            self._seen = self.counter
        except BaseException:
            self._database.close()
            raise

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run an SQL statement; writing ones within `transaction` only."""
        return self._database.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes or none, on disk afterwards; nobody else changes anything meanwhile.

        May be entered again by its holder.

        Raises
        ------
        StorageDamagedError
            If the file was replaced, deleted or brought back from an older copy while it was open.
        StorageError
            If the disk refuses, or another process holds it for long.

        """
        with self._lock:
            if self._depth:
                yield
                return
            with self.translated():
                self._require_same_file()
                self.execute("BEGIN IMMEDIATE")
                self._depth = 1
                try:
                    self._require_not_older()
                    yield
                    self.on_change()
                    counter = self.counter + 1
                    self.set_fact("counter", counter.to_bytes(8, "big"))
                    self.execute("COMMIT")
                except BaseException:
                    if self._database.in_transaction:
                        self.execute("ROLLBACK")
                    raise
                finally:
                    self._depth = 0
            self._seen = counter
            self._committed()

    def _committed(self) -> None:
        """Called after each transaction."""

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what sqlite raises into errors that say what to do."""
        with translated(self.path or IN_MEMORY, SCHEMA):
            yield

    def fact(self, name: str) -> bytes | None:
        """Return a single value of the account."""
        row = self.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_fact(self, name: str, value: bytes) -> None:
        """Set a single value, within `transaction` only."""
        self.execute("REPLACE INTO facts VALUES (?, ?)", (name, value))

    @property
    def counter(self) -> int:
        """Number of changes since the account was made."""
        return int.from_bytes(self.fact("counter") or b"", "big")

    @property
    def name(self) -> str:
        """The account's random name, 32 hexadecimal digits."""
        return (self.fact("name") or b"").hex()

    @property
    def issuer(self) -> Issuer | None:
        """The key that it belongs to, once a loop has used it."""
        owner = self.fact("issuer")
        return None if owner is None else Issuer(owner)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self.is_open = False
            self._database.close()
            if self._queue_lock >= 0:
                os.close(self._queue_lock)
                self._queue_lock = -1

    def __del__(self) -> None:
        with suppress(AttributeError, sqlite3.Error):  # it was never opened
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def own_queue(self) -> None:
        """Reserve the queue of packets for one outbox, as it keeps a part of it in memory.

        Raises
        ------
        StorageError
            If another outbox has it.

        """
        if self.path is None or self._queue_lock >= 0:
            return
        self._queue_lock = locked(
            self.path.with_name(f"{self.path.name}.witness"),
            "another process or outbox has it open, and an outbox has one writer",
        )

    def is_queue_held(self) -> bool:
        """True if an outbox has the queue, in this process or another."""
        if self.path is None or self._queue_lock >= 0:
            return self._queue_lock >= 0
        try:
            self.own_queue()
        except StorageError:
            return True
        os.close(self._queue_lock)
        self._queue_lock = -1
        return False

    def _require_same_file(self) -> None:
        if self.path is None:
            return
        try:
            is_same = os.path.samestat(self._identity, self.path.stat())
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise StorageDamagedError(
                f"{self.path} was deleted or replaced while it was in use: nothing is released any "
                "more. Bring it back and open it again",
                field="path",
            )

    def _require_not_older(self) -> None:
        counter = self.counter
        if counter < self._seen:
            raise StorageDamagedError(
                f"{self.path} was brought back from an older copy while it was in use: it had "
                f"{self._seen} changes, now {counter}. Nothing is released any more: bring the "
                "newer one back and open it again",
                field="counter",
                actual=counter,
                limit=self._seen,
            )

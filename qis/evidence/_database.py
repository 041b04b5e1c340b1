"""The database file of a store: made whole or not at all, checked when opened, never repaired.

A file is made under another name and moved into place once it is complete, so an empty or short
file under its own name is damage and not a beginning.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from qis.errors import StorageDamagedError, StorageError

APPLICATION_ID: Final = 0x71697331
"""Marks the file as a store of qis (ASCII "qis1"), at byte 68."""

_MIGRATIONS: Final = (
    """
    CREATE TABLE packets (
        place INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        tag INTEGER NOT NULL,
        issuer BLOB NOT NULL,
        sequence BLOB NOT NULL,
        raw BLOB NOT NULL CHECK (length(raw) = 512)
    );
    CREATE INDEX packets_by_tag ON packets (tag);
    CREATE INDEX packets_by_slot ON packets (issuer, sequence);
    CREATE TABLE heads (
        study BLOB NOT NULL,
        issuer BLOB NOT NULL,
        cohort TEXT NOT NULL,
        role INTEGER NOT NULL,
        sequence BLOB NOT NULL,
        id BLOB NOT NULL,
        PRIMARY KEY (study, issuer, cohort, role)
    ) WITHOUT ROWID;
    CREATE TABLE equivocations (
        issuer BLOB NOT NULL,
        sequence BLOB NOT NULL,
        PRIMARY KEY (issuer, sequence)
    ) WITHOUT ROWID;
    CREATE TABLE floors (
        issuer BLOB PRIMARY KEY,
        sequence BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
)
"""Statement lists; number n leads from version n to n + 1. Published ones are never changed."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file, or make it if there is nothing under its name; lock it for this process.

    Raises
    ------
    StorageError
        If another process has it open, or the disk refuses.
    StorageDamagedError
        If it is not an intact store.

    """
    if not path.exists():
        if path.with_name(path.name + "-wal").exists():
            raise StorageDamagedError(
                f"{path} is gone, while {path.name}-wal, the log of its last changes, is still "
                "there: bring the file back, or recover what the log holds",
                field="path",
            )
        with translated(path):
            _create(path)
    with translated(path):
        database = _connect(path)
    try:
        with translated(path):
            _check(database, path)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what sqlite and the operating system raise into errors that say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StorageDamagedError(
                f"{path} is damaged ({error}); it is left as it is. Bring it back from a backup, "
                "or save what is readable with SQLiteStore.recover(path, into=…)",
                field="path",
                actual=str(error),
            ) from error
        advice = _ADVICE.get(code, "nothing of the last call was written")
        raise StorageError(f"{path}: {error}; {advice}", field="path", actual=str(error)) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"{path}: {error.strerror or error}; nothing of the last call was written",
            field="path",
            actual=error.errno,
        ) from error


_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process or store has it open, and a store has one writer",
    sqlite3.SQLITE_FULL: "nothing of the last call was written: free space and call again",
    sqlite3.SQLITE_READONLY: "the file or its folder may not be written, and nothing was",
    sqlite3.SQLITE_CANTOPEN: "is it a folder, or are you not allowed to read and write here?",
}


def _connect(path: Path) -> sqlite3.Connection:
    # The store says that threads take turns; sqlite itself would insist on one.
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -32768")
    except BaseException:
        database.close()
        raise
    return database


def _create(path: Path) -> None:
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        database = _connect(fresh)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            _migrate(database, 0)
        finally:
            database.close()
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # somebody else was faster, and theirs stands
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that were added to a folder durable, where the system lets us."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(database: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size == 0:
        raise StorageDamagedError(
            f"{path} is empty, which no store ever is: it was cut. Bring it back from a backup; if "
            "nothing was ever stored there, delete it",
            field="path",
        )
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StorageDamagedError(
            f"{path} is a database, but no store of qis: choose another path",
            field="application_id",
            actual=application,
            limit=APPLICATION_ID,
        )
    if not 1 <= version <= len(_MIGRATIONS):
        raise StorageError(
            f"{path} has schema version {version}; this qis reads up to {len(_MIGRATIONS)}: "
            "use the newer qis that wrote it",
            field="user_version",
            actual=version,
            limit=len(_MIGRATIONS),
        )
    database.execute("BEGIN EXCLUSIVE")  # takes the lock that stays until the store is closed
    database.execute("COMMIT")
    faults = [row[0] for row in database.execute("PRAGMA quick_check(3)")]
    if faults != ["ok"]:
        raise StorageDamagedError(
            f"{path} is damaged ({'; '.join(faults)}); it is left as it is. Bring it back from a "
            "backup, or save what is readable with SQLiteStore.recover(path, into=…)",
            field="path",
            actual=tuple(faults),
        )
    _migrate(database, version)


def _migrate(database: sqlite3.Connection, version: int) -> None:
    """Bring the schema up to date, all steps or none."""
    if version == len(_MIGRATIONS):
        return
    steps = "".join(_MIGRATIONS[version:])
    try:
        database.executescript(f"BEGIN; {steps} PRAGMA user_version = {len(_MIGRATIONS)}; COMMIT;")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise

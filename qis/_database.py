"""A database file: made whole or not at all, checked when opened, never repaired.

A file is made under another name and renamed once it is complete, so an empty or short
file under its own name is damage and not a beginning.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qis._files import sync, sync_folder
from qis.errors import StorageDamagedError, StorageError

SHARED_WAIT_S: Final = 30.0
"""Longest wait for another process's transaction on a shared file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables of a database file, and what to say if it is damaged.

    Parameters
    ----------
    name
        What such a file is called in an error: "store".
    application_id
        Marks the file, at byte 68.
    migrations
        Statement lists; number n leads from version n to n + 1. Published ones are never changed.
    rescue
        What to do with a damaged file, as the end of a sentence.
    is_shared
        True if several processes may have it open, each for one transaction at a time.

    """

    name: str
    application_id: int
    migrations: tuple[str, ...]
    rescue: str
    is_shared: bool = False


def open_database(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open the file, or make it if there is nothing under its name; lock it for this process.

    Raises
    ------
    StorageError
        If another process has it open, or the disk refuses.
    StorageDamagedError
        If it is not an intact file of this schema.

    """
    if not path.exists():
        if path.with_name(path.name + "-wal").exists():
            raise StorageDamagedError(
                f"{path} is gone, while {path.name}-wal, the log of its last changes, is still "
                "there: bring the file back, or recover what the log holds",
                field="path",
            )
        with translated(path, schema):
            _create(path, schema)
    with translated(path, schema):
        database = _connect(path, schema)
    try:
        with translated(path, schema):
            _check(database, path, schema)
    except BaseException:
        database.close()
        raise
    return database


def open_in_memory(schema: Schema) -> sqlite3.Connection:
    """The same tables without a file."""
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        _migrate(database, schema, 0)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def translated(path: Path, schema: Schema) -> Iterator[None]:
    """Turn what sqlite and the operating system raise into errors that say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StorageDamagedError(
                f"{path} is damaged ({error}); it is left as it is. Bring it back from a backup, "
                f"{schema.rescue}",
                field="path",
                actual=str(error),
            ) from error
        advice = _ADVICE.get(code, "nothing of the last call was written").format(name=schema.name)
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
    sqlite3.SQLITE_BUSY: "another process or {name} has it open, and a {name} has one writer",
    sqlite3.SQLITE_FULL: "nothing of the last call was written: free space and call again",
    sqlite3.SQLITE_IOERR: "is the disk full, read-only or away? The last call wrote nothing",
    sqlite3.SQLITE_READONLY: "the file or its folder may not be written, and nothing was",
    sqlite3.SQLITE_CANTOPEN: "is it a folder, or are you not allowed to read and write here?",
}


def _connect(path: Path, schema: Schema) -> sqlite3.Connection:
    # Whoever uses it says that threads take turns; sqlite itself would insist on one.
    database = sqlite3.connect(
        path,
        timeout=SHARED_WAIT_S if schema.is_shared else 0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if not schema.is_shared:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -32768")
    except BaseException:
        database.close()
        raise
    return database


def _create(path: Path, schema: Schema) -> None:
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        database = _connect(fresh, schema)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA application_id = {schema.application_id}")
            _migrate(database, schema, 0)
        finally:
            database.close()
        fresh.chmod(0o600)  # sqlite gives its log the same mode
        sync(fresh)
        with suppress(FileExistsError):  # somebody else was faster, and theirs stands
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def _check(database: sqlite3.Connection, path: Path, schema: Schema) -> None:
    if path.stat().st_size == 0:
        raise StorageDamagedError(
            f"{path} is empty, which no {schema.name} ever is: it was cut. Bring it back from a "
            "backup; if nothing was ever stored there, delete it",
            field="path",
        )
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != schema.application_id:
        raise StorageDamagedError(
            f"{path} is a database, but no {schema.name} of qis: choose another path",
            field="application_id",
            actual=application,
            limit=schema.application_id,
        )
    if not 1 <= version <= len(schema.migrations):
        raise StorageError(
            f"{path} has schema version {version}; this qis reads up to {len(schema.migrations)}: "
            "use the newer qis that wrote it",
            field="user_version",
            actual=version,
            limit=len(schema.migrations),
        )
    database.execute("BEGIN EXCLUSIVE")  # takes the lock that stays until the store is closed
    database.execute("COMMIT")
    faults = [row[0] for row in database.execute("PRAGMA quick_check(3)")]
    if faults != ["ok"]:
        raise StorageDamagedError(
            f"{path} is damaged ({'; '.join(faults)}); it is left as it is. Bring it back from a "
            f"backup, {schema.rescue}",
            field="path",
            actual=tuple(faults),
        )
    _migrate(database, schema, version)


def _migrate(database: sqlite3.Connection, schema: Schema, version: int) -> None:
    """Bring the schema up to date, all steps or none; another process may be at it too."""
    if version == len(schema.migrations):
        return
    try:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        for statement in "".join(schema.migrations[version:]).split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(schema.migrations)}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise

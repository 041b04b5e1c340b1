"""What a site remembers of a store beside its evidence: what it has read, and what it has written.

One SQLite file for both. Deleting it costs that everything is read once more, and that this site's
expired objects stay.
"""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple, Self

from qis.errors import StorageError


class _File:
    """A connection to the file, with its tables."""

    def __init__(self, path: str) -> None:
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.executescript(
                "CREATE TABLE IF NOT EXISTS seen (token BLOB, name TEXT, PRIMARY KEY (token, name))"
                " WITHOUT ROWID;"
                "CREATE TABLE IF NOT EXISTS listed (token BLOB PRIMARY KEY, at REAL);"
                "CREATE TABLE IF NOT EXISTS written (root TEXT, name TEXT, path TEXT, expires REAL,"
                " PRIMARY KEY (root, name)) WITHOUT ROWID;"
            )
        except sqlite3.Error as error:
            raise StorageError(
                f"{path}: {error}; delete it, and everything is read once more", field="seen"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Seen(_File):
    """The names of objects that one subscription has read and stored.

    Parameters
    ----------
    path
        The file; ``":memory:"``: none.
    token
        Which subscription.

    """

    def __init__(self, path: str, token: bytes) -> None:
        super().__init__(path)
        self._token = token
        rows = self._database.execute("SELECT name FROM seen WHERE token = ?", (token,))
        self._names = {name for (name,) in rows}

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """Remember a name; on disk, if this is, when it returns."""
        self._names.add(name)
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (self._token, name))

    def keep(self, names: Iterable[str]) -> None:
        """Forget all names but these, which are all that there are."""
        gone = self._names.difference(names)
        self._names -= gone
        self._database.execute("BEGIN")
        self._database.executemany(
            "DELETE FROM seen WHERE token = ? AND name = ?", [(self._token, name) for name in gone]
        )
        self._database.execute("COMMIT")

    def forget(self) -> None:
        """Forget all names, so that everything is read once more."""
        self._names.clear()
        self._database.execute("DELETE FROM seen WHERE token = ?", (self._token,))
        self.listed_at = -1.0

    @property
    def listed_at(self) -> float:
        """Unix seconds of the last listing of everything; -1 before the first."""
        found = self._database.execute("SELECT at FROM listed WHERE token = ?", (self._token,))
        row = found.fetchone()
        return -1.0 if row is None else float(row[0])

    @listed_at.setter
    def listed_at(self, at: float) -> None:
        self._database.execute("INSERT OR REPLACE INTO listed VALUES (?, ?)", (self._token, at))


class Due(NamedTuple):
    """An object of this site that is to be deleted."""

    name: str
    path: str
    expires_at: float
    """Unix seconds; 0: it was withdrawn."""


class Written(_File):
    """The objects that this site has written to a store.

    Parameters
    ----------
    path
        The file; ``":memory:"``: none.
    root
        Which store.

    """

    def __init__(self, path: str, root: str) -> None:
        super().__init__(path)
        self._root = root

    def put(self, name: str, path: str, expires_at: float) -> None:
        """Remember an object; on disk, if this is, when it returns."""
        row = (self._root, name, path, expires_at)
        self._database.execute("INSERT OR REPLACE INTO written VALUES (?, ?, ?, ?)", row)

    def path_of(self, name: str) -> str | None:
        """Return where an object was written that nobody has withdrawn."""
        row = self._database.execute(
            "SELECT path FROM written WHERE root = ? AND name = ? AND expires > 0",
            (self._root, name),
        ).fetchone()
        return None if row is None else str(row[0])

    def withdraw(self, name: str) -> None:
        """Note that an object is to be deleted."""
        self._database.execute(
            "UPDATE written SET expires = 0 WHERE root = ? AND name = ?", (self._root, name)
        )

    def due(self, now: float) -> list[Due]:
        """Return what was withdrawn or has expired by `now`, in Unix seconds."""
        rows = self._database.execute(
            "SELECT name, path, expires FROM written WHERE root = ? AND expires <= ?",
            (self._root, now),
        )
        return [Due(*row) for row in rows.fetchall()]

    def forget(self, name: str) -> None:
        """Forget an object that is deleted."""
        self._database.execute(
            "DELETE FROM written WHERE root = ? AND name = ?", (self._root, name)
        )

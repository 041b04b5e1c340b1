"""The outcomes of an outbox that wait for a person's approval."""

import sqlite3
import struct
from collections.abc import Callable
from typing import Any

from qis.errors import QISError, StorageDamagedError
from qis.loop._outbox_rows import pending_of, row_of
from qis.loop.approval import Pending

Execute = Callable[[str, tuple[object, ...]], sqlite3.Cursor]


class Waiting:
    """The table of an outbox with what waits. Write within a transaction only.

    Parameters
    ----------
    execute
        Runs a statement of the outbox.
    damage
        Makes the error to raise of a row that is damaged.

    """

    def __init__(
        self, execute: Execute, damage: Callable[[Exception], StorageDamagedError]
    ) -> None:
        self._execute = execute
        self._damage = damage

    def __len__(self) -> int:
        return int(self._execute("SELECT count(*) FROM waiting", ()).fetchone()[0])

    def put(self, pending: Pending) -> None:
        """Keep an outcome, in place of one with its id."""
        row = row_of(pending)
        marks = ", ".join("?" * len(row))
        self._execute(f"REPLACE INTO waiting VALUES ({marks})", row)  # noqa: S608  only marks

    def all(self) -> tuple[Pending, ...]:
        """Return all, oldest first."""
        rows = self._execute("SELECT * FROM waiting ORDER BY created_at, id", ()).fetchall()
        return tuple(map(self._read, rows))

    def get(self, pending_id: str) -> Pending | None:
        """Return the one of this id, if it waits."""
        row = self._execute("SELECT * FROM waiting WHERE id = ?", (pending_id,)).fetchone()
        return None if row is None else self._read(row)

    def drop(self, pending_id: str) -> bool:
        """Delete the one of this id; true if it has waited."""
        return self._execute("DELETE FROM waiting WHERE id = ?", (pending_id,)).rowcount > 0

    def _read(self, row: tuple[Any, ...]) -> Pending:
        try:
            return pending_of(row)
        except (QISError, LookupError, ValueError, TypeError, struct.error) as error:
            raise self._damage(error) from error

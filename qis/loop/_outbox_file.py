"""The database of an outbox, in a file or in memory: transactions, single values, damage."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Self

from qis._database import open_database, open_in_memory, translated
from qis._paths import file_path
from qis.errors import PeerError, StorageDamagedError
from qis.loop._outbox_rows import SCHEMA, reason_not_read
from qis.packet import Packet, issuer_key
from qis.packet.stored import RULES, reason_unread

_log = logging.getLogger("qis.loop")


class UnreadDraft(NamedTuple):
    """An outcome that waited for approval, and that this version refuses to read.

    It can be rejected (`SynthesisLoop.reject` with its `id`), and its outcome be submitted anew.
    """

    id: str
    created_at: float
    """Unix seconds."""
    explain: str
    """What would have left, as it was shown when it was submitted."""
    reason: str
    """Why it is refused now."""


class OutboxFile:
    """The database that an `Outbox` is kept in.

    Parameters
    ----------
    path
        A file, made if there is none; `None`: in memory.

    """

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self.path = None if path is None else file_path(path, without="Outbox()")
        self._name = Path("the outbox in memory") if self.path is None else self.path
        self._database = (
            open_in_memory(SCHEMA) if self.path is None else open_database(self.path, SCHEMA)
        )
        try:
            self._set_unread_aside()
        except BaseException:
            self._database.close()
            raise

    @property
    def unread(self) -> list[bytes]:
        """Return the packets (512 bytes) that this version no longer reads and never sends."""
        with self._translated():
            return [raw for (raw,) in self._execute("SELECT packet FROM unread ORDER BY packet")]

    def _set_unread_aside(self) -> None:
        """Move what is no longer read into its own table, once for each version of the rules."""
        rules = RULES.to_bytes(4, "big")
        with self._translated():
            if (self._meta("rules") or b"") >= rules:
                return
        found: dict[bytes, str] = {}
        with self._transaction():
            for table in ("own", "unsent", "aside"):
                for (raw,) in self._execute(f"SELECT packet FROM {table}").fetchall():  # noqa: S608  ours
                    reason = reason_unread(raw)
                    if reason is not None:
                        found[raw] = reason
                        self._execute(f"DELETE FROM {table} WHERE packet = ?", (raw,))  # noqa: S608  ours
            drafts = self._set_drafts_aside()
            for raw, reason in found.items():
                self._execute("REPLACE INTO unread VALUES (?, ?)", (raw, reason))
            self._set("rules", rules)
        for raw, reason in found.items():
            _log.warning(
                "%s: packet %d of issuer %s is no longer read under the rules of this version and "
                "will not be sent (%s): publish its outcome anew",
                self._name,
                int.from_bytes(raw[114:122], "big"),
                issuer_key(raw).hex(),
                reason,
            )
        for draft in drafts:
            _log.warning(
                "%s: outcome %s, which waits for approval, is no longer read under the rules of "
                "this version and can only be rejected (%s): submit it anew",
                self._name,
                draft.id,
                draft.reason,
            )

    def _set_drafts_aside(self) -> list[UnreadDraft]:
        """Move what waits for approval and is no longer read; not what is damaged."""
        found = []
        for row in self._execute("SELECT * FROM waiting").fetchall():
            reason = reason_not_read(row)
            if reason is not None:
                name, created_at, kind, body, *_, explain = row
                values = (name, created_at, kind, body, explain, reason)
                self._execute("REPLACE INTO unread_waiting VALUES (?, ?, ?, ?, ?, ?)", values)
                self._execute("DELETE FROM waiting WHERE id = ?", (name,))
                found.append(UnreadDraft(name, created_at, explain, reason))
        return found

    @property
    def unread_waiting(self) -> list[UnreadDraft]:
        """Return outcomes that waited and that this version no longer reads, oldest first."""
        with self._translated():
            rows = self._execute(
                "SELECT id, created_at, explain, reason FROM unread_waiting ORDER BY created_at, id"
            ).fetchall()
        return [UnreadDraft(*row) for row in rows]

    def close(self) -> None:
        """Close and unlock the file; idempotent."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _meta(self, name: str) -> bytes | None:
        row = self._execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def _set(self, name: str, value: bytes) -> None:
        self._execute("REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._execute("BEGIN IMMEDIATE")
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated(self._name, SCHEMA):
            yield

    def _parsed(self, raw: bytes) -> Packet:
        try:
            return Packet.parse(raw)
        except PeerError as error:
            raise self._damage(error) from error

    def _damage(self, error: Exception) -> StorageDamagedError:
        return StorageDamagedError(
            f"{self._name} is damaged ({error}); it is left as it is. Bring it back from a backup, "
            f"{SCHEMA.rescue}",
            field="path",
            actual=str(error),
        )

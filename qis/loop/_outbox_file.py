"""The database of an outbox, in a file or in memory: whose it is, transactions, damage."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple, Self

from qis._gate import checked
from qis._paths import file_path
from qis.account import Account, AccountFinding
from qis.account.account import key_witness
from qis.account.tables import SCHEMA
from qis.account.taking_over import followed, take_over
from qis.account.witness import Witness
from qis.errors import ConfigurationError, PeerError, StorageDamagedError, StorageError
from qis.identity import Issuer
from qis.loop._outbox_rows import reason_not_read
from qis.packet import Packet, issuer_key
from qis.packet.stored import RULES, reason_unread

_log = logging.getLogger("qis.loop")
_ONE_LOOP: Final = "another loop or process publishes with this key, and a key has one writer"


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
    """The account that an `Outbox` is kept in.

    Parameters
    ----------
    path
        An account, or the path of one, made if there is none; `None`: in memory.

    """

    def __init__(self, path: Account | str | PathLike[str] | None) -> None:
        given = (
            None
            if path is None or isinstance(path, Account)
            else file_path(path, without="Outbox()")
        )
        self._claimed_by: Issuer | None = None
        self.account = path if isinstance(path, Account) else followed(Account(given))
        try:
            self._begin(self.account)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path | None:
        """The account's file; `None` in memory."""
        return self.account.path

    def _begin(self, account: Account) -> None:
        self.account = account
        account.own_queue()
        self._set_unread_aside()

    @checked
    @contextmanager
    def claimed(self, issuer: Issuer, *, key_path: Path | None = None) -> Iterator[Self]:
        """Reserve outbox and key for one loop while the context lasts.

        Compares the account with the witness of the key; what is wrong then is in `findings`.

        Parameters
        ----------
        issuer
            The key.
        key_path
            The file that it was loaded from, beside which its witness lies.

        Raises
        ------
        ConfigurationError
            If it belongs to another key.
        StorageError
            If another loop or process publishes with this key.

        """
        if self._claimed_by is not None:
            raise StorageError(f"{self._name} serves another loop", field="outbox")
        self._require_owner(issuer)
        with ExitStack() as released_later:
            witness = key_witness(issuer, key_path, self.path)
            if witness is not None:
                released_later.enter_context(witness.held(_ONE_LOOP))
            if witness is not None and self.path is not None:
                self._join(witness, issuer)
            elif self.account.issuer is None:
                with self._transaction():
                    self._set("issuer", issuer.key)
            self._claimed_by = issuer
            try:
                yield self
            finally:
                self._claimed_by = None

    def findings(self) -> tuple[AccountFinding, ...]:
        """What is wrong with the account; nothing leaves until a person has settled it."""
        return self.account.findings()

    def _require_owner(self, issuer: Issuer) -> None:
        with self._translated():
            owner = self.account.issuer
        if owner is not None and owner != issuer:
            raise ConfigurationError(
                f"{self._name} belongs to issuer {owner}, not to {issuer}: an outbox has one key",
                field="outbox",
                actual=issuer,
                limit=owner,
            )

    def _join(self, witness: Witness, issuer: Issuer) -> None:
        """Go on in the account that the key's witness names, if that is another one."""
        try:
            told = witness.read()
        except StorageDamagedError:
            told = None  # a finding, below
        if told is not None and told.name != self.account.name and Path(told.account).exists():
            there = followed(Account(told.account))
            if there.name == self.account.name or told.name != there.name:
                there.close()
            else:
                former = self.account
                self._begin(there)
                self._require_owner(issuer)
                take_over(there, former)
                former.close()
                self._begin(there)
        self.account.compare(witness, now=time.time())
        self.account.witness_by(witness, issuer)

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
                name, created_at, kind, body, *_, explain, _ = row
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
        """Close and unlock the file; idempotent. An account that was given is closed too."""
        self.account.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _name(self) -> Path:
        return self.path or Path("the outbox in memory")

    def _meta(self, name: str) -> bytes | None:
        return self.account.fact(name)

    def _set(self, name: str, value: bytes) -> None:
        self.account.set_fact(name, value)

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self.account.execute(statement, values)

    def _transaction(self) -> AbstractContextManager[None]:
        return self.account.transaction()

    def _translated(self) -> AbstractContextManager[None]:
        return self.account.translated()

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

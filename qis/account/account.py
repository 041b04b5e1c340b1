"""One file with everything that a key has released, paid, queued and submitted.

A loop holds the key's lock for as long as it is open; whoever else uses the key on this machine,
such as a notebook that pays for noise, reads and writes in transactions of their own. Each change
is counted, and the count is written into the account's witnesses.
"""

import os
import time
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Literal, Self

from qis.account.file import IN_MEMORY, AccountFile
from qis.account.findings import FINDINGS, AccountFinding
from qis.account.witness import Statement, Witness
from qis.errors import AccountError, InputError, StorageDamagedError, StorageError
from qis.identity import Identity, Issuer


class Account(AccountFile):
    """The record of what has left under a key, and of what may leave.

    Parameters
    ----------
    path
        A file (mode 0600), made if there is none; ``<path>.witness`` beside it says how far it had
        come. What is wrong by its word is in `findings`. `None`: in memory.

    Raises
    ------
    StorageDamagedError
        If it is damaged or no account.
    StorageError
        If the disk refuses.

    Examples
    --------
    >>> import qis
    >>> qis.Account()  # in memory; with a path it is a file that survives
    <Account in memory, open>

    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self._witnesses: tuple[Witness, ...] = ()
        super().__init__(path)
        if self.path is None:
            return
        own = Witness(self.path.with_name(f"{self.path.name}.witness"))
        try:
            self._witnesses = (own, *self._key_witnesses())
            self.found(self._compared(own), now=time.time())
            if own.read() is None:
                own.write(self._statement(), is_durable=True)
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """Open the account of a key that was loaded from or saved to a file.

        It lies where the key's witness says, ``<key file>.witness``, and by default beside the key:
        ``<key file>.account``.

        Raises
        ------
        InputError
            If the key has no file.
        AccountError
            If the account that the witness names is not there.
        StorageError
            As `Account`.

        """
        if identity.path is None:
            raise InputError(
                "this key was not loaded from a file, so nothing says where its account lies: give "
                "the account's path",
                field="identity",
            )
        path, witness = beside_key(identity)
        if witness is not None and witness.read() is not None and not path.exists():
            raise AccountError(
                f"{path}, the account of this key, is not there: bring it back; or, if it is "
                "lost, open the site's loop and say what happened (docs/operating.md)",
                field="account_missing",
            )
        account = cls(path)
        if witness is not None and witness.read() is None:
            account.witness_by(witness, identity.issuer)
        return account

    # --- witnesses ----------------------------------------------------------------------------

    def witness_by(self, witness: Witness, issuer: Issuer) -> None:
        """Let the witness of a key know of all changes from now on."""
        own, *_ = self._witnesses
        self._witnesses = (own, witness)
        if not self.findings():  # first, since an account whose witness is missing is in doubt
            witness.write(self._statement(), is_durable=True)
        with self.transaction():
            self.set_fact("issuer", issuer.key)
            self.set_fact("witness", str(witness.path.absolute()).encode())

    def compare(self, witness: Witness, *, now: float) -> None:
        """Compare with what the witness of the key says, and write down what is wrong."""
        self.found(self._compared(witness), now=now)

    def _compared(self, witness: Witness) -> list[AccountFinding]:
        try:
            told = witness.read()
        except StorageDamagedError as error:
            return [_finding("witness_damaged", str(error))]
        if told is None:
            name = str(witness.path.absolute()).encode()
            if self._seen and (witness is self._witnesses[0] or self.fact("witness") == name):
                text = f"{witness.path} was there before and is not now"
                return [_finding("witness_missing", text)]
            return []
        if told.name != self.name:
            text = (
                f"{self.path} is another account than {witness.path} knows, which had "
                f"{told.counter} changes and lay at {told.account}"
            )
            return [_finding("account_older", text)]
        if told.counter > self._seen:
            text = f"{self.path} has {self._seen} changes, {witness.path} knows of {told.counter}"
            return [_finding("account_older", text)]
        return []

    # --- findings -----------------------------------------------------------------------------

    def findings(self) -> tuple[AccountFinding, ...]:
        """What is wrong and nobody has settled yet."""
        with self.translated():
            rows = self.execute("SELECT code, said, found_at FROM findings ORDER BY code")
        return tuple(AccountFinding(code=c, text=said, found_at=at) for c, said, at in rows)

    def found(self, findings: list[AccountFinding], *, now: float) -> tuple[AccountFinding, ...]:
        """Write findings down, so that nothing leaves until they are settled; the new ones."""
        known = {each.code for each in self.findings()}
        new = tuple(
            AccountFinding(code=each.code, text=each.text, found_at=now)
            for each in findings
            if each.code not in known
        )
        if new:
            with self.transaction():
                for each in new:
                    self.execute(
                        "INSERT OR IGNORE INTO findings VALUES (?, ?, ?)",
                        (each.code, each.text, each.found_at),
                    )
        return new

    @property
    def is_over(self) -> bool:
        """True if its key is not used any more: stolen, or replaced by another."""
        return any(each.code in ("stolen", "account_superseded") for each in self.findings())

    def require_settled(self) -> None:
        """Raise unless nothing is wrong, or a person has said what happened.

        Raises
        ------
        AccountError
            With the first finding's code as its `field`.

        """
        found = self.findings()
        if found:
            what = "; ".join(map(str, found))
            raise AccountError(
                f"nothing leaves, since the account of what has left is in doubt ({what}). Look "
                'at it, then call settle("restored", approver=…), or settle("stolen", approver=…) '
                "if somebody else has the key (docs/operating.md)",
                field=found[0].code,
                actual=tuple(each.code for each in found),
            )

    def settle(self, verdict: Literal["restored", "stolen"], *, now: float) -> None:
        """Note what a person has said of the findings.

        After "restored" the account as it is counts from now on, and the witnesses are written
        anew. "stolen" stays for ever: the key must not be used again.
        """
        if verdict == "stolen":
            self.found([_finding("stolen", "Nothing leaves under it any more")], now=now)
            return
        counters = [self._seen]
        for witness in self._witnesses:
            with suppress(StorageDamagedError):
                told = witness.read()
                counters.append(0 if told is None else told.counter)
        with self.transaction():
            # Above all that any witness has seen, so that the older copies stay older.
            self.set_fact("counter", max(counters).to_bytes(8, "big"))
            self.execute("DELETE FROM findings WHERE code != 'stolen'")
        for witness in self._witnesses:
            witness.write(self._statement(), is_durable=True)

    # --- inside -------------------------------------------------------------------------------

    def _committed(self) -> None:
        if self._witnesses and not self.findings():  # which rest on what they say now
            for witness in self._witnesses:
                # What is committed is committed; a witness that is behind accuses nobody.
                with suppress(StorageError):
                    witness.write(self._statement())

    def _statement(self) -> Statement:
        return Statement(
            account=str((self.path or IN_MEMORY).absolute()), name=self.name, counter=self._seen
        )

    def _key_witnesses(self) -> list[Witness]:
        path = self.fact("witness")
        return [] if path is None else [Witness(Path(path.decode()))]

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else repr(str(self.path))
        return f"<Account {where}, {'open' if self.is_open else 'closed'}>"


def key_witness(issuer: Issuer, key_path: Path | None, account: Path | None) -> Witness | None:
    """The witness of a key: beside its file; else, or if that folder is read-only, by the account.

    `None` if there is neither.
    """
    if key_path is not None:
        beside = key_path.with_name(f"{key_path.name}.witness")
        if beside.exists() or os.access(key_path.parent, os.W_OK):
            return Witness(beside)
    return None if account is None else Witness(account.with_name(f"{issuer}.witness"))


def beside_key(identity: Identity) -> tuple[Path, Witness | None]:
    """Where the account of a key lies that is in a file, and the key's witness, if there is one.

    That is where the witness says, and by default beside the key.
    """
    if identity.path is None:
        raise InputError("this key is in no file", field="identity")
    witness = key_witness(identity.issuer, identity.path, None)
    said = None if witness is None else witness.read()
    default = identity.path.with_name(f"{identity.path.name}.account")
    return (default if said is None else Path(said.account)), witness


def _finding(code: str, text: str) -> AccountFinding:
    return AccountFinding(code=code, text=f"{FINDINGS[code]}. {text}", found_at=0.0)

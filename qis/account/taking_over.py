"""Takes over what former files hold: another account, or a former version's file of JSON lines.

Each is one transaction in the account that takes over, and can be done again if its process dies
before the former file has been marked. The former file stays where it is.
"""

import json
import os
import sqlite3
from pathlib import Path
from typing import Final

from blake3 import blake3

from qis.account.account import Account
from qis.account.chain import append_line
from qis.account.findings import FINDINGS, AccountFinding
from qis.errors import AccountError, ConfigurationError, StorageDamagedError, StorageError

_MOST_MOVES: Final = 16
_QUEUE: Final = {
    "unsent": (
        "SELECT packet, keys, since FROM unsent ORDER BY number",
        "INSERT INTO unsent (packet, keys, since) SELECT ?1, ?2, ?3 "
        "WHERE NOT EXISTS (SELECT 1 FROM unsent WHERE packet = ?1)",
    ),
    "own": (
        "SELECT * FROM own",
        # Bytes 114 to 121 of a packet are its sequence, which SQL counts from 1.
        "INSERT INTO own VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "packet = excluded.packet, keys = excluded.keys "
        "WHERE substr(excluded.packet, 115, 8) > substr(own.packet, 115, 8)",
    ),
    "looks": (
        "SELECT * FROM looks",
        "INSERT INTO looks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
        "state = excluded.state, number = excluded.number WHERE excluded.number > looks.number",
    ),
    "waiting": (
        "SELECT * FROM waiting",
        "INSERT OR IGNORE INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    ),
    "numbers": ("SELECT * FROM numbers", "INSERT OR IGNORE INTO numbers VALUES (?, ?)"),
    "aside": ("SELECT * FROM aside", "INSERT OR IGNORE INTO aside VALUES (?, ?, ?)"),
    "bases": ("SELECT * FROM bases", "INSERT OR IGNORE INTO bases VALUES (?, ?)"),
    "made": ("SELECT * FROM made", "INSERT OR IGNORE INTO made VALUES (?, ?, ?)"),
    "unread": ("SELECT * FROM unread", "INSERT OR IGNORE INTO unread VALUES (?, ?)"),
    "unread_waiting": (
        "SELECT * FROM unread_waiting",
        "INSERT OR IGNORE INTO unread_waiting VALUES (?, ?, ?, ?, ?, ?)",
    ),
    "unknown": ("SELECT * FROM unknown", "INSERT OR IGNORE INTO unknown VALUES (?, ?, ?)"),
    "arriving": ("SELECT * FROM arriving", "INSERT OR IGNORE INTO arriving VALUES (?, ?)"),
    "findings": ("SELECT * FROM findings", "INSERT OR IGNORE INTO findings VALUES (?, ?, ?)"),
}
"""What one key's account has beside its lines: how it is read, and how it is added to another's."""


def take_over(account: Account, former: Account) -> None:
    """Take over all that another account holds, and mark it as taken over.

    An account of another key gives its releases and payments only: they are about the same people,
    while queue and numbers belong to the key. Its own key is then refused.

    Raises
    ------
    ConfigurationError
        If a loop of another key has that account open.
    StorageError
        If the disk refuses; it can be done again.

    """
    is_of_other = former.issuer is not None and former.issuer != account.issuer
    if is_of_other and former.is_queue_held():
        raise ConfigurationError(
            f"{former.path} is the account of issuer {former.issuer}, whose loop is open: close it "
            "before another key takes over its record of releases",
            field="ledger",
            actual=former.issuer,
            limit=account.issuer,
        )
    with former.transaction():
        with account.transaction():
            _take_lines(account, former)
            if not is_of_other:
                for read, add in _QUEUE.values():
                    for row in former.execute(read).fetchall():
                        account.execute(add, row)
                _take_bound(account, former)
        if former.path is None or account.path is None:
            return
        former.set_fact("moved_to", relative(account.path, former.path).encode())
        if is_of_other:
            text = f"{FINDINGS['account_superseded']}. It is in {account.path} now"
            former.execute(
                "INSERT OR IGNORE INTO findings VALUES ('account_superseded', ?, 0.0)", (text,)
            )


def moved_to(account: Account) -> Path | None:
    """Where an account's content has gone, if another has taken it over.

    Raises
    ------
    AccountError
        If that one is not there.

    """
    said = account.fact("moved_to")
    if said is None or account.path is None:
        return None
    there = Path(os.path.normpath(account.path.absolute().parent / said.decode()))
    if not there.exists():
        raise AccountError(
            f"{there}, which has taken over the account of {account.path}, is not there: bring it "
            "back",
            field="account_missing",
            actual=str(there),
        )
    return there


def followed(account: Account, *, to_other_key: bool = False) -> Account:
    """The account in which the content of this one is now; this one is closed if it is another.

    Releases and payments go on `to_other_key` when a key is replaced; queue and numbers do not.

    Raises
    ------
    AccountError
        If it is not there.

    """
    for _ in range(_MOST_MOVES):
        there = moved_to(account)
        if there is None:
            return account
        found, following = account.findings(), Account(there)
        if not to_other_key and account.issuer not in (None, following.issuer):
            following.close()
            return account
        account.close()
        account = following
        account.found([each for each in found if each.code != "account_superseded"], now=0.0)
    raise AccountError(
        f"{account.path}: its content was taken over again and again", field="account_missing"
    )


def is_lines(path: Path) -> bool:
    """True if a file is no database, and so a former version's file of JSON lines.

    SQLite has to look: whoever else in this process opens and closes a database's file takes away
    SQLite's locks on it.
    """
    if not path.exists() or path.stat().st_size == 0:
        return False
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        database.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF == sqlite3.SQLITE_NOTADB
    finally:
        database.close()
    return False


def take_over_lines(account: Account, path: Path, kind: str) -> None:
    """Take over a file of JSON lines once; later, find that somebody has written to it since.

    A last line that is not finished was never acknowledged and is left out.

    Raises
    ------
    StorageDamagedError
        If a line is no JSON; nothing is taken over.
    StorageError
        If the file cannot be read.

    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return  # it was taken over, and somebody has tidied up
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", field="ledger") from error
    whole = content[: content.rfind(b"\n") + 1]
    source, digest = f"{kind}/{path.name}", blake3(whole).digest()
    known = account.execute("SELECT digest FROM taken_over WHERE source = ?", (source,)).fetchone()
    if known is not None:
        if known[0] != digest:
            text = f"{FINDINGS['former_file_changed']}. It is {path}"
            finding = AccountFinding(code="former_file_changed", text=text, found_at=0.0)
            account.found([finding], now=path.stat().st_mtime)
        return
    lines = whole.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise StorageDamagedError(
                f"{path}, line {number}: not what was written; bring the file back from a backup, "
                "since without it nobody knows what was released",
                field="ledger",
                actual=number,
            ) from error
    with account.transaction():
        for line in lines:
            append_line(account, kind, line.decode())
        values = source, str(path), len(whole), digest
        account.execute("INSERT INTO taken_over VALUES (?, ?, ?, ?)", values)


def _take_lines(account: Account, former: Account) -> None:
    """Add the lines of another account that were not added before."""
    for kind, count in former.execute("SELECT kind, max(number) FROM lines GROUP BY kind"):
        source = f"{former.name}/{kind}"
        known = account.execute("SELECT size FROM taken_over WHERE source = ?", (source,))
        taken = known.fetchone() or (0,)
        rows = former.execute(
            "SELECT line FROM lines WHERE kind = ? AND number > ? ORDER BY number", (kind, *taken)
        )
        for (line,) in rows.fetchall():
            append_line(account, kind, line)
        values = source, str(former.path), count, None
        account.execute("REPLACE INTO taken_over VALUES (?, ?, ?, ?)", values)


def _take_bound(account: Account, former: Account) -> None:
    """Judge no packet that either of the two could not judge."""
    bounds = [each.fact("unknown before") or bytes(8) for each in (account, former)]
    account.set_fact("unknown before", max(bounds))


def relative(there: Path, here: Path) -> str:
    """A file's path as seen from another one, so that their folders can be moved together."""
    try:
        return os.path.relpath(there.absolute(), here.absolute().parent)
    except ValueError:  # another drive
        return str(there.absolute())

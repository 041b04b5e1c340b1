"""Packets of a store's file that this version no longer reads: set aside once, and named."""

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from qis.errors import PeerError
from qis.evidence import _statements as sql
from qis.evidence.rules import evidence_key
from qis.identity import Issuer
from qis.packet import Packet, reread
from qis.packet.stored import RULES, reason_unread

_NAMED: Final = 20
_log = logging.getLogger("qis.evidence")


class Unread(NamedTuple):
    """A packet that is kept in a store's file, and that this version refuses to read.

    `reason` is what `Packet.parse` says of `raw`, its 512 bytes.
    """

    issuer: Issuer
    sequence: int
    reason: str
    raw: bytes


def set_unread_aside(database: sqlite3.Connection, path: Path) -> None:
    """Move what is no longer read into its own table, once for each version of the rules.

    Of each evidence key the newest packet that is still read decides, as at a site that has never
    seen the others.
    """
    checked = database.execute(sql.RULES).fetchone()
    if checked is not None and checked[0] >= RULES:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        refused = list(_refused(database))
        database.executemany(sql.UNREAD, [row for _, *row in refused])
        _remove(database, [row_id for row_id, *_ in refused])
        database.execute("DELETE FROM rules")
        database.execute("INSERT INTO rules VALUES (?)", (RULES,))
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    if refused:
        _tell(path, refused)


def all_unread(database: sqlite3.Connection) -> Iterator[Unread]:
    """Yield the packets that were set aside, in the order in which they were stored."""
    for key, sequence, reason, raw in database.execute(sql.ALL_UNREAD):
        yield Unread(Issuer(key), int.from_bytes(sequence, "big"), reason, raw)


def _refused(database: sqlite3.Connection) -> Iterator[tuple[int, int, bytes, bytes, str]]:
    """Yield authentic rows that are no longer read. Damaged ones stay, to be reported when read."""
    for row_id, issuer, sequence, raw in database.execute(sql.ALL):
        reason = reason_unread(raw)
        if reason is not None:
            yield row_id, issuer, sequence, raw, reason


def _remove(database: sqlite3.Connection, row_ids: Iterable[int]) -> None:
    """Remove packets, and lift the newest of those left under the keys that they decided for."""
    keys = set()
    for row_id in row_ids:
        keys |= set(database.execute(sql.DECIDED, (row_id,)))
        for statement in sql.REMOVE:
            database.execute(statement, (row_id,))
    database.execute(sql.UNMARK)
    best: dict[tuple[bytes, int, str, int], tuple[int, bytes, int]] = {}
    for number in {issuer for _, issuer, _, _ in keys}:
        for row_id, raw in database.execute(sql.ROWS_OF_ISSUER, (number,)):
            try:
                packet = reread(raw)
            except PeerError:
                continue
            _, study_id, cohort, role = _parts(packet)
            key = (study_id, number, cohort, role)
            if key in keys:
                best[key] = min(best.get(key, (0, b"", 0)), (-packet.sequence, packet.id, row_id))
    rows = (
        (*key, (-negative).to_bytes(8, "big"), row_id)
        for key, (negative, _, row_id) in best.items()
    )
    database.executemany(sql.LIFT, rows)


def _parts(packet: Packet) -> tuple[bytes, bytes, str, int]:
    key = evidence_key(packet)
    return key.issuer, key.study_id, key.cohort, int(key.role)


def _tell(path: Path, refused: list[tuple[int, int, bytes, bytes, str]]) -> None:
    named = "; ".join(
        f"packet {int.from_bytes(sequence, 'big')} of issuer {raw[10:42].hex()} ({reason})"
        for _, _, sequence, raw, reason in refused[:_NAMED]
    )
    more = f"; and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
    _log.warning(
        "%s: %d packets are no longer read under the rules of this version. They are set aside in "
        "the file (see SQLiteStore.unread) and do not count; ask their issuers to publish anew: "
        "%s%s",
        path,
        len(refused),
        named,
        more,
    )

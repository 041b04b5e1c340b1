"""Remembers which packets of its key an outbox has made, to recognise those it never made.

Such a packet was signed elsewhere: by another machine with the same key, by somebody who stole it,
or here, before an older backup was restored. These cases cannot be told apart.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from qis.packet import Packet

MADE_LIMIT: Final = 100_000
"""Most packets remembered; those with the lowest sequences are forgotten, and no longer judged."""
FOREIGN_LIMIT: Final = 10_000
"""Most packets made elsewhere that are noted and told one by one; further ones are not."""
_UNKNOWN: Final = "unknown before"

Execute = Callable[[str, tuple[object, ...]], sqlite3.Cursor]


class Made:
    """The table of an outbox with the ids of its packets. Write within a transaction only.

    Parameters
    ----------
    execute
        Runs a statement of the outbox.

    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        lowest = execute(
            "SELECT sequence FROM made WHERE NOT is_foreign ORDER BY sequence DESC LIMIT 1 "
            "OFFSET ?",
            (MADE_LIMIT - 1,),
        ).fetchone()
        if lowest is not None:
            execute("UPDATE facts SET value = max(value, ?) WHERE name = ?", (*lowest, _UNKNOWN))
            execute("DELETE FROM made WHERE NOT is_foreign AND sequence < ?", lowest)

    def note(self, packet: Packet) -> None:
        """Remember a packet that this outbox has made."""
        self._insert(packet, is_foreign=False)

    def is_foreign(self, packet: Packet) -> bool:
        """True if a packet of this key was made elsewhere, and that is not noted yet."""
        sequence = _bytes(packet)
        (unknown,) = self._execute("SELECT value FROM facts WHERE name = ?", (_UNKNOWN,)).fetchone()
        if sequence <= unknown:
            return False
        known = self._execute("SELECT 1 FROM made WHERE packet = ?", (packet.id,)).fetchone()
        return known is None and self.foreign < FOREIGN_LIMIT

    def note_foreign(self, packet: Packet) -> int:
        """Note a packet that was made elsewhere; returns the number of such packets."""
        self._insert(packet, is_foreign=True)
        return self.foreign

    def adopt(self) -> None:
        """Take all noted packets for this outbox's own, as a person has said that they are."""
        self._execute("UPDATE made SET is_foreign = 0 WHERE is_foreign", ())

    @property
    def foreign(self) -> int:
        """Number of packets that are known to have been made elsewhere."""
        found = self._execute("SELECT count(*) FROM made WHERE is_foreign", ()).fetchone()
        return int(found[0])

    def ignore_before(self, sequence: int) -> None:
        """Judge no packet of a lower sequence, as an outbox in memory does not know older ones."""
        value = sequence.to_bytes(8, "big")
        self._execute("UPDATE facts SET value = max(value, ?) WHERE name = ?", (value, _UNKNOWN))

    def _insert(self, packet: Packet, *, is_foreign: bool) -> None:
        self._execute(
            "INSERT OR IGNORE INTO made VALUES (?, ?, ?)", (packet.id, _bytes(packet), is_foreign)
        )


def _bytes(packet: Packet) -> bytes:
    return packet.sequence.to_bytes(8, "big")

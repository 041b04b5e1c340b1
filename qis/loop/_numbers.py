"""The sequence numbers that a key has used. None is used twice, even after a wrong clock.

Numbers are Unix microseconds, so those used while the clock was ahead lie in the future. Once they
are set aside they are still never used again, but the numbering goes on from the present.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from qis.packet import CLOCK_TOLERANCE_S

NUMBERS_LIMIT: Final = 100_000
"""Most used numbers that are remembered. The lowest are forgotten: new ones always lie above."""

Execute = Callable[[str, tuple[object, ...]], sqlite3.Cursor]


def limit_at(now: float) -> int:
    """Return the highest sequence that stores and rendezvous nodes admit of a packet issued now.

    `now` is rounded down to whole seconds (Unix), as a packet's issue time is.
    """
    return (int(now) + CLOCK_TOLERANCE_S) * 1_000_000


class Numbers:
    """The table of an outbox with its used numbers.

    Parameters
    ----------
    execute
        Runs an SQL statement on the outbox. Write within a transaction only.

    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._forget()
        self.last = self._highest("NOT aside")

    def before(self, limit: int) -> int:
        """Return the highest used number up to a limit, set aside or not; 0 if there is none."""
        return self._highest("sequence <= ?", _bytes(limit))

    def next(self, now: float, *, above: int = 0) -> int:
        """Return an unused number for a packet issued now (Unix seconds), higher than `above`.

        It is higher than all used numbers too, except those beyond what others admit now.
        """
        limit = limit_at(now)
        last = self.last if self.last <= limit else self.before(limit)
        number = max(last + 1, int(now * 1e6), above + 1)
        while self.is_used(number):
            number += 1
        return number

    def is_used(self, number: int) -> bool:
        """True if a packet had this number."""
        found = self._execute("SELECT 1 FROM numbers WHERE sequence = ?", (_bytes(number),))
        return found.fetchone() is not None

    def use(self, number: int) -> None:
        """Note a number as used."""
        self._execute("INSERT OR IGNORE INTO numbers VALUES (?, 0)", (_bytes(number),))
        self._uses += 1
        if self._uses >= NUMBERS_LIMIT:
            self._forget()

    def used(self) -> None:
        """Count what `use` has noted, once the transaction has succeeded."""
        self.last = self._highest("NOT aside")

    def set_aside(self, limit: int) -> None:
        """Let the numbers beyond a limit no longer raise the next one. They stay used."""
        self._execute("UPDATE numbers SET aside = 1 WHERE sequence > ?", (_bytes(limit),))

    def _forget(self) -> None:
        """Delete the lowest numbers beyond `NUMBERS_LIMIT`; done rarely, as it reads all."""
        self._uses = 0
        self._execute(
            "DELETE FROM numbers WHERE sequence < coalesce((SELECT sequence FROM numbers "
            "ORDER BY sequence DESC LIMIT 1 OFFSET ?), x'')",
            (NUMBERS_LIMIT - 1,),
        )

    def _highest(self, which: str, *values: object) -> int:
        # Along the index from above, where max() would read the whole table.
        found = self._execute(
            f"SELECT sequence FROM numbers WHERE {which} "  # noqa: S608  only our own words
            "ORDER BY sequence DESC LIMIT 1",
            values,
        ).fetchone()
        return 0 if found is None else int.from_bytes(found[0], "big")


def _bytes(number: int) -> bytes:
    """Encode as 8 bytes that sort like the numbers; SQLite's integers are signed."""
    return min(number, 2**64 - 1).to_bytes(8, "big")

"""The sequences that a key has used, none of them twice, also when the clock was wrong once.

Numbers are Unix microseconds, so those signed while the clock was ahead lie in the future. Once
they are set aside they are never used again, and the numbering goes on from now without them.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from qis.packet import CLOCK_TOLERANCE_S

NUMBERS_LIMIT: Final = 100_000
"""Used numbers that are remembered one by one; the lowest are forgotten: new ones lie above."""

Execute = Callable[[str, tuple[object, ...]], sqlite3.Cursor]


def limit_at(now: float) -> int:
    """The highest sequence that stores and holders admit of a packet issued now.

    A packet's issue time has whole seconds.
    """
    return (int(now) + CLOCK_TOLERANCE_S) * 1_000_000


class Numbers:
    """The table of an outbox in which they are.

    Parameters
    ----------
    execute
        Runs a statement of the outbox. Whoever writes does so within a transaction.

    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._forget()
        self.last = self._highest("NOT aside")

    def before(self, limit: int) -> int:
        """The highest used number up to a limit, set aside or not; 0 if none."""
        return self._highest("sequence <= ?", _bytes(limit))

    def next(self, now: float, *, above: int = 0) -> int:
        """The number of a packet issued now: unused, and above all that count."""
        limit = limit_at(now)
        last = self.last if self.last <= limit else self.before(limit)
        number = max(last + 1, int(now * 1e6), above + 1)
        while self.is_used(number):
            number += 1
        return number

    def is_used(self, number: int) -> bool:
        """Whether a packet had this number."""
        found = self._execute("SELECT 1 FROM numbers WHERE sequence = ?", (_bytes(number),))
        return found.fetchone() is not None

    def use(self, number: int) -> None:
        """Note a number as used."""
        self._execute("INSERT OR IGNORE INTO numbers VALUES (?, 0)", (_bytes(number),))
        self._uses += 1
        if self._uses >= NUMBERS_LIMIT:
            self._forget()

    def used(self) -> None:
        """What `use` has noted is on disk now."""
        self.last = self._highest("NOT aside")

    def set_aside(self, limit: int) -> None:
        """Go on as if the numbers beyond a limit stood above nothing."""
        self._execute("UPDATE numbers SET aside = 1 WHERE sequence > ?", (_bytes(limit),))

    def _forget(self) -> None:
        """Let go of the lowest beyond the limit; done seldom, as it reads all."""
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
    """Eight bytes, in the order of the numbers; SQLite's integers have a sign."""
    return min(number, 2**64 - 1).to_bytes(8, "big")

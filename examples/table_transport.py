"""A transport of one's own: packets as rows of a SQLite table that the sites share."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import qis
from qis.transport import (
    Reception,
    Statistics,
    Verdict,
    decode_carried,
    encode_carried,
    require_signed_keys,
)


class TableTransport(qis.Transport):
    """Whoever can open the database is on the network; `Reception` judges all that is read."""

    def __init__(self, path: str) -> None:
        self._statistics, self._is_open = Statistics(), True
        self._reception = Reception(qis.Roster.open(), self._statistics, notices=self.notices)
        self._table = sqlite3.connect(path, isolation_level=None)
        self._table.execute("CREATE TABLE IF NOT EXISTS packets (packet UNIQUE)")

    @property
    def statistics(self) -> Statistics:
        """Counters."""
        return self._statistics

    async def publish(self, packet: qis.Packet, routing_keys: Iterable[bytes]) -> None:
        """Add a row, unless it is there."""
        keys = require_signed_keys(packet, routing_keys)
        if not self._is_open:
            raise qis.TransportError("the transport is closed")
        self._reception.hold(packet, keys)  # so that it does not come back to this site
        row = encode_carried(packet, keys)
        self._table.execute("INSERT OR IGNORE INTO packets VALUES (?)", (row,))
        self._statistics.published += 1

    @asynccontextmanager
    async def subscribe(
        self,
        interest: qis.Interest,
        *,
        name: str = "",  # noqa: ARG002  a name changes nothing here
        memory: bytes = b"",  # noqa: ARG002
    ) -> AsyncIterator[AsyncIterator[qis.Delivery]]:
        """Every row that matches, the old ones first."""
        with self._reception.inbox(interest, now=time.time()) as inbox:
            polling = asyncio.create_task(self._poll())
            try:
                yield inbox
            finally:
                polling.cancel()

    def believe(self, roster: qis.Roster) -> None:
        """Admit packets by another roster from now on."""
        self._reception.roster = roster

    async def aclose(self) -> None:
        """End the subscriptions, and close the file; idempotent."""
        self._is_open = False
        self._reception.close()
        self._table.close()

    async def _poll(self) -> None:
        last, new = 0, "SELECT rowid, packet FROM packets WHERE rowid > ? ORDER BY rowid"
        while self._is_open:
            for number, row in self._table.execute(new, (last,)).fetchall():
                found = decode_carried(row)  # None: somebody else's row
                if found is not None:
                    verdict = self._reception.receive(*found, hops=1, now=time.time())
                    if verdict is Verdict.FULL:
                        break  # offered again at the next look
                last = number
            await asyncio.sleep(0.02)

"""A transport of one's own: packets as rows of a SQLite table that the sites share."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager

import qis
from qis.transport import Statistics


class TableTransport(qis.Transport):
    """Whoever can open the database is on the network, so whatever is read is verified."""

    def __init__(self, path: str) -> None:
        self._statistics, self._is_open = Statistics(), True
        self._table = sqlite3.connect(path, isolation_level=None)
        self._table.execute("CREATE TABLE IF NOT EXISTS packets (packet UNIQUE, keys)")

    @property
    def statistics(self) -> Statistics:
        """Counters."""
        return self._statistics

    async def publish(self, packet: qis.Packet, routing_keys: Iterable[bytes]) -> None:
        """Add a row, unless it is there."""
        keys = {*routing_keys, packet.outcome.study_id}
        if not packet.travels_under(keys):
            raise qis.InputError("the packet was signed for other routing keys")
        if not self._is_open:
            raise qis.TransportError("the transport is closed")
        row = bytes(packet), b"".join(keys)
        self._table.execute("INSERT OR IGNORE INTO packets VALUES (?, ?)", row)
        self._statistics.published += 1

    @asynccontextmanager
    async def subscribe(self, interest: qis.Interest) -> AsyncIterator[AsyncIterator[qis.Delivery]]:
        """Every row that matches, the old ones first."""
        async with aclosing(self._deliveries(interest)) as deliveries:
            yield deliveries

    async def aclose(self) -> None:
        """End the subscriptions, and let go of the file; idempotent."""
        self._is_open = False
        self._table.close()

    async def _deliveries(self, interest: qis.Interest) -> AsyncIterator[qis.Delivery]:
        last, new = 0, "SELECT rowid, packet, keys FROM packets WHERE rowid > ?"
        while self._is_open:
            for number, data, joined in self._table.execute(new, (last,)).fetchall():
                last, keys = number, {joined[i : i + 8] for i in range(0, len(joined), 8)}
                try:
                    packet = qis.Packet.parse(data, now=time.time())
                    study = packet.outcome.study_id
                    wanted = interest.matches(packet.fingerprint, study, keys)
                except qis.QISError as error:  # no packet, expired, or of another scheme
                    self._statistics.refused[type(error).__name__] += 1
                else:
                    if wanted and packet.travels_under(keys):
                        self._statistics.delivered += 1
                        yield qis.Delivery(packet=packet, hops=1, received_at=time.time())
            await asyncio.sleep(0.02)

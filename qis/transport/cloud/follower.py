"""One subscription of a store: what is new is listed, read, and given to a `Reception` of its own.

What was read and stored is remembered, so that a later run reads what is new and nothing else.
"""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from qis._clock import Clock
from qis._guard import LAST_PAUSE_S, Backoff, Guard
from qis.channel.sealing import Seal
from qis.errors import TransportError
from qis.health import Notices
from qis.packet import CLOCK_TOLERANCE_S, content_id
from qis.transport.base import Statistics
from qis.transport.carried import decode_carried
from qis.transport.cloud.memory import Seen
from qis.transport.cloud.store import Store
from qis.transport.reception import Reception, Verdict

LOOK_BACK_DAYS: Final = 40
"""Days before today whose objects are listed at each opening; older ones are listed once a week."""
WEEK_S: Final = 7 * 86_400.0
RECENT_DAYS: Final = 2
"""Days that are listed at each further look: writers' clocks and time zones differ."""
BATCH: Final = 64
"""Objects that are read at once."""
_NAME: Final = re.compile(r"([0-9a-f]{64})\.qis")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Follower:
    """Follows a store for one subscription.

    Parameters
    ----------
    store, seal, seen
        What is read, how to open what is sealed (`None`: it is not), and what was read before.
    reception, statistics, notices, guard, clock
        The gate and the counters, and who is told.

    """

    def __init__(
        self,
        store: Store,
        seal: Seal | None,
        seen: Seen,
        *,
        reception: Reception,
        statistics: Statistics,
        notices: Notices,
        guard: Guard,
        clock: Clock,
    ) -> None:
        self._store = store
        self._seal = seal
        self._seen = seen
        self.reception = reception
        """The gate of this subscription."""
        self._statistics = statistics
        self._notices = notices
        self._guard = guard
        self._clock = clock
        self._roster = reception.roster
        self._days = LOOK_BACK_DAYS
        self._given: set[str] = set()  # read, and not done yet: the reception has them
        self._looking = asyncio.Lock()
        self._room = asyncio.Event()
        reception.on_room = self._room.set

    async def run(self, poll_s: float) -> None:
        """Look again and again until cancelled."""
        backoff = Backoff(poll_s, max(poll_s, LAST_PAUSE_S))
        while True:
            with self._guard.item("cloud.poll") as item:
                await self.look()
                backoff.succeeded()
            await asyncio.sleep(backoff.failed() if item.failed else poll_s)

    async def look(self) -> None:
        """List what there is, and read what is new; waits while the subscription has no room.

        Raises
        ------
        TransportError
            If the store cannot be read.

        """
        async with self._looking:
            now, seen = self._clock.wall(), self._seen
            if self.reception.roster is not self._roster:  # what it refused may be wanted now
                seen.forget()
                self._given.clear()
                self._roster, self._days = self.reception.roster, LOOK_BACK_DAYS
            if seen.listed_at > now + CLOCK_TOLERANCE_S:
                seen.forget()  # the date was wrong then, and good packets seemed to be expired
            is_full = not 0.0 <= now - seen.listed_at < WEEK_S
            names = await self._take_new("" if is_full else day_of(now - self._days * 86_400.0))
            if is_full:
                seen.keep(names)
                seen.listed_at = now
            self._days = RECENT_DAYS

    async def _take_new(self, first: str) -> set[str]:
        """Read what is new since a day, and in the flat folder; returns the names there are."""
        folders, paths = await self._store.listed(self._store.root)
        for folder in folders:
            day = folder.rsplit("/", 1)[-1]
            if _DAY.fullmatch(day) and day >= first:
                paths += (await self._store.listed(folder)).files
        there = {name: path for path in paths if (name := _id_of(path))}
        fresh = []
        for name, path in there.items():
            if name in self._seen or name in self._given:
                continue
            if self.reception.is_own(bytes.fromhex(name)):
                self._seen.add(name)
            else:
                fresh.append((name, path))
        for at in range(0, len(fresh), BATCH):
            await self._read(fresh[at : at + BATCH])
        return set(there)

    async def _read(self, named: list[tuple[str, str]]) -> None:
        contents = await self._store.read([path for _, path in named])
        for (name, path), content in zip(named, contents, strict=True):
            if isinstance(content, FileNotFoundError):
                continue
            with self._guard.item("cloud.file"):
                if isinstance(content, Exception):
                    raise TransportError(f"{path} cannot be read: {content}") from content
                self._statistics.bytes_received += len(content)
                self._room.clear()
                while self._take(name, content) is Verdict.FULL:
                    await self._room.wait()
                    self._room.clear()

    def _take(self, name: str, data: bytes) -> Verdict:
        plain: bytes | None = data
        if self._seal is not None:
            plain = self._seal.unseal(data, name.encode("ascii"))
        carried = None if plain is None else decode_carried(plain)
        if carried is None or content_id(carried[0]).hex() != name:
            self._statistics.refused["unopened"] += 1  # read again: it may still be written
            self._notices.tell(
                "refusal",
                "unopened",
                f"{name}.qis is sealed with another secret, or is no packet: it is not taken in",
            )
            return Verdict.REFUSED
        verdict = self.reception.receive(
            *carried, hops=1, now=self._clock.wall(), done=lambda: self._done(name)
        )
        if verdict is Verdict.FAULT:
            raise TransportError(f"{name}.qis could not be taken in")
        if verdict is Verdict.ACCEPTED and name not in self._seen:
            self._given.add(name)
        return verdict

    def _done(self, name: str) -> None:
        self._seen.add(name)
        self._given.discard(name)


def day_of(unix_s: float) -> str:
    """Return the folder's name of a time, its date in UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=unix_s)).strftime("%Y-%m-%d")


def _id_of(path: str) -> str:
    found = _NAME.fullmatch(path.rsplit("/", 1)[-1])
    return "" if found is None else found[1]

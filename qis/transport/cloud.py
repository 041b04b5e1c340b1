"""Packets through an object store or an SFTP server, for sites that only call out (``[cloud]``).

One object for each packet, named by its id below the date on which it was written, so that writing
it twice is writing it once and no store has to support conditional writes. What was read and stored
is remembered in a file beside the evidence: a later run reads what is new, and nothing else.
"""

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from os import PathLike
from typing import Any, Final, Self

from blake3 import blake3

from qis._clock import Clock
from qis._guard import LAST_PAUSE_S, Backoff, Guard
from qis.about import Interest
from qis.channel.sealing import OVERHEAD, Seal
from qis.errors import InputError, MissingExtraError, StorageError, TransportError
from qis.evidence.roster import Roster
from qis.health import Condition, HealthState
from qis.identity import Identity
from qis.overlay.lru_cache import LruCache
from qis.packet import CLOCK_TOLERANCE_S, Packet, content_id
from qis.transport._held import KNOWN_LIMIT
from qis.transport._stateful import StatefulTransport
from qis.transport.base import Delivery, Holding, Statistics, require_signed_keys
from qis.transport.carried import LARGEST, decode_carried, encode_carried
from qis.transport.reception import Reception, Verdict
from qis.transport.site_clocks import SiteClocks

LOOK_BACK_DAYS: Final = 40
"""Days before today whose objects are listed at each opening; older ones are listed once a week."""
WEEK_S: Final = 7 * 86_400.0
RECENT_DAYS: Final = 2
"""Days that are listed at each further look: writers' clocks and time zones differ."""
BATCH: Final = 64
_NAME: Final = re.compile(r"([0-9a-f]{64})\.qis")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class CloudTransport(StatefulTransport):
    """A node whose network is a bucket or a folder on an SFTP server. Open it with ``async with``.

    Parameters
    ----------
    url
        Where: ``s3://bucket/folder``, ``sftp://host/folder``, or any other that fsspec knows.
    identity
        This site's key.
    roster
        Whose packets are taken; `Roster.open()` for everybody.
    secret
        The consortium's secret, 32 bytes, with which objects are sealed.
    clear
        True to write objects that whoever reads the store can read, instead of `secret`.
    seen
        File in which is remembered what was read, beside the evidence; made if there is none.
        `None`: everything is read at each opening.
    poll_s
        Seconds between two looks while somebody subscribes.
    options
        Arguments of the fsspec file system: accounts, keys, ``endpoint_url``.
    clock
        Gives Unix seconds.

    Raises
    ------
    InputError
        If an argument is malformed, or neither `secret` nor `clear` is given.
    MissingExtraError
        If fsspec or what it needs for this kind of store is not installed.

    """

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        roster: Roster,
        secret: bytes | None = None,
        clear: bool = False,
        seen: str | PathLike[str] | None = None,
        poll_s: float = 60.0,
        options: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if (secret is None) is not clear:
            raise InputError(
                "give the consortium's secret=, with which objects are sealed; or say clear=True, "
                "and whoever reads the store can read them",
                field="secret",
            )
        if not 0.0 < poll_s < 1e6:
            raise InputError(f"poll_s is {poll_s!r:.40}; it is positive", field="poll_s")
        self._files, self._root = _file_system(url, dict(options or {}))
        self.url = url
        self._identity = identity
        self._roster = roster
        self._seal = None if secret is None else Seal(secret)
        self._seen = None if seen is None else str(seen)
        self._poll_s = poll_s
        self._clock = Clock.of(clock)
        self._statistics = Statistics()
        self._guard = Guard(self.notices)
        self._clocks = SiteClocks(self._clock.steady)
        self._condition = Condition(self.notices, now=self._clock.wall(), state=HealthState.CLOSED)
        self._own: LruCache[bytes, None] = LruCache(KNOWN_LIMIT)
        self._inboxes: set[Reception] = set()
        self._names: set[str] = set()
        self._is_open = False
        self.files_read = 0
        """Objects whose content was read since the transport was made."""

    @property
    def is_durable(self) -> bool:
        """True if what was read is remembered in a file."""
        return self._seen is not None

    @property
    def shows_everything(self) -> bool:
        """True: whoever reads the store reads all of it."""
        return True

    async def __aenter__(self) -> Self:
        if not self._is_open:
            await self._call(self._files.makedirs, self._root, exist_ok=True)
            self._is_open = True
            self._condition.rest(HealthState.OK, now=self._clock.wall())
        return self

    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Write a packet; the store has it when this returns."""
        keys = require_signed_keys(packet, routing_keys)
        self._require_open()
        name = packet.id.hex()
        content = encode_carried(packet, keys)
        if self._seal is not None:
            content = self._seal.seal(content, name.encode("ascii"))
        day = f"{self._root}/{_day(self._clock.wall())}"
        await self._call(self._files.makedirs, day, exist_ok=True)
        await self._call(self._files.pipe_file, f"{day}/{name}.qis", content)
        self._own.put(packet.id, None)
        self._statistics.published += 1
        self._statistics.bytes_sent += len(content)

    def holding(self, packet_id: bytes) -> Holding:
        """Tell whether the store has taken a packet since this was opened."""
        if packet_id in self._own:
            return Holding(is_held=True)
        return Holding(is_held=False, reason="the store has not taken it")

    @asynccontextmanager
    async def subscribe(
        self, interest: Interest, *, name: str = "", memory: bytes = b""
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest; what is in the store and was not done comes first."""
        self._require_open()
        if name and name in self._names:
            raise TransportError(f"there is a subscription named {name!r:.60} already")
        reception = Reception(
            self._roster,
            self._statistics,
            notices=self.notices,
            clock=self._clock,
            clocks=self._clocks,
        )
        where = self._seen if name and self._seen is not None else ":memory:"
        with closing(_Seen(where, _token(interest, self._roster, name, memory))) as seen:
            self._names.add(name)
            self._inboxes.add(reception)
            with reception.inbox(interest, now=self._clock.wall()) as inbox:
                reading = asyncio.create_task(self._poll(reception, seen))
                try:
                    yield inbox
                finally:
                    reading.cancel()
                    await asyncio.wait([reading])
                    self._inboxes.discard(reception)
                    self._names.discard(name)

    def believe(self, roster: Roster) -> None:
        """Admit packets by another roster: subscriptions begin anew, with all that is there."""
        self._roster = roster
        for reception in self._inboxes:
            reception.roster = roster

    async def aclose(self) -> None:
        """End all subscriptions; what is in the store stays. Idempotent."""
        if self._is_open:
            self._is_open = False
            for reception in list(self._inboxes):
                reception.close()
            now = self._clock.wall()
            self._condition = Condition(self.notices, now=now, state=HealthState.CLOSED)

    # --- reading ------------------------------------------------------------------------------

    async def _poll(self, reception: Reception, seen: "_Seen") -> None:
        backoff = Backoff(self._poll_s, max(self._poll_s, LAST_PAUSE_S))
        roster, days = reception.roster, LOOK_BACK_DAYS
        while True:
            with self._guard.item("cloud.poll") as item:
                if reception.roster is not roster:  # what it refused may be wanted now
                    seen.forget()
                    roster, days = reception.roster, LOOK_BACK_DAYS
                now = self._clock.wall()
                if seen.listed_at > now + CLOCK_TOLERANCE_S:
                    seen.forget()  # the date was wrong then, and good packets seemed to be expired
                is_full = not 0.0 <= now - seen.listed_at < WEEK_S
                await self._look(reception, seen, None if is_full else days)
                if is_full:
                    seen.listed_at = now
                days = RECENT_DAYS
            pause_s = backoff.failed() if item.failed else self._poll_s
            if not item.failed:
                backoff.succeeded()
            await asyncio.sleep(pause_s)

    async def _look(self, reception: Reception, seen: "_Seen", days: int | None) -> None:
        """List what there is, of some days or of all, and read what is new."""
        first = "" if days is None else _day(self._clock.wall() - days * 86_400.0)
        folders, paths = await self._listed(self._root)
        for folder in folders:
            day = folder.rsplit("/", 1)[-1]
            if _DAY.fullmatch(day) and day >= first:
                paths += (await self._listed(folder))[1]
        fresh = [path for path in paths if (name := _id_of(path)) and name not in seen]
        for at in range(0, len(fresh), BATCH):
            await self._read(reception, seen, fresh[at : at + BATCH])

    async def _listed(self, folder: str) -> tuple[list[str], list[str]]:
        self._files.invalidate_cache()  # others write too
        found = await self._call(self._files.ls, folder, detail=True)
        folders = [each["name"].rstrip("/") for each in found if each["type"] == "directory"]
        largest = LARGEST + OVERHEAD
        paths = [
            each["name"]
            for each in found
            if each["type"] == "file" and 0 < (each["size"] or 0) <= largest
        ]
        return folders, paths

    async def _read(self, reception: Reception, seen: "_Seen", paths: list[str]) -> None:
        for path in paths:
            name = _id_of(path)
            if bytes.fromhex(name) in self._own:
                seen.add(name)
                continue
            with self._guard.item("cloud.file"), suppress(FileNotFoundError):
                data = await self._call(self._files.cat_file, path)
                self.files_read += 1
                self._statistics.bytes_received += len(data)
                self._take(reception, seen, name, data)

    def _take(self, reception: Reception, seen: "_Seen", name: str, data: bytes) -> None:
        plain: bytes | None = data
        if self._seal is not None:
            plain = self._seal.unseal(data, name.encode("ascii"))
        carried = None if plain is None else decode_carried(plain)
        if carried is None or content_id(carried[0]).hex() != name:
            self._statistics.refused["unopened"] += 1  # read again: it may still be written
            self.notices.tell(
                "refusal",
                "unopened",
                f"{name}.qis is sealed with another secret, or is no packet: it is not taken in",
            )
            return
        now = self._clock.wall()
        verdict = reception.receive(*carried, hops=1, now=now, done=lambda: seen.add(name))
        if verdict is Verdict.FAULT:
            raise TransportError(f"{name}.qis could not be taken in")

    async def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call the file system in a thread, and tell whether the store can be reached."""
        try:
            found = await asyncio.to_thread(function, *arguments, **options)
        except FileNotFoundError:
            raise
        except Exception as error:
            text = f"{self.url} cannot be used: {type(error).__name__}: {error}"
            now = self._clock.wall()
            self._condition.set("store_away", HealthState.CUT_OFF, text, now=now)
            raise TransportError(text) from error
        self._condition.clear("store_away", now=self._clock.wall())
        return found

    def _require_open(self) -> None:
        if not self._is_open:
            raise TransportError("the transport is not open: use it in 'async with'")


class _Seen:
    """The names of objects that one subscription has read and stored."""

    def __init__(self, path: str, token: bytes) -> None:
        self._token = token
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.executescript(
                "CREATE TABLE IF NOT EXISTS seen (token BLOB, name TEXT, PRIMARY KEY (token, name))"
                " WITHOUT ROWID;"
                "CREATE TABLE IF NOT EXISTS listed (token BLOB PRIMARY KEY, at REAL);"
            )
            rows = self._database.execute("SELECT name FROM seen WHERE token = ?", (token,))
            self._names = {name for (name,) in rows}
        except sqlite3.Error as error:
            raise StorageError(
                f"{path}: {error}; delete it, and everything is read once more", field="seen"
            ) from error

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """Remember a name; on disk, if this is, when it returns."""
        self._names.add(name)
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (self._token, name))

    def forget(self) -> None:
        """Forget all names, so that everything is read once more."""
        self._names.clear()
        self._database.execute("DELETE FROM seen WHERE token = ?", (self._token,))
        self.listed_at = -1.0

    @property
    def listed_at(self) -> float:
        """Unix seconds of the last listing of everything; -1 before the first."""
        found = self._database.execute("SELECT at FROM listed WHERE token = ?", (self._token,))
        row = found.fetchone()
        return -1.0 if row is None else float(row[0])

    @listed_at.setter
    def listed_at(self, at: float) -> None:
        self._database.execute("INSERT OR REPLACE INTO listed VALUES (?, ?)", (self._token, at))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _file_system(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    given: object = url
    if not isinstance(given, str) or "://" not in given:
        raise InputError("url is s3://bucket/folder or sftp://host/folder", field="url")
    try:
        import fsspec  # noqa: PLC0415  an extra

        files, root = fsspec.core.url_to_fs(given, **options)
    except ImportError as error:
        raise MissingExtraError(
            f'{given:.40} needs the extra [cloud]: pip install "qis-protocol[cloud]"', field="cloud"
        ) from error
    except ValueError as error:
        raise InputError(f"url: {error}", field="url") from error
    return files, root.rstrip("/")


def _token(interest: Interest, roster: Roster, name: str, memory: bytes) -> bytes:
    parts: Iterator[bytes] = iter(
        (
            name.encode("utf-8"),
            bytes(memory),
            roster.digest,
            interest.fingerprint.scheme_id,
            interest.fingerprint.sketch,
            repr(interest.min_similarity).encode("ascii"),
            b"".join(interest.routing_keys),
            b"".join(interest.studies),
        )
    )
    return blake3(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest(16)


def _id_of(path: str) -> str:
    found = _NAME.fullmatch(path.rsplit("/", 1)[-1])
    return "" if found is None else found[1]


def _day(unix_s: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=unix_s)).strftime("%Y-%m-%d")

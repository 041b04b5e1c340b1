"""A site on an object store or an SFTP server.

One object for each packet, named by its id below the date on which it was written, so that writing
it twice is writing it once and no store has to support conditional writes.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from os import PathLike
from typing import Any, Final, Self

from blake3 import blake3

from qis._guard import LAST_PAUSE_S, Backoff
from qis.about import Interest
from qis.channel.sealing import OVERHEAD
from qis.errors import InputError, TransportError
from qis.evidence.roster import Roster
from qis.health import HealthState
from qis.identity import Identity
from qis.packet import Packet
from qis.transport._engine import EngineTransport
from qis.transport.base import Delivery, require_signed_keys
from qis.transport.carried import LARGEST, encode_carried
from qis.transport.cloud.follower import Follower, day_of
from qis.transport.cloud.memory import Seen, Written
from qis.transport.cloud.store import Store

TIDY_S: Final = 86_400.0
"""Seconds between two looks for own objects that have expired."""


class CloudTransport(EngineTransport):
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
        File in which is remembered what was read and written, beside the evidence; made if there
        is none. `None`: everything is read at each opening, and what was written before stays when
        it has expired.
    poll_s
        Seconds between two looks while somebody subscribes.
    options
        Arguments of the fsspec file system: accounts, keys, ``endpoint_url``. An SFTP server's host
        key has to stand in the account's ``known_hosts``, or in ``known_hosts=`` here.
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
        super().__init__(
            identity,
            roster,
            secret=secret,
            clear=clear,
            clock=clock,
            reader="whoever reads the store",
        )
        if not 0.0 < poll_s < 1e6:
            raise InputError(f"poll_s is {poll_s!r:.40}; it is positive", field="poll_s")
        self._store = Store(
            url, dict(options or {}), largest=LARGEST + OVERHEAD, is_away=self._is_away
        )
        self.url = url
        self._seen = None if seen is None else str(seen)
        self._poll_s = poll_s
        self._written = Written(":memory:", self._store.root)
        self._followers: set[Follower] = set()
        self._names: set[str] = set()
        self._untidy = asyncio.Event()
        self._tidying: asyncio.Task[None] | None = None

    @property
    def files_read(self) -> int:
        """Objects whose content was read since the transport was made."""
        return self._store.files_read

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
            await self._store.make(self._store.root)
            if self._seen is not None:
                self._written.close()
                self._written = Written(self._seen, self._store.url)
            self._is_open = True
            self._condition.rest(HealthState.OK, now=self._clock.wall())
            self._tidying = asyncio.create_task(self._keep_tidy())
        return self

    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Write a packet, unless it is there already; the store has it when this returns."""
        keys = require_signed_keys(packet, routing_keys)
        self._require_open()
        name = packet.id.hex()
        with self._handing_over(packet):
            path = self._written.path_of(name)
            if path is not None and await self._store.has(path):
                return
            content = encode_carried(packet, keys)
            if self._seal is not None:
                content = self._seal.seal(content, name.encode("ascii"))
            day = f"{self._store.root}/{day_of(self._clock.wall())}"
            await self._store.make(day)
            await self._store.write(f"{day}/{name}.qis", content)
            self._written.put(name, f"{day}/{name}.qis", packet.expires_at)
            self._statistics.bytes_sent += len(content)

    async def catch_up(self, timeout_s: float) -> None:
        """Read what the store holds for open subscriptions, for at most `timeout_s` seconds.

        Raises
        ------
        TransportError
            If the store cannot be read.

        """
        self._require_open()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for follower in list(self._followers):
                    await follower.look()

    @asynccontextmanager
    async def subscribe(
        self, interest: Interest, *, name: str = "", memory: bytes = b""
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest; what is in the store and was not done comes first."""
        self._require_open()
        if name and name in self._names:
            raise TransportError(f"there is a subscription named {name!r:.60} already")
        reception = self._new_reception()
        where = self._seen if name and self._seen is not None else ":memory:"
        described = self._described(interest, name.encode("utf-8"), bytes(memory))
        with Seen(where, blake3(described).digest(16)) as seen:
            follower = Follower(
                self._store,
                self._seal,
                seen,
                reception=reception,
                statistics=self._statistics,
                notices=self.notices,
                guard=self._guard,
                clock=self._clock,
            )
            self._names.add(name)
            self._followers.add(follower)
            with reception.inbox(interest, now=self._clock.wall()) as inbox:
                following = asyncio.create_task(follower.run(self._poll_s))
                try:
                    yield inbox
                finally:
                    following.cancel()
                    await asyncio.wait([following])
                    self._followers.discard(follower)
                    self._names.discard(name)

    def withdraw(self, packets: Iterable[Packet]) -> None:
        """Delete the objects of these own packets, soon; copies elsewhere stay.

        Those that were written by another process are deleted if `seen` remembers them.
        """
        for packet in packets:
            self._failed.pop(packet.id, None)
            if packet.issuer == self._identity.issuer:
                self._written.withdraw(packet.id.hex())
        self._untidy.set()

    def believe(self, roster: Roster) -> None:
        """Admit packets by another roster: subscriptions begin anew, with all that is there."""
        self._roster = roster
        for follower in self._followers:
            follower.reception.roster = roster

    async def aclose(self) -> None:
        """End all subscriptions; what is in the store stays. Idempotent."""
        if not self._is_open:
            return
        self._is_open = False
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.wait([self._tidying])
        for follower in list(self._followers):
            follower.reception.close()
        self._written.close()
        self._written = Written(":memory:", self._store.url)
        self._closed()

    async def _keep_tidy(self) -> None:
        backoff = Backoff(self._poll_s, max(self._poll_s, LAST_PAUSE_S))
        while True:
            self._untidy.clear()
            with self._guard.item("cloud.tidying") as item:
                await self._tidy()
                backoff.succeeded()
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.failed() if item.failed else TIDY_S):
                    await self._untidy.wait()

    async def _tidy(self) -> None:
        """Delete own objects that were withdrawn, or have expired by the store's clock too.

        A machine whose clock is far ahead would otherwise delete what others still need.
        """
        due = self._written.due(self._clock.wall())
        theirs = await self._store.time() if any(each.expires_at for each in due) else None
        removed = kept = 0
        for each in due:
            if each.expires_at and (theirs is None or theirs < each.expires_at):
                kept += theirs is not None
                continue
            await self._store.remove(each.path)
            self._written.forget(each.name)
            removed += 1
        self._statistics.tidied += removed
        if removed:
            self.notices.tell(
                "health",
                "folder_tidied",
                f"{removed} packets of this site in {self.url} had expired or were withdrawn, and "
                "are deleted",
                level=logging.INFO,
                always=True,
            )
        if kept:
            self.notices.tell(
                "health",
                "clock_files",
                f"{kept} packets of this site in {self.url} have expired by this machine's clock "
                "and not by the store's, so they stay: one of the two clocks is wrong",
            )

    def _is_away(self, text: str) -> None:
        now = self._clock.wall()
        if text:
            self._condition.set("store_away", HealthState.CUT_OFF, text, now=now)
        else:
            self._condition.clear("store_away", now=now)

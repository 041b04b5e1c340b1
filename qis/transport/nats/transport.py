"""A site on a NATS server with JetStream: it only calls out; the server keeps what it missed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

from qis.about import Interest
from qis.errors import InputError, TransportError
from qis.evidence.roster import Roster
from qis.health import HealthState
from qis.identity import Identity
from qis.packet import Packet
from qis.transport._engine import EngineTransport
from qis.transport.base import Delivery
from qis.transport.carried import encode_carried
from qis.transport.nats.connection import Connection, without_account
from qis.transport.nats.consumer import Consumer
from qis.transport.nats.names import Names
from qis.transport.nats.proxy import Proxy
from qis.transport.nats.questions import DeniedError, answer_of
from qis.transport.nats.reader import Reader
from qis.transport.nats.stream import StreamWatch


class NATSTransport(EngineTransport):
    """A node whose network is a stream of a NATS server. Open it with ``async with``.

    Everything goes out through one connection of this site's own making; no port has to be open.
    What is published is held when the stream has it, which is as durable as the operator has made
    it (docs/transports.md). Packets and routing keys are sealed with the consortium's secret, so
    that the server sees sizes, times, accounts and hashes.

    Parameters
    ----------
    servers
        Addresses of the server or the members of its cluster: ``tls://host:port``,
        ``nats://host:port`` (in the clear), ``wss://host:port``.
    identity
        This site's key.
    roster
        Whose packets are taken; `Roster.open()` for everybody.
    domain
        What the operator has called the stream and the first token of its subjects.
    secret
        The consortium's secret, 32 bytes, such as that of the fingerprint scheme.
    clear
        True to send packets in the clear, readable by the server: instead of `secret`.
    by_study
        True to read only the packets of the interests' studies, for networks in which reading
        everything is too much. What is similar and of no such study does not come then.
    proxy
        An HTTP proxy that allows CONNECT: ``http://host:port``.
    jetstream_domain
        The server's JetStream domain, if it lies beyond a leaf node.
    options
        Further arguments of nats-py's ``connect``, such as ``user_credentials``, ``nkeys_seed``,
        ``tls`` (an `ssl.SSLContext`, with the client's certificate if one is asked for).
    clock
        Gives Unix seconds.

    Raises
    ------
    InputError
        If an argument is malformed, or neither `secret` nor `clear` is given.

    """

    def __init__(
        self,
        servers: str | Iterable[str],
        identity: Identity,
        *,
        roster: Roster,
        domain: str = "qis",
        secret: bytes | None = None,
        clear: bool = False,
        by_study: bool = False,
        proxy: str | None = None,
        jetstream_domain: str | None = None,
        options: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            identity,
            roster,
            secret=secret,
            clear=clear,
            clock=clock,
            reader="whoever runs the server",
        )
        self._servers = _addresses(servers)
        self.names = Names(domain, secret)
        self._by_study = by_study
        if jetstream_domain is not None:
            Names(jetstream_domain, None)
        self._api = f"$JS.{jetstream_domain}.API" if jetstream_domain else "$JS.API"
        self._connection = Connection(
            self._servers,
            dict(options or {}),
            inbox=self.names.inbox(identity.issuer.key),
            proxy=None if proxy is None else Proxy(proxy),
            guard=self._guard,
            is_up=self._up,
            is_down=self._down,
            is_denied=self._denied,
        )
        self._readers: dict[str, Reader] = {}
        self._versions: dict[str, list[asyncio.Lock | int]] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_durable(self) -> bool:
        """True: the server keeps for each name where it ended."""
        return True

    @property
    def shows_everything(self) -> bool:
        """True, unless it reads by study only."""
        return not self._by_study

    async def __aenter__(self) -> Self:
        if not self._is_open:
            await self._connection.open()
            watch = StreamWatch(
                self._connection,
                self._api,
                self.names,
                condition=self._condition,
                notices=self.notices,
                clock=self._clock,
            )
            try:
                await watch.look()
            except BaseException:
                await self._connection.aclose()
                raise
            self._is_open = True
            self._condition.rest(HealthState.OK, now=self._clock.wall())
            self._looking = asyncio.create_task(watch.run(self._guard))
        return self

    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Hand a packet to the server; its stream has it when this returns.

        Versions of one piece of evidence go one after another, since the stream keeps the last.
        """
        content = encode_carried(packet, routing_keys)
        self._require_open()
        subject = self.names.subject(packet)
        if self._seal is not None:
            content = self._seal.seal(content, subject.partition(".")[2].encode("utf-8"))
        with self._handing_over(packet):
            await self._ask_in_turn(subject, content)
        self._clear("denied", "full")
        self._statistics.datagrams_sent += 1
        self._statistics.bytes_sent += len(content)

    async def _ask_in_turn(self, subject: str, content: bytes) -> None:
        lock = self._versions.setdefault(subject, [asyncio.Lock(), 0])
        lock[1] += 1  # type: ignore[operator]
        try:
            async with lock[0]:  # type: ignore[union-attr]
                answer = answer_of(await self._connection.ask(subject, content))
            self._require_stored(answer)
        except DeniedError as error:
            text = f"this site may not publish: {error}"
            self._condition.set("denied", HealthState.DEGRADED, text, now=self._clock.wall())
            raise
        finally:
            lock[1] -= 1  # type: ignore[operator]
            if not lock[1]:
                self._versions.pop(subject, None)

    async def catch_up(self, timeout_s: float) -> None:
        """Wait until what the stream holds for open subscriptions has come.

        At most `timeout_s` seconds.

        Raises
        ------
        TransportError
            If the server does not answer.

        """
        self._require_open()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for reader in list(self._readers.values()):
                    await reader.catch_up()

    @asynccontextmanager
    async def subscribe(
        self, interest: Interest, *, name: str = "", memory: bytes = b""
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest; what the stream holds and was not done comes first.

        Raises
        ------
        TransportError
            If somebody reads under this name, or the server refuses.

        """
        self._require_open()
        called = name or self._unnamed()
        if called in self._readers:
            raise TransportError(f"there is a subscription named {called!r:.60} already")
        reader = self._reader(interest, called, memory if name else None)
        self._readers[called] = reader
        reading: asyncio.Task[None] | None = None
        try:
            await reader.prepare()
            with reader.reception.inbox(interest, now=self._clock.wall()) as inbox:
                reading = asyncio.create_task(reader.run())
                yield inbox
        finally:
            del self._readers[called]
            if reading is not None:
                reading.cancel()
                await asyncio.wait([reading])
            await reader.release()

    def withdraw(self, packets: Iterable[Packet]) -> None:
        """Forget these packets; the stream's copies stay until their retraction replaces them."""
        for packet in packets:
            self._failed.pop(packet.id, None)

    def believe(self, roster: Roster) -> None:
        """Admit packets by another roster from now on; everything is read once more."""
        self._roster = roster
        for reader in self._readers.values():
            reader.reception.roster = roster
            reader.begin_anew()

    async def aclose(self) -> None:
        """End all subscriptions and the connection; idempotent."""
        if not self._is_open:
            return
        self._is_open = False
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        for reader in list(self._readers.values()):
            await reader.release()
            reader.reception.close()
        await self._connection.aclose()
        self._closed()

    def _reader(self, interest: Interest, name: str, memory: bytes | None) -> Reader:
        names, key = self.names, self._identity.issuer.key
        subjects = [names.everything]
        if self._by_study:
            subjects = [names.study(study) for study in interest.studies]
            if not subjects:
                raise InputError(
                    "with by_study=True an interest names its studies: interest(…, studies=[…])",
                    field="studies",
                )
        consumer = Consumer(
            self._connection,
            api=self._api,
            stream=names.stream,
            name=names.reader(key, name),
            token=self._token(interest, memory),
            subjects=subjects,
            is_named=memory is not None,
        )
        return Reader(
            self._connection,
            names,
            self._seal,
            consumer,
            reception=self._new_reception(),
            statistics=self._statistics,
            notices=self.notices,
            condition=self._condition,
            guard=self._guard,
            clock=self._clock,
        )

    def _token(self, interest: Interest, memory: bytes | None) -> str:
        """Name interest, roster and store; without a store something new each time."""
        if memory is None:
            memory = time.time_ns().to_bytes(16, "big") + id(interest).to_bytes(16, "big")
        return self.names.reader(self._described(interest, bytes(memory)), "token")

    def _unnamed(self) -> str:
        number = 1
        while f"unnamed-{number}" in self._readers:
            number += 1
        return f"unnamed-{number}"

    # --- the server ---------------------------------------------------------------------------

    def _require_stored(self, answer: dict[str, Any]) -> None:
        error = answer.get("error")
        if error is None and answer.get("stream") == self.names.stream:
            return
        said = error.get("description", "") if isinstance(error, dict) else "another stream has it"
        text = f"the server does not store packets: {said}; ask its operator"
        self._condition.set("full", HealthState.DEGRADED, text, now=self._clock.wall())
        raise TransportError(f"the server does not store it: {said}")

    async def _up(self) -> None:
        self._clear("server_away")

    def _down(self, reason: str) -> None:
        servers = ", ".join(map(without_account, self._servers))
        self._condition.set(
            "server_away",
            HealthState.CUT_OFF,
            f"no connection to {servers}: {reason}. What is published meanwhile stays in the "
            "outbox, and what others publish comes afterwards",
            now=self._clock.wall(),
        )

    def _denied(self, what: str, subject: str) -> None:
        self.notices.tell(
            "refusal",
            f"denied: {subject}",
            f"the server does not allow this account {what} on {subject}: compare its permissions "
            "with names.permissions(issuer)",
        )

    def _clear(self, *codes: str) -> None:
        for code in codes:
            self._condition.clear(code, now=self._clock.wall())


def _addresses(servers: str | Iterable[str]) -> list[str]:
    found: list[Any] = [servers] if isinstance(servers, str) else list(servers)
    for server in found:
        scheme, separator, rest = server.partition("://") if isinstance(server, str) else ("",) * 3
        if scheme not in {"tls", "nats", "ws", "wss"} or not separator or not rest:
            raise InputError(
                "a server is tls://host:port, nats://host:port, wss://host:port or ws://host:port",
                field="servers",
            )
    if not found:
        raise InputError("at least one server is needed", field="servers")
    return found

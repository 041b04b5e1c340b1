"""A connection to the server that is made anew whenever it breaks.

nats-py's own reconnection is off. It ends for ever when the server once refuses an account, keeps
pull requests that the server has forgotten, and stores up what is published meanwhile, whereas a
packet that cannot be handed over has to stay in the outbox. So each connection is a new client, and
whoever depends on it is told of its beginning and its end.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from qis._guard import Backoff, Guard
from qis.errors import MissingExtraError, TransportError
from qis.transport.nats.proxy import Proxy
from qis.transport.nats.questions import Questions, answer_of

CONNECT_S: Final = 10.0
"""Seconds for one attempt to connect."""
ANSWER_S: Final = 10.0
"""Seconds for an answer of the server."""
LAST_PAUSE_S: Final = 15.0
"""Longest pause between two attempts to connect."""
PING_S: Final = 20
"""Seconds between two signs of life that the client asks for; two that fail end the connection."""
LEAST_VERSION: Final = (2, 10)


class Connection:
    """One site's connection to a server or cluster.

    Parameters
    ----------
    servers
        Addresses: ``tls://host:port``, ``nats://host:port``, ``wss://host:port``.
    options
        Further arguments of nats-py's ``connect``: accounts, keys, ``tls``.
    inbox
        First token of the subjects on which the server answers.
    proxy
        An HTTP proxy through which all of it goes, or `None`.
    guard
        Contains what a callback raises.
    is_up
        Called, and awaited, with each new connection.
    is_down
        Called with the reason, in words, when there is none any more.
    is_denied
        Called with what the server refuses: "publish" or "subscription", and the subject.

    """

    def __init__(
        self,
        servers: list[str],
        options: Mapping[str, Any],
        *,
        inbox: str,
        proxy: Proxy | None,
        guard: Guard,
        is_up: Callable[[], Awaitable[None]],
        is_down: Callable[[str], None],
        is_denied: Callable[[str, str], None],
    ) -> None:
        self._servers = servers
        self._options = options
        self._inbox = inbox
        self._proxy = proxy
        self._guard = guard
        self._is_up = is_up
        self._is_down = is_down
        self._is_denied = is_denied
        self._client: Any = None
        self._questions = Questions(ANSWER_S)
        self._inboxes = 0
        self._last_error = ""
        self._lost = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        """Set while there is a connection."""

    async def open(self) -> None:
        """Connect, and from now on again whenever it breaks.

        Raises
        ------
        TransportError
            If the first attempt fails.

        """
        await self._connect()
        self._keeping = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Close it for good."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            self._keeping = None
        await self._end("the transport is closed")

    async def ask(self, subject: str, data: bytes) -> Any:
        """Publish a message and wait for its answer.

        Raises
        ------
        DeniedError
            If the server does not allow it. It says so in a message of its own and gives no answer,
            so that nats-py alone would time out.
        TransportError
            If there is no connection, or no answer.

        """
        client = self._connected()
        try:
            with self._questions.put(subject) as (token, answer):
                await client.publish(subject, data, reply=f"{self._inbox}.a.{token}")
                return await answer
        except TimeoutError:
            raise TransportError(
                f"the server has not answered within {ANSWER_S:.0f} s{self._because()}"
            ) from None
        except TransportError:
            raise
        except Exception as error:  # whatever nats-py raises when a connection breaks
            raise TransportError(f"the server cannot be reached: {_said(error)}") from error

    async def ask_api(self, subject: str, content: Mapping[str, Any] | None = None) -> Any:
        """Ask the JetStream API; returns the answer, which may hold an ``error``."""
        data = b"" if content is None else json.dumps(content).encode("utf-8")
        return answer_of(await self.ask(subject, data))

    async def post(self, subject: str, data: bytes, reply: str = "") -> None:
        """Publish a message to which nobody answers, or only on `reply`."""
        client = self._connected()
        try:
            await client.publish(subject, data, reply=reply)
        except Exception as error:
            raise TransportError(f"the server cannot be reached: {_said(error)}") from error

    async def flush(self) -> None:
        """Wait until the server has received what was posted."""
        client = self._connected()
        try:
            for _ in range(2):  # nats-py's first PING overtakes what is still in its buffer
                await client.flush(timeout=ANSWER_S)
        except Exception as error:
            raise TransportError(f"the server cannot be reached: {_said(error)}") from error

    async def listen(self, subject: str, callback: Callable[[Any], Awaitable[None]]) -> Any:
        """Subscribe on this connection; it ends with it. Bounded by what is asked for."""
        client = self._connected()
        try:
            return await client.subscribe(
                subject, cb=callback, pending_msgs_limit=0, pending_bytes_limit=0
            )
        except Exception as error:
            raise TransportError(f"the server cannot be reached: {_said(error)}") from error

    @property
    def lost(self) -> asyncio.Event:
        """Set once the connection that there is now is gone."""
        return self._lost

    def new_inbox(self) -> str:
        """Return a subject on which nobody else listens."""
        self._inboxes += 1
        return f"{self._inbox}.r.{self._inboxes:x}"

    def _connected(self) -> Any:
        if self._client is None or not self.ready.is_set():
            raise TransportError(f"there is no connection to the server{self._because()}")
        return self._client

    def _because(self) -> str:
        return f": {self._last_error}" if self._last_error else ""

    async def _connect(self) -> None:
        client = _new_client(self._proxy)
        self._last_error = ""
        self._lost = client.ended
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect(
                    servers=self._servers,
                    allow_reconnect=False,
                    connect_timeout=CONNECT_S,
                    # One try of each server a connection; `_keep` makes the next.
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    ping_interval=PING_S,
                    inbox_prefix=self._inbox,
                    error_cb=self._erred,
                    **self._options,
                )
            _require_version(client)
            await client.subscribe(
                f"{self._inbox}.a.*",
                cb=self._questions.answered,
                pending_msgs_limit=0,
                pending_bytes_limit=0,
            )
        except BaseException as error:
            await self._abandon(client)
            if isinstance(error, MissingExtraError) or not isinstance(error, Exception):
                raise
            said = self._last_error or _said(error)
            shown = ", ".join(map(without_account, self._servers))
            raise TransportError(f"{shown}: no connection to a NATS server: {said}") from error
        self._client = client
        self.ready.set()
        await self._is_up()

    async def _keep(self) -> None:
        backoff = Backoff(last_s=LAST_PAUSE_S)
        while True:
            await self._lost.wait()
            reason = self._last_error or "the server has closed the connection"
            with self._guard.item("nats.connection"):
                self._is_down(reason)
            await self._end(reason)
            while not self.ready.is_set():
                await asyncio.sleep(backoff.failed())
                with self._guard.item("nats.connection"):
                    try:
                        await self._connect()
                        backoff.succeeded()
                    except TransportError as error:
                        self._is_down(str(error))

    async def _end(self, reason: str) -> None:
        self.ready.clear()
        self._lost.set()
        client, self._client = self._client, None
        self._questions.ended(reason)
        if client is not None:
            await self._abandon(client)

    async def _abandon(self, client: Any) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.close()
        except Exception:  # noqa: BLE001, S110  it is broken already
            pass

    async def _erred(self, error: Exception) -> None:
        said = _said(error)
        denied = self._questions.denied(said)
        if denied is None:
            self._last_error = said
        else:
            self._is_denied(*denied)


def without_account(server: str) -> str:
    """Return an address without the account's name and password."""
    scheme, _, rest = server.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]


def _new_client(proxy: Proxy | None) -> Any:
    try:
        from qis.transport.nats.client import Client  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingExtraError(
            'NATS needs the extra [nats]: pip install "qis-protocol[nats]"', field="nats"
        ) from error
    return Client(proxy)


def _require_version(client: Any) -> None:
    version = client.connected_server_version
    if (version.major, version.minor) < LEAST_VERSION:
        raise TransportError(
            f"the server is NATS {version.major}.{version.minor}; at least "
            f"{LEAST_VERSION[0]}.{LEAST_VERSION[1]} is needed, for readers' metadata"
        )


def _said(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ConnectionResetError):  # by which the server's own words may be lost
        return f"{error}: a server that refuses an account or a certificate may end it like this"
    return str(error) or type(error).__name__

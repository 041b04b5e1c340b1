"""nats-py's client with what it lacks: proxies, TLS that cannot be talked away, an end for sure."""

import asyncio
import time
from typing import Any

from nats.aio import client, transport

from qis.transport.nats.proxy import Proxy


class TunnelTransport(transport.TcpTransport):
    """TCP, through a proxy if there is one; TLS begins inside the tunnel."""

    def __init__(self, proxy: Proxy | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._proxy = proxy

    async def connect(self, uri: Any, buffer_size: int, connect_timeout: int) -> None:
        """Connect to the server."""
        if self._proxy is None:
            await super().connect(uri, buffer_size, connect_timeout)
            return
        async with asyncio.timeout(connect_timeout):
            reader, writer = await self._proxy.tunnel(uri.hostname, uri.port, limit=buffer_size)
        self._bare_io_reader = self._io_reader = reader
        self._bare_io_writer = self._io_writer = writer


class TunnelWebSocket(transport.WebSocketTransport):
    """A WebSocket, through a proxy if there is one, which aiohttp asks for a tunnel too."""

    def __init__(self, proxy: Proxy | None) -> None:
        super().__init__()
        self._proxy = proxy

    async def connect(self, uri: Any, buffer_size: int, connect_timeout: int) -> None:  # noqa: ARG002
        """Connect in the clear."""
        await self._open(uri, connect_timeout, None)

    async def connect_tls(
        self,
        uri: Any,
        ssl_context: Any,
        buffer_size: int,  # noqa: ARG002
        connect_timeout: int,
    ) -> None:
        """Connect with TLS."""
        await self._open(uri, connect_timeout, ssl_context)

    async def _open(self, uri: Any, connect_timeout: float, context: Any) -> None:
        if self._ws is not None and not self._ws.closed:
            return  # nats-py asks for TLS once more after the server's first message
        async with asyncio.timeout(connect_timeout):
            self._ws = await self._client.ws_connect(
                uri if isinstance(uri, str) else uri.geturl(),
                ssl=True if context is None else context,
                proxy=None if self._proxy is None else self._proxy.url,
                proxy_headers=None if self._proxy is None else self._proxy.headers,
                max_msg_size=0,
            )
        self._using_tls = context is not None


class Client(client.Client):
    """A client all of whose connections go through the proxy, if there is one."""

    def __init__(self, proxy: Proxy | None) -> None:
        super().__init__()
        self._proxy = proxy
        self._ending = asyncio.Lock()
        self.ended = asyncio.Event()
        """Set as soon as the connection is broken or closed."""

    async def _close(
        self,
        status: int,
        do_cbs: bool = True,  # noqa: FBT001, FBT002  as nats-py has it
    ) -> None:
        # nats-py calls back last of all, after it has sent what is left. Over a broken connection
        # that fails, and then it ends halfway: nobody learns that the connection is gone.
        if do_cbs:
            self.ended.set()
        async with self._ending:
            try:
                await super()._close(status, do_cbs)
            except (OSError, RuntimeError):  # now nothing is left to be sent
                self._status = Client.DISCONNECTED
                await super()._close(status, do_cbs)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        # nats-py puts each message into a queue that a task of its own empties. Ours are only noted
        # by callbacks that never wait, so they are called where the message is read.
        subscription = self._subs.get(sid)
        callback = None if subscription is None else subscription._cb  # noqa: SLF001  as nats-py
        if callback is None:
            return
        found = await self._process_headers(headers) if headers else None
        try:
            await callback(self._build_message(sid, subject, reply, data, found))
        except Exception as error:  # noqa: BLE001  else the connection would be read no further
            await self._error_cb(error)

    async def _connect_to_server(self, s: Any) -> None:
        # All of nats-py's: its own would put a transport of its own in the place of ours, which
        # counts as none until it is connected, and go past the proxy.
        s.last_attempt = time.monotonic()
        is_web = s.uri.scheme in {"ws", "wss"}
        self._transport = made = (TunnelWebSocket if is_web else TunnelTransport)(self._proxy)
        timeout_s = self.options["connect_timeout"]
        if s.uri.scheme == "wss":
            await made.connect_tls(s.uri, self.ssl_context, client.DEFAULT_BUFFER_SIZE, timeout_s)
        else:
            await made.connect(s.uri, client.DEFAULT_BUFFER_SIZE, timeout_s)

    async def _process_info(
        self,
        info: dict[str, Any],
        initial_connection: bool = False,  # noqa: FBT001, FBT002  as nats-py has it
    ) -> None:
        # nats-py goes on in the clear, and sends the account, if the server (or whoever stands in
        # between) does not ask for TLS.
        server = self._current_server
        scheme = "" if server is None else server.uri.scheme
        wants_tls = scheme == "tls" or "tls" in self.options
        is_tls = (
            scheme == "wss" or bool(info.get("tls_required")) or self.options["tls_handshake_first"]
        )
        if initial_connection and wants_tls and not is_tls:
            raise ConnectionError("TLS was asked for, and the server offers none")
        await super()._process_info(info, initial_connection)

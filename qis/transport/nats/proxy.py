"""An HTTP proxy: one CONNECT, and then TLS end to end.

The proxy sees the server's name and port, sizes and times; the server's certificate is checked as
without it.
"""

import asyncio
import base64
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from qis.errors import InputError, TransportError

_LARGEST_ANSWER: Final = 16_384


class Proxy:
    """An HTTP proxy that allows CONNECT.

    Parameters
    ----------
    url
        ``http://host:port``, or with an account: ``http://name:password@host:port``.

    Raises
    ------
    InputError
        If it is none of these.

    """

    def __init__(self, url: str) -> None:
        what = "proxy is http://host:port, or http://name:password@host:port"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except (ValueError, TypeError, AttributeError):
            raise InputError(what, field="proxy") from None
        if parts.scheme != "http" or not host or not port:
            raise InputError(what, field="proxy")
        self.host, self.port = host, port
        self.url = f"http://{host}:{port}" if ":" not in host else f"http://[{host}]:{port}"
        self._account = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._account = base64.b64encode(pair.encode("utf-8")).decode("ascii")

    def __repr__(self) -> str:
        return f"Proxy({self.url!r})"

    @property
    def headers(self) -> dict[str, str]:
        """What proves the account to the proxy."""
        return {"Proxy-Authorization": f"Basic {self._account}"} if self._account else {}

    async def tunnel(
        self, host: str, port: int, *, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection through the proxy, as if it were a direct one.

        Raises
        ------
        TransportError
            If the proxy cannot be reached or refuses.

        """
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port, limit=limit)
        except OSError as error:
            raise TransportError(f"the proxy {self.url} cannot be reached: {error}") from error
        try:
            writer.write(("\r\n".join(head) + "\r\n\r\n").encode("ascii"))
            answer = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            await _closed(writer)
            raise TransportError(f"the proxy {self.url} has ended the connection") from error
        first = answer[:_LARGEST_ANSWER].partition(b"\r\n")[0].decode("latin-1")
        if first.split(" ")[1:2] != ["200"]:
            await _closed(writer)
            raise TransportError(f"the proxy {self.url} refuses {target}: {first:.100}")
        return reader, writer


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()

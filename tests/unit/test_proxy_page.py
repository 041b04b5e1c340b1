"""docs/how-to/proxy.md: its file is one that a site reads, and refusals are told as it says."""

import asyncio
import base64
import re
import tomllib
from pathlib import Path

import pytest

from qis.errors import TransportError
from qis.site import site_schema
from qis.transport.nats.proxy import Proxy

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "proxy.md").read_text(encoding="utf-8")


def test_the_page_names_keys_that_there_are():
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    table = tomllib.loads(text)["transport"]
    assert set(table) < set(site_schema()["properties"]["transport"]["properties"])
    Proxy(table["proxy"])
    basic = Proxy("http://name:p%40ss@h:1").headers["Proxy-Authorization"].removeprefix("Basic ")
    assert base64.b64decode(basic) == b"name:p@ss"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"",
    ],
)
def test_a_refusal_is_told_as_the_page_has_it(answer):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def scenario():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(TransportError) as refused:
                await Proxy(f"http://127.0.0.1:{port}").tunnel("nats.example.org", 443, limit=1024)
        return str(refused.value)

    said = asyncio.run(scenario())
    rows = re.findall(r"^\| (the proxy .*?) \| ", PAGE, re.MULTILINE)
    fitting = [row for row in rows if re.search(re.escape(row).replace("…", ".*"), said)]
    assert len(fitting) == 1, said


def test_a_proxy_that_is_not_there_is_told_as_the_page_has_it():
    async def scenario():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with pytest.raises(TransportError, match=r"the proxy .* cannot be reached"):
            await Proxy(f"http://127.0.0.1:{port}").tunnel("nats.example.org", 443, limit=1024)

    asyncio.run(scenario())
    assert "| the proxy … cannot be reached |" in PAGE

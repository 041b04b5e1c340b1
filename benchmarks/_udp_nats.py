"""nats instead of the transport: a server of its own on loopback, and nats-py at both ends."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection

import nats
from _udp_nodes import PAUSE_S, signed
from _udp_taken import TOPIC, Taken, free_port
from nats.aio.client import Client
from nats.aio.msg import Msg

STARTS_WITHIN_S = 10.0


@contextlib.contextmanager
def _server(port: int) -> Iterator[str]:
    """The address of a server that ends with the context."""
    program = shutil.which("nats-server")
    if program is None:
        raise FileNotFoundError("nats-server")
    running = subprocess.Popen(  # noqa: S603  the program that was asked for
        [program, "--addr", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + STARTS_WITHIN_S
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            if time.monotonic() > until:
                raise TimeoutError("nats-server does not start")
            time.sleep(0.05)
        yield f"nats://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(STARTS_WITHIN_S)


@asynccontextmanager
async def _client(address: str) -> AsyncIterator[Client]:
    client = await nats.connect(address)
    try:
        yield client
    finally:
        await client.close()


def taker(pipe: Connection, verifies: bool) -> None:  # noqa: FBT001  a process's argument
    """A process that subscribes, and starts the server; that ends with it, also when terminated."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with _server(free_port()) as address:
        asyncio.run(_taker(pipe, address, Taken(verifies=verifies)))


async def _taker(pipe: Connection, address: str, taken: Taken) -> None:
    async def take(message: Msg) -> None:
        taken.take(message.data)

    async with _client(address) as client:
        await client.subscribe(TOPIC, cb=take)
        await client.flush()
        pipe.send(address)
        await asyncio.to_thread(taken.answer, pipe)


def giver(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes as fast as it may."""
    asyncio.run(_giver(pipe, number, count))


async def _giver(pipe: Connection, number: int, count: int) -> None:
    packets = [bytes(packet) for packet in signed(number, count)]
    async with _client(pipe.recv()) as client:
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        for packet in packets:
            await client.publish(TOPIC, packet)
        await client.flush()
        pipe.send("done")
        await asyncio.to_thread(pipe.recv)


def single(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes one at a time."""
    asyncio.run(_single(pipe, number, count))


async def _single(pipe: Connection, number: int, count: int) -> None:
    packets = [bytes(packet) for packet in signed(number, count)]
    started: dict[bytes, float] = {}
    async with _client(pipe.recv()) as client:
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        for packet in packets:
            started[packet] = time.monotonic()
            await client.publish(TOPIC, packet)
            await asyncio.sleep(PAUSE_S)
        pipe.send(started)
        await asyncio.to_thread(pipe.recv)

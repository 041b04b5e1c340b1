"""The processes of benchmarks/udp.py: one that takes everything in, others that publish to it."""

import asyncio
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

from _processes import identity, study, verification_s

import qis

RECEIVER = 0
WINDOW = 64
"""Packets that a publishing process has under way at most."""
SILENCE_S = 20.0
PAUSE_S = 0.002
SEEN = 2_000
"""Packets whose time is kept; more are only counted."""
SCHEME = qis.VectorScheme(dimensions=3)
STUDY = study(0)
INTEREST = qis.Interest(SCHEME.fingerprint((0.2, -1.0, 0.7)), (), 1.0, studies=(STUDY.id,))


def signed(number: int, count: int) -> list[qis.Packet]:
    """So many packets of one issuer, all different."""
    sequence = time.time_ns() // 1_000
    return [
        qis.Packet.sign(
            identity(number),
            outcome=qis.Effect(
                study=STUDY, measure="OR", estimate=1e-6 * nth, standard_error=0.2, n=99
            ),
            fingerprint=INTEREST.fingerprint,
            issued_at=sequence // 1_000_000,
            lifetime_s=86_400,
            sequence=sequence + nth,
        )
        for nth in range(count)
    ]


def transport_of(number: int, bootstrap: list[str]) -> qis.UDPTransport:
    """A node on loopback."""
    return qis.UDPTransport(identity(number), roster=qis.Roster.open(), bootstrap=bootstrap)


def receiver(pipe: Connection) -> None:
    """The process that takes everything in."""
    asyncio.run(_receiver(pipe))


async def _receiver(pipe: Connection) -> None:
    verification = [verification_s()]
    seen: dict[bytes, float] = {}
    taken = 0
    async with transport_of(RECEIVER, []) as transport, transport.subscribe(INTEREST) as inbox:

        async def take() -> None:
            nonlocal taken
            async for delivery in inbox:
                taken += 1
                if taken <= SEEN:
                    seen[delivery.packet.id] = time.monotonic()

        taking = asyncio.create_task(take())
        pipe.send(transport.address)
        while (word := await asyncio.to_thread(pipe.recv)) != "stop":
            if word == "seen":
                pipe.send(seen)
            else:
                pipe.send(state_of(transport, taken))
        taking.cancel()
    pipe.send(statistics.median([*verification, verification_s()]))


def state_of(transport: qis.UDPTransport, taken: int) -> dict[str, Any]:
    """The receiver's counters now."""
    counted = transport.statistics
    return {
        "port": int(transport.address.rpartition(":")[2]),
        "taken": taken,
        "cpu_s": time.process_time(),
        "at": time.monotonic(),
        "datagrams_received": counted.datagrams_received,
        "datagrams_sent": counted.datagrams_sent,
        "duplicates": counted.duplicates,
        "dropped": counted.dropped,
        "refused": dict(counted.refused),
    }


def sender(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes, some at once."""
    asyncio.run(_sender(pipe, number, count, WINDOW))


def burster(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes everything at once."""
    asyncio.run(_sender(pipe, number, count, count))


async def _sender(pipe: Connection, number: int, count: int, window: int) -> None:
    packets = signed(number, count)
    async with transport_of(number, [pipe.recv()]) as transport:
        pipe.send(transport.address)
        await asyncio.to_thread(pipe.recv)
        for nth, packet in enumerate(packets):
            await transport.publish(packet, ())
            if nth % window == window - 1:
                await transport.flush(SILENCE_S)
        pipe.send(await transport.flush(SILENCE_S))
        await asyncio.to_thread(pipe.recv)


def single(pipe: Connection, number: int, count: int) -> None:
    """A process that publishes one packet at a time."""
    asyncio.run(_single(pipe, number, count))


async def _single(pipe: Connection, number: int, count: int) -> None:
    packets = signed(number, count)
    started: dict[bytes, float] = {}
    async with transport_of(number, [pipe.recv()]) as transport:
        pipe.send(transport.address)
        await asyncio.to_thread(pipe.recv)
        for packet in packets:
            started[packet.id] = time.monotonic()
            await transport.publish(packet, ())
            await transport.flush(SILENCE_S)
            await asyncio.sleep(PAUSE_S)
        pipe.send(started)
        await asyncio.to_thread(pipe.recv)

"""One member of a small network in a process of its own, so that its CPU time is its own."""

import asyncio
import time
from multiprocessing.connection import Connection

import _small_networks as small
from _processes import verification_s

import qis


def receiver(pipe: Connection, count: int, givers: int, bootstrap: str) -> None:
    """The last of so many members: takes in what the givers publish, and publishes nothing."""
    asyncio.run(_receiver(pipe, count, givers, bootstrap))


async def _receiver(pipe: Connection, count: int, givers: int, bootstrap: str) -> None:
    keys = small.identities(count)
    transport = qis.UDPTransport(keys[-1], roster=small.roster_of(keys), bootstrap=[bootstrap])
    verify_s = verification_s()

    async def taken(goal: int) -> None:
        async with asyncio.timeout(120.0):
            while transport.statistics.unmatched < goal:  # noqa: ASYNC110  counters tell nobody
                await asyncio.sleep(0.1)

    async with transport:
        while transport.peers < givers:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)  # comparing, after it has joined
        pipe.send(None)
        warm_up = await asyncio.to_thread(pipe.recv)
        await taken(warm_up)
        pipe.send(None)
        counted = await asyncio.to_thread(pipe.recv)
        began = time.process_time()
        pipe.send(None)
        await taken(warm_up + counted)
        await asyncio.sleep(0.1)  # the last acknowledgements
        cpu_s = (time.process_time() - began) / counted
        pipe.send((cpu_s, (verify_s + verification_s()) / 2))
        await asyncio.to_thread(pipe.recv)

"""The whole loop over UDP on loopback: how fast, at what cost, and in how much memory.

Latency: four processes, each a `SynthesisLoop` with an `SQLiteStore`, publish in turn, each when
all have synthesised what the one before published. Counted is
the time from calling `publish` to the first synthesis with that packet in each of the three other
processes (one clock: the system's monotonic one). That includes signing, the disk's sync at both
ends and the synthesis.

Sustained: one process with a loop and a store of bounded size takes in packets that two others
sign and send as fast as they are acknowledged: 128 issuers, 8 studies, synthesised at most once a
second. `sustained_over_verify_limit` is the CPU time of one raw verification, timed in the
receiving process in a tight loop before the load and after it, divided by all the CPU time that
the process spends per packet: 1 would be a receiver that does nothing but verify. (A stopwatch
around each verification costs more than the verification where reading the clock is a system
call.) Memory is the process's resident set at the end.

    python benchmarks/loop.py --json               # a million packets, some five minutes
    python benchmarks/loop.py --json --packets 50000
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nacl import bindings

import qis

NODES = 4
PUBLISHED = 200
"""Packets of the latency measurement."""
PAUSE_S = 0.02
SENDERS = 2
ISSUERS = 128
STUDIES = 8
WINDOW = 64
"""Packets that a sender has under way at most."""
CAPACITY = 100_000
DEBOUNCE_S = 1.0
WARM_UP = 5_000
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = (0.2, -1.0, 0.7)
SILENCE_S = 30.0


def identity(number: int) -> qis.Identity:
    """One key a number."""
    return qis.Identity.from_seed(number.to_bytes(32, "big"))


def study(number: int) -> qis.Study:
    """One study a number."""
    return qis.Study(question=f"question {number}", measure="OR", model="fixed")


def effect(number: int, estimate: float) -> qis.Effect:
    """An outcome of a study."""
    return qis.Effect(
        study=study(number), measure="OR", estimate=estimate, standard_error=0.2, n=99
    )


def transport_of(number: int, bootstrap: list[str]) -> qis.UDPTransport:
    """A node on loopback."""
    return qis.UDPTransport(identity(number), roster=qis.Roster.open(), bootstrap=bootstrap)


def loop_of(
    number: int, transport: qis.Transport, folder: str, studies: int, debounce_s: float
) -> qis.SynthesisLoop:
    """A loop with a store on disk that wants all of these studies."""
    store = qis.SQLiteStore(
        Path(folder) / f"{number}.db", roster=qis.Roster.open(), capacity=CAPACITY
    )
    return qis.SynthesisLoop(
        identity(number),
        transport,
        SCHEME,
        interest=SCHEME.interest(ABOUT),
        studies=[study(n) for n in range(studies)],
        store=store,
        disclosure=qis.Disclosure.preset("none"),
        debounce_s=debounce_s,
    )


async def received(pipe: Connection) -> Any:
    """The parent's next word, without blocking the loop."""
    while not pipe.poll():  # noqa: ASYNC110  a pipe between processes has no event
        await asyncio.sleep(0.02)
    return pipe.recv()


def site(pipe: Connection, number: int, folder: str) -> None:
    """A process of the latency measurement."""
    asyncio.run(_site(pipe, number, folder))


async def _site(pipe: Connection, number: int, folder: str) -> None:
    seen: dict[bytes, float] = {}
    async with transport_of(number, await received(pipe)) as transport:
        pipe.send(transport.address)
        async with loop_of(number, transport, folder, 1, 0.0) as loop:

            async def watch() -> None:
                async for synthesis in loop:
                    now = time.monotonic()
                    for result in synthesis.sites:
                        for packet in result.packets:
                            seen.setdefault(packet.id, now)

            watching = asyncio.create_task(watch())
            while (word := await received(pipe)) != "stop":
                if word == "sites":
                    latest = loop.latest(study(0))
                    pipe.send(len(latest.sites) if latest else 0)
                elif isinstance(word, bytes):
                    pipe.send(word in seen)
                else:
                    started = time.monotonic()
                    packet = await loop.publish(effect(0, word), about=ABOUT)
                    pipe.send((packet.id, started))
            watching.cancel()
    pipe.send(seen)


def latencies(folder: str) -> list[float]:
    """Milliseconds from `publish` to each peer's synthesis, in ascending order."""
    with contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(process(site, n, folder)) for n in range(NODES)]
        addresses: list[str] = []
        for pipe in pipes:
            pipe.send(addresses[:1])
            addresses.append(pipe.recv())
        for pipe in pipes:
            ask(pipe, 0.1)
        wait_until(lambda: all(ask(pipe, "sites") == NODES for pipe in pipes))
        started: dict[bytes, float] = {}
        for nth in range(PUBLISHED):
            time.sleep(PAUSE_S)
            packet_id, at = ask(pipes[nth % NODES], 0.1 + 1e-3 * nth)
            started[packet_id] = at
            wait_until(lambda wanted=packet_id: all(ask(pipe, wanted) for pipe in pipes))
        seen = [ask(pipe, "stop") for pipe in pipes]
    return sorted(
        1e3 * (seen[node][packet_id] - at)
        for nth, (packet_id, at) in enumerate(started.items())
        for node in range(NODES)
        if node != nth % NODES and packet_id in seen[node]
    )


def receiver(pipe: Connection, number: int, folder: str) -> None:
    """The process that takes everything in."""
    asyncio.run(_receiver(pipe, number, folder))


async def _receiver(pipe: Connection, number: int, folder: str) -> None:
    before_s = verification_s()
    async with transport_of(number, []) as transport:
        pipe.send(transport.address)
        async with loop_of(number, transport, folder, STUDIES, DEBOUNCE_S) as loop:
            while await received(pipe) != "stop":
                pipe.send(
                    {
                        "received": loop.statistics.received,
                        "synthesised": loop.statistics.synthesised,
                        "cpu_s": time.process_time(),
                        "at": time.monotonic(),
                        "rss_mb": resident_mb(),
                    }
                )
    pipe.send(
        {
            "accepted": loop.statistics.admissions["accepted"],
            "verification_s": statistics.median((before_s, verification_s())),
        }
    )


def verification_s() -> float:
    """CPU seconds of one bare verification, over and over and nothing else."""
    public, secret = bindings.crypto_sign_seed_keypair(bytes(32))
    signed = bindings.crypto_sign(bytes(456), secret)
    times = []
    for _ in range(25):
        start = time.process_time()
        for _ in range(40):
            bindings.crypto_sign_open(signed, public)
        times.append((time.process_time() - start) / 40)
    return statistics.median(times)


def resident_mb() -> float:
    """Resident set of this process."""
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def sender(pipe: Connection, number: int, count: int) -> None:
    """A process that signs and sends."""
    asyncio.run(_sender(pipe, number, count))


async def _sender(pipe: Connection, number: int, count: int) -> None:
    issuers = [identity(1_000 * number + n) for n in range(ISSUERS // SENDERS)]
    sequence = time.time_ns() // 1_000
    async with transport_of(number, await received(pipe)) as transport:
        pipe.send(transport.address)
        await received(pipe)
        for nth in range(count):
            packet = qis.Packet.sign(
                issuers[nth % len(issuers)],
                outcome=effect(nth // len(issuers) % STUDIES, 1e-6 * nth),
                fingerprint=qis.Fingerprint(bytes(32), SCHEME.id),
                issued_at=sequence // 1_000_000,
                lifetime_s=86_400,
                sequence=sequence + nth,
            )
            await transport.publish(packet, ())
            if nth % WINDOW == WINDOW - 1:
                await transport.flush(SILENCE_S)
        await transport.flush(SILENCE_S)
        pipe.send(time.process_time())


def sustained(folder: str, packets: int) -> dict[str, float]:
    """What the receiving process does for each packet, and what it holds at the end."""
    with contextlib.ExitStack() as stack:
        taking = stack.enter_context(process(receiver, NODES, folder))
        address = taking.recv()
        giving = [
            stack.enter_context(process(sender, NODES + 1 + n, packets // SENDERS))
            for n in range(SENDERS)
        ]
        for pipe in giving:
            pipe.send([address])
            pipe.recv()
        time.sleep(2.0)  # until everybody knows everybody
        for pipe in giving:
            pipe.send("go")
        wait_until(lambda: ask(taking, "")["received"] >= min(WARM_UP, packets // 10))
        first = last = ask(taking, "")
        while last["received"] < packets and (time.monotonic() - last["at"] < SILENCE_S):
            time.sleep(1.0)
            state = ask(taking, "")
            last = state if state["received"] > last["received"] else last
        end = ask(taking, "stop")
    taken = last["received"] - first["received"]
    cpu_s = (last["cpu_s"] - first["cpu_s"]) / taken
    return {
        "packets_received": last["received"],
        "packets_accepted": end["accepted"],
        "sustained_packets_per_s": round(taken / (last["at"] - first["at"])),
        "sustained_syntheses_per_s": round(
            (last["synthesised"] - first["synthesised"]) / (last["at"] - first["at"]), 1
        ),
        "receiver_cpu_us_per_packet": round(1e6 * cpu_s, 1),
        "verification_us": round(1e6 * end["verification_s"], 1),
        "sustained_over_verify_limit": round(end["verification_s"] / cpu_s, 3),
        "rss_mb_after_million" if packets >= 1_000_000 else f"rss_mb_after_{packets}": round(
            last["rss_mb"]
        ),
    }


def ask(pipe: Connection, word: Any) -> Any:
    """A question to a process, and its answer."""
    pipe.send(word)
    return pipe.recv()


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again until it holds, a minute at most."""
    until = time.monotonic() + 60.0
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.05)


@contextlib.contextmanager
def process(target: Callable[..., Any], *arguments: Any) -> Any:
    """A process, and the pipe to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    running = context.Process(target=target, args=(there, *arguments), daemon=True)
    running.start()
    there.close()
    try:
        yield here
    finally:
        running.join(10.0)
        running.terminate()


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--folder", help="a folder on the disk to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        times = latencies(folder)
        results = {
            "published": PUBLISHED,
            "syntheses_seen": len(times),
            "publish_to_synthesis_p50_ms": round(statistics.median(times), 2),
            "publish_to_synthesis_p99_ms": round(times[int(0.99 * (len(times) - 1))], 2),
        } | sustained(folder, arguments.packets)
    print(json.dumps(results) if arguments.json else "\n".join(map(str, results.items())))


if __name__ == "__main__":
    main()

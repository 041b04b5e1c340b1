"""The whole loop over UDP on loopback: how fast, at what cost, and in how much memory.

Latency: four processes, each a `SynthesisLoop` with an `SQLiteStore`, publish in turn, each when
all have synthesised what the one before published. Counted is
the time from calling `publish` to the first synthesis with that packet in each of the three other
processes (one clock: the system's monotonic one). That includes signing, the disk's sync at both
ends and the synthesis.

Sustained: one process with a loop and a store of bounded size takes in packets that three others
sign, and deliver as a holder does to a subscriber, as fast as they are acknowledged: 126 issuers, 8
studies, synthesised at most once a second. `sustained_over_verify_limit` is the CPU time of one raw
verification, timed in the receiving process in a tight loop before the load and after it, divided
by all the CPU time that the process spends per packet: 1 would be a receiver that does nothing but
verify. (A stopwatch around each verification costs more than the verification where reading the
clock is a system call.) It is the median of five runs, each in new processes, since the core where
the system puts a process changes a verification's time by up to a half. Then one run of all
packets, whose resident set is told at the end. `as_holder`: the three publish; in a network of four
the receiver is a holder of most of what it wants, is asked to hold each packet, and gets it from
another holder too.

    python benchmarks/loop.py --json               # a million packets, some ten minutes
    python benchmarks/loop.py --json --packets 50000
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from _processes import (
    ask,
    identity,
    process,
    resident_mb,
    rounded,
    study,
    verification_s,
    wait_until,
)
from _udp_giver import introduced
from _udp_nodes import signed

import qis

NODES = 4
PUBLISHED = 200
"""Packets of the latency measurement."""
PAUSE_S = 0.02
GIVERS = 3
ISSUERS = 126
STUDIES = 8
WINDOW = 64
"""Packets that a publisher has under way at most."""
CHUNK = 32_768
"""Packets that a giver signs before it sends them."""
ROUNDS, ROUND = 5, 60_000
CAPACITY = 100_000
DEBOUNCE_S = 1.0
WARM_UP = 5_000
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = (0.2, -1.0, 0.7)
SILENCE_S = 30.0


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


def giver(pipe: Connection, number: int, count: int) -> None:
    """A process that signs packets and delivers them, as a holder of their studies does."""
    issuers = [identity(1_000 * number + n) for n in range(ISSUERS // GIVERS)]
    outcomes = [effect(n, 0.1) for n in range(STUDIES)]
    address = pipe.recv()
    node = introduced(number, address, signed(number, 1)[0])
    pipe.send("ready")
    pipe.recv()
    sequence = time.time_ns() // 1_000
    for start in range(0, count, CHUNK):
        packets = [
            qis.Packet.sign(
                issuers[nth % len(issuers)],
                outcome=dataclasses.replace(
                    outcomes[nth // len(issuers) % STUDIES], estimate=1e-6 * nth
                ),
                fingerprint=qis.Fingerprint(bytes(32), SCHEME.id),
                issued_at=sequence // 1_000_000,
                lifetime_s=86_400,
                sequence=sequence + nth,
            )
            for nth in range(start, min(start + CHUNK, count))
        ]
        node.send_paced(node.sealed(packets), len(packets))
    pipe.send("done")


def publisher(pipe: Connection, number: int, count: int) -> None:
    """A process that signs packets and publishes them."""
    asyncio.run(_publisher(pipe, number, count))


async def _publisher(pipe: Connection, number: int, count: int) -> None:
    issuers = [identity(1_000 * number + n) for n in range(ISSUERS // GIVERS)]
    sequence = time.time_ns() // 1_000
    async with transport_of(number, [await received(pipe)]) as transport:
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


def sustained(folder: str, packets: int, role: Callable[..., None]) -> dict[str, float]:
    """What the receiving process does for each packet, and what it holds at the end."""
    with tempfile.TemporaryDirectory(dir=folder) as its_own, contextlib.ExitStack() as stack:
        taking = stack.enter_context(process(receiver, NODES, its_own))
        address = taking.recv()
        giving = [
            stack.enter_context(process(role, NODES + 1 + n, packets // GIVERS))
            for n in range(GIVERS)
        ]
        for pipe in giving:
            pipe.send(address)
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
    passed_s = last["at"] - first["at"]
    cpu_s = (last["cpu_s"] - first["cpu_s"]) / taken
    return {
        "packets_received": last["received"],
        "packets_accepted": end["accepted"],
        "packets_per_s": taken / passed_s,
        "syntheses_per_s": (last["synthesised"] - first["synthesised"]) / passed_s,
        "cpu_us_per_packet": 1e6 * cpu_s,
        "verification_us": 1e6 * end["verification_s"],
        "over_verify_limit": end["verification_s"] / cpu_s,
        "rss_mb": last["rss_mb"],
    }


def measure(folder: str, packets: int) -> dict[str, Any]:
    """All figures."""
    times = latencies(folder)
    few = min(ROUND, packets)
    rounds = [sustained(folder, few, giver) for _ in range(ROUNDS)]
    limits = [found["over_verify_limit"] for found in rounds]
    all_packets = sustained(folder, packets, giver)
    as_holder = sustained(folder, few, publisher)
    is_full = packets >= 1_000_000
    return {
        "syntheses_seen": len(times),
        "publish_to_synthesis_p50_ms": statistics.median(times),
        "publish_to_synthesis_p99_ms": times[int(0.99 * (len(times) - 1))],
        "sustained_over_verify_limit": statistics.median(limits),
        "of_rounds": sorted(limits),
        "rss_mb_after_million" if is_full else f"rss_mb_after_{packets}": all_packets["rss_mb"],
        "round": {name: statistics.median(found[name] for found in rounds) for name in rounds[0]},
        "all": all_packets,
        "as_holder": as_holder,
    }


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--folder", help="a folder on the disk to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        results = rounded(measure(folder, arguments.packets))
    print(json.dumps(results) if arguments.json else "\n".join(map(str, results.items())))


if __name__ == "__main__":
    main()

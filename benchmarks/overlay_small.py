"""Consortia of a few sites: what direct mode costs and what it brings; one JSON object.

``python benchmarks/overlay_small.py --json``. Real nodes over UDP on loopback under the encrypted
channel, beside nats-py with a server of its own in the same run, which encrypts and verifies
nothing; dead members, slow links, NATs and what insiders try in virtual time. Needs the extras
[test] and [bench].

Bytes are those of all datagrams or messages sent, with 28 bytes of IP and UDP each; for NATS its
protocol's text and 52 bytes of IP and TCP for each message, its acknowledgements not counted.
A delivery is a packet that has come to one member: with either everybody gets everything.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import _insiders
import _small_networks as small
import nats
from _results import origin

import qis
from qis.packet import verify_screened
from qis.testing import NATSServer

SITES = 24
PACKETS = 8
UDP_HEADS, TCP_HEADS = 28, 52


def packets_of(identity: qis.Identity, count: int) -> list[qis.Packet]:
    """Packets of one site, signed now."""
    return [
        qis.Packet.sign(
            identity,
            outcome=qis.Counts(question=f"q{number}", events=30, total=200),
            fingerprint=small.SCHEME.fingerprint(small.NEAR),
            issued_at=int(time.time()),
            lifetime_s=3_600,
            routing_keys=small.SCHEME.routing_keys(small.NEAR),
        )
        for number in range(count)
    ]


async def until(done: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(within_s):
        while not done():  # noqa: ASYNC110  counters tell nobody
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def udp_network(
    count: int,
) -> AsyncIterator[tuple[list[qis.Identity], list[qis.UDPTransport]]]:
    """So many members on loopback, joined."""
    keys = small.identities(count)
    roster = qis.Roster(tuple(qis.Site.of(f"site {n}", k.issuer) for n, k in enumerate(keys)))
    async with contextlib.AsyncExitStack() as stack:
        transports = []
        for key in keys:
            known = [transports[0].address] if transports else []
            transport = qis.UDPTransport(key, roster=roster, bootstrap=known)
            transports.append(await stack.enter_async_context(transport))
        await until(lambda: all(each.peers == count - 1 for each in transports))
        yield keys, transports


def sent(transports: Sequence[qis.UDPTransport]) -> float:
    """Bytes that members have sent, heads included."""
    counted = [each.statistics for each in transports]
    return sum(each.bytes_sent + UDP_HEADS * each.datagrams_sent for each in counted)


async def udp_costs() -> tuple[float, float, float]:
    """Bytes and CPU seconds a delivery among `SITES` members, and kB a site for four with one."""
    async with udp_network(SITES) as (keys, transports):
        await asyncio.sleep(1.0)  # comparing, after they have joined
        signed = [packets_of(key, PACKETS) for key in keys]
        bytes_before, cpu_before = sent(transports), time.process_time()
        for number in range(PACKETS):
            for mine, transport in zip(signed, transports, strict=True):
                await transport.publish(mine[number], small.SCHEME.routing_keys(small.NEAR))
            await until(
                lambda goal=(number + 1) * (SITES - 1): all(
                    each.statistics.unmatched >= goal for each in transports
                )
            )
        deliveries = SITES * (SITES - 1) * PACKETS
        cpu_s = (time.process_time() - cpu_before) / deliveries
        size = (sent(transports) - bytes_before) / deliveries
    async with udp_network(4) as (keys, transports):
        for key, transport in zip(keys, transports, strict=True):
            packet = packets_of(key, 1)[0]
            await transport.publish(packet, small.SCHEME.routing_keys(small.NEAR))
        await until(lambda: all(each.statistics.unmatched >= 3 for each in transports))
        await asyncio.sleep(0.5)
        four_kb = sent(transports) / 4 / 1_000
    return size, cpu_s, four_kb


async def nats_costs() -> tuple[float, float]:
    """Bytes and CPU seconds a delivery where everybody takes all from a NATS server."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with NATSServer(Path(folder), 'listen: "127.0.0.1:{port}"\n') as server:
            clients = [await nats.connect(server.url) for _ in range(SITES)]
            got = [0] * SITES
            for number, client in enumerate(clients):

                async def take(_message: object, number: int = number) -> None:
                    got[number] += 1

                await client.subscribe("packets", cb=take)
                await client.flush()
            signed = [
                [bytes(packet) for packet in packets_of(key, PACKETS)]
                for key in small.identities(SITES)
            ]
            cpu_before = time.process_time()
            for number in range(PACKETS):
                for mine, client in zip(signed, clients, strict=True):
                    await client.publish("packets", mine[number])
                await until(lambda goal=(number + 1) * SITES: min(got) >= goal)
            own_cpu_s = time.process_time() - cpu_before
            for client in clients:
                await client.close()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    deliveries = SITES * SITES * PACKETS  # each gets its own back too
    server_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    published = len("PUB packets 512\r\n") + 514 + TCP_HEADS
    delivered = len("MSG packets 1 512\r\n") + 514 + TCP_HEADS
    size = (SITES * PACKETS * published + deliveries * delivered) / (SITES * (SITES - 1) * PACKETS)
    return size, (own_cpu_s + server_cpu_s) / deliveries


def verification_s() -> float:
    """Seconds that a bare verification takes here, the median of several rounds."""
    packets = [bytes(packet) for packet in packets_of(small.identities(1)[0], 400)]
    rounds = []
    for _ in range(5):
        begun = time.process_time()
        verify_screened(packets)
        rounds.append((time.process_time() - begun) / len(packets))
    return statistics.median(rounds)


async def join_under_replay() -> float:
    """Seconds until a newcomer has joined while an old call is replayed 2,000 times a second."""
    keys = small.identities(3)
    roster = qis.Roster(tuple(qis.Site.of(f"site {n}", k.issuer) for n, k in enumerate(keys)))
    async with qis.UDPTransport(keys[0], roster=roster) as first:
        recorded: list[bytes] = []
        old = qis.UDPTransport(keys[1], roster=roster, bootstrap=[first.address])
        async with old:
            await until(lambda: old.peers == 1)
        own = old  # one more call, recorded on the way
        genuine = first._receive  # noqa: SLF001  a tap on the wire

        def record(datagrams: list[tuple[bytes, bytes]]) -> None:
            recorded.extend(data for data, _ in datagrams if data[0] == 1)
            genuine(datagrams)

        first._socket._received = record  # type: ignore[union-attr]  # noqa: SLF001
        async with own:
            await until(lambda: own.peers == 1)
            call = recorded[0]
            host, port = first.address.partition("@")[2].rsplit(":", 1)
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            attacker, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
            )

            async def replay() -> None:
                while not stop.is_set():
                    for _ in range(20):
                        attacker.sendto(call, (host, int(port)))
                    await asyncio.sleep(0.01)

            replaying = asyncio.create_task(replay())
            await asyncio.sleep(0.5)
            begun = time.monotonic()
            async with qis.UDPTransport(keys[2], roster=roster, bootstrap=[first.address]) as new:
                await until(lambda: new.peers == 2)
                took_s = time.monotonic() - begun
            stop.set()
            await replaying
            attacker.close()
    return took_s


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--full", action="store_true", help="128 members too; takes minutes")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    verify_s = verification_s()
    size, cpu_s, four_kb = asyncio.run(udp_costs())
    nats_size, nats_cpu_s = asyncio.run(nats_costs())
    figures = {
        "bytes_per_delivery": size,
        "nats_bytes_per_delivery": nats_size,
        "small_bytes_vs_best": size / nats_size,
        "cpu_us_per_delivery": cpu_s * 1e6,
        "nats_cpu_us_per_delivery": nats_cpu_s * 1e6,
        "verification_us": verify_s * 1e6,
        "small_cpu_vs_best": cpu_s / (nats_cpu_s + verify_s),
        "receiver_over_verify": cpu_s / verify_s,
        "four_sites_kb": four_kb,
        "newcomer_join_s_under_replay": asyncio.run(join_under_replay()),
    }
    few = small.run(small.dead_and_lossy(24))
    many = small.run(small.dead_and_lossy(128)) if arguments.full else few
    fast_bytes, _ = small.run(small.link(0.0, 0.005))
    slow_bytes, slow_recall = small.run(small.link(256_000.0, 0.45))
    figures |= {
        "direct_recall_60_s": min(few[0], many[0]),
        "direct_recall_one_period": min(few[1], many[1]),
        "slow_link_bytes_ratio": slow_bytes / fast_bytes,
        "slow_link_recall": slow_recall,
        "nat_delivered_after_silence": small.run(small.behind_nats(600.0)),
    } | _insiders.figures()
    if not arguments.json:
        print(origin(), os.getloadavg())
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

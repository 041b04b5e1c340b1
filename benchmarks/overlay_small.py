"""Consortia of a few sites: what direct mode costs and what it brings; one JSON object.

``python benchmarks/overlay_small.py --json``. Real nodes over UDP on loopback under the encrypted
channel, beside nats-py with a server of its own and a mesh of zenoh peers in the same run, which
encrypt and verify nothing; dead members, slow links, NATs and what insiders try in virtual time.
Needs the extras [test] and [bench].

Bytes are those of all datagrams sent, with 28 bytes of IP and UDP each; of the others see
`_small_engines`. A delivery is a packet that has come to one member: with each everybody gets
everything. Its CPU time is that of publishing, sealing, sending, receiving, verifying, keeping and
acknowledging it, at both ends, all members in one process. `receiver_over_verify` is that of a
member in a process of its own that only receives, as fast as it acknowledges, per packet, over a
bare verification there: all that the process spends. `receiver_alone_over_verify` is the same where
the packets come one at a time, so that each wakes the process.

`floor_over_verify` and `receiver_floor_over_verify` are what the same datagrams cost in Python with
nothing but sealing, sending, reading, opening and the verification, at both ends and at the
receiver's: nobody is found, nothing is read of the packet, kept, matched or counted.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence

import _insiders
import _small_networks as small
from _processes import process, verification_s
from _results import origin
from _small_engines import nats_cost, zenoh_cost
from _small_receiver import receiver
from nacl import bindings

import qis
from qis._layout import ISSUER, SIGNATURE, signed_bytes
from qis.identity import verify

SITES = 24
PACKETS = 8
BUSY, RARE = 640, 16
"""Packets that a receiver in a process of its own gets of one site that has many, and of each of
the others where each has one from time to time; a quarter of them to warm up."""
RECEIVERS = 3
FLOOR = 1_200
UDP_HEADS = 28
ROUTING_KEYS = small.SCHEME.routing_keys(small.NEAR)


def packets_of(identity: qis.Identity, count: int) -> list[qis.Packet]:
    """Packets of one site, signed now."""
    return [
        qis.Packet.sign(
            identity,
            outcome=qis.Counts(question=f"q{number}", events=30, total=200),
            fingerprint=small.SCHEME.fingerprint(small.NEAR),
            issued_at=int(time.time()),
            lifetime_s=3_600,
            routing_keys=ROUTING_KEYS,
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
    count: int, *, of: int = 0
) -> AsyncIterator[tuple[list[qis.Identity], list[qis.UDPTransport]]]:
    """So many members on loopback, joined, perhaps of a larger roster."""
    keys = small.identities(count)
    roster = small.roster_of(small.identities(of or count))
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
                await transport.publish(mine[number], ROUTING_KEYS)
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
            await transport.publish(packet, ROUTING_KEYS)
        await until(lambda: all(each.statistics.unmatched >= 3 for each in transports))
        await asyncio.sleep(0.5)
        four_kb = sent(transports) / 4 / 1_000
    return size, cpu_s, four_kb


async def receiver_cost(givers: int, each: int) -> tuple[float, float]:
    """CPU seconds of a process that receives, per packet of the others; a verification's there."""
    async with udp_network(givers, of=SITES) as (keys, transports):
        with process(receiver, SITES, givers, transports[0].address) as pipe:
            await asyncio.to_thread(pipe.recv)
            signed = [packets_of(key, each) for key in keys]
            await published(signed, transports, range(each // 4))  # to warm up
            pipe.send(each // 4 * givers)
            await asyncio.to_thread(pipe.recv)
            pipe.send((each - each // 4) * givers)
            await asyncio.to_thread(pipe.recv)
            await published(signed, transports, range(each // 4, each))
            found: tuple[float, float] = await asyncio.to_thread(pipe.recv)
            pipe.send("stop")
    return found


async def published(
    signed: Sequence[Sequence[qis.Packet]],
    transports: Sequence[qis.UDPTransport],
    numbers: range,
) -> None:
    """Publish some packets of each member, round by round."""
    others = len(transports) - 1
    for number in numbers:
        for mine, transport in zip(signed, transports, strict=True):
            await transport.publish(mine[number], ROUTING_KEYS)
        await until(
            lambda goal=(number + 1) * others: all(
                each.statistics.unmatched >= goal for each in transports
            )
        )


async def receiver_costs() -> dict[str, float]:
    """A receiver that is kept busy, and one to which packets come one at a time."""
    busy = [await receiver_cost(1, BUSY) for _ in range(RECEIVERS)]
    busy.sort(key=lambda each: each[0] / each[1])
    cpu_s, verify_s = busy[RECEIVERS // 2]  # where the system puts a process changes both
    alone_s, alone_verify_s = await receiver_cost(SITES - 1, RARE)
    return {
        "receiver_over_verify": cpu_s / verify_s,
        "receiver_us": cpu_s * 1e6,
        "receiver_alone_over_verify": alone_s / alone_verify_s,
    }


def floors(verify_s: float) -> dict[str, float]:
    """What a delivery costs in Python at least, over a verification; its acknowledgement is one.

    In the batches of a round. The acknowledgement has a datagram of its own.
    """
    packets = [bytes(each) for each in packets_of(small.identities(1)[0], FLOOR)]
    key, nonce, head = bytes(32), bytes(12), bytes(13)
    seal = bindings.crypto_aead_chacha20poly1305_ietf_encrypt
    unseal = bindings.crypto_aead_chacha20poly1305_ietf_decrypt
    both, receiver_alone = [], []
    with socket.socket(type=socket.SOCK_DGRAM) as here, socket.socket(type=socket.SOCK_DGRAM) as to:
        for end in (here, to):
            end.bind(("127.0.0.1", 0))
        addresses = here.getsockname(), to.getsockname()
        for start in range(0, FLOOR, SITES):
            batch = packets[start : start + SITES]
            began = time.process_time()
            for packet in batch:
                here.sendto(head + seal(bytes(12) + packet, head, nonce, key), addresses[1])
            sent = time.process_time()
            came = [unseal(to.recvfrom(2_048)[0][13:], head, nonce, key)[12:] for _ in batch]
            for packet in came:
                verify(packet[ISSUER], signed_bytes(packet), packet[SIGNATURE])
                to.sendto(head + seal(bytes(15), head, nonce, key), addresses[0])
            answered = time.process_time()
            for _ in came:
                unseal(here.recvfrom(2_048)[0][13:], head, nonce, key)
            both.append((time.process_time() - began) / len(batch))
            receiver_alone.append((answered - sent) / len(batch))
    return {
        "floor_over_verify": statistics.median(both) / verify_s,
        "receiver_floor_over_verify": statistics.median(receiver_alone) / verify_s,
    }


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


def real_silence() -> dict[str, float]:
    """What comes both ways after ten real minutes behind real NATs, where they can be made."""
    import _nat_silence  # noqa: PLC0415  Linux only

    from tests.integration._namespaces import why_not  # noqa: PLC0415  found by the line above

    if (reason := why_not()) is not None:
        print(f"no nat_delivered_after_ten_real_minutes: {reason}", file=sys.stderr)
        return {}
    share = asyncio.run(_nat_silence.delivered_after_silence())
    return {"nat_delivered_after_ten_real_minutes": share}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument(
        "--full",
        action="store_true",
        help="128 members too, and ten real minutes of silence behind real NATs (as root)",
    )
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    verify_s = verification_s()
    size, cpu_s, four_kb = asyncio.run(udp_costs())
    signed = [
        [bytes(packet) for packet in packets_of(key, PACKETS)] for key in small.identities(SITES)
    ]
    others = {"nats": asyncio.run(nats_cost(signed)), "zenoh": zenoh_cost(signed)}
    there = {name: cost for name, cost in others.items() if cost is not None}
    figures = {
        "bytes_per_delivery": size,
        "cpu_us_per_delivery": cpu_s * 1e6,
        "verification_us": verify_s * 1e6,
        **{f"{name}_bytes_per_delivery": cost.size for name, cost in there.items()},
        **{f"{name}_cpu_us_per_delivery": cost.cpu_s * 1e6 for name, cost in there.items()},
        "small_bytes_vs_best": size / min(cost.size for cost in there.values()),
        "small_cpu_vs_best": cpu_s / (min(cost.cpu_s for cost in there.values()) + verify_s),
        **asyncio.run(receiver_costs()),
        **floors(verify_s),
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
    if arguments.full:
        figures |= real_silence()
    if not arguments.json:
        print(origin(), os.getloadavg())
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

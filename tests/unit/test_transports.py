"""Both transports: who gets what, once, and never anything that did not verify."""

import asyncio
import socket
import time

import pytest

import qis
from qis import errors
from qis.overlay.messages import Deliver, Known, Published

SCHEME = qis.VectorScheme(dimensions=4)
NEAR, FAR = [1.0, 0.5, -0.2, 0.1], [-1.0, -0.5, 0.2, -0.1]


def site(number):
    return qis.Identity.from_seed(bytes([number]) * 32)


def packet_about(identity, features, question="a vs b | death", now=None):
    effect = qis.Effect(question=question, measure="OR", estimate=-0.3, standard_error=0.1)
    keys = SCHEME.routing_keys(features)
    packet = qis.Packet.sign(
        identity,
        outcome=effect,
        fingerprint=SCHEME.fingerprint(features),
        issued_at=int(time.time() if now is None else now),
        lifetime_s=3600,
        routing_keys=keys,
    )
    return packet, keys


async def first(deliveries):
    async with asyncio.timeout(20):
        return await anext(aiter(deliveries))


@pytest.mark.parametrize("seed", range(5))
def test_memory_delivers_matches_once_under_duplication_and_reordering(seed):
    async def scenario():
        network = qis.MemoryNetwork(seed=seed, duplicate=0.5, reorder=0.5, now=1.8e9)
        sender, reader, other = (qis.MemoryTransport(network, site(n)) for n in (1, 2, 3))
        async with (
            reader.subscribe(SCHEME.interest(NEAR)) as wanted,
            other.subscribe(SCHEME.interest(FAR)),
        ):
            sent = set()
            for number in range(20):
                question = f"a vs b | outcome {number}"
                packet, keys = packet_about(site(1), NEAR, question, now=1.8e9)
                await sender.publish(packet, keys)
                sent.add(packet.id)
            await network.settle()
            got = [(await first(wanted)).packet.id for _ in sent]
            assert sorted(got) == sorted(sent)
            assert reader.statistics.delivered == 20
            assert other.statistics.delivered == 0

    asyncio.run(scenario())


def test_memory_gives_a_late_subscriber_what_came_before():
    async def scenario():
        network = qis.MemoryNetwork(now=1.8e9)
        sender, late = (qis.MemoryTransport(network, site(n)) for n in (1, 2))
        packet, keys = packet_about(site(1), NEAR, now=1.8e9)
        await sender.publish(packet, keys)
        async with late.subscribe(SCHEME.interest(NEAR)) as wanted:
            assert (await first(wanted)).packet == packet
        async with late.subscribe(SCHEME.interest(NEAR)) as again:
            assert (await first(again)).packet == packet

    asyncio.run(scenario())


def test_publishing_under_other_keys_than_signed_is_refused():
    async def scenario():
        transport = qis.MemoryTransport(qis.MemoryNetwork(), site(1))
        packet, _ = packet_about(site(1), NEAR)
        with pytest.raises(errors.InputError):
            await transport.publish(packet, SCHEME.routing_keys(FAR))

    asyncio.run(scenario())


def test_udp_peers_find_each_other_and_a_late_one_catches_up_from_a_survivor():
    async def scenario():
        roster = qis.Roster.open()
        packet, keys = packet_about(site(1), NEAR)
        async with (
            qis.UDPTransport(site(2), roster=roster) as second,
            second.subscribe(SCHEME.interest(NEAR)) as wanted,
        ):
            async with qis.UDPTransport(
                site(1), roster=roster, bootstrap=[second.address]
            ) as publisher:
                await publisher.publish(packet, keys)
                delivery = await first(wanted)
                assert (delivery.packet, delivery.hops) == (packet, 1)
                assert await publisher.flush(10)
            late = qis.UDPTransport(site(3), roster=roster, bootstrap=[second.address])
            async with late, late.subscribe(SCHEME.interest(NEAR)) as caught_up:
                delivery = await first(caught_up)
                assert (delivery.packet, delivery.hops) == (packet, 2)

    asyncio.run(scenario())


def test_udp_counts_garbage_and_answers_strangers_with_nothing_larger():
    async def scenario():
        async with qis.UDPTransport(site(1), roster=qis.Roster.open()) as node:
            host, _, port = node.address.partition("@")[2].rpartition(":")
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.setblocking(False)  # noqa: FBT003  the socket's own signature
                stranger.bind(("127.0.0.1", 0))
                packet, keys = packet_about(site(2), NEAR)
                unasked = Published(request=bytes(8), age_s=0, known=Known()).encode()
                forged = Deliver(
                    request=bytes(8), hops=1, keys=tuple(sorted(keys))[1:], packet=bytes(packet)
                ).encode()
                for junk in (b"", b"x", b"qis\x02" + bytes(2000), bytes(512), unasked, forged):
                    stranger.sendto(junk, (host, int(port)))
                answer = await asyncio.wait_for(loop.sock_recv(stranger, 2000), 10)
                assert len(answer) < len(forged)
            assert node.statistics.refused["malformed"] == 4
            assert node.statistics.refused["unasked"] == 1
            assert node.statistics.refused["RoutingKeysError"] == 1
            assert node.statistics.datagrams_received == 6
            assert node.statistics.delivered == 0

    asyncio.run(scenario())


def test_udp_binds_to_loopback_only():
    with pytest.raises(errors.InputError, match="loopback"):
        qis.UDPTransport(site(1), roster=qis.Roster.open(), bind=("0.0.0.0", 0))  # noqa: S104

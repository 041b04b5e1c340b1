"""Both transports: who gets what, once, and never anything that did not verify."""

import asyncio
import socket
import time

import pytest

import qis
from qis import errors
from qis.channel.handshake import Initiation
from tests._builders import site

SCHEME = qis.VectorScheme(dimensions=4)
NEAR, FAR = [1.0, 0.5, -0.2, 0.1], [-1.0, -0.5, 0.2, -0.1]


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


def test_udp_counts_garbage_and_answers_strangers_with_nothing():
    async def scenario():
        async with qis.UDPTransport(site(1), roster=qis.Roster.open()) as node:
            host, _, port = node.address.partition("@")[2].rpartition(":")
            forged = Initiation(
                session=1, ephemeral=bytes(32), key=site(2).issuer.key, time_ms=0
            ).encode()
            junk = (b"", b"x", b"qis\x02" + bytes(2000), bytes(512), b"\x04" * 600, forged)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for data in junk:
                    stranger.sendto(data, (host, int(port)))
                async with asyncio.timeout(10):
                    while node.statistics.datagrams_received < len(junk):  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
            assert node.statistics.refused == {"malformed": 4, "no_session": 1, "signature": 1}
            assert node.statistics.bytes_sent == 0
            assert node.peers == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("addresses", [{"bind": ("0.0.0.0", 0)}, {"bind": ("::", 0)}])  # noqa: S104
def test_udp_says_where_it_can_be_reached(addresses):
    with pytest.raises(errors.InputError, match="advertise"):
        qis.UDPTransport(site(1), roster=qis.Roster.open(), **addresses)
    transport = qis.UDPTransport(
        site(1), roster=qis.Roster.open(), **addresses, advertise=("192.0.2.7", 4000)
    )
    assert transport.leaves_machine


@pytest.mark.parametrize("advertise", [("example.org", 1), ("192.0.2.7", 0), ("192.0.2.7", 65_536)])
def test_an_address_that_nobody_can_reach_is_refused(advertise):
    with pytest.raises(errors.InputError):
        qis.UDPTransport(site(1), roster=qis.Roster.open(), advertise=advertise)


@pytest.mark.parametrize("overlay", [False, True], ids=["direct", "overlay"])
def test_memory_admits_by_the_roster_that_is_believed_now(overlay):
    async def scenario():
        sites = [qis.Site.of(f"site {i}", site(i).issuer) for i in (1, 2)]
        alone, both = qis.Roster(tuple(sites[:1])), qis.Roster(tuple(sites))
        network = qis.MemoryNetwork(now=1.8e9, overlay=overlay)
        reader = qis.MemoryTransport(network, site(1), roster=alone)
        sender = qis.MemoryTransport(network, site(2), roster=both)
        got = []
        async with reader.subscribe(SCHEME.interest(NEAR)) as wanted:
            for number, roster in enumerate((alone, both, alone)):
                reader.believe(roster)
                packet, keys = packet_about(site(2), NEAR, f"a vs b | {number}", now=1.8e9)
                await sender.publish(packet, keys)
                await network.settle()
                await network.advance(60.0)
                got.append(packet.id)
            assert (await first(wanted)).packet.id in (got[1], got[0])
            assert reader.statistics.delivered == (1 if not overlay else 2)

    asyncio.run(scenario())


def test_a_folder_admits_by_the_roster_that_is_believed_now(tmp_path):
    async def scenario():
        sites = [qis.Site.of(f"site {i}", site(i).issuer) for i in (1, 2)]
        alone, both = qis.Roster(tuple(sites[:1])), qis.Roster(tuple(sites))
        reader = qis.DirectoryTransport(tmp_path, site(1), roster=alone, poll_s=0.05)
        sender = qis.DirectoryTransport(tmp_path, site(2), roster=both)
        async with reader, sender, reader.subscribe(SCHEME.interest(NEAR)) as wanted:
            packet, keys = packet_about(site(2), NEAR)
            await sender.publish(packet, keys)
            async with asyncio.timeout(20):
                while not reader.statistics.refused:  # noqa: ASYNC110  has no event of its own
                    await asyncio.sleep(0.01)
            assert reader.statistics.refused["UntrustedIssuerError"] == 1
            reader.believe(both)
            assert (await first(wanted)).packet == packet

    asyncio.run(scenario())


@pytest.mark.parametrize("what", [b"x" * 512, None, "packet"])
def test_what_is_no_packet_is_refused_in_words(what):
    async def scenario():
        transport = qis.MemoryTransport(qis.MemoryNetwork(now=1.8e9), site(1))
        with pytest.raises(errors.InputError, match=r"must be a qis\.Packet"):
            await transport.publish(what, ())

    asyncio.run(scenario())

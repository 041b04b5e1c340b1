"""Real sockets on loopback: nodes find each other, die, come back, and lose nothing."""

import asyncio
import contextlib
import logging
import socket
import time

import pytest

import qis
from qis.errors import InputError, TransportError
from tests._builders import effect, signed, site, until

SCHEME = qis.VectorScheme(dimensions=4, bands=6)
NEAR = [1.0, 0.5, -0.2, 0.1]
ROSTER = qis.Roster.open()
WITHIN_S = 40


def packet_of(identity, question="a vs b | death"):
    at, outcome = time.time(), effect(question=question)
    packet = signed(identity, outcome, scheme=SCHEME, about=NEAR, at=at, lifetime_s=3600)
    return packet, SCHEME.routing_keys(NEAR)


async def publish(node, number, question="a vs b | death"):
    packet, keys = packet_of(site(number), question)
    await node.publish(packet, keys)
    return packet.id


async def collect(deliveries, wanted):
    """Ids that came until all wanted ones have."""
    got = []
    async with asyncio.timeout(WITHIN_S):
        async for delivery in deliveries:
            got.append(delivery.packet.id)
            if wanted <= set(got):
                return got
    raise AssertionError("the subscription ended")


def silent(node):
    """Let a node die: its socket is gone and says nothing."""
    node._socket._loop.remove_reader(node._socket._socket.fileno())
    node._node.leave = lambda now: None
    node._node.datagrams = list


def test_twelve_nodes_that_start_at_once_reach_each_other():
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            first = await stack.enter_async_context(qis.UDPTransport(site(1), roster=ROSTER))
            nodes = [first]
            for number in range(2, 13):
                node = qis.UDPTransport(site(number), roster=ROSTER, bootstrap=[first.address])
                nodes.append(await stack.enter_async_context(node))
            inboxes = [
                await stack.enter_async_context(node.subscribe(SCHEME.interest(NEAR)))
                for node in nodes
            ]
            sent = [await publish(node, i + 1) for i, node in enumerate(nodes)]
            got = await asyncio.gather(
                *(collect(inbox, set(sent) - {sent[i]}) for i, inbox in enumerate(inboxes))
            )
            assert all(len(ids) == len(set(ids)) == 11 for ids in got)
            assert all([await node.flush(20.0) for node in nodes])
            assert sum(nodes[3].statistics.hops.values()) == 11
            assert all(node.statistics.refused["malformed"] == 0 for node in nodes)

    asyncio.run(scenario())


def test_the_first_node_dies_and_a_late_one_still_hears_what_it_had_said():
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            first = qis.UDPTransport(site(1), roster=ROSTER)
            await first.__aenter__()
            nodes = []
            for number in range(2, 7):
                node = qis.UDPTransport(site(number), roster=ROSTER, bootstrap=[first.address])
                nodes.append(await stack.enter_async_context(node))
            await until(lambda: first.peers == 5)
            sent = await publish(first, 1)
            assert await first.flush(20.0)
            silent(first)
            await first.aclose()
            peers = [node.address for node in nodes[:2]]
            late = qis.UDPTransport(site(9), roster=ROSTER, bootstrap=peers)
            await stack.enter_async_context(late)
            deliveries = await stack.enter_async_context(late.subscribe(SCHEME.interest(NEAR)))
            assert await collect(deliveries, {sent}) == [sent]

    asyncio.run(scenario())


def test_a_node_that_comes_back_elsewhere_is_found_there():
    async def scenario():
        async with (
            qis.UDPTransport(site(1), roster=ROSTER) as first,
            qis.UDPTransport(site(2), roster=ROSTER, bootstrap=[first.address]) as second,
        ):
            old = qis.UDPTransport(site(3), roster=ROSTER, bootstrap=[first.address])
            await old.__aenter__()
            await until(lambda: old.peers == 2)
            silent(old)
            await old.aclose()
            back = qis.UDPTransport(site(3), roster=ROSTER, bootstrap=[second.address])
            async with back, back.subscribe(SCHEME.interest(NEAR)) as deliveries:
                sent = await publish(first, 1)
                assert await collect(deliveries, {sent}) == [sent]

    asyncio.run(scenario())


def test_the_cache_is_enough_to_come_back(tmp_path, caplog):
    cache = tmp_path / "peers"

    async def scenario():
        async with qis.UDPTransport(site(1), roster=ROSTER) as first:
            node = qis.UDPTransport(site(2), roster=ROSTER, bootstrap=[first.address], cache=cache)
            async with node:
                await until(lambda: node.peers == 1)
            assert cache.read_text().strip() == first.address
            cache.write_text(f"{'x' * 5000}\n{first.address}\n")
            with caplog.at_level(logging.WARNING, logger="qis.transport.udp"):
                async with qis.UDPTransport(site(2), roster=ROSTER, cache=cache) as again:
                    await until(lambda: again.peers == 1)
            assert "left out" in caplog.text
            cache.write_bytes(b"\xff\xfe\x00")
            async with qis.UDPTransport(site(2), roster=ROSTER, cache=cache) as alone:
                assert alone.peers == 0
            assert "cannot be read" in caplog.text

    asyncio.run(scenario())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["peers"]


def test_a_bootstrap_peer_that_is_not_there_yet_is_called_again():
    async def scenario():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
        name = f"{site(1).issuer}@127.0.0.1:{port}"
        async with (
            qis.UDPTransport(site(2), roster=ROSTER, bootstrap=[name]) as early,
            early.subscribe(SCHEME.interest(NEAR)) as deliveries,
        ):
            assert not await early.flush(0.05)
            async with qis.UDPTransport(site(1), roster=ROSTER, bind=("127.0.0.1", port)) as first:
                sent = await publish(first, 1)
                assert await collect(deliveries, {sent}) == [sent]

    asyncio.run(scenario())


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6():
    async def scenario():
        async with (
            qis.UDPTransport(site(1), roster=ROSTER, bind=("::1", 0)) as first,
            qis.UDPTransport(
                site(2), roster=ROSTER, bind=("::1", 0), bootstrap=[first.address]
            ) as second,
            second.subscribe(SCHEME.interest(NEAR)) as deliveries,
        ):
            assert "@[::1]:" in first.address
            sent = await publish(first, 1)
            assert await collect(deliveries, {sent}) == [sent]

    asyncio.run(scenario())


def test_a_stranger_to_the_roster_gets_nowhere():
    async def scenario():
        roster = qis.Roster(tuple(qis.Site.of(f"site {i}", site(i).issuer) for i in (1, 2)))
        async with (
            qis.UDPTransport(site(1), roster=roster) as first,
            qis.UDPTransport(site(2), roster=roster, bootstrap=[first.address]) as second,
            first.subscribe(SCHEME.interest(NEAR)) as deliveries,
        ):
            await until(lambda: second.peers == 1)
            stranger = qis.UDPTransport(site(3), roster=ROSTER, bootstrap=[first.address])
            async with stranger:
                await publish(stranger, 3)
                assert not await stranger.flush(0.5)
                sent = await publish(second, 2)
                assert await collect(deliveries, {sent}) == [sent]
                assert stranger.peers == 0
            assert (first.peers, second.peers) == (1, 1)
            assert first.statistics.refused["unknown_issuer"] > 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "peer", ["nobody", "ab@127.0.0.1:1", f"{'a' * 64}@example.org:1", f"{'a' * 64}@127.0.0.1:0"]
)
def test_what_is_no_peer_is_refused(peer):
    with pytest.raises(InputError):
        qis.UDPTransport(site(1), roster=ROSTER, bootstrap=[peer])


def test_a_port_that_is_taken_says_so():
    async def scenario():
        async with qis.UDPTransport(site(1), roster=ROSTER) as first:
            port = int(first.address.rpartition(":")[2])
            with pytest.raises(TransportError, match=f"port {port}"):
                await qis.UDPTransport(
                    site(2), roster=ROSTER, bind=("127.0.0.1", port)
                ).__aenter__()

    asyncio.run(scenario())


def test_who_is_put_on_the_roster_is_let_in_and_who_is_taken_off_is_out():
    async def scenario():
        sites = [qis.Site.of(f"site {i}", site(i).issuer) for i in (1, 2)]
        alone, both = qis.Roster(tuple(sites[:1])), qis.Roster(tuple(sites))
        async with (
            qis.UDPTransport(site(1), roster=alone) as first,
            first.subscribe(SCHEME.interest(NEAR)) as deliveries,
            qis.UDPTransport(site(2), roster=both, bootstrap=[first.address]) as second,
        ):
            early = await publish(second, 2)
            await until(lambda: first.statistics.refused["unknown_issuer"] > 0)
            assert first.peers == 0
            first.believe(both)
            assert await collect(deliveries, {early}) == [early]
            await until(lambda: second.peers == first.peers == 1)
            first.believe(alone)
            assert first.peers == 0
            await publish(second, 2, "c vs d | death")
            assert not await second.flush(1.0)
            assert first.statistics.delivered == 1

    asyncio.run(scenario())

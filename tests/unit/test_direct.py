"""Direct mode: in a small closed roster every packet goes to every member, once, and is kept."""

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path

import pytest

import qis
from qis.direct import DirectNode
from qis.direct.frames import MAGIC, PacketFrame, datagrams_of, encode
from qis.overlay.node import OverlayNode
from qis.testing import check_transport
from qis.transport._direct import DirectMember
from qis.transport._modes import BothModes
from qis.transport.reception import Reception
from tests._builders import signed, until

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=4)
NEAR, FAR = [1.0, 0.5, -0.2, 0.1], [-1.0, -0.5, 0.2, -0.1]
SITES = [qis.Identity.from_seed(bytes([7, n]) * 16) for n in range(24)]


def roster_of(identities):
    return qis.Roster(
        tuple(qis.Site.of(f"site {n}", each.issuer) for n, each in enumerate(identities))
    )


def packet_of(identity, question="q", about=NEAR, *, at=NOW, keys=None):
    options = {} if keys is None else {"routing_keys": keys}
    outcome = qis.Counts(question=question, events=30, total=200)
    return signed(identity, outcome, scheme=SCHEME, about=about, at=at, **options)


@asynccontextmanager
async def memory(identities):
    network = qis.MemoryNetwork(seed=3, overlay=True, loss=0.05, duplicate=0.3, reorder=0.3)
    roster = roster_of(identities)
    yield [qis.MemoryTransport(network, each, roster=roster) for each in identities]


@asynccontextmanager
async def udp(identities):
    roster = roster_of(identities)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(qis.UDPTransport(identities[0], roster=roster))
        others = [
            await stack.enter_async_context(
                qis.UDPTransport(each, roster=roster, bootstrap=[first.address])
            )
            for each in identities[1:]
        ]
        yield [first, *others]


@pytest.mark.parametrize("network", [memory, udp])
def test_a_closed_roster_keeps_the_contract_of_transports(network, faults):
    faults.allow("reception.", "overlay.")
    asyncio.run(check_transport(network))


def test_the_roster_alone_decides_the_mode():
    some = roster_of(SITES[:2])
    assert some.is_direct
    assert not qis.Roster.open().is_direct
    many = [qis.Identity.from_seed(n.to_bytes(32)).issuer for n in range(129)]
    assert qis.Roster(tuple(qis.Site.of(str(k), k) for k in many[:128])).is_direct
    assert not qis.Roster(tuple(qis.Site.of(str(k), k) for k in many)).is_direct


async def settled(network, transports):
    for each in transports:
        await each.flush(1.0)
    await network.settle()


def network_of(count, **faults):
    network = qis.MemoryNetwork(now=NOW, overlay=True, **faults)
    roster = roster_of(SITES[:count])
    return network, [qis.MemoryTransport(network, each, roster=roster) for each in SITES[:count]]


def has(transport):
    """Ids of all live packets that a member keeps."""
    node = transport._carrier.node
    member = node if isinstance(node, DirectMember) else node.direct
    return {member.node.store.get(short).id for short in member.node.store.between(*ENDS)}


ENDS = (bytes(8), b"\xff" * 8)


def test_every_member_keeps_every_packet_and_the_receiver_alone_matches(tmp_path):
    async def scenario():
        network, transports = network_of(5, seed=1)
        await settled(network, transports)
        packet, other = packet_of(SITES[0]), packet_of(SITES[1], about=FAR)
        async with transports[2].subscribe(SCHEME.interest(NEAR)) as deliveries:
            before = transports[3].statistics.bytes_received
            await settled(network, transports)
            assert transports[3].statistics.bytes_received == before  # nobody is told of it
            before = transports[0].statistics.bytes_sent
            await transports[0].publish(packet, SCHEME.routing_keys(NEAR))
            await transports[1].publish(other, SCHEME.routing_keys(FAR))
            await settled(network, transports)
            delivery = await anext(deliveries)
            assert (delivery.packet, delivery.hops, delivery.routing_keys) == (packet, 1, ())
            assert transports[2].statistics.delivered == 1
        assert all(has(each) == {packet.id, other.id} for each in transports)
        holding = transports[0].holding(packet.id)
        assert holding.is_held
        assert holding.holders == 4
        # Once to each member: neither it nor its keys have travelled a second time.
        assert transports[0].statistics.bytes_sent - before < 4 * 600
        return [each.statistics.duplicates for each in transports]

    assert sum(asyncio.run(scenario())) == 0


def test_neither_interests_nor_routing_keys_travel(monkeypatch):
    sent = []
    genuine = DirectNode.datagrams

    def heard(self, now):
        found = genuine(self, now)
        sent.extend(data for data, _, _ in found)
        return found

    monkeypatch.setattr(DirectNode, "datagrams", heard)

    async def scenario():
        network, transports = network_of(3, seed=1)
        async with transports[1].subscribe(SCHEME.interest(NEAR)):
            await transports[0].publish(packet_of(SITES[0]), SCHEME.routing_keys(NEAR))
            await settled(network, transports)

    asyncio.run(scenario())
    everything = b"".join(sent)
    assert bytes(packet_of(SITES[0]))[:446] in everything
    assert all(data.startswith(MAGIC) for data in sent)
    assert not any(key in everything for key in SCHEME.routing_keys(NEAR))


def test_who_comes_late_or_was_away_catches_up_by_comparing():
    async def scenario():
        network, transports = network_of(6, seed=2, loss=0.05)
        late = transports.pop()
        await late.aclose()
        sent = {packet_of(SITES[0], f"q{n}") for n in range(100)}
        for packet in sent:
            await transports[0].publish(packet, SCHEME.routing_keys(NEAR))
        await settled(network, transports)
        network.partition(transports[:3], transports[3:])
        more = {packet_of(SITES[1], f"more {n}") for n in range(20)}
        for packet in more:
            await transports[1].publish(packet, SCHEME.routing_keys(NEAR))
        await network.advance(120.0)  # the two sides take each other for silent
        assert not has(transports[4]) & {each.id for each in more}
        network.heal()
        newcomer = qis.MemoryTransport(network, SITES[5], roster=roster_of(SITES[:6]))
        await network.advance(700.0)
        everything = {each.id for each in sent | more}
        for each in (*transports, newcomer):
            assert has(each) == everything
        async with newcomer.subscribe(SCHEME.interest(NEAR)) as deliveries:
            got = {(await anext(deliveries)).packet for _ in everything}
        assert got == sent | more

    asyncio.run(scenario())


def test_nothing_is_held_that_only_the_own_site_has():
    two = qis.Roster(
        (
            qis.Site.of("own", SITES[0].issuer, SITES[1].issuer),
            qis.Site.of("other", SITES[2].issuer),
        )
    )

    async def scenario():
        network = qis.MemoryNetwork(now=NOW, overlay=True, seed=1)
        own, twin = (qis.MemoryTransport(network, each, roster=two) for each in SITES[:2])
        packet = packet_of(SITES[0])
        await own.publish(packet, SCHEME.routing_keys(NEAR))
        assert not await own.flush(1.0)
        holding = own.holding(packet.id)
        assert not holding.is_held
        assert "1 of this site" in holding.reason
        assert has(twin) == {packet.id}
        other = qis.MemoryTransport(network, SITES[2], roster=two)
        await network.advance(60.0)
        assert await own.flush(1.0)
        assert has(other) == {packet.id}

    asyncio.run(scenario())


def test_an_issuer_has_its_quota_and_no_more_and_all_keep_the_same(monkeypatch):
    monkeypatch.setattr("qis.direct.store.RETAINED_LIMIT", 30)

    async def scenario():
        network, transports = network_of(3, seed=1)
        await settled(network, transports)
        flood = [packet_of(SITES[0], f"q{n}", at=NOW + n) for n in range(25)]
        quiet = packet_of(SITES[1])
        await transports[1].publish(quiet, SCHEME.routing_keys(NEAR))
        for packet in flood:
            await transports[0].publish(packet, SCHEME.routing_keys(NEAR))
        await settled(network, transports)
        newest = {each.id for each in sorted(flood, key=lambda each: each.sequence)[-10:]}
        assert all(has(each) == newest | {quiet.id} for each in transports)
        told = [key for _, key in transports[2].notices.counts if "quota" in key]
        assert told
        assert str(SITES[0].issuer) in told[0]

    asyncio.run(scenario())


def test_a_stranger_is_not_heard_whatever_it_says():
    async def scenario():
        network, transports = network_of(3, seed=1)
        await settled(network, transports)
        node = transports[0]._carrier.node
        stranger = qis.Identity.generate().issuer.key
        packet = packet_of(SITES[1])
        (data,) = datagrams_of([encode(PacketFrame(1, bytes(packet)), 1)])
        for sender in (stranger, None):
            node.receive_datagrams([(data, bytes(18), sender)], network.now)
        assert not has(transports[0])
        assert transports[0].statistics.refused["sender"] == 2
        node.receive_datagrams([(data, bytes(18), SITES[1].issuer.key)], network.now)
        assert has(transports[0]) == {packet.id}

    asyncio.run(scenario())


def test_while_rosters_differ_in_mode_packets_go_both_ways():
    """One site has the roster with 129 sites already, the others the one with three."""
    many = [qis.Identity.from_seed(n.to_bytes(32)).issuer for n in range(126)]
    big = qis.Roster(roster_of(SITES[:3]).sites + tuple(qis.Site.of(str(key), key) for key in many))
    assert not big.is_direct

    async def scenario():
        network, transports = network_of(3, seed=4)
        await settled(network, transports)
        before = packet_of(SITES[1], "before")
        await transports[1].publish(before, SCHEME.routing_keys(NEAR))
        await settled(network, transports)
        transports[0].believe(big)
        assert isinstance(transports[0]._carrier.node, BothModes)
        await network.advance(5.0)
        async with (
            transports[0].subscribe(SCHEME.interest(NEAR)) as here,
            transports[2].subscribe(SCHEME.interest(NEAR)) as there,
        ):
            own, theirs = packet_of(SITES[0], "own"), packet_of(SITES[2], "theirs")
            await transports[0].publish(own, SCHEME.routing_keys(NEAR))
            await transports[2].publish(theirs, SCHEME.routing_keys(NEAR))
            await network.advance(60.0)
            assert {(await anext(here)).packet for _ in range(2)} == {before, theirs}
            assert {(await anext(there)).packet for _ in range(2)} == {before, own}
        for each in transports[1:]:
            each.believe(big)
        await network.advance(60.0)
        keyed = [isinstance(each._carrier.node, BothModes) for each in transports]
        assert keyed == [True] * 3
        transports[0]._carrier.node.until = network.now + 1.0  # instead of a week of virtual time
        await network.advance(45.0)
        assert isinstance(transports[0]._carrier.node, OverlayNode)

    asyncio.run(scenario())


def test_a_peer_of_another_version_is_named_in_health_for_a_while():
    async def scenario():
        async with udp(SITES[:2]) as (first, second):
            await until(lambda: first.peers == second.peers == 1)
            channels, key = second._channels, SITES[0].issuer.key
            address = first._node.contact.record.address
            channels.send(b"qid\x09from later", address, key, second._clock.steady())
            second._send()
            await until(lambda: "other_version" in codes(first))
            assert "site 1" in str(first.health)
            first._note_versions((), first._clock.steady() + 601.0)
            assert "other_version" not in codes(first)

    asyncio.run(scenario())


def test_what_waits_for_the_application_and_fails_once_is_offered_again(monkeypatch, faults):
    """It was acknowledged, so nobody would send it again."""
    faults.expect("direct.undelivered: ")
    monkeypatch.setattr("qis.transport.inbox.INBOX_LIMIT", 1)
    former, failed = Reception.receive, []

    def receive(self, *given, **options):
        if not failed:
            failed.append(given)
            raise RuntimeError
        return former(self, *given, **options)

    async def scenario():
        network, (writer, reader) = network_of(2)
        async with reader.subscribe(SCHEME.interest(NEAR)) as inbox, asyncio.timeout(10.0):
            for number in range(4):
                packet = packet_of(SITES[0], f"q{number}")
                await writer.publish(packet, SCHEME.routing_keys(NEAR))
            await network.advance(0.1)
            monkeypatch.setattr(Reception, "receive", receive)
            read = set()
            while len(read) < 4:
                read.add((await anext(inbox)).packet.outcome.question)
                await network.advance(1.0)
        assert failed

    asyncio.run(scenario())


def codes(transport):
    return [reason.code for reason in transport.health.reasons]


def test_every_limit_on_the_page_is_in_the_code():
    page = Path(__file__).resolve().parents[2].joinpath("docs", "direct.md").read_text("utf-8")
    names = re.findall(r"^\| .* \| `((?:direct|relay)\.[\w.]+)` \|", page, re.MULTILINE)
    assert len(names) > 8
    for name in names:
        parts = name.split(".")
        module = import_module(f"qis.{parts[0]}.{parts[1]}")
        if len(parts) == 3:
            assert isinstance(getattr(module, parts[2]), (int, float)), name

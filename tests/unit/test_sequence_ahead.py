"""A packet numbered far ahead of its own issue time: nobody keeps it, and that is told."""

import asyncio

import pytest

import qis
from qis.packet import check_numbered, is_numbered_ahead
from qis.testing import VirtualClock
from tests._builders import effect, signed

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2)]


def numbered(*, sequence, site=0, estimate=0.1):
    options = {"at": NOW, "sequence": sequence}
    return signed(SITES[site], effect(estimate, n=200), scheme=SCHEME, about=ABOUT, **options)


@pytest.mark.parametrize(
    ("sequence", "is_ahead"),
    [
        (2**32, False),
        ((NOW + 300) * 10**6, False),
        ((NOW + 300) * 10**6 + 1, True),
        (2**64 - 1, True),
    ],
)
def test_the_bound(sequence, is_ahead):
    assert is_numbered_ahead(sequence, NOW) is is_ahead
    packet = numbered(sequence=sequence)
    assert qis.Packet.parse(bytes(packet), now=NOW) == packet  # the format stays
    if not is_ahead:
        check_numbered(packet.sequence, packet.issued_at)
        return
    with pytest.raises(qis.SequenceAheadError) as caught:
        check_numbered(packet.sequence, packet.issued_at)
    assert caught.value.limit == (NOW + 300) * 10**6


def test_the_loop_tells_each_site_once_and_goes_on():
    async def scenario():
        network, told = qis.MemoryNetwork(now=NOW), []
        stranger = qis.MemoryTransport(network, SITES[0])
        loop = qis.SynthesisLoop(
            SITES[1],
            qis.MemoryTransport(network, SITES[1]),
            SCHEME,
            interest=SCHEME.interest(ABOUT),
            clock=VirtualClock(float(NOW)),
            on_event=told.append,
        )
        async with loop:
            for estimate in (0.1, 0.2, 0.3):
                ahead = numbered(sequence=2**64 - 1, estimate=estimate)
                await stranger.publish(ahead, SCHEME.routing_keys(ABOUT))
            good = numbered(sequence=None)
            await stranger.publish(good, SCHEME.routing_keys(ABOUT))
            async with asyncio.timeout(20):
                async for synthesis in loop:
                    if synthesis.sites:
                        break
            assert synthesis.sites[0].packets == (good,)
            assert loop.statistics.admissions["sequence ahead"] == 3
        (event,) = [event for event in told if event.kind == "refusal"]
        assert str(SITES[0].issuer) in event.subject
        assert "recover its clock" in event.reason

    asyncio.run(scenario())


def test_a_holder_refuses_it_and_tells():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW, overlay=True)
        nodes = [qis.MemoryTransport(network, site) for site in SITES]
        told = []
        nodes[1].notices.listen(told.append)
        await nodes[0].publish(numbered(sequence=2**64 - 1), SCHEME.routing_keys(ABOUT))
        await network.advance(30.0)
        assert nodes[1].statistics.refused["SequenceAheadError"] > 0
        refusals = [notice.subject for notice in told if notice.kind == "refusal"]
        assert any(str(SITES[0].issuer) in subject for subject in refusals)

    asyncio.run(scenario())

"""Whoever subscribes late gets all, however many they are and however slowly it reads."""

import asyncio

import pytest

import qis
from qis.about import Interest
from qis.overlay import message_store
from qis.transport import inbox as inbox_module
from tests._builders import site

SCHEME = qis.VectorScheme(dimensions=2)
NOW = 1_800_000_000
STUDY = qis.Study(question="drug vs placebo | death", measure="OR", model="fixed")
MANY = 4_096 + 300


def packets(count):
    return [
        qis.Packet.sign(
            site(1_000 + number),
            outcome=qis.Effect(study=STUDY, measure="OR", estimate=0.1, standard_error=0.2),
            fingerprint=SCHEME.fingerprint([1.0, 0.5]),
            issued_at=NOW,
            lifetime_s=86_400,
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def many():
    """Of as many issuers, all of one study."""
    return packets(MANY)


def of_study():
    about = SCHEME.interest([0.0, -1.0])
    return Interest(
        fingerprint=about.fingerprint,
        routing_keys=about.routing_keys,
        min_similarity=1.0,
        studies=(STUDY.id,),
    )


async def read(deliveries, count):
    got = [(await anext(deliveries)).packet.id for _ in range(count)]
    assert len(set(got)) == count
    return set(got)


@pytest.mark.parametrize("overlay", [False, True], ids=["direct", "overlay"])
def test_a_late_subscriber_of_thousands_of_issuers_gets_all(many, overlay):
    async def scenario():
        network = qis.MemoryNetwork(now=NOW, overlay=overlay)
        nodes = [qis.MemoryTransport(network, site(number)) for number in (1, 2, 3, 4)]
        await network.settle()
        for start in range(0, MANY, 1_000):
            for packet in many[start : start + 1_000]:
                await nodes[0].publish(packet, ())
            await nodes[0].flush(1)
        late = nodes[3]
        async with late.subscribe(of_study()) as first, asyncio.timeout(120):
            await network.settle()
            ids = {packet.id for packet in many}
            taking = asyncio.create_task(read(first, MANY))
            while not taking.done():  # as the application reads, the network's time goes on
                await network.advance(1.0)
                await asyncio.sleep(0)
            assert taking.result() == ids
            # A second one on the same node begins with all that is held, one that reads late too.
            async with late.subscribe(of_study()) as second, late.subscribe(of_study()) as third:
                assert await read(second, MANY) == ids
                assert await read(third, MANY) == ids
        assert late.statistics.delivered == 3 * MANY

    asyncio.run(scenario())


def test_what_a_full_subscription_kept_out_comes_once_it_is_read_or_left(monkeypatch):
    monkeypatch.setattr(inbox_module, "INBOX_LIMIT", 10)
    sent = packets(35)

    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        one, other = (qis.MemoryTransport(network, site(number)) for number in (1, 2))
        async with other.subscribe(of_study()) as reading, asyncio.timeout(20):
            async with other.subscribe(of_study()):  # which nobody reads
                for packet in sent:
                    await one.publish(packet, ())
                await network.settle()
                assert other.statistics.dropped > 0
                got = await read(reading, 10)
            got |= await read(reading, 25)
            assert got == {packet.id for packet in sent}

    asyncio.run(scenario())


def test_what_is_held_at_most_can_all_be_handed_to_one_who_comes_late():
    assert message_store.RETAINED_LIMIT >= MANY

"""The overlay under `MemoryTransport`: real packets, virtual time, every fault."""

import asyncio
from contextlib import AsyncExitStack

import pytest

import qis
from tests._builders import effect, signed, site

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=4, bands=8)
NEAR = [1.0, 0.5, -0.2, 0.1]
FAR = [-1.0, -0.5, 0.2, -0.1]


def packet_of(identity, question="a vs b | death", about=NEAR, lifetime_s=86_400):
    outcome = effect(question=question)
    packet = signed(identity, outcome, scheme=SCHEME, about=about, at=NOW, lifetime_s=lifetime_s)
    return packet, SCHEME.routing_keys(about)


class World:
    """Some nodes of a network, and what each has been given."""

    def __init__(self, count, **faults):
        self.network = qis.MemoryNetwork(now=NOW, overlay=True, **faults)
        self.stack = AsyncExitStack()
        self.nodes = []
        self.got = []
        self.readers = []
        self.count = count

    def add(self):
        number = len(self.nodes) + 1
        self.nodes.append(qis.MemoryTransport(self.network, site(number)))
        self.got.append([])

    async def listen(self, index, about=NEAR):
        interest = SCHEME.interest(about)
        deliveries = await self.stack.enter_async_context(self.nodes[index].subscribe(interest))

        async def read():
            async for delivery in deliveries:
                self.got[index].append(delivery.packet.id)

        self.readers.append(asyncio.create_task(read()))

    async def settle(self):
        await self.network.settle()
        await asyncio.sleep(0)

    async def __aenter__(self):
        for _ in range(self.count):
            self.add()
        return self

    async def __aexit__(self, *_):
        for reader in self.readers:
            reader.cancel()
        await self.stack.aclose()


def run(scenario):
    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_grows_while_all_publish_and_subscribe_loses_nothing(seed):
    """No refresh passes, and all of it happens at once: the worst moment of any network."""

    async def scenario():
        async with World(1, seed=seed, duplicate=0.2, reorder=0.2) as world:
            sent = []
            for index in range(24):
                if index:
                    world.add()
                await world.listen(index)
                packet, keys = packet_of(site(index + 1))
                await world.nodes[index].publish(packet, keys)
                sent.append(packet.id)
                if index % 5 == seed:
                    await world.settle()
            await world.settle()
            assert world.network.now < NOW + 60.0
            for index, got in enumerate(world.got):
                assert sorted(got) == sorted(set(sent) - {sent[index]})

    run(scenario)


def test_loss_is_made_good_by_retries_and_repetition():
    async def scenario():
        async with World(12, seed=4, loss=0.2, duplicate=0.1) as world:
            for index in range(12):
                await world.listen(index)
            await world.settle()
            packet, keys = packet_of(site(1))
            await world.nodes[0].publish(packet, keys)
            await world.settle()
            await world.network.advance(700.0)
            await world.settle()
            assert all(got == [packet.id] for got in world.got[1:])
            assert world.got[0] == []

    run(scenario)


def test_who_shares_no_key_hears_nothing():
    async def scenario():
        async with World(10, seed=5) as world:
            for index in range(10):
                await world.listen(index, NEAR if index % 2 else FAR)
            packet, keys = packet_of(site(2))
            await world.nodes[1].publish(packet, keys)
            await world.settle()
            far = [world.nodes[index].statistics for index in range(0, 10, 2)]
            assert all(not world.got[index] for index in range(0, 10, 2))
            assert all(s.delivered == s.duplicates == s.unmatched == 0 for s in far)
            assert all(world.got[index] == [packet.id] for index in (3, 5, 7, 9))

    run(scenario)


def test_a_late_subscriber_hears_of_an_hour_ago_though_the_publisher_and_half_are_dead():
    async def scenario():
        async with World(16, seed=6) as world:
            await world.settle()
            packets = [packet_of(site(1), f"question {number}") for number in range(20)]
            for packet, keys in packets:
                await world.nodes[0].publish(packet, keys)
            assert await world.nodes[0].flush(10.0)
            await world.network.advance(3_600.0)
            for index in (0, 2, 4, 6, 8, 10):  # more than a third, the publisher among them
                world.network.kill(world.nodes[index])
            await world.listen(15)
            await world.settle()
            assert len(world.got[15]) >= 19
            assert len(set(world.got[15])) == len(world.got[15])

    run(scenario)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_each_side_of_a_partition_goes_on_and_they_meet_within_two_refreshes(seed):
    async def scenario():
        async with World(14, seed=seed) as world:
            for index in range(14):
                await world.listen(index)
            await world.settle()
            world.network.partition(world.nodes[:7], world.nodes[7:])
            await world.network.advance(800.0)  # each side finds its own holders
            packet, keys = packet_of(site(1))
            await world.nodes[0].publish(packet, keys)
            await world.settle()
            assert all(got == [packet.id] for got in world.got[1:7])
            assert all(got == [] for got in world.got[7:])
            await world.network.advance(300.0)
            world.network.heal()
            await world.network.advance(1_440.0)
            await world.settle()
            assert all(got == [packet.id] for got in world.got[1:])
            # Not by the luck of who holds which key: what is new crosses at once.
            newer, keys = packet_of(site(1), "a vs b | stroke")
            await world.nodes[0].publish(newer, keys)
            await world.settle()
            assert all(got == [packet.id, newer.id] for got in world.got[1:])

    run(scenario)


def test_killed_nodes_are_worked_around():
    async def scenario():
        async with World(15, seed=8) as world:
            for index in range(15):
                await world.listen(index)
            await world.settle()
            for index in (3, 6, 9):
                world.network.kill(world.nodes[index])
            packet, keys = packet_of(site(1))
            await world.nodes[0].publish(packet, keys)
            await world.settle()
            alive = [index for index in range(1, 15) if index not in (3, 6, 9)]
            assert all(world.got[index] == [packet.id] for index in alive)

    run(scenario)


def test_one_seed_gives_one_history():
    async def scenario(record):
        async with World(8, seed=9, loss=0.1, duplicate=0.2, reorder=0.2) as world:
            for index in range(8):
                await world.listen(index)
            packet, keys = packet_of(site(1))
            await world.nodes[0].publish(packet, keys)
            await world.settle()
            record.append((world.network.now, [node.statistics for node in world.nodes]))

    records = []
    for _ in range(2):
        asyncio.run(scenario(records))
    assert records[0] == records[1]


def test_whoever_leaves_hands_nothing_down_the_drain():
    async def scenario():
        async with World(9, seed=10) as world:
            await world.settle()
            packet, keys = packet_of(site(1))
            await world.nodes[0].publish(packet, keys)
            assert await world.nodes[0].flush(10.0)
            await world.nodes[0].aclose()
            await world.settle()
            await world.listen(8)
            await world.settle()
            assert world.got[8] == [packet.id]

    run(scenario)


def test_more_interests_than_one_subscription_holds():
    async def scenario():
        async with World(6, seed=11) as world:
            abouts = [[1.0, number - 4.0, 0.3 * number, -0.2] for number in range(9)]
            for about in abouts:
                await world.listen(5, about)
            await world.settle()
            for number, about in enumerate(abouts):
                packet, keys = packet_of(site(1), f"question {number}", about)
                await world.nodes[0].publish(packet, keys)
            await world.settle()
            assert world.nodes[5].statistics.unmatched == 0
            assert len(set(world.got[5])) == len(abouts)

    run(scenario)

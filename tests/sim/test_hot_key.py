"""A key that half the network wants, in whole networks of the real core."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

import qis
from qis.overlay import relaying
from qis.overlay.subscriber import REFRESH_S
from qis.simulation import Simulation

HOT = b"hot key!"
SUBSCRIBERS = 500


def network_of(nodes, seed):
    """The first `SUBSCRIBERS` of the nodes want the key, and its holders have known it for long."""
    wanted = [[HOT] if node < SUBSCRIBERS else [] for node in range(nodes)]
    network = Simulation.build(wanted, joins="tables", seed=seed)
    for node in network.nodes:
        first_at = node.rendezvous.subscription_table._first_at
        first_at.update({key: at - REFRESH_S for key, at in first_at.items()})
    network.reset()
    return network


def holders_of(network):
    return {i for i, node in enumerate(network.nodes) if node.rendezvous.subscription_table.keys()}


def publish(network, publishers):
    """A packet of each, half a second apart."""
    packets = []
    for publisher in publishers:
        packets.append(network.publish(publisher, [HOT]))
        network.run(0.5)
    return packets


def share_of_living(network, packets):
    living = set(range(SUBSCRIBERS)) - network.dead
    found = sum(len(network.receivers(packet) & living) for packet in packets)
    return found / (len(living) * len(packets))


def test_all_receive_it_once_and_nobody_sends_most_of_it():
    network = network_of(2_000, seed=1)
    packets = publish(network, range(1_990, 2_000))
    network.run(5.0)
    for packet in packets:
        publication = network.publications[packet]
        assert publication.copies == dict.fromkeys(range(SUBSCRIBERS), 1)
        assert publication.delivered == set(range(SUBSCRIBERS))
        assert max(publication.hops.values()) == 3  # to the holder, the relay, the subscriber
    assert network.report().busiest_share <= 0.06
    assert not any(node.refused for node in network.nodes)


@pytest.mark.parametrize("seed", range(3))
def test_with_dead_relays_and_loss_all_living_receive_it(seed):
    network = network_of(600, seed)
    publishers = range(595, 600)
    network.loss = 0.05
    mortal = sorted(set(range(600)) - set(publishers))
    network.kill(random.Random(seed).sample(mortal, 120))
    packets = publish(network, publishers)
    network.run(24.0)
    # A packet and its two repetitions are all lost, here or there, once in a thousand times.
    assert share_of_living(network, packets) >= 0.998
    network.run(30.0)
    assert share_of_living(network, packets) == 1.0


def test_relays_that_drop_it_are_made_up_for_by_the_repetition():
    once, twice = [], []
    for seed in range(3):
        network = network_of(600, seed)
        publishers = range(595, 600)
        honest = holders_of(network).union(publishers)
        network.drop_at(random.Random(seed).sample(sorted(set(range(600)) - honest), 60))
        packets = publish(network, publishers)
        network.run(24.0)
        once.append(share_of_living(network, packets))
        network.run(30.0)
        twice.append(share_of_living(network, packets))
    assert 0.8 <= sum(once) / 3 <= 0.95  # one of ten relays drops it, and no second key helps
    assert sum(twice) / 3 >= 0.97


def test_real_packets_come_to_each_application_once(monkeypatch):
    monkeypatch.setattr(relaying, "DIRECT_LIMIT", 4)
    scheme = qis.VectorScheme(dimensions=4, bands=8)
    about = [1.0, 0.5, -0.2, 0.1]
    sites = [qis.Identity.from_seed(number.to_bytes(32)) for number in range(24)]
    keys = scheme.routing_keys(about)
    packet = qis.Packet.sign(
        sites[0],
        outcome=qis.Effect(question="a vs b", measure="OR", estimate=0.1, standard_error=0.1),
        fingerprint=scheme.fingerprint(about),
        issued_at=1_800_000_000,
        lifetime_s=86_400,
        routing_keys=keys,
    )

    async def scenario():
        world = qis.MemoryNetwork(now=1_800_000_000, overlay=True, seed=1)
        nodes = [qis.MemoryTransport(world, site) for site in sites]
        got = [[] for _ in nodes]

        async def read(deliveries, index):
            async for delivery in deliveries:
                got[index].append((delivery.packet.id, delivery.hops))

        async with AsyncExitStack() as stack, asyncio.TaskGroup() as readers:
            tasks = []
            for index, node in enumerate(nodes[1:], start=1):
                interest = scheme.interest(about)
                deliveries = await stack.enter_async_context(node.subscribe(interest))
                tasks.append(readers.create_task(read(deliveries, index)))
            await world.settle()
            await nodes[0].publish(packet, keys)
            await world.settle()
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
        return got

    got = asyncio.run(scenario())
    assert [[packet_id for packet_id, _ in each] for each in got[1:]] == [[packet.id]] * 23
    assert max(hops for each in got for _, hops in each) == 3  # directly it were 2

"""Whole networks of the real core in virtual time."""

import random

import pytest

from qis.simulation import Simulation


def topics(size, each, *, of, seed=0):
    rng = random.Random(seed)
    keys = [i.to_bytes(8) for i in range(of)]
    return [rng.sample(keys, each) for _ in range(size)]


def settled(wanted, **faults):
    network = Simulation(wanted, **faults)
    network.join_all()
    return network


def expected(wanted, publisher, keys):
    return {i for i, own in enumerate(wanted) if i != publisher and not set(own).isdisjoint(keys)}


@pytest.fixture(scope="module")
def wanted():
    return topics(60, 3, of=30)


def test_everyone_who_shares_a_key_receives_and_nobody_else(wanted):
    network = settled(wanted, seed=1)
    for publisher in range(0, 60, 7):
        keys = wanted[publisher]
        packet = network.publish(publisher, keys)
        network.run(10.0)
        assert network.receivers(packet) == expected(wanted, publisher, keys)


def test_one_seed_one_history(wanted):
    first, second = (settled(wanted, seed=5, loss=0.05, duplicate=0.05) for _ in range(2))
    packets = [network.publish(3, wanted[3]) for network in (first, second)]
    first.run(5.0)
    second.run(5.0)
    assert packets[0] == packets[1]
    assert first.publications == second.publications
    assert first.datagrams == second.datagrams


def test_late_subscribers_receive_what_was_published_before(wanted):
    network = settled(wanted, seed=2)
    packet = network.publish(0, [(99).to_bytes(8)])
    network.run(3_600.0)
    assert network.receivers(packet) == set()
    network.subscribe(7, ((99).to_bytes(8),))
    network.run(10.0)
    assert network.receivers(packet) == {7}
    before = network.publications[packet].copies[7]
    network.run(1_500.0)  # refreshes repeat nothing; only the publisher's own repetition comes
    assert network.publications[packet].copies[7] <= before + 2


def test_who_withdraws_receives_no_more(wanted):
    network = settled(wanted, seed=3)
    keys = wanted[0]
    for node in expected(wanted, 0, keys):
        network.subscribe(node, ())
    network.run(30.0)
    packet = network.publish(0, keys)
    network.run(10.0)
    assert network.receivers(packet) == set()


def test_with_dead_nodes_loss_and_duplication_nearly_all_receive(wanted):
    network = settled(wanted, seed=4)
    network.run(900.0)
    network.loss, network.duplicate = 0.05, 0.05
    network.kill(random.Random(0).sample(range(60), 12))
    found = due = 0
    for publisher in sorted(set(range(60)) - network.dead)[:15]:
        packet = network.publish(publisher, wanted[publisher])
        network.run(60.0)
        alive = expected(wanted, publisher, wanted[publisher]) - network.dead
        found += len(network.receivers(packet) & alive)
        due += len(alive)
    assert found / due >= 0.97  # keys of 3 holders: with one shared key at most 1 - 0.2**3


def test_after_a_partition_heals_everyone_is_reached_within_two_refreshes(wanted):
    network = settled(wanted, seed=6)
    network.partition(range(30), range(30, 60))
    network.run(1_800.0)
    network.heal()
    network.run(1_440.0)
    packet = network.publish(0, wanted[0])
    network.run(60.0)
    assert network.receivers(packet) == expected(wanted, 0, wanted[0])


def test_a_node_calls_until_its_bootstrap_peer_is_there(wanted):
    network = Simulation(wanted[:3], seed=7)
    network.kill([0])
    network.join_all()
    assert len(network.nodes[1].table) == 0
    network.dead.clear()
    network.run(30.0)
    assert len(network.nodes[1].table) > 0


def test_who_leaves_is_gone_from_the_tables_at_once(wanted):
    network = settled(wanted[:20], seed=8)
    gone = network.nodes[5]
    knew = [network.nodes[network._index[c.record.address]] for c in gone.table]
    network.leave([5])
    network.run(5.0)
    assert knew
    assert all(gone.contact.id not in node.table for node in knew)
    assert all(
        s.subscriber != gone.contact.record.key
        for node in network.nodes
        for key in wanted[5]
        for s in node.rendezvous.subscription_table.under(key, network.now)
    )


def test_keys_added_later_bring_what_was_published_under_them_before():
    old, new = (
        [(base + i).to_bytes(8) for i in range(size)] for base, size in ((100, 40), (200, 8))
    )
    network = settled([old] * 8, seed=9)
    under_old = [network.publish(0, [key]) for key in old]
    under_new = [network.publish(0, [key]) for key in new]
    network.run(1_600.0)  # refreshed since, so the old keys are known to be up to date
    assert all(2 in network.receivers(packet) for packet in under_old)
    assert not any(2 in network.receivers(packet) for packet in under_new)
    network.subscribe(2, (*old, *new))
    network.run(10.0)
    assert all(2 in network.receivers(packet) for packet in under_new)


def test_an_id_looked_for_again_costs_less_and_finds_who_has_come_since(wanted):
    network = settled(wanted, seed=10)
    target = 12345 << 200
    costs, found = [], []
    lookup_driver = network.nodes[7].lookup_driver
    lookup_driver.finished = lambda lookup: costs.append(lookup.requests)

    def look():
        lookup_driver.find(
            target, width=3, now=network.now, then=lambda who, _: found.append(who[:3])
        )
        network._flush(7)
        network.run(10.0)
        ranked = sorted((network.nodes[i] for i in network.alive()), key=distance)
        assert [c.id for c in found[-1]] == [node.contact.id for node in ranked[:3]]
        return ranked[:3]

    def distance(node):
        return node.contact.id ^ target

    before = look()
    look()
    assert costs[1] < costs[0]
    network.churn(0.5, among=set(range(60)) - {7}, over_s=60.0)
    network.run(720.0)  # the dead are silent to somebody's refresh
    assert look() != before

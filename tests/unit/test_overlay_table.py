"""The routing table: bounded, loyal to those who have been there long, replaced on death."""

import pytest

from qis.overlay.addresses import pack_address
from qis.overlay.record import Contact, NodeRecord
from qis.overlay.table import BUCKET_SIZE, RESERVE_SIZE, RoutingTable

FAR = 1 << 255


def contact(node, *, sequence=1, host="10.0.0.1"):
    record = NodeRecord(
        key=node.to_bytes(32), sequence=sequence, address=pack_address(host, 1), signature=b""
    )
    return Contact(node, record)


def test_a_full_bucket_keeps_its_oldest_and_replaces_the_dead_by_the_newest():
    table = RoutingTable(0)
    nodes = [FAR + i for i in range(BUCKET_SIZE + RESERVE_SIZE + 3)]
    added = [table.add(contact(node)) for node in nodes]
    assert added == [True] * BUCKET_SIZE + [False] * (RESERVE_SIZE + 3)
    assert sorted(c.id for c in table) == nodes[:BUCKET_SIZE]
    table.remove(nodes[0])
    assert nodes[0] not in table
    assert nodes[-1] in table
    assert len(table) == BUCKET_SIZE


def test_the_reserve_is_bounded():
    table = RoutingTable(0)
    nodes = [FAR + i for i in range(100)]
    for node in nodes:
        table.add(contact(node))
    for node in nodes:
        table.remove(node)
    assert len(table) == 0


def test_only_a_newer_record_moves_a_node():
    table = RoutingTable(0)
    table.add(contact(FAR, sequence=5, host="10.0.0.1"))
    table.add(contact(FAR, sequence=4, host="10.0.0.2"))
    assert table.get(FAR).record.address == pack_address("10.0.0.1", 1)
    table.add(contact(FAR, sequence=6, host="10.0.0.3"))
    assert table.get(FAR).record.address == pack_address("10.0.0.3", 1)


def test_a_subnet_takes_no_more_than_its_share_of_a_bucket():
    table = RoutingTable(0, subnet_limit=2)
    for i in range(5):
        table.add(contact(FAR + i, host=f"10.0.0.{i + 1}"))
    assert len(table) == 2
    assert table.add(contact(FAR + 9, host="10.0.1.1"))
    table.remove(FAR)
    assert len(table) == 3  # one in reserve replaced it


@pytest.mark.parametrize("own", [0, 1, FAR])
def test_nobody_is_in_his_own_table(own):
    table = RoutingTable(own)
    assert not table.add(contact(own))
    assert len(table) == 0

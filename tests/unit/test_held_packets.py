"""What a node keeps so that nothing is delivered twice is bounded, and nobody displaces others."""

from collections import Counter

import pytest
from hypothesis import given, strategies as st

import qis
from qis.transport import _held
from qis.transport._held import HeldPackets
from qis.transport.base import Statistics
from qis.transport.reception import Reception, Verdict
from tests._builders import effect, signed

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=4)
NEAR = [1.0, 0.5, -0.2, 0.1]


def packet_of(site, number, lifetime_s=3_600):
    outcome = effect(question=f"q {number}")
    return signed(site, outcome, scheme=SCHEME, about=NEAR, at=NOW, lifetime_s=lifetime_s)


@pytest.fixture(autouse=True)
def _little_room(monkeypatch):
    monkeypatch.setattr(_held, "HELD_LIMIT", 10)


def arrived(packet):
    return bytes(packet), (*SCHEME.routing_keys(NEAR), packet.outcome.study_id), 1


def packets_in(store, now):
    return [qis.Packet.parse(data) for data, _, _ in store.live(now)]


def test_a_flood_displaces_only_its_own_issuer():
    store = HeldPackets()
    first, *flood = [packet_of(1, 0), *(packet_of(2, number) for number in range(30))]
    for packet in (first, *flood):
        store.put(packet.id, arrived(packet))
    assert len(store) == 10
    assert packets_in(store, NOW) == [first, *flood[-9:]]
    assert first.id in store


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(3, 12))
def test_whoever_holds_no_more_than_an_equal_share_loses_nothing(issuers, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_held, "HELD_LIMIT", limit)
        store, sent = HeldPackets(), []
        for number, issuer in enumerate(issuers):
            data = bytes(10) + bytes([issuer]) * 32 + number.to_bytes(470)
            before = {packet_id: held[0] for packet_id, held in store._held.items()}
            store.put(number.to_bytes(32), (data, (), 1))
            sent.append(number.to_bytes(32))
            counts = Counter(held[10] for held in [*before.values(), data])
            for packet_id, held in before.items():
                is_kept = packet_id in store._held
                assert is_kept or counts[held[10]] > (limit - 1) // len(counts)
            assert len(store) <= limit
            assert store._of_issuer == Counter(held[0][10:42] for held in store._held.values())
        assert all(packet_id in store for packet_id in sent)  # held, or remembered


def test_what_has_expired_makes_room():
    store = HeldPackets()
    for number in range(10):
        packet = packet_of(1, number, lifetime_s=10)
        store.put(packet.id, arrived(packet))
    assert len(store.live(NOW + 9)) == 10
    assert store.live(NOW + 10) == []
    again = [packet_of(1, number) for number in range(10)]
    for packet in again:
        store.put(packet.id, arrived(packet))
        store.put(packet.id, arrived(packet))  # the same once more takes no more room
    assert packets_in(store, NOW) == again


def test_nobody_makes_an_application_get_anothers_packet_twice():
    statistics = Statistics()
    reception = Reception(qis.Roster.open(), statistics)
    mine = arrived(packet_of(1, 0))
    with reception.inbox(SCHEME.interest(NEAR), now=NOW):
        for data, keys, hops in (
            mine,
            *(arrived(packet_of(2, number)) for number in range(30)),
            mine,
        ):
            verdict = reception.receive(data, keys, hops=hops, now=NOW)
    assert verdict is Verdict.DUPLICATE
    assert (statistics.delivered, statistics.duplicates) == (31, 1)


def test_what_is_no_longer_held_is_delivered_once_and_to_whoever_subscribes_later():
    statistics = Statistics()
    reception = Reception(qis.Roster.open(), statistics)
    all_packets = [arrived(packet_of(2, number)) for number in range(30)]
    with reception.inbox(SCHEME.interest(NEAR), now=NOW):
        for _ in range(3):
            reception.receive_many(all_packets, now=NOW)
        assert (statistics.delivered, statistics.duplicates) == (30, 60)
        with reception.inbox(SCHEME.interest(NEAR), now=NOW) as later:
            assert len(reception._held) == 10
            reception.receive_many(all_packets, now=NOW)
            given = [*later._earlier, *later._waiting]
            assert len(given) == len(all_packets)
            assert {delivery.packet.id for delivery in given} == {
                qis.Packet.parse(data).id for data, _, _ in all_packets
            }


def test_the_ids_of_what_was_held_are_bounded(monkeypatch):
    monkeypatch.setattr(_held, "KNOWN_LIMIT", 5)
    store = HeldPackets()
    packets = [packet_of(1, number) for number in range(40)]
    for packet in packets:
        store.put(packet.id, arrived(packet))
    assert [packet.id in store for packet in packets] == [False] * 25 + [True] * 15

"""What keyed mode tells a publisher of its subscribers, and what others can do with its packets."""

import pytest
from hypothesis import given, strategies as st

from qis.overlay.bundles import messages_of
from qis.overlay.messages import Deliver, Delivered, Publish, Published, decode
from qis.overlay.subscriber import REFRESH_S
from qis.overlay.turn_queue import TurnQueue
from tests.unit.test_overlay_spreading import HOT, NOW, PUBLISHER, Town, letter_of, said_by

KEYS = (HOT,)
ISSUER, OTHER = b"i" * 32, b"o" * 32


def answer_to(subscribers, later_s):
    """What a holder answers to a publication under a key of so many subscribers."""
    town = Town()
    town.subscribe(subscribers, HOT)
    answer = town.node.rendezvous.publish(publish(letter_of(1)), NOW + later_s)
    assert isinstance(answer, Published)
    return answer.encode()


def publish(letter, attempt=0):
    return Publish(
        request=bytes(8),
        token=bytes(16),
        attempt=attempt,
        hops=1,
        key_bits=1,
        keys=KEYS,
        packet=letter,
    )


@pytest.mark.parametrize("later_s", [0.0, REFRESH_S - 1.0, REFRESH_S, 2 * REFRESH_S])
def test_a_publisher_is_told_neither_who_subscribes_nor_how_many(later_s):
    assert answer_to([7], later_s) == answer_to([8], later_s) == answer_to(range(5, 40), later_s)


def test_all_that_it_is_told_is_whether_somebody_has_for_long():
    assert answer_to([7], REFRESH_S - 1.0) == answer_to([], 2 * REFRESH_S)
    assert answer_to([7], REFRESH_S) != answer_to([], REFRESH_S)


@pytest.mark.parametrize(("asked_by", "times"), [(OTHER, 1), (ISSUER, 200), (None, 200)])
def test_a_third_party_cannot_have_a_packet_sent_again_by_other_numbers(asked_by, times):
    town = Town()
    town.subscribe([7, 8], HOT)
    letter = letter_of(1, issuer=ISSUER)
    sent = 0
    for attempt in range(200):
        town.node.rendezvous.publish(publish(letter, attempt), NOW, asked_by=asked_by)
        for message, address in said_by(town.node):
            assert isinstance(message, Deliver)
            assert address != PUBLISHER
            sent += 1
        town.node.rendezvous.send_window._flows.clear()  # as if each had been acknowledged
        town.node.rendezvous.send_window._lines.clear()
    assert sent == 2 * times


def test_who_floods_a_key_holds_up_its_own_packets(monkeypatch):
    """Measured before: behind 8,000 packets an honest one waited for all of them."""
    monkeypatch.setattr("qis.overlay.send_window.LINE_WINDOW", 8)
    town = Town()
    town.subscribe([7], HOT)
    send = town.node.rendezvous.publish
    for number in range(500):
        send(publish(letter_of(number, issuer=b"f" * 32)), NOW)
    honest = letter_of(1, issuer=b"h" * 32)
    send(publish(honest), NOW)
    window = town.node.rendezvous.send_window
    order = []
    while len(order) < 520 and (out := town.node.datagrams()):
        town.sent = []
        for datagram in out:
            order += packets_in(datagram)
        acknowledge(town, out)
    assert window.dropped == 0
    assert order.index(honest) < 80
    assert len(order) == 501


def packets_in(datagram):
    found = map(decode, messages_of(datagram[0]))
    return [each.packet for each in found if isinstance(each, Deliver)]


def acknowledge(town, out):
    for datagram, address, _ in out:
        for each in map(decode, messages_of(datagram)):
            answer = Delivered(request=each.request).encode()
            town.node.receive_datagram(answer, address, NOW)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers()), max_size=60))
def test_everybody_s_own_order_holds_and_nobody_waits_for_more_than_one_of_each(puts):
    queue = TurnQueue()
    for owner, value in puts:
        queue.put(owner, (owner, value))
    assert len(queue) == len(list(queue)) == len(puts)
    taken = [queue.take() for _ in puts]
    assert len(queue) == 0
    for owner in {owner for owner, _ in puts}:
        own = [each for each in taken if each[0] == owner]
        assert own == [each for each in puts if each[0] == owner]
        for number in range(len(own)):
            before = taken[: taken.index(own[0]) + 1] if number == 0 else []
            assert len({each[0] for each in before}) == len(before)

"""What rendezvous nodes keep: subscriptions, packets, tokens, budgets, requests."""

import random

import pytest

from qis.overlay import holdings as holdings_module
from qis.overlay.budgets import BURST, RATE, SOURCES_LIMIT, Budgets
from qis.overlay.bundles import messages_of
from qis.overlay.holdings import LIFETIME_S, Holdings
from qis.overlay.links import PROOFS_LIMIT, TRY_AFTER_S, Links
from qis.overlay.messages import NO_TOKEN, Deliver, Delivered, Find, Found, Known, Prove, decode
from qis.overlay.record import NodeRecord
from qis.overlay.retained import Carried, Retained
from qis.overlay.subscription import Subscription
from qis.overlay.timers import Timers
from qis.overlay.tokens import TOKEN_PERIOD_S, Tokens

A, B, C = (bytes([i]) * 8 for i in (1, 2, 3))


def subscription(sequence=1, keys=(A, B), lifetime_s=LIFETIME_S, who=b"s"):
    return Subscription(
        record=who * 122,
        sequence=sequence,
        lifetime_s=lifetime_s,
        keys=keys,
        is_open=(1 << len(keys)) - 1,
        signature=b"x" * 64,
    )


def test_a_subscription_is_held_under_the_named_places_until_it_expires():
    held = Holdings()
    assert held.put(subscription(), 0b10, now=0.0)
    assert held.under(A, 1.0) == []
    assert held.under(B, LIFETIME_S - 1.0) == [subscription()]
    assert held.under(B, LIFETIME_S) == []
    held.expire(LIFETIME_S)
    assert len(held) == 0


def test_a_withdrawal_outlives_older_subscriptions_under_way():
    held = Holdings()
    held.put(subscription(1), 0b11, now=0.0)
    held.put(subscription(2, keys=(), lifetime_s=0), 0, now=1.0)
    assert not held.put(subscription(1), 0b11, now=2.0)
    assert held.under(A, 3.0) == []


def test_a_newer_subscription_lets_go_of_keys_that_it_does_not_name():
    held = Holdings()
    held.put(subscription(1), 0b11, now=0.0)
    held.put(subscription(2, keys=(B, C)), 0b10, now=1.0)
    assert [bool(held.under(key, 2.0)) for key in (A, B, C)] == [False, True, True]


def test_a_full_store_refuses_newcomers_and_evicts_nobody(monkeypatch):
    monkeypatch.setattr(holdings_module, "SUBSCRIBERS_LIMIT", 2)
    held = Holdings()
    assert held.put(subscription(who=b"1"), 1, now=0.0)
    assert held.put(subscription(who=b"2"), 1, now=0.0)
    assert not held.put(subscription(who=b"3"), 1, now=0.0)
    assert len(held.under(A, 1.0)) == 2
    assert held.put(subscription(who=b"3"), 1, now=LIFETIME_S)


def test_equal_knowledge_and_age():
    one, other = Holdings(), Holdings()
    for who in (b"1", b"2"):
        one.put(subscription(who=who), 1, now=100.0)
    for who in (b"2", b"1"):
        other.put(subscription(who=who), 1, now=700.0)
    assert one.known(A, 800.0).is_same(other.known(A, 800.0))
    assert (one.known(A, 800.0).age_s, other.known(A, 800.0).age_s) == (700, 100)
    assert other.known(C, 800.0) == Known()
    other.put(subscription(who=b"3"), 1, now=700.0)
    assert not one.known(A, 800.0).is_same(other.known(A, 800.0))


def carried(number, *, issuer=b"i", keys=(A,), expires_at=100.0, topic=b"", sequence=0):
    return Carried(
        id=number.to_bytes(32),
        issuer=issuer,
        expires_at=expires_at,
        keys=keys,
        packet=b"",
        topic=topic,
        sequence=sequence,
    )


def test_retained_packets_come_in_order_after_a_count_and_once():
    kept = Retained()
    for number in (1, 2, 2, 3):
        kept.put(carried(number), [A], now=0.0)
    kept.put(carried(4, keys=(B,)), [B], now=0.0)
    assert [c.id[-1] for c in kept.after(1, frozenset([A]), 1.0)] == [2, 3]
    assert kept.count == 4
    assert list(kept.after(0, frozenset([A, B]), 100.0)) == []
    assert kept.keys() == {A, B}
    assert [c.id[-1] for c in kept.under(A, 1.0)] == [1, 2, 3]
    kept.expire(100.0)
    assert len(kept) == 0
    assert kept.keys() == set()


def test_of_versions_the_newest_is_kept_in_whatever_order_they_come():
    for order in ((1, 2, 3), (3, 1, 2), (2, 3, 1)):
        kept = Retained()
        for number in order:
            kept.put(carried(number, topic=b"t", sequence=number), [A], now=0.0)
        kept.put(carried(9, topic=b"other", sequence=1), [A], now=0.0)
        kept.put(carried(8), [A], now=0.0)
        assert {c.id[-1] for c in kept.under(A, 1.0)} == {3, 8, 9}
        assert len(kept) == 3


def test_two_of_one_sequence_are_a_proof_and_stay():
    kept = Retained()
    for number in (1, 2):
        kept.put(carried(number, topic=b"t", sequence=5), [A], now=0.0)
    assert len(kept) == 2
    kept.put(carried(3, topic=b"t", sequence=6), [A], now=0.0)
    assert [c.id[-1] for c in kept.under(A, 1.0)] == [3]
    kept.expire(100.0)
    assert not kept._newest


def test_a_flood_displaces_only_its_own_issuer():
    kept = Retained(limit=10)
    kept.put(carried(1, issuer=b"quiet"), [A], now=0.0)
    for number in range(2, 50):
        kept.put(carried(number, issuer=b"loud"), [A], now=0.0)
    ids = [c.id[-1] for c in kept.after(0, frozenset([A]), 1.0)]
    assert ids == [1, *range(41, 50)]


def test_a_token_proves_one_address_for_its_period_and_the_next():
    tokens = Tokens(bytes(32))
    token = tokens.token(b"a" * 18, 0.0)
    assert tokens.proves(b"a" * 18, token, 2 * TOKEN_PERIOD_S - 1.0)
    assert not tokens.proves(b"a" * 18, token, 2.0 * TOKEN_PERIOD_S)
    assert not tokens.proves(b"b" * 18, token, 0.0)
    assert not Tokens(bytes([1]) * 32).proves(b"a" * 18, token, 0.0)


def test_a_flood_from_one_subnet_is_refused_and_starves_nobody():
    budgets = Budgets()
    flood, other = bytes(10) + b"\xff\xff\x01\x01\x01\x01\x00\x01", b"\x20" + bytes(17)
    allowed = sum(budgets.allows(flood, 0.0) for _ in range(int(BURST) + 500))
    assert allowed == int(BURST)
    assert budgets.allows(other, 0.0)
    assert sum(budgets.allows(flood, 1.0) for _ in range(int(BURST))) == int(RATE)
    for i in range(SOURCES_LIMIT + 10):
        budgets.allows(i.to_bytes(2) + bytes(16), 2.0)
    assert len(budgets._spent) == SOURCES_LIMIT


def test_who_has_all_its_budget_again_is_not_remembered():
    budgets = Budgets()
    flood = b"\x20" + bytes(17)
    for _ in range(int(BURST)):
        assert budgets.allows(flood, 0.0)
    for i in range(100):
        budgets.allows(i.to_bytes(2) + bytes(16), 0.0)
    budgets.allows(bytes([0x30]) + bytes(17), 1.0)  # the flood's source is not idle, and the oldest
    assert len(budgets._spent) == 102
    budgets.allows(bytes([0x30]) + bytes(17), BURST / RATE)
    assert len(budgets._spent) == 1
    assert sum(budgets.allows(flood, BURST / RATE) for _ in range(int(BURST) + 5)) == int(BURST)


@pytest.fixture
def asked():
    """A request under way, and what became of it."""
    timers, outcome = Timers(), []
    links = Links(timers, random.Random(1), bytes(32))
    links.ask(
        lambda request, token: Find(request=request, token=token, record=b"r" * 122, target=1),
        NodeRecord(key=b"k" * 32, sequence=1, address=b"a" * 18, signature=b""),
        0.0,
        expects=Found,
        on_answer=lambda answer, at: outcome.append((answer, at)),
        on_silence=lambda at: outcome.append((None, at)),
    )
    return links, timers, outcome


def test_three_tries_then_silence_once(asked):
    links, timers, outcome = asked
    sent = len(links.take())
    while (at := timers.next_at()) is not None:
        timers.run(at)
        sent += len(links.take())
    assert sent == len(TRY_AFTER_S)
    assert [answer for answer, _ in outcome] == [None]


def test_only_the_asked_address_answers_and_once(asked):
    links, timers, outcome = asked
    ask = decode(links.take()[0][0])
    answer = Found(request=ask.request, token=b"t" * 16, records=())
    assert not links.hear(answer, b"b" * 18, 0.1)
    assert links.hear(answer, b"a" * 18, 0.2)
    assert not links.hear(answer, b"a" * 18, 0.3)
    timers.run(100.0)
    assert outcome == [(answer, 0.2)]
    assert links.take() == []


def test_one_message_acknowledges_many_requests_of_one_address():
    links, answered = Links(Timers(), random.Random(1), bytes(32)), []
    numbers = []

    def build(request, _token):
        numbers.append(request)
        return Deliver(request=request, hops=1, keys=(), packet=b"p" * 512)

    count = Delivered.LIMIT + 5
    for place in (b"a" * 18, b"b" * 18):
        for nth in range(count):
            links.ask(
                build,
                NodeRecord(key=b"k" * 32, sequence=1, address=place, signature=b""),
                0.0,
                expects=Delivered,
                on_answer=lambda _, at, it=(place, nth): answered.append(it),
                on_silence=pytest.fail,
            )
    other = Links(Timers(), random.Random(2), bytes([1]) * 32)
    other.acknowledge(numbers[:count], b"a" * 18)  # and what went to b is not b's word
    other.acknowledge(numbers[count:], b"a" * 18)
    for data, _, _ in other._out:
        links.hear(decode(data), b"a" * 18, 1.0)
    assert answered == [(b"a" * 18, nth) for nth in range(count)]
    assert len(other._out) == 4
    assert links.is_waiting


def test_a_refused_token_is_replaced_but_not_for_ever(asked):
    links, _, outcome = asked
    first = decode(links.take()[0][0])
    assert first.token == NO_TOKEN
    for number in range(1, PROOFS_LIMIT + 3):
        links.hear(Prove(request=first.request, token=bytes([number]) * 16), b"a" * 18, 0.1)
    again = [decode(part) for data, _, _ in links.take() for part in messages_of(data)]
    assert [message.token[0] for message in again] == [1, 2]
    assert outcome == []

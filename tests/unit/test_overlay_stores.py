"""What rendezvous nodes keep: subscriptions, packets, tokens, rate limiter, requests."""

import random

import pytest

from qis.overlay import subscription_table as holdings_module
from qis.overlay.bundles import messages_of
from qis.overlay.message_store import Carried, MessageStore
from qis.overlay.messages import NO_TOKEN, Deliver, Delivered, Find, Found, Prove, decode
from qis.overlay.rate_limiter import BURST, RATE, SOURCES_LIMIT, RateLimiter
from qis.overlay.record import NodeRecord
from qis.overlay.rpc import PROOFS_LIMIT, TRY_AFTER_S, Rpc
from qis.overlay.subscription import Subscription
from qis.overlay.subscription_table import LIFETIME_S, SubscriptionTable
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


def test_a_subscription_is_held_under_the_named_keys_until_it_expires():
    held = SubscriptionTable()
    assert held.put(subscription(), 0b10, now=0.0)
    assert held.under(A, 1.0) == []
    assert held.under(B, LIFETIME_S - 1.0) == [subscription()]
    assert held.under(B, LIFETIME_S) == []
    held.expire(LIFETIME_S)
    assert len(held) == 0


def test_a_withdrawal_outlives_older_subscriptions_under_way():
    held = SubscriptionTable()
    held.put(subscription(1), 0b11, now=0.0)
    held.put(subscription(2, keys=(), lifetime_s=0), 0, now=1.0)
    assert not held.put(subscription(1), 0b11, now=2.0)
    assert held.under(A, 3.0) == []


def test_a_newer_subscription_lets_go_of_keys_that_it_does_not_name():
    held = SubscriptionTable()
    held.put(subscription(1), 0b11, now=0.0)
    held.put(subscription(2, keys=(B, C)), 0b10, now=1.0)
    assert [bool(held.under(key, 2.0)) for key in (A, B, C)] == [False, True, True]


def test_a_full_store_refuses_newcomers_and_evicts_nobody(monkeypatch):
    monkeypatch.setattr(holdings_module, "SUBSCRIBERS_LIMIT", 2)
    held = SubscriptionTable()
    assert held.put(subscription(who=b"1"), 1, now=0.0)
    assert held.put(subscription(who=b"2"), 1, now=0.0)
    assert not held.put(subscription(who=b"3"), 1, now=0.0)
    assert len(held.under(A, 1.0)) == 2
    assert held.put(subscription(who=b"3"), 1, now=LIFETIME_S)


def test_how_many_and_for_how_long():
    table = SubscriptionTable()
    assert (table.count(A), table.age_s(A, 800.0)) == (0, 0.0)
    for who, at in ((b"1", 100.0), (b"2", 700.0)):
        table.put(subscription(who=who), 1, now=at)
    assert (table.count(A), table.age_s(A, 800.0)) == (2, 700.0)


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
    kept = MessageStore()
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
        kept = MessageStore()
        for number in order:
            kept.put(carried(number, topic=b"t", sequence=number), [A], now=0.0)
        kept.put(carried(9, topic=b"other", sequence=1), [A], now=0.0)
        kept.put(carried(8), [A], now=0.0)
        assert {c.id[-1] for c in kept.under(A, 1.0)} == {3, 8, 9}
        assert len(kept) == 3


def test_two_of_one_sequence_are_a_proof_and_stay():
    kept = MessageStore()
    for number in (1, 2):
        kept.put(carried(number, topic=b"t", sequence=5), [A], now=0.0)
    assert len(kept) == 2
    kept.put(carried(3, topic=b"t", sequence=6), [A], now=0.0)
    assert [c.id[-1] for c in kept.under(A, 1.0)] == [3]
    kept.expire(100.0)
    assert not kept._newest


def test_a_flood_displaces_only_its_own_issuer():
    kept = MessageStore(limit=10)
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
    rate_limiter = RateLimiter()
    flood, other = bytes(10) + b"\xff\xff\x01\x01\x01\x01\x00\x01", b"\x20" + bytes(17)
    allowed = sum(rate_limiter.allows(flood, 0.0) for _ in range(int(BURST) + 500))
    assert allowed == int(BURST)
    assert rate_limiter.allows(other, 0.0)
    assert sum(rate_limiter.allows(flood, 1.0) for _ in range(int(BURST))) == int(RATE)
    for i in range(SOURCES_LIMIT + 10):
        rate_limiter.allows(i.to_bytes(2) + bytes(16), 2.0)
    assert len(rate_limiter._spent) == SOURCES_LIMIT


def test_who_has_all_its_budget_again_is_not_remembered():
    rate_limiter = RateLimiter()
    flood = b"\x20" + bytes(17)
    for _ in range(int(BURST)):
        assert rate_limiter.allows(flood, 0.0)
    for i in range(100):
        rate_limiter.allows(i.to_bytes(2) + bytes(16), 0.0)
    rate_limiter.allows(
        bytes([0x30]) + bytes(17), 1.0
    )  # the flood's source is not idle, and the oldest
    assert len(rate_limiter._spent) == 102
    rate_limiter.allows(bytes([0x30]) + bytes(17), BURST / RATE)
    assert len(rate_limiter._spent) == 1
    assert sum(rate_limiter.allows(flood, BURST / RATE) for _ in range(int(BURST) + 5)) == int(
        BURST
    )


@pytest.fixture
def asked():
    """A request under way, and what became of it."""
    timers, outcome = Timers(), []
    rpc = Rpc(timers, random.Random(1), bytes(32))
    rpc.ask(
        lambda request, token: Find(request=request, token=token, record=b"r" * 122, target=1),
        NodeRecord(key=b"k" * 32, sequence=1, address=b"a" * 18, signature=b""),
        0.0,
        expects=Found,
        on_answer=lambda answer, at: outcome.append((answer, at)),
        on_silence=lambda at: outcome.append((None, at)),
    )
    return rpc, timers, outcome


def test_three_tries_then_silence_once(asked):
    rpc, timers, outcome = asked
    sent = len(rpc.take())
    while (at := timers.next_at()) is not None:
        timers.run(at)
        sent += len(rpc.take())
    assert sent == len(TRY_AFTER_S)
    assert [answer for answer, _ in outcome] == [None]


def test_only_the_asked_address_answers_and_once(asked):
    rpc, timers, outcome = asked
    ask = decode(rpc.take()[0][0])
    answer = Found(request=ask.request, token=b"t" * 16, records=())
    assert not rpc.hear(answer, b"b" * 18, 0.1)
    assert rpc.hear(answer, b"a" * 18, 0.2)
    assert not rpc.hear(answer, b"a" * 18, 0.3)
    timers.run(100.0)
    assert outcome == [(answer, 0.2)]
    assert rpc.take() == []


def test_one_message_acknowledges_many_requests_of_one_address():
    rpc, answered = Rpc(Timers(), random.Random(1), bytes(32)), []
    numbers = []

    def build(request, _token):
        numbers.append(request)
        return Deliver(request=request, hops=1, keys=(), packet=b"p" * 512)

    count = Delivered.LIMIT + 5
    for address in (b"a" * 18, b"b" * 18):
        for nth in range(count):
            rpc.ask(
                build,
                NodeRecord(key=b"k" * 32, sequence=1, address=address, signature=b""),
                0.0,
                expects=Delivered,
                on_answer=lambda _, at, it=(address, nth): answered.append(it),
                on_silence=pytest.fail,
            )
    other = Rpc(Timers(), random.Random(2), bytes([1]) * 32)
    other.acknowledge(numbers[:count], b"a" * 18)  # and what went to b is not b's word
    other.acknowledge(numbers[count:], b"a" * 18)
    for data, _, _ in other._out:
        rpc.hear(decode(data), b"a" * 18, 1.0)
    assert answered == [(b"a" * 18, nth) for nth in range(count)]
    assert len(other._out) == 4
    assert rpc.is_waiting


def test_a_refused_token_is_replaced_but_not_for_ever(asked):
    rpc, _, outcome = asked
    first = decode(rpc.take()[0][0])
    assert first.token == NO_TOKEN
    for number in range(1, PROOFS_LIMIT + 3):
        rpc.hear(Prove(request=first.request, token=bytes([number]) * 16), b"a" * 18, 0.1)
    again = [decode(part) for data, _, _ in rpc.take() for part in messages_of(data)]
    assert [message.token[0] for message in again] == [1, 2]
    assert outcome == []

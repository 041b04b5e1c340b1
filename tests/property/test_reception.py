"""Arrivals that are checked together are judged as each would be alone, and verified once."""

import pytest
from hypothesis import given, strategies as st

import qis
from qis.identity import verify
from qis.packet import content_id, packet as packet_module, reread, screen, verify_screened
from qis.refusals import RefusalCode
from qis.transport import inbox as inbox_module
from qis.transport.base import Statistics
from qis.transport.reception import Reception, Verdict

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=4)
NEAR, FAR = [1.0, 0.5, -0.2, 0.1], [-1.0, -0.5, 0.2, -0.1]
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]
ROSTER = qis.Roster(
    sites=[qis.Site.of("one", SITES[0].issuer), qis.Site.of("two", SITES[1].issuer)]
)


def signed(site, number, about, lifetime_s=3_600):
    effect = qis.Effect(question=f"q {number}", measure="OR", estimate=0.1, standard_error=0.1)
    keys = (*SCHEME.routing_keys(about), effect.study_id)
    packet = qis.Packet.sign(
        SITES[site],
        outcome=effect,
        fingerprint=SCHEME.fingerprint(about),
        issued_at=NOW,
        lifetime_s=lifetime_s,
        routing_keys=keys,
    )
    return bytes(packet), tuple(sorted(set(keys)))


def badly_signed(data):
    return data[:-1] + bytes([data[-1] ^ 1])


GOOD = [signed(site, number, about) for site in (0, 1) for number, about in enumerate((NEAR, FAR))]
ARRIVALS = [
    *((data, keys, 1) for data, keys in GOOD),
    *((badly_signed(data), keys, 1) for data, keys in GOOD[:2]),
    *((data, keys[1:], 2) for data, keys in GOOD[:2]),
    (*signed(2, 0, NEAR), 1),
    (*signed(0, 9, NEAR, lifetime_s=1), 1),
    (b"", (), 0),
    (b"p" * 512, (), 0),
]


def received(batches, now=NOW + 5):
    statistics = Statistics()
    reception = Reception(ROSTER, statistics)
    with reception.inbox(SCHEME.interest(NEAR), now=now) as inbox:
        verdicts = [v for batch in batches for v in reception.receive_many(batch, now=now)]
        return verdicts, statistics, [delivery.packet for delivery in inbox._waiting]


@given(st.lists(st.sampled_from(ARRIVALS), max_size=12), st.integers(1, 12))
def test_together_each_is_judged_as_alone(arrivals, size):
    alone = received([[arrival] for arrival in arrivals])
    together = received([arrivals[i : i + size] for i in range(0, len(arrivals), size)])
    assert together == alone


@given(st.permutations([0, 1, 2]))
def test_a_wrong_signature_shuts_out_nothing_that_comes_with_it(order):
    data, keys = GOOD[0]
    three = [(badly_signed(data), keys, 1), (data, keys, 1), (data, keys, 1)]
    verdicts, statistics, delivered = received([[three[i] for i in order]])
    judged = dict(zip(order, verdicts, strict=True))
    assert {judged[1], judged[2]} == {Verdict.ACCEPTED, Verdict.DUPLICATE}
    is_first = order[0] == 0
    assert judged[0] is (Verdict.REFUSED if is_first else Verdict.DUPLICATE)
    assert statistics.refused == ({"SignatureError": 1} if is_first else {})
    assert [bytes(packet) for packet in delivered] == [data]


def test_a_subscription_that_opens_later_gets_the_same_packets():
    reception = Reception(ROSTER, Statistics())
    reception.receive_many(ARRIVALS, now=NOW + 5)
    with reception.inbox(SCHEME.interest(NEAR), now=NOW + 5) as late:
        assert [delivery.packet for delivery in late._earlier] == received([ARRIVALS])[2]


@pytest.fixture
def verified(monkeypatch):
    """The signatures that have been verified."""
    signatures = []

    def noting(issuer, message, signature):
        signatures.append(signature)
        verify(issuer, message, signature)

    monkeypatch.setattr(packet_module, "verify", noting)
    return signatures


def test_nothing_is_verified_twice_however_it_comes(verified):
    reception = Reception(ROSTER, Statistics())
    validator = reception.validator
    (first, its_keys), (second, other_keys) = GOOD[:2]
    reception.receive_many([(first, its_keys, 1)] * 3, now=NOW)  # delivered, then published
    validator.verify_ahead([first, second, second], NOW)
    assert validator(first, its_keys, NOW).packet == first
    assert validator(second, other_keys, NOW).packet == second
    assert reception.receive(second, other_keys, hops=1, now=NOW) is Verdict.ACCEPTED
    assert reception.receive(first, its_keys, hops=1, now=NOW) is Verdict.DUPLICATE
    assert verified == [first[-64:], second[-64:]]


def test_what_there_is_no_room_for_is_not_verified_again_when_it_comes_again(verified, monkeypatch):
    monkeypatch.setattr(inbox_module, "INBOX_LIMIT", 1)
    reception = Reception(ROSTER, Statistics())
    (first, its_keys), _, (second, other_keys), _ = GOOD
    with reception.inbox(SCHEME.interest(NEAR), now=NOW) as inbox:
        batch = [(first, its_keys, 1), (second, other_keys, 1), (first, other_keys, 1)]
        assert reception.receive_many(batch, now=NOW)[:2] == [Verdict.ACCEPTED, Verdict.FULL]
        assert reception.receive_many(batch[1:2], now=NOW) == [Verdict.FULL]
        inbox._waiting.clear()
        assert reception.receive_many(batch[1:2], now=NOW) == [Verdict.ACCEPTED]
        assert reception.receive(first, its_keys[1:], hops=1, now=NOW) is Verdict.DUPLICATE
    assert verified == [first[-64:], second[-64:]]


def test_what_is_refused_ahead_is_refused_once(verified):
    validator = Reception(ROSTER, Statistics()).validator
    data, keys = GOOD[0]
    strangers, strange_keys = signed(2, 0, NEAR)
    validator.verify_ahead([badly_signed(data), strangers, b"short"], NOW)
    assert validator(badly_signed(data), keys, NOW) is None
    assert validator(strangers, strange_keys, NOW) is RefusalCode.ROSTER
    assert validator(b"short", (), NOW) is None
    assert verified == [badly_signed(data)[-64:]]
    assert validator(data, keys, NOW).packet == data


def test_what_is_held_under_another_signature_is_verified(verified):
    reception = Reception(ROSTER, Statistics())
    data, keys = GOOD[0]
    reception.receive(data, keys, hops=1, now=NOW)
    assert reception.validator(badly_signed(data), keys, NOW) is None
    assert verified == [data[-64:], badly_signed(data)[-64:]]


def test_a_batch_of_screened_bytes_keeps_its_order_and_ids():
    batch = [data for data, _ in GOOD]
    batch[1] = badly_signed(batch[1])
    found = verify_screened([screen(data) for data in batch], [content_id(data) for data in batch])
    assert isinstance(found[1], qis.errors.SignatureError)
    for data, packet in zip(batch, found, strict=True):
        if data is not batch[1]:
            assert (bytes(packet), packet.id) == (data, content_id(data))
            assert reread(data) == packet

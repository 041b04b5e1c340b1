"""The overlay's datagrams: every message comes back as it went, nothing else is one."""

import random
from dataclasses import replace

import pytest

from qis.about import MAX_ROUTING_KEYS, Near
from qis.identity import Identity
from qis.overlay.addresses import pack_address, subnet_of, unpack_address
from qis.overlay.messages import (
    CHARGES_LIMIT,
    DATAGRAM_SIZE,
    NEWS_LIMIT,
    NO_TOKEN,
    Closer,
    Deliver,
    Delivered,
    Find,
    Found,
    Leave,
    Prove,
    Publish,
    Published,
    Refused,
    Relay,
    Subscribe,
    Subscribed,
    decode,
)
from qis.overlay.record import RECORD_SIZE, Credentials, NodeAdmission, NodeRecord
from qis.overlay.subscription import NEAR_LIMIT, Subscription

SITE = Credentials.of(Identity.from_seed(bytes(32)))
ADDRESS = pack_address("192.0.2.1", 4_000)
RECORD = SITE.record(ADDRESS, 7)
KEYS = tuple(i.to_bytes(8) for i in range(MAX_ROUTING_KEYS))
R, TOKEN, PACKET = b"r" * 8, b"t" * 16, b"p" * 512
NEARS = frozenset(Near(b"a scheme", bytes([i]) * 32, 1 << i % 5, 9) for i in range(NEAR_LIMIT))
SUBSCRIPTION = Subscription.signed(
    SITE,
    record=RECORD.encode(),
    sequence=9,
    lifetime_s=1_500,
    wanted={key: NEARS if i % 2 else frozenset() for i, key in enumerate(KEYS)},
)
assert len(SUBSCRIPTION.nears) == NEAR_LIMIT
MESSAGES = [
    Find(request=R, token=TOKEN, record=RECORD.encode(), target=2**256 - 1),
    Find(request=R, token=NO_TOKEN, record=RECORD.encode(), target=0),
    Found(request=R, token=TOKEN, records=(RECORD.encode(),) * 8),
    Found(request=R, token=TOKEN, records=()),
    Subscribe(
        request=R,
        token=TOKEN,
        key_bits=2**48 - 1,
        wants_replay=True,
        seen_epoch=b"e" * 8,
        seen_count=3,
        subscription=SUBSCRIPTION,
    ),
    Subscribed(request=R, epoch=b"e" * 8, count=5),
    Publish(
        request=R,
        token=TOKEN,
        attempt=255,
        hops=1,
        key_bits=2**48 - 1,
        quiet_bits=2**47,
        keys=KEYS,
        packet=PACKET,
    ),
    Published(
        request=R,
        young_bits=2**48 - 1,
        news=(RECORD.encode(),) * NEWS_LIMIT,
    ),
    Closer(request=R, record=RECORD.encode(), keys=KEYS),
    Refused(request=R, code=4),
    Relay(request=R, digest=b"d" * 32, hops=255, records=(RECORD.encode(),) * CHARGES_LIMIT),
    Deliver(request=R, hops=2, keys=KEYS, packet=PACKET),
    Delivered(request=R),
    Delivered(request=R, others=tuple(bytes([n]) * 8 for n in range(Delivered.LIMIT))),
    Prove(request=R, token=TOKEN),
    Leave(request=R, record=RECORD.encode()),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_went_and_fits(message):
    data = message.encode()
    assert len(data) <= DATAGRAM_SIZE
    assert decode(data) == message
    assert all(decode(data[:end]) != message for end in range(len(data)))
    assert decode(data + b"\x00") is None


def test_a_relay_names_at_least_one_and_no_more_than_fit():
    def relay(count):
        return Relay(request=R, digest=b"d" * 32, hops=1, records=(RECORD.encode(),) * count)

    fullest = relay(CHARGES_LIMIT).encode()
    assert DATAGRAM_SIZE - RECORD_SIZE < len(fullest) <= DATAGRAM_SIZE
    assert [decode(relay(count).encode()) for count in (0, CHARGES_LIMIT + 1)] == [None, None]
    assert [decode(fullest[:end]) for end in (13, 13 + 32, 13 + 33)] == [None] * 3


def test_mutated_datagrams_never_raise_and_have_one_encoding():
    rng = random.Random(1)
    for _ in range(20_000):
        data = bytearray(rng.choice(MESSAGES).encode())
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        mutated = bytes(data[: rng.randint(0, len(data))] if rng.random() < 0.2 else data)
        message = decode(mutated)
        assert message is None or message.encode() == mutated


def test_no_answer_to_an_unproven_question_is_larger():
    ask = Find(request=R, token=NO_TOKEN, record=RECORD.encode(), target=0).encode()
    assert max(len(m.encode()) for m in MESSAGES if isinstance(m, (Found, Prove))) <= len(ask)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "255.255.255.255"])
def test_addresses_come_back(host):
    assert unpack_address(pack_address(host, 65_535)) == (host, 65_535)


@pytest.mark.parametrize(("host", "port"), [("example.org", 1), ("1.2.3.4", 0), ("::1", 65_536)])
def test_what_is_no_address_is_refused(host, port):
    with pytest.raises(ValueError, match=r"port|numeric"):
        pack_address(host, port)


def test_subnets():
    assert subnet_of(pack_address("192.0.2.1", 1)) == subnet_of(pack_address("192.0.2.9", 2))
    assert subnet_of(pack_address("192.0.2.1", 1)) != subnet_of(pack_address("192.0.3.1", 1))
    assert subnet_of(pack_address("2001:db8::1", 1)) == subnet_of(pack_address("2001:db8::2", 1))


@pytest.mark.parametrize("byte", range(RECORD_SIZE))
def test_a_record_changed_anywhere_is_not_believed(byte):
    admission = NodeAdmission(SITE.verify, lambda _: True)
    data = bytearray(RECORD.encode())
    assert admission.contact(bytes(data)).record == RECORD
    data[byte] ^= 1
    assert admission.contact(bytes(data)) is None


def test_who_is_not_on_the_roster_is_not_believed():
    assert NodeAdmission(SITE.verify, lambda _: False).contact(RECORD.encode()) is None


def test_an_id_follows_from_the_key_and_what_was_drawn_at_its_enrolment():
    ids = [
        NodeAdmission(SITE.verify, lambda _: True, {SITE.key: salt}.get).contact(RECORD.encode()).id
        for salt in (b"", b"s" * 8, b"s" * 8, b"t" * 8)
    ]
    assert ids[1] == ids[2]
    assert len(set(ids)) == 3


def test_a_record_signed_by_another_is_not_believed():
    other = Credentials.of(Identity.from_seed(b"1" * 32))
    stolen = replace(other.record(ADDRESS, 8), key=SITE.key)
    assert isinstance(stolen, NodeRecord)
    assert NodeAdmission(SITE.verify, lambda _: True).contact(stolen.encode()) is None

"""Bundles: nothing is lost, reordered or too large, and whatever comes is one reading or none."""

import random

from hypothesis import given, strategies as st

from qis.overlay.bundles import BUNDLE_HEAD, bundled, messages_of
from qis.overlay.messages import DATAGRAM_SIZE, Delivered, decode

ADDRESSES = [bytes([i]) * 18 for i in range(3)]
KEYS = [None, b"a" * 32, b"b" * 32]

message = st.integers(13, DATAGRAM_SIZE).flatmap(
    lambda size: st.integers(0, 255).map(
        lambda byte: b"qis\x02" + bytes([1 + byte % 11] * (size - 4))
    )
)
datagram = st.tuples(message, st.sampled_from(ADDRESSES), st.sampled_from(KEYS))


@given(sent=st.lists(datagram, max_size=40))
def test_each_node_gets_its_messages_in_order_in_datagrams_that_fit(sent):
    came = {}
    for data, address, key in bundled(sent):
        assert len(data) <= DATAGRAM_SIZE
        messages = messages_of(data)
        assert messages is not None
        came.setdefault((address, key), []).extend(messages)
    due = {}
    for data, address, key in sent:
        due.setdefault((address, key), []).append(data)
    assert came == due


@given(sizes=st.lists(st.integers(13, 90), min_size=2, max_size=79))
def test_no_two_datagrams_in_a_row_would_fit_one(sizes):
    sent = [(bytes(size), ADDRESSES[0], None) for size in sizes]
    packed = [len(data) for data, _, _ in bundled(sent)]
    assert all(size > DATAGRAM_SIZE - 92 for size in packed[:-1])


def test_a_message_alone_travels_as_it_is():
    alone = (Delivered(request=b"r" * 8).encode(), ADDRESSES[0], None)
    assert bundled([alone]) == [alone]
    assert bundled([]) == []


def test_changed_bundles_are_read_in_one_way_or_not_at_all():
    rng = random.Random(7)
    acknowledged = [Delivered(request=bytes([i]) * 8).encode() for i in range(9)]
    ((data, _, _),) = bundled([(one, ADDRESSES[0], None) for one in acknowledged])
    readings = set()
    for _ in range(20_000):
        changed = bytearray(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data)
        for _ in range(rng.randrange(4)):
            if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        messages = messages_of(bytes(changed))
        readings.add(None if messages is None else len(messages))
        if messages is not None and len(messages) > 1:
            again = b"".join(len(one).to_bytes(2) + one for one in messages)
            assert BUNDLE_HEAD + again == bytes(changed)
    assert {None, 1, 9} <= readings  # changed heads are no bundles, but for `decode` to refuse


def test_a_bundle_within_a_bundle_is_no_message():
    inner = BUNDLE_HEAD + b"\x00\x0dmessage of 13" * 2
    assert decode(inner) is None
    for data in (BUNDLE_HEAD, BUNDLE_HEAD + b"\x00\x01x", BUNDLE_HEAD + b"\x00"):
        assert messages_of(data) is None  # of none, of one, or cut
    assert messages_of(BUNDLE_HEAD + bytes(2) * 600) is None  # larger than any datagram

"""A live node against whatever comes: it never raises, never amplifies, and believes no forgery."""

import random

from hypothesis import given, settings, strategies as st

from qis.identity import Identity
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import messages_of
from qis.overlay.message_store import Carried
from qis.overlay.messages import (
    NO_TOKEN,
    Deliver,
    Find,
    Found,
    Leave,
    Prove,
    Publish,
    Subscribe,
    decode,
)
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.record import Credentials
from qis.overlay.subscription import Subscription, all_under

HOME, STRANGER, VICTIM = (pack_address(f"192.0.2.{i}", 4_000) for i in (1, 2, 3))
SITES = [Credentials.of(Identity.from_seed(bytes([i]) * 32)) for i in range(3)]
KEY = b"k" * 8
NOW = 1_700_000_000.0
R, PACKET = b"r" * 8, b"p" * 512


def refuse(arrivals, now):
    return [False] * len(arrivals)


def node(seed=0, receive=refuse):
    def inspect(packet, keys, now):
        return None

    made = Settings(
        credentials=SITES[0],
        address=HOME,
        inspect=inspect,
        receive=receive,
        accepts=lambda _: True,
    )
    return OverlayNode(made, rng=random.Random(seed), secret=bytes(32), now=NOW)


def subscribe(site, address, token):
    record = site.record(address, 1).encode()
    subscription = Subscription.signed(
        site, record=record, sequence=1, lifetime_s=1_500, wanted=all_under([KEY])
    )
    return Subscribe(
        request=R,
        token=token,
        key_bits=1,
        wants_replay=True,
        seen_epoch=bytes(8),
        seen_count=0,
        subscription=subscription,
    )


def find(site, address, token):
    record = site.record(address, 1).encode()
    return Find(request=R, token=token, record=record, target=5)


def answers(target, message, address, now=NOW):
    target.receive_datagram(message.encode(), address, now)
    return [(decode(data), to) for data, to, _ in target.datagrams()]


def seeds():
    publish = Publish(
        request=R,
        token=bytes(16),
        attempt=0,
        hops=1,
        key_bits=1,
        keys=(KEY,),
        packet=PACKET,
    )
    return [
        find(SITES[1], STRANGER, NO_TOKEN).encode(),
        find(SITES[1], STRANGER, b"t" * 16).encode(),
        subscribe(SITES[1], STRANGER, b"t" * 16).encode(),
        publish.encode(),
        Deliver(request=R, hops=1, keys=(KEY,), packet=PACKET).encode(),
        Found(request=R, token=bytes(16), records=(SITES[1].record(VICTIM, 2).encode(),)).encode(),
        Leave(request=R, record=SITES[1].record(VICTIM[:16] + bytes(2), 3).encode()).encode(),
    ]


SEEDS = seeds()
changes = st.lists(st.tuples(st.integers(0, 1_199), st.integers(0, 255)), max_size=4)


@given(datagrams=st.lists(st.tuples(st.sampled_from(SEEDS), changes), max_size=30))
@settings(max_examples=60)
def test_strangers_get_no_more_than_they_send_and_change_nothing(datagrams):
    live = node()
    for seed, changed in datagrams:
        data = bytearray(seed)
        for offset, value in changed:
            data[offset % len(data)] = value
        live.receive_datagram(bytes(data), STRANGER, NOW)
        sent = live.datagrams()
        assert all(address == STRANGER for _, address, _ in sent)
        assert sum(len(reply) for reply, _, _ in sent) <= len(data)
    assert len(live.table) == 0
    assert len(live.rendezvous.subscription_table) == 0
    assert len(live.rendezvous.message_store) == 0


@given(data=st.binary(max_size=1_300))
def test_noise_is_counted(data):
    live = node()
    live.receive_datagram(data, STRANGER, NOW)
    assert live.refused["malformed"] == 1
    assert live.datagrams() == []


def proven(live, site, address):
    ((found, _),) = answers(live, find(site, address, NO_TOKEN), address)
    return found.token


def test_a_proven_node_enters_the_table_and_may_subscribe():
    live = node()
    token = proven(live, SITES[1], STRANGER)
    assert len(live.table) == 0
    answers(live, find(SITES[1], STRANGER, token), STRANGER)
    assert len(live.table) == 1
    answers(live, subscribe(SITES[1], STRANGER, token), STRANGER)
    assert len(live.rendezvous.subscription_table.under(KEY, NOW)) == 1


def test_a_wrong_token_is_answered_by_the_right_one():
    live = node()
    ((prove, to),) = answers(live, subscribe(SITES[1], STRANGER, b"x" * 16), STRANGER)
    assert isinstance(prove, Prove)
    assert to == STRANGER
    assert prove.token == proven(live, SITES[1], STRANGER)


def test_nobody_subscribes_another_address():
    live = node()
    token = proven(live, SITES[1], STRANGER)
    assert answers(live, subscribe(SITES[1], VICTIM, token), STRANGER) == []
    assert live.rendezvous.subscription_table.under(KEY, NOW) == []


def test_nobody_signs_another_off():
    live = node()
    token = proven(live, SITES[1], STRANGER)
    answers(live, find(SITES[1], STRANGER, token), STRANGER)
    gone = STRANGER[:16] + bytes(2)
    forged = SITES[2].record(gone, 9).encode()[32:]
    answers(live, Leave(request=R, record=SITES[1].key + forged), VICTIM)
    assert len(live.table) == 1
    answers(live, Leave(request=R, record=SITES[1].record(gone, 9).encode()), STRANGER)
    assert len(live.table) == 0


def test_a_packet_that_does_not_verify_is_neither_held_nor_acknowledged():
    live = node()
    token = proven(live, SITES[1], STRANGER)
    publish = Publish(
        request=R,
        token=token,
        attempt=0,
        hops=1,
        key_bits=1,
        keys=(KEY,),
        packet=PACKET,
    )
    assert answers(live, publish, STRANGER) == []
    assert answers(live, Deliver(request=R, hops=1, keys=(), packet=PACKET), STRANGER) == []
    assert len(live.rendezvous.message_store) == 0


@given(
    kept=st.lists(st.booleans(), min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=9),
)
def test_packets_that_come_together_are_taken_and_acknowledged_as_if_alone(kept, sizes):
    sent = {bytes([i]) * 512: is_kept for i, is_kept in enumerate(kept)}

    def receive(arrivals, now):
        return [sent[packet] for packet, _, _ in arrivals]

    live, arrivals = node(receive=receive), []
    for i, packet in enumerate(sent):
        message = Deliver(request=i.to_bytes(8), hops=1, keys=(), packet=packet)
        arrivals.append((message.encode(), (STRANGER, VICTIM)[i % 2], None))
    for size in sizes * len(arrivals):
        live.receive_datagrams(arrivals[:size], NOW)
        del arrivals[:size]
    found = {STRANGER: set(), VICTIM: set()}
    for data, address, _ in live.datagrams():
        for message in map(decode, messages_of(data)):
            found[address] |= {message.request, *message.others}
    for nth, address in enumerate((STRANGER, VICTIM)):
        wanted = {i.to_bytes(8) for i, is_kept in enumerate(kept) if is_kept and i % 2 == nth}
        assert found[address] == wanted


def test_what_the_application_has_no_room_for_is_offered_again_in_order():
    room, taken = [0], []

    def receive(arrivals, now):
        ((packet, _, _),) = arrivals
        if len(taken) >= room[0]:
            return [False]
        taken.append(packet)
        return [True]

    live = node(receive=receive)
    packets = [bytes([i]) * 512 for i in range(5)]
    for packet in packets:
        carried = Carried(
            id=packet[:32], issuer=SITES[1].key, expires_at=NOW + 9e3, keys=(KEY,), packet=packet
        )
        live.delivering.deliver(carried, 1, NOW)
    assert taken == []
    for seen in (0, 2, 2, 5, 5):
        room[0] = seen
        live.handle_timer(live.next_timer())
        assert taken == packets[:seen]
    assert not live.delivering._waiting

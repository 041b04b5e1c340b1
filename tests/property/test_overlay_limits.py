"""What members of ill will can make a node remember and send has the limits that the docs give."""

import random

from qis.identity import Identity
from qis.overlay import (
    handover,
    publications,
    rate_limiter,
    record,
    rendezvous,
    rounds,
    rpc,
    send_window,
)
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import messages_of
from qis.overlay.ids import node_id
from qis.overlay.message_store import Carried
from qis.overlay.messages import (
    Deliver,
    Delivered,
    Find,
    Found,
    Leave,
    Publish,
    Published,
    Subscribe,
    decode,
)
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.record import Credentials
from qis.overlay.subscription import Subscription, all_under

NOW = 1_700_000_000.0
KEY = b"k" * 8


class Stranger:
    """A node of which only the datagrams exist."""

    def __init__(self, number):
        self.credentials = Credentials.of(Identity.from_seed(number.to_bytes(32)))
        self.address = pack_address(f"192.0.{number >> 8}.{number & 255}", 4_000)
        self.record = self.credentials.record(self.address, 1).encode()

    def enter(self, node, now):
        """Prove its address, and come into the table."""
        for token in (bytes(16), node._tokens.token(self.address, now)):
            find = Find(request=b"r" * 8, token=token, record=self.record, target=1)
            node.receive_datagram(find.encode(), self.address, now)


def live_node():
    settings = Settings(
        credentials=Credentials.of(Identity.from_seed(bytes(32))),
        address=pack_address("198.51.100.1", 4_000),
        inspect=lambda packet, keys, now: None,
        receive=lambda arrivals, now: [True] * len(arrivals),
        accepts=lambda _: True,
    )
    return OverlayNode(settings, rng=random.Random(0), secret=bytes(32), now=NOW)


def test_heirs_that_name_each_other_are_handed_a_packet_once_each():
    node = live_node()
    carried = Carried(
        id=bytes(32), issuer=bytes(32), expires_at=NOW + 9e5, keys=(KEY,), packet=bytes(512)
    )
    node.rendezvous.message_store.put(carried, [KEY], NOW)
    strangers = {s.address: s for s in map(Stranger, range(1, 9))}
    records = [s.record for s in strangers.values()]
    next(iter(strangers.values())).enter(node, NOW)
    handed, now, rng = [], NOW, random.Random(1)
    while (at := node.next_timer()) is not None and at < NOW + 60.0 and len(handed) < 2_000:
        now = at
        node.handle_timer(now)
        while sent := node.datagrams():
            for data, address, _ in sent:
                message = decode(data)
                if isinstance(message, Find):
                    answer = Found(request=message.request, token=bytes(16), records=())
                elif isinstance(message, Publish):
                    handed.append(address)
                    news = tuple(rng.sample(records, 4))
                    answer = Published(request=message.request, young_bits=1, news=news)
                else:
                    continue
                node.receive_datagram(answer.encode(), address, now)
    assert len(handed) > 4
    assert len(handed) == len(set(handed))


def test_tables_with_one_documented_limit_have_the_same():
    assert rendezvous.HANDLED_LIMIT == record.KNOWN_RECORDS_LIMIT
    assert (
        rpc.TOKENS_LIMIT
        == rate_limiter.SOURCES_LIMIT
        == rounds.REMEMBERED_KEYS_LIMIT
        == publications.PUBLICATIONS_LIMIT
    )


def test_a_member_that_wants_ever_new_keys_is_remembered_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(handover, "REACH_LIMIT", 200)
    node, member = live_node(), Stranger(1)
    member.enter(node, NOW)
    token = node._tokens.token(member.address, NOW)
    for sequence in range(1, 40):
        keys = tuple((sequence * 100 + i).to_bytes(8) for i in range(48))
        signed = Subscription.signed(
            member.credentials,
            record=member.record,
            sequence=sequence,
            lifetime_s=99,
            wanted=all_under(keys),
        )
        subscribe = Subscribe(
            request=b"r" * 8,
            token=token,
            key_bits=2**48 - 1,
            wants_replay=True,
            seen_epoch=bytes(8),
            seen_count=0,
            subscription=signed,
        )
        node.receive_datagram(subscribe.encode(), member.address, NOW)
        assert node.rendezvous.subscription_table.keys() == set(keys)
    assert len(node.handover._reach) <= 200
    assert set(node.handover._news_of) <= set(node.handover._reach)


def test_nodes_that_come_and_go_are_news_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(handover, "NEW_NODES_LIMIT", 20)
    node = live_node()
    for number in range(1, 60):
        member = Stranger(number)
        member.enter(node, NOW)
        node.table.remove(node_id(member.credentials.key))  # as one that does not answer
    assert len(node.handover._news) == len(node.handover._new) == 20
    assert list(node.handover._news)[-1] == node_id(member.credentials.key)
    member.enter(node, NOW)
    gone = member.credentials.record(member.address[:16] + bytes(2), 2).encode()
    node.receive_datagram(Leave(request=b"r" * 8, record=gone).encode(), member.address, NOW)
    assert len(node.handover._news) == len(node.handover._new) == 19


def retaining(packets):
    """A node that keeps so many packets under `KEY`."""
    node = live_node()
    for number in range(packets):
        carried = Carried(
            id=number.to_bytes(32),
            issuer=bytes(32),
            expires_at=NOW + 9e5,
            keys=(KEY,),
            packet=number.to_bytes(512),
        )
        node.rendezvous.message_store.put(carried, [KEY], NOW)
    return node


def ask_for_all(node, member, sequence, address=None):
    """Subscribe by a new record, and want all that is kept."""
    address = address or member.address
    record = member.credentials.record(address, sequence).encode()
    signed = Subscription.signed(
        member.credentials,
        record=record,
        sequence=sequence,
        lifetime_s=999,
        wanted=all_under([KEY]),
    )
    subscribe = Subscribe(
        request=b"r" * 8,
        token=node._tokens.token(address, NOW),
        key_bits=1,
        wants_replay=True,
        seen_epoch=bytes(8),
        seen_count=0,
        subscription=signed,
    )
    node.receive_datagram(subscribe.encode(), address, NOW)


def test_ever_new_records_of_one_member_share_one_window(monkeypatch):
    monkeypatch.setattr(send_window, "WAITING_FOR_ONE_LIMIT", 300)
    node, member = retaining(100), Stranger(1)
    for sequence in range(1, 50):
        ask_for_all(node, member, sequence)
        assert len(node._rpc._under_way) <= send_window.WINDOW
        assert node.rendezvous.send_window._waiting <= 300
    ask_for_all(node, Stranger(2), 1)
    assert len(node._rpc._under_way) == 2 * send_window.WINDOW
    assert node.rendezvous.send_window._waiting == 300 + 100 - send_window.WINDOW


def test_what_waits_for_a_node_that_has_moved_goes_where_it_is_now():
    node, member, moved_to = retaining(100), Stranger(1), Stranger(2).address
    ask_for_all(node, member, 1)
    node.datagrams()
    ask_for_all(node, member, 2, moved_to)
    delivered, late = set(), NOW
    while (at := node.next_timer()) is not None and at < NOW + 30.0:
        late = at
        node.handle_timer(at)
        while sent := node.datagrams():
            for data, address, _ in sent:
                for message in map(decode, messages_of(data)):
                    if address == moved_to and isinstance(message, Deliver):
                        delivered.add(message.packet)
                        answer = Delivered(request=message.request).encode()
                        node.receive_datagram(answer, address, late)
    assert len(delivered) == 100


def test_who_could_not_be_asked_stays_in_the_table(monkeypatch):
    node, members = live_node(), [Stranger(number) for number in range(1, 6)]
    for member in members:
        member.enter(node, NOW)
    assert len(node.table) == 5
    monkeypatch.setattr(rpc, "UNDER_WAY_LIMIT", 0)
    found = []
    node.lookup_driver.find(7, width=3, now=NOW, then=lambda who, _: found.append(who))
    node.handle_timer(NOW + 1.0)
    assert [contact.id for contact in found[0]] == [node.contact.id]
    assert len(node.table) == 5


def test_whose_turn_to_be_published_again_is_over_is_not_kept_either(monkeypatch):
    monkeypatch.setattr(publications, "PUBLICATIONS_LIMIT", 10)
    node = live_node()
    carried = [
        Carried(
            id=number.to_bytes(32),
            issuer=bytes(32),
            expires_at=NOW + 9e5,
            keys=(KEY,),
            packet=number.to_bytes(512),
        )
        for number in range(100)
    ]
    by_packet = {each.packet: each for each in carried}
    monkeypatch.setattr(node.rendezvous, "_inspect", lambda packet, keys, now: by_packet[packet])
    for each in carried:
        node.publish(each, NOW)
    waiting = [timer for _, _, timer in node._timers._heap if timer.action is not None]
    # For each its next publication, and as nobody holds it its next try; and the node's tidying.
    assert len(waiting) == 2 * 10 + 1
    assert [p.carried for p in node.publisher._publications.values()] == carried[-10:]

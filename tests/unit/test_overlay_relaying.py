"""A relay obeys its own holders, for what came to it, and refuses all else."""

import random

import pytest
from blake3 import blake3

from qis.about import MAX_ROUTING_KEYS, Fingerprint
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import messages_of
from qis.overlay.messages import CHARGES_LIMIT, Deliver, Delivered, Relay, decode
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.relaying import LATELY_LIMIT, OBEYED_LIMIT
from qis.overlay.rpc import TRY_AFTER_S
from qis.overlay.subscription import all_under
from qis.simulation import letters, seals

NOW = 1_700_000_000.0
HOT, QUIET = b"hot key!", b"quiet---"
KEYS = (HOT,)
HOME = pack_address("192.0.2.1", 4_000)
HOLDER = pack_address("192.0.2.2", 4_000)
FINGERPRINT = Fingerprint(bytes(32), b"a scheme")


def key_of(number):
    return number.to_bytes(32)


def address_of(number):
    return pack_address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 4_000)


def record_of(number, address=None):
    return seals.credentials(key_of(number)).record(address or address_of(number), 1)


def letter_of(number, issuer=b"i" * 32):
    return letters.write(issuer, number, FINGERPRINT, b"")


def inspect(packet, keys, now):
    return letters.carried(packet, keys, now)


class Gate:
    """An application: what it was given, and whether it has room."""

    def __init__(self):
        self.got = []
        self.has_room = True

    def __call__(self, arrivals, now):
        self.got += [(packet, hops) for packet, _, hops in arrivals]
        return [self.has_room] * len(arrivals)


def node_of(name, address, *, verdict=inspect, accepts=lambda _: True, receive=None):
    """A node of the real core."""
    made = Settings(
        credentials=seals.credentials(name.ljust(32)),
        address=address,
        inspect=verdict,
        receive=receive or Gate(),
        accepts=accepts,
    )
    return OverlayNode(made, rng=random.Random(0), secret=bytes(32), now=NOW)


class Asked:
    """A node that is subscribed at one holder, and a packet that may come to it."""

    def __init__(self, keys=KEYS, **options):
        self.gate = Gate()
        self.keys = keys
        self.letter = letter_of(1)
        self.node = node_of(b"relay", HOME, receive=self.gate, **options)
        holder = node_of(b"holder", HOLDER)
        self.node.join([(holder.contact.record.key, HOLDER)], NOW)
        self.node.want(all_under([HOT]), NOW)
        ends = ((self.node, HOME, holder), (holder, HOLDER, self.node))
        for sender, address, receiver in ends * 20:
            for data, _, _ in sender.datagrams():
                receiver.receive_datagram(data, address, NOW)
        assert self.node.interests.hears_from(HOLDER)

    def hear(self, message, address=HOLDER):
        self.node.receive_datagram(message.encode(), address, NOW)
        return self.said()

    def said(self):
        datagrams = self.node.datagrams()
        return [(decode(each), to) for data, to, _ in datagrams for each in messages_of(data)]

    def deliver(self, letter=None, address=HOLDER):
        return self.hear(
            Deliver(request=b"d" * 8, hops=2, keys=self.keys, packet=letter or self.letter), address
        )

    def relay(self, numbers=(1, 2, 3), request=b"r" * 8, address=HOLDER, letter=None, records=None):
        message = Relay(
            request=request,
            digest=blake3(letter or self.letter).digest(),
            hops=2,
            records=records or tuple(record_of(i).encode() for i in numbers),
        )
        return self.hear(message, address)


@pytest.fixture
def asked():
    given_packet = Asked()
    assert given_packet.deliver() == [(Delivered(request=b"d" * 8), HOLDER)]
    return given_packet


def test_a_relay_passes_on_what_its_holder_sent_it_once_to_each_it_names(asked):
    said = asked.relay(range(CHARGES_LIMIT))
    sent = {to: message for message, to in said if is_packet(message)}
    assert set(sent) == {address_of(i) for i in range(CHARGES_LIMIT)}
    for message in sent.values():
        assert (message.packet, message.keys, message.hops) == (asked.letter, KEYS, 3)
    assert [m for m in said if m[1] == HOLDER] == [(Delivered(request=b"r" * 8), HOLDER)]
    assert len(said) == CHARGES_LIMIT + 1
    assert not asked.node.refused


def test_a_request_that_comes_again_is_answered_and_sends_nothing(asked):
    asked.relay()
    assert asked.relay() == [(Delivered(request=b"r" * 8), HOLDER)]
    assert len(asked.relay(request=b"R" * 8)) == 4  # another one is another one


def test_requests_are_remembered_up_to_a_limit(asked):
    assert asked.node.relaying._obeyed.limit == OBEYED_LIMIT
    asked.node.relaying._obeyed.limit = 2
    for number in range(3):
        asked.relay(request=number.to_bytes(8))
    assert list(asked.node.relaying._obeyed) == [(HOLDER, i.to_bytes(8)) for i in (1, 2)]


FORGED = record_of(2).encode()[:-1] + b"\x00"
LEAVING = record_of(2, address_of(2)[:16] + bytes(2)).encode()
ELSEWHERE = record_of(2, address_of(1)).encode()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"address": address_of(77)}, "unasked"),  # no holder of this node
        ({"letter": letter_of(2)}, "relay"),  # never came
        ({"records": (record_of(1).encode(), FORGED)}, "record"),
        ({"records": (record_of(1).encode(), LEAVING)}, "record"),
        ({"records": (record_of(1).encode(),) * 2}, "record"),
        ({"records": (record_of(1).encode(), ELSEWHERE)}, "record"),  # two names, one victim
    ],
    ids=["stranger", "packet", "forged", "leaving", "twice", "one address twice"],
)
def test_what_a_relay_refuses_it_counts_and_leaves_unanswered(asked, options, reason):
    assert asked.relay(**options) == []
    assert asked.node.refused == {reason: 1}
    assert len(asked.relay()) == 4  # nothing is remembered against a good request of that number


def test_a_relay_passes_on_nothing_that_does_not_verify():
    asked = Asked(verdict=lambda packet, keys, now: None)
    asked.deliver()
    assert asked.relay() == []
    assert asked.node.refused == {"relay": 1}


def test_a_relay_sends_to_nobody_whom_its_roster_does_not_accept():
    asked = Asked(accepts=lambda issuer: issuer.key != key_of(2))
    asked.deliver()
    assert asked.relay() == []
    assert asked.node.refused == {"record": 1}


def test_what_the_application_did_not_take_is_not_relayed():
    asked = Asked()
    asked.gate.has_room = False
    assert asked.deliver() == []
    assert asked.relay() == []
    assert asked.node.refused == {"relay": 1}


def test_only_the_latest_packets_are_remembered(asked):
    for number in range(2, LATELY_LIMIT + 1):
        asked.deliver(letter_of(number))
    assert len(asked.relay(request=b"1" * 8)) == 4  # the oldest of as many as there may be
    asked.deliver(letter_of(0))
    assert asked.relay(request=b"2" * 8) == []
    assert len(asked.relay(request=b"3" * 8, letter=letter_of(0))) == 4
    assert len(asked.node.relaying._lately) == LATELY_LIMIT


def test_what_one_datagram_makes_a_relay_send_is_bounded():
    """The factors that docs/overlay.md names: most keys, and nobody answers any of the tries."""
    asked = Asked(keys=tuple(sorted((HOT, *(i.to_bytes(8) for i in range(MAX_ROUTING_KEYS - 1))))))
    asked.deliver()
    names = tuple(record_of(i).encode() for i in range(CHARGES_LIMIT))
    cost = len(Relay(request=b"r" * 8, digest=b"d" * 32, hops=1, records=names).encode())
    first = [len(m.encode()) for m, _ in asked.relay(range(CHARGES_LIMIT)) if is_packet(m)]
    later = []
    while (at := asked.node.next_timer()) is not None and at < NOW + 20.0:
        asked.node.handle_timer(at)
        later += [len(m.encode()) for m, _ in asked.said() if is_packet(m)]
    assert len(first) == CHARGES_LIMIT
    assert len(later) == (len(TRY_AFTER_S) - 1) * CHARGES_LIMIT
    assert 7.1 < sum(first) / cost < 7.2
    assert 21.4 < sum(first + later) / cost < 21.6


def is_packet(message):
    return isinstance(message, Deliver)

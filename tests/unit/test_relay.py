"""Sites that cannot be called are reached through others, which see nothing but sizes and times."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, strategies as st

import qis
from benchmarks import _small_networks as small
from qis._guard import Guard
from qis.channel import Channels
from qis.overlay.addresses import pack_address
from qis.relay import MAGIC, Relays, is_relayed, relayed_address
from qis.relay.callability import CALLED_WITHIN_S, Callability
from qis.relay.frames import (
    NOBODY,
    Call,
    Forward,
    Forwarded,
    Here,
    Seek,
    SeenAs,
    Unreached,
    decode,
    encode,
    tags_of,
)
from qis.relay.relays import CALL_AGAIN_S, CALLS_RATE, SEALED_LIMIT
from qis.transport._relayed import RelayedChannels

IDENTITIES = [qis.Identity.from_seed(bytes([40 + n]) * 32) for n in range(6)]
KEYS = [each.issuer.key for each in IDENTITIES]
TAGS = [key[:8] for key in KEYS]
AT = [pack_address(f"192.0.2.{n + 1}", 4_000) for n in range(6)]
A, R, B, C, D, STRANGER = range(6)
MEMBERS = (A, R, B, C, D)
NOW = 1_000.0

tags, sealed = st.binary(min_size=8, max_size=8), st.binary(min_size=1, max_size=SEALED_LIMIT)
addresses = st.binary(min_size=18, max_size=18)
frames = st.one_of(
    st.builds(Seek, tags, addresses, st.lists(tags, max_size=128).map(tuple)),
    st.builds(SeenAs, tags, addresses, tags),
    st.builds(Call, tags, addresses, st.binary(min_size=32, max_size=32)),
    st.builds(Here, tags),
    st.builds(Forward, tags, sealed),
    st.builds(Forwarded, tags, sealed),
    st.builds(Unreached, tags),
)


@given(frames)
def test_what_is_encoded_is_decoded(frame):
    assert decode(encode(frame)) == frame
    assert decode(encode(frame) + b"x") != frame
    assert decode(encode(frame)[:-1]) != frame


@given(st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(lambda data: MAGIC + data)))
def test_decoding_is_total_and_strict(data):
    frame = decode(data)
    assert frame is None or encode(frame) == data


class Ways:
    """What one node knows: who is a member, and which of them it reaches."""

    def __init__(self, own, reached):
        self.callability = Callability(random.Random(1))
        self.own_address = AT[own]
        self._own = own
        self.reached = dict.fromkeys(reached)
        self.called = set()
        self.not_there = []

    def is_member(self, tag):
        return any(TAGS[n].startswith(tag) for n in MEMBERS if n != self._own)

    def path_to(self, tag):
        return next((path for path in self.paths() if path[0].startswith(tag)), None)

    def paths(self):
        return [(KEYS[n], AT[n]) for n in self.reached]

    def contacted(self):
        return tuple(TAGS[n] for n in {*self.reached, *self.called})

    def note_contact(self, tag):
        self.called.add(TAGS.index(tag))

    def not_forwarded(self, tag, relay, now):
        self.not_there.append((tag, relay))


class Node:
    """One node's channels and relays, without what is above them."""

    def __init__(self, number, reached):
        self.reach = Ways(number, reached)
        self.refused = Counter()
        self.channels = Channels(
            IDENTITIES[number],
            accepts=lambda issuer: issuer.key in [KEYS[n] for n in MEMBERS],
            rng=random.Random(number),
            secret=bytes([number]) * 32,
            refused=self.refused,
        )
        self.notices = Guard()
        self.relays = Relays(
            lambda: self.reach, rng=random.Random(2), refused=self.refused, guard=self.notices
        )
        self.both = RelayedChannels(self.channels, self.relays)
        self.got = []


class Wire:
    """Nodes that reach each other as `open_to` says: (from, to)."""

    def __init__(self, reached, open_to):
        self.nodes = {number: Node(number, others) for number, others in reached.items()}
        self.open_to = open_to
        self.log = []

    def carry(self, now=NOW):
        moved = True
        while moved:
            moved = False
            for number, node in self.nodes.items():
                node.relays.handle_timer(now)
                for data, address in node.both.datagrams(now):
                    assert not is_relayed(address)
                    to = AT.index(address)
                    self.log.append((number, to, data))
                    if (number, to) in self.open_to:
                        self.nodes[to].got += self.nodes[to].both.receive(data, AT[number], now)
                        moved = True

    def say(self, origin, frame, to, now=NOW):
        self.nodes[origin].channels.send(encode(frame), AT[to], KEYS[to], now)
        self.carry(now)


def behind_nats():
    """A and B reach R only, and nobody reaches A and B but in answer."""
    wire = Wire({A: [R], B: [R], R: [A, B]}, {(A, R), (R, A), (B, R), (R, B)})
    for node in wire.nodes.values():
        node.reach.callability.was_called()
    return wire


def test_two_that_do_not_reach_each_other_speak_through_a_third_which_reads_nothing():
    wire = behind_nats()
    wire.nodes[A].channels.send(b"qi secret", relayed_address(KEYS[B], KEYS[R]), KEYS[B], NOW)
    wire.carry()
    (opened,) = wire.nodes[B].got
    assert opened == (b"qi secret", relayed_address(KEYS[A], KEYS[R]), KEYS[A])
    wire.nodes[B].channels.send(b"qi answer", opened.address, None, NOW)
    wire.carry()
    (answer,) = wire.nodes[A].got
    assert answer == (b"qi answer", relayed_address(KEYS[B], KEYS[R]), KEYS[B])
    assert wire.nodes[R].got == []
    # Nor does anything that the relay has opened contain it.
    relay = wire.nodes[R].channels
    seen = []
    genuine = relay.receive
    relay.receive = lambda *given: seen.extend(found := genuine(*given)) or found
    wire.nodes[A].channels.send(b"qi secret", relayed_address(KEYS[B], KEYS[R]), KEYS[B], NOW)
    wire.carry()
    assert len(seen) == 1
    assert not any(b"secret" in each.plain for each in seen)


def test_the_largest_datagram_of_direct_mode_fits_through_a_relay():
    from qis.direct.frames import DATAGRAM_SIZE  # noqa: PLC0415

    wire = behind_nats()
    wire.nodes[A].channels.send(
        b"q" * DATAGRAM_SIZE, relayed_address(KEYS[B], KEYS[R]), KEYS[B], NOW
    )
    wire.carry()
    assert [len(each.plain) for each in wire.nodes[B].got] == [DATAGRAM_SIZE]
    assert max(len(data) for _, _, data in wire.log) <= 1_232


def test_a_relay_that_does_not_reach_somebody_says_so():
    wire = behind_nats()
    wire.nodes[A].channels.send(b"qi", relayed_address(KEYS[C], KEYS[R]), KEYS[C], NOW)
    wire.carry()
    assert (TAGS[C], KEYS[R]) in wire.nodes[A].reach.not_there


def test_nothing_is_forwarded_twice_nor_for_a_stranger():
    wire = behind_nats()
    address = relayed_address(KEYS[A], KEYS[R])
    relays = wire.nodes[B].relays
    frame = encode(Forward(TAGS[R], b"sealed"))
    assert relays.receive(frame, address, KEYS[A], NOW) is None  # came by a relay itself
    assert relays.receive(frame, AT[STRANGER], KEYS[STRANGER], NOW) is None
    assert relays.datagrams() == []
    assert relays.receive(frame, AT[A], KEYS[A], NOW) is None
    assert len(relays.datagrams()) == 1


def test_somebody_who_claims_to_forward_for_another_is_not_believed():
    wire = behind_nats()
    wire.nodes[A].channels.send(b"qi true", relayed_address(KEYS[B], KEYS[R]), KEYS[B], NOW)
    wire.carry()
    genuine = [each for each in wire.log if each[:2] == (R, B)]
    for made_up in (b"\x04" + bytes(40), b"\x01" + bytes(156), bytes([4]) * 60):
        wire.say(R, Forwarded(TAGS[A], made_up), B)
    assert [each.plain for each in wire.nodes[B].got] == [b"qi true"]
    for _, _, data in genuine:  # nor what is sent again
        wire.nodes[B].both.receive(data, AT[R], NOW)
    assert [each.plain for each in wire.nodes[B].got] == [b"qi true"]


def test_what_one_member_has_forwarded_is_bounded_by_the_hour(monkeypatch):
    monkeypatch.setattr("qis.relay.relays.BYTES_AN_HOUR", 100.0 * SEALED_LIMIT)
    relays = behind_nats().nodes[R].relays
    frame = encode(Forward(TAGS[B], b"s" * SEALED_LIMIT))
    for _ in range(100):
        relays.receive(frame, AT[A], KEYS[A], NOW)
    assert all(decode(data) != Unreached(TAGS[B]) for data, _, _ in relays.datagrams())
    relays.receive(frame, AT[A], KEYS[A], NOW)
    assert relays.datagrams() == [(encode(Unreached(TAGS[B])), AT[A], KEYS[A])]
    assert relays._refused == {"budget": 1}
    back = encode(Forward(TAGS[A], b"answer"))
    relays.receive(back, AT[B], KEYS[B], NOW)  # another's budget
    assert len(relays.datagrams()) == 1
    relays.receive(frame, AT[A], KEYS[A], NOW + 60.0)  # a minute later some is back
    ((data, _, _),) = relays.datagrams()
    assert decode(data) == Forwarded(TAGS[A], b"s" * SEALED_LIMIT)


def test_calls_that_others_ask_for_are_few_and_small():
    relays = Relays(lambda: Ways(C, [A]), rng=random.Random(2), refused=Counter(), guard=Guard())
    victim = pack_address("203.0.113.9", 53)
    for second in range(int(CALL_AGAIN_S)):
        relays.receive(encode(Call(bytes(8), victim, KEYS[B])), AT[A], KEYS[A], NOW + second)
    ((data, address, key),) = relays.datagrams()
    assert (decode(data), address, key) == (Here(bytes(8)), victim, KEYS[B])
    for member in (A, R, B, D) * 10:
        relays.receive(encode(Call(bytes(8), victim, KEYS[member])), AT[A], KEYS[A], NOW + 100.0)
    assert len(relays.datagrams()) <= CALLS_RATE
    relays.receive(encode(Call(bytes(8), victim, KEYS[STRANGER])), AT[A], KEYS[A], NOW + 300.0)
    assert relays.datagrams() == []


@pytest.mark.parametrize("is_open", [True, False])
def test_a_node_finds_out_whether_it_can_be_called(is_open):
    """It reaches R; R has it called by C or by D, to which it has sent nothing."""
    ways = {(A, R), (R, A), (R, C), (C, R), (R, D), (D, R)}
    if is_open:
        ways |= {(C, A), (A, C), (D, A), (A, D)}
    wire = Wire({A: [R], R: [A, C, D], C: [R], D: [R]}, ways)
    callability = wire.nodes[A].reach.callability
    for number in (R, C, D):
        wire.nodes[number].reach.callability.was_called()
    for turn in range(5):
        wire.carry(NOW + turn * (CALLED_WITHIN_S + CALL_AGAIN_S))
    assert callability.is_callable is is_open
    assert callability.seen_as == AT[A]


def test_a_call_from_whom_it_has_called_shows_nothing():
    ways = {(A, R), (R, A), (R, C), (C, R), (C, A), (A, C)}
    wire = Wire({A: [R], R: [A, C], C: [R]}, ways)
    for number in (R, C):
        wire.nodes[number].reach.callability.was_called()
    reach = wire.nodes[A].reach
    wire.nodes[A].relays.handle_timer(NOW)
    reach.called = {C}  # in the meantime
    wire.carry()
    assert reach.callability.is_callable is None


def test_an_address_names_both_keys_and_is_no_host_s():
    address = relayed_address(KEYS[A], KEYS[R])
    assert len(address) == 18
    assert is_relayed(address)
    assert tags_of(address) == (TAGS[A], KEYS[R][:6])
    assert not any(map(is_relayed, AT))
    assert not is_relayed(pack_address("100.0.0.1", 1))
    assert NOBODY not in TAGS


def network_behind_nats(count, nats, silence_s, kill=()):
    """What of a packet of each comes to all that are left, and the network."""

    async def scenario():
        network = small.SmallNetwork(seed=2, nats=frozenset(nats))
        transports = await small.opened(network, count)
        await network.advance(silence_s)
        for number in kill:
            network.kill(transports[number - 1])
        packets = []
        for number, each in enumerate(transports, 1):
            if number not in kill:
                packet = small.packet_of(small.identities(count)[number - 1], f"q{number}")
                packets.append(packet)
                await each.publish(packet, small.SCHEME.routing_keys(small.NEAR))
        await network.advance(60.0)
        left = [each for number, each in enumerate(transports, 1) if number not in kill]
        held = [each.holding(p.id).holders for each, p in zip(left, packets, strict=True)]
        return small.recall(left, packets), held, [each.health for each in left]

    return asyncio.run(scenario())


def codes(health):
    return {reason.code for reason in health.reasons}


@pytest.mark.parametrize("nats", [{5, 6}, {3, 4, 5, 6}, {2, 3, 4, 5, 6}])
def test_sites_behind_nats_reach_each_other_after_silence(nats):
    recall, held, health = network_behind_nats(6, nats, 600.0)
    assert recall == 1.0
    assert held == [5] * 6  # each has acknowledged it itself
    for number, each in enumerate(health, 1):
        client = {"client", "client_of_one"} & codes(each)
        assert bool(client) == (number in nats), (number, str(each))


def test_another_member_takes_over_when_a_relay_dies():
    recall, _, _ = network_behind_nats(6, {4, 5, 6}, 60.0, kill=(1,))
    assert recall == 1.0


def test_where_nobody_can_be_called_health_says_what_to_do():
    _, _, health = network_behind_nats(3, {1, 2, 3}, 120.0)
    # The first was given no peer, and waits for others; these call in vain.
    assert [each.state.value for each in health] == ["degraded", "cut off", "cut off"]
    assert all("nobody here can be called" in str(each) for each in health)
    assert all("run a relay" in str(each) and "take NATS" in str(each) for each in health)


def test_a_node_that_was_called_from_its_own_building_is_reached_all_the_same():
    """It takes itself for one that can be called, and is mistaken."""

    async def scenario():
        network = small.SmallNetwork(seed=2, nats=frozenset({5, 6}))
        transports = await small.opened(network, 6)
        node = transports[4]._carrier.node.node
        node.paths.callability.was_called()
        await network.advance(900.0)
        packet = small.packet_of(small.identities(6)[5], "q")
        await transports[5].publish(packet, small.SCHEME.routing_keys(small.NEAR))
        await network.advance(60.0)
        return small.recall(transports, [packet])

    assert asyncio.run(scenario()) == 1.0

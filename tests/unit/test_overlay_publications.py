"""What a publisher says has been handed over has been, and a burst waits its turn."""

import random
from collections import Counter

import pytest

from qis.errors import InputError
from qis.identity import Identity
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import messages_of
from qis.overlay.ids import node_id, rendezvous_id
from qis.overlay.interests import WANTED_LIMIT
from qis.overlay.message_store import Carried
from qis.overlay.messages import Find, Found, Leave, Publish, Published, decode
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.publications import BACKLOG_LIMIT, REPEAT_AFTER_S, SOON_S, TRY_AGAIN_S
from qis.overlay.record import Credentials
from qis.overlay.rounds import PATIENCE_S, ROUNDS_LIMIT
from qis.overlay.subscription import all_under

NOW = 1_700_000_000.0
KEY = b"k" * 8
SLOW_KEY = b"s" * 8
OTHER, OWN = sorted(  # the other is asked first
    (Credentials.of(Identity.from_seed(bytes([i]) * 32)) for i in (1, 2)),
    key=lambda credentials: node_id(credentials.key),
)
HOME, AWAY = (pack_address(f"192.0.2.{i}", 4_000) for i in (1, 2))


class World:
    """A node that publishes, and one other that holds what it is asked to, unless it is silent."""

    def __init__(self, *, with_other=True):
        self.packets = {}
        settings = Settings(
            credentials=OWN,
            address=HOME,
            inspect=lambda packet, keys, now: self.packets[packet],
            receive=lambda arrivals, now: [True] * len(arrivals),
            accepts=lambda _: True,
        )
        self.node = OverlayNode(settings, rng=random.Random(1), secret=bytes(32), now=NOW)
        self.now = NOW
        self.is_silent = False
        self.held = []
        self.asked_at_once = 0
        self.record = OTHER.record(AWAY, 1).encode()
        if with_other:
            self.node.join([(OTHER.key, AWAY)], self.now)
            self.exchange()
            self.run(1.0)  # what a new neighbour is to have has been handed to it

    def publish(self, number, expires_in_s=9e5, keys=(KEY,), **others):
        packet = number.to_bytes(512)
        carried = Carried(
            id=number.to_bytes(32),
            issuer=OWN.key,
            expires_at=self.now + expires_in_s,
            keys=keys,
            packet=packet,
            **others,
        )
        self.packets[packet] = carried
        self.node.publish(carried, self.now)

    def answer(self, message):
        if isinstance(message, Find):
            return Found(request=message.request, token=b"t" * 16, records=(self.record,))
        if isinstance(message, Publish):
            self.held.append(message.packet)
            return Published(request=message.request, young_bits=0)
        return None

    def exchange(self):
        while sent := self.node.datagrams():
            messages = [decode(part) for data, _, _ in sent for part in messages_of(data)]
            publishing = sum(isinstance(message, Publish) for message in messages)
            self.asked_at_once = max(self.asked_at_once, publishing)
            for message in messages:
                answer = None if self.is_silent else self.answer(message)
                if answer is not None:
                    self.node.receive_datagram(answer.encode(), AWAY, self.now)

    def run(self, seconds):
        end = self.now + seconds
        while (at := self.node.next_timer()) is not None and at <= end:
            self.now = at
            self.node.handle_timer(at)
            self.exchange()
        self.now = end


def test_what_a_holder_has_acknowledged_is_handed_over():
    world = World()
    world.publish(1)
    assert not world.node.is_idle
    world.exchange()
    assert world.node.is_idle
    assert world.held == [(1).to_bytes(512)]


def test_what_nobody_has_acknowledged_is_not_and_is_tried_again_soon():
    world = World()
    world.is_silent = True
    world.publish(1)
    world.exchange()
    world.run(4.5)  # three tries
    assert not world.node.is_idle
    world.is_silent = False
    world.run(TRY_AGAIN_S[0] + 1.0)
    assert world.node.is_idle
    assert world.held


def test_what_is_new_does_not_wait_for_repetitions():
    world = World()
    for number in range(3 * ROUNDS_LIMIT):
        world.publish(number)
    world.exchange()
    assert world.node.is_idle
    world.is_silent = True
    world.run(REPEAT_AFTER_S[0] + 0.1)  # all are published again, and nobody answers
    assert world.node.is_idle
    world.is_silent = False
    world.publish(999)
    assert not world.node.is_idle
    world.exchange()
    assert world.held[-1] == (999).to_bytes(512)
    assert world.node.is_idle
    world.run(60.0)
    assert set(Counter(world.held).values()) == {2}


def test_a_holder_that_has_left_is_not_asked():
    world = World()
    world.publish(1)
    world.exchange()
    gone = OTHER.record(AWAY[:16] + bytes(2), 2)
    world.node.receive_datagram(Leave(request=b"l" * 8, record=gone.encode()).encode(), AWAY, NOW)
    world.publish(2)
    world.exchange()
    assert world.held == [(1).to_bytes(512)]
    assert not world.node.all_held(world.now)  # nobody else is left


def test_it_is_given_up_when_it_expires():
    world = World()
    world.is_silent = True
    world.publish(1, expires_in_s=60.0)
    world.exchange()
    world.run(50.0)
    assert not world.node.publisher.is_idle
    world.run(700.0)
    assert world.node.publisher.is_idle
    assert not world.node.publisher._publications


def test_what_is_found_does_not_wait_for_a_lookup_that_meets_silence():
    world = World()
    answer = world.answer

    def silent_about_one_key(message):
        is_slow = isinstance(message, Find) and message.target == rendezvous_id(SLOW_KEY)
        return None if is_slow else answer(message)

    world.answer = silent_about_one_key
    world.publish(1, keys=(KEY, SLOW_KEY))
    world.exchange()
    world.run(PATIENCE_S - 0.1)
    assert world.held == []  # who holds both could be asked once
    world.run(0.2)
    assert world.held == [(1).to_bytes(512)]
    assert not world.node.is_idle
    world.run(5.0)  # the last try has run out
    assert world.node.is_idle


def test_who_holds_several_keys_is_asked_once_if_they_are_found_soon():
    world = World()
    world.publish(1, keys=(KEY, SLOW_KEY))
    world.exchange()
    assert world.held == [(1).to_bytes(512)]
    assert world.node.publisher.sent == 1
    assert world.node.is_idle


def test_who_is_alone_holds_nothing_for_itself_and_hands_over_when_another_comes():
    world = World(with_other=False)
    world.publish(1)
    world.run(600.0)
    assert not world.node.is_idle
    assert not world.node.all_held(world.now)
    assert len(world.node.rendezvous.message_store) == 1  # kept all the same, for whoever comes
    world.node.join([(OTHER.key, AWAY)], world.now)
    world.exchange()
    world.run(2 * SOON_S)  # not only when the next try is due, up to 40 s later
    assert world.node.all_held(world.now)
    assert world.held[-1] == (1).to_bytes(512)


def test_held_is_what_another_has_under_each_key_and_stays_so_when_it_dies():
    world = World()
    is_refused = True
    answer = world.answer

    def refuses_one_key(message):
        if is_refused and isinstance(message, Publish) and message.key_bits & 2:
            return None
        return answer(message)

    world.answer = refuses_one_key
    world.publish(1, keys=(KEY,))
    world.publish(2, keys=(KEY, SLOW_KEY))
    world.exchange()
    world.run(60.0)
    first, second = (world.node.progress(number.to_bytes(32)) for number in (1, 2))
    assert (first.is_held, first.holders) == (True, 1)
    assert not second.is_held
    assert second.tries >= 2
    assert not world.node.all_held(world.now)
    is_refused = False
    world.run(60.0)
    assert world.node.progress((2).to_bytes(32)).is_held
    assert world.node.all_held(world.now)
    world.is_silent = True
    world.run(REPEAT_AFTER_S[1] + 10.0)  # it is published again, and nobody is left
    assert not world.node.is_idle
    assert world.node.all_held(world.now)
    world.publish(3)
    assert not world.node.all_held(world.now)


def test_what_is_replaced_is_repeated_no_longer_and_nobody_waits_for_it():
    world = World()
    world.is_silent = True
    for number in (1, 2, 3):
        world.publish(number, topic=b"a topic", sequence=number)
    world.exchange()
    world.run(30.0)
    assert not world.node.all_held(world.now)
    assert world.node.progress((1).to_bytes(32)) is None
    world.is_silent = False
    world.run(60.0)
    assert world.node.all_held(world.now)
    assert set(world.held) == {(3).to_bytes(512)}
    assert len(world.node.publisher._publications) == 1


def test_asking_again_and_again_whether_all_is_held_costs_no_traffic():
    world = World()
    world.is_silent = True
    world.publish(1)
    world.exchange()
    world.run(5.0)
    before = world.node.publisher.sent
    for _ in range(100):
        world.node.publisher.spread(world.now)
        world.exchange()
    assert world.node.publisher.sent == before


def test_a_burst_waits_its_turn_and_none_of_it_is_lost():
    world = World()
    for number in range(5_000):
        world.publish(number)
        if number >= BACKLOG_LIMIT + ROUNDS_LIMIT:
            assert world.node.publisher.is_full
    world.exchange()
    assert world.node.is_idle
    assert not world.node.publisher.is_full
    assert world.asked_at_once <= ROUNDS_LIMIT
    assert set(world.held) == {number.to_bytes(512) for number in range(5_000)}


def test_who_is_pushed_out_of_the_repetitions_is_left_to_all_its_holders(monkeypatch):
    monkeypatch.setattr("qis.overlay.publications.PUBLICATIONS_LIMIT", 4)
    world = World()
    for number in range(6):
        world.publish(number)
        world.exchange()
    assert world.held.count((0).to_bytes(512)) == 2  # once as the first holder, once as one of all
    assert world.held.count((5).to_bytes(512)) == 1
    assert world.node.is_idle


def test_too_many_wishes_are_refused_to_whoever_has_them_before_the_first_peer_answers_too():
    world = World(with_other=False)
    world.node.join([(OTHER.key, AWAY)], world.now)
    wanted = all_under(number.to_bytes(8) for number in range(WANTED_LIMIT + 1))
    with pytest.raises(InputError, match="fewer interests"):
        world.node.want(wanted, world.now)
    world.exchange()
    world.run(1.0)
    assert world.node.interests.wanted == {}


def test_what_waits_for_the_first_peer_counts_too():
    world = World(with_other=False)
    world.node.join([(OTHER.key, AWAY)], world.now)
    for number in range(BACKLOG_LIMIT):
        assert not world.node.is_full
        world.publish(number)
    assert world.node.is_full
    world.exchange()
    world.run(1.0)
    assert not world.node.is_full
    assert len(set(world.held)) == BACKLOG_LIMIT


def test_a_packet_of_few_keys_is_repeated_first_at_all_its_holders_who_trust_nobody():
    world = World()
    seen = []
    answer = world.answer

    def noting(message):
        if isinstance(message, Publish):
            seen.append((message.attempt, message.quiet_bits))
        return answer(message)

    world.answer = noting
    world.publish(1)
    world.exchange()
    assert seen == [(0, 0)]  # a mature holder is enough
    world.run(40.0)
    assert seen[1:] == [(1, 0)]
    assert len(world.node.rendezvous.message_store) == 1  # here too, the second of the two holders
    world.run(700.0)
    assert [attempt for attempt, _ in seen[2:]] in ([2], [])  # and then one at a time again


class Crowd(World):
    """A node that publishes, and several others that know each other; some may be silent."""

    def __init__(self, count):
        super().__init__(with_other=False)
        keys = [Credentials.of(Identity.from_seed(bytes([i]) * 32)) for i in range(10, 10 + count)]
        self.others = {pack_address(f"192.0.2.{i}", 4_000): key for i, key in enumerate(keys, 10)}
        self.records = tuple(key.record(at, 1).encode() for at, key in self.others.items())
        self.silent, self.has, self.finds = set(), Counter(), 0
        self.node.join([(key.key, at) for at, key in self.others.items()], self.now)
        self.exchange()
        self.run(5.0)

    def exchange(self):
        while sent := self.node.datagrams():
            for data, address, _ in sent:
                for part in messages_of(data):
                    self.hear(decode(part), address)

    def hear(self, message, address):
        answer = None
        if isinstance(message, Find):
            self.finds += 1
            answer = Found(request=message.request, token=b"t" * 16, records=self.records)
        elif isinstance(message, Publish) and address not in self.silent:
            self.has[address] += 1
            answer = Published(request=message.request, young_bits=0)
        if answer is not None:
            self.node.receive_datagram(answer.encode(), address, self.now)


@pytest.mark.parametrize("silent", [1, 2])
def test_a_holder_that_falls_silent_is_replaced_by_the_next(silent):
    world = Crowd(6)
    world.publish(1)
    world.exchange()
    (first,) = world.has  # a holder says who has it: one asked, and no other
    finds = world.finds
    world.publish(2)
    world.exchange()
    assert world.has == {first: 2}
    assert world.finds == finds  # who holds the key is remembered
    world.silent = {first}
    world.publish(3)
    world.run(10.0)
    second = next(at for at in world.has if at != first)
    assert world.has == {first: 2, second: 1}
    assert world.node.progress((3).to_bytes(32)).is_held
    if silent == 2:
        world.silent.add(second)
    # What was remembered is forgotten with the silent one: the next is looked up anew.
    world.publish(4)
    world.run(30.0)
    assert world.finds > finds
    assert world.node.progress((4).to_bytes(32)).is_held
    assert world.has[first] == 2
    if silent == 1:
        assert world.has[second] >= 2
    else:
        assert world.has[second] == 1
        assert len(world.has) >= 3


def test_what_no_holder_answers_for_is_not_held():
    world = Crowd(6)
    world.silent = set(world.others)
    world.publish(1)
    world.run(30.0)
    assert not world.node.progress((1).to_bytes(32)).is_held
    assert not world.has
    world.silent = set()
    world.run(TRY_AGAIN_S[0] + 60.0)
    assert world.node.progress((1).to_bytes(32)).is_held

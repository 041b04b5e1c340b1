"""A session moves with its peer, and with nobody else (RFC 9000, 8.2 and 9.3)."""

import pytest

from qis.channel.channels import Opened
from qis.channel.roaming import CHALLENGE, MOVE_EVERY_S, PATIENCE_S, SIZE
from qis.channel.session import LIFETIME_S
from qis.channel.sessions import FORMER_LIMIT
from tests.unit.test_channel import ADDRESSES, KEYS, Wire

A, B = 0, 1
HOME, AWAY, THIRD = ADDRESSES[A], b"a" * 18, b"t" * 18
LONG = b"a keep-alive is longer than a challenge"


class Moving:
    """A talks to B from whatever address its NAT gives it; B's answers reach it where it is now."""

    def __init__(self):
        self.wire = Wire()
        self.wire.talk(A, B)
        self.at = HOME
        self.a, self.b = self.wire.nodes

    def sealed(self, text=LONG):
        self.a.send(text, ADDRESSES[B], KEYS[B], self.wire.now)
        return [data for data, _ in self.a.datagrams()]

    def arrive(self, data, source):
        """What B gives to its node, and what it sends."""
        return self.b.receive(data, source, self.wire.now), self.b.datagrams()

    def talk(self, text=LONG):
        """A sends to B, and both answer until nothing is left; what B has given to its node."""
        got = []
        for data in self.sealed(text):
            found, sent = self.arrive(data, self.at)
            got += found
            while sent:
                reply, to = sent.pop(0)
                if to == self.at:
                    self.a.receive(reply, ADDRESSES[B], self.wire.now)
                    for answer, _ in self.a.datagrams():
                        more, after = self.arrive(answer, self.at)
                        got += more
                        sent += after
        return got

    def goes_to(self, asked=HOME):
        """Where B sends what is meant for A at an address."""
        self.b.send(b"to you", asked, KEYS[A], self.wire.now)
        ((_, to),) = self.b.datagrams()
        return to


def test_a_session_follows_a_peer_that_answers_where_it_says_it_is():
    moving = Moving()
    moving.at = AWAY
    # What comes is authentic, and not lost; but it proves no address yet.
    assert moving.talk() == [Opened(LONG, HOME, KEYS[A])]
    assert moving.talk(b"next") == [Opened(b"next", AWAY, KEYS[A])]
    # Who does not know of the move yet sends to the right place too.
    assert moving.goes_to(HOME) == moving.goes_to(AWAY) == AWAY
    moving.b.send(b"an answer", AWAY, None, moving.wire.now)
    assert [to for _, to in moving.b.datagrams()] == [AWAY]


def test_until_the_challenge_is_answered_nothing_else_goes_there_and_nothing_larger():
    moving = Moving()
    for size in range(1, 60):
        for data in moving.sealed(bytes([65]) * size):
            _, sent = moving.arrive(data, AWAY)
            assert all(len(reply) <= len(data) and to == AWAY for reply, to in sent)
            assert len(sent) == (size >= SIZE)
    assert moving.goes_to() == HOME


def test_who_copies_datagrams_on_the_way_moves_nothing():
    """It is faster than the network, so its copies are the newest: that is all that it can be."""
    moving = Moving()
    for _ in range(5):
        (data,) = moving.sealed()
        got, sent = moving.arrive(data, THIRD)
        assert [each.plain for each in got] == [LONG]
        assert moving.arrive(data, HOME) == ([], [])  # the copy that comes second
        ((challenge, to),) = sent
        assert to == THIRD
        for made_up in (challenge, b"\x04" + challenge[1:], challenge[:-1] + b"x"):
            assert moving.arrive(made_up, THIRD)[0] == []
    assert moving.goes_to() == HOME
    # Even if it passes the challenge on, the answer comes from where the peer is.
    moving.a.receive(challenge, ADDRESSES[B], moving.wire.now)
    ((answer, _),) = moving.a.datagrams()
    assert moving.arrive(answer, HOME) == ([], [])
    assert moving.goes_to() == HOME


def test_what_was_recorded_earlier_brings_no_challenge():
    moving = Moving()
    (old,) = moving.sealed()
    moving.talk(b"newer")
    got, sent = moving.arrive(old, AWAY)  # late on the way: taken, and no news of an address
    assert [each.plain for each in got] == [LONG]
    assert sent == []


def test_an_answer_counts_at_its_address_and_in_its_time():
    moving = Moving()
    (data,) = moving.sealed()
    _, ((challenge, _),) = moving.arrive(data, AWAY)
    moving.a.receive(challenge, ADDRESSES[B], moving.wire.now)
    ((answer, _),) = moving.a.datagrams()
    moving.wire.now += PATIENCE_S
    assert moving.arrive(answer, AWAY) == ([], [])
    assert moving.goes_to() == HOME
    assert moving.b.refused["unasked"] == 1


@pytest.mark.parametrize("later_s", [0.0, MOVE_EVERY_S - 0.1, MOVE_EVERY_S])
def test_one_move_in_ten_seconds_and_back_again(later_s):
    moving = Moving()
    moving.at = AWAY
    moving.talk()
    moving.wire.now += later_s
    moving.at = HOME
    assert [each.plain for each in moving.talk()] == [LONG]  # the old address stays good
    assert moving.goes_to() == (HOME if later_s >= MOVE_EVERY_S else AWAY)


def test_a_peer_that_moves_again_and_again_leaves_nothing_behind():
    moving = Moving()
    sessions = moving.b.sessions
    for number in range(20):
        moving.at = bytes([100 + number]) * 18
        moving.talk()
        moving.wire.now += MOVE_EVERY_S
    assert len(sessions._newest) <= FORMER_LIMIT + 1
    assert set(sessions._at_address) == {moving.at}
    moving.wire.now += LIFETIME_S
    moving.b.handle_timer(moving.wire.now)
    assert not sessions._newest
    assert not sessions._at_address
    assert len(sessions) == 0


def test_a_caller_that_has_confirmed_nothing_is_heard_only_where_it_called():
    wire = Wire()
    letters = wire.send(A, B, b"first")
    response = wire.arrive(*letters[0])
    ((source, target, confirmation),) = wire.arrive(*response[0])
    assert wire.nodes[B].receive(confirmation, AWAY, wire.now) == []
    assert wire.nodes[B].refused == {"no_session": 1}
    wire.carry([(source, target, confirmation)])
    assert wire.got[B] == [(b"first", KEYS[A])]


def test_text_that_looks_like_a_challenge_or_an_answer_is_not_given_to_the_node():
    moving = Moving()
    for text in (CHALLENGE + bytes(8), b"\x00qc!" + bytes(8)):
        assert moving.talk(text) == []
    assert moving.talk(b"\x00other") == [Opened(b"\x00other", HOME, KEYS[A])]

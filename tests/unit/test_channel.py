"""The encrypted channel against everything that a network and its people can do to it."""

import random
from dataclasses import replace
from hashlib import blake2b

import pytest
from hypothesis import given, strategies as st

import qis
from qis.channel import Channels, ciphers, sessions
from qis.channel.channels import PLAIN_LIMIT
from qis.channel.cookies import CALM_RATE, PERIOD_S, Cookies
from qis.channel.handshake import REFUSAL, CallRefused, Initiation, Response
from qis.channel.initiator import CALLS_LIMIT, TRY_AFTER_S, WAITING_LIMIT
from qis.channel.replay_window import WINDOW, ReplayWindow
from qis.channel.responder import CALLS_OF_ONE_RATE, REMEMBERED_S, STRANGERS_RATE
from qis.channel.session import DEAD_AFTER_S, LIFETIME_S, OVERHEAD, RENEW_AFTER_S
from qis.channel.sessions import SESSIONS_LIMIT, UNCONFIRMED_LIMIT, UNCONFIRMED_S
from qis.identity import verify as identity_verify
from qis.refusals import TELL_EVERY_S, RefusalCode

NOW = 1_800_000_000.0
IDENTITIES = [qis.Identity.from_seed(bytes([number]) * 32) for number in range(1, 5)]
KEYS = [identity.issuer.key for identity in IDENTITIES]
ADDRESSES = [bytes([number]) * 18 for number in range(1, 5)]
A, B, C = 0, 1, 2


class Wire:
    """Some nodes and what is on the wire between them, to be carried or tampered with."""

    def __init__(self, count=2, accepts=lambda _: True):
        self.now = NOW
        self.offsets = [0.0] * count
        self.told = [[] for _ in range(count)]
        self.nodes = [
            Channels(
                IDENTITIES[i],
                accepts=accepts,
                rng=random.Random(i),
                secret=bytes([i]) * 32,
                told=lambda key, code, _now, i=i: self.told[i].append((key, code)),
            )
            for i in range(count)
        ]
        self.got = [[] for _ in range(count)]
        self.log = []

    def send(self, source, target, text, key="theirs"):
        key = KEYS[target] if key == "theirs" else key
        self.nodes[source].send(text, ADDRESSES[target], key, self.now + self.offsets[source])
        return self.taken(source)

    def taken(self, node):
        return [(node, ADDRESSES.index(to), data) for data, to in self.nodes[node].datagrams()]

    def arrive(self, source, target, data):
        self.log.append((source, target, data))
        now = self.now + self.offsets[target]
        found = self.nodes[target].receive(data, ADDRESSES[source], now)
        self.got[target] += [(each.plain, each.key) for each in found]
        return self.taken(target)

    def carry(self, letters, change=lambda letter: [letter]):
        letters = list(letters)
        while letters:
            for source, target, data in change(letters.pop(0)):
                letters += self.arrive(source, target, data)

    def talk(self, source, target, text=b"hello"):
        self.carry(self.send(source, target, text))

    def transcript(self, source, target):
        """Of the last call from one to the other."""
        calls = [data for a, b, data in self.log if (a, b, data[0]) == (source, target, 1)]
        return Initiation.decode(calls[-1]).transcript(KEYS[target])

    def wait(self, seconds):
        """Let time pass, with all that is due in it."""
        end = self.now + seconds
        while True:
            due = [(n.next_timer(), i) for i, n in enumerate(self.nodes)]
            due = [(at, i) for at, i in due if at is not None and at <= end]
            if not due:
                self.now = end
                return
            at, i = min(due)
            self.now = max(self.now, at)
            self.nodes[i].handle_timer(self.now)
            self.carry(self.taken(i))


def test_a_first_datagram_arrives_after_one_round_trip_and_answers_find_the_way_back():
    wire = Wire()
    wire.talk(A, B, b"question")
    assert wire.got[B] == [(b"question", KEYS[A])]
    assert [data[0] for _, _, data in wire.log] == [1, 2, 4]
    wire.carry(wire.send(B, A, b"answer", key=None))
    assert wire.got[A] == [(b"answer", KEYS[B])]
    assert not wire.nodes[A].refused
    assert not wire.nodes[B].refused


def test_sealing_adds_29_bytes_and_hides_the_text():
    wire = Wire()
    wire.talk(A, B)
    text = b"patient" * 100
    ((_, _, data),) = wire.send(A, B, text)
    assert len(data) == len(text) + OVERHEAD == len(text) + 29
    assert b"patient" not in data
    assert PLAIN_LIMIT + OVERHEAD == 1_280 - 48


def test_no_answer_to_a_stranger_is_larger_than_its_question():
    wire = Wire()
    letters = wire.send(A, B, b"x" * PLAIN_LIMIT)
    (_, _, initiation) = letters[0]
    (answer,) = wire.arrive(*letters[0])
    assert len(answer[2]) < len(initiation)


def test_an_answer_without_a_session_is_dropped_and_counted():
    wire = Wire()
    assert wire.send(A, B, b"answer", key=None) == []
    assert wire.nodes[A].refused == {"no_session": 1}


def test_reflection():
    """A node's own messages, sent back to it, are nothing to it."""
    wire = Wire()

    def reflected(letter):
        source, target, data = letter
        assert wire.nodes[source].receive(data, ADDRESSES[target], wire.now) == []
        return [letter]

    wire.carry(wire.send(A, B, b"hello"), reflected)
    assert wire.got == [[], [(b"hello", KEYS[A])]]
    wire.carry(wire.send(B, A, b"back"), reflected)
    assert wire.got[A] == [(b"back", KEYS[B])]
    assert wire.nodes[A].refused["reflected"] == 1


def test_replay():
    wire = Wire()
    wire.talk(A, B, b"one")
    wire.talk(A, B, b"two")
    before = list(wire.got[B])
    for source, target, data in list(wire.log):
        wire.carry(
            [(source, target, data)],
            lambda letter, once=data: [letter] if letter[2] == once else [],
        )
    assert wire.got[B] == before
    assert wire.nodes[B].refused["forged_or_repeated"] == 2
    wire.talk(A, B, b"three")
    assert wire.got[B][-1] == (b"three", KEYS[A])


def test_reordering_within_the_window_and_beyond():
    wire = Wire()
    wire.talk(A, B, b"first")
    letters = [wire.send(A, B, number.to_bytes(4))[0] for number in range(WINDOW + 2)]
    wire.carry(letters[1:][::-1])
    assert len(wire.got[B]) == 1 + WINDOW
    wire.carry(letters[:1])
    assert len(wire.got[B]) == 1 + WINDOW


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=60))
def test_the_window_is_a_set_of_what_is_not_too_old(numbers):
    window, seen = ReplayWindow(), set()
    for number in numbers:
        highest = max(seen, default=-1)
        assert window.has_room(number) == (number not in seen and number > highest - WINDOW)
        if window.has_room(number):
            window.note(number)
            seen.add(number)


def test_keys_stolen_afterwards_open_nothing():
    """Forward secrecy: with both long-term keys and all that was sent, nothing can be read."""
    pairs = []

    def remembered():
        pairs.append(ciphers.new_key_pair())
        return pairs[-1]

    wire = Wire()
    for node in wire.nodes:
        node._initiator._key_pairs = remembered
    wire.talk(A, B, b"secret")
    sealed = wire.log[-1][2]
    # The same two identities, the same messages, other ephemeral keys: other session keys.
    thief = Wire()
    thief.talk(A, B, b"secret")
    for node in (A, B):
        for session in thief.nodes[node].sessions._in_use.values():
            assert session.unseal(sealed) is None
    # What was needed is no longer anywhere in the node that made it.
    secret = pairs[0][1]
    held = [wire.nodes[A]._initiator._calls, wire.nodes[A].sessions._in_use]
    assert held[0] == {}
    for session in held[1].values():
        assert secret not in session._keys


@pytest.mark.parametrize("what", [1, 2, 4])
def test_every_changed_byte_is_noticed(what):
    wire = Wire()
    letters = [*wire.send(A, B, b"hello")]
    while letters[0][2][0] != what:
        letters += wire.arrive(*letters.pop(0))
    source, target, data = letters[0]
    for offset in range(len(data)):
        changed = bytearray(data)
        changed[offset] ^= 0x40
        if what == 1 and offset >= len(data) - 16:
            continue  # the cookie, which is checked only when many call
        wire.arrive(source, target, bytes(changed))
        assert wire.got == [[], []]
    wire.carry([(source, target, data)])
    assert wire.got[B] == [(b"hello", KEYS[A])]


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_each_message_of_a_handshake_may_be_lost(lost):
    wire = Wire()
    dropped = []

    def lose_one(letter):
        if letter[2][0] == lost and not dropped:
            dropped.append(letter)
            return []
        return [letter]

    wire.carry(wire.send(A, B, b"hello"), lose_one)
    wire.wait(1.0)
    wire.talk(A, B, b"again")
    assert (b"again", KEYS[A]) in wire.got[B]
    assert len(dropped) == 1
    if lost != 4:  # a lost datagram is for the overlay above to repeat
        assert wire.got[B][0] == (b"hello", KEYS[A])


def test_who_does_not_answer_is_called_three_times():
    wire = Wire()
    calls = len(wire.send(A, B, b"hello"))
    for _ in range(10):
        at = wire.nodes[A].next_timer()
        if at is None:
            break
        wire.nodes[A].handle_timer(at)
        calls += len(wire.taken(A))
    assert calls == len(TRY_AFTER_S)
    assert wire.nodes[A].refused == {"unreachable": 1}


def test_simultaneous_calls_lead_to_sessions_that_both_can_use():
    wire = Wire()
    wire.carry([*wire.send(A, B, b"from a"), *wire.send(B, A, b"from b")])
    assert wire.got == [[(b"from b", KEYS[B])], [(b"from a", KEYS[A])]]
    for number in range(5):
        wire.talk(A, B, bytes([number]))
        wire.talk(B, A, bytes([number]))
    assert len(wire.got[A]) == len(wire.got[B]) == 6


def test_a_signature_is_checked_only_for_a_cookie_when_many_call(monkeypatch):
    wire = Wire()
    checked = []
    real = qis.identity.verify
    monkeypatch.setattr(
        "qis.channel.responder.verify", lambda *args: (checked.append(1), real(*args))
    )
    forged = Initiation(session=1, ephemeral=bytes(32), key=KEYS[C], time_ms=0)
    replies = []
    for number in range(200):
        address = number.to_bytes(18)
        wire.nodes[B].receive(forged.encode(), address, NOW)
        replies += wire.nodes[B].datagrams()
    assert len(checked) == CALM_RATE
    assert wire.nodes[B].refused["cookie"] == 200 - CALM_RATE
    assert all(len(data) < len(forged.encode()) for data, _ in replies)
    checked.clear()
    wire.talk(A, B, b"an honest caller proves its address")
    assert wire.got[B] == [(b"an honest caller proves its address", KEYS[A])]
    assert len(checked) == 1
    assert [data[0] for _, _, data in wire.log] == [1, 3, 1, 2, 4]


def test_a_cookie_proves_one_address_for_a_while():
    cookies = Cookies(bytes(32))
    cookie = cookies.cookie(ADDRESSES[A], 0.0)
    assert cookies.proves(ADDRESSES[A], cookie, 2 * PERIOD_S - 1.0)
    assert not cookies.proves(ADDRESSES[A], cookie, 2.0 * PERIOD_S)
    assert not cookies.proves(ADDRESSES[B], cookie, 0.0)


def test_who_is_not_on_the_roster_is_told_so_once_its_address_is_proven():
    wire = Wire(accepts=lambda issuer: issuer.key == KEYS[C])
    wire.talk(A, B)
    assert wire.got == [[], []]
    assert [data[0] for _, _, data in wire.log] == [1, 3, 1, 5]
    sizes = [len(data) for source, _, data in wire.log if source == B]
    assert max(sizes) <= 100
    assert sum(sizes) < 157  # less than one call, so nothing is amplified
    assert wire.told == [[(KEYS[B], RefusalCode.ROSTER)], []]
    assert wire.nodes[B].refused == {"unknown_issuer": 2}
    assert len(wire.nodes[B].sessions) == 0


def test_a_stranger_is_told_once_a_minute():
    wire = Wire(accepts=lambda issuer: issuer.key == KEYS[C])
    wire.talk(A, B)
    wire.wait(TELL_EVERY_S - 1.0)
    wire.talk(A, B)
    assert len(wire.told[A]) == 1
    wire.wait(5.0)  # that call is given up, and another one begins
    wire.talk(A, B)
    assert len(wire.told[A]) == 2


def test_nobody_learns_whom_a_roster_lists_by_calling_in_another_s_name():
    answers = []
    for listed in (KEYS[A], KEYS[C]):
        wire = Wire(accepts=lambda issuer, listed=listed: issuer.key == listed)
        (_, _, call), *_ = wire.send(A, B, b"hello")
        forged = replace(Initiation.decode(call), signature=bytes(64)).encode()
        answers.append(wire.arrive(A, B, forged))
        # Nor with an address that is proven.
        cookie = Cookies(bytes([B]) * 32).cookie(ADDRESSES[A], wire.now)
        forged = replace(Initiation.decode(forged), cookie=cookie).encode()
        answers.append(wire.arrive(A, B, forged))
    assert answers == [[], [], [], []]


def test_a_refusal_is_believed_only_from_the_node_that_was_called():
    wire = Wire(count=3, accepts=lambda issuer: issuer.key == KEYS[C])
    letters = wire.send(A, B, b"hello")
    while letters[0][2][0] != REFUSAL:
        letters = wire.arrive(*letters[0])
    ((_, _, refusal),) = letters
    for offset in range(len(refusal)):
        wire.arrive(B, A, refusal[:offset] + bytes([refusal[offset] ^ 1]) + refusal[offset + 1 :])
    by_another = CallRefused.decode(refusal)
    transcript = wire.transcript(A, B)
    stolen = IDENTITIES[C].sign(by_another.signed_part(transcript))
    wire.arrive(B, A, replace(by_another, signature=stolen).encode())
    wire.arrive(C, A, refusal)
    assert wire.told[A] == []
    wire.arrive(B, A, refusal)
    wire.arrive(B, A, refusal)
    assert wire.told[A] == [(KEYS[B], RefusalCode.ROSTER)]


def test_a_flood_of_strangers_costs_few_signatures(monkeypatch):
    checked = []

    def verify(*arguments):
        checked.append(arguments)
        return identity_verify(*arguments)

    monkeypatch.setattr("qis.channel.responder.verify", verify)
    wire = Wire(accepts=lambda _: False)
    (_, _, call), *_ = wire.send(A, B, b"hello")
    cookie = Cookies(bytes([B]) * 32).cookie(ADDRESSES[A], wire.now)
    proven = replace(Initiation.decode(call), cookie=cookie).encode()
    answers = [answer for _ in range(1_000) for answer in wire.arrive(A, B, proven)]
    assert len(answers) == 1
    assert len(checked) == CALLS_OF_ONE_RATE < STRANGERS_RATE


def test_the_clocks_are_compared():
    wire = Wire()
    wire.offsets[B] = 90.0
    wire.talk(A, B)
    assert wire.nodes[A].sessions.clocks_s[KEYS[B]] == pytest.approx(90.0, abs=0.01)
    assert wire.nodes[B].sessions.clocks_s[KEYS[A]] == pytest.approx(-90.0, abs=0.01)


def test_somebody_else_on_the_roster_cannot_take_an_address():
    """A member in the middle answers with his own key: the caller knows whom it called."""
    wire = Wire(3)
    (_, _, initiation) = wire.send(A, B, b"for b only")[0]
    # C answers at B's address, as itself and as far as it can as B.
    wire.nodes[C].receive(initiation, ADDRESSES[A], NOW)
    for data, _ in wire.nodes[C].datagrams():
        wire.arrive(B, A, data)
    relayed = Initiation.decode(initiation)
    own = ciphers.new_key_pair()
    answer = Response(to=relayed.session, session=7, ephemeral=own[0], time_ms=0)
    signature = IDENTITIES[C].sign(answer.signed_part(relayed.transcript(KEYS[B])))
    forged = Response(
        to=relayed.session, session=7, ephemeral=own[0], time_ms=0, signature=signature
    )
    wire.arrive(B, A, forged.encode())
    assert wire.nodes[A].refused["signature"] >= 1
    assert wire.got[C] == []
    # B is not misled about who calls either: C cannot pass A's call on as its own.
    stolen = Initiation(
        session=relayed.session,
        ephemeral=relayed.ephemeral,
        key=KEYS[C],
        time_ms=relayed.time_ms,
        signature=relayed.signature,
    )
    wire.arrive(C, B, stolen.encode())
    assert wire.nodes[B].refused == {"signature": 1}


def test_an_initiation_meant_for_another_node_is_refused():
    wire = Wire(3)
    (_, _, initiation) = wire.send(A, B, b"hello")[0]
    wire.arrive(A, C, initiation)
    assert wire.nodes[C].refused == {"signature": 1}


def test_public_keys_of_small_order_are_refused():
    wire = Wire()
    unsigned = Initiation(session=1, ephemeral=bytes(32), key=KEYS[A], time_ms=0)
    signature = IDENTITIES[A].sign(unsigned.signed_part(KEYS[B]))
    call = Initiation(session=1, ephemeral=bytes(32), key=KEYS[A], time_ms=0, signature=signature)
    assert wire.arrive(A, B, call.encode()) == []
    assert wire.nodes[B].refused == {"agreement": 1}


def test_a_session_is_renewed_without_loss_and_ends():
    wire = Wire()
    wire.talk(A, B, b"0")
    first = next(iter(wire.nodes[A].sessions._in_use))
    for number in range(1, 30):
        wire.wait(100.0)
        wire.talk(A, B, str(number).encode())
        wire.carry(wire.send(B, A, b"yes", key=None))
    assert [text for text, _ in wire.got[B]] == [str(number).encode() for number in range(30)]
    assert first not in wire.nodes[A].sessions._in_use
    assert len(wire.nodes[A].sessions) <= 2 + LIFETIME_S / RENEW_AFTER_S
    wire.wait(2 * LIFETIME_S)
    assert len(wire.nodes[A].sessions) == len(wire.nodes[B].sessions) == 0


def test_a_restarted_node_is_spoken_to_again():
    wire = Wire()
    wire.talk(A, B)
    wire.nodes[B] = Channels(
        IDENTITIES[B], accepts=lambda _: True, rng=random.Random(9), secret=bytes(32)
    )
    wire.talk(A, B, b"into the void")
    assert wire.got[B] == [(b"hello", KEYS[A])]
    wire.talk(B, A, b"i am back")
    wire.talk(A, B, b"welcome")
    assert wire.got[B][-1] == (b"welcome", KEYS[A])


def test_into_a_dead_session_nothing_is_sent_for_longer_than_15_s():
    wire = Wire()
    wire.talk(A, B)
    wire.carry(wire.send(B, A, b"yes", key=None))
    wire.nodes[B] = Channels(
        IDENTITIES[B], accepts=lambda _: True, rng=random.Random(9), secret=bytes(32)
    )
    for second in range(int(DEAD_AFTER_S) + 2):  # as it was: 600 datagrams in 600 s
        wire.now += 1.0
        wire.talk(A, B, b"%d" % second)
    assert wire.got[B][-1][0] == b"%d" % (DEAD_AFTER_S + 1)


def test_a_recorded_call_is_not_answered_again_and_keeps_no_newcomer_out():
    wire = Wire(3)
    (_, _, old) = wire.send(A, B, b"x")[0]
    wire.carry([(A, B, old)])
    wire.now += 1.0
    newer = wire.nodes[A]
    newer.sessions.keep(lambda _: False)
    wire.talk(A, B, b"newer")
    before = len(wire.nodes[B].sessions)
    answers = []
    for number in range(2_000):  # within a second, with the cookie that its sender was given
        wire.now += 0.0005
        cookie = Cookies(bytes([B]) * 32).cookie(ADDRESSES[C], wire.now)
        replayed = replace(Initiation.decode(old), cookie=cookie).encode()
        answers += wire.arrive(C, B, replayed)
        if number == 1_000:
            wire.talk(C, B, b"newcomer")
    assert answers == []
    assert wire.nodes[B].refused["old_call"] == 2_000
    assert wire.got[B][-1] == (b"newcomer", KEYS[C])
    assert len(wire.nodes[B].sessions) == before + 1


def test_a_lost_answer_is_sent_again_without_a_new_signature_and_not_elsewhere():
    wire = Wire(3)
    (letter,) = wire.send(A, B, b"x")
    (first,) = wire.arrive(*letter)
    again = [wire.arrive(*letter) for _ in range(5)]
    assert again == [[first], [first], [], [], []]
    assert wire.arrive(C, B, letter[2]) == []
    assert len(wire.nodes[B].sessions) == 1
    wire.carry([first])
    assert wire.got[B] == [(b"x", KEYS[A])]


def test_a_clock_that_was_ahead_and_is_set_right_may_call_soon():
    wire = Wire()
    wire.offsets[A] = 1e6
    wire.talk(A, B, b"from the future")
    wire.nodes[A] = Channels(
        IDENTITIES[A], accepts=lambda _: True, rng=random.Random(9), secret=bytes(32)
    )
    wire.offsets[A] = 0.0
    wire.wait(REMEMBERED_S)
    wire.talk(A, B, b"from now")
    assert wire.got[B][-1] == (b"from now", KEYS[A])


def test_what_is_held_is_bounded():
    wire = Wire()
    for number in range(CALLS_LIMIT + 5):
        wire.nodes[A].send(b"x", number.to_bytes(18), KEYS[B], NOW)
    assert wire.nodes[A].refused["busy"] == 5
    other = Wire()
    letters = []
    for number in range(WAITING_LIMIT + 5):
        letters += other.send(A, B, bytes([number]))
    assert len(letters) == 1
    other.carry(letters)
    assert [text[0] for text, _ in other.got[B]] == list(range(5, WAITING_LIMIT + 5))
    assert other.nodes[A].refused["overflow"] == 5


def test_unconfirmed_sessions_are_few_and_push_nobody_out():
    wire = Wire()
    wire.talk(A, B)
    for number in range(UNCONFIRMED_LIMIT + 20):
        unsigned = Initiation(
            session=number, ephemeral=ciphers.new_key_pair()[0], key=KEYS[C], time_ms=0
        )
        call = Initiation(
            session=number,
            ephemeral=unsigned.ephemeral,
            key=KEYS[C],
            time_ms=0,
            signature=IDENTITIES[C].sign(unsigned.signed_part(KEYS[B])),
        )
        wire.nodes[B].receive(call.encode(), ADDRESSES[C], NOW + number)  # slow enough for calm
    assert len(wire.nodes[B].sessions) <= 1 + UNCONFIRMED_LIMIT
    wire.nodes[B].handle_timer(NOW + number + UNCONFIRMED_S)
    assert len(wire.nodes[B].sessions._unconfirmed) == 0
    assert UNCONFIRMED_LIMIT < SESSIONS_LIMIT


@given(st.lists(st.binary(max_size=300) | st.integers(1, 4), max_size=20))
def test_noise_is_counted_and_never_raises(noise):
    wire = Wire()
    wire.talk(A, B)
    for item in noise:
        data = bytes([item]) * 157 if isinstance(item, int) else item
        assert wire.nodes[B].receive(data, ADDRESSES[A], NOW) == []
        assert sum(len(reply) for reply, _ in wire.nodes[B].datagrams()) <= len(data)
    assert sum(wire.nodes[B].refused.values()) == len(noise)


def test_the_gate_gives_the_published_values():
    # RFC 8439, section 2.8.2.
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        b"future, sunscreen would be it."
    )
    key = bytes(range(0x80, 0xA0))
    nonce = bytes.fromhex("070000004041424344454647")
    head = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    sealed = ciphers.seal(plain, head, int.from_bytes(nonce, "little"), key)
    assert sealed[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"
    assert ciphers.unseal(sealed, head, int.from_bytes(nonce, "little"), key) == plain
    for wrong in (sealed[:15], sealed[:-1], sealed + b"x", sealed[:16]):
        assert ciphers.unseal(wrong, head, int.from_bytes(nonce, "little"), key) is None
    assert ciphers.unseal(ciphers.seal(b"", head, 1, key), head, 1, key) == b""
    with pytest.raises(TypeError):  # libsodium would read 32 bytes from wherever it is pointed to
        ciphers.seal(plain, head, 1, key[:31])
    # RFC 7748, section 6.1, through crypto_kx: BLAKE2b-512 over the secret and both keys.
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    bob = (
        bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
        bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
    )
    secret = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    expected = blake2b(secret + alice + bob[0], digest_size=64).digest()
    assert ciphers.responder_keys(bob, alice) == (expected[32:], expected[:32])


def called(wire, caller, number, at):
    """A whole handshake by a stranger's own hand, with the first data message."""
    stranger = Channels(
        IDENTITIES[caller], accepts=lambda _: True, rng=random.Random(number), secret=bytes(32)
    )
    stranger.send(b"again", ADDRESSES[B], KEYS[B], wire.now)
    while letters := stranger.datagrams():
        for data, _ in letters:
            wire.nodes[B].receive(data, at, wire.now)
            for answer, to in wire.nodes[B].datagrams():
                assert to == at
                stranger.receive(answer, ADDRESSES[B], wire.now)


def test_who_calls_again_and_again_cuts_nobody_off(monkeypatch):
    monkeypatch.setattr(sessions, "SESSIONS_LIMIT", 20)
    wire = Wire()
    wire.talk(A, B)
    for number in range(100):
        wire.now += 0.1  # slow enough for calm
        called(wire, C, number, bytes([number]) * 18)
    assert len(wire.nodes[B].sessions) <= 1 + sessions.SESSIONS_OF_ONE_LIMIT
    assert len(wire.nodes[B].sessions._ends) <= 2 * 20
    assert len(wire.nodes[B].sessions._at_address) <= 1 + sessions.SESSIONS_OF_ONE_LIMIT
    wire.talk(A, B, b"still here")
    assert wire.got[B][-1] == (b"still here", KEYS[A])
    wire.now += 0.1
    called(wire, C, 100, ADDRESSES[C])
    assert wire.nodes[B].sessions.endpoint_at(ADDRESSES[C]) == (KEYS[C], ADDRESSES[C])

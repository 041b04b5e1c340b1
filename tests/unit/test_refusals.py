"""What others refuse travels back: who is told, how far one word is believed, and who is framed."""

import asyncio
import contextlib
import logging
import time

import pytest

import qis
from qis._clock import SYSTEM, Clock
from qis._seldom import KEYS_LIMIT, Seldom
from qis.channel.session import OVERHEAD
from qis.health import Condition, HealthState, Notices
from qis.overlay.bundles import messages_of
from qis.overlay.messages import NO_REQUEST, Deliver, Publish, Refused, decode
from qis.overlay.rate_limiter import BURST
from qis.refusals import (
    REFUSERS_LIMIT,
    REMEMBERED_S,
    TELL_EVERY_S,
    RefusalCode,
    Refusals,
    judge_refusals,
)
from qis.testing import VirtualClock
from qis.transport.base import Statistics
from qis.transport.reception import Reception
from qis.transport.site_clocks import VERIFY_EVERY_S
from tests._builders import effect, signed

SCHEME = qis.VectorScheme(dimensions=4, bands=6)
NEAR = [1.0, 0.5, -0.2, 0.1]
KEYS = SCHEME.routing_keys(NEAR)
STUDY = qis.Study(question="a vs b | death", measure="OR", model="fixed")
ALL_KEYS = tuple(sorted({*KEYS, STUDY.id}))
DAY_S = 86_400.0
NAMES = ["north", "south", "east", "west", "coast", "hill"]
IDENTITIES = [qis.Identity.from_seed(bytes([number] * 32)) for number in range(1, 7)]
SITE_KEYS = [identity.issuer.key for identity in IDENTITIES]
OWN = IDENTITIES[0]


def roster_of(*numbers):
    sites = tuple(qis.Site.of(NAMES[n], IDENTITIES[n].issuer) for n in numbers)
    return qis.Roster(sites, is_keyed=True)  # holders are of the keyed mode


ALL = roster_of(*range(6))


def packet_of(identity, issued_at, *, sequence=None, estimate=0.1):
    options = {"at": issued_at, "lifetime_s": 30 * 86_400, "sequence": sequence}
    outcome = effect(estimate, study=STUDY, measure="OR", n=400)
    return signed(identity, outcome, scheme=SCHEME, about=NEAR, **options)


# --- how far a word is believed -------------------------------------------------------------


def heard(*saying, code=RefusalCode.CLOCK, roster=ALL):
    """What one node makes of these sites' saying so."""
    reception = Reception(roster, Statistics())
    for number in saying:
        reception.refusals.heard(SITE_KEYS[number], code, 0.0)
    return reception.refusals


@pytest.mark.parametrize("code", list(RefusalCode))
@pytest.mark.parametrize(
    ("saying", "known", "is_believed"),
    [
        ([1], [1, 2, 3, 4, 5], False),
        ([1, 2], [1, 2, 3, 4, 5], True),
        ([1], [1], True),
        ([1], [], True),
        ([1], [1, 2], False),
    ],
)
def test_two_sites_or_all_that_are_known_are_believed(saying, known, is_believed, code):
    refusals = heard(*saying, code=code)
    (claim,) = refusals.claims([SITE_KEYS[n] for n in known], 1.0)
    assert (claim.code, claim.is_believed) == (code, is_believed)
    assert claim.sites == tuple(sorted(NAMES[n] for n in saying))
    notices = Notices(logging.getLogger("test"))
    condition = Condition(notices, now=0.0)
    judge_refusals(condition, [claim], now=1.0)
    (reason,) = condition.health.reasons
    assert reason.code == ("refused" if is_believed else "refused_by_one")
    assert condition.health.state is (HealthState.DEGRADED if is_believed else HealthState.OK)
    judge_refusals(condition, [], now=2.0)
    assert condition.health.reasons == ()


def test_two_keys_of_one_site_are_one_word():
    keys = tuple(qis.SiteKey(issuer=identity.issuer) for identity in IDENTITIES[1:3])
    roster = qis.Roster(
        (*roster_of(0, 3, 4).sites, qis.Site(name="liar", keys=keys)), is_keyed=True
    )
    (claim,) = heard(1, 2, roster=roster).claims(SITE_KEYS, 1.0)
    assert not claim.is_believed


@pytest.mark.parametrize("roster", [qis.Roster.open(), roster_of(0, 5)])
def test_strangers_are_never_believed_however_many(roster):
    (claim,) = heard(1, 2, 3, 4, roster=roster).claims([], 1.0)
    assert not claim.is_believed
    assert len(claim.sites) == 4


def test_two_that_say_different_things_are_two_opinions():
    refusals = heard(1)
    refusals.heard(SITE_KEYS[2], RefusalCode.FULL, 0.0)
    assert [claim.is_believed for claim in refusals.claims(SITE_KEYS, 1.0)] == [False, False]


def test_a_refusal_is_over_after_a_while_and_the_roster_s_once_something_is_taken():
    refusals = heard(1, 2, code=RefusalCode.ROSTER)
    refusals.heard(SITE_KEYS[1], RefusalCode.CLOCK, -1.0)
    assert len(refusals.claims(SITE_KEYS, 0.0)) == 2
    refusals.accepted(SITE_KEYS[1])
    assert [claim.sites for claim in refusals.claims(SITE_KEYS, 1.0)] == [("south",), ("east",)]
    (claim,) = refusals.claims(SITE_KEYS, REMEMBERED_S)
    assert claim.sites == ("east",)
    assert refusals.claims(SITE_KEYS, REMEMBERED_S + 1.0) == []


def test_a_code_of_a_later_version_is_told_as_such():
    (claim,) = heard(1, 2, code=200).claims(SITE_KEYS, 1.0)
    assert "does not know" in str(claim)


def test_what_is_remembered_and_told_is_bounded():
    notices = Notices(logging.getLogger("test"))
    told = []
    notices.listen(told.append)
    refusals = Refusals(notices, name_of=lambda _: "a")
    for number in range(1_000):
        refusals.heard(number.to_bytes(32, "big"), RefusalCode.FULL, float(number) / 1_000)
    (claim,) = refusals.claims([], 1.0)
    assert claim.sites == ("a",)
    assert [notice.count for notice in told] == [1, 10, 100, 1_000]
    strangers = Refusals()
    for number in range(1_000):
        strangers.heard(number.to_bytes(32, "big"), RefusalCode.FULL, 0.0)
    (claim,) = strangers.claims([], 1.0)
    assert len(claim.sites) <= REFUSERS_LIMIT


def test_seldom_grants_each_key_once_in_its_time_and_forgets_none_too_early():
    seldom = Seldom(60.0)
    assert [seldom.allows("a", at) for at in (0.0, 59.0, 60.0, 61.0)] == [True, False, True, False]
    assert all(seldom.allows(number, 100.0) for number in range(KEYS_LIMIT - 1))
    assert seldom.allows("b", 120.0)  # the place of "a", which may be asked for again by now
    assert not seldom.allows("c", 120.0)
    assert not seldom.allows(0, 120.0)
    assert seldom.allows("c", 160.0)


# --- end to end, over loopback ---------------------------------------------------------------


class Date:
    """The machine's date, wrong by so much."""

    def __init__(self, offset_s=0.0):
        self.offset_s = offset_s
        self.steady = SYSTEM.steady

    def __call__(self):
        return time.time() + self.offset_s


class Network:
    """Sites on loopback; the first, at which the tests look, publishes."""

    def __init__(self, peers, own, stack):
        self.peers, self.own, self.stack = peers, own, stack
        self.told = []
        own.notices.listen(self._hear)
        self._changed = asyncio.Event()

    def _hear(self, notice):
        self.told.append(notice)
        self._changed.set()

    def refusals(self):
        return sorted(notice.subject for notice in self.told if notice.kind == "refusal")

    def reasons(self):
        return {reason.code: reason.text for reason in self.own.health.reasons}

    async def until(self, done):
        async with asyncio.timeout(30):
            while not done():
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def network(*, peers=2, date=0.0, peers_roster=ALL, change=lambda _peer: None):
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for identity in IDENTITIES[1 : peers + 1]:
            peer = qis.UDPTransport(
                identity, roster=peers_roster, bootstrap=[each.address for each in opened]
            )
            opened.append(await stack.enter_async_context(peer))
            change(peer)
        own = qis.UDPTransport(
            OWN, roster=ALL, bootstrap=[each.address for each in opened], clock=Date(date)
        )
        found = Network(opened, own, stack)
        await stack.enter_async_context(own)
        yield found


def loop_on(transport, events, **more):
    return qis.SynthesisLoop(
        OWN,
        transport,
        SCHEME,
        interest=SCHEME.interest(NEAR),
        interest_people=0,
        roster=ALL,
        disclosure=qis.Disclosure.preset("none"),
        on_event=events.append,
        **more,
    )


def full(peer):
    peer._node.rendezvous.message_store._limit = 0


def without_room_for_interests(peer, monkeypatch):
    monkeypatch.setattr(peer._node.rendezvous.subscription_table, "put", lambda *_: False)


def test_a_site_whose_clock_is_wrong_hears_it_from_its_holders():
    async def scenario():
        async with network(date=2 * DAY_S) as found:
            clock, events = Date(2 * DAY_S), []
            async with loop_on(found.own, events, clock=clock) as loop:
                effect = packet_of(OWN, 1e9).outcome
                await loop.publish(effect, about=NEAR, people=0, trust_clock=True)
                await found.until(lambda: "refused" in found.reasons())
                told = [event.subject for event in events if event.kind == "refusal"]
                assert {"clock by south", "clock by east"} <= set(told)
                assert "compare this machine's date" in found.reasons()["refused"]
                assert "refused" in {reason.code for reason in loop.health.reasons}
                assert not await loop.flush(0.2)
                (missing,) = loop.undelivered()
                assert "dated in the future or have expired there" in missing.reason

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "packet", "date", "change"),
    [
        (RefusalCode.CLOCK, {"at": 2 * DAY_S}, 2 * DAY_S, lambda _: None),
        (RefusalCode.CLOCK, {"at": -40 * DAY_S}, -40 * DAY_S, lambda _: None),
        (RefusalCode.SEQUENCE, {"at": 0.0, "ahead": 301.0}, 0.0, lambda _: None),
        (RefusalCode.FULL, {"at": 0.0}, 0.0, full),
    ],
)
def test_each_reason_reaches_the_site_that_is_refused(code, packet, date, change):
    async def scenario():
        async with network(date=date, change=change) as found:
            at = int(time.time() + packet["at"])
            sequence = int((at + packet.get("ahead", 0.0)) * 1e6)
            mine = packet_of(OWN, at, sequence=sequence)
            await found.own.publish(mine, KEYS)
            await found.until(lambda: "refused" in found.reasons())
            word = code.name.lower()
            assert found.refusals() == [f"{word} by east", f"{word} by south"]
            holding = found.own.holding(mine.id)
            assert not holding.is_held
            assert "east and south refuse what this site sends" in holding.reason
            assert found.own.health.state is HealthState.DEGRADED

    asyncio.run(scenario())


def test_a_site_that_is_not_on_the_others_rosters_hears_it():
    async def scenario():
        async with network(peers_roster=roster_of(1, 2)) as found:
            await found.until(lambda: "refused" in found.reasons())
            assert found.refusals() == ["roster by east", "roster by south"]
            assert "not on the roster there" in found.reasons()["refused"]
            mine = packet_of(OWN, time.time())
            await found.own.publish(mine, KEYS)
            assert "not on the roster there" in found.own.holding(mine.id).reason

    asyncio.run(scenario())


def test_a_subscriber_that_finds_no_room_hears_it(monkeypatch):
    async def scenario():
        async with (
            network(change=lambda peer: without_room_for_interests(peer, monkeypatch)) as found,
            found.own.subscribe(SCHEME.interest(NEAR)),
        ):
            await found.until(lambda: "refused" in found.reasons())
            assert found.refusals() == ["full by east", "full by south"]

    asyncio.run(scenario())


@pytest.mark.parametrize("limit", ["retained", "budget"])
def test_what_is_let_go_later_is_told_whose_it_is_once_a_minute(limit):
    async def scenario():
        async with network() as found:
            south, now = found.peers[0]._node, SYSTEM.steady()
            mine = packet_of(OWN, time.time())
            await found.own.publish(mine, KEYS)
            assert await found.own.flush(30.0)
            for _ in range(3):
                if limit == "budget":
                    south._rate_limiter._spent.put(OWN.issuer.key, (2 * BURST, now))
                    south.receive_datagrams([(b"", own_address(found), OWN.issuer.key)], now)
                    continue
                south.rendezvous.message_store._limit = 1
                south.rendezvous.message_store.put(
                    found.peers[0]._validator.carried(mine, ALL_KEYS), ALL_KEYS, now
                )
                newer = packet_of(IDENTITIES[2], time.time())
                south.rendezvous.message_store.put(
                    found.peers[0]._validator.carried(newer, ALL_KEYS), ALL_KEYS, now
                )
            sent = [
                (decode(part), to)
                for data, to, _ in south.datagrams()
                for part in messages_of(data)
            ]
            to_own = [message for message, to in sent if to == own_address(found)]
            (told,) = [message for message in to_own if isinstance(message, Refused)]
            assert told == Refused(request=NO_REQUEST, code=RefusalCode.FULL)
            data, sender = told.encode(), SITE_KEYS[1]
            node = found.own._node
            node.receive_datagrams([(data, south.contact.record.address, sender)], now)
            found.own._turn()
            assert found.refusals() == ["full by south"]
            assert "no room" in found.reasons()["refused_by_one"]

    asyncio.run(scenario())


def test_a_subscriber_never_says_whether_it_takes_a_packet():
    """Only holders answer with codes: what a delivery meets is acknowledged or met with silence."""

    async def scenario():
        async with network() as found:
            south = found.peers[0]
            ahead = packet_of(IDENTITIES[2], time.time() + 2 * DAY_S)
            message = decode_delivery(ahead)
            south._node.receive_datagrams(
                [(message, own_address(found), OWN.issuer.key)], SYSTEM.steady()
            )
            sent = [decode(part) for part in parts_of(south._node.datagrams())]
            assert not any(isinstance(each, Refused) for each in sent)
            assert south.statistics.refused["NotYetValidError"] == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("code", list(RefusalCode))
def test_one_liar_of_five_is_an_opinion_and_keeps_nothing_back(code):
    async def scenario():
        async with network(peers=5) as found:
            liar = found.peers[0]
            liar._node.rendezvous._inspect = lambda *_: code
            mine = packet_of(OWN, time.time())
            await found.own.publish(mine, KEYS)
            assert await found.own.flush(30.0)
            assert found.own.holding(mine.id).is_held
            # He has said it, once for all keys, or was not among the holders that were asked.
            liar_says = f"{code.name.lower()} by south"
            await found.until(lambda: liar_says in found.refusals())
            assert found.refusals() == [liar_says]
            assert "refused" not in found.reasons()
            assert "too few sites" in found.reasons()["refused_by_one"]

    asyncio.run(scenario())


# --- who is framed, and at what cost ----------------------------------------------------------


def own_address(found):
    return found.own._node.contact.record.address


def parts_of(datagrams):
    return [part for data, _, _ in datagrams for part in messages_of(data)]


def decode_delivery(packet):
    keys = tuple(sorted({*KEYS, STUDY.id}))
    return Deliver(request=b"r" * 8, hops=1, keys=keys, packet=bytes(packet)).encode()


def asked(peer, packet, sender, address, now, *, request=b"r" * 8):
    """What a holder answers to whoever asks it to hold these 512 bytes."""
    keys = tuple(sorted({*KEYS, STUDY.id}))
    message = Publish(
        request=request,
        token=peer._node._tokens.token(address, now),
        attempt=0,
        hops=1,
        key_bits=1,
        keys=keys,
        packet=packet,
    )
    peer._node.receive_datagrams([(message.encode(), address, sender)], now)
    return parts_of(peer._node.datagrams())


def test_a_code_is_only_for_whose_packet_it_is_and_once_a_minute():
    async def scenario():
        async with network(peers_roster=roster_of(0, 1, 2)) as found:
            south, address, now = found.peers[0], own_address(found), SYSTEM.steady()
            mine = bytes(packet_of(OWN, time.time() + 2 * DAY_S))
            (answer,) = asked(south, mine, OWN.issuer.key, address, now)
            assert decode(answer) == Refused(request=b"r" * 8, code=RefusalCode.CLOCK)
            assert len(answer) + OVERHEAD <= 100
            flood = [asked(south, mine, OWN.issuer.key, address, now) for _ in range(1_000)]
            assert not any(flood)
            later = now + TELL_EVERY_S
            assert len(asked(south, mine, OWN.issuer.key, address, later)) == 1
            # Others' packets, made up: whom south lists, it does not say.
            for victim in (IDENTITIES[2], IDENTITIES[5]):
                for at in (0.0, 2 * DAY_S, -40 * DAY_S):
                    real = bytes(packet_of(victim, time.time() + at))
                    forged = real[:-1] + bytes([real[-1] ^ 1])
                    assert asked(south, forged, OWN.issuer.key, address, later) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["delivered", "held"])
@pytest.mark.parametrize("kind", ["early", "ahead"])
def test_a_forged_packet_names_nobody_and_a_real_one_its_site_once(path, kind):
    now = 1_800_000_000.0
    clock = VirtualClock(now=now)
    steady = Clock.of(clock)
    notices = Notices(logging.getLogger("test"))
    told = []
    notices.listen(told.append)
    reception = Reception(ALL, Statistics(), notices=notices, clock=steady)
    at = now + 2 * DAY_S if kind == "early" else now
    sequence = int((at + 301.0) * 1e6) if kind == "ahead" else None
    packets = [
        packet_of(IDENTITIES[1], at, sequence=sequence, estimate=each / 1_000) for each in range(20)
    ]
    keys = tuple(sorted({*KEYS, STUDY.id}))

    def take(data):
        if path == "delivered":
            reception.receive(data, keys, hops=1, now=now)
        else:
            reception.validator(data, keys, now)

    by_another = bytes(packet_of(IDENTITIES[2], at, sequence=sequence))[-64:]
    for packet in packets[:5]:
        data = bytes(packet)
        for signature in (bytes(64), by_another, bytes(packets[6])[-64:]):
            take(data[:-64] + signature)
    assert told == []
    assert reception.clocks.opinion(ALL, OWN.issuer, unix_s=now).heard == 0
    clock.advance(VERIFY_EVERY_S)
    for packet in packets:
        take(bytes(packet))
    if (path, kind) == ("delivered", "ahead"):
        assert told == []  # the store refuses those, and tells it
    elif kind == "early":
        assert [(each.subject, each.count) for each in told] == [("NotYetValidError of south", 1)]
    else:
        assert [each.count for each in told] == [1, 10]
        assert {each.subject for each in told} == {f"SequenceAheadError of {SITE_KEYS[1].hex()}"}


def test_an_answer_that_was_not_asked_for_names_nobody():
    async def scenario():
        async with network() as found:
            node, south = found.own._node, found.peers[0]
            address = south._node.contact.record.address
            before = found.own.statistics.refused["unasked"]
            for number in range(1, 257):
                data = Refused(request=number.to_bytes(8, "big"), code=1).encode()
                node.receive_datagrams([(data, address, SITE_KEYS[1])], SYSTEM.steady())
            assert found.own.statistics.refused["unasked"] == before + 256
            assert found.refusals() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"", b"\0", b"\1\1", b"\1" * 100])
def test_a_refusal_is_one_byte_that_is_not_zero(body):
    head = Refused(request=bytes(8), code=1).encode()[:-1]
    assert decode(head + body) is None
    assert len(head) + 1 == 14
    assert decode(head + b"\xff") == Refused(request=bytes(8), code=255)

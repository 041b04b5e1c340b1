"""The own clock is doubted: by whom, at what cost, and what then is not published."""

import asyncio
from collections import Counter

import pytest

import qis
from qis._clock import Clock
from qis.errors import ClockError, InputError
from qis.health import HealthState, Notices
from qis.packet import content_id, verify_screened
from qis.testing import VirtualClock
from qis.transport import reception as reception_module
from qis.transport.base import Statistics
from qis.transport.reception import Reception, Verdict
from qis.transport.site_clocks import FORGED_RATE, VERIFY_EVERY_S
from tests._builders import signed, until

SCHEME = qis.VectorScheme(dimensions=4, bands=6)
NEAR = [1.0, 0.5, -0.2, 0.1]
KEYS = SCHEME.routing_keys(NEAR)
QUESTION = "a vs b | death"
STUDY = qis.Study(question=QUESTION, measure="OR", model="fixed")
DAY_S = 86_400.0
NOW = 1_800_000_000.0
IDENTITIES = [qis.Identity.from_seed(bytes([number] * 32)) for number in range(1, 8)]
NAMES = ["north", "south", "east", "west", "centre", "coast", "hill"]
ROSTER = qis.Roster(
    tuple(
        qis.Site.of(name, identity.issuer) for name, identity in zip(NAMES, IDENTITIES, strict=True)
    )
)
OWN = IDENTITIES[0]


def effect(estimate=0.1):
    return qis.Effect(study=STUDY, measure="OR", estimate=estimate, standard_error=0.2, n=400)


def packet_of(identity, issued_at, lifetime_s=30 * 86_400):
    options = {"at": issued_at, "lifetime_s": lifetime_s}
    return signed(identity, effect(), scheme=SCHEME, about=NEAR, **options)


def write(folder, packet):
    content = bytes(packet) + b"".join(sorted({*KEYS, packet.outcome.study_id}))
    (folder / f"{packet.id.hex()}.qis").write_bytes(content)


def loop_in(folder, clock, events, *, roster=ROSTER, **options):
    transport = qis.DirectoryTransport(folder, OWN, roster=roster, poll_s=0.001, clock=clock)
    return qis.SynthesisLoop(
        OWN,
        transport,
        SCHEME,
        interest=SCHEME.interest(NEAR),
        interest_people=0,
        studies=[STUDY],
        roster=roster,
        disclosure=qis.Disclosure.preset("none"),
        on_event=events.append,
        clock=clock,
        **options,
    )


def refused_early(loop):
    return loop._options.transport.statistics.refused["NotYetValidError"]


async def slow_site(folder, ahead, *, roster=ROSTER):
    """A loop whose clock is 40 days behind, once it has looked at packets of `ahead` sites."""
    clock, events = VirtualClock(now=NOW - 40 * DAY_S), []
    loop = loop_in(folder, clock, events, roster=roster)
    for identity in ahead:
        write(folder, packet_of(identity, NOW))
    return loop, events


def test_a_clock_that_two_of_two_sites_in_a_folder_contradict_publishes_nothing(tmp_path):
    async def scenario():
        loop, events = await slow_site(tmp_path, IDENTITIES[1:3])
        async with loop:
            await until(lambda: refused_early(loop) == 2)
            with pytest.raises(ClockError, match=r"2 of 2 sites heard are 40\.0 d ahead") as caught:
                await loop.publish(effect(), about=NEAR, people=0)
            assert caught.value.limit - caught.value.actual == pytest.approx(40 * DAY_S, abs=1.0)
            assert not isinstance(caught.value, InputError)
            assert not loop.store.packets_of(OWN.issuer)
            assert [reason.code for reason in loop.health.reasons] == ["clock"]
            assert loop.health.state is HealthState.DEGRADED
            told = [event.subject for event in events if event.kind == "refusal"]
            assert sorted(told) == ["NotYetValidError of east", "NotYetValidError of south"]
            packet = await loop.publish(effect(), about=NEAR, people=0, trust_clock=True)
            assert await loop.retract(STUDY)
            assert packet.issued_at == int(NOW - 40 * DAY_S)

    asyncio.run(scenario())


@pytest.mark.parametrize(("roster", "ahead"), [(ROSTER, 1), (qis.Roster.open(), 4)])
def test_one_site_alone_or_strangers_are_an_event_and_stop_nobody(tmp_path, roster, ahead):
    async def scenario():
        loop, events = await slow_site(tmp_path, IDENTITIES[1 : 1 + ahead], roster=roster)
        async with loop:
            await until(lambda: refused_early(loop) == ahead)
            await loop.publish(effect(), about=NEAR, people=0)
            assert [reason.code for reason in loop.health.reasons] == ["clock_disputed"]
            assert "clock_disputed" in [e.subject for e in events if e.kind == "health"]

    asyncio.run(scenario())


def test_a_minority_of_liars_cannot_stop_a_site(tmp_path):
    async def scenario():
        clock, events = VirtualClock(now=NOW), []
        for liar in IDENTITIES[1:4]:
            write(tmp_path, packet_of(liar, NOW + 400 * DAY_S))
        for honest in IDENTITIES[4:7]:
            write(tmp_path, packet_of(honest, NOW - 60.0))
        async with loop_in(tmp_path, clock, events) as loop:
            await until(lambda: refused_early(loop) == 3 and loop.statistics.received == 3)
            await loop.publish(effect(), about=NEAR, people=0)
            assert [reason.code for reason in loop.health.reasons] == ["clock_disputed"]

    asyncio.run(scenario())


def test_a_date_that_is_set_is_told_and_a_doubt_ends_when_it_is_right(tmp_path):
    async def scenario():
        loop, events = await slow_site(tmp_path, IDENTITIES[1:3])
        clock = loop._options.clock
        async with loop:
            await until(lambda: refused_early(loop) == 2)
            with pytest.raises(ClockError):
                await loop.publish(effect(), about=NEAR, people=0)
            clock.set(NOW + 5.0)
            # What was dated in the future is used now: nothing of it is lost.
            await until(lambda: loop.statistics.received == 2)
            await loop.publish(effect(), about=NEAR, people=0)
            assert loop.health.state is HealthState.OK
            assert "clock_set" in [e.subject for e in events if e.kind == "health"]

    asyncio.run(scenario())


def test_released_outcomes_wait_for_the_clock_too(tmp_path):
    async def scenario():
        loop, _ = await slow_site(tmp_path, IDENTITIES[1:3])
        loop._options.clock.set(NOW)
        options = {"approve": "manual"}
        async with loop_in(tmp_path, loop._options.clock, [], **options) as held:
            pending = await held.publish(effect(), about=NEAR, people=0)
            held._options.clock.set(NOW - 40 * DAY_S)
            with pytest.raises(ClockError):
                await held.release(pending.id, approver="Dr North")
            assert len(held.waiting()) == 1
            assert await held.release(pending.id, approver="Dr North", trust_clock=True)

    asyncio.run(scenario())


def test_what_is_refused_for_its_date_is_verified_once_in_ten_minutes(monkeypatch):
    virtual = VirtualClock(now=NOW)
    told = []
    notices = Notices(None)
    notices.listen(told.append)
    statistics = Statistics()
    reception = Reception(ROSTER, statistics, notices=notices, clock=Clock.of(virtual))
    verified = Counter()
    parse = qis.Packet.parse
    monkeypatch.setattr(
        reception_module.Packet, "parse", lambda data: (verified.update([1]), parse(data))[1]
    )

    def offer(packet):
        return reception.receive(bytes(packet), KEYS, hops=1, now=virtual())

    early = [packet_of(IDENTITIES[1], NOW + 2 * DAY_S + second) for second in range(50)]
    assert {offer(packet) for packet in early} == {Verdict.EARLY}
    assert verified.total() == 1
    assert [notice.subject for notice in told] == ["NotYetValidError of south"]
    virtual.advance(VERIFY_EVERY_S)
    offer(early[0])
    assert verified.total() == 2
    # Somebody who names a site that has not signed is no word of that site.
    forged = bytearray(bytes(packet_of(IDENTITIES[2], NOW + 2 * DAY_S)))
    forged[-1] ^= 1
    assert offer(forged) is Verdict.EARLY
    opinion = reception.clocks.opinion(ROSTER, OWN.issuer, unix_s=virtual())
    assert (opinion.heard, opinion.others) == (1, 1)
    assert len(told) == 1
    assert verify_screened([bytes(forged)])


def forged_of(identity, second=0):
    return bytes(packet_of(identity, NOW + 2 * DAY_S + second))[:-64] + bytes(64)


def test_forged_packets_keep_no_sites_own_unheard_and_cost_little(monkeypatch):
    virtual, told = VirtualClock(now=NOW), []
    notices = Notices(None)
    notices.listen(lambda notice: notice.kind == "refusal" and told.append(notice.subject))
    reception = Reception(ROSTER, Statistics(), notices=notices, clock=Clock.of(virtual))
    verified = Counter()
    parse = qis.Packet.parse
    monkeypatch.setattr(
        reception_module.Packet, "parse", lambda data: (verified.update([1]), parse(data))[1]
    )

    def offer(data):
        return reception.receive(bytes(data), KEYS, hops=1, now=virtual())

    for hour in range(3):  # one forged packet just before each of the site's own
        assert offer(forged_of(IDENTITIES[1], hour)) is Verdict.EARLY
        assert offer(packet_of(IDENTITIES[1], NOW + 2 * DAY_S + hour)) is Verdict.EARLY
        virtual.advance(VERIFY_EVERY_S)
    assert told == ["NotYetValidError of south"]
    assert reception.clocks.opinion(ROSTER, OWN.issuer, unix_s=virtual()).others == 1
    verified.clear()
    flood = [offer(forged_of(IDENTITIES[2], second)) for second in range(500)]
    assert flood.count(Verdict.EARLY) == verified.total() == FORGED_RATE
    assert offer(packet_of(IDENTITIES[2], NOW + 2 * DAY_S)) is Verdict.UNHEARD
    virtual.advance(1.0)
    assert offer(packet_of(IDENTITIES[2], NOW + 2 * DAY_S)) is Verdict.EARLY
    assert told[1:] == ["NotYetValidError of east"]


def test_a_folder_full_of_forged_packets_hides_no_real_one_for_long(tmp_path):
    async def scenario():
        clock, told = VirtualClock(now=NOW), []
        for second in range(1, 70):
            data = forged_of(IDENTITIES[1], second)
            (tmp_path / f"{content_id(data).hex()}.qis").write_bytes(data)
        write(tmp_path, packet_of(IDENTITIES[1], NOW + 2 * DAY_S))
        node = qis.DirectoryTransport(tmp_path, OWN, roster=ROSTER, poll_s=9999.0, clock=clock)
        node.notices.listen(lambda notice: notice.kind == "refusal" and told.append(notice.subject))
        async with node, node.subscribe(SCHEME.interest(NEAR)):
            for _ in range(5):
                await node._take_in()
                clock.advance(1.0)
            assert not node._reading._unheard
            refused = node.statistics.refused.total()
            await node._take_in()
            assert node.statistics.refused.total() == refused  # no file is read for ever
        assert told == ["NotYetValidError of south"]

    asyncio.run(scenario())


def test_the_file_servers_clock_is_an_event_and_stops_nobody(tmp_path):
    async def scenario():
        events = []
        clock = VirtualClock(now=4e9)  # the files here are dated by this machine's real clock
        async with loop_in(tmp_path, clock, events) as loop:
            await loop.publish(effect(), about=NEAR, people=0)
            await until(lambda: any(event.subject == "clock_files" for event in events))
            told = [event.reason for event in events if event.subject == "clock_files"]
            assert "this site writes" in told[0]
            await loop.publish(effect(0.2), about=NEAR, people=0)

    asyncio.run(scenario())


def test_sites_that_were_wrong_once_and_are_repaired_stop_nobody_any_longer(tmp_path):
    """Their packets of a wrong date are taken back, and the doubt that rested on them with these.

    Otherwise the only right clock of three would be doubted until that date.
    """

    async def scenario():
        clock, events = VirtualClock(now=NOW), []
        wrong = [packet_of(site, NOW + 400 * DAY_S) for site in IDENTITIES[1:3]]
        for packet in wrong:
            write(tmp_path, packet)
        async with loop_in(tmp_path, clock, events) as loop:
            await until(lambda: refused_early(loop) == 2)
            with pytest.raises(ClockError):
                await loop.publish(effect(), about=NEAR, people=0)
            for packet in wrong:
                (tmp_path / f"{packet.id.hex()}.qis").unlink()
            for site in IDENTITIES[1:3]:
                write(tmp_path, packet_of(site, NOW - 1.0))
            await until(lambda: loop.statistics.received == 2)
            await loop.publish(effect(), about=NEAR, people=0)
            assert loop.health.state is HealthState.OK

    asyncio.run(scenario())


def test_a_doubt_stays_while_another_packet_of_the_same_date_is_there(tmp_path):
    async def scenario():
        clock, events = VirtualClock(now=NOW), []
        first = [packet_of(site, NOW + 400 * DAY_S) for site in IDENTITIES[1:3]]
        others = [packet_of(site, NOW + 400 * DAY_S + 9) for site in IDENTITIES[1:3]]
        async with loop_in(tmp_path, clock, events) as loop:
            for number, packet in enumerate([*first, *others], start=1):
                write(tmp_path, packet)
                await until(lambda number=number: refused_early(loop) == number)
            for packet in first:
                (tmp_path / f"{packet.id.hex()}.qis").unlink()
            await until(lambda: refused_early(loop) == 6)  # looked at once more
            with pytest.raises(ClockError):
                await loop.publish(effect(), about=NEAR, people=0)

    asyncio.run(scenario())

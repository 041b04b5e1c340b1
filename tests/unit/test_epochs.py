"""Routing keys of epochs, from the loop of one site to that of another and over an edge."""

import asyncio
import dataclasses

import pytest

import qis
from qis.about import EDGE_S, EPOCH_S, last_expiry
from qis.errors import InputError
from qis.simulation import Simulation
from qis.testing import VirtualClock
from tests._builders import until

EDGE = 230 * EPOCH_S
DAY_S = 86_400
ABOUT, FAR = [0.2, -1.0, 0.7], [-0.3, 0.9, -0.6]
SCHEME = qis.VectorScheme(dimensions=3, secret=bytes(range(32)))
KEYS = [qis.Identity.from_seed(bytes([number]) * 32) for number in range(3)]


def effect(estimate=0.1, question="a vs b | c", cohort=""):
    return qis.Effect(
        question=question, cohort=cohort, measure="OR", estimate=estimate, standard_error=0.2, n=300
    )


class Sites:
    """Loops on one folder, each with its own clock, which starts at the same date."""

    def __init__(self, folder, now):
        self.folder, self.clocks, self.events, self.stores = folder, [], [], []
        self.now = now

    def loop(self, number, *, off_s=0.0, **options):
        clock = VirtualClock(now=self.now + off_s)
        self.clocks.append(clock)
        transport = qis.DirectoryTransport(
            self.folder, KEYS[number], roster=qis.Roster.open(), poll_s=0.001, clock=clock
        )
        return qis.SynthesisLoop(
            KEYS[number],
            transport,
            SCHEME,
            interest=SCHEME.interest(ABOUT),
            interest_people=0,
            disclosure=qis.Disclosure.preset("none"),
            on_event=self.events.append,
            clock=clock,
            **options,
        )

    def pass_time(self, seconds):
        for clock in self.clocks:
            clock.advance(seconds)

    def said(self, kind):
        return [event for event in self.events if event.kind == kind]


async def came(loop, packet):
    await until(lambda: packet.id in loop.store)


def renew(loop):
    return loop._require_open().intake.renew()


def publish(loop, outcome, about=ABOUT, **options):
    return loop.publish(outcome, about=about, people=0, **options)


def test_a_keyed_scheme_asks_for_a_date_and_an_unkeyed_one_needs_none():
    with pytest.raises(InputError, match="at="):
        SCHEME.routing_keys(ABOUT)
    unkeyed = qis.VectorScheme(dimensions=3)
    assert unkeyed.routing_keys(ABOUT) == unkeyed.routing_keys(ABOUT, at=EDGE)
    assert unkeyed.interest(ABOUT).at(EDGE) == unkeyed.interest(ABOUT)


def test_keys_stay_within_an_epoch_and_an_interest_holds_those_of_two():
    now, next_ = (set(SCHEME.routing_keys(ABOUT, at=at)) for at in (EDGE - 1, EDGE))
    assert now == set(SCHEME.routing_keys(ABOUT, at=EDGE - EPOCH_S))
    assert set(SCHEME.interest(ABOUT).at(EDGE - EDGE_S).routing_keys) == now | next_
    before = SCHEME.interest(ABOUT).at(EDGE - EDGE_S - 1)
    assert next_.isdisjoint(before.routing_keys)
    assert now < set(before.routing_keys)


def test_an_interest_without_a_date_registers_nothing_by_mistake():
    interest = SCHEME.interest(ABOUT)
    with pytest.raises(InputError, match="at"):
        interest.all_keys  # noqa: B018
    with pytest.raises(InputError, match="at"):
        interest.matches(SCHEME.fingerprint(ABOUT), bytes(8), interest.routing_keys)
    wide = qis.VectorScheme(dimensions=3, secret=bytes(32), bands=42, band_bits=6)
    studies = [number.to_bytes(8) for number in range(13)]
    assert len(wide.interest(ABOUT, studies=studies[:12]).at(EDGE).all_keys) == 96
    with pytest.raises(InputError, match="96 of one interest"):
        wide.interest(ABOUT, studies=studies)


def test_over_an_edge_a_reader_gets_what_begins_and_what_lasts(tmp_path):
    async def scenario():
        sites = Sites(tmp_path, EDGE - 10 * DAY_S)
        async with sites.loop(0) as writer, sites.loop(1) as reader:
            old = await publish(writer, effect())
            await came(reader, old)
            sites.pass_time(10 * DAY_S - EDGE_S)
            await renew(reader)
            sites.pass_time(EDGE_S + 60)
            corrected = await publish(writer, effect(0.3))  # keeps the keys of its first version
            new = await publish(writer, effect(0.2, cohort="new"))
            await came(reader, corrected)
            await came(reader, new)
        dated = [SCHEME.routing_keys(ABOUT, at=at) for at in (EDGE - 1, EDGE)]
        assert old.travels_under(dated[0])
        assert corrected.travels_under(dated[0])
        assert new.travels_under(dated[1])
        assert not sites.said("retracted")
        assert not sites.said("fault")

    asyncio.run(scenario())


@pytest.mark.parametrize("publisher_s", [-145, 145])
@pytest.mark.parametrize("reader_s", [-145, 145])
def test_clocks_that_are_off_lose_nothing_at_the_edge(tmp_path, publisher_s, reader_s):
    async def scenario():
        sites = Sites(tmp_path, EDGE - EDGE_S - 600)
        async with (
            sites.loop(0, off_s=publisher_s) as writer,
            sites.loop(1, off_s=reader_s) as reader,
        ):
            for number, seconds in enumerate((600, 600, EDGE_S - 610, 20, 600, EDGE_S)):
                sites.pass_time(seconds)
                await renew(reader)
                packet = await publish(writer, effect(cohort=str(number)))
                await came(reader, packet)

    asyncio.run(scenario())


def test_without_renewal_what_begins_after_the_edge_is_missed_and_that_is_told(tmp_path):
    """So that the tests above show something: the reader here keeps the keys of its first day."""

    async def scenario():
        sites = Sites(tmp_path, EDGE - EDGE_S - 60)
        clock = VirtualClock(now=sites.now)
        reader = qis.DirectoryTransport(
            tmp_path, KEYS[1], roster=qis.Roster.open(), poll_s=0.001, clock=clock
        )
        async with sites.loop(0) as writer, reader, reader.subscribe(SCHEME.interest(ABOUT)) as it:
            told = []
            reader.notices.listen(told.append)
            before = await publish(writer, effect())
            assert (await anext(it)).packet == before
            clock.advance(EDGE_S + 120)
            sites.pass_time(EDGE_S + 120)
            await publish(writer, effect(cohort="after"))
            await until(lambda: reader.statistics.unmatched)
            assert [each for each in told if "subscribe anew" in each.reason]
            async with reader.subscribe(SCHEME.interest(ABOUT)) as again:
                assert {(await anext(again)).packet.outcome.cohort for _ in range(2)} == {
                    "",
                    "after",
                }

    asyncio.run(scenario())


def test_what_would_outlive_its_epoch_is_retracted_and_begins_anew(tmp_path):
    async def scenario():
        sites = Sites(tmp_path, EDGE - EPOCH_S + 60)
        async with sites.loop(0, lifetime_s=30 * DAY_S) as writer, sites.loop(1) as reader:
            first = await publish(writer, effect())
            await came(reader, first)
            sites.pass_time(EPOCH_S + EPOCH_S - 20 * DAY_S)
            await renew(reader)
            newer = await publish(writer, effect(0.4))
            await came(reader, newer)
            (retraction,) = [event.packet for event in sites.said("retracted")]
            keys = [SCHEME.routing_keys(ABOUT, at=at) for at in (EDGE - 1, EDGE)]
            assert retraction.travels_under(keys[0])
            assert newer.travels_under(keys[1])
            assert retraction.expires_at == last_expiry(229)
            assert newer.expires_at == newer.issued_at + 30 * DAY_S
            assert retraction.sequence < newer.sequence
            await until(lambda: retraction in [each.packet for each in sites.said("received")])
            evidence = reader.store.evidence(newer.outcome.study_id, now=sites.clocks[1]())
            assert [each.outcome.estimate for each in evidence] == [0.4]

    asyncio.run(scenario())


def test_no_version_lives_beyond_the_next_epoch_and_the_publisher_is_told(tmp_path):
    async def scenario():
        sites = Sites(tmp_path, EDGE + 60)
        async with sites.loop(0, lifetime_s=300 * DAY_S) as writer:
            packet = await publish(writer, effect())
            assert packet.expires_at == last_expiry(230)
            (told,) = [event for event in sites.said("limit") if event.subject == "lifetime"]
            assert "182" in told.reason or "181.9" in told.reason
            bare = await writer.retract("a vs b | c")
            assert bare.expires_at == last_expiry(230)

    asyncio.run(scenario())


def test_a_retraction_reaches_who_holds_what_has_long_expired(tmp_path):
    async def scenario():
        sites = Sites(tmp_path, EDGE - 5 * DAY_S)
        with qis.Outbox(tmp_path / "outbox.db") as outbox:
            async with sites.loop(0, outbox=outbox) as writer, sites.loop(1) as reader:
                packet = await publish(writer, effect())
                await came(reader, packet)
        sites.now += 3 * EPOCH_S
        with qis.Outbox(tmp_path / "outbox.db") as outbox:
            async with (
                sites.loop(0, outbox=outbox) as writer,
                sites.loop(1, store=reader.store) as reader,
            ):
                retraction = await writer.retract("a vs b | c")
                await came(reader, retraction)
        now = EDGE - 5 * DAY_S + 3 * EPOCH_S
        assert retraction.travels_under(SCHEME.routing_keys(ABOUT, at=now))
        assert not [event for event in sites.said("limit") if event.subject == "retraction"]

    asyncio.run(scenario())


def test_a_retraction_whose_keys_are_those_of_a_former_epoch_says_so(tmp_path):
    """As after a backup of a version that kept no base keys."""

    async def scenario():
        sites = Sites(tmp_path, EDGE - 5 * DAY_S)
        with qis.Outbox() as outbox:
            async with sites.loop(0, outbox=outbox) as writer:
                await publish(writer, effect())
                outbox._execute("DELETE FROM bases")
                retraction = await writer.retract("a vs b | c")
                assert retraction.travels_under(SCHEME.routing_keys(ABOUT, at=EDGE - 1))
                (told,) = [event for event in sites.said("limit") if event.subject == "retraction"]
                assert "about=" in told.reason
                again = await writer.retract("a vs b | c", about=ABOUT)
                assert again.travels_under(SCHEME.routing_keys(ABOUT, at=EDGE - 1))
                assert len(sites.said("limit")) == 1

    asyncio.run(scenario())


def test_an_approval_that_comes_after_the_edge_takes_the_keys_of_that_day(tmp_path):
    async def scenario():
        sites = Sites(tmp_path, EDGE - DAY_S)
        async with sites.loop(0, approve="manual") as writer:
            pending = await publish(writer, effect())
            shown = writer.dry_run(effect(), about=ABOUT, people=0)
            assert shown.routing_keys == SCHEME.routing_keys(ABOUT, at=EDGE - 1)
            sites.pass_time(2 * DAY_S)
            packet = await writer.release(pending.id, approver="ann")
        assert packet.travels_under(SCHEME.routing_keys(ABOUT, at=EDGE))

    asyncio.run(scenario())


def test_another_subject_is_still_refused_after_an_edge(tmp_path):
    async def scenario():
        sites = Sites(tmp_path, EDGE - DAY_S)
        async with sites.loop(0) as writer:
            await publish(writer, effect())
            sites.pass_time(2 * DAY_S)
            with pytest.raises(InputError, match="something else"):
                await publish(writer, effect(), about=FAR)

    asyncio.run(scenario())


def test_an_interest_that_is_watched_is_given_up_after_an_edge(tmp_path):
    async def scenario():
        sites = Sites(tmp_path, EDGE - EDGE_S - 60)
        async with sites.loop(0) as loop:
            interest = SCHEME.interest(FAR)
            await loop.watch(interest, people=0)
            sites.pass_time(120)
            await renew(loop)
            reception = loop._options.transport._reception
            wanted = {key for each in reception.interests for key in each.routing_keys}
            assert set(SCHEME.routing_keys(FAR, at=EDGE)) <= wanted
            await loop.unwatch(interest)
            assert len(reception.interests) == 1

    asyncio.run(scenario())


def test_what_came_before_a_subscription_is_compared_unsealed():
    """A sealed sketch is noise: a filter on it took strangers and lost what is most similar."""

    async def scenario():
        network = qis.MemoryNetwork(now=EDGE + 60)
        writer, reader = (qis.MemoryTransport(network, key) for key in KEYS[:2])
        async with writer, reader:
            anything = dataclasses.replace(
                SCHEME.interest(ABOUT), studies=[effect().study_id], min_similarity=1.0
            )
            async with reader.subscribe(anything) as early:
                packet = qis.Packet.sign(
                    KEYS[0],
                    outcome=effect(),
                    fingerprint=SCHEME.fingerprint(ABOUT),
                    seal=SCHEME.seal,
                    issued_at=EDGE + 60,
                    lifetime_s=3_600,
                    routing_keys=SCHEME.routing_keys(ABOUT, at=EDGE + 60),
                )
                await writer.publish(packet, SCHEME.routing_keys(ABOUT, at=EDGE + 60))
                await network.settle()
                assert (await anext(early)).packet == packet
            wanted = SCHEME.interest(ABOUT, min_similarity=0.99)
            async with reader.subscribe(wanted) as late, asyncio.timeout(5.0):
                assert (await anext(late)).packet == packet

    asyncio.run(scenario())


@pytest.mark.parametrize("renewed", [True, False])
def test_over_the_keyed_overlay_nodes_that_renew_get_what_begins(renewed):
    network = Simulation.build(
        [SCHEME.interest(ABOUT).at(EDGE - EDGE_S - 1)] * 6, seed=3, joins="tables"
    )
    keys = SCHEME.routing_keys(ABOUT, at=EDGE)
    if renewed:
        for node in range(6):
            network.subscribe(node, SCHEME.interest(ABOUT).at(EDGE - EDGE_S))
    network.run(120.0)
    packet = network.publish(0, keys, fingerprint=SCHEME.fingerprint(ABOUT))
    network.run(120.0)
    assert network.delivered(packet) == (set(range(1, 6)) if renewed else set())

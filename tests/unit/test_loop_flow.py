"""Several interests, derived packets that come to rest, events, dates that change what counts."""

import asyncio
import logging
import threading

import pytest

import qis
from qis.errors import InputError, TransportError
from qis.loop import EVENT_KINDS, Event, Outbox
from qis.loop.syntheses import AT_ONCE
from qis.synthesis import kept as kept_module, synthesise as real_synthesise
from qis.testing import VirtualClock
from tests._builders import Watcher, first_synthesis, loop_of, site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
FAR = [-1.0, 0.5, 0.0]
QUESTION = "beta blocker vs none | 30-day death"
NOW = 1_800_000_000.0


def effect(estimate, **others):
    about = {"measure": "OR", "standard_error": 0.2, **others}
    if "study" not in about:
        about.setdefault("question", QUESTION)
    return qis.Effect(**about, estimate=estimate)


def loop_on(network, number, **options):
    transport = options.pop("transport", None) or qis.MemoryTransport(network, site(number))
    return loop_of(transport, site(number), SCHEME, ABOUT, **options)


@pytest.fixture
def network():
    return qis.MemoryNetwork(now=NOW)


async def at_rest(network, *loops):
    """Until nothing is under way, nothing is due and nothing waits."""
    for _ in range(200):
        await network.settle()
        assert all([await loop.flush(20) for loop in loops])
        await asyncio.sleep(0)


# -- several interests ----------------------------------------------------------------------------


def test_several_interests_are_followed_added_and_given_up(network):
    async def scenario():
        near, far = SCHEME.interest(ABOUT), SCHEME.interest(FAR)
        async with (
            loop_on(network, 1) as writer,
            loop_on(network, 2, interest=[near, far]) as both,
            loop_on(network, 3, interest=near) as one,
        ):
            await writer.publish(effect(-0.4), about=ABOUT)
            await writer.publish(effect(0.3, question="far"), about=FAR)
            await first_synthesis(both, lambda s: s.question == "far")
            await first_synthesis(both, lambda s: s.question == QUESTION)
            await first_synthesis(one, lambda s: s.question == QUESTION)
            assert one.latest("far") is None
            await one.watch(far)
            await first_synthesis(one, lambda s: s.question == "far")
            with pytest.raises(InputError, match="watched already"):
                await one.watch(far)
            await one.unwatch(far)
            await one.unwatch(near)
            with pytest.raises(InputError, match="not watched"):
                await one.unwatch(far)
            await writer.publish(effect(-0.6), about=ABOUT)
            await first_synthesis(both, lambda s: s.question == QUESTION and s.estimate == -0.6)
            await network.settle()
            assert one.latest(QUESTION).estimate == -0.4
            assert one.statistics.admissions["accepted"] == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("bad", [None, [], ["interest"], "interest", 3])
def test_an_interest_is_an_interest(network, bad):
    with pytest.raises(InputError, match="interest"):
        loop_on(network, 1, interest=bad)


def test_a_packet_that_matches_two_interests_counts_once(network):
    async def scenario():
        loose = SCHEME.interest(ABOUT, min_similarity=0.1)
        async with (
            loop_on(network, 1) as writer,
            loop_on(network, 2, interest=[SCHEME.interest(ABOUT), loose]) as reader,
        ):
            await writer.publish(effect(-0.4), about=ABOUT)
            await first_synthesis(reader, lambda s: len(s.sites) == 1)
            await network.settle()
            await asyncio.sleep(0)
            assert dict(reader.statistics.admissions) == {"accepted": 1, "duplicate": 1}
            assert reader.statistics.synthesised == 1

    asyncio.run(scenario())


class Closed(qis.MemoryTransport):
    def subscribe(self, interest):
        raise TransportError("no subscriptions today")


def test_a_transport_that_refuses_an_interest_keeps_the_loop_from_opening(network):
    async def scenario():
        with Outbox() as outbox:
            with pytest.raises(TransportError, match="today"):
                async with loop_on(network, 1, transport=Closed(network, site(1)), outbox=outbox):
                    pass
            async with loop_on(network, 1, outbox=outbox):  # which is free again
                pass

    asyncio.run(scenario())


# -- derived packets ------------------------------------------------------------------------------


def fixed_study():
    return qis.Study(question=QUESTION, measure="OR", model="fixed")


def test_two_loops_that_republish_come_to_rest(network):
    study = fixed_study()

    async def scenario():
        watchers = Watcher(), Watcher()
        options = {"studies": [study], "republish": True, "republish_interval_s": 0.0}
        async with (
            loop_on(network, 1, on_event=watchers[0], **options) as first,
            loop_on(network, 2, on_event=watchers[1], **options) as second,
        ):
            packets = [
                await first.publish(effect(-0.4, study=study), about=ABOUT),
                await second.publish(effect(0.2, study=study), about=ABOUT),
            ]
            for watcher in watchers:
                await watcher.until("republished")
            await at_rest(network, first, second)
            for watcher, loop in zip(watchers, (first, second), strict=True):
                (event,) = watcher.of("republished")
                derived = event.packet
                assert derived.outcome.sites == 2
                assert set(derived.leaves) == {packet.leaf for packet in packets}
                assert derived.expires_at == min(packet.expires_at for packet in packets)
                found = loop.latest(study)
                assert derived.outcome.estimate == found.fixed.estimate
                # Both syntheses were heard, and none of them counts.
                assert len(found.sites) == 2
                assert [left.reason for left in found.excluded] == ["derived", "derived"]
            # New evidence gives one new derived packet each, and rest again.
            await first.publish(effect(-0.5, study=study), about=ABOUT)
            for watcher in watchers:
                await watcher.until("republished", 2)
            await at_rest(network, first, second)
            for watcher in watchers:
                assert len(watcher.of("republished")) == 2
            keys = first._parts.signer.former(
                first._parts.signer.key_of(watchers[0].of("republished")[1].packet.outcome)
            ).routing_keys
            assert set(SCHEME.routing_keys(ABOUT)) <= set(keys)

    asyncio.run(scenario())


def test_derived_packets_count_on_request_where_they_add_sites(network):
    study = fixed_study()
    roster = qis.Roster(
        tuple(qis.Site.of(f"site {number}", site(number).issuer) for number in (1, 2, 3))
    )

    async def scenario():
        watcher = Watcher()
        options = {"studies": [study], "republish": True, "republish_interval_s": 0.0}
        async with (
            loop_on(network, 1, on_event=watcher, **options) as first,
            loop_on(network, 2, **options) as second,
        ):
            packets = [
                await first.publish(effect(-0.4, study=study), about=ABOUT),
                await second.publish(effect(0.2, study=study), about=ABOUT),
            ]
            (event,) = await watcher.until("republished")
        # The third site is on a network where only the synthesis ever came, and then a leaf.
        elsewhere = qis.MemoryNetwork(now=NOW)
        courier = qis.MemoryTransport(elsewhere, site(1))
        keys = SCHEME.routing_keys(ABOUT)
        await courier.publish(event.packet, keys)
        async with loop_on(
            elsewhere, 3, roster=roster, count_derived=True, on_event=watcher, **options
        ) as third:
            await third.publish(effect(-0.1, study=study), about=ABOUT)
            found = await first_synthesis(third, lambda s: s.reach.sites == 3)
            assert [one.name for one in found.sites] == ["site 1 + site 2", "site 3"]
            assert found.fixed.estimate == pytest.approx(-0.1)
            again = (await watcher.until("republished", 2))[1].packet
            assert again.outcome.sites == 3
            assert set(again.leaves) > set(event.packet.leaves)
            await courier.publish(packets[0], keys)
            found = await first_synthesis(third, lambda s: s.sites[0].name == "site 1")
            assert found.reach.sites == 2
            assert [left.reason for left in found.excluded].count("counted leaf") >= 1

    asyncio.run(scenario())


def test_only_a_common_effect_of_several_sites_is_republished(network):
    async def scenario():
        watcher = Watcher()
        async with (
            loop_on(
                network, 1, republish=True, republish_interval_s=0.0, on_event=watcher
            ) as random,
            loop_on(network, 2) as other,
        ):
            await random.publish(effect(-0.4), about=ABOUT)
            await other.publish(effect(0.2), about=ABOUT)
            await first_synthesis(random, lambda s: len(s.sites) == 2)
            await at_rest(network, random, other)
            assert watcher.of("republished") == []

    asyncio.run(scenario())


def test_a_lineage_that_does_not_fit_is_marked_incomplete(network):
    study = qis.Study(question="q" * 48, measure="OR", model="fixed")

    async def scenario():
        watcher = Watcher()
        options = {"studies": [study], "republish": True, "republish_interval_s": 0.0}
        async with loop_on(network, 99, on_event=watcher, **options) as loop:
            for number in range(1, 21):
                transport = qis.MemoryTransport(network, site(number))
                async with loop_on(network, number, studies=[study], transport=transport) as writer:
                    await writer.publish(effect(-0.1, study=study), about=ABOUT)
                    assert await writer.flush(20)
            await first_synthesis(loop, lambda s: len(s.sites) == 20)
            await at_rest(network, loop)
            last = watcher.of("republished")[-1].packet
            assert (last.outcome.sites, last.leaves) == (20, ())
            # Nothing of this site is known in the study, so it travels under the study's id alone.
            assert last.travels_under(())

    asyncio.run(scenario())


# -- events ---------------------------------------------------------------------------------------


def test_events_tell_what_happened_with_fields_for_machines(network, caplog):
    async def scenario():
        watcher = Watcher()
        with caplog.at_level(logging.DEBUG, logger="qis.loop"):
            async with loop_on(network, 1, on_event=watcher) as loop:
                packet = await loop.publish(effect(-0.4), about=ABOUT)
                await watcher.until("synthesised")
                assert await loop.flush(20)
                await loop.retract(QUESTION)
        kinds = [event.kind for event in watcher.events]
        assert kinds[:2] == ["opened", "published"]
        assert kinds[-1] == "closed"
        assert {"sent", "retracted", "synthesised"} <= set(kinds)
        published = watcher.of("published")[0]
        assert (published.packet, published.at) == (packet, NOW)
        record = next(r for r in caplog.records if getattr(r, "qis_event", "") == "published")
        assert record.qis_packet == packet.id.hex()
        assert record.qis_study == packet.outcome.study_id.hex()
        assert loop.statistics.events["published"] == 1
        assert set(kinds) <= set(EVENT_KINDS)
        assert published.sentence in record.getMessage()

    asyncio.run(scenario())


def test_a_listener_that_fails_is_counted_and_the_loop_goes_on(network, caplog, faults):
    faults.expect("loop.on_event: RuntimeError")

    def failing(event):
        raise RuntimeError(event.kind)

    async def scenario():
        async with loop_on(network, 1, on_event=failing) as loop:
            await loop.publish(effect(-0.4), about=ABOUT)
            await first_synthesis(loop, lambda s: len(s.sites) == 1)
            assert await loop.flush(20)
        assert loop.statistics.callback_failures == sum(loop.statistics.events.values()) >= 5
        assert "loop.on_event: RuntimeError" in caplog.text

    asyncio.run(scenario())


@pytest.mark.parametrize("durable", [False, True])
def test_closing_with_unsent_packets_is_said(network, tmp_path, durable):
    class Down(qis.MemoryTransport):
        async def publish(self, packet, routing_keys):
            raise TransportError("the network is down")

    async def scenario():
        watcher = Watcher()
        with Outbox(tmp_path / "outbox.db" if durable else None) as outbox:
            transport = Down(network, site(1))
            async with loop_on(
                network, 1, transport=transport, outbox=outbox, on_event=watcher
            ) as loop:
                await loop.publish(effect(-0.4), about=ABOUT)
        said = [event.reason for event in watcher.of("unsent")]
        fate = "sent when it opens again" if durable else "lost with the process"
        assert f"closing with 1 unsent, {fate}" in said

    asyncio.run(scenario())


def test_an_event_says_its_fields_only():
    event = Event(kind="sent", at=NOW, remaining=0)
    assert event.fields() == {"qis_event": "sent", "qis_at": NOW, "qis_remaining": 0}


# -- time and trust -------------------------------------------------------------------------------


def test_an_embargo_ends_by_itself_and_its_looks_are_none():
    study = qis.Study(question=QUESTION, measure="OR", model="fixed", embargo_until=int(NOW) + 1000)

    async def scenario():
        clock = VirtualClock(NOW + 999.98)
        network = qis.MemoryNetwork(now=clock.now)
        with Outbox() as outbox:
            async with (
                loop_on(
                    network, 1, studies=[study], clock=clock, outbox=outbox, republish=True
                ) as loop,
                loop_on(
                    network, 2, studies=[study], clock=clock, monitor=True, republish=True
                ) as monitor,
            ):
                await loop.publish(effect(-0.4, study=study), about=ABOUT)
                await monitor.publish(effect(-0.2, study=study), about=ABOUT)
                hidden = await first_synthesis(loop, lambda s: len(s.sites) == 2)
                assert hidden.is_embargoed
                seen = await first_synthesis(monitor, lambda s: len(s.sites) == 2)
                assert not seen.is_embargoed
                await at_rest(network, monitor)
                assert monitor.statistics.events["republished"] == 0
                clock.advance(1.0)
                shown = await first_synthesis(loop, lambda s: not s.is_embargoed)
                assert shown.digest == hidden.digest
                assert shown.looks == 1

    asyncio.run(scenario())


def test_another_roster_is_believed_at_once(network):
    async def scenario():
        async with loop_on(network, 1) as writer, loop_on(network, 2) as reader:
            await writer.publish(effect(-0.4), about=ABOUT)
            await first_synthesis(reader, lambda s: len(s.sites) == 1)
            reader.believe(qis.Roster((qis.Site.of("another", site(9).issuer),)))
            found = await first_synthesis(reader, lambda s: not s.sites)
            assert [left.reason for left in found.excluded] == ["untrusted"]

    asyncio.run(scenario())


def test_looks_go_on_in_the_next_process_and_the_same_evidence_is_no_new_look(network, tmp_path):
    async def scenario():
        store = qis.MemoryStore(roster=qis.Roster.open())
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, store=store) as loop:
                for estimate in (-0.4, -0.5):
                    await loop.publish(effect(estimate), about=ABOUT)
                    await first_synthesis(loop, lambda s, wanted=estimate: s.estimate == wanted)
                assert loop.latest(QUESTION).looks == 2
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, store=store) as loop:
                found = await first_synthesis(loop, lambda s: len(s.sites) == 1)
                assert (found.estimate, found.looks) == (-0.5, 2)
                await loop.publish(effect(-0.6), about=ABOUT)
                found = await first_synthesis(loop, lambda s: s.estimate == -0.6)
                assert found.looks == 3

    asyncio.run(scenario())


def test_a_derived_packet_of_somebody_else_is_seen_and_is_no_look(network, tmp_path):
    async def scenario():
        with qis.AuditLog(tmp_path / "audit.jsonl") as audit, Outbox() as outbox:
            watcher = Watcher()
            async with (
                loop_on(network, 1, outbox=outbox, audit=audit, on_event=watcher) as one,
                loop_on(network, 2) as other,
            ):
                await one.publish(effect(-0.4), about=ABOUT)
                before = await first_synthesis(one, lambda s: len(s.sites) == 1)
                derived = qis.Derived(
                    question=QUESTION,
                    measure="OR",
                    model="fixed",
                    estimate=-0.1,
                    standard_error=0.1,
                    sites=2,
                )
                for _ in range(3):
                    await other.publish(derived, about=ABOUT)
                    after = await first_synthesis(
                        one, lambda s, seen=before.seen_digest: s.seen_digest != seen
                    )
                    assert len(after.excluded) == 1
                    assert after.digest == before.digest
                    assert (after.looks, before.looks) == (1, 1)
                    assert outbox.look(after.study_id).number == 1
                    before = after
                assert len([e for e in audit.entries() if e.event == "used"]) == 1
                # Evidence of somebody else is a look, and is counted from where it was.
                await other.publish(effect(0.1), about=ABOUT)
                found = await first_synthesis(one, lambda s: len(s.sites) == 2)
                assert found.looks == 2

    asyncio.run(scenario())


def test_a_packet_that_expired_unsent_is_let_go(network, tmp_path):
    class Down(qis.MemoryTransport):
        async def publish(self, packet, routing_keys):
            raise TransportError("the network is down")

    async def scenario():
        clock, watcher = VirtualClock(NOW), Watcher()
        with Outbox(tmp_path / "outbox.db") as outbox:
            transport = Down(network, site(1))
            options = {"outbox": outbox, "clock": clock}
            async with loop_on(
                network, 1, transport=transport, lifetime_s=100, on_event=watcher, **options
            ) as loop:
                await loop.publish(effect(-0.4), about=ABOUT)
                assert (await watcher.until("unsent"))[0].reason == "the network is down"
            clock.advance(200.0)
            async with loop_on(network, 1, on_event=watcher, **options) as loop:
                await watcher.until("expired")
                assert await loop.flush(20)
                assert loop.statistics.events["sent"] == 0
                assert outbox.unsent == 0

    asyncio.run(scenario())


def test_a_long_synthesis_keeps_nobody_waiting(network, monkeypatch):
    """Of many sites it is made in a thread, so that what arrives is acknowledged meanwhile."""
    threads = {}
    real = qis.loop.syntheses.synthesise

    def noted(review, **others):
        threads[len(review.evidence)] = threading.current_thread() is threading.main_thread()
        return real(review, **others)

    monkeypatch.setattr("qis.loop.syntheses.synthesise", noted)
    sites = AT_ONCE + 8

    async def scenario():
        async with loop_on(network, 1, debounce_s=0.0) as loop:
            keys = SCHEME.routing_keys(ABOUT)
            for number in range(sites):
                packet = qis.Packet.sign(
                    qis.Identity.from_seed(number.to_bytes(32)),
                    outcome=effect(0.01 * number),
                    fingerprint=SCHEME.fingerprint(ABOUT),
                    routing_keys=keys,
                    issued_at=int(NOW),
                    lifetime_s=3600,
                )
                loop.store.add(packet, now=NOW)
                if number in (3, sites - 1):
                    loop.believe(loop.store.roster)  # judge all again
                    await first_synthesis(loop, lambda s, n=number: len(s.sites) == n + 1)

    asyncio.run(scenario())
    assert threads == {4: True, sites: False}


def test_whole_likelihoods_are_computed_in_a_thread_and_kept(network, monkeypatch):
    # However few they are: they take longer than the event loop may stand still.
    threads, computed = [], []

    class Counting(kept_module.Said):
        def __init__(self, outcomes, key):
            computed.append(len(outcomes))
            super().__init__(outcomes, key)

    def noted(review, **others):
        threads.append(threading.current_thread() is threading.main_thread())
        return real_synthesise(review, **others)

    monkeypatch.setattr(kept_module, "Said", Counting)
    monkeypatch.setattr("qis.loop.syntheses.synthesise", noted)

    async def scenario():
        async with loop_on(network, 1, debounce_s=0.0) as loop:
            keys = SCHEME.routing_keys(ABOUT)
            for number in range(4):
                packet = qis.Packet.sign(
                    qis.Identity.from_seed(number.to_bytes(32)),
                    outcome=qis.Counts(
                        question=QUESTION,
                        events=3 + number,
                        total=40,
                        control_events=7,
                        control_total=41,
                    ),
                    fingerprint=SCHEME.fingerprint(ABOUT),
                    routing_keys=keys,
                    issued_at=int(NOW),
                    lifetime_s=3600,
                )
                loop.store.add(packet, now=NOW)
                if number >= 2:
                    computed.clear()
                    loop.believe(loop.store.roster)  # judge all again
                    await first_synthesis(loop, lambda s, n=number: len(s.sites) == n + 1)

    asyncio.run(scenario())
    assert not any(threads)
    assert set(computed) == {1}

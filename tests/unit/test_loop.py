"""The loop: publish, receive, synthesise again, replace, withdraw; async and blocking alike."""

import asyncio

import pytest

import qis
from qis import blocking
from qis.errors import DisclosureError, InputError, StorageError, TransportError
from qis.health import HealthState
from qis.loop import Outbox
from qis.testing import VirtualClock
from tests._builders import site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
QUESTION = "beta blocker vs none | 30-day death"


def effect(estimate, error=0.2, **others):
    return qis.Effect(
        **{"question": QUESTION, "measure": "OR", **others},
        estimate=estimate,
        standard_error=error,
    )


def loop_on(network, number, **options):
    interest = options.pop("interest", SCHEME.interest(ABOUT))
    options.setdefault("disclosure", qis.Disclosure.preset("none"))
    transport = options.pop("transport", None) or qis.MemoryTransport(network, site(number))
    return qis.SynthesisLoop(site(number), transport, SCHEME, interest=interest, **options)


async def synthesis_of(loop, done):
    async with asyncio.timeout(20):
        async for synthesis in loop:
            if done(synthesis):
                return synthesis
    raise AssertionError("the loop has ended")


def test_two_sites_come_to_the_same_synthesis_which_is_that_of_their_packets():
    async def scenario():
        network = qis.MemoryNetwork(seed=3, duplicate=0.5, reorder=0.5)
        async with loop_on(network, 1) as first, loop_on(network, 2) as second:
            packets = [
                await first.publish(effect(-0.4), about=ABOUT),
                await second.publish(effect(0.1, error=0.3), about=ABOUT),
            ]
            found = [
                await synthesis_of(loop, lambda s: len(s.sites) == 2) for loop in (first, second)
            ]
            assert found[0].digest == found[1].digest
            assert found[0].estimate == found[1].estimate
            expected = qis.synthesise(packets, model="random")
            assert found[0].random == expected.random
            assert found[0].fixed == expected.fixed
            assert first.latest(QUESTION) is not None
            assert first.statistics.admissions["accepted"] == 1
            assert await first.flush(5)

    asyncio.run(scenario())


def test_a_newer_outcome_replaces_and_a_retraction_withdraws():
    async def scenario():
        network, clock = qis.MemoryNetwork(now=1.8e9), VirtualClock(1.8e9)
        async with (
            loop_on(network, 1, clock=clock) as writer,
            loop_on(network, 2, clock=clock) as reader,
        ):
            first = await writer.publish(effect(-0.4), about=ABOUT)
            second = await writer.publish(effect(-0.5), about=ABOUT)
            assert second.sequence == first.sequence + 1
            found = await synthesis_of(reader, lambda s: s.estimate == -0.5)
            assert [site.packets for site in found.sites] == [(second,)]
            withdrawn = await writer.retract(QUESTION, reason="error")
            found = await synthesis_of(reader, lambda s: not s.sites)
            assert [(left.packet, left.reason) for left in found.excluded] == [
                (withdrawn, "retracted")
            ]
            assert withdrawn.expires_at >= second.expires_at
            with pytest.raises(InputError, match="in force"):
                await writer.retract(QUESTION)

    asyncio.run(scenario())


def test_what_replaces_lives_as_long_as_what_it_replaces():
    async def scenario():
        network, clock = qis.MemoryNetwork(now=1.8e9), VirtualClock(1.8e9)
        store = qis.MemoryStore(roster=qis.Roster.open())
        async with loop_on(network, 1, clock=clock, store=store, lifetime_s=80_000) as loop:
            former = await loop.publish(effect(-0.4), about=ABOUT)
        clock.advance(1)
        async with loop_on(network, 1, clock=clock, store=store, lifetime_s=10) as loop:
            later = await loop.publish(effect(-0.3), about=ABOUT)
            assert later.sequence > former.sequence
            assert later.expires_at == former.expires_at
        clock.advance(1)
        # Another outbox, which knows from the store what was published, but not under which keys.
        async with loop_on(network, 1, clock=clock, store=store, lifetime_s=10) as loop:
            with pytest.raises(InputError, match="about="):
                await loop.retract(QUESTION, about=[-1.0, 0.0, 0.0])
            withdrawn = await loop.retract(QUESTION)
            assert withdrawn.expires_at == later.expires_at
            assert withdrawn.travels_under(())  # and the study's id

    asyncio.run(scenario())


def test_one_key_stays_about_one_thing_until_it_is_retracted():
    async def scenario():
        async with loop_on(qis.MemoryNetwork(), 1) as loop:
            await loop.publish(effect(-0.4), about=ABOUT)
            with pytest.raises(InputError, match="retract it first"):
                await loop.publish(effect(-0.4), about=[-1.0, 0.0, 0.0])
            await loop.retract(QUESTION)
            again = {"about": [-1.0, 0.0, 0.0]}
            with pytest.raises(DisclosureError, match="was withdrawn"):
                await loop.publish(effect(-0.4), **again)
            packet = await loop.publish(effect(-0.4), **again, reinstate=True)
            assert packet.fingerprint == SCHEME.fingerprint([-1.0, 0.0, 0.0])

    asyncio.run(scenario())


class Failing(qis.MemoryTransport):
    """A network that is down for the first attempts."""

    failures = 2

    async def publish(self, packet, routing_keys):
        if self.failures:
            self.failures -= 1
            raise TransportError("the network is down")
        await super().publish(packet, routing_keys)


def test_what_the_network_did_not_take_is_sent_again(monkeypatch):
    monkeypatch.setattr("qis.loop.sender.FIRST_RETRY_S", 0.001)

    async def scenario():
        network = qis.MemoryNetwork()
        failing = Failing(network, site(1))
        async with loop_on(network, 1, transport=failing) as writer, loop_on(network, 2) as reader:
            await writer.publish(effect(-0.4), about=ABOUT)
            assert not await writer.flush(0.0)
            assert await writer.flush(10)
            assert failing.failures == 0
            found = await synthesis_of(reader, lambda s: len(s.sites) == 1)
            assert found.estimate == -0.4

    asyncio.run(scenario())


def test_a_declared_study_brings_its_model_and_is_received_whole():
    async def scenario():
        study = qis.Study(question=QUESTION, measure="OR", model="fixed")
        far = SCHEME.interest([-1.0, 1.0, -1.0])
        network = qis.MemoryNetwork()
        async with (
            loop_on(network, 1, studies=[study]) as writer,
            loop_on(network, 2, studies=[study], interest=far) as reader,
        ):
            outcome = qis.Effect(study=study, measure="OR", estimate=-0.4, standard_error=0.2)
            await writer.publish(outcome, about=ABOUT)
            found = await synthesis_of(reader, lambda s: len(s.sites) == 1)
            assert (found.model, found.study) == ("fixed", study)
            assert reader.latest(study.id) is found

    asyncio.run(scenario())


def test_small_numbers_of_people_stay_at_the_site_unless_it_is_told_otherwise():
    async def scenario():
        transport = qis.MemoryTransport(qis.MemoryNetwork(), site(1))
        loop = qis.SynthesisLoop(site(1), transport, SCHEME, interest=SCHEME.interest(ABOUT))
        async with loop:
            with pytest.raises(DisclosureError, match="minimum_n"):
                await loop.publish(effect(-0.4, n=10), about=ABOUT)
            with pytest.raises(DisclosureError, match="unknown"):
                await loop.publish(effect(-0.4), about=ABOUT)
            assert (len(loop.store), transport.statistics.published) == (0, 0)
            await loop.publish(effect(-0.4, n=200), about=ABOUT)
            # 201 people instead of 200: the difference is one patient.
            with pytest.raises(DisclosureError, match="difference"):
                await loop.publish(effect(-0.41, n=201), about=ABOUT)
            await loop.publish(effect(-0.41, n=211), about=ABOUT)
            await loop.retract(QUESTION)

    asyncio.run(scenario())


def test_what_cannot_be_published_is_not_noted_as_released():
    async def scenario():
        disclosure = qis.Disclosure.preset("cms")
        async with loop_on(qis.MemoryNetwork(), 1, disclosure=disclosure) as loop:
            with pytest.raises(InputError, match="dimensions"):
                await loop.publish(effect(-0.4, n=200), about=[1.0])
            await loop.publish(effect(-0.4, n=201), about=ABOUT)

    asyncio.run(scenario())


def test_observe_distils():
    async def scenario():
        def distil(record):
            return None if record is None else (effect(record), ABOUT)

        async with loop_on(qis.MemoryNetwork(), 1, distil=distil) as loop:
            assert await loop.observe(None) is None
            packet = await loop.observe(-0.25)
            assert packet.outcome.estimate == -0.25
        async with loop_on(qis.MemoryNetwork(), 1) as loop:
            with pytest.raises(InputError, match="distil="):
                await loop.observe(1)

    asyncio.run(scenario())


def test_a_study_that_cannot_be_synthesised_is_counted_and_the_loop_goes_on():
    async def scenario():
        failed = asyncio.Event()

        def watch(event):
            if event.kind == "unsynthesised":
                failed.set()

        async with loop_on(qis.MemoryNetwork(), 1, on_event=watch) as loop:
            await loop.publish(effect(3.0, question="length of stay", measure="MD"), about=ABOUT)
            await loop.publish(effect(-0.4), about=ABOUT)
            await synthesis_of(loop, lambda s: s.measure == "OR")
            async with asyncio.timeout(20):
                await failed.wait()
            assert loop.statistics.failures == {"InputError": 1}
            assert loop.latest("length of stay") is None

    asyncio.run(scenario())


def test_iteration_ends_with_the_loop_and_a_closed_loop_says_so():
    async def scenario():
        loop = loop_on(qis.MemoryNetwork(), 1)
        with pytest.raises(InputError, match="not open"):
            await loop.publish(effect(-0.4), about=ABOUT)
        async with loop:
            await loop.publish(effect(-0.4), about=ABOUT)
            seen = []

            async def reading():
                seen.extend([synthesis async for synthesis in loop])

            task = asyncio.create_task(reading())
            await synthesis_of(loop, lambda s: True)
        async with asyncio.timeout(20):
            await task
        assert len(seen) == 1
        with pytest.raises(InputError, match="not open"):
            await loop.flush(1)

    asyncio.run(scenario())


class Broken(qis.MemoryStore):
    """A store whose disk fails when something arrives."""

    def add_many(self, packets, *, now):
        raise OSError("disk full")


def test_a_store_that_keeps_failing_is_told_and_nothing_is_let_go(faults):
    faults.expect("loop.store: OSError")

    async def scenario():
        network, told = qis.MemoryNetwork(), asyncio.Event()
        broken = Broken(roster=qis.Roster.open())

        def on_event(event):
            if event.kind == "fault" and event.subject == "loop.store: OSError":
                told.set()

        async with (
            loop_on(network, 1) as writer,
            loop_on(network, 2, store=broken, on_event=on_event) as reader,
        ):
            await writer.publish(effect(-0.4), about=ABOUT)
            async with asyncio.timeout(20):
                await told.wait()
            assert reader.health.state is HealthState.DEGRADED
            assert [reason.code for reason in reader.health.reasons] == ["unstored"]

    asyncio.run(scenario())


def test_two_rosters_are_refused():
    store = qis.MemoryStore(roster=qis.Roster.open())
    with pytest.raises(InputError, match="its own roster"):
        loop_on(qis.MemoryNetwork(), 1, store=store, roster=qis.Roster.open())


def test_the_blocking_loop_does_the_same_without_async():
    first = qis.UDPTransport(site(1), roster=qis.Roster.open())
    options = {
        "interest": SCHEME.interest(ABOUT),
        "disclosure": qis.Disclosure.preset("none"),
    }
    with blocking.SynthesisLoop(site(1), first, SCHEME, **options) as one:
        second = qis.UDPTransport(site(2), roster=qis.Roster.open(), bootstrap=[first.address])
        with blocking.SynthesisLoop(site(2), second, SCHEME, **options) as two:
            one.publish(effect(-0.4), about=ABOUT)
            two.publish(effect(0.1), about=ABOUT)
            for loop in (one, two):
                found = next(s for s in loop.syntheses(timeout_s=20) if len(s.sites) == 2)
                assert loop.latest(QUESTION).digest == found.digest
            assert one.flush(10)
            # A new reader begins with what there is, if it comes in time.
            assert {s.digest for s in one.syntheses(timeout_s=0.0)} <= {found.digest}
            one.retract(QUESTION)
            assert next(s for s in two.syntheses(timeout_s=20) if len(s.sites) == 1)
    with pytest.raises(InputError, match="not open"):
        one.latest(QUESTION)
    with pytest.raises(InputError, match="interest"):
        blocking.SynthesisLoop(site(1), first, SCHEME, interest=None)


def test_the_blocking_loop_has_all_that_the_other_has(tmp_path):
    public = {name for name in vars(qis.SynthesisLoop) if not name.startswith("_")}
    assert public <= set(vars(blocking.SynthesisLoop)) | {"store"}
    events = []
    options = {
        "interest": SCHEME.interest(ABOUT),
        "interest_people": 0,
        "approve": "manual",
        "on_event": events.append,
        "disclosure": qis.Disclosure.preset("none"),
    }

    def opened(outbox):
        transport = qis.DirectoryTransport(tmp_path / "network", site(1))
        return blocking.SynthesisLoop(site(1), transport, SCHEME, outbox=outbox, **options)

    # A nightly batch submits, somebody decides the next morning.
    with Outbox(tmp_path / "outbox.db") as outbox, opened(outbox) as night:
        shown = night.dry_run(effect(-0.4), about=ABOUT)
        assert len(shown.data) == 512
        first = night.publish(effect(-0.4), about=ABOUT)
        second = night.publish(effect(0.1, cohort="women"), about=ABOUT)
    with Outbox(tmp_path / "outbox.db") as outbox, opened(outbox) as morning:
        assert [pending.id for pending in morning.waiting()] == [first.id, second.id]
        morning.reject(second.id, approver="Dr Grey", reason="to be checked")
        packet = morning.release(first.id, approver="Dr Grey")
        far = SCHEME.interest([-1.0, 0.0, 0.0])
        morning.watch(far)
        morning.unwatch(far)
        morning.believe(qis.Roster.open())
        assert morning.flush(20)
        assert morning.statistics.published == 1
        assert morning.waiting() == ()
    assert (tmp_path / "network" / f"{packet.id.hex()}.qis").exists()
    assert [event.kind for event in events].count("opened") == 2
    with (
        Outbox(tmp_path / "outbox.db") as outbox,
        opened(outbox),
        pytest.raises(StorageError, match="another loop"),
    ):
        opened(outbox).__enter__()

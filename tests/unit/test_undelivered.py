"""What no other site holds: it is not called sent, it is listed with why, and it is bounded."""

import asyncio
from dataclasses import replace

import pytest

import qis
from qis import blocking
from qis._database import open_database
from qis.account.tables import SCHEMA
from qis.errors import StorageError, TransportError
from qis.health import HealthState
from qis.loop import Outbox
from qis.loop.clock_watch import SETTLE_S
from qis.loop.sender import LATE_S
from qis.testing import VirtualClock
from tests._builders import Watcher, loop_of

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
NOW = 1_800_000_000.0
SITE = qis.Identity.from_seed(bytes([1]) * 32)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("qis.loop.sender.FIRST_RETRY_S", 0.001)
    monkeypatch.setattr("qis.loop.sender.LAST_RETRY_S", 0.01)
    monkeypatch.setattr("qis.loop.sender.LAST_CHECK_S", 0.01)


class Network(qis.MemoryTransport):
    """Takes and holds what it is told to; `refused` and `unheld` are questions."""

    def __init__(self):
        super().__init__(qis.MemoryNetwork(now=NOW), SITE)
        self.refused, self.unheld, self.error = set(), set(), TransportError("no space left")
        self.asked, self.handed = {}, []

    async def publish(self, packet, routing_keys):
        self.asked[packet.id] = packet.outcome.question
        if packet.outcome.question in self.refused:
            raise self.error
        await super().publish(packet, routing_keys)
        self.handed.append(packet.outcome.question)

    def holding(self, packet_id):
        if self.asked.get(packet_id) in self.unheld:
            return qis.Holding(is_held=False, holders=1, reason="one key of two is missing")
        return qis.Holding(is_held=True, holders=2)


def effect(question, estimate=-0.4):
    return qis.Effect(question=question, measure="OR", estimate=estimate, standard_error=0.2)


def loop_on(transport, watcher=None, **options):
    return loop_of(transport, SITE, SCHEME, ABOUT, on_event=watcher, **options)


def sent(watcher):
    return sorted(event.packet.outcome.question for event in watcher.of("sent"))


def test_what_nobody_holds_is_not_called_sent():
    async def scenario():
        watcher, transport = Watcher(), Network()
        transport.unheld = {"q"}
        async with loop_on(transport, watcher) as loop:
            packet = await loop.publish(effect("q"), about=ABOUT)
            assert not await loop.flush(0.1)
            assert watcher.of("sent") == []
            (missing,) = loop.undelivered()
            assert missing == (packet, NOW, "one key of two is missing", 1, 1)
            transport.unheld = set()
            assert await loop.flush(20)
            assert sent(watcher) == ["q"]
            assert watcher.of("sent")[0].remaining == 0
            assert loop.undelivered() == ()

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [TransportError("no space left"), OSError("/home/p"), KeyError()])
def test_a_packet_that_the_network_refuses_keeps_no_other_back(error):
    async def scenario():
        watcher, transport = Watcher(), Network()
        transport.refused, transport.error = {"bad"}, error
        async with loop_on(transport, watcher) as loop:
            for question in ("before", "bad", "after"):
                await loop.publish(effect(question), about=ABOUT)
            await watcher.until_holds(lambda: len(watcher.of("sent")) == 2)
            assert sent(watcher) == ["after", "before"]
            (missing,) = loop.undelivered()
            assert missing.packet.outcome.question == "bad"
            said = str(error) if isinstance(error, TransportError) else type(error).__name__
            assert missing.reason == said  # a stranger's text may hold what must not be shown
            await watcher.until_holds(lambda: len(watcher.of("unsent")) == 2)  # at its 10th failure
            assert loop.undelivered()[0].attempts >= 10
            assert not await loop.flush(0.0)
            transport.refused = set()
            assert await loop.flush(20)
            assert sent(watcher) == ["after", "bad", "before"]

    asyncio.run(scenario())


@pytest.mark.parametrize("is_taken", [True, False])
def test_versions_that_nobody_holds_give_way_to_the_newest(is_taken, tmp_path):
    async def scenario():
        watcher, transport = Watcher(), Network()
        setattr(transport, "unheld" if is_taken else "refused", {"q"})
        with Outbox() as outbox, qis.AuditLog(tmp_path / "audit.jsonl") as audit:
            async with loop_on(transport, watcher, outbox=outbox, audit=audit) as loop:
                for number in range(30):
                    newest = await loop.publish(effect("q", number / 100), about=ABOUT)
                await watcher.until_holds(lambda: len(watcher.of("replaced")) == 29)
                assert outbox.unsent == 1
                assert [each.packet for each in loop.undelivered()] == [newest]
                withdrawn = await loop.retract("q")
                await watcher.until_holds(lambda: len(watcher.of("replaced")) == 30)
                assert [each.packet for each in loop.undelivered()] == [withdrawn]
                transport.unheld, transport.refused = set(), set()
                assert await loop.flush(20)
                assert [event.packet for event in watcher.of("sent")] == [withdrawn]
            # The log says of each that never was handed to the network that it did not leave.
            replaced = {event.packet.id.hex() for event in watcher.of("replaced")}
            stayed = {entry.subject[0] for entry in audit.entries() if entry.rule == "not emitted"}
            assert stayed <= replaced
            assert (stayed == replaced) is not is_taken

    asyncio.run(scenario())


def test_what_expires_unheld_leaves_with_that_word():
    async def scenario():
        watcher, transport, clock = Watcher(), Network(), VirtualClock(NOW)
        transport.unheld, transport.refused = {"taken"}, {"refused"}
        async with loop_on(transport, watcher, clock=clock, lifetime_s=100) as loop:
            for question in ("taken", "refused"):
                await loop.publish(effect(question), about=ABOUT)
            assert not await loop.flush(0.05)
            clock.advance(200.0)
            await watcher.until_holds(lambda: len(watcher.of("expired")) == 2)
            assert watcher.of("sent") == []
            assert loop.undelivered() == ()
            reasons = {e.packet.outcome.question: e.reason for e in watcher.of("expired")}
            assert reasons == {"taken": "one key of two is missing", "refused": "no space left"}

    asyncio.run(scenario())


def test_the_list_outlives_the_process_with_its_times(tmp_path):
    async def scenario():
        clock = VirtualClock(NOW)
        for after_s in (0.0, 50.0):
            transport = Network()
            transport.unheld = {"q"}
            clock.advance(after_s)
            with Outbox(tmp_path / "outbox.db") as outbox:
                async with loop_on(transport, outbox=outbox, clock=clock) as loop:
                    if not after_s:
                        packet = await loop.publish(effect("q"), about=ABOUT)
                    assert not await loop.flush(0.05)
                    (missing,) = loop.undelivered()
                    assert (missing.packet, missing.since) == (packet, NOW)

    asyncio.run(scenario())


def test_an_outbox_of_the_first_schema_is_read(tmp_path):
    async def scenario():
        packet = None
        with Outbox() as made:
            async with loop_on(Network(), outbox=made) as loop:
                packet = await loop.publish(effect("q"), about=ABOUT)
                row = made._execute("SELECT packet, keys FROM unsent").fetchone()
        path = tmp_path / "outbox.db"
        first = open_database(path, replace(SCHEMA, migrations=SCHEMA.migrations[:1]))
        first.execute("INSERT INTO unsent (packet, keys) VALUES (?, ?)", row)
        first.close()
        transport = Network()
        transport.unheld = {"q"}
        with Outbox(path) as outbox:
            async with loop_on(transport, outbox=outbox) as loop:
                assert not await loop.flush(0.05)
                assert [(each.packet, each.since) for each in loop.undelivered()] == [(packet, NOW)]

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [TransportError("it is closed"), KeyError("x")])
@pytest.mark.parametrize("what", ["holding", "flush"])
def test_a_transport_that_cannot_say_has_not_said_held(what, error, faults):
    is_fault = isinstance(error, KeyError)
    if is_fault:
        faults.expect(f"loop.{what}: KeyError")

    async def scenario():
        watcher, transport = Watcher(), Network()

        def holding(packet_id):
            raise error

        async def flush(timeout_s):
            raise error

        async with loop_on(transport, watcher) as loop:
            setattr(transport, what, {"holding": holding, "flush": flush}[what])
            transport.unheld = {"q"}
            await loop.publish(effect("q"), about=ABOUT)
            assert not await loop.flush(0.1)
            (missing,) = loop.undelivered()
            if is_fault:
                told = {event.subject for event in watcher.of("fault")}
                assert told == {f"loop.{what}: KeyError"}
            else:
                reasons = {missing.reason, *(event.reason for event in watcher.of("unsent"))}
                assert str(error) in reasons
            delattr(transport, what)
            transport.unheld = set()
            assert await loop.flush(20)

    asyncio.run(scenario())


def test_a_transport_that_forgot_gets_it_again():
    async def scenario():
        watcher, transport = Watcher(), Network()
        transport.unheld = {"q"}
        is_closed = False
        flush = transport.flush

        async def flushing(timeout_s):
            if is_closed:
                raise TransportError("the transport is closed")
            return await flush(timeout_s)

        transport.flush = flushing
        async with loop_on(transport, watcher) as loop:
            await loop.publish(effect("q"), about=ABOUT)
            assert not await loop.flush(0.05)
            assert transport.handed == ["q"]
            is_closed = True
            await watcher.until_holds(lambda: watcher.of("unsent"))
            assert watcher.of("unsent")[0].reason == "the transport is closed"
            is_closed, transport.unheld = False, set()
            assert await loop.flush(20)
            assert len(transport.handed) >= 2
            assert sent(watcher) == ["q"]

    asyncio.run(scenario())


def test_health_says_what_is_late_and_when_it_is_over():
    async def scenario():
        watcher, transport, clock = Watcher(), Network(), VirtualClock(NOW)
        transport.unheld = {"q"}
        loop = loop_on(transport, watcher, clock=clock)
        assert loop.health.state is HealthState.CLOSED
        async with loop:
            assert loop.health.state is HealthState.OK
            await loop.publish(effect("q"), about=ABOUT)
            assert not await loop.flush(0.05)
            assert loop.health.state is HealthState.OK
            clock.advance(LATE_S)
            await watcher.until_holds(lambda: watcher.of("health"))
            health = loop.health
            assert health.state is HealthState.DEGRADED
            assert [reason.code for reason in health.reasons] == ["undelivered"]
            assert "one key of two is missing" in str(health)
            assert health.since == NOW + LATE_S
            transport.unheld = set()
            assert await loop.flush(20)
            await watcher.until_holds(lambda: len(watcher.of("health")) == 2)
            assert loop.health.state is HealthState.OK
        assert loop.health.state is HealthState.CLOSED

    asyncio.run(scenario())


def test_a_loop_that_has_failed_says_so_in_its_health():
    async def scenario():
        with Outbox() as outbox:

            def full(numbers):
                raise StorageError("the disk is full")

            outbox.taken = full
            loop = loop_on(Network(), outbox=outbox)
            await loop.__aenter__()
            await loop.publish(effect("q"), about=ABOUT)
            with pytest.raises(StorageError, match="full"):
                await loop.flush(20)
            health = loop.health
            assert health.state is HealthState.CLOSED
            assert [reason.code for reason in health.reasons] == ["failed"]
            assert "the disk is full" in str(health)
            with pytest.raises(StorageError, match="full"):
                await loop.__aexit__(None, None, None)

    asyncio.run(scenario())


def test_the_same_without_async():
    transport = Network()
    transport.unheld = {"q"}
    with blocking.SynthesisLoop(
        SITE,
        transport,
        SCHEME,
        interest=SCHEME.interest(ABOUT),
        disclosure=qis.Disclosure.preset("none"),
    ) as loop:
        packet = loop.publish(effect("q"), about=ABOUT)
        assert not loop.flush(0.05)
        assert [each.packet for each in loop.undelivered()] == [packet]
        assert loop.health.state is HealthState.OK


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_clock_that_jumps_ahead_for_a_moment_lets_nothing_go(is_taken):
    async def scenario():
        watcher, transport, clock = Watcher(), Network(), VirtualClock(NOW)
        setattr(transport, "unheld" if is_taken else "refused", {"q"})
        async with loop_on(transport, watcher, clock=clock) as loop:
            packet = await loop.publish(effect("q"), about=ABOUT)
            assert not await loop.flush(0.02)
            clock.set(NOW + 500 * 86_400.0)
            assert not await loop.flush(0.1)
            assert [each.packet for each in loop.undelivered()] == [packet]
            clock.set(NOW + 3.0)
            transport.unheld = transport.refused = set()
            assert await loop.flush(20)
            assert watcher.of("expired") == []
            assert sent(watcher) == ["q"]

    asyncio.run(scenario())


def test_what_a_wrong_date_has_let_go_is_sent_when_it_is_set_back():
    async def scenario():
        watcher, transport, clock = Watcher(), Network(), VirtualClock(NOW)
        transport.refused = {"q"}
        async with loop_on(transport, watcher, clock=clock) as loop:
            packet = await loop.publish(effect("q"), about=ABOUT)
            clock.set(NOW + 500 * 86_400.0)
            assert not await loop.flush(0.05)
            clock.advance(
                SETTLE_S
            )  # it stands: whoever set it has had time to see that it is wrong
            await watcher.until_holds(lambda: watcher.of("expired"))
            assert loop.undelivered() == ()
            clock.set(NOW + SETTLE_S)
            transport.refused = set()
            loop._parts.clock_watch.look()
            await watcher.until_holds(lambda: watcher.of("sent"))
            assert watcher.of("sent")[0].packet == packet

    asyncio.run(scenario())


def test_what_a_wrong_date_has_let_go_is_sent_at_the_next_opening(tmp_path):
    async def scenario():
        packet = None
        for at, refused in ((NOW, {"q"}), (NOW + 500 * 86_400.0, {"q"}), (NOW + 9.0, set())):
            watcher, transport = Watcher(), Network()
            transport.refused = refused
            with Outbox(tmp_path / "outbox.db") as outbox:
                async with loop_on(
                    transport, watcher, outbox=outbox, clock=VirtualClock(at)
                ) as loop:
                    if packet is None:
                        packet = await loop.publish(effect("q"), about=ABOUT)
                    await loop.flush(0.05 if refused else 20)
        assert [event.packet for event in watcher.of("sent")] == [packet]

    asyncio.run(scenario())


@pytest.mark.parametrize("sites", [0, 1, 2])
def test_what_other_sites_say_lives_does_not_expire(sites):
    async def scenario():
        others = [qis.Identity.from_seed(bytes([number]) * 32) for number in (2, 3)]
        roster = qis.Roster(
            sites=[
                qis.Site(name=str(number), keys=[qis.SiteKey(issuer=each.issuer)])
                for number, each in enumerate((SITE, *others))
            ]
        )
        watcher, transport, clock = Watcher(), Network(), VirtualClock(NOW)
        transport.refused = {"q"}
        store = qis.MemoryStore(roster=roster)
        async with loop_on(transport, watcher, clock=clock, store=store) as loop:
            packet = await loop.publish(effect("q"), about=ABOUT)
            for other in others[:sites]:
                clock_s = NOW - transport.site_clocks._steady()
                transport.site_clocks.session(other.issuer.key, clock_s)
            clock.set(NOW + 500 * 86_400.0)
            assert not await loop.flush(0.05)
            clock.advance(SETTLE_S)
            if sites == 2:
                assert not await loop.flush(0.1)
                (missing,) = loop.undelivered()
                assert missing.packet == packet
                assert "other sites doubt it" in missing.reason
            else:
                await watcher.until_holds(lambda: watcher.of("expired"))

    asyncio.run(scenario())

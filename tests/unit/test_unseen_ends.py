"""Nothing of a loop ends unseen: not by a cancellation nobody asked for, a clock, or a store."""

import asyncio
from contextlib import asynccontextmanager

import pytest

import qis
from qis.errors import TransportError
from qis.loop.sender import TURN, Sender
from qis.transport.directory import DirectoryTransport
from tests._builders import loop_of

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
NOW = 1_800_000_000.0
SITE = qis.Identity.from_seed(bytes([1]) * 32)
OTHER = qis.Identity.from_seed(bytes([2]) * 32)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("qis.loop.sender.FIRST_RETRY_S", 0.001)
    monkeypatch.setattr("qis.loop.sender.LAST_RETRY_S", 0.01)
    monkeypatch.setattr("qis.loop.sender.LAST_CHECK_S", 0.01)
    monkeypatch.setattr("qis._guard.FIRST_PAUSE_S", 0.001)


class Cancelling(qis.MemoryTransport):
    """Cancels what it awaits itself, as clients of brokers do when their connection goes."""

    def __init__(self, *where):
        self.network = qis.MemoryNetwork(now=NOW)
        super().__init__(self.network, SITE)
        self.where = list(where)

    def _end(self, operation):
        if operation in self.where:
            self.where.remove(operation)
            raise asyncio.CancelledError

    async def publish(self, packet, routing_keys):
        self._end("publish")
        await super().publish(packet, routing_keys)

    async def flush(self, timeout_s):
        self._end("flush")
        return await super().flush(timeout_s)

    @asynccontextmanager
    async def subscribe(self, interest):
        self._end("subscribe")
        async with super().subscribe(interest) as deliveries:

            async def cut():
                self._end("delivery")
                async for delivery in deliveries:
                    yield delivery
                    self._end("after a delivery")

            yield cut()


def effect(question="q"):
    return qis.Effect(question=question, measure="OR", estimate=-0.4, standard_error=0.2)


def loop_on(transport, **options):
    return loop_of(transport, SITE, SCHEME, ABOUT, **options)


def from_other(question):
    return qis.Packet.sign(
        OTHER,
        outcome=effect(question),
        fingerprint=SCHEME.fingerprint(ABOUT),
        routing_keys=SCHEME.routing_keys(ABOUT),
        issued_at=int(NOW),
        lifetime_s=86_400,
    )


@pytest.mark.parametrize("where", ["publish", "flush"])
def test_a_cancellation_that_nobody_asked_for_keeps_no_packet_back(where, faults):
    async def scenario():
        async with loop_on(Cancelling(where)) as loop:
            for question in ("a", "b"):
                await loop.publish(effect(question), about=ABOUT)
            assert await loop.flush(10)
            assert loop.undelivered() == ()

    if where == "flush":
        faults.expect("loop.confirming")
    asyncio.run(scenario())


@pytest.mark.parametrize("where", ["delivery", "after a delivery"])
def test_a_cancellation_that_nobody_asked_for_makes_no_loop_deaf(where, faults):
    faults.expect("loop.subscription")

    async def scenario():
        transport = Cancelling(where)
        other = qis.MemoryTransport(transport.network, OTHER)
        came, done = [], asyncio.Event()

        def on_event(event):
            if event.kind == "received":
                came.append(event.packet.outcome.question)
                if "b" in came:
                    done.set()

        async with loop_on(transport, on_event=on_event):
            for question in ("a", "b"):
                packet = from_other(question)
                await other.publish(packet, SCHEME.routing_keys(ABOUT))
                await transport.network.settle()
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                await done.wait()

    asyncio.run(scenario())


def test_a_subscription_that_is_cancelled_as_it_opens_is_an_error_and_no_wait_for_ever():
    async def scenario():
        async with asyncio.timeout(10):
            with pytest.raises(TransportError, match="cancelled"):
                async with loop_on(Cancelling("subscribe")):
                    pass

    asyncio.run(scenario())


class Clock:
    """A clock of the application's, which fails once when it is told to."""

    def __init__(self):
        self.fails = 0

    def __call__(self):
        if self.fails:
            self.fails -= 1
            raise OSError("no time now")
        return NOW


def test_a_sender_that_fails_once_loses_no_packet(faults, monkeypatch):
    faults.expect("loop.handing_over")
    failed = []

    def seems_expired(sender, waiting, former=Sender._seems_expired):
        if not failed:
            failed.append(waiting)
            raise OSError("no time now")
        return former(sender, waiting)

    monkeypatch.setattr(Sender, "_seems_expired", seems_expired)

    async def scenario():
        async with loop_on(Cancelling()) as loop:
            await loop.publish(effect(), about=ABOUT)
            assert await loop.flush(10)

    asyncio.run(scenario())
    assert failed


def test_a_clock_that_fails_makes_no_folder_deaf(tmp_path, faults):
    faults.expect("directory.poll", "directory.health")

    async def scenario():
        clock = Clock()
        async with (
            DirectoryTransport(tmp_path, SITE, poll_s=0.001, clock=clock) as transport,
            transport.subscribe(SCHEME.interest(ABOUT)) as deliveries,
        ):
            clock.fails = 3
            while clock.fails:  # noqa: ASYNC110  turns, no time
                await asyncio.sleep(0)
            async with DirectoryTransport(tmp_path, OTHER, clock=lambda: NOW) as writer:
                await writer.publish(from_other("a"), SCHEME.routing_keys(ABOUT))
            async with asyncio.timeout(10):
                assert (await anext(deliveries)).packet.outcome.question == "a"

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [OSError("disk"), RuntimeError("bug"), MemoryError()])
def test_what_the_own_store_fails_on_does_not_leave(error):
    class Store(qis.MemoryStore):
        is_broken = False

        def add_many(self, packets, *, now):
            if self.is_broken:
                raise error
            return super().add_many(packets, now=now)

    async def scenario():
        store = Store(roster=qis.Roster.open())
        async with loop_on(Cancelling(), store=store) as loop:
            first = await loop.publish(effect(), about=ABOUT)
            assert await loop.flush(10)
            store.is_broken = True
            with pytest.raises(type(error)):
                await loop.publish(effect(), about=ABOUT)
            assert loop.undelivered() == ()
            assert await loop.flush(10)
            assert loop.statistics.events["sent"] == 1
            store.is_broken = False
            retraction = await loop.retract("q")  # of what is in force: the first
            assert retraction.sequence > first.sequence

    asyncio.run(scenario())


def test_a_transport_that_takes_at_once_lets_others_have_their_turn():
    class Quick(Cancelling):
        count = turns = 0

        async def publish(self, packet, routing_keys):
            self.count += 1
            await super().publish(packet, routing_keys)

    async def scenario():
        transport = Quick()
        seen = set()
        async with loop_on(transport) as loop:
            for number in range(4 * TURN):
                await loop.publish(effect(f"q{number}"), about=ABOUT)
            while transport.count < 4 * TURN:
                seen.add(transport.count)
                await asyncio.sleep(0)
        assert {TURN, 2 * TURN, 3 * TURN} <= seen

    asyncio.run(scenario())


def test_an_application_may_ask_from_its_callback_what_is_undelivered():
    class Closing(Cancelling):
        async def flush(self, timeout_s):
            if not self.where:
                while self.statistics.published < 3:  # noqa: ASYNC110  turns, no time
                    await asyncio.sleep(0)
                self.where.append("closed once")
                await loop.publish(effect("meanwhile"), about=ABOUT)
                raise TransportError("closed")
            return await super().flush(timeout_s)

    counts = []

    def on_event(event):
        if event.kind == "unsent" and event.packet is not None:
            counts.append(len(loop.undelivered()))

    loop = loop_on(Closing(), on_event=on_event)

    async def scenario():
        async with loop:
            for number in range(3):
                await loop.publish(effect(f"q{number}"), about=ABOUT)
            assert await loop.flush(10)

    asyncio.run(scenario())
    assert counts == [2, 3, 4]  # what is told of is not held; the fourth is known by then

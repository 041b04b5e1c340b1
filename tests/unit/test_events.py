"""Each kind of event that a loop tells comes out of what it stands for."""

import asyncio
import contextlib
import shutil

import pytest

import qis
from qis.errors import DisclosureError, StorageError, TransportError
from qis.loop import EVENT_KINDS, Outbox
from qis.testing import VirtualClock
from tests._builders import NOW, Watcher, effect, loop_of, signed, site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
DAY_S = 86_400


class Place:
    """A network, a folder, a clock and what the loops on them have told."""

    def __init__(self, folder, faults):
        self.folder, self.faults = folder, faults
        self.network = qis.MemoryNetwork(now=NOW)
        self.clock, self.told = VirtualClock(float(NOW)), Watcher()

    def loop(self, number=1, *, told=None, **options):
        transport = options.pop("transport", None) or self.transport(number)
        told = self.told if told is None and number == 1 else told
        return loop_of(
            transport, site(number), SCHEME, ABOUT, clock=self.clock, on_event=told, **options
        )

    def transport(self, number=1):
        return qis.MemoryTransport(self.network, site(number))

    @contextlib.asynccontextmanager
    async def heard(self, *packets, **options):
        """A loop, and packets that come in to it from somewhere else."""
        async with self.loop(**options) as loop, self.transport(9) as sender:
            for packet in packets:
                await sender.publish(packet, SCHEME.routing_keys(ABOUT))
            yield loop


def packet(number, estimate=0.1, **options):
    return signed(number, effect(estimate), scheme=SCHEME, about=ABOUT, **options)


async def published(place):
    """Opened, published, sent, synthesised, retracted, closed."""
    async with place.loop() as loop:
        mine = await loop.publish(effect(), about=ABOUT)
        (event,) = await place.told.until("synthesised")
        assert event.synthesis.estimate == 0.1
        (event,) = await place.told.until("sent")
        assert (event.packet, event.remaining) == (mine, 0)
        place.clock.advance(1.0)
        gone = await loop.retract("q")
    assert [event.packet for event in place.told.of("published")] == [mine]
    assert [event.packet for event in place.told.of("retracted")] == [gone]


async def received(place):
    other = packet(2)
    async with place.heard(other):
        (event,) = await place.told.until("received")
    assert (event.packet, event.reason) == (other, "accepted")
    assert event.study_id == other.outcome.study_id


async def republished(place):
    study = qis.Study(question="q", measure="OR", model="fixed")
    republishing = {"republish": True, "republish_interval_s": 0.0, "studies": [study]}
    outcome = effect(0.5, study=study, measure="OR")
    async with place.heard(signed(2, outcome, scheme=SCHEME, about=ABOUT), **republishing) as loop:
        await loop.publish(effect(study=study, measure="OR"), about=ABOUT)
        (event, *_) = await place.told.until("republished")
    assert isinstance(event.packet.outcome, qis.Derived)


async def approved(place):
    """Waiting, and rejected."""
    async with place.loop(approve="manual") as loop:
        pending = await loop.publish(effect(), about=ABOUT)
        await loop.reject(pending.id, approver="Dr Ada", reason="not yet")
    (event,) = place.told.of("waiting")
    assert event.pending_id == pending.id
    (event,) = place.told.of("rejected")
    assert (event.pending_id, event.reason) == (pending.id, "not yet")


async def refused(place):
    async with place.loop(disclosure=None) as loop:
        with pytest.raises(DisclosureError):
            await loop.publish(qis.Counts(question="q", events=3, total=200), about=ABOUT)
    (event,) = place.told.of("refused")
    assert event.packet is None


class Down(qis.MemoryTransport):
    """A network that takes nothing."""

    async def publish(self, packet, routing_keys):
        raise TransportError("the cable is out")


async def unsent(place):
    """Not taken by the network, then replaced, then over."""
    down = Down(place.network, site(1))
    async with place.loop(transport=down, lifetime_s=3600) as loop:
        first = await loop.publish(effect(), about=ABOUT)
        (event,) = await place.told.until("unsent")
        assert (event.packet, event.reason) == (first, "the cable is out")
        place.clock.advance(1.0)
        second = await loop.publish(effect(0.2), about=ABOUT)
        (event,) = await place.told.until("replaced")
        assert event.packet == first
        place.clock.advance(3600.0)
        (event,) = await place.told.until("expired")
        assert event.packet == second


async def equivocation(place):
    async with place.heard(packet(2, 0.1), packet(2, 0.2)):
        (event,) = await place.told.until("equivocation")
    assert event.reason == str(site(2).issuer)


async def unsynthesised(place):
    async with place.loop() as loop:
        await loop.publish(effect(measure="MD"), about=ABOUT)
        (event,) = await place.told.until("unsynthesised")
    assert "MD" in event.reason


async def failed(place):
    class Full(Outbox):
        def taken(self, *_, **__):
            raise StorageError("disk full")

    loop = place.loop(outbox=Full())
    await loop.__aenter__()
    await loop.publish(effect(), about=ABOUT)
    (event,) = await place.told.until("failed")
    assert event.reason == "disk full"
    with pytest.raises(StorageError, match="disk full"):
        await loop.__aexit__(None, None, None)


async def fault(place):
    place.faults.expect("loop.on_event")

    def tell(event):
        place.told(event)
        if event.kind == "published":
            raise KeyError("a fault of the application")

    async with place.loop(told=tell) as loop:
        await loop.publish(effect(), about=ABOUT)
        (event,) = await place.told.until("fault")
        assert loop.statistics.callback_failures == 1
    assert event.subject.startswith("loop.on_event")
    assert "a fault of the application" not in event.reason  # it may say what must not be logged


async def health(place):
    place.faults.expect("loop.audit")
    with qis.AuditLog(place.folder / "audit.jsonl") as audit:
        async with place.heard(packet(2), audit=audit):
            audit.close()
            (event, *_) = await place.told.until("health")
    assert event.subject == "unrecorded"


async def limit(place):
    store = qis.MemoryStore(roster=qis.Roster.open(), capacity=1)
    packets = [packet(number, at=NOW + number) for number in range(2, 9)]
    async with place.heard(*packets, store=store):
        (event, *_) = await place.told.until("limit")
    assert event.subject.startswith("evicted: ")
    assert len(store) == 1


async def refusal(place):
    async with place.heard(packet(2, at=NOW + DAY_S)):
        (event,) = await place.told.until("refusal")
    assert "NotYetValidError" in event.subject


async def foreign_use(place):
    stolen = packet(1, at=NOW + 1)
    async with place.heard(stolen):
        (event,) = await place.told.until("foreign_use")
    assert event.packet == stolen


async def account(place):
    """The head of the log is handed out; a restored outbox is behind it."""
    file, copy = (place.folder / name for name in ("outbox.db", "copy"))
    with qis.AuditLog(place.folder / "audit.jsonl") as audit:
        for estimate in (0.1, 0.2):
            with Outbox(file) as outbox:
                async with place.loop(outbox=outbox, audit=audit) as loop:
                    await loop.publish(effect(estimate), about=ABOUT)
                    await place.told.until("audit_head")
            if estimate == 0.1:
                shutil.copy(file, copy)
            place.clock.advance(1.0)
        shutil.copy(copy, file)
        assert not place.told.of("account")
        with Outbox(file) as outbox:
            async with place.loop(outbox=outbox, audit=audit):
                (event, *_) = await place.told.until("account")
    assert event.subject


async def set_aside(place):
    with Outbox(place.folder / "outbox.db") as outbox:
        place.clock.set(NOW + 2.0 * DAY_S)
        async with place.loop(outbox=outbox) as loop:
            wrong = await loop.publish(effect(), about=ABOUT)
        place.clock.set(float(NOW))
        async with place.loop(outbox=outbox) as loop:
            assert await loop.recover_clock() == (wrong,)
    (event,) = place.told.of("set_aside")
    assert event.packet == wrong


async def modelled(place):
    study = qis.Study(
        question="age | death",
        kind="model",
        family="logistic",
        coefficients=("intercept", "age"),
        purpose="effect",
    )
    rows = qis.ModelRows(features=[[0.1], [0.4], [0.8], [0.2]], labels=[0, 0, 1, 1])
    async with place.loop(studies=[study]) as loop:
        await loop.join(study, rows, about=ABOUT)
        (event, *_) = await place.told.until("modelled")
    assert (event.study_id, "Not converged" in event.reason) == (study.id, True)


SCENARIOS = {
    published: ("opened", "published", "sent", "synthesised", "retracted", "closed"),
    received: ("received",),
    republished: ("republished",),
    modelled: ("modelled",),
    approved: ("waiting", "rejected"),
    refused: ("refused",),
    unsent: ("unsent", "replaced", "expired"),
    equivocation: ("equivocation",),
    unsynthesised: ("unsynthesised",),
    failed: ("failed",),
    fault: ("fault",),
    health: ("health",),
    limit: ("limit",),
    refusal: ("refusal",),
    foreign_use: ("foreign_use",),
    account: ("account", "audit_head"),
    set_aside: ("set_aside",),
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_kind_of_event_comes_out_of_what_it_stands_for(scenario, tmp_path, faults, monkeypatch):
    for name in ("FIRST_RETRY_S", "LAST_RETRY_S", "LAST_CHECK_S"):
        monkeypatch.setattr(f"qis.loop.sender.{name}", 0.001)
    place = Place(tmp_path, faults)
    asyncio.run(scenario(place))
    assert set(SCENARIOS[scenario]) <= {event.kind for event in place.told.events}


def test_no_kind_of_event_is_left_out_here():
    """A kind that is added to the code is added to the scenarios above."""
    assert {kind for kinds in SCENARIOS.values() for kind in kinds} == set(EVENT_KINDS)

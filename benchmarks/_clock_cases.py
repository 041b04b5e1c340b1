"""A wrong clock, in all the ways in which one was seen to go wrong: who is told, and what is lost.

Each case is a small network of its own, in a folder or on loopback, with clocks that are set while
it runs. It counts as told if those who lose by it learn of it, and nothing that is right is lost.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from unittest import mock

import qis
from qis.errors import ClockError
from qis.loop import Event
from qis.loop._numbers import Numbers
from qis.loop.clock_watch import ClockWatch
from qis.loop.recovery import Recovery
from qis.testing import VirtualClock
from qis.transport.reception import Reception
from qis.transport.site_clocks import ClockOpinion, ClockState

DAY_S = 86_400.0
HOUR_S = 3_600.0
NOW = 1_800_000_000.0
SCHEME = qis.VectorScheme(dimensions=4, bands=6)
NEAR = [1.0, 0.5, -0.2, 0.1]
KEYS = SCHEME.routing_keys(NEAR)
STUDY = qis.Study(question="a vs b | death", measure="OR", model="fixed")
IDENTITIES = [qis.Identity.from_seed(bytes([number] * 32)) for number in range(1, 7)]
NAMES = ["north", "south", "east", "west", "coast", "hill"]
ROSTER = qis.Roster(
    tuple(
        qis.Site.of(name, identity.issuer) for name, identity in zip(NAMES, IDENTITIES, strict=True)
    )
)
OWN, READER = IDENTITIES[:2]
WITHIN_S = 5.0


class MachineDate:
    """The machine's date, wrong by so much; its steady clock is the machine's."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self.offset_s = offset_s
        self.steady = time.monotonic

    def __call__(self) -> float:
        """Unix seconds."""
        return time.time() + self.offset_s


def effect(estimate: float) -> qis.Effect:
    """An outcome of the study."""
    return qis.Effect(study=STUDY, measure="OR", estimate=estimate, standard_error=0.2, n=400)


def packet_of(identity: qis.Identity, at: float, estimate: float = 0.1) -> qis.Packet:
    """A packet of another site."""
    return qis.Packet.sign(
        identity,
        outcome=effect(estimate),
        fingerprint=SCHEME.fingerprint(NEAR),
        issued_at=int(at),
        lifetime_s=30 * 86_400,
        routing_keys=KEYS,
    )


def loop_of(
    transport: qis.Transport,
    clock: Callable[[], float],
    events: list[Event],
    **more: object,
) -> qis.SynthesisLoop:
    """The loop of the site whose clock is in question."""
    options: dict[str, object] = {
        "interest": SCHEME.interest(NEAR),
        "interest_people": 0,
        "roster": ROSTER,
        "disclosure": qis.Disclosure.preset("none"),
        "clock": clock,
        "on_event": events.append,
    }
    return qis.SynthesisLoop(OWN, transport, SCHEME, **(options | more))  # type: ignore[arg-type]


async def publish(loop: qis.SynthesisLoop, estimate: float) -> qis.Packet:
    """Publish, and wait until it lies in the folder."""
    packet = await loop.publish(effect(estimate), about=NEAR, people=0)
    await loop.flush(WITHIN_S)
    return packet  # type: ignore[return-value]  # the loop has no approval


async def until(holds: Callable[[], object]) -> bool:
    """Whether it holds in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WITHIN_S):
            while not holds():  # noqa: ASYNC110  what is waited for has no event of its own
                await asyncio.sleep(0.01)
            return True
    return False


async def raises(what: Awaitable[object]) -> bool:
    """Whether it is refused for the clock."""
    try:
        await what
    except ClockError:
        return True
    return False


class Folder:
    """A folder, a site with files of its own, and a reader whose clock is right."""

    def __init__(self, path: Path) -> None:
        self.shared = path / "shared"
        self.shared.mkdir()
        self.path = path
        self.clock, self.right = VirtualClock(now=NOW), VirtualClock(now=NOW)
        self.events: list[Event] = []
        self.told: list[str] = []
        self.store = qis.MemoryStore(roster=ROSTER)

    @contextlib.asynccontextmanager
    async def site(self) -> AsyncIterator[qis.SynthesisLoop]:
        """The site's loop, as after a restart."""
        store = qis.SQLiteStore(self.path / "store.db", roster=ROSTER)
        with contextlib.closing(store), qis.Outbox(self.path / "outbox.db") as outbox:
            transport = qis.DirectoryTransport(
                self.shared, OWN, roster=ROSTER, poll_s=0.01, clock=self.clock
            )
            more = {"store": store, "outbox": outbox, "roster": None}
            async with loop_of(transport, self.clock, self.events, **more) as loop:
                yield loop

    def other(self, identity: qis.Identity, at: float) -> None:
        """A packet of another site comes into the folder."""
        packet = packet_of(identity, at)
        keys = b"".join(sorted({*KEYS, STUDY.id}))
        (self.shared / f"{packet.id.hex()}.qis").write_bytes(bytes(packet) + keys)

    async def read(self) -> list[float]:
        """What counts for the reader after a look at the folder, of the site in question."""
        transport = qis.DirectoryTransport(
            self.shared, READER, roster=ROSTER, poll_s=0.01, clock=self.right
        )
        transport.notices.listen(lambda notice: self.told.append(notice.subject))
        files = len(list(self.shared.glob("*.qis")))
        async with transport, transport.subscribe(SCHEME.interest(NEAR)) as deliveries:
            seen = transport.statistics
            await until(lambda: seen.delivered + seen.refused.total() + seen.unmatched >= files)
            for _ in range(seen.delivered):
                self.store.add((await anext(deliveries)).packet, now=self.right())
        found = self.store.evidence(STUDY, now=self.right())
        return [p.outcome.estimate for p in found if p.issuer == OWN.issuer]  # type: ignore[union-attr]

    def both(self, seconds: float) -> None:
        """Let time pass for both."""
        self.clock.advance(seconds)
        self.right.advance(seconds)

    def kinds(self, kind: str) -> list[Event]:
        """The site's events of a kind."""
        return [event for event in self.events if event.kind == kind]


async def two_days_ahead(path: Path) -> bool:
    """+2 d over a folder: the reader is told, the repaired estimate counts on the third day."""
    folder = Folder(path)
    folder.clock.set(NOW + 2 * DAY_S)
    async with folder.site() as loop:
        wrong = await publish(loop, 9.0)
    is_told = await folder.read() == [] and "NotYetValidError of north" in folder.told
    file = folder.shared / f"{wrong.id.hex()}.qis"
    shutil.copy(file, path / "copy")
    folder.clock.set(NOW + 60.0)
    folder.right.advance(60.0)
    async with folder.site() as loop:
        is_told &= await raises(loop.publish(effect(0.2), about=NEAR, people=0))
        is_told &= await loop.recover_clock() == (wrong,) and not file.exists()
        await publish(loop, 0.2)
    is_right = await folder.read() == [0.2]
    shutil.copy(path / "copy", file)
    folder.both(2 * DAY_S)
    async with folder.site() as loop:
        await until(lambda: folder.kinds("republished"))
        await loop.flush(WITHIN_S)
    return is_told and is_right and await folder.read() == [0.2]


async def forty_days_behind(path: Path) -> bool:
    """−40 d over a folder: verified packets of two sites contradict it; nothing is lost after."""
    folder = Folder(path)
    folder.clock.set(NOW - 40 * DAY_S)
    folder.other(IDENTITIES[2], NOW - DAY_S)
    folder.other(IDENTITIES[3], NOW)
    async with folder.site() as loop:
        is_told = await until(lambda: len(folder.kinds("refusal")) == 2)
        is_told &= await raises(loop.publish(effect(0.2), about=NEAR, people=0))
        is_told &= "clock" in [reason.code for reason in loop.health.reasons]
        folder.clock.set(NOW)
        is_right = await until(lambda: loop.statistics.received == 2)
        await publish(loop, 0.2)
    return is_told and is_right and await folder.read() == [0.2]


async def on_loopback(
    clock: MachineDate, others: list[MachineDate], then: Callable[..., Awaitable[bool]]
) -> bool:
    """A site among others on UDP, once it has a session with each."""
    async with contextlib.AsyncExitStack() as stack:
        enter, events = stack.enter_async_context, list[Event]()
        transport = qis.UDPTransport(OWN, roster=ROSTER, clock=clock)
        loop = await enter(loop_of(transport, clock, events))
        nodes = []
        for identity, other in zip(IDENTITIES[1:], others, strict=False):
            node = qis.UDPTransport(
                identity, roster=ROSTER, bootstrap=[transport.address], clock=other
            )
            nodes.append(await enter(node))
        sessions = transport._channels.sessions  # type: ignore[union-attr]  # noqa: SLF001
        await until(lambda: len(sessions.clocks_s) == len(others))
        return await then(loop, events, nodes)


async def four_hundred_days_ahead(_: Path) -> bool:
    """+400 d: handshakes show it before anything is signed."""
    clock = MachineDate(400 * DAY_S)

    async def then(loop: qis.SynthesisLoop, *_: object) -> bool:
        is_told = await raises(loop.publish(effect(0.2), about=NEAR, people=0))
        return is_told and "clock" in [reason.code for reason in loop.health.reasons]

    return await on_loopback(clock, [MachineDate(), MachineDate()], then)


async def step_back_while_running(_: Path) -> bool:
    """−1 h while it runs: told, doubted, and packets of others go on coming."""
    clock = MachineDate()

    async def then(
        loop: qis.SynthesisLoop, events: list[Event], nodes: list[qis.UDPTransport]
    ) -> bool:
        async def comes(number: int, at: float) -> bool:
            before = loop.statistics.received
            await nodes[0].publish(packet_of(READER, at, number / 10), KEYS)
            return await until(lambda: loop.statistics.received > before)

        is_heard = await comes(1, time.time())
        clock.offset_s = -HOUR_S
        is_told = await raises(loop.publish(effect(0.2), about=NEAR, people=0))
        is_told &= "clock_set" in [event.subject for event in events if event.kind == "health"]
        # Dated by a clock as wrong as this one, it is valid here: no timer has stopped.
        return is_told and is_heard and await comes(2, clock())

    return await on_loopback(clock, [MachineDate(), MachineDate()], then)


async def liars(_: Path) -> bool:
    """Two of five say that it is 400 days later: an event, and nobody is stopped."""
    others = [MachineDate(), MachineDate(), MachineDate()]
    lying = [MachineDate(400 * DAY_S), MachineDate(400 * DAY_S)]

    async def then(loop: qis.SynthesisLoop, *_: object) -> bool:
        await loop.publish(effect(0.2), about=NEAR, people=0)
        codes = [reason.code for reason in loop.health.reasons]
        return "clock_disputed" in codes and "clock" not in codes

    return await on_loopback(MachineDate(), [*others, *lying], then)


async def rotation_after(path: Path) -> bool:
    """A key that signed at +2 d is followed by another: what that signs counts."""
    folder = Folder(path)
    folder.clock.set(NOW + 2 * DAY_S)
    async with folder.site() as loop:
        wrong = await publish(loop, 9.0)
    new = qis.Identity.from_seed(bytes([77]) * 32)
    north = qis.Site(
        name="north",
        keys=(
            qis.SiteKey(issuer=OWN.issuer, valid_until=int(NOW) + 30),
            qis.SiteKey(issuer=new.issuer, valid_from=int(NOW) + 30),
        ),
    )
    store = qis.MemoryStore(roster=qis.Roster((north, *ROSTER.sites[1:])))
    told = store.add(wrong, now=NOW + 60.0) is qis.Admission.NOT_YET_VALID
    store.add(packet_of(new, NOW + 60.0, 0.2), now=NOW + 60.0)
    found = []
    for at in (NOW + 60.0, NOW + 3 * DAY_S):  # and when the date of the wrong one has come
        store.add(wrong, now=at)
        found += [p.outcome.estimate for p in store.evidence(STUDY, now=at)]  # type: ignore[union-attr]
    return told and found == [0.2, 0.2]


async def retraction_after(path: Path) -> bool:
    """What was signed at +400 d is withdrawn at once, and stays so when that date comes."""
    folder = Folder(path)
    async with folder.site() as loop:
        await publish(loop, 0.1)
    folder.clock.set(NOW + 400 * DAY_S)
    async with folder.site() as loop:
        wrong = await publish(loop, 9.0)
    folder.clock.set(NOW + 60.0)
    folder.right.advance(60.0)
    async with folder.site() as loop:
        is_told = await raises(loop.publish(effect(0.2), about=NEAR, people=0))
        await loop.retract(STUDY)
        await loop.flush(WITHIN_S)
    is_right = await folder.read() == []
    folder.both(400 * DAY_S)
    folder.store.add(wrong, now=folder.right())
    async with folder.site() as loop:
        await until(lambda: folder.kinds("republished"))
        await loop.flush(WITHIN_S)
    return is_told and is_right and await folder.read() == []


CASES: dict[str, Callable[[Path], Awaitable[bool]]] = {
    "+2 d, folder": two_days_ahead,
    "-40 d, folder": forty_days_behind,
    "+400 d, sessions": four_hundred_days_ahead,
    "-1 h while running": step_back_while_running,
    "rotation after +2 d": rotation_after,
    "retraction after +400 d": retraction_after,
    "liars": liars,
}


def told(name: str) -> bool:
    """Whether in a case those who lose are told and nothing that is right is lost."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return asyncio.run(CASES[name](Path(folder)))
        except (qis.QISError, ExceptionGroup):  # of the former rules: it cannot go on
            return False


@contextlib.contextmanager
def former_rules() -> Iterator[None]:
    """No word of clocks from anybody, and a last sequence that only time makes up for."""
    unknown = ClockOpinion(state=ClockState.UNKNOWN)
    with contextlib.ExitStack() as stack:
        for owner, name, value in (
            (ClockWatch, "look", lambda _: unknown),
            (Recovery, "is_needed", False),
            (Recovery, "make_way", lambda _, __: None),
            (Recovery, "answer", lambda _, __: None),
            (Reception, "_early", lambda _, __: None),
            (Numbers, "next", lambda self, now, above=0: max(self.last + 1, int(now * 1e6), above)),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


def figures(full: bool) -> dict[str, float]:  # noqa: ARG001, FBT001  there is one form of it
    """The counts of the issue, and each case on the way."""
    now = {name: told(name) for name in CASES}
    with former_rules():
        before = {name: told(name) for name in CASES}
    for name in CASES:
        words = ["told" if found[name] else "NOT TOLD" for found in (now, before)]
        print(f"{name:28} {words[0]:10} by the former rules: {words[1]}")
    return {
        "clock_cases": len(now),
        "clock_cases_told": sum(now.values()),
        "clock_cases_told_by_the_former_rules": sum(before.values()),
    }

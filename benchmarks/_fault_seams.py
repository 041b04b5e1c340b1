"""Each seam of the guard made to raise in a running network of two sites, and what became of it.

A seam is lost if, after a fault, a site no longer publishes, receives or closes, or if nobody was
told. The table names, for every seam that stands in the library, what to make raise and in which
network; a test compares it with the library's source in both directions.
"""

import asyncio
import importlib
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import mock

import qis
from qis._guard import Guard

ROOT: Final = Path(__file__).parents[1]
ERRORS: Final = (
    lambda: RuntimeError("injected"),
    lambda: RecursionError("injected"),
    lambda: MemoryError("injected"),
    lambda: OSError("injected"),
)
NOW: Final = 1_800_000_000.0
SCHEME: Final = qis.VectorScheme(dimensions=3)
NEAR: Final = (0.2, -1.0, 0.7)
MODEL: Final = qis.Study(
    question="age | death",
    kind="model",
    family="logistic",
    coefficients=("intercept", "age"),
    purpose="effect",
)
ROWS: Final = qis.ModelRows(
    features=[[number / 60 - 1.0] for number in range(120)],
    labels=[float(number % 7 < 3) for number in range(120)],
)
WITHIN_S: Final = 10.0
_LITERAL: Final = re.compile(
    r'"((?:udp|overlay|direct|memory|reception|directory|nats|cloud|bridge|loop|site)\.(?!(?:toml|conf)")[a-z_]+)"'
)


class Seam(NamedTuple):
    """How to make one seam raise.

    Parameters
    ----------
    target
        ``module:name.of.attribute`` of what is called inside it.
    network
        Where: a key of `_NETWORKS`.
    when
        "running", once both sites are open; "opening", before that.
    passes
        What the target returns at its first calls, in place of doing anything; then it raises, for
        the same object.
    argument
        Not the target raises, but what it is given under this name, once that is called.
    advance_s
        Virtual seconds that have to pass until it is called.

    """

    target: str
    network: str
    when: str = "running"
    passes: tuple[Any, ...] = ()
    argument: str = ""
    advance_s: float = 0.0


SEAMS: Final = {
    "udp.reading": Seam("qis.transport._socket:DatagramSocket._read", "udp"),
    "udp.handling": Seam("qis.transport.udp:UDPTransport._receive", "udp"),
    "udp.writing": Seam("qis.transport._socket:DatagramSocket._send_now", "udp", passes=(False,)),
    "udp.channel": Seam("qis.channel:Channels.receive", "udp"),
    "udp.sealing": Seam("qis.channel:Channels.send", "udp"),
    "udp.alarm": Seam("qis.overlay.node:OverlayNode.handle_timer", "udp"),
    "udp.channel_alarm": Seam("qis.channel:Channels.handle_timer", "udp"),
    "udp.relays": Seam("qis.relay:Relays.handle_timer", "udp"),
    "udp.sending": Seam("qis.transport._socket:DatagramSocket.send", "udp"),
    "udp.cache": Seam("qis.transport.udp:write_cache", "udp"),
    "overlay.datagram": Seam("qis.overlay.node:decode", "overlay"),
    "overlay.delivery": Seam("qis.overlay.requests:Requests.deliver", "overlay"),
    "overlay.verify_ahead": Seam("qis.overlay.validator:Validator.verify_ahead", "udp"),
    "overlay.message": Seam("qis.overlay.requests:Requests.answer", "overlay"),
    "overlay.changes": Seam("qis.overlay.joining:Joining.notice", "overlay"),
    "overlay.timer": Seam("qis.overlay.handover:Handover.forget", "overlay", advance_s=700.0),
    "overlay.answer": Seam(
        "qis.overlay.lookup_driver:LookupDriver._contacts", "overlay", advance_s=800.0
    ),
    "overlay.request": Seam("qis.overlay.rpc:Rpc.send", "overlay"),
    "overlay.lookup": Seam("qis.overlay.lookup:Lookup.to_ask", "overlay", advance_s=800.0),
    "overlay.found": Seam(
        "qis.overlay.subscriber:Subscriber._tell_all", "overlay", advance_s=800.0
    ),
    "overlay.round": Seam("qis.overlay.rounds:Rounds._start", "overlay"),
    "overlay.round_end": Seam("qis.overlay.publications:Publications._note", "overlay"),
    "overlay.handed": Seam("qis.overlay.handover:Handover._named", "newcomer"),
    "overlay.unhanded": Seam(
        "qis.overlay.send_window:SendWindow.send", "silent", argument="on_silence"
    ),
    "overlay.undelivered": Seam(
        "qis.overlay.delivering:Delivering._takes", "overlay", passes=(False,), advance_s=1.0
    ),
    "direct.datagram": Seam("qis.direct:DirectNode._receive", "direct"),
    "direct.timer": Seam("qis.direct.presence:Presence.check", "direct"),
    "direct.judging": Seam("qis.transport.reception:Reception.receive_many", "direct"),
    "direct.packet": Seam("qis.transport._direct:DirectMember._judged", "direct"),
    "direct.undelivered": Seam(
        "qis.transport.reception:Reception.receive", "narrow", advance_s=1.0
    ),
    "memory.arrival": Seam("qis.transport.reception:Reception.receive", "memory"),
    "memory.datagram": Seam("qis.overlay.node:OverlayNode.receive_datagrams", "overlay"),
    "memory.relays": Seam("qis.relay:Relays.handle_timer", "overlay"),
    "memory.sending": Seam("qis.transport.memory:MemoryNetwork._send_datagram", "overlay"),
    "memory.alarm": Seam("qis.overlay.node:OverlayNode.handle_timer", "overlay", advance_s=100.0),
    "reception.packet": Seam("qis.transport.reception:Reception._judge", "memory"),
    "reception.check": Seam("qis.transport.reception:Reception._check", "memory"),
    "reception.verify": Seam("qis.transport.reception:verify_screened", "memory"),
    "directory.poll": Seam("qis.transport.directory:DirectoryTransport._take_in", "directory"),
    "directory.health": Seam("qis.transport.directory:DirectoryTransport._judge", "directory"),
    "directory.file": Seam("qis.transport._folder_reading:FolderReading._look_at", "directory"),
    "directory.tidying": Seam(
        "qis.transport._tidying:_is_own_and_expired",
        "directory",
        when="opening",
    ),
    "nats.connection": Seam("qis.transport.nats.connection:Connection._connect", "restarted"),
    "nats.reading": Seam("qis.transport.nats.reader:Reader._judge_all", "nats"),
    "nats.message": Seam("qis.transport.nats.reader:Reader._read", "nats"),
    "nats.stream": Seam("qis.transport.nats.stream:StreamWatch.look", "nats"),
    "cloud.poll": Seam("qis.transport.cloud.follower:Follower.look", "cloud"),
    "cloud.file": Seam("qis.transport.cloud.follower:Follower._take", "cloud"),
    "cloud.tidying": Seam("qis.transport.cloud:CloudTransport._tidy", "cloud", when="opening"),
    "bridge.following": Seam("qis.transport.bridge:Bridge._try", "bridge"),
    "bridge.carrying": Seam("qis.transport.bridge:Bridge._carry", "bridge"),
    "bridge.confirming": Seam("qis.transport.bridge:Bridge._look", "bridge"),
    "loop.store": Seam("qis.loop.signing:Signer.notice", "memory"),
    "loop.done": Seam("qis.transport.base:Delivery.done", "memory"),
    "loop.audit": Seam("qis.loop.journal:Journal.received", "memory"),
    "loop.renewal": Seam("qis.loop.intake:Intake.renew", "memory", when="opening"),
    "loop.subscription": Seam("qis.loop.intake:Intake._take", "memory"),
    "loop.synthesis": Seam("qis.loop.syntheses:Syntheses._synthesise", "memory"),
    "loop.models": Seam("qis.loop.modelling:Models._until_due", "memory", when="opening"),
    "loop.modelling": Seam("qis.loop.modelling:Models._fit", "models"),
    "loop.republication": Seam("qis.loop.republishing:Republisher._emit", "memory"),
    "loop.on_event": Seam("_fault_seams:Site.on_event", "memory"),
    "loop.flush": Seam("qis.transport.memory:MemoryTransport.flush", "memory"),
    "loop.holding": Seam("qis.transport.memory:MemoryTransport.holding", "memory"),
    "loop.intake": Seam("qis.loop.intake:Intake._next", "memory"),
    "loop.syntheses": Seam("qis.loop.syntheses:Syntheses._until_due", "memory"),
    "loop.own_packets": Seam("qis.loop.own_packets:OwnPackets._ask", "site", when="opening"),
    "loop.accounting": Seam("qis.loop.accounting:Accounting._hand_out", "site", when="opening"),
    "loop.clock_watch": Seam("qis.loop.clock_watch:ClockWatch.run", "memory", when="opening"),
    "loop.recovery": Seam("qis.loop.recovery:Recovery.run", "memory", when="opening"),
    "loop.handing_over": Seam("qis.loop.sender:Sender.hand_over", "memory", when="opening"),
    "loop.confirming": Seam("qis.loop.sender:Sender.confirm", "memory", when="opening"),
    "loop.republishing": Seam("qis.loop.republishing:Republisher.run", "memory", when="opening"),
    "site.roster": Seam("qis.evidence:RosterFile.refresh", "site"),
    "site.following": Seam("qis.site.opening:SiteLoop.look_at_roster", "site"),
}


def seams_in_source() -> set[str]:
    """The seams that stand in the library."""
    found: set[str] = set()
    for path in (ROOT / "qis").rglob("*.py"):
        if path.name != "_guard.py":
            found.update(_LITERAL.findall(path.read_text("utf-8")))
    return found


# --- making one raise -----------------------------------------------------------------------


class Injection:
    """Makes a function raise once, after it has been armed."""

    def __init__(self, seam: Seam) -> None:
        self.fired = False
        self._error: Callable[[], Exception] = RuntimeError
        self._seam = seam
        self._passes: list[Any] = []
        self._argument = seam.argument
        self._owner_of_pass: Any = None
        self._is_armed = False
        module, _, path = seam.target.partition(":")
        owner: Any = Site if module == "_fault_seams" else importlib.import_module(module)
        *outer, self._name = path.split(".")
        if module != "_fault_seams":
            for name in outer:
                owner = getattr(owner, name)
        self._owner = owner
        self._former = owner.__dict__[self._name]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """With the function replaced."""
        former = self._former

        def wrapped(*arguments: Any, **options: Any) -> Any:
            if not self._is_armed or self.fired:
                return former(*arguments, **options)
            if self._argument:
                return former(*arguments, **{**options, self._argument: self._fire})
            if self._passes:
                self._owner_of_pass = arguments[0]
                return self._passes.pop(0)
            if self._owner_of_pass in (None, arguments[0]):
                self._fire()
            return former(*arguments, **options)

        setattr(self._owner, self._name, wrapped)
        try:
            yield
        finally:
            setattr(self._owner, self._name, former)

    def _fire(self, *_: Any) -> None:
        if not self.fired:
            self.fired = True
            raise self._error()

    def arm(self, error: Callable[[], Exception]) -> None:
        """The next call raises this."""
        self._error, self._passes, self._owner_of_pass = error, list(self._seam.passes), None
        self._is_armed, self.fired = True, False


# --- networks -------------------------------------------------------------------------------


class Site:
    """A loop, and what it has told."""

    def __init__(self, number: int) -> None:
        self.identity = qis.Identity.from_seed(bytes([number]) * 32)
        self.told: list[Any] = []
        self.changed = asyncio.Event()
        self.loop: Any = None

    def on_event(self, event: Any) -> None:
        """Remember it."""
        self.told.append(event)
        self.changed.set()

    def options(self, **others: Any) -> dict[str, Any]:
        """Arguments of its loop."""
        return {
            "interest": SCHEME.interest(NEAR),
            "disclosure": qis.Disclosure.preset("none"),
            "model": "fixed",
            "republish": True,
            "republish_interval_s": 0.0,
            # Looked up at each call, since a seam replaces it.
            "on_event": lambda event: self.on_event(event),  # noqa: PLW0108  as it says
            **others,
        }

    async def publish(self, question: str) -> None:
        """Publish something of this site."""
        effect = qis.Effect(
            question=question, measure="OR", estimate=-0.3, standard_error=0.1, n=500
        )
        await self.loop.publish(effect, about=NEAR)

    def counts(self, question: str, other: "Site") -> bool:
        """Whether a packet of another site is in the newest synthesis here."""
        found = self.loop.latest(question)
        return found is not None and any(
            packet.issuer == other.identity.issuer
            for site in found.sites
            for packet in site.packets
        )


class Network(NamedTuple):
    """Two open sites, and how time passes."""

    first: Site
    second: Site
    tick: Callable[[float], Any]
    disturb: Callable[[int], Any]


async def _nothing(_: int) -> None: ...


@asynccontextmanager
async def _memory(folder: Path, *, overlay: bool = False, kind: str = "") -> AsyncIterator[Network]:
    del folder
    network = qis.MemoryNetwork(now=NOW, overlay=overlay)
    sites = Site(1), Site(2)
    members = tuple(qis.Site.of(f"site {n}", site.identity.issuer) for n, site in enumerate(sites))
    roster = qis.Roster(members) if kind in {"direct", "narrow"} else qis.Roster.open()

    async def tick(seconds: float) -> None:
        await network.advance(max(seconds, 5.0 if overlay else 0.01))
        await asyncio.sleep(0.001)

    async def disturb(number: int) -> None:
        newcomer = qis.Identity.from_seed(bytes([100 + number]) * 32)
        if kind == "newcomer":
            joined = qis.MemoryTransport(network, newcomer)
            joined.notices.listen(sites[0].told.append)
        elif kind == "silent":
            # A subscriber that dies: what is on its way to it is given up.
            gone = qis.MemoryTransport(network, newcomer)
            gone.notices.listen(sites[0].told.append)
            context = gone.subscribe(SCHEME.interest(NEAR))
            await context.__aenter__()
            await network.advance(5.0)
            network.kill(gone)
        elif kind == "models":
            await sites[0].loop.join(MODEL, ROWS, about=NEAR)

    async with AsyncExitStack() as opened:
        if kind == "narrow":  # nothing has room for more than one packet
            opened.enter_context(mock.patch("qis.transport.inbox.INBOX_LIMIT", 1))
        for site in sites:
            transport = qis.MemoryTransport(network, site.identity, roster=roster)
            loop = qis.SynthesisLoop(
                site.identity,
                transport,
                SCHEME,
                **site.options(
                    clock=lambda: network.now, studies=[MODEL] if kind == "models" else []
                ),
            )
            site.loop = await opened.enter_async_context(loop)
        yield Network(*sites, tick, disturb)


async def _soon(site: Site) -> None:
    site.changed.clear()
    try:
        async with asyncio.timeout(0.02):
            await site.changed.wait()
    except TimeoutError:
        pass


@asynccontextmanager
async def _udp(folder: Path) -> AsyncIterator[Network]:
    first, second = Site(1), Site(2)
    roster = qis.Roster.open()
    transports: list[qis.UDPTransport] = []
    async with AsyncExitStack() as opened:
        for site in (first, second):
            transport = qis.UDPTransport(
                site.identity,
                roster=roster,
                bootstrap=[each.address for each in transports],
                cache=folder / f"peers-{len(transports)}",
            )
            transports.append(transport)
            scheme = SCHEME
            loop = qis.SynthesisLoop(site.identity, transport, scheme, **site.options())
            site.loop = await opened.enter_async_context(loop)
        yield Network(first, second, lambda _: _soon(second), _nothing)


@asynccontextmanager
async def _directory(folder: Path) -> AsyncIterator[Network]:
    first, second = Site(1), Site(2)
    shared = folder / "shared"
    async with AsyncExitStack() as opened:
        # Something is there when the sites open.
        async with qis.DirectoryTransport(shared, first.identity) as transport:
            effect = qis.Effect(question="before", measure="OR", estimate=0.1, standard_error=0.1)
            packet = qis.Packet.sign(
                first.identity,
                outcome=effect,
                fingerprint=SCHEME.fingerprint(NEAR),
                routing_keys=SCHEME.routing_keys(NEAR),
                issued_at=int(NOW),
                lifetime_s=400 * 86_400,
            )
            await transport.publish(packet, SCHEME.routing_keys(NEAR))
        for site in (first, second):
            transport = qis.DirectoryTransport(shared, site.identity, poll_s=0.01)
            secret = qis.VectorScheme(dimensions=3, secret=bytes(32))
            loop = qis.SynthesisLoop(
                site.identity, transport, secret, **site.options(interest=secret.interest(NEAR))
            )
            site.loop = await opened.enter_async_context(loop)
        yield Network(first, second, lambda _: _soon(second), _nothing)


@asynccontextmanager
async def _nats(folder: Path, *, restarts: bool = False) -> AsyncIterator[Network]:
    import nats  # noqa: PLC0415  the extra [nats], where it is asked for

    from qis.testing import NATSServer  # noqa: PLC0415
    from qis.transport.nats import NATSTransport, stream as module  # noqa: PLC0415

    first, second = Site(1), Site(2)
    pause_s, module.LOOK_S = module.LOOK_S, 0.05  # not ten minutes
    with NATSServer(folder) as server:
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="qis", subjects=["qis.>"], max_msgs_per_subject=1)
        await client.close()

        async def disturb(_: int) -> None:
            if restarts:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)

        try:
            async with _loops(
                {
                    site: NATSTransport(
                        server.url, site.identity, roster=qis.Roster.open(), secret=bytes(32)
                    )
                    for site in (first, second)
                }
            ):
                yield Network(first, second, lambda _: _soon(second), disturb)
        finally:
            module.LOOK_S = pause_s


@asynccontextmanager
async def _cloud(folder: Path) -> AsyncIterator[Network]:
    from qis.transport.cloud import CloudTransport  # noqa: PLC0415  the extra [cloud]

    first, second = Site(1), Site(2)
    transports = {
        site: CloudTransport(
            f"file://{folder}/shared",
            site.identity,
            roster=qis.Roster.open(),
            secret=bytes(32),
            poll_s=0.01,
        )
        for site in (first, second)
    }
    async with _loops(transports):
        yield Network(first, second, lambda _: _soon(second), _nothing)


@asynccontextmanager
async def _bridge(folder: Path) -> AsyncIterator[Network]:
    from qis.transport import bridge  # noqa: PLC0415  for those who use it

    first, second = Site(1), Site(2)
    names = ("one", "two")
    here, there = (
        qis.DirectoryTransport(folder / name, site.identity, poll_s=0.01)
        for name, site in zip(names, (first, second), strict=True)
    )
    ends = [
        qis.DirectoryTransport(folder / name, qis.Identity.generate(), poll_s=0.01)
        for name in names
    ]
    former_s, bridge.CONFIRM_S = bridge.CONFIRM_S, 0.01
    try:
        async with ends[0], ends[1], bridge.bridge(*ends, roster=qis.Roster.open()) as made:
            made.notices.listen(first.told.append)
            async with _loops({first: here, second: there}):
                yield Network(first, second, lambda _: _soon(second), _nothing)
    finally:
        bridge.CONFIRM_S = former_s


@asynccontextmanager
async def _loops(transports: dict[Site, Any]) -> AsyncIterator[None]:
    async with AsyncExitStack() as opened:
        for site, transport in transports.items():
            loop = qis.SynthesisLoop(site.identity, transport, SCHEME, **site.options())
            site.loop = await opened.enter_async_context(loop)
        yield


@asynccontextmanager
async def _site(folder: Path) -> AsyncIterator[Network]:
    first, second = Site(1), Site(2)
    (folder / "shared").mkdir()
    roster = "".join(
        f'[[site]]\nname = "{name}"\n[[site.key]]\nissuer = "{site.identity.issuer}"\n'
        for name, site in (("north", first), ("south", second))
    )
    from qis.site import opening  # noqa: PLC0415  only where a site is opened from a file

    pause_s, opening._ROSTER_LOOK_S = opening._ROSTER_LOOK_S, 0.01  # noqa: SLF001  not 10 s
    try:
        async with AsyncExitStack() as opened:
            for name, site in (("north", first), ("south", second)):
                home = folder / name
                home.mkdir()
                site.identity.save(home / "key.pem")
                (home / "roster.toml").write_text(roster)
                secret = home / "secret"
                secret.touch(mode=0o600)
                secret.write_text("ab" * 32)
                (home / "site.toml").write_text(_SITE)
                loop = qis.open_site(
                    home / "site.toml", on_event=site.on_event, republish_interval_s=0.0
                )
                site.loop = await opened.enter_async_context(loop)
            yield Network(first, second, lambda _: _soon(second), _nothing)
    finally:
        opening._ROSTER_LOOK_S = pause_s  # noqa: SLF001  as above


_SITE: Final = """
[identity]
file = "key.pem"
[roster]
file = "roster.toml"
[scheme]
kind = "vector"
dimensions = 3
secret_file = "secret"
[interest]
features = [0.2, -1.0, 0.7]
people = 0
[transport]
kind = "directory"
path = "../shared"
poll_s = 0.01
[disclosure]
preset = "none"
[loop]
approval = "none"
model = "fixed"
republish = true
"""

_NETWORKS: Final[dict[str, Callable[[Path], Any]]] = {
    "memory": _memory,
    "overlay": lambda folder: _memory(folder, overlay=True),
    "direct": lambda folder: _memory(folder, overlay=True, kind="direct"),
    "narrow": lambda folder: _memory(folder, overlay=True, kind="narrow"),
    "models": lambda folder: _memory(folder, kind="models"),
    "newcomer": lambda folder: _memory(folder, overlay=True, kind="newcomer"),
    "silent": lambda folder: _memory(folder, overlay=True, kind="silent"),
    "udp": _udp,
    "directory": _directory,
    "nats": _nats,
    "restarted": lambda folder: _nats(folder, restarts=True),
    "cloud": _cloud,
    "bridge": _bridge,
    "site": _site,
}


# --- the walk -------------------------------------------------------------------------------


async def walked(
    name: str, errors: Iterable[Callable[[], Exception]] = ERRORS, *, within_s: float = WITHIN_S
) -> str:
    """What was lost by faults at a seam, one after the other; empty if nothing.

    Parameters
    ----------
    name
        The seam.
    errors
        Make what is raised.
    within_s
        Seconds after which something counts as not done, for each of them.

    """
    seam, makers = SEAMS[name], list(errors)
    together = [makers] if seam.when == "running" else [[each] for each in makers]
    for some in together:
        if lost := await _walked(name, seam, some, within_s * len(some)):
            return lost
    return ""


async def _walked(
    name: str, seam: Seam, errors: Sequence[Callable[[], Exception]], within_s: float
) -> str:
    injection, progress = Injection(seam), ["open"]
    told: list[Any] = []
    with injection.installed(), tempfile.TemporaryDirectory() as folder:
        if seam.when == "opening":
            injection.arm(errors[0])
        try:
            async with asyncio.timeout(within_s), _NETWORKS[seam.network](Path(folder)) as network:
                told += [network.first.told, network.second.told]
                for number, error in enumerate(errors):
                    if seam.when == "running":
                        injection.arm(error)
                    await _disturbed(network, number, seam, progress)
                    while not injection.fired and name != "udp.cache":  # written at the end
                        await network.tick(0.0)
                progress.append("close")
        except Exception as raised:  # noqa: BLE001  what a fault takes along is what is looked for
            return f"{progress[-1]}: {type(raised).__name__}: {raised}"
    if not injection.fired:
        return "it was never reached"
    subjects = {e.subject for events in told for e in events if e.kind == "fault"}
    raised = {type(error()).__name__ for error in errors[-1:] if name == "udp.cache"} or {
        type(error()).__name__ for error in errors
    }
    untold = [kind for kind in sorted(raised) if f"{name}: {kind}" not in subjects]
    return f"untold: {', '.join(untold)}" if untold else ""


async def _disturbed(network: Network, number: int, seam: Seam, progress: list[str]) -> None:
    """Publish, let happen what the seam is for, and see that both sites hear each other still."""
    first, second, tick, disturb = network
    progress.append("publish")
    for count in range(12):
        await first.publish(f"during {number}, {count}")
    await second.publish(f"during {number}")
    await disturb(number)
    await tick(seam.advance_s)
    for stage, giver, taker in (
        ("receive", first, second),
        ("receive the other way round", second, first),
    ):
        progress.append(stage)
        question = f"after {number}: {stage}"
        await giver.publish(question)
        while not taker.counts(question, giver):
            await tick(0.0)
    progress.append("reach the seam")


@contextmanager
def without_guard() -> Iterator[None]:
    """Nothing is contained, as before there was a guard."""

    def passed(_: Guard, __: str, error: Exception) -> None:
        raise error

    former = Guard.contained
    Guard.contained = passed  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("asyncio", "qis")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        Guard.contained = former  # type: ignore[method-assign]
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

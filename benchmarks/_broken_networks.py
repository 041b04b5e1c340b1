"""Networks that are broken, each in one way: what is published there reaches nobody.

Each is real: sockets on loopback, folders on disk, or the overlay in virtual time. `CASES` maps a
name to (how to make it, the reason code that the health of a loop there has to show).
"""

import asyncio
import errno
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import qis
from qis.loop import Event, Outbox, Undelivered, sender
from qis.loop.sender import LATE_S
from qis.overlay import rpc
from qis.transport import Transport

SCHEME: Final = qis.VectorScheme(dimensions=3)
ABOUT: Final = [0.2, -1.0, 0.7]
OPEN: Final = qis.Roster.open()
WITHIN_S: Final = 20.0
AHEAD_S: Final = 86_400.0
TRIES_S: Final = (0.02, 0.03, 0.04)
"""How long requests wait here, so that silence is known as such in a tenth of a second."""


class Told(NamedTuple):
    """What the one who published was told."""

    sent: int
    is_flushed: bool
    undelivered: tuple[Undelivered, ...]
    unsent: int
    codes: tuple[str, ...]
    changes: tuple[str, ...]

    def is_told(self, code: str) -> bool:
        """Whether nothing was called sent, and it was said that, and why, it is not."""
        reasons = [each.reason for each in self.undelivered]
        is_listed = len(reasons) == 1 and all(reasons) and self.unsent == 1
        is_silent = not self.sent and not self.is_flushed
        return is_silent and is_listed and code in self.codes and code in self.changes


def site(number: int) -> qis.Identity:
    """The key of a site."""
    return qis.Identity.from_seed(bytes([number]) * 32)


@contextmanager
def quick() -> Iterator[None]:
    """Let nobody wait long for an answer."""
    before = rpc.TRY_AFTER_S, sender.CONFIRM_S
    rpc.TRY_AFTER_S, sender.CONFIRM_S = TRIES_S, TRIES_S[-1]  # type: ignore[misc]
    try:
        yield
    finally:
        rpc.TRY_AFTER_S, sender.CONFIRM_S = before  # type: ignore[misc]


@contextmanager
def port(*, is_bound: bool) -> Iterator[int]:
    """A port where nobody reads what comes, or where nobody is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        if is_bound:
            yield number
    if not is_bound:
        yield number


def udp(number: int, *, roster: qis.Roster = OPEN, **options: object) -> qis.UDPTransport:
    """A node on loopback."""
    return qis.UDPTransport(site(number), roster=roster, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def calling(*, is_bound: bool) -> AsyncIterator[Transport]:
    """Its one peer hears nothing (a firewall), or is not there."""
    with port(is_bound=is_bound) as number:
        yield udp(1, bootstrap=[f"{site(2).issuer}@127.0.0.1:{number}"])


@asynccontextmanager
async def alone() -> AsyncIterator[Transport]:
    """The first node of a network, before another comes."""
    yield udp(1)


@asynccontextmanager
async def wrong_clock() -> AsyncIterator[Transport]:
    """The clock here is a day ahead, so the peer refuses what is dated by it."""
    async with udp(2) as peer:
        yield udp(1, bootstrap=[peer.address], clock=lambda: time.time() + AHEAD_S)


@asynccontextmanager
async def not_listed() -> AsyncIterator[Transport]:
    """The roster of the others does not list this site."""
    roster = qis.Roster((qis.Site.of("another", site(2).issuer),))
    async with udp(2, roster=roster) as peer:
        yield udp(1, bootstrap=[peer.address])


@asynccontextmanager
async def full_holders() -> AsyncIterator[Transport]:
    """The others have no room for another packet."""
    async with udp(2) as peer:
        peer._node.rendezvous.message_store._limit = 0  # type: ignore[union-attr]  # noqa: SLF001
        yield udp(1, bootstrap=[peer.address])


@asynccontextmanager
async def behind_nat() -> AsyncIterator[Transport]:
    """The only other node says that it is reached at a port where nothing comes through."""
    with port(is_bound=True) as dropped:
        first = udp(1)
        async with first, udp(2, bootstrap=[first.address], advertise=("127.0.0.1", dropped)):
            yield first


@asynccontextmanager
async def died() -> AsyncIterator[Transport]:
    """All others died, without a word, after this node had met them."""
    peers = [udp(number) for number in (2, 3)]
    for peer in peers:
        await peer.__aenter__()
    node = udp(1, bootstrap=[peer.address for peer in peers])
    async with node:
        await until(lambda: node.peers == len(peers))
        for peer in peers:
            silence(peer)
        yield node
    for peer in peers:
        await peer.aclose()


@asynccontextmanager
async def partitioned() -> AsyncIterator[Transport]:
    """The overlay in virtual time, this node on one side and all others on the other."""
    network = qis.MemoryNetwork(overlay=True, seed=1)
    nodes = [qis.MemoryTransport(network, site(number)) for number in (1, 2, 3, 4)]
    await network.settle()
    network.partition(nodes[:1])
    yield nodes[0]


@asynccontextmanager
async def folder_away() -> AsyncIterator[Transport]:
    """The share is no longer mounted."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "shared")
        async with qis.DirectoryTransport(folder, site(1), poll_s=0.01) as transport:
            shutil.rmtree(folder)
            yield transport


@asynccontextmanager
async def folder_full() -> AsyncIterator[Transport]:
    """The disk has no room, as the system says when a file is to be synced."""
    sync = os.fsync

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with tempfile.TemporaryDirectory() as folder:
        async with qis.DirectoryTransport(folder, site(1), poll_s=0.01) as transport:
            os.fsync = full
            try:
                yield transport
            finally:
                os.fsync = sync


Make = Callable[[], AbstractAsyncContextManager[Transport]]
CASES: Final[dict[str, tuple[Make, str]]] = {
    "udp blocked": (lambda: calling(is_bound=True), "no_answer"),
    "bootstrap dead": (lambda: calling(is_bound=False), "no_answer"),
    "alone": (alone, "one_node"),
    "wrong clock": (wrong_clock, "undelivered"),
    "not on the roster": (not_listed, "no_answer"),
    "full holders": (full_holders, "undelivered"),
    "behind a NAT": (behind_nat, "one_node"),
    "all died": (died, "no_answer"),
    "partitioned": (partitioned, "no_answer"),
    "folder away": (folder_away, "folder_not_writable"),
    "folder full": (folder_full, "folder_not_writable"),
}


async def publish_in(name: str, *, by_former_rule: bool = False) -> Told:
    """Publish a packet in a broken network, and say what one is told.

    By the former rule whatever a transport has taken is sent once it has been waited for, whoever
    has it.
    """
    make, code = CASES[name]
    events: list[Event] = []
    late_s = AHEAD_S if make is wrong_clock else 0.0
    with quick(), Outbox() as outbox:
        async with make() as transport:
            if by_former_rule:
                transport.holding = lambda _: qis.Holding(is_held=True)  # type: ignore[method-assign]
            loop = qis.SynthesisLoop(
                site(1),
                transport,
                SCHEME,
                interest=SCHEME.interest(ABOUT),
                disclosure=qis.Disclosure.preset("none"),
                outbox=outbox,
                on_event=events.append,
                clock=lambda: time.time() + late_s,
            )
            outcome = qis.Effect(question="q", measure="OR", estimate=-0.3, standard_error=0.1)
            async with loop:
                await loop.publish(outcome, about=ABOUT)
                is_flushed = await loop.flush(0.3)
                if code == "undelivered":
                    late_s += LATE_S
                if not by_former_rule:
                    await until(lambda: code in codes_of(loop))
                return Told(
                    sent=sum(event.kind == "sent" for event in events),
                    is_flushed=is_flushed,
                    undelivered=loop.undelivered(),
                    unsent=outbox.unsent,
                    codes=codes_of(loop),
                    changes=tuple(e.subject for e in events if e.kind == "health"),
                )


def codes_of(loop: qis.SynthesisLoop) -> tuple[str, ...]:
    """The codes of the reasons in a loop's health."""
    return tuple(reason.code for reason in loop.health.reasons)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something, not longer than `WITHIN_S`; whoever asked sees whether it came."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + WITHIN_S
    while not is_so() and loop.time() < end_s:  # noqa: ASYNC110  nothing else tells
        await asyncio.sleep(0.005)


def silence(node: qis.UDPTransport) -> None:
    """Let a node die: it hears nothing and says nothing from now on."""
    if node._socket is not None and node._node is not None:  # noqa: SLF001
        node._socket._loop.remove_reader(node._socket._socket.fileno())  # noqa: SLF001
        node._node.datagrams = list  # type: ignore[method-assign]  # noqa: SLF001

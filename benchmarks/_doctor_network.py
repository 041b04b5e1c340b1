"""Sites on UDP and NATS, what may be wrong between them, and what may differ and be right."""

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import nats

import qis
from benchmarks._doctor_cases import DAY_S, issuer_of, make, replaced
from qis.site import examine_network
from qis.testing import NATSServer

OTHERS = {
    name: qis.Identity.from_seed(bytes([number]) * 32)
    for number, name in enumerate(("Bern", "Chur", "Genf"), 1)
}
Around = Callable[[Path], AbstractAsyncContextManager[object]]
"""Sets up a site and what is around it, for as long as the context lasts."""


def free_port() -> int:
    """A UDP port of this machine that nobody listens at now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def on_udp(home: Path, *bootstrap: str, lines: str = "") -> qis.Roster:
    """Make the site one on UDP, with these peers; returns the roster of all."""
    roster = f'version = 3\n[[site]]\nname = "Ulm"\n[[site.key]]\nissuer = "{issuer_of(home)}"\n'
    for name, identity in OTHERS.items():
        roster += f'[[site]]\nname = "{name}"\n[[site.key]]\nissuer = "{identity.issuer}"\n'
    (home / "roster.toml").write_text(roster)
    listed = ", ".join(f'"{each}"' for each in bootstrap)
    replaced(
        "site.toml",
        'kind = "directory"\npath = "exchange"\n',
        f'kind = "udp"\nbind = "127.0.0.1:0"\nbootstrap = [{listed}]\n{lines}',
    )(home)
    return qis.Roster.load(home / "roster.toml", memory=False)


def roster_with(home: Path) -> qis.Roster:
    """The roster of the site and all others."""
    return qis.Roster(
        (
            qis.Site.of("Ulm", issuer_of(home)),
            *(qis.Site.of(name, identity.issuer) for name, identity in OTHERS.items()),
        )
    )


@asynccontextmanager
async def network(home: Path, *, lines: str = "", known: int = 3) -> AsyncIterator[None]:
    """Three members that answer, `known` of which the site was given."""
    async with AsyncExitStack() as open_:
        peers: list[str] = []
        for identity in OTHERS.values():
            node = qis.UDPTransport(identity, roster=roster_with(home), bootstrap=peers)
            await open_.enter_async_context(node)
            peers.append(node.address)
        on_udp(home, *peers[:known], lines=lines)
        yield


@asynccontextmanager
async def _dead(home: Path) -> AsyncIterator[None]:
    on_udp(home, f"{OTHERS['Bern'].issuer}@127.0.0.1:{free_port()}")
    yield


@asynccontextmanager
async def _silent(home: Path) -> AsyncIterator[None]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        on_udp(home, f"{OTHERS['Bern'].issuer}@127.0.0.1:{deaf.getsockname()[1]}")
        yield


@asynccontextmanager
async def _another_key(home: Path) -> AsyncIterator[None]:
    async with qis.UDPTransport(OTHERS["Chur"], roster=roster_with(home)) as node:
        address = node.address.partition("@")[2]
        on_udp(home, f"{OTHERS['Bern'].issuer}@{address}")
        yield


@asynccontextmanager
async def _not_on_our_roster(home: Path) -> AsyncIterator[None]:
    async with qis.UDPTransport(qis.Identity.generate(), roster=qis.Roster.open()) as node:
        on_udp(home, node.address)
        yield


@asynccontextmanager
async def _not_on_theirs(home: Path) -> AsyncIterator[None]:
    roster = qis.Roster((qis.Site.of("Bern", OTHERS["Bern"].issuer),))
    async with qis.UDPTransport(OTHERS["Bern"], roster=roster) as node:
        on_udp(home, node.address)
        yield


@asynccontextmanager
async def _not_callable(home: Path) -> AsyncIterator[None]:
    async with network(home, lines=f'advertise = "127.0.0.1:{free_port()}"\n'):
        yield


@asynccontextmanager
async def _broker(home: Path, permissions: str) -> AsyncIterator[None]:
    users = (
        f"{{user: ulm, password: ulm, permissions: {permissions}}}, "
        "{user: operator, password: operator}"
    )
    config = (
        "listen: 127.0.0.1:{port}\n"
        'jetstream { store_dir: "{store}", sync_interval: always }\n'
        f"authorization {{ users = [{users}] }}\n"
    )
    with tempfile.TemporaryDirectory() as folder, NATSServer(Path(folder), config) as server:
        operator = await nats.connect(server.url, user="operator", password="operator")  # noqa: S106
        await operator.jetstream().add_stream(name="qis", subjects=["qis.>"])
        await operator.close()
        replaced(
            "site.toml",
            'kind = "directory"\npath = "exchange"\n',
            f'kind = "nats"\nservers = ["{server.url.replace("//", "//ulm:ulm@")}"]\n'
            'secret_file = "secret"\n',
        )(home)
        yield


FAULTS: dict[str, tuple[str, Around]] = {
    "a peer that is down": ("bootstrap_dead", _dead),
    "a peer behind a firewall": ("bootstrap_silent", _silent),
    "a peer that has another key": ("bootstrap_other_key", _another_key),
    "a peer that is on no roster here": ("bootstrap_not_on_roster", _not_on_our_roster),
    "a peer that does not list this site": ("bootstrap_refuses", _not_on_theirs),
    "an address at which nobody can call": ("not_callable", _not_callable),
    "a clock two days ahead": ("clock_differs", network),
    "a broker that refuses permission": (
        "denied",
        lambda home: _broker(home, '{publish: {deny: ">"}}'),
    ),
}
"""What is wrong, and the code of the finding that names it."""
AHEAD_S = {"a clock two days ahead": 2 * DAY_S}
HEALTHY: dict[str, Around] = {
    "a network on UDP": network,
    "one peer is known": lambda home: network(home, known=1),
    "the first node of a network": lambda home: network(home, known=0),
    "a broker": lambda home: _broker(home, '{publish: ">", subscribe: ">"}'),
}
"""What may be otherwise in a network that is well."""


async def wrong(home: Path, around: Around, *, ahead_s: float = 0.0) -> set[str]:
    """The codes of what is wrong, by files and network, with a clock that is ahead."""
    from qis.site import examine  # noqa: PLC0415

    make(home)
    async with around(home):
        found = [
            *await asyncio.to_thread(examine, home / "site.toml"),
            *await examine_network(home / "site.toml", now=time.time() + ahead_s),
        ]
    return {each.code for each in found if each.is_wrong}

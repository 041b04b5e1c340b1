"""What only the network shows: who answers, whether this site can be called, whose clock differs.

A site that a process has open is not looked at, since two processes with one key would take each
other's answers. Nothing is published and nothing subscribed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from os import PathLike
from pathlib import Path
from typing import Final

from qis._gate import checked
from qis.account.account import key_witness
from qis.errors import QISError, StorageError
from qis.evidence import Roster, RosterFile
from qis.health import HealthState
from qis.identity import Issuer
from qis.overlay.addresses import unpack_address
from qis.packet import CLOCK_TOLERANCE_S
from qis.refusals import RefusalCode
from qis.site import parts
from qis.site.exit_codes import ExitCode
from qis.site.finding import Examined, SiteFinding, failed, wrong
from qis.site.opening import FILE_KEYS, FILES, TABLES
from qis.site.table import read
from qis.transport import Transport
from qis.transport._peer_names import parse_peer
from qis.transport.calling import Called, call

_WITHIN_S: Final = 8.0
"""How long a node is open until what it says of the network is taken for final."""
_STEP_S: Final = 0.2
_SETTLED_S: Final = 2.0
"""A node that has peers and says nothing new for so long is well."""
_TESTED_S: Final = 14.0
"""How long it takes until a node knows that nobody can call it: two tests of several tries."""
_NOT_YET: Final = frozenset({"joining"})
_REMARKS: Final = frozenset({"one_node", "small_receive_buffer", "client"})
"""Reasons of a node's health that are no fault of the site."""


@checked
async def examine_network(
    path: str | PathLike[str], *, now: float | None = None
) -> tuple[SiteFinding, ...]:
    """Examine what a site sees of its network, within half a minute.

    Parameters
    ----------
    path
        The file, as for `open_site`.
    now
        Unix seconds; default: this machine's clock.

    Returns
    -------
    tuple of SiteFinding
        Empty if the transport is a shared folder, which `examine` looks at, or if what the site
        needs cannot be read, which `examine` tells.

    Examples
    --------
    >>> import asyncio
    >>> from qis.site import examine_network
    >>> asyncio.run(examine_network("no such file.toml"))
    ()

    """
    try:
        site = Examined(read(Path(path), TABLES), time.time() if now is None else now)
        site.identity = parts.identity_of(site.table)
        found = parts.roster_of(site.table)
        site.roster = found.roster if isinstance(found, RosterFile) else found
        kind = site.table.table("transport", parts.TRANSPORT_KEYS).choice(
            "kind", parts.TRANSPORT_KINDS
        )
        if kind == "directory":
            return ()
        transport = parts.transport_of(site.table, site.identity, site.roster)
    except QISError:
        return ()
    if _is_open(site):
        text = "a process has this site open; its report and `site.health` say what it sees"
        return (SiteFinding(code="network", text=text),)
    said: list[SiteFinding] = []
    try:
        if kind == "udp":
            said += [each async for each in _peers(site, site.roster)]
        # Where others are told an address, they have to reach this site there.
        tells = "advertise" in site.table.table("transport", parts.TRANSPORT_KEYS)
        said += [each async for each in _node(transport, tells_address=tells)]
    except QISError as error:
        is_denied = type(error).__name__ == "DeniedError"  # of NATS, which is an extra
        said.append(failed("denied" if is_denied else "network", error))
    if not any(each.is_wrong for each in said):
        said.append(SiteFinding(code="network", text=f"{transport!r}: nothing is wrong"))
    return tuple(said)


def _is_open(site: Examined) -> bool:
    """True if another process has the site open."""
    outbox = site.table.table("files", FILE_KEYS).path("outbox", FILES["outbox"])
    identity = site.identity
    witness = None if identity is None else key_witness(identity.issuer, identity.path, outbox)
    if witness is None or not witness.path.exists():
        return False
    try:
        with witness.held("it is open"):
            return False
    except StorageError:
        return True


async def _peers(site: Examined, roster: Roster) -> AsyncIterator[SiteFinding]:
    texts = site.table.table("transport", parts.TRANSPORT_KEYS).items("bootstrap", str)
    peers = [parse_peer(text) for text in texts]
    if site.identity is None or not peers:
        return
    members = [key.issuer for each in roster.sites for key in each.keys if not key.revoked]
    offset_s = site.now - time.time()
    for called in await call(
        site.identity,
        peers,
        others=members,
        accepts=roster.accepts,
        clock=lambda: time.time() + offset_s,
    ):
        for finding in _said_of(called, roster):
            yield finding


def _said_of(called: Called, roster: Roster) -> Iterator[SiteFinding]:
    key, address = called.peer
    host, port = unpack_address(address)
    where = f"{_name(roster, key)} at {host}:{port}"
    if not roster.accepts(Issuer(key)):
        yield wrong("bootstrap_not_on_roster", f"{where} is on no roster here: its key is another")
    elif called.refused is not None:
        why = "its roster does not list this site" if called.refused == RefusalCode.ROSTER else ""
        yield wrong("bootstrap_refuses", f"{where} refuses this site: {why or called.refused}")
    elif called.answered_by is None and called.is_closed:
        yield wrong(
            "bootstrap_dead",
            f"nothing listens where {where} should be: its node is down, or moved",
            ExitCode.LATER,
        )
    elif called.answered_by is None:
        yield wrong(
            "bootstrap_silent",
            f"{where} does not answer, and no other member of the roster does so there: a firewall "
            "drops UDP on the way, or its machine is off",
            ExitCode.LATER,
        )
    elif called.answered_by != key:
        yield wrong(
            "bootstrap_other_key",
            f"at {host}:{port} answers {_name(roster, called.answered_by)}, and not "
            f"{_name(roster, key)}: set the key of that address in bootstrap",
        )
    else:
        yield from _clock_of(called, where)


def _clock_of(called: Called, where: str) -> Iterator[SiteFinding]:
    ahead_s = called.clock_ahead_s or 0.0
    if abs(ahead_s) <= CLOCK_TOLERANCE_S:
        yield SiteFinding(code="bootstrap", text=f"{where} answers")
        return
    way = "behind" if ahead_s > 0 else "ahead of"
    yield wrong(
        "clock_differs",
        f"this machine's clock is {abs(ahead_s) / 86_400:.2f} days {way} that of {where}: set "
        "whichever is wrong",
        ExitCode.CLOCK,
    )


async def _node(transport: Transport, *, tells_address: bool) -> AsyncIterator[SiteFinding]:
    """Open the node, wait until it knows how it stands, and say so."""
    async with transport:
        changed_at, before = time.monotonic(), ""
        settled_s = _TESTED_S if tells_address else _SETTLED_S
        end = changed_at + _WITHIN_S + (settled_s - _SETTLED_S)
        while time.monotonic() < end:
            await asyncio.sleep(_STEP_S)
            codes = {reason.code for reason in transport.health.reasons}
            if (said := f"{transport.health.state} {sorted(codes)}") != before:
                changed_at, before = time.monotonic(), said
            if "client" in codes:
                break
            if not codes & _NOT_YET and time.monotonic() - changed_at >= settled_s:
                break
        for reason in transport.health.reasons:
            if reason.code == "client" and tells_address:
                yield wrong("not_callable", f"{reason.text}. Correct advertise, or leave it out")
            elif reason.code in _REMARKS or reason.state is HealthState.OK:
                yield SiteFinding(code=reason.code, text=reason.text)
            else:
                yield wrong(reason.code, reason.text, ExitCode.LATER)


def _name(roster: Roster, key: bytes) -> str:
    return roster.name_of(Issuer(key)) or f"key {key.hex()[:16]}"

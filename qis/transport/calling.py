"""Calls other nodes once, to find out why one of them does not answer. Nothing is published.

Each address gets a connected socket of its own, so that the system reports a closed port there,
which it does not do for a socket that talks to all. From outside, a node that has another key looks
like a silent one, since it answers nobody who expects somebody else; so each address is called with
the key that is expected there and, if that is silent, with those of the roster's other members.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from qis.channel import Channels
from qis.errors import TransportError
from qis.identity import Identity, Issuer
from qis.overlay.addresses import unpack_address
from qis.refusals import RefusalCode
from qis.transport._peer_names import Peer

_STEP_S: Final = 0.05
OTHERS_LIMIT: Final = 32
"""Other keys that are tried at an address: fewer a second than a node answers without a proof."""


@dataclass(slots=True, kw_only=True)
class Called:
    """What became of the calls to an address.

    Parameters
    ----------
    peer
        The key that is expected there, and the address.
    answered_by
        Who has answered; `None` if nobody did.
    is_closed
        True if the machine there says that nothing listens on this port.
    refused
        Why the expected node refuses this site, as `qis.refusals.RefusalCode`; `None` if it does
        not say so.
    clock_ahead_s
        Seconds by which the clock of who answered is ahead of this machine's.

    """

    peer: Peer
    answered_by: bytes | None = None
    is_closed: bool = False
    refused: int | None = None
    clock_ahead_s: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _CalledSocket(asyncio.DatagramProtocol):
    """The connected socket to one address, with channels of its own."""

    called: Called
    channels: Channels
    clock: Callable[[], float]
    socket: Any = field(default=None, init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.socket = transport

    def error_received(self, exc: Exception) -> None:
        self.called.is_closed = self.called.is_closed or isinstance(exc, ConnectionRefusedError)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        del addr  # the socket hears no other
        self.channels.receive(data, self.called.peer[1], time.monotonic())
        self.turn()

    def call(self, keys: Sequence[bytes]) -> None:
        """Call the address, expecting each of these keys there."""
        for key in keys:
            self.channels.send(b"", self.called.peer[1], key, time.monotonic())
        self.turn()

    def turn(self) -> None:
        """Send what is to be sent, and see who has answered."""
        for data, _ in self.channels.datagrams():
            self.socket.sendto(data)
        for key, offset_s in self.channels.sessions.clocks_s.items():
            self.called.answered_by = key
            self.called.clock_ahead_s = offset_s + time.monotonic() - self.clock()


async def call(
    identity: Identity,
    peers: Sequence[Peer],
    *,
    others: Sequence[Issuer] = (),
    accepts: Callable[[Issuer], bool] = lambda _: True,
    clock: Callable[[], float] = time.time,
    within_s: float = 4.0,
) -> list[Called]:
    """Call each peer, and if it is silent the same address for others' keys.

    Parameters
    ----------
    identity
        Who calls.
    peers
        Keys and addresses.
    others
        Keys that may be there instead; at most `OTHERS_LIMIT` of them are tried.
    accepts
        A roster's `accepts`.
    clock
        Gives Unix seconds.
    within_s
        How long an answer is waited for, twice at most.

    Raises
    ------
    TransportError
        If no socket can be opened.

    """
    lines = [await _line(identity, peer, accepts, clock) for peer in peers]
    try:
        for line in lines:
            line.call([line.called.peer[0]])
        await _answered(lines, within_s)
        silent = [line for line in lines if not _is_known(line.called)]
        for line in silent:
            line.call([key.key for key in others if key.key != line.called.peer[0]][:OTHERS_LIMIT])
        await _answered(silent, within_s)
    finally:
        for line in lines:
            line.socket.close()
    return [line.called for line in lines]


async def _line(
    identity: Identity,
    peer: Peer,
    accepts: Callable[[Issuer], bool],
    clock: Callable[[], float],
) -> _CalledSocket:
    called = Called(peer=peer)

    def told(key: bytes, code: int, _: float) -> None:
        if key == peer[0]:
            called.refused = RefusalCode(code) if code in list(RefusalCode) else code

    channels = Channels(
        identity,
        accepts=accepts,
        rng=random.Random(secrets.randbits(128)),  # noqa: S311  numbers and jitter
        secret=secrets.token_bytes(32),
        unix_s=lambda now: now - time.monotonic() + clock(),
        told=told,
    )
    line = _CalledSocket(called=called, channels=channels, clock=clock)
    try:
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: line, remote_addr=unpack_address(peer[1])
        )
    except OSError as error:
        raise TransportError(f"{unpack_address(peer[1])[0]}: {error.strerror or error}") from error
    return line


async def _answered(lines: Sequence[_CalledSocket], within_s: float) -> None:
    """Wait until all have answered, or the time is over."""
    end = time.monotonic() + within_s
    while time.monotonic() < end and not all(_is_known(line.called) for line in lines):
        await asyncio.sleep(_STEP_S)
        for line in lines:
            line.channels.handle_timer(time.monotonic())
            line.turn()


def _is_known(called: Called) -> bool:
    return called.answered_by is not None or called.refused is not None

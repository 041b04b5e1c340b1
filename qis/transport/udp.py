"""Packets over UDP between known peers.

The socket is drained up to 64 datagrams each time it becomes readable: asyncio's own datagram
protocol takes one at a time and loses most of a burst. Until the encrypted channel exists, the
socket binds to loopback only.
"""

import asyncio
import ipaddress
import logging
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Self

from qis.about import Interest
from qis.errors import InputError, TransportError
from qis.evidence.roster import Roster
from qis.identity import Identity
from qis.packet import Packet
from qis.transport._datagrams import DATAGRAM_SIZE
from qis.transport._peers import Address, Peers
from qis.transport._reception import Reception
from qis.transport.base import Delivery, Statistics, Transport, require_signed_keys

RECEIVE_BUFFER = 4 * 2**20
"""Bytes asked of the system for the socket's receive buffer."""
DRAIN_LIMIT = 64
"""Datagrams read per wake-up, so that a flood cannot starve the rest of the program."""

_log = logging.getLogger("qis.transport.udp")


class UDPTransport(Transport):
    """A node on UDP. Open it with ``async with``.

    Parameters
    ----------
    identity
        This node's key.
    roster
        Whom it talks to; `Roster.open()` for everybody.
    bind
        Host and port to listen on; port 0: any free one. Loopback only.
    advertise
        Host and port that others reach this node at, if not `bind`.
    bootstrap
        Some nodes of the network, as ``"key@host:port"``; the others are learned from them.

    Raises
    ------
    InputError
        If an address is malformed or not on loopback.

    """

    def __init__(
        self,
        identity: Identity,
        *,
        roster: Roster,
        bind: Address = ("127.0.0.1", 0),
        advertise: Address | None = None,
        bootstrap: Iterable[str] = (),
    ) -> None:
        _require_loopback(bind[0], "bind")
        self._identity = identity
        self._roster = roster
        self._bind = bind
        self._advertise = advertise
        self._bootstrap = tuple(parse_peer(peer)[1] for peer in bootstrap)
        self._statistics = Statistics()
        self._reception = Reception(roster, self._statistics)
        self._socket: socket.socket | None = None
        self._peers: Peers | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[bytes, Address]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_open(self) -> bool:
        """Whether the socket is bound."""
        return self._socket is not None

    @property
    def leaves_machine(self) -> bool:
        """Whether it is bound to more than loopback."""
        return not ipaddress.ip_address(self._bind[0]).is_loopback

    @property
    def statistics(self) -> Statistics:
        """Counters since the transport was opened."""
        return self._statistics

    @property
    def address(self) -> str:
        """``key@host:port``: what others bootstrap from.

        Raises
        ------
        TransportError
            If the transport is not open.

        """
        host, port = self._advertise or self._open_socket().getsockname()[:2]
        return f"{self._identity.issuer}@{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def peers(self) -> int:
        """Number of peers known now."""
        return len(self._peers.peers) if self._peers is not None else 0

    async def __aenter__(self) -> Self:
        if self._socket is None:
            self._socket = self._listen()
            self._peers = Peers(
                self._identity,
                self._roster,
                self._reception,
                self._statistics,
                rng=random.Random(secrets.randbits(256)),  # noqa: S311  seeded from the system's
                bootstrap=self._bootstrap,
                now=time.time(),
            )
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._drain)
            self._turn(timer=True)
        return self

    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Send a packet to the peers that want one of its keys, and hold it for later ones."""
        keys = require_signed_keys(packet, routing_keys)
        self._open_socket()
        self._reception.hold(packet, keys)
        self._statistics.published += 1
        if self._peers is not None:
            self._peers.publish(packet, keys, time.time())
        self._turn()

    @asynccontextmanager
    async def subscribe(self, interest: Interest) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest and tell the peers; what they hold for it comes too."""
        self._open_socket()
        with self._reception.inbox(interest, now=time.time()) as inbox:
            self._tell_interests()
            yield inbox
        self._tell_interests()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until every peer has acknowledged what was sent to it; whether it has in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Say goodbye, close the socket, end all subscriptions."""
        if self._socket is None:
            return
        if self._peers is not None:
            self._peers.leave(time.time())
            self._turn()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket.fileno())
        loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._peers = None
        self._idle.set()
        self._reception.close()

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._bind[0] else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_DGRAM)
        try:
            listening.setblocking(False)  # noqa: FBT003  the socket's own signature
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            listening.bind(self._bind)
        except OSError as error:
            listening.close()
            raise TransportError(f"cannot listen on {self._bind}: {error.strerror}") from error
        granted = listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        if granted < RECEIVE_BUFFER:
            _log.warning(
                "the system caps the receive buffer at %d bytes; bursts may be lost: "
                "raise net.core.rmem_max to %d",
                granted,
                RECEIVE_BUFFER,
            )
        return listening

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise TransportError("the transport is not open: use it in 'async with'")
        return self._socket

    def _tell_interests(self) -> None:
        if self._peers is not None:
            self._peers.interests_changed(time.time())
            self._turn(timer=True)

    def _drain(self) -> None:
        if self._socket is None or self._peers is None:
            return
        for _ in range(DRAIN_LIMIT):
            try:
                data, source = self._socket.recvfrom(DATAGRAM_SIZE + 1)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:  # a peer's closed port answers our last datagram to it
                _log.debug("receiving: %s", error)
                continue
            self._statistics.bytes_received += len(data)
            self._peers.receive(data, (source[0], source[1]), time.time())
        self._turn()

    def _turn(self, *, timer: bool = False) -> None:
        """Do what is due, send what is to be sent, and set the next alarm."""
        if self._peers is None:
            return
        now = time.time()
        if timer:
            self._peers.handle_timer(now)
        self._waiting += self._peers.datagrams()
        self._send()
        if self._peers.is_idle:
            self._idle.set()
        else:
            self._idle.clear()
        if self._timer is not None:
            self._timer.cancel()
        due = self._peers.next_timer()
        self._timer = (
            None
            if due is None
            else asyncio.get_running_loop().call_later(
                max(due - now, 0.001), lambda: self._turn(timer=True)
            )
        )

    def _send(self) -> None:
        sending = self._open_socket()
        loop = asyncio.get_running_loop()
        waiting, self._waiting = self._waiting, []
        for index, (data, address) in enumerate(waiting):
            try:
                sending.sendto(data, address)
            except (BlockingIOError, InterruptedError):
                self._waiting = waiting[index:]
                loop.add_writer(sending.fileno(), self._send)
                return
            except OSError as error:  # an unreachable peer is retried like a lost datagram
                _log.debug("sending to %s: %s", address, error)
                continue
            self._statistics.bytes_sent += len(data)
        loop.remove_writer(sending.fileno())


def parse_peer(text: str) -> tuple[str, Address]:
    """Key and address of a peer written ``key@host:port``.

    Raises
    ------
    InputError
        If it is not of that form, or not on loopback.

    """
    key, at, place = text.partition("@")
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_key = len(key) == 64 and all(c in "0123456789abcdef" for c in key)
    if not at or not colon or not is_key or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise InputError(
            f"{text!r:.120} is no peer; write key@host:port with a key of 64 hexadecimal digits",
            field="bootstrap",
            actual=text,
        )
    _require_loopback(host, "bootstrap")
    return key, (host, int(port))


def _require_loopback(host: str, field: str) -> None:
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InputError(
            f"{field}: {host!r:.60} is no IP address", field=field, actual=host
        ) from None
    if not is_loopback:
        raise InputError(
            f"{field}: {host} is beyond this machine; this version has no encrypted channel yet "
            "and talks on loopback only (127.0.0.1 or ::1)",
            field=field,
            actual=host,
            limit="127.0.0.1",
        )

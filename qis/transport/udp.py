"""A node of the overlay on a UDP socket, every datagram encrypted."""

import asyncio
import ipaddress
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import chain
from os import PathLike
from typing import Final, Self

from qis._clock import Clock
from qis._gate import checked
from qis._guard import Backoff, Guard
from qis._paths import file_path
from qis.about import Interest
from qis.channel import Channels
from qis.errors import TransportError
from qis.evidence.roster import Roster
from qis.health import Condition, Health, HealthState
from qis.identity import Identity, Issuer
from qis.overlay.addresses import pack_address
from qis.overlay.publications import BACKLOG_LIMIT
from qis.packet import Packet
from qis.refusals import Claim, judge_refusals
from qis.relay import Relays
from qis.transport._modes import (
    Node,
    NodeParts,
    after_both,
    called_otherwise,
    holding,
    judged_again,
    paths_of,
)
from qis.transport._other_versions import OtherVersions
from qis.transport._peer_names import (
    Address,
    parse_peer,
    peer_name,
    read_cache,
    require_reachable,
    write_cache,
)
from qis.transport._relayed import RelayedChannels
from qis.transport._socket import RECEIVE_BUFFER, DatagramSocket
from qis.transport._standing import judge
from qis.transport._topic import topic_of
from qis.transport.base import Delivery, Holding, Statistics, Transport, require_signed_keys
from qis.transport.reception import Reception
from qis.transport.site_clocks import LEAST_SITES, SiteClocks

CACHE_EVERY_S: Final = 600.0
"""Time between two writings of the peer cache."""
JUDGE_EVERY_S: Final = 1.0
"""How often `health` is looked at though nothing has changed but the time."""
CLOCKS_S: Final = 5.0
"""Seconds more that the first packet waits for a second site's clock, as one alone decides nothing:
a member that may be the one to find out whether this node can be called is called last itself."""
ANSWER_S: Final = 0.5
"""Seconds for which `catch_up` waits, after the last registration, for what holders then send."""


class UDPTransport(Transport):
    """A node on UDP. Open it with ``async with``.

    Parameters
    ----------
    identity
        This node's key.
    roster
        Which sites it talks to; `Roster.open()` for everybody.
    bind
        Numeric host and port to listen on; port 0: any free one. "0.0.0.0" and "::" are all
        addresses of the machine, and need `advertise`.
    advertise
        Numeric host and port that others reach this node at, if not `bind`: behind a NAT, those of
        the port that is forwarded.
    bootstrap
        Some nodes of the network, as ``"key@host:port"``; the others are found through them.
    cache
        File that remembers peers from one run to the next, used beside `bootstrap`.
    clock
        Gives Unix seconds, and decides what is valid. Timers run by the machine's steady clock (or
        the `steady` of this one, if it has it), so that setting the date stops nothing.

    Raises
    ------
    InputError
        If an address is malformed, or nobody could reach this node at what it would advertise.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> qis.UDPTransport(key, roster=qis.Roster.open())  # opened by ``async with``
    <UDPTransport of 3b6a27bcceb6a42d, closed, 0 published, 0 delivered>

    """

    @checked
    def __init__(
        self,
        identity: Identity,
        *,
        roster: Roster,
        bind: Address = ("127.0.0.1", 0),
        advertise: Address | None = None,
        bootstrap: Iterable[str] = (),
        cache: str | PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity
        self._bind = bind
        self._advertise = advertise
        self._bootstrap = [parse_peer(peer) for peer in bootstrap]
        require_reachable(bind, advertise)
        self._cache = None if cache is None else file_path(cache, field="cache", without="None")
        self._clock = Clock.of(clock)
        self._statistics = Statistics()
        self._reception = Reception(
            roster,
            self._statistics,
            topic_of=topic_of,
            notices=self.notices,
            clock=self._clock,
        )
        self._validator = self._reception.validator
        self._socket: DatagramSocket | None = None
        self._node: Node | None = None
        self._parts: NodeParts | None = None
        self._channels: Channels | None = None
        self._relayed: RelayedChannels | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._guard = Guard(self.notices)
        self._backoff = Backoff(last_s=1.0)  # of what is due, since others wait for it too
        self._cache_at = 0.0
        self._other_versions = OtherVersions()
        self._opened_at = 0.0
        self._judged: tuple[object, ...] = ()
        self._judge_at = 0.0
        self._condition = Condition(self.notices, now=self._clock.wall(), state=HealthState.CLOSED)
        self._idle = asyncio.Event()
        self._room = asyncio.Event()
        self._has_heard = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """True while the socket is bound."""
        return self._socket is not None

    @property
    def leaves_machine(self) -> bool:
        """True if it is bound to more than loopback."""
        return not ipaddress.ip_address(self._bind[0]).is_loopback

    @property
    def statistics(self) -> Statistics:
        """Counters since the transport was opened."""
        return self._statistics

    @property
    def address(self) -> str:
        """The node's key and address as ``key@host:port``, for `bootstrap` of others.

        Raises
        ------
        TransportError
            If the transport is not open.

        """
        record = self._open_node().contact.record
        return peer_name((record.key, record.address))

    @property
    def site_clocks(self) -> SiteClocks:
        """What handshakes and packets have shown of other sites' clocks."""
        clocks = self._reception.clocks
        if self._channels is not None:
            for key, clock_s in self._channels.sessions.clocks_s.items():
                clocks.session(key, clock_s)
        return clocks

    @checked
    async def hear_clocks(self, timeout_s: float) -> None:
        """Wait until it has joined, at most `timeout_s` seconds: handshakes show peers' clocks.

        Where one site answers by then and others are being called, up to `CLOCKS_S` longer.
        """
        for pause_s in (timeout_s, CLOCKS_S):
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._has_heard.wait()
            if not self.peers or self._has_heard.is_set():
                return

    @property
    def peers(self) -> int:
        """Number of nodes in the routing table now."""
        return 0 if self._node is None else len(self._node.table)

    async def __aenter__(self) -> Self:
        if self._socket is None:
            try:
                self._open()
            except BaseException:  # without this nobody would close the socket
                if self._socket is not None:
                    self._socket.close()
                self._socket = self._node = self._channels = None
                raise
        return self

    def _open(self) -> None:
        self._socket = DatagramSocket(
            *self._bind,
            self._statistics,
            guard=self._guard,
            received=self._receive,
            drained=self._turn,
            is_known=lambda data: self._channels is None or self._channels.is_known(data),
        )
        now = self._clock.steady()
        # The system's, for jitter too: numbers of a Mersenne Twister on the wire tell the next.
        rng = random.SystemRandom()
        self._parts = NodeParts(
            identity=self._identity,
            address=pack_address(*(self._advertise or self._socket.bound_to)),
            reception=self._reception,
            statistics=self._statistics,
            guard=self._guard,
            rng=rng,
            clock=self._clock,
            secret=partial(secrets.token_bytes, 32),
        )
        self._node = self._parts.node(now)
        self._channels = Channels(
            self._identity,
            accepts=self._reception.accepts,
            rng=rng,
            secret=secrets.token_bytes(32),
            refused=self._statistics.refused,
            unix_s=self._clock.unix_s,
            told=self._reception.refusals.heard,
            guard=self._guard,
        )
        relays = Relays(
            lambda: paths_of(self._node),
            rng=rng,
            refused=self._statistics.refused,
            guard=self._guard,
        )
        self._relayed = RelayedChannels(self._channels, relays)
        self._cache_at = now + CACHE_EVERY_S
        remembered = [] if self._cache is None else read_cache(self._cache)
        self._node.join([*self._bootstrap, *remembered], now)
        self._opened_at, self._judged = now, ()
        self._condition = Condition(self.notices, now=self._clock.wall())
        if self._socket.receive_buffer < RECEIVE_BUFFER:
            self._condition.set(
                "small_receive_buffer",
                # A remark: most systems cap it, and an alarm that is always on is not read.
                HealthState.OK,
                f"the system caps the receive buffer at {self._socket.receive_buffer} bytes, "
                f"so bursts may be lost: raise net.core.rmem_max to {RECEIVE_BUFFER}",
                now=self._clock.wall(),
            )
        self._turn()

    @checked
    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Hand a packet to the rendezvous nodes of its keys, and again from time to time.

        Waits while 1,024 others are not yet held under each of their keys.
        """
        keys = require_signed_keys(packet, routing_keys)
        while (node := self._open_node()).is_full:
            self._guard.at_limit(
                "overlay.publications.BACKLOG_LIMIT",
                "",
                "a packet of this site is not handed over yet: too many are held nowhere",
            )
            await self._room.wait()
        self._reception.hold(packet, keys)
        self._statistics.published += 1
        carried = self._validator.carried(packet, keys)
        self._validator.trust(packet, carried)
        node.publish(carried, self._clock.steady())
        self._turn()

    @checked
    @asynccontextmanager
    async def subscribe(
        self,
        interest: Interest,
        *,
        name: str = "",  # noqa: ARG002  not durable
        memory: bytes = b"",  # noqa: ARG002
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Register an interest at the rendezvous nodes of its keys; they deliver what they keep."""
        self._open_node()
        with self._reception.inbox(interest, now=self._clock.wall()) as inbox:
            self._register()
            yield inbox
        self._register()

    @checked
    async def flush(self, timeout_s: float) -> bool:
        """Wait until what was published is with all its rendezvous nodes; true if it is held.

        Returns when nothing is under way any more, or after `timeout_s` seconds. True if at least
        one other node has acknowledged each packet under each of its keys (`Holding`), so nodes
        that have died cost time, but not the answer. A node that is alone never gets true.
        """
        node = self._open_node()
        node.spread(self._clock.steady())
        self._turn()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            pass
        return self._node is node and node.all_held(self._clock.steady())

    @checked
    async def catch_up(self, timeout_s: float) -> None:
        """Wait until its keys are registered and nothing is under way, then for what comes back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._has_heard.wait()
                await self._idle.wait()
                await asyncio.sleep(ANSWER_S)

    @checked
    def holding(self, packet_id: bytes) -> Holding:
        """Tell whether another node has acknowledged a packet under each of its routing keys.

        A dishonest node may acknowledge a packet and drop it. That is not seen here; repeating the
        publication at other rendezvous nodes makes up for it.
        """
        return holding(self._open_node(), packet_id, self._refusals(self._clock.steady()))

    @property
    def health(self) -> Health:
        """The node's state: open or closed, do others answer; see docs/operating.md."""
        return self._condition.health

    @checked
    def withdraw(self, packets: Iterable[Packet]) -> None:
        """Stop repeating these packets of this node; other nodes keep what they hold."""
        if self._node is not None:
            self._node.withdraw(packet.id for packet in packets)

    @checked
    def believe(self, roster: Roster) -> None:
        """Admit packets, nodes and channels by another roster from now on."""
        self._reception.roster = roster
        if self._node is not None and self._channels is not None and self._parts is not None:
            self._node = judged_again(self._node, self._parts, self._clock.steady())
            self._channels.sessions.keep(lambda key: roster.accepts(Issuer(key)))

    async def aclose(self) -> None:
        """Tell the other nodes, close the socket, and end all subscriptions; idempotent."""
        if self._socket is None or self._node is None:
            return
        self._remember_peers()
        self._node.leave(self._clock.steady())
        self._seal(self._clock.steady())
        self._send()
        if self._alarm is not None:
            self._alarm.cancel()
        self._socket.close()
        self._socket = self._node = self._channels = self._relayed = self._alarm = None
        self._condition = Condition(self.notices, now=self._clock.wall(), state=HealthState.CLOSED)
        self._idle.set()
        self._room.set()
        self._reception.close()

    def _register(self) -> None:
        if self._node is not None:
            self._node.want(self._reception.wanted(), self._clock.steady())
            self._turn()

    def _receive(self, datagrams: list[tuple[bytes, bytes]]) -> None:
        if self._node is None or self._relayed is None:
            return
        now = self._clock.steady()
        arrivals: list[tuple[bytes, bytes, bytes | None]] = []
        for data, address in datagrams:
            try:  # each alone: one must not take the others along
                arrivals += self._relayed.receive(data, address, now)
            except Exception as error:  # noqa: BLE001  as `Guard.item`, which costs more a datagram
                self._guard.contained("udp.channel", error)
        self._note_versions(arrivals, now)
        if self._parts is not None:
            self._node = called_otherwise(self._node, self._parts, arrivals, now)
        self._node.receive_datagrams(arrivals, now)

    def _note_versions(
        self, arrivals: Iterable[tuple[bytes, bytes, bytes | None]], now: float
    ) -> None:
        if self._other_versions.note(arrivals, now):
            wall = self._clock.wall()
            self._other_versions.judge(self._condition, self._reception.roster, now=wall)

    def _seal(self, now: float) -> None:
        """Encrypt what the node sends. A datagram that fails counts as lost in the network."""
        if self._node is not None and self._channels is not None:
            for data, address, key in self._node.datagrams():
                try:
                    self._channels.send(data, address, key, now)
                except Exception as error:  # noqa: BLE001  as in `_receive`
                    self._guard.contained("udp.sealing", error)

    def _turn(self) -> None:
        """Do what is due, send what is to be sent, and set the next alarm."""
        if self._node is None or self._channels is None:
            return
        faults = self._guard.faults
        try:
            with self._guard.item("udp.alarm"):
                self._do_due(self._node, self._channels)
        finally:  # also after an error, or the node would stand still
            self._set_alarm(self._node, self._channels, faults)

    def _do_due(self, node: Node, channels: Channels) -> None:
        now = self._clock.steady()
        with self._guard.item("udp.relays"):
            if self._relayed is not None:
                self._relayed.handle_timer(now)
        with self._guard.item("udp.alarm"):
            node.handle_timer(now)
            self._node = after_both(node, now)
        self._seal(now)
        with self._guard.item("udp.channel_alarm"):
            channels.handle_timer(now)
        self._send()
        _show(self._idle, node.is_idle)
        _show(self._room, not node.is_full)
        self._judge(now)
        if now >= self._cache_at:
            self._cache_at = now + CACHE_EVERY_S
            self._remember_peers()

    def _set_alarm(self, node: Node, channels: Channels, faults: int) -> None:
        """Set the next alarm; after turns with new `faults` with growing pauses."""
        pause_s = 0.0
        with self._guard.item("udp.alarm"):
            relays_at = None if self._relayed is None else self._relayed.next_timer()
            times = (node.next_timer(), channels.next_timer(), relays_at, self._cache_at)
            pause_s = min(at for at in times if at is not None) - self._clock.steady()
        if self._guard.faults == faults:
            self._backoff.succeeded()
            least_s = 0.001
        else:
            least_s = self._backoff.failed()
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(max(pause_s, least_s), self._turn)

    def _judge(self, now: float) -> None:
        """Say in `health` how the node stands, once that has changed, or a second has passed."""
        if self._node is None:
            return
        standing, is_full = self._node.standing, self._node.is_full
        heard = 0 if self._channels is None else self._channels.sessions.peers
        claims = self._refusals(now)
        found = (*standing._replace(heard_at=None), is_full, heard, *claims)
        if found == self._judged and now < self._judge_at:
            return
        self._judged, self._judge_at = found, now + JUDGE_EVERY_S
        heard_at = self._opened_at if standing.heard_at is None else standing.heard_at
        is_in = not standing.is_joining and heard >= min(LEAST_SITES, standing.peers)
        _show(self._has_heard, is_in or not standing.knows_of)
        wall = self._clock.wall()
        if is_full:
            self._condition.set(
                "backlog",
                HealthState.DEGRADED,
                f"{BACKLOG_LIMIT} packets or more are not held under each of their keys, so no "
                "other is handed over; see which, and why, in the loop's undelivered()",
                now=wall,
            )
        else:
            self._condition.clear("backlog", now=wall)
        judge(self._condition, standing, now=wall, heard_s_ago=now - heard_at)
        judge_refusals(self._condition, claims, now=wall)

    def _refusals(self, now: float) -> list[Claim]:
        """Return why others have refused packets lately; only peers that this node knows count."""
        peers = () if self._node is None else self._node.table
        met = (contact.record.key for contact in peers)
        given = (key for key, _ in self._bootstrap)
        return self._reception.refusals.claims(chain(met, given), now)

    def _send(self) -> None:
        if self._relayed is not None and self._socket is not None:
            for data, address in self._relayed.datagrams(self._clock.steady()):
                try:
                    self._socket.send(data, address)
                except Exception as error:  # noqa: BLE001  as in `_receive`
                    self._guard.contained("udp.sending", error)

    def _remember_peers(self) -> None:
        if self._cache is None or self._node is None or not len(self._node.table):
            return
        with self._guard.item("udp.cache"):  # the network goes on without a file of peers
            write_cache(self._cache, ((c.record.key, c.record.address) for c in self._node.table))

    def _open_node(self) -> Node:
        if self._node is None:
            raise TransportError("the transport is not open: use it in 'async with'")
        return self._node

    def __repr__(self) -> str:
        state = self.address if self.is_open else "closed"
        issuer = str(self._identity.issuer)[:16]
        return f"<UDPTransport of {issuer}, {state}, {self._statistics.brief}>"


def _show(event: asyncio.Event, is_so: bool) -> None:  # noqa: FBT001  what it shows
    if is_so:
        event.set()
    else:
        event.clear()

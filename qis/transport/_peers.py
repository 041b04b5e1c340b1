"""Known peers, sans-IO: who is there, what they want, and getting each packet to them once.

Bytes, addresses and `now` (Unix seconds) come in; datagrams and the next time to be woken come out.
A node says hello to its bootstrap peers, proves its address with a cookie, learns of others from
the answers, and is offered what it missed. A later overlay replaces the peer list by a routing
table; the gate (`Reception`) and the adapter stay.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from qis.errors import SignatureError
from qis.evidence.roster import Roster
from qis.identity import Identity, Issuer, verify
from qis.packet import Packet, content_id
from qis.transport._datagrams import (
    EPOCH_SIZE,
    HINTS_LIMIT,
    IDS_LIMIT,
    TOKEN_SIZE,
    Datagram,
    Kind,
    Record,
    decode,
)
from qis.transport._reception import Reception, Verdict
from qis.transport.base import Statistics

Address = tuple[str, int]

PEERS_LIMIT: Final = 256
"""Peers known at once; a stranger is turned away while all are alive."""
REFRESH_S: Final = 30.0
"""Time between hellos to a known peer; one that is silent for 2.5 of these is forgotten."""
FIRST_HELLO_S: Final = 0.25
LAST_HELLO_S: Final = 5.0
"""A hello without answer is said again, at growing intervals between these two."""
TRIES: Final = 4
"""How often a packet is sent to a peer before the next hello has to offer it again."""
FIRST_RETRY_S: Final = 0.2
UNDER_WAY_LIMIT: Final = 8_192
"""Packets under way to peers at once; more wait for the next offer."""
KNOWN_LIMIT: Final = 16_384
"""Packet ids remembered per peer as held by it."""


@dataclass(slots=True)
class Peer:
    """A node whose address has been proven."""

    address: Address
    record: Record
    heard_at: float
    hello_at: float
    known: dict[bytes, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Call:
    """An address that has not answered yet."""

    token: bytes
    at: float
    pause_s: float
    for_ever: bool


@dataclass(slots=True)
class _Sending:
    """A packet on its way to a peer."""

    datagram: bytes
    at: float
    tries: int


class Peers:
    """The state machine of one node among known peers.

    Parameters
    ----------
    identity, roster
        This node's key, and whom it talks to.
    reception
        The gate that every packet passes.
    rng
        All chance: tokens, epochs, jitter.
    bootstrap
        Addresses to call first, for ever until they answer.

    """

    def __init__(
        self,
        identity: Identity,
        roster: Roster,
        reception: Reception,
        statistics: Statistics,
        *,
        rng: random.Random,
        bootstrap: Iterable[Address],
        now: float,
    ) -> None:
        self._identity = identity
        self._roster = roster
        self._reception = reception
        self._statistics = statistics
        self._rng = rng
        self._epoch = rng.randbytes(EPOCH_SIZE)
        self._token_key = rng.randbytes(32)
        self._sequence = int(now * 1_000_000)
        self._record = self._signed_record(now)
        self._calls: dict[Address, _Call] = {}
        self.peers: dict[Address, Peer] = {}
        self._sending: dict[tuple[Address, bytes], _Sending] = {}
        self._out: list[tuple[bytes, Address]] = []
        self._bootstrap = tuple(bootstrap)
        for address in self._bootstrap:
            self._call(address, now, for_ever=True)

    # --- what the adapter calls -------------------------------------------------------------

    def datagrams(self) -> list[tuple[bytes, Address]]:
        """What has to be sent now; taken once."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """When `handle_timer` has to be called next, in Unix seconds."""
        times = [call.at for call in self._calls.values()]
        times += [sending.at for sending in self._sending.values()]
        times += [peer.hello_at for peer in self.peers.values()]
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._repeat_calls(now)
        self._refresh_peers(now)
        self._repeat_packets(now)

    def _repeat_calls(self, now: float) -> None:
        for address, call in list(self._calls.items()):
            if call.at <= now:
                self._hello(address, call.token)
                call.at = now + call.pause_s * self._rng.uniform(0.8, 1.2)
                if call.pause_s >= LAST_HELLO_S and not call.for_ever:
                    del self._calls[address]
                call.pause_s = min(2.0 * call.pause_s, LAST_HELLO_S)

    def _refresh_peers(self, now: float) -> None:
        for address, peer in list(self.peers.items()):
            if now - peer.heard_at > 2.5 * REFRESH_S:
                self._forget(address)
                if address in self._bootstrap:
                    self._call(address, now, for_ever=True)
            elif peer.hello_at <= now:
                self._call(address, now)
                peer.hello_at = now + REFRESH_S * self._rng.uniform(0.8, 1.2)

    def _repeat_packets(self, now: float) -> None:
        for key, sending in list(self._sending.items()):
            if sending.at <= now:
                if sending.tries >= TRIES:
                    del self._sending[key]
                else:
                    self._out.append((sending.datagram, key[0]))
                    sending.at = now + FIRST_RETRY_S * 2**sending.tries
                    sending.tries += 1

    def publish(self, packet: Packet, keys: tuple[bytes, ...], now: float) -> None:
        """Send a packet to every peer that wants one of its keys."""
        datagram = Datagram(kind=Kind.DATA, hops=1, keys=keys, packet=bytes(packet)).encode()
        wanted = set(keys)
        for address, peer in self.peers.items():
            if not wanted.isdisjoint(peer.record.keys):
                self._send_packet(address, packet.id, datagram, now)

    def interests_changed(self, now: float) -> None:
        """Tell all peers what is wanted now."""
        self._record = self._signed_record(now)
        for address in self.peers:
            self._call(address, now)

    def leave(self, now: float) -> None:
        """Say goodbye to all peers."""
        self._record = self._signed_record(now)
        bye = Datagram(kind=Kind.BYE, record=self._record).encode()
        self._out.extend((bye, address) for address in self.peers)

    @property
    def is_idle(self) -> bool:
        """Whether no packet is under way to a peer."""
        return not self._sending

    def receive(  # noqa: C901, PLR0912  one arm a kind of datagram
        self, data: bytes, address: Address, now: float
    ) -> None:
        """Take a datagram. Never raises, whatever the bytes."""
        datagram = decode(data)
        if datagram is None:
            self._refuse("MalformedDatagram")
            return
        match datagram.kind:
            case Kind.HELLO:
                self._on_hello(datagram, address, now)
            case Kind.COOKIE:
                call = self._calls.get(address)
                if call is not None and call.token != datagram.token:
                    call.token = datagram.token
                    self._hello(address, call.token)
            case Kind.WELCOME:
                self._on_welcome(datagram, address, now)
            case Kind.BYE:
                if self._is_newer(datagram.record, address):
                    self._forget(address)
            case _ if address not in self.peers:
                self._refuse("UnknownPeer")
            case Kind.DATA:
                self._on_data(datagram, address, now)
            case Kind.ACK:
                for packet_id in datagram.ids:
                    self._know(self.peers[address], packet_id)
                    self._sending.pop((address, packet_id), None)
            case Kind.OFFER:
                held = self._reception.held(now)
                missing = tuple(i for i in datagram.ids if i not in held)
                present = tuple(i for i in datagram.ids if i in held)
                if missing:
                    self._out.append((Datagram(kind=Kind.WANT, ids=missing).encode(), address))
                if present:
                    self._out.append((Datagram(kind=Kind.ACK, ids=present).encode(), address))
            case Kind.WANT:
                self._on_want(datagram, address, now)

    # --- introductions ----------------------------------------------------------------------

    def _on_hello(self, datagram: Datagram, address: Address, now: float) -> None:
        token = self._token(address)
        if datagram.token != token:
            self._out.append((Datagram(kind=Kind.COOKIE, token=token).encode(), address))
            return
        if self._meet(datagram.record, address, now):
            hints = [
                Issuer(peer.record.issuer).key + f"{other[0]}:{other[1]}".encode()
                for other, peer in self.peers.items()
                if other != address
            ]
            if len(hints) > HINTS_LIMIT:
                hints = self._rng.sample(hints, HINTS_LIMIT)
            welcome = Datagram(kind=Kind.WELCOME, record=self._record, hints=tuple(hints))
            self._out.append((welcome.encode(), address))
            # After the welcome: before it, the other would take the offer for a stranger's.
            self._offer(self.peers[address], now)

    def _on_welcome(self, datagram: Datagram, address: Address, now: float) -> None:
        if address not in self._calls or not self._meet(datagram.record, address, now):
            return  # nobody asked
        del self._calls[address]
        self._offer(self.peers[address], now)
        for hint in datagram.hints:
            other = _address_of(hint[32:])
            is_new = other is not None and other not in self.peers and other not in self._calls
            if is_new and hint[:32] != self._identity.issuer.key and other is not None:
                self._call(other, now)

    def _meet(self, record: Record | None, address: Address, now: float) -> bool:
        """Check a record that came from a proven address; whether its sender is a peer now."""
        if record is None or record.issuer == self._identity.issuer.key:
            return False
        if not self._roster.accepts(Issuer(record.issuer)):
            self._refuse("UntrustedIssuerError")
            return False
        peer = self.peers.get(address)
        if peer is None and len(self.peers) >= PEERS_LIMIT:
            self._refuse("PeersFull")
            return False
        if peer is None or record != peer.record:
            if peer is not None and not self._is_newer(record, address):
                return False
            try:
                verify(record.issuer, record.signed_part(), record.signature)
            except SignatureError:
                self._refuse("SignatureError")
                return False
        if peer is None:
            hello_at = now + REFRESH_S * self._rng.uniform(0.8, 1.2)
            self._move_in(record, address)
            peer = self.peers[address] = Peer(address, record, now, hello_at)
        elif peer.record.epoch != record.epoch:
            peer.known.clear()  # it has started anew and may have lost what it had
        peer.record = record
        peer.heard_at = now
        return True

    def _move_in(self, record: Record, address: Address) -> None:
        """One issuer is one peer: a newer record at another address ends the older one."""
        for other, peer in list(self.peers.items()):
            if other != address and peer.record.issuer == record.issuer:
                self._forget(other)

    def _is_newer(self, record: Record | None, address: Address) -> bool:
        """Whether a peer's record, or its farewell, replaces what is known of it."""
        peer = self.peers.get(address)
        if record is None or peer is None or record.sequence <= peer.record.sequence:
            return False
        try:
            verify(record.issuer, record.signed_part(), record.signature)
        except SignatureError:
            self._refuse("SignatureError")
            return False
        # Another key may move in at this address only when the former tenant has gone.
        return record.issuer == peer.record.issuer

    def _call(self, address: Address, now: float, *, for_ever: bool = False) -> None:
        if address not in self._calls and len(self._calls) < PEERS_LIMIT:
            self._calls[address] = _Call(bytes(TOKEN_SIZE), now, FIRST_HELLO_S, for_ever)

    def _hello(self, address: Address, token: bytes) -> None:
        hello = Datagram(kind=Kind.HELLO, token=token, record=self._record)
        self._out.append((hello.encode(), address))

    def _forget(self, address: Address) -> None:
        del self.peers[address]
        for key in [key for key in self._sending if key[0] == address]:
            del self._sending[key]

    def _token(self, address: Address) -> bytes:
        return blake3(f"{address[0]} {address[1]}".encode(), key=self._token_key).digest(TOKEN_SIZE)

    def _signed_record(self, now: float) -> Record:
        self._sequence = max(self._sequence + 1, int(now * 1_000_000))
        record = Record(
            issuer=self._identity.issuer.key,
            sequence=self._sequence,
            epoch=self._epoch,
            keys=tuple(sorted(self._reception.wanted_keys())),
        )
        signature = self._identity.sign(record.signed_part())
        return Record(
            issuer=record.issuer,
            sequence=record.sequence,
            epoch=record.epoch,
            keys=record.keys,
            signature=signature,
        )

    # --- packets ----------------------------------------------------------------------------

    def _on_data(self, datagram: Datagram, address: Address, now: float) -> None:
        verdict = self._reception.receive(
            datagram.packet, datagram.keys, hops=datagram.hops, now=now
        )
        if verdict in (Verdict.ACCEPTED, Verdict.DUPLICATE):
            packet_id = content_id(datagram.packet)
            self._know(self.peers[address], packet_id)
            self._out.append((Datagram(kind=Kind.ACK, ids=(packet_id,)).encode(), address))

    def _offer(self, peer: Peer, now: float) -> None:
        """Name the packets that match what a peer wants and that it is not known to have."""
        wanted = set(peer.record.keys)
        ids = [
            packet_id
            for packet_id, held in self._reception.held(now).items()
            if packet_id not in peer.known
            and held.packet.issuer.key != peer.record.issuer
            and not wanted.isdisjoint(held.keys)
        ]
        for start in range(0, len(ids), IDS_LIMIT):
            offer = Datagram(kind=Kind.OFFER, ids=tuple(ids[start : start + IDS_LIMIT]))
            self._out.append((offer.encode(), peer.address))

    def _on_want(self, datagram: Datagram, address: Address, now: float) -> None:
        held = self._reception.held(now)
        wanted = set(self.peers[address].record.keys)
        for packet_id in datagram.ids:
            found = held.get(packet_id)
            if found is not None and not wanted.isdisjoint(found.keys):
                data = Datagram(
                    kind=Kind.DATA,
                    hops=min(found.hops + 1, 255),
                    keys=found.keys,
                    packet=bytes(found.packet),
                )
                self._send_packet(address, packet_id, data.encode(), now)

    def _send_packet(self, address: Address, packet_id: bytes, datagram: bytes, now: float) -> None:
        key = (address, packet_id)
        if key not in self._sending and len(self._sending) < UNDER_WAY_LIMIT:
            self._sending[key] = _Sending(datagram, now + FIRST_RETRY_S, 1)
            self._out.append((datagram, address))

    def _know(self, peer: Peer, packet_id: bytes) -> None:
        peer.known[packet_id] = None
        if len(peer.known) > KNOWN_LIMIT:
            del peer.known[next(iter(peer.known))]

    def _refuse(self, reason: str) -> None:
        self._statistics.refused[reason] += 1


def _address_of(hint: bytes) -> Address | None:
    """The address in a hint, or `None` if it is none."""
    host, colon, port = hint.decode("ascii", "replace").rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        return None
    return host, int(port)

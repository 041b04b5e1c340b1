"""The datagrams between known peers: encode beside decode, nothing larger than 1,200 bytes.

Every datagram starts with `MAGIC` and a kind. Decoding is total: bytes that are not a datagram of
ours give `None`, whatever they are.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from qis._layout import PACKET_SIZE
from qis.about import MAX_ROUTING_KEYS, ROUTING_KEY_SIZE

MAGIC: Final = b"qis\x01"
DATAGRAM_SIZE: Final = 1_200
"""Largest datagram: fits any path's MTU with room for headers and a tunnel."""
TOKEN_SIZE: Final = 16
EPOCH_SIZE: Final = 8
ID_SIZE: Final = 32
IDS_LIMIT: Final = 36
"""Most packet ids in one datagram."""
HINTS_LIMIT: Final = 16
"""Most addresses of other peers in one datagram."""

_RECORD = struct.Struct(">32sQ8sB")
_SIGNATURE_SIZE = 64
_RECORD_CONTEXT = b"qis peer record 1\x00"


class Kind(IntEnum):
    """What a datagram is."""

    HELLO = 1  # who I am and what I want; padded, so that no answer is larger
    COOKIE = 2  # say hello again with this token, to prove your address
    WELCOME = 3  # who I am and what I want, and whom else I know
    DATA = 4  # a packet
    ACK = 5  # these packets have arrived
    OFFER = 6  # packets that match what you want
    WANT = 7  # send me these of them
    BYE = 8  # I leave


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A node's signed statement: its issuer, a sequence, its life's epoch, the keys it wants."""

    issuer: bytes
    sequence: int
    epoch: bytes
    keys: tuple[bytes, ...]
    signature: bytes = b""

    def signed_part(self) -> bytes:
        """The bytes that the signature covers."""
        return _RECORD_CONTEXT + self._content()

    def _content(self) -> bytes:
        head = _RECORD.pack(self.issuer, self.sequence, self.epoch, len(self.keys))
        return head + b"".join(self.keys)

    def encode(self) -> bytes:
        """The record as it travels."""
        return self._content() + self.signature


def _decode_record(data: bytes) -> tuple[Record, bytes] | None:
    if len(data) < _RECORD.size:
        return None
    issuer, sequence, epoch, count = _RECORD.unpack_from(data)
    keys, rest = _take(data[_RECORD.size :], count, ROUTING_KEY_SIZE, MAX_ROUTING_KEYS)
    if keys is None or len(rest) < _SIGNATURE_SIZE:
        return None
    record = Record(
        issuer=issuer,
        sequence=sequence,
        epoch=epoch,
        keys=keys,
        signature=rest[:_SIGNATURE_SIZE],
    )
    return record, rest[_SIGNATURE_SIZE:]


def _take(data: bytes, count: int, size: int, limit: int) -> tuple[tuple[bytes, ...] | None, bytes]:
    if count > limit or len(data) < count * size:
        return None, b""
    items = tuple(data[i : i + size] for i in range(0, count * size, size))
    return items, data[count * size :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """A decoded datagram; which fields are used depends on `kind`."""

    kind: Kind
    token: bytes = bytes(TOKEN_SIZE)
    record: Record | None = None
    hints: tuple[bytes, ...] = ()
    ids: tuple[bytes, ...] = ()
    hops: int = 0
    keys: tuple[bytes, ...] = ()
    packet: bytes = b""

    def encode(self) -> bytes:
        """The datagram's bytes."""
        head = MAGIC + bytes([self.kind])
        record = self.record.encode() if self.record is not None else b""
        match self.kind:
            case Kind.HELLO:
                return (head + self.token + record).ljust(DATAGRAM_SIZE, b"\x00")
            case Kind.COOKIE:
                return head + self.token
            case Kind.WELCOME:
                hints = b"".join(bytes([len(hint)]) + hint for hint in self.hints)
                return head + record + bytes([len(self.hints)]) + hints
            case Kind.DATA:
                sizes = bytes([self.hops, len(self.keys)])
                return head + sizes + b"".join(self.keys) + self.packet
            case Kind.BYE:
                return head + record
            case Kind.ACK | Kind.OFFER | Kind.WANT:
                return head + bytes([len(self.ids)]) + b"".join(self.ids)


def decode(data: bytes) -> Datagram | None:  # noqa: PLR0911  one arm a kind
    """The datagram that these bytes are, or `None`. Never raises."""
    if len(data) > DATAGRAM_SIZE or len(data) < 7 or data[:4] != MAGIC:
        return None
    try:
        kind = Kind(data[4])
    except ValueError:
        return None
    rest = data[5:]
    match kind:
        case Kind.HELLO:
            return _decode_hello(data, rest)
        case Kind.COOKIE:
            return Datagram(kind=kind, token=rest) if len(rest) == TOKEN_SIZE else None
        case Kind.WELCOME:
            return _decode_welcome(rest)
        case Kind.BYE:
            found = _decode_record(rest)
            return Datagram(kind=kind, record=found[0]) if found and not found[1] else None
        case Kind.DATA:
            keys, packet = _take(rest[2:], rest[1], ROUTING_KEY_SIZE, MAX_ROUTING_KEYS)
            # Longer or shorter than a packet is let through: the gate refuses and counts it.
            if keys is None or len(packet) > PACKET_SIZE + ROUTING_KEY_SIZE:
                return None
            return Datagram(kind=kind, hops=rest[0], keys=keys, packet=packet)
        case Kind.ACK | Kind.OFFER | Kind.WANT:
            ids, tail = _take(rest[1:], rest[0], ID_SIZE, IDS_LIMIT)
            return Datagram(kind=kind, ids=ids) if ids is not None and not tail else None


def _decode_hello(data: bytes, rest: bytes) -> Datagram | None:
    if len(data) != DATAGRAM_SIZE:
        return None
    found = _decode_record(rest[TOKEN_SIZE:])
    if found is None or any(found[1]):
        return None
    return Datagram(kind=Kind.HELLO, token=rest[:TOKEN_SIZE], record=found[0])


def _decode_welcome(rest: bytes) -> Datagram | None:
    found = _decode_record(rest)
    if found is None or not found[1]:
        return None
    record, tail = found
    count, tail = tail[0], tail[1:]
    hints = []
    for _ in range(min(count, HINTS_LIMIT + 1)):
        if not tail or len(tail) < 1 + tail[0]:
            return None
        hints.append(tail[1 : 1 + tail[0]])
        tail = tail[1 + tail[0] :]
    if tail or count > HINTS_LIMIT:
        return None
    return Datagram(kind=Kind.WELCOME, record=record, hints=tuple(hints))

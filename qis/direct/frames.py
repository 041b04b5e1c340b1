"""The frames of direct mode: encode beside decode, at most 1,150 bytes a datagram, strict.

A datagram is `MAGIC` and some frames; a frame is a kind, the number of this transmission, the
length of its body, and the body. Decoding is total: bytes that are not exactly frames give `None`.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Self

from typing_extensions import override

from qis._layout import PACKET_SIZE
from qis.overlay.record import RECORD_SIZE

MAGIC: Final = b"qid\x01"
DATAGRAM_SIZE: Final = 1_150
"""Sealed twice and with a relay's head it still fits a path of 1,280 bytes."""
ID_SIZE: Final = 8
"""Bytes of a packet's id by which sets are compared. Hiding another site's packet would take a
second preimage of 64 bits; of its own packets a site may hide what it likes."""
BUCKETS: Final = 64
DIGEST_SIZE: Final = 8
NONCE_SIZE: Final = 8
RECORDS_LIMIT: Final = 8
IDS_LIMIT: Final = 64
"""Ids in one list: a range of ids with more is compared in several steps."""
ACKS_LIMIT: Final = 256
LATER: Final = 255
PROBE: Final = 0xFFFF_FFFF
"""Number of what is sent once to see whether a member is there; no flow uses it."""

_FRAME: Final = struct.Struct(">BIH")


class Frame:
    """What every frame has: its kind, and how its body is written and read."""

    __slots__ = ()
    KIND: ClassVar[int] = 0

    def body(self) -> bytes:
        """Return the bytes after the frame's head."""
        raise NotImplementedError

    @classmethod
    def read(cls, body: bytes) -> Self | None:
        """Return the frame of a body, or `None`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PacketFrame(Frame):
    """A packet, and how many nodes it has come through, its issuer not counted."""

    KIND: ClassVar[int] = 1
    hops: int
    packet: bytes

    @override
    def body(self) -> bytes:
        return bytes([self.hops]) + self.packet

    @classmethod
    @override
    def read(cls, body: bytes) -> Self | None:
        if len(body) != 1 + PACKET_SIZE or not body[0]:
            return None
        return cls(body[0], body[1:])


@dataclass(frozen=True, slots=True)
class Acknowledgement(Frame):
    """The transmissions of these numbers have come and need not come again."""

    KIND: ClassVar[int] = 2
    numbers: tuple[int, ...]

    @override
    def body(self) -> bytes:
        return struct.pack(f">{len(self.numbers)}I", *self.numbers)

    @classmethod
    @override
    def read(cls, body: bytes) -> Self | None:
        count, rest = divmod(len(body), 4)
        if rest or not 0 < count <= ACKS_LIMIT:
            return None
        return cls(struct.unpack(f">{count}I", body))


@dataclass(frozen=True, slots=True)
class Refusal(Frame):
    """The packet of this transmission is not kept, for a reason in one byte (`RefusalCode`).

    0: the reason is told to nobody but the packet's own issuer. `LATER`: it cannot be judged now.
    """

    KIND: ClassVar[int] = 3
    number: int
    code: int

    @override
    def body(self) -> bytes:
        return struct.pack(">IB", self.number, self.code)

    @classmethod
    @override
    def read(cls, body: bytes) -> Self | None:
        return cls(*struct.unpack(">IB", body)) if len(body) == 5 else None


@dataclass(frozen=True, slots=True)
class Records(Frame):
    """Signed node records: where members are, or that they have left."""

    KIND: ClassVar[int] = 4
    records: tuple[bytes, ...]

    @override
    def body(self) -> bytes:
        return b"".join(self.records)

    @classmethod
    @override
    def read(cls, body: bytes) -> Self | None:
        records = _split(body, RECORD_SIZE, RECORDS_LIMIT)
        return cls(records) if records else None


@dataclass(frozen=True, slots=True)
class Summary(Frame):
    """What the sender holds, and whom it knows, in 8 bytes each, salted with the nonce."""

    KIND: ClassVar[int] = 5
    nonce: bytes
    packets: bytes
    members: bytes

    @override
    def body(self) -> bytes:
        return self.nonce + self.packets + self.members

    @classmethod
    @override
    def read(cls, body: bytes) -> Self | None:
        return cls(body[:8], body[8:16], body[16:]) if len(body) == 24 else None


@dataclass(frozen=True, slots=True)
class Buckets(Frame):
    """The answer to a summary: nothing if the packets are the same, else a digest a bucket."""

    KIND: ClassVar[int] = 6
    nonce: bytes
    digests: tuple[bytes, ...]

    @override
    def body(self) -> bytes:
        return self.nonce + b"".join(self.digests)

    @classmethod
    @override
    def read(cls, body: bytes) -> Self | None:
        digests = _split(body[NONCE_SIZE:], DIGEST_SIZE, BUCKETS)
        if len(body) < NONCE_SIZE or digests is None or len(digests) not in (0, BUCKETS):
            return None
        return cls(body[:NONCE_SIZE], digests)


@dataclass(frozen=True, slots=True)
class Holds(Frame):
    """All ids that the sender holds in [low, high], ascending."""

    KIND: ClassVar[int] = 7
    nonce: bytes
    low: bytes
    high: bytes
    ids: tuple[bytes, ...]

    @override
    def body(self) -> bytes:
        return self.nonce + self.low + self.high + b"".join(self.ids)

    @classmethod
    @override
    def read(cls, body: bytes) -> Self | None:
        nonce, low, high = body[:8], body[8:16], body[16:24]
        ids = _split(body[24:], ID_SIZE, IDS_LIMIT)
        if len(body) < 24 or ids is None or not _ascending((low, *ids, high)) or low > high:
            return None
        return cls(nonce, low, high, ids)


@dataclass(frozen=True, slots=True)
class Lacks(Frame):
    """The answer to `Holds`: what the answering node lacks, and what it will send.

    `until` is the end of the range up to which it has compared; where that is less than the
    `high` of the question, the rest is to be asked for anew.
    """

    KIND: ClassVar[int] = 8
    nonce: bytes
    low: bytes
    until: bytes
    wanted: tuple[bytes, ...]
    offered: tuple[bytes, ...]

    @override
    def body(self) -> bytes:
        ids = b"".join((*self.wanted, *self.offered))
        return self.nonce + self.low + self.until + bytes([len(self.wanted)]) + ids

    @classmethod
    @override
    def read(cls, body: bytes) -> Self | None:
        if len(body) < 25:
            return None
        ids = _split(body[25:], ID_SIZE, 2 * IDS_LIMIT)
        count = body[24]
        if ids is None or count > min(IDS_LIMIT, len(ids)) or len(ids) - count > IDS_LIMIT:
            return None
        return cls(body[:8], body[8:16], body[16:24], ids[:count], ids[count:])


_KINDS: Final[dict[int, type[Frame]]] = {
    kind.KIND: kind
    for kind in (
        PacketFrame,
        Acknowledgement,
        Refusal,
        Records,
        Summary,
        Buckets,
        Holds,
        Lacks,
    )
}


def encode(frame: Frame, number: int) -> bytes:
    """A frame as it travels; `number` is 0 where it is not acknowledged."""
    body = frame.body()
    return _FRAME.pack(frame.KIND, number, len(body)) + body


def datagrams_of(frames: Iterable[bytes]) -> list[bytes]:
    """Encoded frames in as few datagrams as their order allows."""
    found: list[bytes] = []
    parts: list[bytes] = [MAGIC]
    size = len(MAGIC)
    for frame in frames:
        if size + len(frame) > DATAGRAM_SIZE:
            found.append(b"".join(parts))
            parts, size = [MAGIC], len(MAGIC)
        parts.append(frame)
        size += len(frame)
    if len(parts) > 1:
        found.append(b"".join(parts))
    return found


def frames_of(data: bytes) -> Sequence[tuple[Frame, int]] | None:
    """The frames of a datagram with their numbers, or `None`. Never raises."""
    if not data.startswith(MAGIC) or len(data) > DATAGRAM_SIZE:
        return None
    found: list[tuple[Frame, int]] = []
    at, end = len(MAGIC), len(data)
    while at + _FRAME.size <= end:
        code, number, size = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        kind = _KINDS.get(code)
        frame = kind.read(data[at : at + size]) if kind is not None and at + size <= end else None
        if frame is None:
            return None
        found.append((frame, number))
        at += size
    return found if at == end and found else None


def _split(data: bytes, size: int, limit: int) -> tuple[bytes, ...] | None:
    if len(data) % size or len(data) > size * limit:
        return None
    return tuple([data[at : at + size] for at in range(0, len(data), size)])


def _ascending(ids: Sequence[bytes]) -> bool:
    inner = ids[1:-1]
    return all(a < b for a, b in pairwise(inner)) and (
        not inner or (ids[0] <= inner[0] and inner[-1] <= ids[-1])
    )

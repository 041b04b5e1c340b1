"""What members say to each other about paths: encode beside decode, one frame a datagram.

A node that is reached through another has an address all the same, made of both keys: what is sent
there is wrapped for that relay, and what comes through it bears it as its source. So answers go
back the way that the question came, and a session belongs to one way.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"qir\x01"
TAG_SIZE: Final = 8
"""Bytes of a key that name a member here."""
NONCE_SIZE: Final = 8
ADDRESS_SIZE: Final = 18
KEY_SIZE: Final = 32
TAGS_LIMIT: Final = 128
FORWARD_HEAD: Final = len(MAGIC) + 1 + TAG_SIZE
NOBODY: Final = bytes(TAG_SIZE)

RELAY_TAG_SIZE: Final = 6
"""Bytes of a relay's key in an address."""
_PREFIX: Final = bytes.fromhex("0100")
"""Of 100::/8, which is reserved (RFC 4291): no host has such an address."""
_PORT: Final = (1).to_bytes(2)
_SEEK: Final = struct.Struct(f">{NONCE_SIZE}s{ADDRESS_SIZE}s")
_SEEN: Final = struct.Struct(f">{NONCE_SIZE}s{ADDRESS_SIZE}s{TAG_SIZE}s")
_CALL: Final = struct.Struct(f">{NONCE_SIZE}s{ADDRESS_SIZE}s{KEY_SIZE}s")


def relayed_address(key: bytes, relay: bytes) -> bytes:
    """The 18 bytes by which the node of a key, or of 8 bytes of it, is reached through a relay."""
    return _PREFIX + key[:TAG_SIZE] + relay[:RELAY_TAG_SIZE] + _PORT


def is_relayed(address: bytes) -> bool:
    """True if an address is one of these."""
    return address.startswith(_PREFIX)


def tags_of(address: bytes) -> tuple[bytes, bytes]:
    """First bytes of the key that a relayed address is of, 8, and of its relay's, 6."""
    return address[2:10], address[10:16]


@dataclass(frozen=True, slots=True)
class Seek:
    """Asks from where its sender is seen, and to have it called at this address.

    `tags` are those whom the asker has called or heard.
    """

    nonce: bytes
    address: bytes
    tags: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenAs:
    """The answer: the address that the question came from, and who calls (`NOBODY`: nobody)."""

    nonce: bytes
    address: bytes
    caller: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """Call this node at this address, and say `Here`."""

    nonce: bytes
    address: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Here:
    """Who was asked to call has come through."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """Bring a sealed datagram to a member."""

    to: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A sealed datagram of a member; whether it is its own, the channel says."""

    origin: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Unreached:
    """The answer to `Forward` of a node that does not reach that member."""

    to: bytes


RelayFrame = Seek | SeenAs | Call | Here | Forward | Forwarded | Unreached
_KINDS: Final = (Seek, SeenAs, Call, Here, Forward, Forwarded, Unreached)


def encode(frame: RelayFrame) -> bytes:
    """A frame as it travels."""
    return MAGIC + bytes([1 + _KINDS.index(type(frame))]) + _body(frame)


def _body(frame: RelayFrame) -> bytes:
    match frame:
        case Seek(nonce, address, tags):
            return _SEEK.pack(nonce, address) + b"".join(tags[:TAGS_LIMIT])
        case SeenAs(nonce, address, caller):
            return _SEEN.pack(nonce, address, caller)
        case Call(nonce, address, key):
            return _CALL.pack(nonce, address, key)
        case Here(nonce):
            return nonce
        case Forward(tag, sealed) | Forwarded(tag, sealed):
            return tag + sealed
        case Unreached(to):
            return to


def decode(data: bytes) -> RelayFrame | None:
    """The frame of a datagram, or `None`. Never raises."""
    if not data.startswith(MAGIC) or len(data) < FORWARD_HEAD:
        return None
    kind, body = data[len(MAGIC)], data[len(MAGIC) + 1 :]
    if kind == _SEEK_KIND:
        return _seek(body)
    if kind in _FORWARDING:
        return _FORWARDING[kind](body[:TAG_SIZE], body[TAG_SIZE:]) if body[TAG_SIZE:] else None
    if kind not in _FIXED:
        return None
    size, read = _FIXED[kind]
    return read(body) if len(body) == size else None


def _seek(body: bytes) -> Seek | None:
    count, rest = divmod(len(body) - _SEEK.size, TAG_SIZE)
    if rest or not 0 <= count <= TAGS_LIMIT:
        return None
    tags = body[_SEEK.size :]
    starts = range(0, len(tags), TAG_SIZE)
    nonce, address = _SEEK.unpack_from(body)
    return Seek(nonce, address, tuple(tags[at : at + TAG_SIZE] for at in starts))


_SEEK_KIND: Final = 1
_FORWARDING: Final[dict[int, type[Forward | Forwarded]]] = {5: Forward, 6: Forwarded}
_FIXED: Final[dict[int, tuple[int, Callable[[bytes], RelayFrame]]]] = {
    2: (_SEEN.size, lambda body: SeenAs(*_SEEN.unpack(body))),
    3: (_CALL.size, lambda body: Call(*_CALL.unpack(body))),
    4: (NONCE_SIZE, Here),
    7: (TAG_SIZE, Unreached),
}

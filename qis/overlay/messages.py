"""The overlay's datagrams: encode beside decode, at most 1,200 bytes, strict.

Each starts with `MAGIC`, a kind and the 8-byte number that ties an answer to its request. Decoding
is total: bytes that are not exactly one message give `None`.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from qis._layout import PACKET_SIZE
from qis.about import MAX_ROUTING_KEYS, ROUTING_KEY_SIZE
from qis.overlay.record import RECORD_SIZE
from qis.overlay.subscription import Subscription

MAGIC: Final = b"qis\x02"
DATAGRAM_SIZE: Final = 1_200
TOKEN_SIZE: Final = 16
NO_TOKEN: Final = bytes(TOKEN_SIZE)
NO_REQUEST: Final = bytes(8)
"""Number in a refusal that answers no request: something that was held has been dropped."""
RECORDS_LIMIT: Final = 8
NEWS_LIMIT: Final = 4
"""Records of new nodes in one answer."""
KEYS_LIMIT: Final = 1_024
"""Lists of routing keys that are remembered by their bytes; the one used longest ago goes."""
DIGEST_SIZE: Final = 32
CHARGES_LIMIT: Final = 9
"""Records in one `Relay`: as many as fit."""
_HEAD = struct.Struct(">4sB8s")


@dataclass(slots=True, kw_only=True)
class Message:
    """What every message has."""

    KIND: ClassVar[int] = 0
    request: bytes

    def encode(self) -> bytes:
        """The message as it travels."""
        return _HEAD.pack(MAGIC, self.KIND, self.request) + self._body()

    def _body(self) -> bytes:
        raise NotImplementedError


@dataclass(slots=True, kw_only=True)
class Find(Message):
    """Name the nodes closest to an id. Padded while unproven: no answer is larger."""

    KIND: ClassVar[int] = 1
    token: bytes
    record: bytes
    target: int

    def _body(self) -> bytes:
        content = self.token + self.record + self.target.to_bytes(32)
        if self.token == NO_TOKEN:
            return content.ljust(DATAGRAM_SIZE - _HEAD.size, b"\x00")
        return content


@dataclass(slots=True, kw_only=True)
class Found(Message):
    """The closest nodes' records, and a token that proves the asker's address from now on."""

    KIND: ClassVar[int] = 2
    token: bytes
    records: tuple[bytes, ...]

    def _body(self) -> bytes:
        return self.token + b"".join(self.records)


@dataclass(slots=True, kw_only=True)
class Subscribe(Message):
    """Hold this subscription under key i if bit i of `key_bits` is set.

    `seen_epoch` and `seen_count` say which packets of the holder's message store have come already;
    with `wants_replay` it sends the others.
    """

    KIND: ClassVar[int] = 3
    FORMAT: ClassVar = struct.Struct(f">{TOKEN_SIZE}sQ?8sQ")
    token: bytes
    key_bits: int
    wants_replay: bool
    seen_epoch: bytes
    seen_count: int
    subscription: Subscription

    def _body(self) -> bytes:
        head = self.FORMAT.pack(
            self.token, self.key_bits, self.wants_replay, self.seen_epoch, self.seen_count
        )
        return head + self.subscription.encode()


@dataclass(slots=True, kw_only=True)
class Subscribed(Message):
    """The subscription is held; (`epoch`, `count`) is what the message store has by now.

    `news` are records of nodes near the keys that have come lately.
    """

    KIND: ClassVar[int] = 4
    epoch: bytes
    count: int
    news: tuple[bytes, ...] = ()

    def _body(self) -> bytes:
        return self.epoch + self.count.to_bytes(8) + b"".join(self.news)


@dataclass(slots=True, kw_only=True)
class Publish(Message):
    """Hold this packet under key i if bit i of `key_bits` is set.

    Forward it too, unless bit i of `quiet_bits` is set: then a holder that has known the key for
    long has done so.
    """

    KIND: ClassVar[int] = 5
    FORMAT: ClassVar = struct.Struct(f">{TOKEN_SIZE}sBBQQB")
    token: bytes
    attempt: int
    hops: int
    key_bits: int
    keys: tuple[bytes, ...]
    packet: bytes
    quiet_bits: int = 0

    def _body(self) -> bytes:
        head = self.FORMAT.pack(
            self.token, self.attempt, self.hops, self.key_bits, self.quiet_bits, len(self.keys)
        )
        return head + b"".join(self.keys) + self.packet


@dataclass(slots=True, kw_only=True)
class Published(Message):
    """The packet is held; under key i only lately if bit i of `young_bits` is set, or for nobody.

    Who subscribes, and how many do, a publisher is not told. `news` are records of nodes near the
    keys that have come lately.
    """

    KIND: ClassVar[int] = 6
    young_bits: int
    news: tuple[bytes, ...] = ()

    def _body(self) -> bytes:
        return self.young_bits.to_bytes(8) + b"".join(self.news)


@dataclass(slots=True, kw_only=True)
class Deliver(Message):
    """A packet that a subscriber may want."""

    KIND: ClassVar[int] = 7
    hops: int
    keys: tuple[bytes, ...]
    packet: bytes

    def _body(self) -> bytes:
        return bytes([self.hops, len(self.keys)]) + b"".join(self.keys) + self.packet


@dataclass(slots=True, kw_only=True)
class Delivered(Message):
    """What was sent (`Deliver`, `Closer` or `Relay`) has come, and what `others` are numbers of."""

    KIND: ClassVar[int] = 8
    LIMIT: ClassVar[int] = (DATAGRAM_SIZE - _HEAD.size) // 8
    others: tuple[bytes, ...] = ()

    def _body(self) -> bytes:
        return b"".join(self.others)


@dataclass(slots=True, kw_only=True)
class Prove(Message):
    """Ask again with this token, which proves your address."""

    KIND: ClassVar[int] = 9
    token: bytes

    def _body(self) -> bytes:
        return self.token


@dataclass(slots=True, kw_only=True)
class Leave(Message):
    """The node whose record (of port 0) this is leaves."""

    KIND: ClassVar[int] = 10
    record: bytes

    def _body(self) -> bytes:
        return self.record


@dataclass(slots=True, kw_only=True)
class Closer(Message):
    """A holder tells a subscriber: the node of this record is closer to some of your keys."""

    KIND: ClassVar[int] = 11
    record: bytes
    keys: tuple[bytes, ...]

    def _body(self) -> bytes:
        return self.record + b"".join(self.keys)


@dataclass(slots=True, kw_only=True)
class Relay(Message):
    """A holder tells a subscriber: pass this packet, which you have from me, on to these nodes.

    `digest` is that of the packet's 512 bytes, `hops` how far it had come when it was sent to you.
    """

    KIND: ClassVar[int] = 12
    digest: bytes
    hops: int
    records: tuple[bytes, ...]

    def _body(self) -> bytes:
        return self.digest + bytes([self.hops]) + b"".join(self.records)


@dataclass(slots=True, kw_only=True)
class Refused(Message):
    """What was asked is refused, for a reason in one byte (`RefusalCode`): 14 bytes in all."""

    KIND: ClassVar[int] = 13
    code: int

    def _body(self) -> bytes:
        return bytes([self.code])


def decode(data: bytes) -> Message | None:
    """The message that these bytes are, or `None`. Never raises."""
    if not _HEAD.size <= len(data) <= DATAGRAM_SIZE:
        return None
    magic, kind, request = _HEAD.unpack_from(data)
    reader = _READERS.get(kind)
    if magic != MAGIC or reader is None:
        return None
    return reader(request, data[_HEAD.size :])


def _find(request: bytes, body: bytes) -> Find | None:
    token, content = body[:TOKEN_SIZE], body[TOKEN_SIZE:]
    size = RECORD_SIZE + 32
    if token == NO_TOKEN and len(body) == DATAGRAM_SIZE - _HEAD.size and not any(content[size:]):
        content = content[:size]
    if len(content) != size or (token == NO_TOKEN and len(body) == TOKEN_SIZE + size):
        return None
    target = int.from_bytes(content[RECORD_SIZE:])
    return Find(request=request, token=token, record=content[:RECORD_SIZE], target=target)


def _found(request: bytes, body: bytes) -> Found | None:
    records = _split(body[TOKEN_SIZE:], RECORD_SIZE, RECORDS_LIMIT)
    if len(body) < TOKEN_SIZE or records is None:
        return None
    return Found(request=request, token=body[:TOKEN_SIZE], records=records)


def _subscribe(request: bytes, body: bytes) -> Subscribe | None:
    size = Subscribe.FORMAT.size
    # Byte 24 is `wants_replay`. Only 0 and 1 are valid, but struct reads any other byte as true.
    if len(body) < size or body[24] > 1:
        return None
    subscription = Subscription.decode(body[size:])
    token, key_bits, wants_replay, seen_epoch, seen_count = Subscribe.FORMAT.unpack_from(body)
    if subscription is None or key_bits >> len(subscription.keys):
        return None
    return Subscribe(
        request=request,
        token=token,
        key_bits=key_bits,
        wants_replay=wants_replay,
        seen_epoch=seen_epoch,
        seen_count=seen_count,
        subscription=subscription,
    )


def _subscribed(request: bytes, body: bytes) -> Subscribed | None:
    news = _split(body[16:], RECORD_SIZE, NEWS_LIMIT)
    if len(body) < 16 or news is None:
        return None
    count = int.from_bytes(body[8:16])
    return Subscribed(request=request, epoch=body[:8], count=count, news=news)


def _publish(request: bytes, body: bytes) -> Publish | None:
    size = Publish.FORMAT.size
    if len(body) < size:
        return None
    token, attempt, hops, key_bits, quiet_bits, count = Publish.FORMAT.unpack_from(body)
    start = len(body) - PACKET_SIZE
    if start - size != count * ROUTING_KEY_SIZE:
        return None
    keys = _keys(body[size:start])
    if keys is None or not key_bits or key_bits >> count or quiet_bits & ~key_bits:
        return None
    return Publish(
        request=request,
        token=token,
        attempt=attempt,
        hops=hops,
        key_bits=key_bits,
        keys=keys,
        packet=body[start:],
        quiet_bits=quiet_bits,
    )


def _published(request: bytes, body: bytes) -> Published | None:
    news = _split(body[8:], RECORD_SIZE, NEWS_LIMIT)
    if len(body) < 8 or news is None:
        return None
    return Published(request=request, young_bits=int.from_bytes(body[:8]), news=news)


def _deliver(request: bytes, body: bytes) -> Deliver | None:
    start = len(body) - PACKET_SIZE
    if start < 2 or start - 2 != body[1] * ROUTING_KEY_SIZE:
        return None
    keys = _keys(body[2:start])
    if keys is None:
        return None
    return Deliver(request=request, hops=body[0], keys=keys, packet=body[start:])


def _delivered(request: bytes, body: bytes) -> Delivered | None:
    others = _split(body, 8, Delivered.LIMIT)
    return None if others is None else Delivered(request=request, others=others)


def _prove(request: bytes, body: bytes) -> Prove | None:
    return Prove(request=request, token=body) if len(body) == TOKEN_SIZE else None


def _leave(request: bytes, body: bytes) -> Leave | None:
    return Leave(request=request, record=body) if len(body) == RECORD_SIZE else None


def _closer(request: bytes, body: bytes) -> Closer | None:
    keys = _split(body[RECORD_SIZE:], ROUTING_KEY_SIZE, MAX_ROUTING_KEYS)
    if len(body) < RECORD_SIZE or not keys or list(keys) != sorted(set(keys)):
        return None
    return Closer(request=request, record=body[:RECORD_SIZE], keys=keys)


def _relay(request: bytes, body: bytes) -> Relay | None:
    digest, rest = body[:DIGEST_SIZE], body[DIGEST_SIZE:]
    records = _split(rest[1:], RECORD_SIZE, CHARGES_LIMIT)
    if not records:
        return None
    return Relay(request=request, digest=digest, hops=rest[0], records=records)


def _refused(request: bytes, body: bytes) -> Refused | None:
    return Refused(request=request, code=body[0]) if len(body) == 1 and body[0] else None


_READERS: Final = {
    Find.KIND: _find,
    Found.KIND: _found,
    Subscribe.KIND: _subscribe,
    Subscribed.KIND: _subscribed,
    Publish.KIND: _publish,
    Published.KIND: _published,
    Deliver.KIND: _deliver,
    Delivered.KIND: _delivered,
    Prove.KIND: _prove,
    Leave.KIND: _leave,
    Closer.KIND: _closer,
    Relay.KIND: _relay,
    Refused.KIND: _refused,
}


def _split(data: bytes, size: int, limit: int) -> tuple[bytes, ...] | None:
    if len(data) % size or len(data) > size * limit:
        return None
    return tuple([data[i : i + size] for i in range(0, len(data), size)])


@lru_cache(maxsize=KEYS_LIMIT)
def _keys(data: bytes) -> tuple[bytes, ...] | None:
    """Routing keys in ascending order, each once; one object for all packets of one topic."""
    keys = _split(data, ROUTING_KEY_SIZE, MAX_ROUTING_KEYS)
    return None if keys is None or list(keys) != sorted(set(keys)) else keys

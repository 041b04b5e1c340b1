"""Datagrams as an attacker makes them: of what he has heard, of parts that fit, of his own keys.

`Mutator.hear` is given what passes; `next` makes the next datagram out of it: changed in its bits
or its structure, cut, extended, spliced, repeated, or sealed by nobody.
"""

import dataclasses
import random
import struct
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

import qis
from qis.about import MAX_ROUTING_KEYS
from qis.channel.handshake import DATA, INITIATION
from qis.overlay.bundles import BUNDLE_HEAD, messages_of
from qis.overlay.messages import (
    DATAGRAM_SIZE,
    MAGIC,
    NEWS_LIMIT,
    NO_TOKEN,
    RECORDS_LIMIT,
    Delivered,
    Message,
    Subscribe,
    decode,
)
from qis.overlay.record import RECORD_SIZE
from qis.overlay.subscription import SLOTS_LIMIT, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _site import Site

HEARD_LIMIT: Final = 64
"""Datagrams remembered of each kind, and values of each field."""
KEYS: Final = tuple(number.to_bytes(8) for number in range(MAX_ROUTING_KEYS))
EXTREMES: Final[dict[str, tuple[Any, ...]]] = {
    "request": (bytes(8), b"\xff" * 8),
    "token": (NO_TOKEN, b"\xff" * 16),
    "record": (bytes(RECORD_SIZE), b"\xff" * RECORD_SIZE),
    "records": ((), (bytes(RECORD_SIZE),) * RECORDS_LIMIT),
    "news": ((), (bytes(RECORD_SIZE),) * NEWS_LIMIT),
    "others": ((), (bytes(8),), (b"\xff" * 8,) * Delivered.LIMIT),
    "target": (0, 1, 2**255, 2**256 - 1),
    "key_bits": (0, 1, 2**47, 2**48 - 1, 2**63, 2**64 - 1),
    "wants_replay": (False, True),
    "seen_epoch": (bytes(8),),
    "seen_count": (0, 1, 2**63, 2**64 - 1),
    "epoch": (bytes(8), b"\xff" * 8),
    "count": (0, 2**64 - 1),
    "attempt": (0, 1, 255),
    "code": (0, 1, 255),
    "hops": (0, 1, 254, 255),
    "digest": (bytes(32),),
    "keys": ((), KEYS[:1], KEYS, KEYS[:2][::-1], KEYS[:1] * 2, (*KEYS, b"\xff" * 8)),
    "packet": (bytes(qis.PACKET_SIZE), b"\xff" * qis.PACKET_SIZE),
    "quiet_bits": (0, 1, 2**47, 2**48 - 1, 2**63, 2**64 - 1),
    "young_bits": (0, 1, 2**47, 2**48 - 1, 2**63, 2**64 - 1),
}
"""Values at the edges of what each field of a message may be, and beyond. Every field is here but
`subscription`, which is varied by itself: a field that is missing would get no edges."""


class Mutator:
    """Makes datagrams; the same seed and the same things heard make the same ones."""

    def __init__(self, rng: random.Random) -> None:
        self.origin = b""
        """Where the datagram came from that the last one was made of."""
        self._rng = rng
        self._heard: defaultdict[int, deque[tuple[bytes, bytes]]] = defaultdict(
            lambda: deque(maxlen=HEARD_LIMIT)
        )
        self._fields: defaultdict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=HEARD_LIMIT))
        self._ways = (
            self._flipped,
            self._overwritten,
            self._cut,
            self._extended,
            self._spliced,
            self._of_another_kind,
            self._repeated,
            self._noise,
            self._bundled,
        )

    def hear(self, data: bytes, origin: bytes) -> None:
        """Remember a datagram that is one, by its kind, and what its fields held."""
        for part in messages_of(data) or ():
            message = decode(part)
            if message is not None:
                self._heard[message.KIND].append((part, origin))
                for field in dataclasses.fields(message):
                    self._fields[field.name].append(getattr(message, field.name))
            elif part and INITIATION <= part[0] <= DATA:
                self._heard[-part[0]].append((part, origin))

    def next(self) -> tuple[str, bytes]:
        """How it was made, and a datagram."""
        way = self._rng.choice(self._ways)
        return way.__name__[1:], way()

    def rebuilt(self) -> tuple[str, bytes]:
        """A message with some of its fields from elsewhere, or at an edge."""
        message = None
        while message is None:
            message = decode(self._any(self._rng.choice([k for k in self._heard if k > 0])))
        return "rebuilt", self.varied(message).encode()

    def varied(self, message: Message) -> Message:
        """The message with some of its fields from elsewhere, or at an edge."""
        names = [field.name for field in dataclasses.fields(message)]
        changed = self._rng.sample(names, self._rng.randint(1, min(3, len(names))))
        if isinstance(message, Subscribe) and "subscription" not in changed:
            changed[0] = "subscription"
        return dataclasses.replace(
            message, **{name: self._value(name, getattr(message, name)) for name in changed}
        )

    def _value(self, name: str, before: Any) -> Any:
        if name == "subscription":
            return self._subscription(before)
        if name == "record" and self._rng.random() < 0.4:
            return self._bits_of(before)
        edges = EXTREMES.get(name, ())
        if edges and (not self._fields[name] or self._rng.random() < 0.5):
            return self._rng.choice(edges)
        return self._rng.choice(self._fields[name])

    def _subscription(self, before: Subscription) -> Subscription:
        """With one field changed under the signature, or somebody else's."""
        if self._rng.random() < 0.2:
            heard: Subscription = self._rng.choice(self._fields["subscription"])
            return heard
        change = self._rng.choice(
            (
                {"sequence": self._rng.choice((0, before.sequence + 1_000_000)) % 2**64},
                {"lifetime_s": self._rng.choice((0, 1, 65_535))},
                {"keys": self._rng.choice(((), KEYS[:1], KEYS))},
                {"slot": (before.slot + 1) % SLOTS_LIMIT},
                {"record": self._value("record", before.record)},
            )
        )
        return dataclasses.replace(before, **change)

    def _any(self, kind: int | None = None) -> bytes:
        kind = self._rng.choice(list(self._heard)) if kind is None else kind
        data, self.origin = self._rng.choice(self._heard[kind])
        return data

    def _flipped(self) -> bytes:
        return self._bits_of(self._any())

    def _bits_of(self, before: bytes) -> bytes:
        data = bytearray(before)
        for _ in range(self._rng.randint(1, 4)):
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)
        return bytes(data)

    def _overwritten(self) -> bytes:
        data = bytearray(self._any())
        size = self._rng.choice((1, 2, 4, 8, 16))
        start = self._rng.randrange(len(data))
        value = self._rng.choice((bytes(size), b"\xff" * size, self._rng.randbytes(size)))
        data[start : start + size] = value
        return bytes(data)

    def _cut(self) -> bytes:
        data = self._any()
        return data[: self._rng.randint(0, len(data) - 1)]

    def _extended(self) -> bytes:
        data = self._any()
        size = self._rng.choice((1, 8, 122, 512, max(0, DATAGRAM_SIZE - len(data)), 1_300))
        return data + self._rng.choice((bytes(size), self._rng.randbytes(size), data[:size]))

    def _spliced(self) -> bytes:
        other, one = self._any(), self._any()
        cut = self._rng.randint(0, len(one))
        return one[:cut] + other[self._rng.choice((cut, self._rng.randint(0, len(other)))) :]

    def _of_another_kind(self) -> bytes:
        data = bytearray(self._any())
        offset = len(MAGIC) if data.startswith(MAGIC) else 0
        if len(data) > offset:
            data[offset] = self._rng.choice((*range(13), 255))
        return bytes(data)

    def _repeated(self) -> bytes:
        return self._any()

    def _bundled(self) -> bytes:
        """Several in one, sound or not."""
        makers = (self._flipped, self._repeated, self._cut, self._noise)
        parts = [self._rng.choice(makers)() for _ in range(self._rng.randint(0, 6))]
        data = bytearray(in_one(parts, forced=True))
        if self._rng.random() < 0.3:
            data[self._rng.randrange(len(data))] = self._rng.randrange(256)
        return bytes(data[:DATAGRAM_SIZE] if self._rng.random() < 0.8 else data)

    def _noise(self) -> bytes:
        start = self._rng.choice((b"", MAGIC, MAGIC + bytes([self._rng.randrange(12)])))
        return start + self._rng.randbytes(self._rng.randint(0, 1_300))


def in_one(messages: "Iterable[bytes]", *, forced: bool = False) -> bytes:
    """One datagram of all these; `forced`: even of one, or none."""
    parts = list(messages)
    if len(parts) == 1 and not forced:
        return parts[0]
    return BUNDLE_HEAD + b"".join(len(part).to_bytes(2) + part for part in parts)


def sealed_as(site: "Site", data: bytes, rng: random.Random) -> bytes:
    """A data message for a session number of a site, whose text nobody has sealed."""
    numbers = list(site.channels.sessions._in_use) if site.channels else [0]  # noqa: SLF001
    number = rng.choice(numbers or [0])
    return struct.pack(">BIQ", DATA, number, rng.choice((0, rng.getrandbits(10), 2**64 - 1))) + data

"""A subscriber's signed word for what it wants, as rendezvous nodes keep it.

A key that is wanted whatever comes is *open*. Under the others only those packets are wanted whose
sketch is near to one that the subscriber has registered with them: two agents share one of 24 keys
of 5 bits by chance every second time, so without this a packet goes to half of all.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final, Self

from qis.about import (
    MAX_ROUTING_KEYS,
    ROUTING_KEY_SIZE,
    SCHEME_ID_SIZE,
    SKETCH_SIZE,
    Interest,
    Near,
)
from qis.overlay.record import RECORD_SIZE, SIGNATURE_SIZE, Credentials

SLOTS_LIMIT: Final = 8
"""Subscriptions of one node at once, for interests of more keys than one datagram holds."""
DECODED_LIMIT: Final = 1_024
"""Subscriptions remembered by their bytes; the one used longest ago goes first."""
NEAR_LIMIT: Final = 8
"""Sketches in one subscription; keys of further ones are open, and the receiver's end decides."""
_HEAD = struct.Struct(f">{RECORD_SIZE}sBQHBBQ")
_NEAR = struct.Struct(f">{SCHEME_ID_SIZE}s{SKETCH_SIZE}sBBQ")
_FIELD_BITS: Final = (1, 2, 4, 8, 16)

Wanted = Mapping[bytes, frozenset[Near]]
"""By key, the neighbourhoods in which packets are wanted under it; none: whatever comes."""


def all_under(keys: Iterable[bytes]) -> Wanted:
    """Whatever comes under these keys."""
    return dict.fromkeys(keys, frozenset())


def wanted_of(interests: Iterable[Interest]) -> Wanted:
    """All keys that interests are registered under."""
    wanted: dict[bytes, frozenset[Near]] = {}
    is_open: set[bytes] = set()
    for interest in interests:
        near = interest.near
        is_open.update(interest.studies if near is not None else interest.all_keys)
        for key in interest.all_keys:
            wanted[key] = wanted.get(key, frozenset()) | ({near} if near else set())
    return {key: frozenset() if key in is_open else nears for key, nears in wanted.items()}


_CONTEXT = b"qis subscription 1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """All keys that a node wants, for how long, and where it is.

    Parameters
    ----------
    record
        The subscriber's encoded node record, which names its key and address.
    slot
        In [0, 8): a node may have one subscription in each.
    sequence
        A higher one replaces a lower one in the same slot.
    lifetime_s
        Seconds from arrival until it expires: relative, as clocks differ. 0 withdraws.
    keys
        Sorted routing keys, 8 bytes each, at most `MAX_ROUTING_KEYS`.
    is_open
        Bit i is set if everything is wanted under key i.
    nears
        Up to 8 neighbourhoods, sorted as they travel, and the keys, as bits, that each is for.
    signature
        The subscriber's, over all of this.

    """

    record: bytes
    sequence: int
    lifetime_s: int
    keys: tuple[bytes, ...]
    is_open: int
    nears: tuple[tuple[Near, int], ...] = ()
    slot: int = 0
    signature: bytes = b""

    @classmethod
    def signed(
        cls,
        credentials: Credentials,
        *,
        record: bytes,
        sequence: int,
        lifetime_s: int,
        wanted: Wanted,
        slot: int = 0,
    ) -> Self:
        """A subscription of the node whose credentials these are."""
        keys = tuple(sorted(wanted))
        nears: dict[Near, int] = {}
        is_open = 0
        for key_index, key in enumerate(keys):
            new = wanted[key].difference(nears)
            if not wanted[key] or len(nears) + len(new) > NEAR_LIMIT:
                is_open |= 1 << key_index
                continue
            for near in wanted[key]:
                nears[near] = nears.get(near, 0) | 1 << key_index
        unsigned = cls(
            record=record,
            sequence=sequence,
            lifetime_s=lifetime_s,
            keys=keys,
            is_open=is_open,
            nears=tuple(sorted(nears.items(), key=_encoded)),
            slot=slot,
        )
        return replace(unsigned, signature=credentials.sign(unsigned.signed_part()))

    @property
    def subscriber(self) -> bytes:
        """The subscriber's 32-byte public key."""
        return self.record[:32]

    @property
    def slot_id(self) -> bytes:
        """Subscriber and slot: what a newer subscription replaces."""
        return self.subscriber + bytes([self.slot])

    @property
    def address(self) -> bytes:
        """Where the subscriber is, 18 bytes."""
        return self.record[40:58]

    def wants_under(self, keys: Iterable[bytes], scheme_id: bytes, sketch: bytes) -> list[bytes]:
        """Those of a packet's keys under which it is wanted; all holders come to the same."""
        key_bits = self.is_open
        for near, its_bits in self.nears:
            if its_bits & ~key_bits and near.covers(scheme_id, sketch):
                key_bits |= its_bits
        if not key_bits:
            return []
        own = self.keys
        shared = set(own).intersection(keys)
        return [key for i, key in enumerate(own) if key in shared and key_bits >> i & 1]

    def _content(self) -> bytes:
        counts = len(self.keys), len(self.nears)
        head = _HEAD.pack(
            self.record, self.slot, self.sequence, self.lifetime_s, *counts, self.is_open
        )
        return head + b"".join((*self.keys, *map(_encoded, self.nears)))

    def signed_part(self) -> bytes:
        """The bytes that the signature covers."""
        return _CONTEXT + self._content()

    def encode(self) -> bytes:
        """The subscription as it travels."""
        return self._content() + self.signature

    @staticmethod
    @lru_cache(maxsize=DECODED_LIMIT)
    def decode(data: bytes) -> "Subscription | None":
        """The subscription that these bytes are, or `None`; the signature is not checked here.

        The same bytes come to many nodes of one process, and again with each try.
        """
        if len(data) < _HEAD.size:
            return None
        record, slot, sequence, lifetime_s, count, nears, is_open = _HEAD.unpack_from(data)
        middle = _HEAD.size + count * ROUTING_KEY_SIZE
        end = middle + nears * _NEAR.size
        if count > MAX_ROUTING_KEYS or slot >= SLOTS_LIMIT or len(data) != end + SIGNATURE_SIZE:
            return None
        keys = tuple(data[i : i + ROUTING_KEY_SIZE] for i in range(_HEAD.size, middle, 8))
        found = _nears(data[middle:end], (1 << count) - 1, is_open)
        if list(keys) != sorted(set(keys)) or found is None:
            return None
        return Subscription(
            record=record,
            sequence=sequence,
            lifetime_s=lifetime_s,
            keys=keys,
            is_open=is_open,
            nears=found,
            slot=slot,
            signature=data[end:],
        )


def _encoded(entry: tuple[Near, int]) -> bytes:
    near, key_bits = entry
    return _NEAR.pack(near.scheme_id, near.sketch, near.field_bits, near.differing, key_bits)


def _nears(data: bytes, every: int, is_open: int) -> tuple[tuple[Near, int], ...] | None:
    """The neighbourhoods that bytes name, if each key is either open or for one of them."""
    if len(data) > NEAR_LIMIT * _NEAR.size:
        return None
    parts = [data[i : i + _NEAR.size] for i in range(0, len(data), _NEAR.size)]
    found = []
    covered = 0
    for scheme_id, sketch, field_bits, differing, key_bits in map(_NEAR.unpack, parts):
        if field_bits not in _FIELD_BITS or not key_bits or key_bits & is_open:
            return None
        covered |= key_bits
        found.append((Near(scheme_id, sketch, field_bits, differing), key_bits))
    is_sorted = all(a < b for a, b in pairwise(parts))
    return tuple(found) if is_sorted and covered | is_open == every else None

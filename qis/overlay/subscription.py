"""A subscriber's signed word for what it wants, as rendezvous nodes keep and pass it on."""

import struct
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Self

from qis.about import MAX_ROUTING_KEYS, ROUTING_KEY_SIZE
from qis.overlay.record import RECORD_SIZE, SIGNATURE_SIZE, Credentials

SLOTS_LIMIT: Final = 8
"""Subscriptions of one node at once, for interests of more keys than one datagram holds."""
DECODED_LIMIT: Final = 1_024
"""Subscriptions remembered by their bytes; the one used longest ago goes first."""
_HEAD = struct.Struct(f">{RECORD_SIZE}sBQHB")
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
    signature
        The subscriber's, over all of this.

    """

    record: bytes
    sequence: int
    lifetime_s: int
    keys: tuple[bytes, ...]
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
        keys: tuple[bytes, ...],
        slot: int = 0,
    ) -> Self:
        """A subscription of the node whose credentials these are."""
        unsigned = cls(
            record=record, sequence=sequence, lifetime_s=lifetime_s, keys=keys, slot=slot
        )
        return replace(unsigned, signature=credentials.sign(unsigned.signed_part()))

    @property
    def subscriber(self) -> bytes:
        """The subscriber's 32-byte public key."""
        return self.record[:32]

    @property
    def place(self) -> bytes:
        """Subscriber and slot: what a newer subscription replaces."""
        return self.subscriber + bytes([self.slot])

    @property
    def address(self) -> bytes:
        """Where the subscriber is, 18 bytes."""
        return self.record[40:58]

    def _content(self) -> bytes:
        head = _HEAD.pack(self.record, self.slot, self.sequence, self.lifetime_s, len(self.keys))
        return head + b"".join(self.keys)

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
        record, slot, sequence, lifetime_s, count = _HEAD.unpack_from(data)
        end = _HEAD.size + count * ROUTING_KEY_SIZE
        if count > MAX_ROUTING_KEYS or slot >= SLOTS_LIMIT or len(data) != end + SIGNATURE_SIZE:
            return None
        keys = tuple(data[i : i + ROUTING_KEY_SIZE] for i in range(_HEAD.size, end, 8))
        if list(keys) != sorted(set(keys)):
            return None
        return Subscription(
            record=record,
            sequence=sequence,
            lifetime_s=lifetime_s,
            keys=keys,
            slot=slot,
            signature=data[end:],
        )

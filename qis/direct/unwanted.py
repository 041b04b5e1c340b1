"""Packets that a node does not want to be sent again when sets are compared."""

from typing import Final

from qis.overlay.lru_cache import LruCache

REFUSED_LIMIT: Final = 8_192
"""(member, id) remembered as refused, and ids as withdrawn."""


class Unwanted:
    """First bytes of the ids of packets that were withdrawn here, or refused from a member.

    What one member sends and is refused may be another packet than another member's of that id.
    """

    def __init__(self) -> None:
        self._withdrawn: LruCache[bytes, None] = LruCache(REFUSED_LIMIT)
        self._refused: LruCache[tuple[bytes, bytes], None] = LruCache(REFUSED_LIMIT)

    def withdraw(self, short: bytes) -> None:
        """Want a packet from nobody."""
        self._withdrawn.put(short, None)

    def refuse(self, member: bytes, short: bytes) -> None:
        """Want a packet no more from a member."""
        self._refused.put((member, short), None)

    def has(self, member: bytes, short: bytes) -> bool:
        """True if a packet is not wanted from a member."""
        return short in self._withdrawn or (member, short) in self._refused

"""Packets that a rendezvous node keeps while they live, for subscribers that come later.

Of packets that replace each other the newest is kept. Bounded; when full, the issuer with most
packets loses its oldest, so that nobody's flood displaces the others. A count that only grows says
what came after what, so that a refresh repeats nothing.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Final, NamedTuple

from qis._guard import Guard
from qis.overlay.shares import Shares

RETAINED_LIMIT: Final = 16_384
"""Packets kept per node; full, under 25 keys of its own each, 120 MiB. As many as a subscriber
holds, so that whoever comes late to a study of thousands of issuers gets them all at once."""


class Carried(NamedTuple):
    """A verified packet with the keys that it travels under, and what it is about.

    Of packets with the same `topic`, unless empty, a higher `sequence` replaces a lower one.
    """

    id: bytes
    issuer: bytes
    expires_at: float
    keys: tuple[bytes, ...]
    packet: bytes
    scheme_id: bytes = b""
    sketch: bytes = b""
    topic: bytes = b""
    sequence: int = 0


class MessageStore:
    """The packets kept by one node.

    Parameters
    ----------
    limit
        Most packets kept.
    unix_s
        Gives the date, in Unix seconds, of a moment `now`: packets expire by the wall clock.
    guard
        Tells whose packet had to make room.

    """

    def __init__(
        self,
        limit: int = RETAINED_LIMIT,
        *,
        unix_s: Callable[[float], float] = lambda now: now,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or Guard()
        self._limit = limit
        self._unix_s = unix_s
        self._packets: dict[bytes, tuple[int, Carried]] = {}
        self._shares = Shares()
        self._by_key: dict[bytes, dict[bytes, None]] = {}
        self._newest: dict[bytes, list[bytes]] = {}
        self.dropped: Callable[[bytes, float], None] = lambda _issuer, _now: None
        """Called with the issuer of a packet that had to make room, and now."""
        self.count = 0
        self._first_expiry = math.inf

    def __len__(self) -> int:
        return len(self._packets)

    def put(self, carried: Carried, keys: Iterable[bytes], now: float) -> bool:
        """Keep a packet, once, as a holder of some of its keys, unless a newer one is kept.

        True if it, or what replaces it, is kept now: whoever is told "held" relies on it.
        """
        if carried.expires_at <= self._unix_s(now):
            return False
        if not self._replace_older(carried):
            return True
        for key in keys:
            self._by_key.setdefault(key, {})[carried.id] = None
        if carried.id in self._packets:
            return True
        self.count += 1
        self._packets[carried.id] = (self.count, carried)
        self._shares.add(carried.issuer, carried.id)
        if carried.topic:
            self._newest.setdefault(carried.topic, []).append(carried.id)
        self._first_expiry = min(self._first_expiry, carried.expires_at)
        if len(self._packets) > self._limit:
            self.expire(now)
        if len(self._packets) > self._limit:
            oldest = self._shares.oldest_of_most()
            issuer = self._packets[oldest][1].issuer
            self._guard.at_limit(
                "overlay.message_store.RETAINED_LIMIT",
                issuer.hex(),
                "a packet is kept here no longer: who subscribes later gets it when it is "
                "published again, within an hour",
            )
            self._drop(oldest)
            if oldest != carried.id:  # who asks now is answered
                self.dropped(issuer, now)
        return carried.id in self._packets

    def withdraw(self, packet_id: bytes) -> None:
        """Keep a packet no longer."""
        if packet_id in self._packets:
            self._drop(packet_id)

    def keys(self) -> set[bytes]:
        """The keys as whose holder this node keeps packets."""
        return set(self._by_key)

    def under(self, key: bytes, now: float) -> list[Carried]:
        """The live packets that are kept under a key."""
        unix_s = self._unix_s(now)
        kept = (self._packets[packet_id][1] for packet_id in self._by_key.get(key, ()))
        return [carried for carried in kept if carried.expires_at > unix_s]

    def after(self, count: int, keys: frozenset[bytes], now: float) -> Iterator[Carried]:
        """The live packets that came after the count-th and share one of the keys, in order."""
        unix_s = self._unix_s(now)
        later = list(takewhile(lambda kept: kept[0] > count, reversed(self._packets.values())))
        for _, carried in reversed(later):
            if carried.expires_at > unix_s and not keys.isdisjoint(carried.keys):
                yield carried

    def expire(self, now: float) -> None:
        """Drop packets that have expired."""
        unix_s = self._unix_s(now)
        if unix_s < self._first_expiry:
            return
        for packet_id, (_, carried) in list(self._packets.items()):
            if carried.expires_at <= unix_s:
                self._drop(packet_id)
        alive = (carried.expires_at for _, carried in self._packets.values())
        self._first_expiry = min(alive, default=math.inf)

    def _replace_older(self, carried: Carried) -> bool:
        """Drop what a packet replaces; true if nothing newer replaces it.

        Two of one sequence stay both: that is a proof against their issuer.
        """
        for packet_id in list(self._newest.get(carried.topic, ())):
            other = self._packets[packet_id][1]
            if other.sequence > carried.sequence:
                return False
            if other.sequence < carried.sequence:
                self._drop(packet_id)
        return True

    def _drop(self, packet_id: bytes) -> None:
        _, carried = self._packets.pop(packet_id)
        for key in carried.keys:
            if (under := self._by_key.get(key)) is not None:
                under.pop(packet_id, None)
                if not under:
                    del self._by_key[key]
        self._shares.remove(carried.issuer, packet_id)
        if carried.topic:
            newest = self._newest[carried.topic]
            newest.remove(packet_id)
            if not newest:
                del self._newest[carried.topic]

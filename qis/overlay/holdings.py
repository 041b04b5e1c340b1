"""What a rendezvous node holds: subscriptions as soft state, each key for as long as refreshed.

Nothing live is evicted silently: when the store is full, a newcomer is refused, hears nothing, and
turns to the next node. A withdrawal is remembered until the subscription would have expired, so
that an older one under way does not bring it back.
"""

from dataclasses import dataclass, field
from typing import Final

from qis.overlay.messages import Known
from qis.overlay.subscription import SLOTS_LIMIT, Subscription

SUBSCRIBERS_LIMIT: Final = 16_384
"""Subscriptions held at once; full, with 48 keys each, 200 MiB (shared keys) to 430 MiB (none)."""
LIFETIME_S: Final = 1_500
"""Longest a subscription lasts without refresh: 2.5 periods of 600 s."""


@dataclass(slots=True)
class _Held:
    subscription: Subscription
    forgotten_at: float
    expires_at: dict[bytes, float] = field(default_factory=dict)


class Holdings:
    """Subscriptions by key and by subscriber."""

    def __init__(self) -> None:
        self._held: dict[bytes, _Held] = {}
        self._by_key: dict[bytes, dict[bytes, None]] = {}
        self._first_at: dict[bytes, float] = {}
        self._xor: dict[bytes, int] = {}
        self._known: dict[bytes, Known] = {}

    def __len__(self) -> int:
        return sum(len(held.expires_at) for held in self._held.values())

    def is_stale(self, subscription: Subscription) -> bool:
        """Whether a newer one of this subscriber has come already."""
        held = self._held.get(subscription.place)
        return held is not None and held.subscription.sequence > subscription.sequence

    def put(self, subscription: Subscription, places: int, now: float) -> bool:
        """Hold a verified subscription under the keys whose bits are set; whether it is held.

        Keys that a newer subscription no longer names are let go.
        """
        if self.is_stale(subscription):
            return False
        subscriber = subscription.place
        if subscriber not in self._held and len(self._held) >= SUBSCRIBERS_LIMIT:
            self.expire(now)
            if len(self._held) >= SUBSCRIBERS_LIMIT:
                return False
        lifetime_s = min(subscription.lifetime_s, LIFETIME_S)
        held = self._held.setdefault(subscriber, _Held(subscription, now))
        held.subscription = subscription
        held.forgotten_at = max(held.forgotten_at, now + (lifetime_s or LIFETIME_S))
        for key in set(held.expires_at).difference(subscription.keys if lifetime_s else ()):
            self._drop(held, key)
        if lifetime_s:
            for place, key in enumerate(subscription.keys):
                if places >> place & 1:
                    if key not in held.expires_at:
                        self._add(held, key, now)
                    held.expires_at[key] = now + lifetime_s
        return True

    def keys(self) -> set[bytes]:
        """The keys that are held."""
        return set(self._by_key)

    def under(self, key: bytes, now: float) -> list[Subscription]:
        """The live subscriptions that are held under a key, oldest first."""
        found = (self._held[subscriber] for subscriber in self._by_key.get(key, ()))
        return [held.subscription for held in found if held.expires_at[key] > now]

    def of(self, subscriber: bytes, now: float) -> list[tuple[Subscription, set[bytes]]]:
        """The subscriptions of one node, each with the keys that it is held under."""
        found = []
        for slot in range(SLOTS_LIMIT):
            held = self._held.get(subscriber + bytes((slot,)))
            if held is not None:
                keys = {key for key, expires_at in held.expires_at.items() if expires_at > now}
                found.append((held.subscription, keys))
        return found

    def known(self, key: bytes, now: float) -> Known:
        """Which subscribers of a key are known here, and for how long there have been any."""
        if key not in self._by_key:
            return _NOBODY
        age_s = max(0, int(now - self._first_at[key]))
        known = self._known.get(key)
        if known is None or known.age_s != age_s:
            count = min(len(self._by_key[key]), 65_535)
            known = Known(age_s=age_s, count=count, xor=self._xor[key].to_bytes(8))
            self._known[key] = known
        return known

    def expire(self, now: float) -> None:
        """Let go of what was not refreshed."""
        for subscriber, held in list(self._held.items()):
            for key in [key for key, at in held.expires_at.items() if at <= now]:
                self._drop(held, key)
            if not held.expires_at and held.forgotten_at <= now:
                del self._held[subscriber]

    def _add(self, held: _Held, key: bytes, now: float) -> None:
        self._by_key.setdefault(key, {})[held.subscription.place] = None
        self._first_at.setdefault(key, now)
        self._xor[key] = self._xor.get(key, 0) ^ _mark(held)
        self._known.pop(key, None)

    def _drop(self, held: _Held, key: bytes) -> None:
        del held.expires_at[key]
        subscribers = self._by_key[key]
        del subscribers[held.subscription.place]
        self._xor[key] ^= _mark(held)
        self._known.pop(key, None)
        if not subscribers:
            del self._by_key[key], self._first_at[key], self._xor[key]


_NOBODY: Final = Known()


def _mark(held: _Held) -> int:
    return int.from_bytes(held.subscription.subscriber[:8])

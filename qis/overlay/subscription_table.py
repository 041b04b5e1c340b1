"""What a rendezvous node holds: subscriptions as soft state, each key for as long as refreshed.

Nothing live is evicted silently: when the store is full, a newcomer is refused, hears nothing, and
turns to the next node. A withdrawal is remembered until the subscription would have expired, so
that an older one under way does not bring it back.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qis._guard import Guard
from qis.overlay.subscription import SLOTS_LIMIT, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

SUBSCRIBERS_LIMIT: Final = 16_384
"""Subscriptions held at once; full, with 48 keys each, 80 MiB (shared keys) to 380 MiB (none)."""
LIFETIME_S: Final = 1_500
"""Longest a subscription lasts without refresh: 2.5 periods of 600 s."""


@dataclass(slots=True)
class _Held:
    subscription: Subscription
    forgotten_at: float
    """Not before the last of its keys has expired."""


class SubscriptionTable:
    """Subscriptions by key and by subscriber."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard or Guard()
        self.kept_as: Callable[[Subscription], Subscription] = lambda subscription: subscription
        """Gives what is kept of a subscription: an equal one, if nodes of one process share it."""
        self._held: dict[bytes, _Held] = {}
        # When each expires. A subscriber is under keys of its held subscription only.
        self._by_key: dict[bytes, dict[bytes, float]] = {}
        self._first_at: dict[bytes, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    def is_stale(self, subscription: Subscription) -> bool:
        """True if a newer subscription of this subscriber and slot has come already."""
        held = self._held.get(subscription.slot_id)
        return held is not None and held.subscription.sequence > subscription.sequence

    def put(self, subscription: Subscription, key_bits: int, now: float) -> bool:
        """Hold a verified subscription under key i if bit i of `key_bits` is set; true if held.

        Keys that a newer subscription no longer names are let go.
        """
        if self.is_stale(subscription):
            return False
        subscriber = subscription.slot_id
        if subscriber not in self._held and len(self._held) >= SUBSCRIBERS_LIMIT:
            self.expire(now)
            if len(self._held) >= SUBSCRIBERS_LIMIT:
                self._guard.at_limit(
                    "overlay.subscription_table.SUBSCRIBERS_LIMIT",
                    subscription.subscriber.hex(),
                    "a subscription was refused: this holder is full, and the subscriber turns to "
                    "the next node",
                )
                return False
        lifetime_s = min(subscription.lifetime_s, LIFETIME_S)
        expires_at = now + lifetime_s
        held = self._held.setdefault(subscriber, _Held(subscription, expires_at))
        if held.subscription.keys != subscription.keys or not lifetime_s:
            self._let_go(held.subscription, subscription.keys if lifetime_s else ())
        held.subscription = self.kept_as(subscription)
        held.forgotten_at = max(held.forgotten_at, expires_at if lifetime_s else now + LIFETIME_S)
        if lifetime_s:
            for key_index, key in enumerate(subscription.keys):
                if key_bits >> key_index & 1:
                    self._put_under(key, subscriber, expires_at, now)
        return True

    def keys(self) -> set[bytes]:
        """The keys that are held."""
        return set(self._by_key)

    def under(self, key: bytes, now: float) -> list[Subscription]:
        """The live subscriptions that are held under a key, oldest first."""
        found = self._by_key.get(key, {}).items()
        return [self._held[subscriber].subscription for subscriber, at in found if at > now]

    def of(self, subscriber: bytes, now: float) -> list[tuple[Subscription, set[bytes]]]:
        """The subscriptions of one node, each with the keys that it is held under."""
        found = []
        for slot in range(SLOTS_LIMIT):
            slot_id = subscriber + bytes((slot,))
            held = self._held.get(slot_id)
            if held is not None:
                keys = held.subscription.keys
                live = {key for key in keys if self._by_key.get(key, {}).get(slot_id, now) > now}
                found.append((held.subscription, live))
        return found

    def count(self, key: bytes) -> int:
        """How many subscriptions are held under a key."""
        return len(self._by_key.get(key, ()))

    def age_s(self, key: bytes, now: float) -> float:
        """For how many seconds there has been any under a key; 0 if there is none."""
        return now - self._first_at[key] if key in self._by_key else 0.0

    def expire(self, now: float) -> None:
        """Drop what was not refreshed in time."""
        for key, subscribers in list(self._by_key.items()):
            for subscriber in [each for each, at in subscribers.items() if at <= now]:
                self._drop(key, subscriber)
        for subscriber in [each for each, held in self._held.items() if held.forgotten_at <= now]:
            del self._held[subscriber]

    def _let_go(self, before: Subscription, keys: tuple[bytes, ...]) -> None:
        for key in set(before.keys).difference(keys):
            if before.slot_id in self._by_key.get(key, ()):
                self._drop(key, before.slot_id)

    def _put_under(self, key: bytes, subscriber: bytes, expires_at: float, now: float) -> None:
        subscribers = self._by_key.setdefault(key, {})
        if subscriber not in subscribers:
            self._first_at.setdefault(key, now)
        subscribers[subscriber] = expires_at

    def _drop(self, key: bytes, subscriber: bytes) -> None:
        subscribers = self._by_key[key]
        del subscribers[subscriber]
        if not subscribers:
            del self._by_key[key], self._first_at[key]

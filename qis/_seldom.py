"""At most once in a time for each key, or so often a second: strangers must not set the pace."""

import math
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

KEYS_LIMIT: Final = 4_096
"""Keys remembered. While all of them were granted a short time ago, no other key is granted."""


class Seldom(Generic[Key]):
    """Grants each key once in a while.

    Parameters
    ----------
    every_s
        Seconds between two grants of one key, by a clock that never steps.

    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._granted_at: dict[Key, float] = {}

    def allows(self, key: Key, now: float) -> bool:
        """True if the key may be granted now (steady seconds); the grant is then remembered."""
        if not self.would_allow(key, now):
            return False
        self._granted_at.pop(key, None)
        if len(self._granted_at) >= KEYS_LIMIT:
            del self._granted_at[next(iter(self._granted_at))]
        self._granted_at[key] = now
        return True

    def would_allow(self, key: Key, now: float) -> bool:
        """True if the key may be granted now (steady seconds); nothing is remembered."""
        if now - self._granted_at.get(key, -math.inf) < self._every_s:
            return False
        if key in self._granted_at or len(self._granted_at) < KEYS_LIMIT:
            return True
        oldest = next(iter(self._granted_at))
        return now - self._granted_at[oldest] >= self._every_s

    def forget(self, key: Key) -> None:
        """Grant a key anew at once."""
        self._granted_at.pop(key, None)


class Bucket:
    """A leaky bucket that holds what comes in one second.

    Parameters
    ----------
    rate
        How many a second it lets pass for long, and how many at once.

    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._level = 0.0
        self._at = 0.0

    def is_full(self, now: float) -> bool:
        """Whether this one is too many; counts it if it is not."""
        if not self.has_room(now):
            return True
        self.add()
        return False

    def has_room(self, now: float) -> bool:
        """Whether another one is not too many; counts nothing."""
        self._level = max(0.0, self._level - self._rate * max(0.0, now - self._at))
        self._at = max(now, self._at)
        return self._level < self._rate

    def add(self) -> None:
        """Count one."""
        self._level += 1.0

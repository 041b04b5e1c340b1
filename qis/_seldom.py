"""At most once in a time for each key: what strangers can ask for must not be had at their pace."""

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
        if now - self._granted_at.get(key, -math.inf) < self._every_s:
            return False
        self._granted_at.pop(key, None)
        if len(self._granted_at) >= KEYS_LIMIT:
            oldest = next(iter(self._granted_at))
            if now - self._granted_at[oldest] < self._every_s:
                return False
            del self._granted_at[oldest]
        self._granted_at[key] = now
        return True

    def forget(self, key: Key) -> None:
        """Grant a key anew at once."""
        self._granted_at.pop(key, None)

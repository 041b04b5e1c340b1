"""How much work one source may cause: a leaky bucket each, so that one cannot starve others."""

from typing import Final

from qis._guard import Guard
from qis.overlay.addresses import subnet_of
from qis.overlay.lru_cache import LruCache

RATE: Final = 5_000.0
"""Messages a second that a source may send for long."""
BURST: Final = 20_000.0
"""Messages at once."""
SOURCES_LIMIT: Final = 4_096
"""Sources remembered; the one heard of longest ago goes first, and starts again with all."""


class RateLimiter:
    """Counts messages by source: the node that a channel has authenticated, else the subnet."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard or Guard()
        self._spent: LruCache[bytes, tuple[float, float]] = LruCache(SOURCES_LIMIT)

    def allows(
        self, address: bytes, now: float, *, sender: bytes | None = None, messages: int = 1
    ) -> bool:
        """True if messages from this address, or from the node of this key, may be handled now."""
        source = subnet_of(address) if sender is None else sender
        spent, at = self._spent.get(source, (0.0, now))
        spent = max(0.0, spent - RATE * max(0.0, now - at))
        allowed = spent < BURST
        # What is refused costs nothing, so a source that sends on is served at RATE, not shut out.
        self._spent.put(source, (spent + allowed * messages, max(at, now)))
        self._forget_idle(now)
        if not allowed:
            self._guard.at_limit(
                "overlay.rate_limiter.BURST",
                source.hex(),
                "messages of this node or subnet were refused: it sends more than its budget, and "
                "what it sends again comes later",
                times=messages,
            )
        return allowed

    def _forget_idle(self, now: float) -> None:
        """Let the oldest go if they have all their budget again, as after any short pause."""
        while self._spent:
            source, (spent, at) = next(iter(self._spent.items()))
            if spent > RATE * (now - at):
                break
            del self._spent[source]

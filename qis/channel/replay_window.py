"""Which numbers have come: each once, in any order within a window (RFC 6479's purpose)."""

from typing import Final

WINDOW: Final = 1_024
"""How far a number may lie behind the highest; beyond that it is too old to tell."""


class ReplayWindow:
    """Remembers the numbers of one session."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0  # bit i: number `_highest - i` has come

    @property
    def highest(self) -> int:
        """The highest number that has come; -1 before any."""
        return self._highest

    def has_room(self, number: int) -> bool:
        """True if the number is new and within the window."""
        behind = self._highest - number
        return behind < 0 or (behind < WINDOW and not self._seen >> behind & 1)

    def note(self, number: int) -> None:
        """Remember a number; only once what it came with has been authenticated."""
        ahead = number - self._highest
        if ahead > 0:
            self._seen = (self._seen << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
            self._highest = number
        else:
            self._seen |= 1 << -ahead

"""Something that has to be done again soon, but not at every occasion."""

import random
from collections.abc import Callable
from typing import Final

from qis.overlay.timers import Timers

FIRST_S: Final = 0.25
LAST_S: Final = 60.0
"""Pauses double from the first to the last while occasions come, so that a network that grows
without end causes less and less."""
CALM_S: Final = 600.0
"""After so long without an occasion the pauses begin anew."""


class Soon:
    """Calls `action(now)` a little after it was asked for, however often that was."""

    def __init__(self, timers: Timers, rng: random.Random, action: Callable[[float], None]) -> None:
        self._timers = timers
        self._rng = rng
        self._action = action
        self._pause_s = FIRST_S
        self._asked_at = 0.0
        self.is_due = False

    def ask(self, now: float) -> None:
        """Have it done soon."""
        if now - self._asked_at > CALM_S:
            self._pause_s = FIRST_S
        self._asked_at = now
        if not self.is_due:
            self.is_due = True
            self._timers.start(now + self._pause_s * self._rng.uniform(0.8, 1.2), self._do)
            self._pause_s = min(2.0 * self._pause_s, LAST_S)

    def _do(self, now: float) -> None:
        self.is_due = False
        self._action(now)

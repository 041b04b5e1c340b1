"""Runs an action once for several requests that come close together."""

import random
from collections.abc import Callable
from typing import Final

from qis.overlay.timers import Timers

PAUSE_S: Final = 0.25
"""From the first request until the action, ± 20 %: requests in between are served by it too."""


class Debouncer:
    """Calls `action(now)` some 0.25 s after the first request, once for all requests until then."""

    def __init__(self, timers: Timers, rng: random.Random, action: Callable[[float], None]) -> None:
        self._timers = timers
        self._rng = rng
        self._action = action
        self.is_due = False

    def ask(self, now: float) -> None:
        """Ask for the action, to be run soon."""
        if not self.is_due:
            self.is_due = True
            self._timers.start(now + PAUSE_S * self._rng.uniform(0.8, 1.2), self._do)

    def _do(self, now: float) -> None:
        self.is_due = False
        self._action(now)

"""What has to be done later, in order of time and, at the same time, of asking."""

import heapq
from collections.abc import Callable
from itertools import count

from qis._guard import Guard


class Timer:
    """Something to be done at a time, unless cancelled."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[float], None]) -> None:
        self.action: Callable[[float], None] | None = action

    def cancel(self) -> None:
        """Cancel the timer: its action is not called."""
        self.action = None


class Timers:
    """A queue of timers; its owners bound how many they start.

    Parameters
    ----------
    guard
        Contains what an action raises: the others are done all the same. What has to come again
        starts its next timer before it does anything else. Default: one that tells the log.

    """

    def __init__(self, guard: Guard | None = None) -> None:
        self.guard = Guard() if guard is None else guard
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def start(self, at: float, action: Callable[[float], None]) -> Timer:
        """Have `action(now)` called once `at`, of the clock that gives `now`, has come."""
        timer = Timer(action)
        heapq.heappush(self._heap, (at, next(self._order), timer))
        return timer

    def next_at(self) -> float | None:
        """When the first is due."""
        while self._heap and self._heap[0][2].action is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Do what is due."""
        while (at := self.next_at()) is not None and at <= now:
            action = heapq.heappop(self._heap)[2].action
            if action is not None:
                with self.guard.item("overlay.timer"):
                    action(now)

"""What happens on a network inside one process, in the order of its own time.

Time is virtual: it moves from one event to the next without anybody waiting, and only while
something is under way. What is due later, such as a refresh in ten minutes, waits for `advance`.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[float], None]


class VirtualTime:
    """A queue of timed actions that an asyncio event loop works through.

    Parameters
    ----------
    now
        Unix seconds at which it begins.
    is_busy
        True while some node waits for an action that is due later.

    """

    def __init__(self, now: float, is_busy: Callable[[], bool]) -> None:
        self.now = now
        self._is_busy = is_busy
        self._agenda: list[tuple[float, int, Action, bool]] = []
        self._order = count()
        self._under_way = 0
        self._pump: asyncio.Handle | None = None

    @property
    def is_settled(self) -> bool:
        """True if nothing is under way and no node waits."""
        return not self._under_way and not (self._agenda and self._is_busy())

    def at(self, when: float, action: Action, *, is_under_way: bool) -> None:
        """Schedule an action; `is_under_way`: time advances by itself to reach it."""
        self._under_way += is_under_way
        entry = (max(when, self.now), next(self._order), action, is_under_way)
        heapq.heappush(self._agenda, entry)
        self.go_on()

    def go_on(self) -> None:
        """Go on in the running event loop; if none runs, at the next call inside one."""
        if self._pump is None and not self.is_settled:
            try:
                self._pump = asyncio.get_running_loop().call_soon(self._turn)
            except RuntimeError:  # made outside of an event loop: its first use goes on
                return

    async def settle(self) -> None:
        """Return once nothing is under way any more."""
        self.go_on()
        while not self.is_settled:  # noqa: ASYNC110  each turn of the loop does one thing
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Advance the time by some seconds, running each action when it is due."""
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            self._do_next()
            await asyncio.sleep(0)
        self.now = end

    def _turn(self) -> None:
        self._pump = None
        if not self.is_settled:
            try:
                self._do_next()
            finally:  # whatever one node does, the others' time goes on
                self.go_on()

    def _do_next(self) -> None:
        when, _, action, is_under_way = heapq.heappop(self._agenda)
        self._under_way -= is_under_way
        self.now = max(self.now, when)
        action(self.now)

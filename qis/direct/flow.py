"""What goes to one member: numbered transmissions, acknowledged, repeated by measured round trips.

Every transmission has a number of its own, also a repeated one, so that each acknowledgement gives
a round trip (RFC 6298) and shows which earlier ones were lost (RFC 9002, 6.1.1). How much is under
way follows what arrives: it grows with acknowledgements and is halved by a loss (RFC 5681), and it
leaves in portions that are spread over a round trip.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from qis.direct.frames import PROBE, Frame, encode
from qis.overlay.round_trips import RoundTrips

WAITING_LIMIT: Final = 16_384
"""Frames that wait for one member; a further one is dropped, and comes when sets are compared."""
FIRST_WINDOW: Final = 8.0
LEAST_WINDOW: Final = 2.0
WINDOW_LIMIT: Final = 64.0
PORTION: Final = 8
"""Frames that leave together."""
LATER_LOST: Final = 3
"""An acknowledgement of a transmission this much later shows that an earlier one was lost."""
TRIES_LIMIT: Final = 8
"""Transmissions of one frame while others are acknowledged: its receiver cannot take it now."""
FORMER_LIMIT: Final = 512
"""Transmissions believed lost whose late acknowledgement still counts."""


@dataclass(slots=True, eq=False)
class QueuedFrame:
    """A frame on its way to one member; `packet_id` if it is a packet."""

    frame: Frame
    packet_id: bytes = b""
    is_done: bool = False
    tries: int = 0


class Flow:
    """The frames on their way to one member."""

    def __init__(self) -> None:
        self.round_trips = RoundTrips()
        self.expiries = 0
        """Times in a row that nothing was acknowledged."""
        self._number = 0
        self._waiting: deque[QueuedFrame] = deque()
        self._later: list[tuple[float, QueuedFrame]] = []
        self._packets: set[bytes] = set()
        self._under_way: OrderedDict[int, tuple[QueuedFrame, float]] = OrderedDict()
        self._former: OrderedDict[int, tuple[QueuedFrame, float]] = OrderedDict()
        self._window = FIRST_WINDOW
        self._threshold = WINDOW_LIMIT
        self._recover = 0
        self._due_at: float | None = None
        self._next_at = 0.0

    @property
    def is_idle(self) -> bool:
        """True if nothing is under way, and nothing waits but what its receiver has put off."""
        return not self._waiting and not self._under_way

    @property
    def is_over(self) -> bool:
        """True if nothing is left to be sent or waited for."""
        return self.is_idle and not self._later

    def put(self, item: QueuedFrame) -> bool:
        """Queue a frame, a packet only once; false if there is no room."""
        if item.packet_id and item.packet_id in self._packets:
            return True
        if len(self._waiting) >= WAITING_LIMIT:
            return False
        if item.packet_id:
            self._packets.add(item.packet_id)
        self._waiting.append(item)
        return True

    def clear(self) -> list[QueuedFrame]:
        """Give everything up; returns what was not acknowledged."""
        lost = [item for item, _ in self._under_way.values()] + list(self._waiting)
        self._former.update(self._under_way)
        self._trim()
        self._under_way.clear()
        self._waiting.clear()
        self._packets.clear()
        self._later.clear()
        self._due_at = None
        return [item for item in lost if not item.is_done]

    def take(self, now: float) -> list[bytes]:
        """The encoded frames that may leave now."""
        found: list[bytes] = []
        if self._later:
            self._waiting.extend(item for at, item in self._later if at <= now)
            self._later = [each for each in self._later if each[0] > now]
        while self._waiting and len(self._under_way) < self._window and len(found) < PORTION:
            if now < self._next_at:
                break
            item = self._waiting.popleft()
            if item.is_done:
                continue
            item.tries += 1
            self._number = self._number % (PROBE - 1) + 1
            self._under_way[self._number] = (item, now)
            found.append(encode(item.frame, self._number))
        if found:
            smoothed_s = self.round_trips.smoothed_s
            if smoothed_s is not None and len(found) == PORTION:
                self._next_at = now + PORTION * smoothed_s / self._window
            if self._due_at is None:
                self._due_at = now + self.round_trips.timeout_s
        return found

    def next_at(self) -> float | None:
        """When `expire` or `take` has something to do."""
        found = self._due_at
        if (
            self._waiting
            and len(self._under_way) < self._window
            and (found is None or self._next_at < found)
        ):
            found = self._next_at
        if self._later:
            later = min(at for at, _ in self._later)
            found = later if found is None else min(found, later)
        return found

    def acknowledged(self, numbers: Iterable[int], now: float) -> list[QueuedFrame]:
        """Take acknowledgements in; the items that are done by them."""
        done = []
        newest = 0
        for number in numbers:
            found = self._under_way.pop(number, None) or self._former.pop(number, None)
            if found is None:
                continue
            item, sent_at = found
            self.round_trips.measured(now - sent_at)
            self.expiries = 0
            newest = max(newest, number)
            if self._window < self._threshold:
                self._window = min(self._window + 1.0, WINDOW_LIMIT)
            else:
                self._window = min(self._window + 1.0 / self._window, WINDOW_LIMIT)
            if not item.is_done:
                item.is_done = True
                self._packets.discard(item.packet_id)
                done.append(item)
        if newest:
            self._lose([number for number in self._under_way if number + LATER_LOST <= newest])
            self._due_at = now + self.round_trips.timeout_s if self._under_way else None
        return done

    def put_off(self, item: QueuedFrame, now: float) -> None:
        """Send again later what its receiver cannot judge now; each time later."""
        if item.tries < TRIES_LIMIT:
            item.is_done = False
            self._later.append((now + 2.0 ** min(item.tries, 6), item))

    def expire(self, now: float) -> bool:
        """Repeat what was not acknowledged in time; true if that was so."""
        if self._due_at is None or now < self._due_at:
            return False
        self.round_trips.expired()
        self.expiries += 1
        self._lose(list(self._under_way))
        self._window = LEAST_WINDOW
        self._due_at = None
        return True

    def _lose(self, numbers: list[int]) -> None:
        """Queue again what these transmissions carried, before all else."""
        if not numbers:
            return
        for number in reversed(numbers):
            self._former[number] = self._under_way.pop(number)
            item = self._former[number][0]
            if item.tries >= TRIES_LIMIT:
                item.is_done = True
                self._packets.discard(item.packet_id)
            elif not item.is_done:
                self._waiting.appendleft(item)
        self._trim()
        if numbers[-1] > self._recover:  # once for all that was under way then (RFC 6582)
            self._recover = self._number
            self._threshold = max(self._window / 2.0, LEAST_WINDOW)
            self._window = self._threshold

    def _trim(self) -> None:
        while len(self._former) > FORMER_LIMIT:
            self._former.popitem(last=False)

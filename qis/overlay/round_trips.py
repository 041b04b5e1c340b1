"""How long to wait for an answer: measured round trips, as RFC 6298 has it.

Each transmission has a number of its own, so an answer always says which one it answers, and every
round trip can be used (RFC 6298, section 3, forbids those of repeated segments only because they
are ambiguous).
"""

from typing import Final

FIRST_S: Final = 1.0
"""Before any round trip is known (RFC 6298, 2.1)."""
LEAST_S: Final = 0.2
"""RFC 6298 (2.4) has 1 s, for clocks of half a second; ours are finer."""
MOST_S: Final = 60.0
GRANULARITY_S: Final = 0.01
_ALPHA: Final = 1 / 8
_BETA: Final = 1 / 4


class RoundTrips:
    """The smoothed round trip to one peer, its variation, and the time to wait."""

    __slots__ = ("_backed_off", "smoothed_s", "variation_s")

    def __init__(self) -> None:
        self.smoothed_s: float | None = None
        self.variation_s = 0.0
        self._backed_off = 0

    @property
    def timeout_s(self) -> float:
        """Seconds to wait for an answer before it is asked again, back-off included."""
        if self.smoothed_s is None:
            base = FIRST_S
        else:
            base = self.smoothed_s + max(GRANULARITY_S, 4.0 * self.variation_s)
        return min(max(base, LEAST_S) * 2.0 ** min(self._backed_off, 16), MOST_S)

    def measured(self, round_trip_s: float) -> None:
        """Take a round trip in (RFC 6298, 2.2 and 2.3); this ends the back-off."""
        seconds = max(0.0, round_trip_s)
        if self.smoothed_s is None:
            self.smoothed_s, self.variation_s = seconds, seconds / 2.0
        else:
            deviation = abs(self.smoothed_s - seconds)
            self.variation_s += _BETA * (deviation - self.variation_s)
            self.smoothed_s += _ALPHA * (seconds - self.smoothed_s)
        self._backed_off = 0

    def expired(self) -> None:
        """Nothing has come in time: wait twice as long from now on (RFC 6298, 5.5)."""
        self._backed_off += 1

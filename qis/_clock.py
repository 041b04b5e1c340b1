"""The two clocks of a machine, kept apart.

The *wall* clock says which date it is. A person, an administrator or NTP may step it, forwards or
back, while a program runs: it is asked only where a date is meant, such as whether a packet is
valid. The *steady* clock never steps; it measures intervals, and its zero means nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self


def _steady_clock() -> Callable[[], float]:
    """The monotonic clock that also runs while the machine sleeps.

    Others close their ends of a session meanwhile, so this end has to see that time has passed.
    """
    identifier = getattr(time, "CLOCK_BOOTTIME", None)  # Linux, whose CLOCK_MONOTONIC stops
    if identifier is not None:
        try:
            time.clock_gettime(identifier)
        except OSError:  # a kernel or a sandbox that does not know it
            return time.monotonic
        return lambda: time.clock_gettime(identifier)
    return time.monotonic


@dataclass(frozen=True, slots=True)
class Clock:
    """A wall clock and a steady clock.

    Parameters
    ----------
    wall
        Gives Unix seconds; may step.
    steady
        Gives seconds since some moment; never steps.
    tells_steps
        True if both run at the same rate, so that a change of their difference means that somebody
        set the date.

    """

    wall: Callable[[], float]
    steady: Callable[[], float]
    tells_steps: bool = True

    @classmethod
    def of(cls, wall: Callable[[], float]) -> Self:
        """The clock of a ``clock=`` argument: with its own `steady` if it has one, as virtual ones.

        Otherwise the machine's steady clock goes with it, which for a date of another make need not
        run as fast.
        """
        steady: Callable[[], float] | None = getattr(wall, "steady", None)
        if steady is None:
            return cls(wall, SYSTEM.steady, tells_steps=wall is time.time)
        return cls(wall, steady)

    def unix_s(self, steady_s: float) -> float:
        """Convert a reading of the steady clock to Unix seconds, by what both clocks say now."""
        return self.wall() - self.steady() + steady_s


SYSTEM: Final = Clock(time.time, _steady_clock())
"""The machine's own."""

"""A clock for tests, which moves only when it is told to."""

from dataclasses import dataclass

from qis._gate import checked
from qis._given import END_OF_TIME_S, point_in_time, real_number
from qis.errors import InputError


@dataclass(slots=True)
class VirtualClock:
    """Call it for the date; `advance` it by hand. Fits every `clock=` in qis.

    It is two clocks in one: the date, which may be set, and a steady one, which only advances.

    Parameters
    ----------
    now
        The date, in Unix seconds.
    passed
        Seconds that have passed, whatever the date was set to.

    Examples
    --------
    >>> from qis.testing import VirtualClock
    >>> clock = VirtualClock()
    >>> clock.advance(5.0)
    >>> clock(), clock.steady()
    (1800000005.0, 5.0)

    """

    now: float = 1_800_000_000.0
    passed: float = 0.0

    def __post_init__(self) -> None:
        self.now = point_in_time(self.now, "now")
        self.passed = real_number(self.passed, "passed", 0.0, END_OF_TIME_S)

    def __call__(self) -> float:
        """The date, in Unix seconds."""
        return self.now

    def steady(self) -> float:
        """Seconds that have passed; `set` does not change it."""
        return self.passed

    @checked
    def set(self, now: float) -> None:
        """Set the date, forwards or back, as an administrator or NTP does. No time passes."""
        self.now = now

    @checked
    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises
        ------
        InputError
            If `seconds` is negative.

        """
        if seconds < 0.0:
            raise InputError("time does not go back", field="seconds", actual=seconds, limit=0.0)
        self.now += seconds
        self.passed += seconds

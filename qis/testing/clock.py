"""A clock that moves when it is told to."""

from dataclasses import dataclass

from qis.errors import InputError


@dataclass(slots=True)
class VirtualClock:
    """Call it for the time; `advance` it by hand. Fits every `clock=` in qis.

    Parameters
    ----------
    now
        Unix seconds.

    """

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """The time, in Unix seconds."""
        return self.now

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

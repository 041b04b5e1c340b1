"""What a part of `claims.py` is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """How thoroughly, with which data, and whom to tell.

    Parameters
    ----------
    effort
        0 quick (minutes in all), 1 for the figures (eight minutes), 2 for the record.
    data
        Folder of what cannot be packaged (UCI heart disease, published cases), if it is there.
    said
        Called with each step.
    flwr
        The Python of an environment that has the framework, if there is one.

    """

    effort: int
    data: Path | None
    said: Callable[[str], None]
    flwr: Path | None = None

    def of(self, quick: int, figures: int, record: int) -> int:
        """The value for this effort."""
        return (quick, figures, record)[self.effort]

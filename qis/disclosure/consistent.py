"""What all consistent tables say together, and the whole numbers that they are looked for among."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from qis.disclosure.finding import Finding
from qis.disclosure.printed import TOLERANCE

System = list[tuple[Finding, ...]]
"""All tables that are consistent with one part of an outcome; each is its cells."""
EXACT: Final = 1e-9
"""Relative error of numbers that were computed in float64 and not rounded."""
MOST_NUMBERS: Final = 20_000
"""Most candidates for one unknown count."""


def most_likely(limit: int) -> float:
    """The largest share that one small value may have among the tables that fit.

    Half as much again as the commonest of `limit` − 1 values has by chance.
    """
    return min(1.0, 1.5 / max(1, limit - 1))


def is_told(tables: int, with_small: int, most: int, limit: int) -> bool:
    """True if each table that fits has a small cell, or most have and one value is too frequent.

    Parameters
    ----------
    tables, with_small
        Number of tables that fit, and of those with a cell of 1 to `limit` - 1.
    most
        In how many of them the commonest of these values is in the cell where it is commonest.
    limit
        Smallest count above zero that may be derivable.

    """
    if with_small == tables or 2 * with_small <= tables:
        return 0 < with_small == tables
    return most > most_likely(limit) * tables


def as_findings(attack: str, table: Iterable[float]) -> tuple[Finding, ...]:
    """The cells of a table of two arms."""
    names = "events", "others", "control events", "control others"
    cells = zip(names, table, strict=True)
    return tuple(Finding(attack, name, int(cell)) for name, cell in cells)


def whole_numbers(low: float, high: float) -> Iterator[int]:
    """Whole numbers of an interval, with room for rounding errors, at most `_MOST`."""
    slack = TOLERANCE * max(1.0, abs(high)) * 1e-3
    first, last = math.ceil(low - slack), math.floor(high + slack)
    yield from islice(range(max(0, first), last + 1), MOST_NUMBERS)

"""The smallest groups that rows make by yes/no columns, and the largest shares of single people.

They fill a `DataSummary`. Only columns of two or three values make groups here: those are the ones
whose counts can be read from a sum and a sum of squares.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_LEVELS: Final = 3
"""A column with more values than this is not a table's margin: its sums do not give the counts."""
_MOST_PATTERNED: Final = 10
_MOST_OF_THREE: Final = 50_000
"""Above this many people groups by three features are not counted; the work grows with n."""


def levels_of(column: Floats) -> list[Floats]:
    """The indicators of a column's values, if it has two or three; else none."""
    low, high = column.min(), column.max()
    if low == high:
        return []
    is_low, is_high = column == low, column == high
    between = ~(is_low | is_high)
    middle = column[between]
    if len(middle) and (middle != middle[0]).any():
        return []
    found = [is_low, is_high] + [between] * bool(len(middle))
    return [level.astype(np.float64) for level in found[:_MOST_LEVELS]]


def smallest_groups(columns: Sequence[Floats]) -> tuple[int, int | None]:
    """The smallest group by one or two columns, and by three, as in `DataSummary`.

    Parameters
    ----------
    columns
        Values of each person, each of shape (n,).

    """
    levels = [(nth, level) for nth, column in enumerate(columns) for level in levels_of(column)]
    if not levels:
        return 0, 0
    owner = np.array([nth for nth, _ in levels])
    table = np.column_stack([level for _, level in levels])
    pairs = table.T @ table
    smallest = _positive(pairs)
    if len(table) > _MOST_OF_THREE:
        return smallest, None
    of_three = [
        _positive((table[:, nth, np.newaxis] * table).T @ table)
        for nth in range(len(owner))
    ]  # fmt: skip
    return smallest, min((cell for cell in of_three if cell), default=0)


def patterns_of(
    features: Floats,
) -> tuple[tuple[int, ...], tuple[tuple[tuple[float, ...], int], ...]]:
    """The columns of two values, and how many people have each pattern of values in them.

    Nothing of more than ten such columns, whose patterns are too many to be solved for.
    """
    low, high = features.min(axis=0), features.max(axis=0)
    is_two = ((features == low) | (features == high)).all(axis=0) & (low < high)
    columns = np.flatnonzero(is_two)
    if not 0 < len(columns) <= _MOST_PATTERNED:
        return (), ()
    patterns, people = np.unique(features[:, columns], axis=0, return_counts=True)
    pairs = zip(patterns.tolist(), people.tolist(), strict=True)
    return tuple(columns.tolist()), tuple((tuple(pattern), n) for pattern, n in pairs)


def shares_of(contributions: Floats) -> tuple[float, float]:
    """The largest share and that of the two largest, of contributions that are not negative."""
    whole = float(contributions.sum())
    if whole <= 0.0:
        return 0.0, 0.0
    largest = np.sort(contributions)[-2:]
    return float(largest[-1]) / whole, float(largest.sum()) / whole


def _positive(cells: Floats) -> int:
    found = cells[cells > 0.5]
    return round(float(found.min())) if len(found) else 0

"""What looks wrong in a table, though nobody can be sure: repeated ids, groups, serial dates.

What cannot be right is refused; what is only suspicious is a `UserWarning` at the line that read
the table, since the caller may know better.
"""

import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from qis.errors import InputError

_ID_NAME: Final = re.compile(
    r"id|mrn|patient|subject|participant|case|record|person|proband"
    r"|u?(patient|pat|subject|subj|participant|part|case|record|person|proband|fall|p|s)?"
    r"(id|ids|nr|no|num|number|nummer|code|identifier)"
)
"""Names of columns with the ids of people, their letters only; not those of studies and sites."""
_NOT_IDS: Final = frozenset({"no", "num", "number", "nummer", "code", "nr"})
_MOST_NAMED: Final = 5
_FREQUENCIES: Final = frozenset({"freq", "frequency", "count", "counts", "n"})
_COUNT_NAMES: Final = _FREQUENCIES | {"total", "number"}
# A spreadsheet counts days from 1899-12-30: 1970-01-01 is 25569, 2099-12-31 is 73050.
_SERIAL_DATES: Final = (25_569.0, 73_050.0)
# Measured values often are that large; as dates only those from 1990 to 2035 are likely.
_RECENT_DATES: Final = (32_874.0, 49_674.0)


def check_ids(
    patient: str | None,
    names: Sequence[str],
    get: Callable[[str], list[Any]],
    kept: Sequence[int],
) -> None:
    """Refuse ids that repeat where the caller named their column, else warn of what looks so.

    Texts that differ only by capitals and by spaces around them are one id.
    """
    for column in [name for name in names if _names_ids(name)] if patient is None else [patient]:
        values = get(column)
        rows: dict[Any, list[int]] = {}
        for row in kept:
            if not is_missing(values[row]):
                rows.setdefault(_folded(values[row]), []).append(row + 1)
        again = [found for found in rows.values() if len(found) > 1]
        if not again:
            continue
        # The rows are named and not the id, since errors and warnings get into logs.
        first = ", ".join(map(str, again[0][:_MOST_NAMED]))
        ids = f"{len(again)} ids" if len(again) > 1 else "1 id"
        words = f"{ids} of column {column!r} in several rows, such as rows {first}"
        if patient is not None:
            raise InputError(f"patient: {words}; each row must be one patient", field="patient")
        _warn(
            f"{words}: each row is taken for one patient (patient={column!r} refuses this)", depth=3
        )


def refuse_aggregated(
    names: Sequence[str], get: Callable[[str], list[Any]], used: Iterable[str], how: str
) -> None:
    """Refuse a table of frequencies where one row a patient is expected; warn of what may be one.

    It is one if no combination of levels comes twice, and an unused column that is named like a
    frequency holds whole numbers, some above 1.

    Parameters
    ----------
    names, get
        The table's columns.
    used
        Columns with the levels.
    how
        What to do with such a table instead.

    """
    used = list(used)
    combinations = list(zip(*(map(key_of, get(column)) for column in used), strict=True))
    rows = len(get(names[0])) if names else 0
    distinct = len(set(combinations)) if used else 1
    for name in names:
        folded = name.casefold()
        if folded not in _COUNT_NAMES or name in used:
            continue
        values = get(name)
        whole = all(isinstance(v, (int, float)) and float(v).is_integer() for v in values)
        if not whole or not any(value > 1 for value in values):
            continue
        if distinct == rows:
            raise InputError(
                f"frequency: each row looks like a group of people, whose number is in column "
                f"{name!r}: {how.format(name)}, or a table without this column if each row is one "
                "patient",
                field="frequency",
            )
        if folded in _FREQUENCIES:
            _warn(
                f"column {name!r} is not used, and may say how many people a row stands for: each "
                "row is taken for one patient",
                depth=2,
            )


def warn_of_serial_dates(
    values: Sequence[float], column: str, field: str, why: str, *, measured: bool = False
) -> None:
    """Warn if all numbers look like dates that a spreadsheet has turned into days since 1899."""
    low, high = _RECENT_DATES if measured else _SERIAL_DATES
    if values and all(low <= value <= high and value == int(value) for value in values):
        _warn(
            f"{field}: column {column!r} goes from {min(values):.0f} to {max(values):.0f}, all "
            f"whole, as dates do that a spreadsheet has turned into numbers of days; {why}",
            depth=2 if measured else 3,
        )


def is_missing(value: Any) -> bool:
    """True of None, NaN, and the missing values of pandas and numpy."""
    # pandas' NA and NaT are recognised by name, since pandas need not be there.
    if value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    return isinstance(value, (float, Decimal)) and math.isnan(value)


def key_of(value: Any) -> Any:
    """Return the value if it can be counted, else its text."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _names_ids(name: str) -> bool:
    letters = re.sub(r"[^a-z]", "", name.casefold())
    return letters not in _NOT_IDS and _ID_NAME.fullmatch(letters) is not None


def _folded(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else key_of(value)


def _warn(message: str, depth: int) -> None:
    """Warn at the line that called `from_frame`, which is `depth` calls above this one's caller."""
    warnings.warn(message, UserWarning, stacklevel=depth + 2)

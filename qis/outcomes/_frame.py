"""Tables of people, or of arms, as outcomes read them: pandas, polars, pyarrow, or plain columns.

A table says less than it seems to. Nothing is guessed here: the caller names which level is the
event and which arm is treated, every other level is refused, and so is what is missing unless it
is to be dropped. What is only suspicious (ids that repeat, numbers that look like dates) is a
`UserWarning`, since the caller may know better.
"""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any, Final, Literal, NoReturn

from qis._given import holds_dates, shown
from qis.errors import InputError, MissingExtraError
from qis.outcomes._frame_notices import (
    check_ids,
    is_missing,
    key_of,
    warn_of_serial_dates,
)

Levels = tuple[str, Any, Any]
"""A column, the level that counts as yes (event, treated arm), and the one that counts as no."""
Missing = Literal["refuse", "drop"]

_MOST_NAMED: Final = 5
_LEVELS_OF: Final = {
    "event": "(column, level of an event, level of none)",
    "arm": "(column, treated arm, control arm)",
    "treated": "(column, treated arm, control arm)",
}
_COMMA: Final = re.compile(r"\s*[-+]?\d[\d.\s]*,\d+\s*")
_DATE: Final = re.compile(
    r"\s*(\d{4}-\d{1,2}-\d{1,2}.*|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}"
    r"|\d{1,2}[-. ]?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*([-. ]?\d{2,4})?)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table that are used, without the rows that were dropped.

    Parameters
    ----------
    columns
        Plain Python values by column.
    rows
        Number of each row in the table as it was given, from 1.
    dropped
        In words which rows were dropped and why; empty if none was.

    """

    columns: dict[str, list[Any]]
    rows: list[int]
    dropped: str

    def numbers(self, column: str, field: str, low: float = -math.inf) -> list[float]:
        """A column of finite numbers, each `low` or more; texts, dates and booleans are refused."""
        values = self.columns[column]
        for row, value in zip(self.rows, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
                self._refuse_cell(column, field, row, value)
            if not low <= float(value) < math.inf:
                least = "finite" if low == -math.inf else f"finite and {low:g} or more"
                _refuse(field, f"row {row} of column {column!r} is {value}; it must be {least}")
        return [float(value) for value in values]

    def whole_numbers(self, column: str, field: str, low: int = 0) -> list[int]:
        """A column of whole numbers; floats that are whole pass, as pandas makes them of gaps."""
        found = self.numbers(column, field, low)
        for row, value in zip(self.rows, found, strict=True):
            if value != int(value):
                _refuse(field, f"row {row} of column {column!r} is {value}, no whole number")
        return [int(value) for value in found]

    def times(self, column: str, field: str) -> list[float]:
        """A column of durations, not negative, with a warning if they look like dates."""
        found = self.numbers(column, field, 0.0)
        warn_of_serial_dates(
            found, column, field, "times are counted from each patient's own start"
        )
        return found

    def flags(self, levels: Levels, field: str) -> list[bool]:
        """Whether each row has the first of two levels; any third level is refused."""
        column, yes, no = levels
        values = self.columns[column]
        known = [_same(value, yes) or _same(value, no) for value in values]
        if not all(known):
            others = [v for v, is_known in zip(values, known, strict=True) if not is_known]
            row = self.rows[known.index(False)]
            hint = ""
            counts = [v for v in others if isinstance(v, (int, float)) and v > 1]
            if 2 * len(counts) > len(values):
                hint = "; if each row is a whole arm, give its counts with events= and total="
            elif any(isinstance(v, date) or _DATE.fullmatch(str(v)) for v in others):
                hint = "; a spreadsheet may have turned it into a date"
            elif any(str(v) in (str(yes), str(no)) for v in others):
                hint = "; text and numbers are told apart, so give the level as it is in the table"
            found = ", ".join(
                f"{v!r:.40} ({n})" for v, n in Counter(map(key_of, others)).most_common(5)
            )
            _refuse(
                field,
                f"{len(others)} of {len(values)} rows of column {column!r} are neither {yes!r} nor "
                f"{no!r} but {found}, first in row {row}: leave those rows out, or name the two "
                f"levels{hint}",
            )
        return [_same(value, yes) for value in values]

    def by_arm(
        self, arm: Levels | None, treated: Sequence[bool]
    ) -> Iterator[tuple[str, list[int]]]:
        """Offsets of the rows of each arm, with the prefix of its fields; an empty arm is refused.

        Without `arm` there is one arm, of all rows.
        """
        for prefix, side in (("", True), ("control_", False))[: 1 if arm is None else 2]:
            own = [i for i in range(len(treated)) if treated[i] is side]
            if arm is not None and not own:
                name = arm[1 if side else 2]
                _refuse("arm", f"no row is in the arm {name!r}, and a comparison needs both")
            yield prefix, own

    def _refuse_cell(self, column: str, field: str, row: int, value: Any) -> NoReturn:
        what = f"row {row} of column {column!r} is {value!r:.40}"
        values = self.columns[column]
        if isinstance(value, str) and _COMMA.fullmatch(value):
            number = sum(isinstance(v, str) and _COMMA.fullmatch(v) is not None for v in values)
            how = f"{number} of {len(values)} are texts with a decimal comma (or commas between "
            how += 'thousands): read the file with decimal=","'
        elif isinstance(value, date) or (isinstance(value, str) and _DATE.fullmatch(value)):
            how = "a date, where a number is needed: subtract each patient's own start"
        elif isinstance(value, timedelta):
            how = "a duration: divide it by its unit, such as timedelta(days=1)"
        elif isinstance(value, str):
            how = "a text, where a number is needed; if it stands for a missing value, say so when "
            how += "the file is read"
        else:
            how = f"a {type(value).__name__}, where a number is needed"
        _refuse(field, f"{what}: {how}")


def read_table(
    frame: Any,
    used: Mapping[str, Any],
    *,
    missing: Missing,
    patient: str | None,
    needed: Iterable[str] = (),
) -> Table:
    """Read the columns that are used: a column's name, or `Levels`, by the parameter's name.

    `needed` are the parameters that may not be `None`.

    Raises
    ------
    InputError
        If a column is not there, values are missing (and not to be dropped), there is no row, or a
        patient's id (`patient`) is in several rows.
    MissingExtraError
        If the table is a data frame and narwhals is not installed.

    """
    given_missing: object = missing  # whatever was passed: an array could not be compared below
    if not isinstance(given_missing, str) or given_missing not in ("refuse", "drop"):
        _refuse("missing", f"{shown(missing)} must be 'refuse' or 'drop'")
    names, get = open_table(frame)
    for field in needed:
        if used[field] is None:
            _refuse(field, "None; give the name of its column")
    wanted = {field: _column_of(given, field) for field, given in used.items() if given is not None}
    if patient is not None:
        wanted["patient"] = _column_of(patient, "patient")
    for field, column in wanted.items():
        if column not in names:
            _refuse(field, f"the table has no column {column!r}; it has {', '.join(names):.300}")
    columns = {column: get(column) for column in dict.fromkeys(wanted.values())}
    number = len(next(iter(columns.values()), ()))
    if any(len(values) != number for values in columns.values()):
        _refuse("frame", "the columns differ in length")
    gaps = {c: [i for i, v in enumerate(values) if is_missing(v)] for c, values in columns.items()}
    gaps = {column: rows for column, rows in gaps.items() if rows}
    left_out = {row for rows in gaps.values() for row in rows}
    words = ", ".join(f"{column} {len(rows)}" for column, rows in gaps.items())
    if gaps and missing == "refuse":
        first = ", ".join(str(row + 1) for row in sorted(left_out)[:_MOST_NAMED])
        _refuse(
            "missing",
            f"{len(left_out)} of {number} rows lack a value ({words}), the first: {first}. "
            "Complete them, or leave these rows out with missing='drop'",
        )
    kept = [row for row in range(number) if row not in left_out]
    if not kept:
        _refuse("frame", f"no row is left of {number}" if number else "the table has no rows")
    check_ids(patient, names, get, kept)
    return Table(
        {column: [values[row] for row in kept] for column, values in columns.items()},
        [row + 1 for row in kept],
        f"{len(left_out)} of {number} rows dropped, missing: {words}" if gaps else "",
    )


def provenance(arms: Levels | None, treated: Sequence[bool], *others: str) -> str:
    """Say how a table was read, such as which arm is which and how many rows each has."""
    parts = [part for part in others if part]
    if arms is not None:
        column, yes, no = arms
        number = sum(treated)
        parts.insert(
            0,
            f"{column}: {yes} (rows: {number}) against {no} (rows: {len(treated) - number})",
        )
    return "; ".join(parts)


def open_table(frame: Any, field: str = "frame") -> tuple[list[str], Any]:
    """The names of a table's columns, and a function that gives one as a list.

    Raises
    ------
    InputError
        If it is no table.
    MissingExtraError
        If it is a data frame and narwhals is not installed.

    """
    if isinstance(frame, Mapping):
        if not all(isinstance(name, str) for name in frame):
            _refuse(field, "the names of columns must be texts")
        return list(frame), lambda column: _listed(frame[column], column)
    try:
        import narwhals as nw  # noqa: PLC0415  an extra, and slow to import
    except ImportError as error:
        raise MissingExtraError(
            'data frames need narwhals: pip install "qis-protocol[frames]"; or give the columns as '
            "{name: values}",
            field="frames",
        ) from error
    try:
        table = nw.from_native(frame, eager_only=True)
        names = list(table.columns)
    except Exception as error:  # narwhals has errors of its own, for what it does not know
        raise InputError(
            f"{field} is a {type(frame).__name__}; it must be a data frame (of pandas, polars or "
            f"pyarrow, collected, each column with a name of its own) or a mapping of columns: "
            f"{error!s:.160}",
            field=field,
        ) from error
    # The named levels of a pandas index are columns too: a site or an id is often there.
    index: Any = nw.maybe_get_index(table)
    levels = [] if index is None else list(index.names)
    named = {name: i for i, name in enumerate(levels) if isinstance(name, str)}

    def column_of(column: str) -> list[Any]:
        if column in names:
            return _nulls_as_none(table.get_column(column))
        values: list[Any] = index.get_level_values(named[column]).tolist()
        return values

    return [*names, *(name for name in named if name not in names)], column_of


def _nulls_as_none(series: Any) -> list[Any]:
    nulls = series.is_null().to_list()
    return [None if gap else value for value, gap in zip(series.to_list(), nulls, strict=True)]


def _listed(values: Any, column: str) -> list[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        _refuse("frame", f"column {column!r} is a {type(values).__name__}; it must be a list")
    if hasattr(values, "__array_interface__") and holds_dates(values):  # an array of numpy's
        dates: Any = values
        # Those in nanoseconds would be listed as whole numbers.
        values = dates.astype(f"{dates.dtype.kind}8[us]")
    to_list = getattr(values, "tolist", None)  # numpy's arrays give plain Python values, masks None
    return list(to_list() if callable(to_list) else values)


def _column_of(given: Any, field: str) -> str:
    if field not in _LEVELS_OF:
        if not isinstance(given, str):
            _refuse(field, f"{shown(given)} is no name of a column")
        return given
    if not isinstance(given, (tuple, list)) or len(given) != 3 or not isinstance(given[0], str):
        _refuse(
            field,
            f"{shown(given)} must be {_LEVELS_OF[field]}: which level is which decides the sign of "
            "the result",
        )
    yes, no = given[1:]
    if not all(isinstance(level, Hashable) for level in (yes, no)):
        _refuse(field, f"{shown(yes)} and {shown(no)} must be levels, as texts or numbers are")
    if is_missing(yes) or is_missing(no) or _same(yes, no):
        _refuse(field, f"{yes!r} and {no!r} must be two different levels")
    name: str = given[0]
    return name


def _same(value: Any, level: Any) -> bool:
    """Whether a value is a level; a number and its text are two levels."""
    if isinstance(value, str) != isinstance(level, str):
        return False
    try:
        return bool(value == level)
    except (TypeError, ValueError):  # a cell that is an array, or times with and without a zone
        return False


def _refuse(field: str, message: str) -> NoReturn:
    raise InputError(f"{field}: {message}", field=field)

"""A table of one row a site, as outcomes: published estimates, ratios, counts of two arms, means.

Columns have fixed names, those of the outcomes' parameters and of the frames that this library
makes. Each row is read by the one kind whose columns it fills; what is half filled, or filled for
two kinds, is refused with its row, and so is what the table itself says does not count.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, Protocol

from qis.errors import IncompatibleEvidenceError, InputError
from qis.outcomes import Counts, Effect, Moments, Outcome, Study
from qis.outcomes._frame import Table, open_table
from qis.outcomes._frame_notices import is_missing

_EFFECT: Final = frozenset(("estimate", "standard_error"))
_RATIO: Final = frozenset(("ratio", "lower", "upper"))
_COUNTS: Final = frozenset(("events", "total", "control_events", "control_total"))
_RATES: Final = frozenset(("person_time", "control_person_time"))
_MEANS: Final = frozenset(("mean", "total", "control_mean", "control_total"))
_SPREADS: Final = frozenset(("sd", "ss", "control_sd", "control_ss"))
_WHOLE: Final = frozenset((*_COUNTS, "n"))
_NUMBERS: Final = _EFFECT | _RATIO | _COUNTS | _RATES | _MEANS | _SPREADS
_WORDS: Final = ("site", "cohort", "measure", "question", "study", "kind", "counts")
_LAYOUT: Final = (
    "estimate and standard_error (logarithms for ratios); or ratio, lower and upper (its 95 % "
    "interval); or events and total; or mean, sd and total; the latter two with control_… for the "
    "other arm"
)


class _HasColumns(Protocol):
    """A data frame of any library, by the attribute that all of them have."""

    @property
    def columns(self) -> Any:
        """Its columns, or their names."""


Frame = _HasColumns | Mapping[str, Any]


def is_table(value: object) -> bool:
    """True of data frames and of mappings of columns."""
    return isinstance(value, Mapping) or hasattr(value, "columns")


def outcomes_of_table(frame: Any, study: Study | None) -> tuple[list[Outcome], list[str] | None]:
    """The outcome of each row, and the names of the rows' sites if there is a column `site`.

    Raises
    ------
    InputError
        If columns are not there or a row cannot be read; the message names the row.
    IncompatibleEvidenceError
        If the table is of another study than the one given.

    """
    names, get = open_table(frame, "packets")
    if not _NUMBERS & {*names}:
        _refuse(
            f"the table has the columns {', '.join(names):.200}; of a table synthesise reads one "
            f"row a site, with {_LAYOUT}. Of one row a patient make an outcome first: "
            "Counts.from_frame, Moments.from_frame, LikelihoodProfile.from_frame"
        )
    columns = {name: get(name) for name in names if name in {*_NUMBERS, *_WORDS, "n"}}
    number = max(map(len, columns.values()))
    if any(len(values) != number for values in columns.values()):
        _refuse("the columns differ in length")
    if not number:
        _refuse("the table has no rows")
    rows: list[dict[str, Any]] = [{} for _ in range(number)]
    for name, values in columns.items():
        at = [i for i, value in enumerate(values) if not is_missing(value)]
        found = _converted(name, [values[i] for i in at], [i + 1 for i in at])
        for i, value in zip(at, found, strict=True):
            rows[i][name] = value
    outcomes = [_outcome(row, i, study) for i, row in enumerate(rows, start=1)]
    return outcomes, [str(row["site"]) for row in rows] if "site" in columns else None


def _converted(name: str, values: list[Any], rows: list[int]) -> list[Any]:
    """A column as numbers or as it is; pandas makes floats of whole numbers with gaps."""
    table = Table({name: values}, rows, "")
    if name in _WHOLE:
        return table.whole_numbers(name, name)
    return table.numbers(name, name) if name in _NUMBERS else values


def _outcome(row: dict[str, Any], number: int, study: Study | None) -> Outcome:
    where = f"row {number} ({row['site']!s:.60})" if "site" in row else f"row {number}"
    if row.get("counts", True) is False:
        _refuse(f"{where} is marked as not counting; leave such rows out: frame[frame.counts]")
    if row.get("kind", "Effect") not in ("Effect", "Counts", "Moments"):
        _refuse(
            f"{where} is a {row['kind']!s:.40}, which a table cannot hold: give the packets or "
            "outcomes themselves"
        )
    try:
        outcome = _read(row, {**_belongs_to(row, study), "cohort": str(row.get("cohort", ""))})
    except IncompatibleEvidenceError:
        raise
    except InputError as error:
        raise InputError(
            f"packets: {where}: {error}", field="packets", actual=error.actual, limit=error.limit
        ) from error
    declared, found = row.get("measure"), getattr(outcome, "measure", None)
    if declared is not None and declared != found:
        _refuse(f"{where} says the measure is {declared!s:.40}; it pools as {found}")
    return outcome


def _belongs_to(row: dict[str, Any], study: Study | None) -> dict[str, Any]:
    """The study of a row: the one given, else what the table says."""
    known = row.get("study")
    is_id = isinstance(known, str) and re.fullmatch("[0-9a-f]{16}", known) is not None
    if study is not None:
        if is_id and known != study.id.hex():
            raise IncompatibleEvidenceError(
                f"the table is of study {known}, not of {study.question!r} ({study.id.hex()})",
                field="study",
                actual=known,
                limit=study.id.hex(),
            )
        return {"study": study}
    if "question" not in row:
        raise InputError("give study=Study(question=…), or a column question", field="study")
    question = {"question": row["question"]}
    return question | {"study_id": bytes.fromhex(known)} if is_id and known else question


def _read(row: dict[str, Any], common: dict[str, Any]) -> Outcome:
    filled = _NUMBERS & row.keys()
    numbers = {name: row[name] for name in filled}
    if filled in (_EFFECT, _RATIO):
        study = common.get("study")
        measure = row.get("measure", None if study is None else study.measure)
        if measure is None:
            raise InputError("give Study(measure=…), or a column measure", field="measure")
        make = Effect if filled == _EFFECT else Effect.from_ratio
        return make(**common, **numbers, measure=measure, n=row.get("n"))
    if "mean" in filled and filled <= _MEANS | _SPREADS:
        return Moments(**common, **_with_squares(numbers))
    if {"events", "total"} <= filled <= _COUNTS | _RATES:
        return Counts(**common, **numbers)
    raise InputError(
        f"it has {', '.join(sorted(filled)) or 'no number'}; needed is {_LAYOUT}", field="packets"
    )


def _with_squares(numbers: dict[str, Any]) -> dict[str, Any]:
    """Standard deviations (of n - 1) as sums of squared deviations."""
    found = dict(numbers)
    for arm in ("", "control_"):
        if f"{arm}sd" in found:
            deviation, people = found.pop(f"{arm}sd"), found.get(f"{arm}total", 1)
            if f"{arm}ss" in found:
                raise InputError(f"give {arm}sd or {arm}ss, not both", field=f"{arm}sd")
            if deviation < 0.0:
                raise InputError(f"{arm}sd is {deviation}; it is not negative", field=f"{arm}sd")
            found[f"{arm}ss"] = deviation * deviation * (people - 1)
        elif f"{arm}mean" in found and found.get(f"{arm}total") == 1:
            found.setdefault(f"{arm}ss", 0.0)  # one person has no deviation
    absent = [name for name in ("total", "ss") if name not in found]
    if absent:
        raise InputError(
            f"a mean needs its {' and '.join('sd' if a == 'ss' else a for a in absent)}",
            field=absent[0],
        )
    return found


def _refuse(message: str) -> NoReturn:
    raise InputError(f"packets: {message}", field="packets")

"""What an answer shows of its people, in forms that can be subtracted and compared with others.

An answer shows a table of two arms, or one row of it, or only the events or the sizes of the arms.
Where several whole-numbered tables fit its numbers, all of them are listed, up to a bound.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.arm_inversion import arm_tables
from qis.disclosure.consistent import EXACT, System
from qis.disclosure.inversion import systems
from qis.disclosure.margins import LABEL
from qis.disclosure.models import tables_of
from qis.disclosure.printed import half_unit
from qis.disclosure.profiles import profile_counts
from qis.disclosure.two_by_two import MEASURES, gives_exactly, is_coarse, tables
from qis.outcomes import (
    Counts,
    Effect,
    LikelihoodProfile,
    Moments,
    Outcome,
    QuadraticLikelihood,
)

Floats = NDArray[np.float64]

MOST: Final = 20_000
"""Most tables of one answer; with more nothing follows from a difference."""
NAMES: Final = {
    "table": ("events", "others", "control events", "control others"),
    "arm": ("events", "others"),
    "events": ("events", "control events"),
    "sizes": ("people in the treated arm", "people in the control arm"),
    "total": ("events",),
}
"""By form, what each of its numbers counts."""
_FORM_OF: Final = {
    "MN": "arm",
    "PR": "arm",
    "PLO": "arm",
    "IRLN": "total",
    "IRR": "events",
}
PROJECTIONS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "table": lambda rows: rows,
    "arm": lambda rows: rows[:, :2] + rows[:, 2:],
    "events": lambda rows: rows[:, [0, 2]],
    "sizes": lambda rows: rows[:, [0, 2]] + rows[:, [1, 3]],
    "total": lambda rows: rows[:, [0]] + rows[:, [2]],
}
"""By form, how its numbers follow from tables of shape (m, 4)."""


class AnswerTables(NamedTuple):
    """What is known of a group of people.

    Parameters
    ----------
    forms
        By form (`NAMES`): all rows of numbers that fit, of shape (m, numbers).
    arms
        Number of people, mean and sum of squared deviations of each arm; empty if not known.
    is_coarse
        True for means of few decimals: they are of a yes/no variable only if others say so.

    """

    forms: dict[str, Floats]
    arms: tuple[tuple[int, float, float], ...] = ()
    is_coarse: bool = False


def answer_tables(outcome: Outcome, *, corrected: bool = True) -> AnswerTables:
    """What an outsider knows of the people of an outcome.

    Parameters
    ----------
    outcome
        What left, or is to leave.
    corrected
        False if 0.5 was added to no table with a zero, as an outsider may suppose.

    """
    found: dict[str, Floats] = {}
    arms: tuple[tuple[int, float, float], ...] = ()
    if isinstance(outcome, Counts):
        found = _of_counts(outcome)
    elif isinstance(outcome, Moments):
        arms = tuple(_arms_of(outcome))
        found = _product([arm_tables(*arm) for arm in arms])
        if len(arms) > 1:
            found["sizes"] = np.array([[float(n) for n, _, _ in arms]])
    elif isinstance(outcome, Effect) and outcome.n is not None:
        found = _of_effect(outcome, outcome.n, corrected=corrected)
        if outcome.measure == "MN":
            n, variance = outcome.n, outcome.standard_error**2
            arms = ((n, outcome.estimate, variance * n * (n - 1)),)
    elif isinstance(outcome, LikelihoodProfile):
        found = {
            form: np.array(rows, dtype=float) for form, rows in profile_counts(outcome).items()
        }
    elif isinstance(outcome, QuadraticLikelihood):
        found = _of_model(outcome)
    is_yes_no = not isinstance(outcome, Effect) or not is_coarse(outcome)
    return AnswerTables(_with_less_detail(found), arms, is_coarse=not is_yes_no)


def _with_less_detail(found: dict[str, Floats]) -> dict[str, Floats]:
    kept = {form: rows for form, rows in found.items() if 0 < len(rows) <= MOST}
    if "table" in kept:
        for form, project in PROJECTIONS.items():
            kept.setdefault(form, np.unique(project(kept["table"]), axis=0))
    for form in ("arm", "events"):
        if form in kept and "total" not in kept:
            rows = kept[form][:, [0]] if form == "arm" else kept[form].sum(axis=1, keepdims=True)
            kept["total"] = np.unique(rows, axis=0)
    return kept


def _arms_of(outcome: Moments) -> Iterator[tuple[int, float, float]]:
    yield outcome.total, outcome.mean, outcome.ss
    if outcome.control_total is not None:
        yield outcome.control_total, outcome.control_mean or 0.0, outcome.control_ss or 0.0


def _of_counts(outcome: Counts) -> dict[str, Floats]:
    arms = [(outcome.events, outcome.total)]
    if outcome.control_events is not None and outcome.control_total is not None:
        arms.append((outcome.control_events, outcome.control_total))
    if outcome.person_time is None:
        return _product([np.array([[e, n - e]], dtype=float) for e, n in arms])
    events, sizes = np.array(arms, dtype=float).T  # people may have several events
    if len(arms) == 1:
        return {"total": events[np.newaxis]}
    return {"events": events[np.newaxis], "sizes": sizes[np.newaxis]}


def _of_effect(outcome: Effect, n: int, *, corrected: bool) -> dict[str, Floats]:
    measure = outcome.measure
    if measure in MEASURES:
        numbers = measure, outcome.estimate, outcome.standard_error, n
        found = {"table": _tables(*numbers, corrected=corrected)}
        if measure == "SMD" and not len(found["table"]):
            arms = next(systems(outcome, limit=1), [])  # of any variable, measured ones too
            found["sizes"] = _either_way(_rows_of(arms, 2))
        return found
    form = _FORM_OF.get(measure)
    if form is None:
        return {}
    fitting = [table for system in systems(outcome, limit=1) for table in system]
    rows = _rows_of(fitting, len(NAMES[form]))
    if measure == "IRR":  # of a rounded one not all pairs are listed
        is_exact = np.abs(np.sqrt((1.0 / rows).sum(axis=1)) / outcome.standard_error - 1.0) < EXACT
        is_long = not half_unit(outcome.standard_error)
        rows = _either_way(rows[is_exact & is_long])
    return {form: rows}


def _rows_of(tables: System, width: int) -> Floats:
    """The first numbers of each table that has so many."""
    known = [table for table in tables if "about" not in table[0].cell]
    rows = [[float(cell.people) for cell in table[:width]] for table in known]
    return np.array([row for row in rows if len(row) == width]).reshape(-1, width)


def _either_way(rows: Floats) -> Floats:
    """Pairs of which it is not known which is of the treated arm."""
    return np.unique(np.concatenate([rows, rows[:, ::-1]]), axis=0)


def _of_model(outcome: QuadraticLikelihood) -> dict[str, Floats]:
    """The table of each yes/no feature with the event; one of the features may be the arms."""
    found: dict[str, Floats] = {}
    if outcome.events is not None:
        found["arm"] = np.array([[outcome.events, outcome.n - outcome.events]], dtype=float)
    rows = [
        (both, having - both, events - both, table.people - having - events + both)
        for table in tables_of(outcome)
        if table.names[-1] == LABEL
        for having, both in zip(np.diag(table.pairs)[:-1], table.pairs[-1], strict=False)
        for events in (table.pairs[-1, -1],)
    ]
    if rows:
        found["table"] = np.array(rows, dtype=float)
    return found


def _product(arms: list[Floats]) -> dict[str, Floats]:
    """Every table of one arm with every table of the other."""
    if len(arms) == 1:
        return {"arm": arms[0]}
    one, other = arms
    both = np.repeat(one, len(other), axis=0), np.tile(other, (len(one), 1))
    return {"table": np.hstack(both)}


@lru_cache(maxsize=32)
def _tables(measure: str, estimate: float, error: float, n: int, *, corrected: bool) -> Floats:
    """All tables behind a crude effect; one more than `MOST` if there are too many."""
    effect = Effect(question="-", measure=measure, estimate=estimate, standard_error=error, n=n)
    found, exact = np.empty((0, 4)), np.empty((0, 4))
    for rows, by_reading, is_plain in tables(effect):
        # 0.5 is added where a cell is zero.
        kept = np.full(len(rows), is_plain) | (corrected & (rows == 0).any(axis=1))
        to_the_digit = gives_exactly(effect, rows).any(axis=0) & kept
        exact = np.concatenate([exact, rows[to_the_digit]])[: MOST + 1]
        if len(found) <= MOST:
            found = np.concatenate([found, rows[kept & by_reading[0]]])[: MOST + 1]
    is_long = not (half_unit(estimate) and half_unit(error))
    return exact if len(exact) and is_long else found

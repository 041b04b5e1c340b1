"""What is left of an answer after subtracting another about some of its people.

Whoever has both knows the people in one and not in the other as well as both tables. Where several
tables fit an answer, each is combined with each of the other's that does not exceed it in a cell.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.attacks import findings
from qis.disclosure.finding import Finding
from qis.disclosure.inversion import arm_tables, most_likely, proven
from qis.disclosure.profiles import profile_counts
from qis.disclosure.two_by_two import MEASURES, gives_exactly, is_coarse, tables
from qis.errors import QISError
from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments, Outcome

Floats = NDArray[np.float64]

_MOST: Final = 400
"""Most tables of one answer; with more nothing follows from a difference."""
_NAMES: Final = {
    "table": ("events", "others", "control events", "control others"),
    "arm": ("events", "others"),
    "events": ("events", "control events"),
}


class Sum(NamedTuple):
    """What is known of a group of people, in forms that can be subtracted.

    Parameters
    ----------
    tables
        By form ("table", "arm", "events"): all tables that fit, of shape (m, cells).
    arms
        Number of people, mean and sum of squared deviations of each arm; empty if not known.

    """

    tables: dict[str, Floats]
    arms: tuple[tuple[int, float, float], ...] = ()


def sum_of(outcome: Outcome) -> Sum:
    """What an outsider knows of the people of an outcome."""
    found: dict[str, Floats] = {}
    arms: tuple[tuple[int, float, float], ...] = ()
    if isinstance(outcome, Counts):
        found = _of_counts(outcome)
    elif isinstance(outcome, Moments):
        arms = tuple(_arms_of(outcome))
        found = _product([arm_tables(*arm) for arm in arms])
    elif isinstance(outcome, Effect) and outcome.n is not None:
        if outcome.measure in MEASURES and not is_coarse(outcome):
            numbers = outcome.estimate, outcome.standard_error
            found = {"table": _of_effect(outcome.measure, *numbers, outcome.n)}
        elif outcome.measure == "MN":
            n, variance = outcome.n, outcome.standard_error**2
            arms = ((n, outcome.estimate, variance * n * (n - 1)),)
            found = _product([arm_tables(*arms[0])])
    elif isinstance(outcome, LikelihoodProfile):
        found = {form: np.array([row]) for form, row in profile_counts(outcome).items()}
    kept = {form: rows for form, rows in found.items() if 0 < len(rows) <= _MOST}
    if "table" in kept:
        kept["events"] = np.unique(kept["table"][:, [0, 2]], axis=0)
    return Sum(kept, arms)


def less(whole: Sum, part: Sum) -> Sum:
    """What is known of the people in `whole` who are not in `part`."""
    found = {}
    shared = whole.tables.keys() & part.tables.keys()
    for form in shared - {"events"} or shared:  # whole tables say more than their events
        rest = whole.tables[form][:, np.newaxis] - part.tables[form]
        rows = np.unique(rest.reshape(-1, rest.shape[2]), axis=0)
        rows = rows[(rows >= 0).all(axis=1)]
        if 0 < len(rows) <= _MOST:
            found[form] = rows
    arms = []
    if len(whole.arms) == len(part.arms):
        for (n, mean, ss), (less_n, less_mean, less_ss) in zip(whole.arms, part.arms, strict=True):
            people = n - less_n
            if people < 0:
                return Sum(found)  # they are of other people
            total = n * mean - less_n * less_mean
            squares = ss + n * mean**2 - less_ss - less_n * less_mean**2
            own = total / people if people else 0.0
            arms.append((people, own, max(squares - people * own * own, 0.0)))
    return Sum(found, tuple(arms))


def small_in(rest: Sum, *, limit: int) -> Finding | None:
    """Return a small group of a difference that follows, or is likely, from all that fits."""
    for form, rows in rest.tables.items():
        is_small = (rows > 0) & (rows < limit)
        if _is_told(rows, is_small, limit):
            row, cell = np.unravel_index(int(np.where(is_small, rows, limit).argmin()), rows.shape)
            return Finding("by subtraction", _NAMES[form][cell], int(rows[row, cell]))
    for people, mean, ss in rest.arms:
        if not people:
            continue
        try:
            arm = Moments(question="-", total=people, mean=mean, ss=ss)
        except QISError:
            continue  # no people have these numbers, so they are of others
        written = (each for each in findings(arm, below=limit) if 0 < each.people < limit)
        found = next(written, None) or proven(arm, limit=limit)
        if found is not None:
            return found
    return None


def _is_told(rows: Floats, is_small: NDArray[np.bool_], limit: int) -> bool:
    """True if each table has a small cell; or most have, and one value is too frequent."""
    with_small = int(is_small.any(axis=1).sum())
    if with_small == len(rows) or 2 * with_small <= len(rows):
        return with_small == len(rows)
    times = [np.bincount(rows[is_small[:, c], c].astype(int)).max(initial=0)
             for c in range(rows.shape[1])]  # fmt: skip
    return bool(max(times) > most_likely(limit) * len(rows))


def _arms_of(outcome: Moments) -> Iterator[tuple[int, float, float]]:
    yield outcome.total, outcome.mean, outcome.ss
    if outcome.control_total is not None:
        yield outcome.control_total, outcome.control_mean or 0.0, outcome.control_ss or 0.0


def _of_counts(outcome: Counts) -> dict[str, Floats]:
    arms = [(outcome.events, outcome.total)]
    if outcome.control_events is not None and outcome.control_total is not None:
        arms.append((outcome.control_events, outcome.control_total))
    if outcome.person_time is not None:  # people may have several events
        events = np.array([[float(events) for events, _ in arms]])
        return {"events": events} if len(arms) > 1 else {}
    return _product([np.array([[e, n - e]], dtype=float) for e, n in arms])


def _product(arms: list[Floats]) -> dict[str, Floats]:
    """Every table of one arm with every table of the other."""
    if len(arms) == 1:
        return {"arm": arms[0]}
    one, other = arms
    both = np.repeat(one, len(other), axis=0), np.tile(other, (len(one), 1))
    return {"table": np.hstack(both)}


@lru_cache(maxsize=64)
def _of_effect(measure: str, estimate: float, error: float, n: int) -> Floats:
    """All tables behind a crude effect; one more than `_MOST` if there are too many."""
    effect = Effect(question="-", measure=measure, estimate=estimate, standard_error=error, n=n)
    found, exact = np.empty((0, 4)), np.empty((0, 4))
    for part, is_plain in tables(effect):
        # 0.5 is added where a cell is zero.
        kept = part if is_plain else part[(part == 0).any(axis=1)]
        exact = np.concatenate([exact, kept[gives_exactly(effect, kept)]])[: _MOST + 1]
        found = np.concatenate([found, kept])[: _MOST + 1]
    return exact if len(exact) else found  # a number that some table gives is not rounded

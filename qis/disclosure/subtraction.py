"""What is left of an answer after subtracting another about some of its people.

Whoever has both knows the people in one and not in the other as well as both tables. Where several
tables fit an answer, each is combined with each of the other's that does not exceed it in a cell.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.answer_tables import MOST, NAMES, AnswerTables
from qis.disclosure.attacks import findings
from qis.disclosure.consistent import is_told
from qis.disclosure.finding import Finding
from qis.disclosure.inversion import proven
from qis.errors import QISError
from qis.outcomes import Moments

Floats = NDArray[np.float64]

_PAIRS: Final = 1_000_000
"""Most pairs of a table and another; with more nothing follows from their difference."""


def less(whole: AnswerTables, part: AnswerTables) -> AnswerTables:
    """What is known of the people in `whole` who are not in `part`."""
    found = {}
    for form in _compared(whole, part):
        one, other = whole.forms[form], part.forms[form]
        if len(one) * len(other) > _PAIRS:
            continue
        rest = (one[:, np.newaxis] - other).reshape(-1, one.shape[1])
        rows = rest[(rest >= 0).all(axis=1)]
        if len(rows) > MOST:
            rows = np.unique(rows, axis=0)
        if 0 < len(rows) <= MOST:
            found[form] = rows
    arms = []
    if len(whole.arms) == len(part.arms):
        for (n, mean, ss), (less_n, less_mean, less_ss) in zip(whole.arms, part.arms, strict=True):
            people = n - less_n
            if people < 0:
                return AnswerTables(found)  # they are of other people
            total = n * mean - less_n * less_mean
            squares = ss + n * mean**2 - less_ss - less_n * less_mean**2
            own = total / people if people else 0.0
            arms.append((people, own, max(squares - people * own * own, 0.0)))
    return AnswerTables(found, tuple(arms), is_coarse=whole.is_coarse and part.is_coarse)


def _compared(whole: AnswerTables, part: AnswerTables) -> list[str]:
    """The forms that both have, without those that say less than another of them."""
    if whole.is_coarse and part.is_coarse:
        return []
    shared = [form for form in NAMES if form in whole.forms and form in part.forms]
    if "table" in shared:
        return ["table"]
    if "arm" in shared or "events" in shared:
        shared = [form for form in shared if form != "total"]
    return shared


def small_in(rest: AnswerTables, *, limit: int) -> Finding | None:
    """Return a small group of a difference that follows, or is likely, from all that fits."""
    for form, rows in rest.forms.items():
        is_small = (rows > 0) & (rows < limit)
        if _is_told(rows, is_small, limit):
            row, cell = np.unravel_index(int(np.where(is_small, rows, limit).argmin()), rows.shape)
            return Finding("by subtraction", NAMES[form][cell], int(rows[row, cell]))
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
    times = [
        np.bincount(rows[is_small[:, cell], cell].astype(int)).max(initial=0)
        for cell in range(rows.shape[1])
    ]
    return is_told(len(rows), int(is_small.any(axis=1).sum()), int(max(times)), limit)

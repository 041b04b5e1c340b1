"""Small groups behind score and information, from the rows where they are known, else by inversion.

A site that builds the outcome from rows knows whether a group by one or two yes/no columns is
small, and that decides: such an outcome is kept back whatever the anchor, since with the anchor
weights are known too and the groups are the solution of equations. Without rows the groups are
computed from the numbers alone, as far as these tell, or bounded.
"""

from typing import Final, NamedTuple

from qis.disclosure.finding import Finding
from qis.disclosure.margins import Margins, margins_of
from qis.disclosure.own_intercept import with_own_intercept
from qis.disclosure.solved_groups import solved
from qis.disclosure.triples import small_of_three
from qis.disclosure.weights import tables_by_weight
from qis.outcomes import QuadraticLikelihood

_NOTHING: Final = 1e-4
"""A coefficient that moves no weight by more than 16-bit numbers are off."""
ATTACK: Final = "from score and information"
_ROWS: Final = "which the rows show, and whoever solves score and information"
_NOT_SEARCHED: Final = (
    "groups by three columns: what the numbers say of them is not searched (at this anchor people "
    "weigh differently, or there are too many columns, or scipy is missing: pip install "
    '"qis-protocol[stats]")'
)


_NO_ROWS: Final = (
    "groups by one, two and three columns: neither the rows nor the anchor are known, and whoever "
    "knows the anchor can solve for them"
)


class GroupReading(NamedTuple):
    """What was found in score and information.

    Parameters
    ----------
    small
        A small group that can be derived; `None` if none is.
    not_searched
        What was not searched, in words; empty if all was.

    """

    small: Finding | None
    not_searched: str


def tables_of(outcome: QuadraticLikelihood) -> list[Margins]:
    """The tables of yes/no columns that an outsider reads, who knows the anchor if it is public."""
    known = outcome.known
    if known is not None and known.own_intercept:
        return with_own_intercept(outcome) if not any(known.anchor) else []
    found = list(margins_of(outcome)) if _may_weigh_alike(outcome) else []
    if not found and known is None and outcome.model == "poisson":
        found = with_own_intercept(outcome)
    if not found and known is not None and known.anchor:
        by_weights = solved([outcome])
        found = [by_weights] if by_weights is not None else []
    return found


def _may_weigh_alike(outcome: QuadraticLikelihood) -> bool:
    """True unless the anchor is known to give people different weights.

    One coefficient may be the intercept; with two that are not zero, whole numbers of people with
    one weight would be found by chance only.
    """
    known = outcome.known
    if outcome.model == "linear" or known is None:
        return True
    return sum(abs(coefficient) > _NOTHING for coefficient in known.anchor) < 2


def read(outcome: QuadraticLikelihood, *, limit: int) -> GroupReading:
    """Look for groups of 1 to `limit` − 1 people by one, two and three yes/no columns."""
    known = outcome.known
    tables = tables_of(outcome)
    if known is not None and known.smallest_cell is not None:
        if 0 < known.smallest_cell < limit:
            cell = "people in a group by one or two yes/no columns"
            return GroupReading(Finding(_ROWS, cell, known.smallest_cell), "")
        of_three = known.smallest_of_three
        if of_three is not None and not 0 < of_three < limit:
            return GroupReading(None, "")
    else:
        small = _of_numbers(outcome, tables, limit)
        if small is not None:
            return GroupReading(small, "")
    return _of_three(outcome, tables, limit)


def read_at_anchor(outcome: QuadraticLikelihood, *, limit: int) -> GroupReading:
    """The same as `read`, of an answer whose anchor is known and whose rows are not.

    Only what follows from the numbers and the anchor counts, and the rest is told as not searched.
    """
    tables = tables_of(outcome)
    found = [smallest(table, limit) for table in tables]
    if found and all(found):
        return GroupReading(found[0], "")
    return _of_three(outcome, tables, limit)


def _of_numbers(outcome: QuadraticLikelihood, tables: list[Margins], limit: int) -> Finding | None:
    """Return a small group that each table that fits has, or that the numbers allow."""
    found = [smallest(table, limit) for table in tables]
    if found and all(found):
        return found[0]
    for system in tables_by_weight(outcome) if not tables else ():
        for cells in system:
            for cell in cells:
                if 0 < cell.people < limit:
                    return cell
    return None


def smallest(table: Margins, limit: int) -> Finding | None:
    """The smallest group of 1 to `limit` − 1 people by one or two columns, if there is one."""
    small = [(people, cell) for cell, people in table.cells() if 0 < people < limit]
    return Finding(ATTACK, min(small)[1], min(small)[0]) if small else None


def _of_three(outcome: QuadraticLikelihood, tables: list[Margins], limit: int) -> GroupReading:
    if not tables:
        known = outcome.known
        is_of_rows = known is not None and known.smallest_cell is not None
        is_one = is_of_rows and len(outcome.diagonal) == 1  # one column and the event are two
        if known is None and outcome.model in ("poisson", "linear"):
            return GroupReading(None, _NO_ROWS)
        return GroupReading(None, "" if is_one else _NOT_SEARCHED)
    found = [small_of_three(table, limit=limit) for table in tables]
    if all(small is not None for small, _ in found):
        return GroupReading(found[0][0], "")
    is_searched = all(searched for _, searched in found)
    return GroupReading(None, "" if is_searched else _NOT_SEARCHED)

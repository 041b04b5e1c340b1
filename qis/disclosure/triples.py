"""Groups by three yes/no columns, from the groups by two that are known.

One number is free in the table of three columns whose pairs are known, so all tables are tried.
More columns narrow it further: with scipy, an integer program asks whether a table of up to six
columns exists in which the eight groups are harmless. Work is bounded by the number of programs
and of their nodes, never by time; what the bound cuts off is told as not searched.
"""

import itertools
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.finding import Finding
from qis.disclosure.margins import Margins

Whole = NDArray[np.int64]

_COLUMNS: Final = 6
"""Columns of one integer program, which has two to this power unknown groups."""
_PROGRAMS: Final = 24
"""Most integer programs for one outcome."""
_NODES: Final = 200
"""Most nodes of an integer program."""
_ATTACK: Final = "from the groups by two features, of which three leave one number free"
_INFEASIBLE: Final = 2
"""Status of scipy's `milp` when no solution exists."""


def tables_of_three(margins: Margins, chosen: Sequence[int]) -> Whole:
    """All tables of three columns with these pairs: counts of shape (m, 8), bit 2 the first."""
    i, j, k = chosen
    pairs, n = margins.pairs, margins.people
    one, two, three = (int(pairs[c, c]) for c in chosen)
    ij, ik, jk = int(pairs[i, j]), int(pairs[i, k]), int(pairs[j, k])
    fixed = np.array([n - one - two - three + ij + ik + jk, three - ik - jk, two - ij - jk,
                      jk, one - ij - ik, ik, ij, 0])  # fmt: skip
    sign = np.array([-1, 1, 1, -1, 1, -1, -1, 1])
    low = int(np.max(-fixed[sign > 0], initial=0))
    high = int(np.min(fixed[sign < 0]))
    free = np.arange(low, high + 1)
    tables: Whole = fixed + free[:, np.newaxis] * sign
    return tables


def small_of_three(margins: Margins, *, limit: int) -> tuple[Finding | None, bool]:
    """Return a small group by three columns that each consistent table has, and if all was tried.

    Parameters
    ----------
    margins
        Groups by one and two columns.
    limit
        Smallest count above zero that may be derivable.

    Returns
    -------
    finding
        `None` if every three columns may be harmless, as far as was searched.
    is_searched
        False if the bound on the work was met, or scipy is not installed and needed.

    """
    if margins.groups is not None:
        return _of_groups(
            margins, margins.groups, limit
        ), False  # nothing is known of the event within them
    open_ended: list[tuple[int, tuple[int, ...]]] = []
    for chosen in itertools.combinations(range(len(margins.names)), 3):
        tables = tables_of_three(margins, chosen)
        if not len(tables):
            continue
        harmless = ((tables == 0) | (tables >= limit)).all(axis=1)
        if not harmless.any():
            return _finding(margins, chosen, tables, limit), True
        if not harmless.all() and len(margins.names) > 3:
            open_ended.append((len(tables), chosen))
    open_ended.sort()
    for _, narrow in open_ended[:_PROGRAMS]:
        answer = _is_possible(margins, narrow, limit)
        if answer is None:
            return None, False
        if not answer:
            return _finding(margins, narrow, tables_of_three(margins, narrow), limit), True
    return None, len(open_ended) <= _PROGRAMS


def _of_groups(margins: Margins, groups: Whole, limit: int) -> Finding | None:
    """The smallest group by three columns where the sizes of all groups are known."""
    columns = len(groups).bit_length() - 1  # without the event
    cube = np.reshape(groups, (2,) * columns)
    for chosen in itertools.combinations(range(columns), 3):
        rest = tuple(axis for axis in range(columns) if axis not in chosen)
        eight = cube.sum(axis=rest).reshape(1, 8)
        if ((eight > 0) & (eight < limit)).any():
            return _finding(margins, chosen, eight, limit)
    return None


def _finding(margins: Margins, chosen: Sequence[int], tables: Whole, limit: int) -> Finding:
    """The smallest group in any table that fits; where several do, that is said."""
    small = np.where((tables > 0) & (tables < limit), tables, limit)
    row, group = np.unravel_index(int(small.argmin()), small.shape)
    words = [
        margins.names[column] if int(group) >> (2 - nth) & 1 else f"not {margins.names[column]}"
        for nth, column in enumerate(chosen)
    ]
    attack = _ATTACK
    if len(tables) > 1:
        attack += f"; {len(tables)} tables fit, and in each some group of these columns is small"
    return Finding(attack, f"people with {', '.join(words)}", int(small[row, group]))


def _is_possible(margins: Margins, chosen: Sequence[int], limit: int) -> bool | None:
    """True if some table of up to six columns has eight harmless groups; `None` if not known."""
    try:
        optimize = import_module("scipy.optimize")  # of the extra [stats]
        sparse = import_module("scipy.sparse")
    except ImportError:
        return None
    near = sorted(
        set(range(len(margins.names))) - set(chosen),
        key=lambda column: min(int(margins.pairs[column, each]) for each in chosen),
    )
    columns = [*chosen, *near[: _COLUMNS - 3]]
    groups = np.array(list(itertools.product((0.0, 1.0), repeat=len(columns))))
    rows, values = [np.ones(len(groups))], [float(margins.people)]
    for one, other in itertools.combinations_with_replacement(range(len(columns)), 2):
        rows.append(groups[:, one] * groups[:, other])
        values.append(float(margins.pairs[columns[one], columns[other]]))
    cells = np.array([(groups[:, :3] == which).all(axis=1) for which in _eight()], dtype=float)
    size, count = len(groups), len(rows)
    known = np.hstack([np.array(rows), np.zeros((count, 8))])
    least = np.hstack([cells, -limit * np.eye(8)])
    most = np.hstack([cells, -margins.people * np.eye(8)])
    infinite = np.full(8, np.inf)
    constraint = optimize.LinearConstraint(
        sparse.csr_matrix(np.vstack([known, least, most])),
        np.r_[values, np.zeros(8), -infinite],
        np.r_[values, infinite, np.zeros(8)],
    )
    upper = np.r_[np.full(size, float(margins.people)), np.ones(8)]
    answer: Any = optimize.milp(
        np.zeros(size + 8),
        constraints=constraint,
        integrality=np.ones(size + 8),
        bounds=optimize.Bounds(np.zeros(size + 8), upper),
        options={"node_limit": _NODES},
    )
    if answer.status == _INFEASIBLE:
        return False
    return True if answer.x is not None else None


def _eight() -> Iterator[tuple[float, ...]]:
    yield from itertools.product((0.0, 1.0), repeat=3)

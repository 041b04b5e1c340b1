"""Complementary suppression: hide more tables where one could be had by subtraction."""

from collections.abc import Sequence

from qis._gate import checked
from qis.disclosure.presets import Preset
from qis.errors import InputError
from qis.outcomes import Counts, Suppressed


@checked
def complementary(tables: Sequence[Counts], preset: Preset) -> list[Counts | Suppressed]:
    """Suppress the tables that the preset refuses, and as many more as are needed to hide them.

    This is for the cohorts of one site in one study, whose total others may know. It never
    suppresses one table alone, and the sum of the suppressed tables has no small cell either. The
    smallest tables are taken first, so that little evidence is lost.

    Parameters
    ----------
    tables
        Disjoint cohorts of one study.
    preset
        The preset whose smallest cell holds.

    Returns
    -------
    For each table in the given order: the table, or a `Suppressed` instead of it.

    Raises
    ------
    InputError
        If the tables are of several studies, or two are of one cohort.

    Examples
    --------
    >>> import qis
    >>> from qis.disclosure import PRESETS, complementary
    >>> cohorts = [
    ...     qis.Counts(question="a vs b | c", cohort=name, events=events, total=80)
    ...     for name, events in (("men", 3), ("women", 20), ("others", 31))
    ... ]
    >>> [type(kept).__name__ for kept in complementary(cohorts, PRESETS["cms"])]
    ['Suppressed', 'Counts', 'Suppressed']

    """
    tables = list(tables)
    if len({table.study_id for table in tables}) > 1:
        raise InputError("the tables are of several studies", field="tables")
    if len({table.cohort for table in tables}) < len(tables):
        raise InputError("two tables are of one cohort", field="tables")
    order = sorted(range(len(tables)), key=lambda index: (tables[index].n, tables[index].cohort))
    hidden = {index for index in order if _is_small(cells_of(tables[index]), preset)}
    if hidden:
        for index in order:
            if not _gives_away([tables[index] for index in sorted(hidden)], preset):
                break
            hidden.add(index)
    return [
        Suppressed(study_id=table.study_id, question=table.question, cohort=table.cohort)
        if index in hidden
        else table
        for index, table in enumerate(tables)
    ]


def cells_of(table: Counts) -> tuple[int, ...]:
    """The cells of a table: events and non-events of each arm, or events and people for rates."""
    rate = table.person_time is not None
    cells = [table.events, table.total if rate else table.total - table.events]
    if table.control_events is not None and table.control_total is not None:
        events, total = table.control_events, table.control_total
        cells += [events, total if rate else total - events]
    return tuple(cells)


def _is_small(cells: Sequence[int], preset: Preset) -> bool:
    return any(0 < cell < preset.minimum_cell for cell in cells)


def _gives_away(hidden: Sequence[Counts], preset: Preset) -> bool:
    """True if the hidden tables' sum, which the total gives, is one table or has a small cell."""
    sums = [sum(column) for column in zip(*map(cells_of, hidden), strict=False)]
    return len(hidden) == 1 or _is_small(sums, preset)

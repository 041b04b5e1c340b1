"""Reconstruction: which records of yes/no columns fit the groups by two that an answer shows.

For an answer of few people the groups by one and by two columns leave few tables of whole records,
often one. They are built up column by column: the people of each pattern so far are split into
those with and without the next column, in all ways that keep the pairs. The number of steps is
bounded, so that the preview ends; it is not used to let anything pass.
"""

from collections.abc import Iterator
from typing import Final

from qis.disclosure.margins import Margins

Table = dict[tuple[int, ...], int]
"""Pattern of the columns → how many people have it."""

_STEPS: Final = 50_000
"""Most splits that are tried."""
_TABLES: Final = 50
"""Most tables that are kept; with more nothing certain is said."""


def records_that_fit(margins: Margins) -> list[Table] | None:
    """All tables of whole records with these pairs; `None` if the bound on the work was met."""
    tables: list[Table] = [{(): margins.people}]
    steps = 0
    for column in range(len(margins.names)):
        longer: list[Table] = []
        for table in tables:
            for split in _splits(margins, table, column):
                steps += 1
                if steps > _STEPS:
                    return None
                if split is not None:
                    longer.append(split)
        tables = longer
    return tables if len(tables) <= _TABLES else None


def certain_records(tables: list[Table]) -> Table:
    """The records that people have in each table, with the least number of people."""
    patterns = set.intersection(*(set(table) for table in tables)) if tables else set()
    return {pattern: min(table[pattern] for table in tables) for pattern in sorted(patterns)}


def _splits(margins: Margins, table: Table, column: int) -> Iterator[Table | None]:
    """Give the people of each pattern the next column or not; `None` counts a vain step."""
    patterns = list(table)
    wanted = [int(margins.pairs[column, other]) for other in range(column)]
    wanted.append(int(margins.pairs[column, column]))

    def divided(nth: int, chosen: tuple[int, ...], left: tuple[int, ...]) -> Iterator[Table | None]:
        if nth == len(patterns):
            yield _joined(table, chosen) if not any(left) else None
            return
        pattern = patterns[nth]
        most = min(
            table[pattern], left[-1], *(n for bit, n in zip(pattern, left, strict=False) if bit)
        )
        for having in range(most + 1):
            rest = tuple(n - having * bit for n, bit in zip(left, (*pattern, 1), strict=True))
            yield from divided(nth + 1, (*chosen, having), rest)

    yield from divided(0, (), tuple(wanted))


def _joined(table: Table, having: tuple[int, ...]) -> Table:
    found: Table = {}
    for (pattern, people), inside in zip(table.items(), having, strict=True):
        for bit, count in ((1, inside), (0, people - inside)):
            if count:
                found[*pattern, bit] = count
    return found

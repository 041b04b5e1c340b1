"""Tables of groups of people that several releases show by adding and subtracting.

Releases overlap in any way: of X and Y, of Y and Z, and of all three, the second group Y is the sum
of the first two less the last. So the people are divided into those whom no release tells apart
("atoms"); a union of atoms whose sum the releases give, with whatever coefficients, has a table
that outsiders know, and it must pass as if it were released itself.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.answer_tables import NAMES, AnswerTables
from qis.disclosure.ledger import Subjects

Floats = NDArray[np.float64]

_ALL_UNIONS: Final = 10
"""Atoms up to which every union is tried; of more, those of one, two and three atoms."""
_TRIPLES: Final = 40
"""Atoms up to which unions of three are tried."""
_MOST_ATOMS: Final = 400
_MOST_RELEASES: Final = 200
"""The newest releases that are looked at together."""
_MOST_SUMS: Final = 100_000
"""Most sums of one union; with more nothing is said of it."""
_NEAR: Final = 1e-6
_WHOLE: Final = 1e-3
_ARMS: Final = ("one arm", "two arms")
"""Forms of moments, beside those of `NAMES`."""


class Release(NamedTuple):
    """What a release shows, and of whom.

    Parameters
    ----------
    subjects
        The people in it.
    tables
        What an outsider knows of them.

    """

    subjects: Subjects
    tables: AnswerTables


def of_unions(new: Release, formers: Sequence[Release]) -> Iterator[AnswerTables]:
    """Yield what a new release and former ones show of each union of atoms, and no former ones did.

    Where several tables fit a release, each is added to each of the others'.
    """
    releases = [new, *list(formers)[::-1][:_MOST_RELEASES]]
    where: Counter[bytes] = Counter()
    for nth, release in enumerate(releases):
        for subject in release.subjects:
            where[subject] |= 1 << nth
    masks = sorted(set(where.values()))
    if len(masks) > _MOST_ATOMS:
        return
    inside = np.array([[mask >> nth & 1 for mask in masks] for nth in range(len(releases))], float)
    unions = _unions(len(masks))
    for form in [*NAMES, *_ARMS]:
        shown = [_numbers(release.tables, form) for release in releases]
        chosen = [nth for nth, numbers in enumerate(shown) if len(numbers)]
        if len(chosen) < 3 or chosen[0]:
            continue  # a pair is subtracted elsewhere; and the new one has to be among them
        rows, first = np.unique(inside[chosen], axis=0, return_index=True)
        weights = unions @ np.linalg.pinv(rows)
        is_told = np.abs(weights @ rows - unions).max(axis=1) < _NEAR
        if 0 in first:
            is_told &= np.abs(weights[:, int(np.flatnonzero(first == 0)[0])]) > _NEAR
        for each in weights[is_told]:
            found = _sums(each, [shown[chosen[nth]] for nth in first])
            tables = None if found is None else _tables(form, found)
            if tables is not None:
                yield tables


def _sums(weights: Floats, numbers: Sequence[Floats]) -> Floats | None:
    """Every sum of a table of each release; `None` if there are too many, or none is whole."""
    sums = np.zeros((1, numbers[0].shape[1]))
    for weight, rows in zip(weights, numbers, strict=True):
        if abs(weight) > _NEAR:
            if len(sums) * len(rows) > _MOST_SUMS:
                return None
            sums = (sums[:, np.newaxis] + weight * rows).reshape(-1, sums.shape[1])
    return sums


def _unions(atoms: int) -> Floats:
    """Unions of atoms, one a row."""
    most = atoms if atoms <= _ALL_UNIONS else 3 if atoms <= _TRIPLES else 2
    chosen = [
        union for size in range(1, most + 1) for union in itertools.combinations(range(atoms), size)
    ]
    found = np.zeros((len(chosen), atoms))
    for nth, union in enumerate(chosen):
        found[nth, list(union)] = 1.0
    return found


def _numbers(tables: AnswerTables, form: str) -> Floats:
    """What is added up: the counts of a form, or people, sum and sum of squares of each arm."""
    if form in NAMES:
        return tables.forms.get(form, np.empty((0, 1)))
    if len(tables.arms) != _ARMS.index(form) + 1:
        return np.empty((0, 1))
    sums = [(float(n), n * mean, ss + n * mean * mean) for n, mean, ss in tables.arms]
    return np.array(sums).reshape(1, -1)


def _tables(form: str, sums: Floats) -> AnswerTables | None:
    """What the sums of a union say; `None` if they can be of nobody, since data have changed."""
    if form in NAMES:
        whole = np.rint(sums)
        fits = (np.abs(sums - whole) < _WHOLE).all(axis=1) & (whole >= 0.0).all(axis=1)
        rows = np.unique(whole[fits], axis=0)
        return AnswerTables({form: rows}) if len(rows) else None
    arms = []
    for n, total, squares in sums.reshape(-1, 3).tolist():
        people = round(n)
        if people < 1:
            return None
        mean = total / people
        arms.append((people, mean, max(squares - people * mean * mean, 0.0)))
    return AnswerTables({}, tuple(arms))

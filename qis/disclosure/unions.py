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
"""Atoms that no sum gives alone, up to which all their unions are tried; of more, up to three."""
_TRIPLES: Final = 60
"""The same up to which unions of three are tried; of more, those of two."""
_MOST_ATOMS: Final = 1_000
_MOST_RELEASES: Final = 200
"""The newest releases that are looked at together."""
_LATER: Final = "what is shown together with releases before the newest {most} of these people"
_ATOMS: Final = (
    "sums and differences of releases that divide their people into over {most:,} groups"
)
_UNIONS: Final = (
    "unions of more than {size} groups that no sum or difference of releases shows alone"
)
_MOST_SUMS: Final = 100_000
"""Most sums of one union; with more nothing is said of it."""
_NEAR: Final = 1e-6
_WHOLE: Final = 1e-3
_TOLD: Final = 1e-9
"""Square of the part of a union that no sum of the releases gives."""
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
    for form, rows, shown in _systems(new, formers):
        for each in _weights(rows):
            found = _sums(each, shown)
            tables = None if found is None else _tables(form, found)
            if tables is not None:
                yield tables


def _systems(
    new: Release, formers: Sequence[Release]
) -> Iterator[tuple[str, Floats, list[Floats]]]:
    """By form: which atoms each release holds, the new one first, and what is known of each."""
    releases = _together(new, formers)
    masks = _atoms(releases)
    if len(masks) > _MOST_ATOMS:
        return  # told by `unsearched`
    inside = np.array([[mask >> nth & 1 for mask in masks] for nth in range(len(releases))], float)
    for form in [*NAMES, *_ARMS]:
        shown = [_numbers(release.tables, form) for release in releases]
        chosen = [nth for nth, numbers in enumerate(shown) if len(numbers)]
        if len(chosen) < 3 or chosen[0]:
            continue  # a pair is subtracted elsewhere; and the new one has to be among them
        _, first = np.unique(inside[chosen], axis=0, return_index=True)
        different = [chosen[nth] for nth in sorted(first)]
        yield form, inside[different], [shown[nth] for nth in different]


def unsearched(new: Release, formers: Sequence[Release]) -> str:
    """What `of_unions` does not try, in words; empty if it tries everything."""
    if len(formers) < 2:
        return ""
    if len(formers) > _MOST_RELEASES:
        return _LATER.format(most=_MOST_RELEASES)
    if len(_atoms(_together(new, formers))) > _MOST_ATOMS:
        return _ATOMS.format(most=_MOST_ATOMS)
    for _, rows, _ in _systems(new, formers):
        _, missing = _projected(rows)
        unknown = int((np.diag(missing) >= _TOLD).sum())
        if _largest_union(unknown) < unknown:
            return _UNIONS.format(size=_largest_union(unknown))
    return ""


def _together(new: Release, formers: Sequence[Release]) -> list[Release]:
    return [new, *list(formers)[::-1][:_MOST_RELEASES]]


def _atoms(releases: Sequence[Release]) -> list[int]:
    """The groups that releases tell apart; bit k of a group is set if it is in release k."""
    where: Counter[bytes] = Counter()
    for nth, release in enumerate(releases):
        for subject in release.subjects:
            where[subject] |= 1 << nth
    return sorted(set(where.values()))


def _projected(rows: Floats) -> tuple[Floats, Floats]:
    """What gives the atoms from the releases, and what of each atom no sum of releases gives."""
    inverse = np.asarray(np.linalg.pinv(rows), dtype=np.float64)
    return inverse, np.eye(rows.shape[1]) - inverse @ rows


def _weights(rows: Floats) -> Iterator[Floats]:
    """Coefficients of the releases that give a union, for each union that the first one tells.

    A union of atoms is told if the releases' rows span its vector u of zeros and ones: with P the
    projection on what they span, if u (I - P) u is zero, which is a sum of entries of I - P. Atoms
    that are told alone need not be put into unions: these have no small cell that the rest has not.
    """
    inverse, missing = _projected(rows)
    is_told = np.diag(missing) < _TOLD
    for union in (np.flatnonzero(is_told)[:, np.newaxis], *_unions(np.flatnonzero(~is_told))):
        gap = np.zeros(len(union))
        for one, other in itertools.product(union.T, repeat=2):
            gap += missing[one, other]
        is_new = np.abs(inverse[union, 0].sum(axis=1)) > _NEAR
        for each in union[(gap < _TOLD) & is_new]:
            yield inverse[each].sum(axis=0)


def _sums(weights: Floats, numbers: Sequence[Floats]) -> Floats | None:
    """Every sum of a table of each release; `None` if there are too many, or none is whole."""
    sums = np.zeros((1, numbers[0].shape[1]))
    for weight, rows in zip(weights, numbers, strict=True):
        if abs(weight) > _NEAR:
            if len(sums) * len(rows) > _MOST_SUMS:
                return None
            sums = (sums[:, np.newaxis] + weight * rows).reshape(-1, sums.shape[1])
    return sums


def _largest_union(atoms: int) -> int:
    return atoms if atoms <= _ALL_UNIONS else 3 if atoms <= _TRIPLES else 2


def _unions(atoms: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Unions of two atoms or more, by their size, of shape (m, size)."""
    for size in range(2, _largest_union(len(atoms)) + 1):
        if size == 2:  # of many atoms these are many
            yield atoms[np.column_stack(np.triu_indices(len(atoms), 1))]
        else:
            chosen = list(itertools.combinations(range(len(atoms)), size))
            yield atoms[np.array(chosen, dtype=np.int64).reshape(-1, size)]


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

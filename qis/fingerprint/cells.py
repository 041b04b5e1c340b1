"""Cells: groups of published diseases, as routing keys that find more mates for the same traffic.

Their centres are those of spherical k-means (Dhillon & Modha 2001) over the profiles of diseases.
All of it is sums of whole numbers, so that every site that builds cells from the same releases has
the same ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from os import PathLike
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from qis._canonical import encode
from qis._gate import checked
from qis._given import instance, shown, whole_number
from qis._paths import file_path, opening
from qis.errors import InputError
from qis.fingerprint import _cells_file
from qis.fingerprint.ontology import Ontology

Integers = npt.NDArray[np.int64]

_LENGTH: Final = 1 << 14
"""Length of a profile and of a centre: sums over all profiles, squared, fit 63 bits."""
_MOST_PROFILES: Final = 100_000
_MOST_CELLS: Final = 4_096
_MOST_ROUNDS: Final = 10
_MOST_KEYS: Final = 24
_LEAST_EACH: Final = 2
"""Diseases per cell on average; with fewer most centres would be one disease each."""
_REGISTRIES: Final = ("DECIPHER", "DOID", "MONDO", "OMIM", "ORPHA", "ORPHANET")
"""Prefixes of ids of published diseases."""


class _Profile(NamedTuple):
    """A profile as a vector of length `_LENGTH`: its terms' rows, and their components."""

    rows: npt.NDArray[np.intp]
    components: Integers


class Cells:
    """Groups of published diseases; `build_cells` makes them.

    Parameters
    ----------
    source
        The releases that they were built from, in words.
    terms
        Ids of the terms that a centre has, sorted.
    table
        What each term adds to the score of each cell: whole numbers, shape (terms, cells).

    Examples
    --------
    >>> import qis
    >>> toy = qis.Ontology("toy/1", {"cold": ["ill"], "flu": ["ill"], "rash": ["ill"]}, None)
    >>> profiles = [["cold"], ["cold", "flu"], ["rash"], ["rash", "flu"]]
    >>> diseases = {f"OMIM:{number}": terms for number, terms in enumerate(profiles)}
    >>> cells = qis.build_cells(toy, diseases, source="toy diseases, release 1", count=2)
    >>> scheme = qis.TermScheme(toy, levels=[qis.NearestCells(cells, keys=1)])
    >>> scheme.routing_keys(["cold"]) == scheme.routing_keys(["rash"])
    False

    """

    def __init__(self, source: str, terms: Iterable[str], table: Integers) -> None:
        self.source = source
        self.terms = tuple(terms)
        self._row = {term: row for row, term in enumerate(self.terms)}
        self._table = table

    def __len__(self) -> int:
        return int(self._table.shape[1])

    def __repr__(self) -> str:
        return f"<Cells {self.digest.hex()}: {len(self)} of {self.source}>"

    @cached_property
    def digest(self) -> bytes:
        """16 bytes over terms and centres: sites meet only if theirs are the same.

        The source, which is for people, is not in it.
        """
        hasher = blake3(encode(["qis cells 1", len(self), list(self.terms)]))
        return hasher.update(self._table.astype("<i8").tobytes()).digest(16)

    @checked
    def save(self, path: str | PathLike[str]) -> None:
        """Write the cells to a file, which is replaced in one step.

        Building takes half a minute, loading a second; and sites that load one file have the same
        cells. It holds group centres of published diseases, and nothing of this site.
        """
        contents = _cells_file.SavedCells(self.source, self.terms, self._table)
        with opening(path, "write"):
            _cells_file.write(file_path(path), contents)

    @classmethod
    @checked
    def load(cls, path: str | PathLike[str], *, digest: bytes | None = None) -> Self:
        """Read cells that were saved.

        Parameters
        ----------
        path
            The file.
        digest
            What the network agreed on, if it did: other cells are an error.

        Raises
        ------
        InputError
            If it is no file of cells, is damaged or cut short, or has another digest.
        StorageError
            If it cannot be read.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import qis
        >>> toy = qis.Ontology("toy/1", {"cold": ["ill"], "rash": ["ill"]}, None)
        >>> diseases = {"OMIM:1": ["cold"], "OMIM:2": ["rash"]}
        >>> cells = qis.build_cells(toy, diseases, source="toy diseases, release 1", count=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "cells")
        ...     cells.save(path)
        ...     qis.fingerprint.Cells.load(path, digest=cells.digest).source
        'toy diseases, release 1'

        """
        with opening(path, "read"):
            cells = cls(*_cells_file.read(file_path(path)))
        _require_digest(cells, digest)
        return cells

    @checked
    def nearest(self, terms: Iterable[str], most: int) -> tuple[int, ...]:
        """The cells whose centres are most like a profile, the most alike first.

        Parameters
        ----------
        terms
            All terms of the profile, what they are kinds of included; others than the cells'
            are passed over.
        most
            How many at most, at least 1; cells that have nothing in common with the profile are
            none of them.

        Raises
        ------
        InputError
            If `most` is less, or a parameter is of another kind.

        """
        most = whole_number(most, "most", 1, 2**63)
        rows = [self._row[term] for term in terms if term in self._row]
        scores = self._table[rows].sum(axis=0)
        order = np.argsort(-scores, kind="stable")[:most]
        return tuple(int(cell) for cell in order if scores[cell] > 0)


@dataclass(frozen=True, slots=True)
class NearestCells:
    """A level whose keys are the cells nearest to a profile.

    Parameters
    ----------
    cells
        The same at all sites of a network: see `Cells.digest`.
    keys
        How many cells, 1–24: more find more, and more travels.

    Raises
    ------
    InputError
        If a parameter is of another kind or out of range.

    Examples
    --------
    >>> import qis
    >>> toy = qis.Ontology("toy/1", {"cold": ["ill"], "rash": ["ill"]}, None)
    >>> diseases = {"OMIM:1": ["cold"], "OMIM:2": ["rash"]}
    >>> cells = qis.build_cells(toy, diseases, source="toy diseases, release 1", count=1)
    >>> qis.NearestCells(cells, keys=8).keys
    8

    """

    cells: Cells
    keys: int = 12

    def __post_init__(self) -> None:
        instance(self.cells, "cells", Cells, "build_cells(ontology, profiles, source=…)")
        object.__setattr__(self, "keys", whole_number(self.keys, "keys", 1, _MOST_KEYS))

    @checked
    def contents(self, terms: Iterable[str], ontology: Ontology) -> tuple[bytes, ...]:
        """The cells' numbers, with their digest; none if no term is any disease's."""
        found = self.cells.nearest(ontology.closure(terms), self.keys)
        return tuple(b"cell " + self.cells.digest + cell.to_bytes(2, "big") for cell in found)


@checked
def build_cells(
    ontology: Ontology,
    profiles: str | PathLike[str] | Mapping[str, Iterable[str]],
    *,
    source: str,
    count: int = 512,
    digest: bytes | None = None,
) -> Cells:
    """Group the profiles of published diseases into cells.

    Takes some half a minute with all of the Human Phenotype Ontology's annotations.

    Parameters
    ----------
    ontology
        The release in which profiles are read.
    profiles
        ``phenotype.hpoa``, or a map of ids of published diseases (OMIM, ORPHA, MONDO, DECIPHER,
        DOID) to their terms. A site's own cases are refused: the centre of one case *is* that case,
        and would be told to all who ever test a guess of it.
    source
        Names the releases of both, for people.
    count
        How many cells, 1–4,096, at most half as many as there are distinct profiles.
    digest
        What the network agreed on, if it did: cells that come out otherwise are an error, since
        their keys would lead nowhere.

    Returns
    -------
    Cells
        The same on every machine for the same ontology and profiles, in whatever order.

    Raises
    ------
    InputError
        If an id is none of a published disease, there are too few profiles or too many, or the
        digest is another.

    Examples
    --------
    >>> import qis
    >>> parents = {"heart": ["all"], "lung": ["all"], "valve": ["heart"]}
    >>> diseases = {"OMIM:1": ["valve"], "OMIM:2": ["lung"], "OMIM:3": ["heart", "lung"]}
    >>> bare = qis.Ontology("toy/1", parents, None)
    >>> ontology = qis.Ontology("toy/1", parents, bare.information_from(diseases))
    >>> len(qis.build_cells(ontology, diseases, source="toy/1", count=1))
    1

    """
    if not source.strip():
        raise InputError("source names the releases that the cells come from", field="source")
    count = whole_number(count, "count", 1, _MOST_CELLS)
    if not isinstance(profiles, Mapping):
        from qis.fingerprint.ontology_files import read_annotations  # noqa: PLC0415

        profiles = read_annotations(profiles)
    _require_published(profiles)
    terms, vectors = _vectors(ontology, profiles)
    distinct = len({(each.rows.tobytes(), each.components.tobytes()) for each in vectors})
    if not _LEAST_EACH * count <= distinct or len(vectors) > _MOST_PROFILES:
        raise InputError(
            f"{distinct} distinct profiles with usable terms for {count} cells; at least "
            f"{_LEAST_EACH} for each cell, and at most {_MOST_PROFILES} profiles: take fewer cells",
            field="count",
            actual=count,
            limit=distinct // _LEAST_EACH,
        )
    weights = np.array([_weight(ontology, term) for term in terms], np.int64)
    centres = _centres(vectors, len(terms), count)
    cells = Cells(source, terms, weights[:, None] * centres)
    _require_digest(cells, digest)
    return cells


def _require_digest(cells: Cells, digest: bytes | None) -> None:
    if digest is not None and digest != cells.digest:
        raise InputError(
            f"these cells have the digest {cells.digest.hex()}, not {digest.hex()}: they come from "
            "another release of the ontology or of the profiles, and nobody would be met",
            field="digest",
            actual=cells.digest.hex(),
            limit=digest.hex(),
        )


def _require_published(profiles: Mapping[str, Iterable[str]]) -> None:
    for name in profiles:
        prefix, colon, rest = str(name).partition(":")
        if prefix.upper() not in _REGISTRIES or not colon or not rest.strip():
            raise InputError(
                f"{shown(name)} is no id of a published disease ({', '.join(_REGISTRIES)}, as in "
                "OMIM:154700): cells are not made of a site's own cases, since the centre of one "
                "case is that case",
                field="profiles",
                actual=name,
            )


def _weight(ontology: Ontology, term: str) -> int:
    """Weigh a term as in the cosine of `TermScheme`, rounded down."""
    own, added = ontology.steps(term)
    return isqrt(own * added)


def _vectors(
    ontology: Ontology, profiles: Mapping[str, Iterable[str]]
) -> tuple[list[str], list[_Profile]]:
    """The terms of all profiles, sorted; and the profiles, in an order that names do not decide."""
    sets = [ontology.resolve(terms).terms for terms in profiles.values()]
    weight = {term: _weight(ontology, term) for term in ontology.terms if ontology.is_used(term)}
    closed = [
        sorted(term for term in ontology.closure(terms) if weight.get(term)) for terms in sets
    ]
    closed = sorted(filter(None, closed), key=lambda terms: (blake3(encode(terms)).digest(), terms))
    used = sorted({term for terms in closed for term in terms})
    row = {term: number for number, term in enumerate(used)}
    vectors = []
    for terms in closed:
        weights = [weight[term] for term in terms]
        length = isqrt(sum(value * value for value in weights))
        rows = np.array([row[term] for term in terms], np.intp)
        components = [value * _LENGTH // length for value in weights]
        vectors.append(_Profile(rows, np.array(components, np.int64)))
    return used, vectors


def _centres(vectors: list[_Profile], terms: int, count: int) -> Integers:
    """Centres of k-means, shape (terms, count): whole numbers, each of length `_LENGTH`."""
    centres = np.zeros((terms, count), np.int64)
    for cell, start in enumerate(_distinct(vectors)[:count]):
        centres[start.rows, cell] = start.components
    nearest = np.full(len(vectors), -1)
    for _ in range(_MOST_ROUNDS):
        # Scores are whole numbers below 2²⁸, so exact in float64 in whatever order they are added.
        exact = centres.astype(np.float64)
        scores = ((each.components.astype(np.float64) @ exact[each.rows]) for each in vectors)
        found = np.array([int(each.argmax()) for each in scores])
        if np.array_equal(found, nearest):
            break
        nearest = found
        sums = np.zeros_like(centres)
        for each, cell in zip(vectors, nearest.tolist(), strict=True):
            sums[each.rows, cell] += each.components
        squared = (sums**2).sum(axis=0).tolist()
        lengths = np.array([isqrt(each) or 1 for each in squared], np.int64)
        # A cell that nobody is nearest to keeps its centre.
        centres = np.where(np.array(squared) > 0, sums * _LENGTH // lengths, centres)
    return centres


def _distinct(vectors: list[_Profile]) -> list[_Profile]:
    found: dict[tuple[bytes, bytes], _Profile] = {}
    for each in vectors:
        found.setdefault((each.rows.tobytes(), each.components.tobytes()), each)
    return list(found.values())

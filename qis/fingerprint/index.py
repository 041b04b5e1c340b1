"""Many fingerprints to search: the most similar, or all that are similar enough, exactly."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from qis._gate import checked
from qis._paths import file_path, opening
from qis.about import SKETCH_SIZE, Fingerprint, OfScheme
from qis.errors import InputError
from qis.fingerprint import _index_file
from qis.fingerprint._bit_index import BitIndex
from qis.fingerprint._growing import Growing
from qis.fingerprint._term_index import TermIndex
from qis.fingerprint.fields import FieldScheme
from qis.fingerprint.scheme import Scheme
from qis.fingerprint.terms import TermScheme
from qis.picture.html import with_table

Sketches = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


@with_table
class Neighbour(NamedTuple):
    """One result of a search.

    Examples
    --------
    >>> import qis
    >>> scheme = qis.VectorScheme(dimensions=2)
    >>> index = qis.FingerprintIndex(scheme)
    >>> index.add(scheme.fingerprints([[1.0, 0.0], [0.0, 1.0]]))
    range(0, 2)
    >>> (nearest,) = index.search(scheme.fingerprint([1.0, 0.0]), 1)
    >>> nearest.position, nearest.similarity
    (0, 1.0)

    """

    position: int
    """What `FingerprintIndex.add` returned for it."""
    similarity: float
    """The scheme's similarity to what was searched for, in [0, 1]."""


class _SketchRows(Protocol):
    """Sketches in rows 0, 1, …, laid out so that one kind of scheme searches them fast.

    `gone` says which rows are passed over; `None`: none of them.
    """

    def extend(self, sketches: Sketches) -> None: ...
    def keep(self, is_kept: Flags) -> None: ...
    def sketches(self) -> Sketches: ...
    def nearest(self, sketch: bytes, k: int, gone: Flags | None) -> Found: ...
    def within(self, sketch: bytes, min_similarity: float, gone: Flags | None) -> Found: ...


class FingerprintIndex:
    """Fingerprints of one scheme, for up to some 10⁶, in memory.

    Results are exact in the scheme's own `similarity`, the most similar first; of equally similar
    ones the one that was added first. Adding and removing one at a time costs as much, on average,
    as all at once. Not safe for use by several threads while one changes it.

    Parameters
    ----------
    scheme
        The scheme whose fingerprints it holds.

    Examples
    --------
    >>> import qis
    >>> scheme = qis.VectorScheme(dimensions=3)
    >>> index = qis.FingerprintIndex(scheme)
    >>> index.add(scheme.fingerprints([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.1, 0.0]]))
    range(0, 3)
    >>> [found.position for found in index.search(scheme.fingerprint([1.0, 0.0, 0.0]), k=2)]
    [0, 2]

    """

    @checked
    def __init__(self, scheme: Scheme[Any]) -> None:
        self._scheme = OfScheme(scheme.id, scheme.description)
        self._require_own = scheme.require_own
        self._rows = _rows(scheme)
        self._positions = Growing(np.empty(0, np.int64))  # ascending
        self._gone = Growing(np.empty(0, np.bool_))
        self._removed = 0
        self._next = 0

    def __len__(self) -> int:
        return len(self._positions) - self._removed

    def __contains__(self, position: object) -> bool:
        if type(position) is not int or not 0 <= position < self._next:
            return False
        return bool(self._rows_at(np.array([position], np.int64))[0] >= 0)

    @checked
    def add(self, fingerprints: Iterable[Fingerprint]) -> range:
        """Add fingerprints; equal ones may be added again.

        Returns
        -------
        range
            Their positions, in order. A position is never given twice, even after removal.

        Raises
        ------
        SchemeMismatchError
            If one is of another scheme; then none is added.
        InputError
            If one is sealed, as in a packet: `Scheme.open` reads it. Then none is added.

        """
        added = list(fingerprints)
        self._require_own(*added)
        joined = b"".join([fingerprint.sketch for fingerprint in added])
        self._rows.extend(np.frombuffer(joined, np.uint8).reshape(-1, SKETCH_SIZE))
        positions = range(self._next, self._next + len(added))
        self._positions.extend(np.arange(positions.start, positions.stop, dtype=np.int64))
        self._gone.extend(np.zeros(len(added), np.bool_))
        self._next = positions.stop
        return positions

    @checked
    def remove(self, positions: Iterable[int]) -> None:
        """Remove what was added under these positions.

        The memory of what was removed is given back once it is half of all.

        Raises
        ------
        InputError
            If nothing is at one of them; then none is removed.

        """
        gone = np.unique(np.array(list(positions), np.int64))
        rows = self._rows_at(gone)
        missing = gone[rows < 0]
        if len(missing):
            raise InputError(
                f"nothing is at {len(missing)} of the positions, the first is {missing[0]}",
                field="positions",
                actual=missing.tolist(),
            )
        self._gone.rows[rows] = True
        self._removed += len(rows)
        if 2 * self._removed > len(self._positions):
            self._close_gaps()

    def _rows_at(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """The row of each position, −1 where nothing is."""
        rows = np.searchsorted(self._positions.rows, positions)
        found = np.full(len(positions), -1)
        inside = np.flatnonzero(rows < len(self._positions))
        inside = inside[self._positions.rows[rows[inside]] == positions[inside]]
        inside = inside[~self._gone.rows[rows[inside]]]
        found[inside] = rows[inside]
        return found

    def _close_gaps(self) -> None:
        if self._removed:
            is_kept = ~self._gone.rows
            self._rows.keep(is_kept)
            self._positions.keep(is_kept)
            self._gone.keep(is_kept)
            self._removed = 0

    @property
    def _passed_over(self) -> Flags | None:
        return self._gone.rows if self._removed else None

    @checked
    def search(self, fingerprint: Fingerprint, k: int = 10) -> list[Neighbour]:
        """The k most similar fingerprints, fewer if the index holds fewer.

        Raises
        ------
        SchemeMismatchError
            If the fingerprint is of another scheme.
        InputError
            If k is not a whole number from 1 on.

        """
        self._require_own(fingerprint)
        if type(k) is not int or k < 1:
            raise InputError(
                f"k is {k!r:.60}; it is a whole number from 1 on", field="k", actual=k, limit=1
            )
        return self._matches(self._rows.nearest(fingerprint.sketch, k, self._passed_over))

    @checked
    def within(self, fingerprint: Fingerprint, min_similarity: float) -> list[Neighbour]:
        """All fingerprints that are at least this similar.

        Raises
        ------
        SchemeMismatchError
            If the fingerprint is of another scheme.
        InputError
            If `min_similarity` is not in [0, 1].

        Examples
        --------
        >>> import qis
        >>> scheme = qis.VectorScheme(dimensions=2)
        >>> index = qis.FingerprintIndex(scheme)
        >>> index.add(scheme.fingerprints([[1.0, 0.1], [-1.0, 0.2]]))
        range(0, 2)
        >>> [found.position for found in index.within(scheme.fingerprint([1.0, 0.1]), 0.9)]
        [0]

        """
        self._require_own(fingerprint)
        if not 0.0 <= min_similarity <= 1.0:
            raise InputError(
                f"min_similarity is {min_similarity!r}; it lies in [0, 1]",
                field="min_similarity",
                actual=min_similarity,
                limit=(0.0, 1.0),
            )
        return self._matches(
            self._rows.within(fingerprint.sketch, min_similarity, self._passed_over)
        )

    @checked
    def save(self, path: str | Path) -> None:
        """Write the index to a file, which is replaced as a whole or, on failure, stays as it was.

        The file holds the sketches as they are: keep it like the data they were made of.

        Raises
        ------
        StorageError
            If it cannot be written.

        """
        self._close_gaps()
        positions, sketches = self._positions.rows, self._rows.sketches()
        contents = _index_file.Contents(self._next, positions, sketches)
        with opening(path, "write"):
            _index_file.write(file_path(path), self._scheme.scheme_id, contents)

    @classmethod
    @checked
    def load(cls, path: str | Path, scheme: Scheme[Any]) -> Self:
        """The index that `save` wrote, with the same positions.

        Raises
        ------
        StorageError
            If the file is missing or cannot be read.
        InputError
            If it is no index, or damaged.
        SchemeMismatchError
            If it holds fingerprints of another scheme.

        """
        with opening(path, "read"):
            of = OfScheme(scheme.id, scheme.description)
            contents = _index_file.read(Path(path), of)
        index = cls(scheme)
        index._rows.extend(contents.sketches)
        index._positions.extend(contents.positions)
        index._gone.extend(np.zeros(len(contents.positions), np.bool_))
        index._next = contents.next_position
        return index

    def _matches(self, found: Found) -> list[Neighbour]:
        rows, similarities = found
        pairs = zip(self._positions.rows[rows].tolist(), similarities.tolist(), strict=True)
        return [Neighbour(position, similarity) for position, similarity in pairs]

    def __repr__(self) -> str:
        return f"<FingerprintIndex of {len(self)} sketches>"


def _rows(scheme: Scheme[Any]) -> _SketchRows:
    if isinstance(scheme, FieldScheme):
        return BitIndex(scheme)
    if isinstance(scheme, TermScheme):
        return TermIndex(scheme)
    raise InputError(
        f"no index for the similarity of a {type(scheme).__name__}",
        field="scheme",
        actual=type(scheme).__name__,
    )

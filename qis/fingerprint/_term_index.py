"""Exact search among term sketches: an inverted index over the terms that they imply.

Shared weight is added up from lists of the rows that have each of the query's terms. The terms that
most rows have would make long lists; they are one bit each in a word of every row instead, and
their weights are looked up a byte at a time. Weights are whole numbers, so all sums are exact, and
a search gives what the scheme's own similarity gives.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from qis.about import SKETCH_SIZE, Fingerprint
from qis.fingerprint._growing import Growing
from qis.fingerprint.terms import TermScheme

_COMMON: Final = 64
"""Number of the commonest terms that are kept as bits of a word for each row, not as lists."""
_UNSORTED: Final = 1_024
"""Rows, or a 64th of all if that is more, that may wait for the lists to be made anew."""

Sketches = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Found = tuple[npt.NDArray[np.int64], Floats]


class TermIndex:
    """Rows of sketches of a `TermScheme`."""

    def __init__(self, scheme: TermScheme) -> None:
        self._scheme = scheme
        self._column = {term: number for number, term in enumerate(scheme.ontology.terms)}
        self._sketches = Growing(np.empty((0, SKETCH_SIZE), np.uint8))
        self._terms: list[npt.NDArray[np.int32]] = []
        self._totals = Growing(np.empty(0, np.float64))
        self._sort()

    def extend(self, sketches: Sketches) -> None:
        """Append rows; sketches of shape (n, 32)."""
        totals = np.empty(len(sketches), np.float64)
        for number, sketch in enumerate(sketches):
            squares, totals[number] = self._scheme.squared_weights(sketch.tobytes())
            self._terms.append(np.array([self._column[term] for term in squares], np.int32))
        self._sketches.extend(sketches)
        self._totals.extend(totals)

    def keep(self, is_kept: Flags) -> None:
        """Drop all other rows and close the gaps; shape (rows,)."""
        self._sketches.keep(is_kept)
        self._totals.keep(is_kept)
        self._terms = [self._terms[row] for row in np.flatnonzero(is_kept).tolist()]
        self._sort()

    def sketches(self) -> Sketches:
        """All rows, shape (rows, 32)."""
        return self._sketches.rows

    def nearest(self, sketch: bytes, k: int, gone: Flags | None = None) -> Found:
        """The k most similar rows and their similarities, best first, ties by row."""
        similarities = self._similarities(sketch, gone)
        rows = np.flatnonzero(similarities >= 0.0)
        if k < len(rows):
            least = np.partition(similarities, len(similarities) - k)[-k]
            rows = np.flatnonzero(similarities >= least)
        return self._ordered(rows, similarities, k)

    def within(self, sketch: bytes, min_similarity: float, gone: Flags | None = None) -> Found:
        """All rows of at least this similarity, best first, ties by row."""
        similarities = self._similarities(sketch, gone)
        rows = np.flatnonzero(similarities >= min_similarity)
        return self._ordered(rows, similarities, len(rows))

    @staticmethod
    def _ordered(rows: npt.NDArray[np.intp], similarities: Floats, k: int) -> Found:
        order = np.lexsort((rows, -similarities[rows]))[:k]
        best = rows[order].astype(np.int64)
        return best, similarities[best]

    def _similarities(self, sketch: bytes, gone: Flags | None) -> Floats:
        """The similarity of every row to a sketch, shape (rows,), in [0, 1]; −1 of those gone."""
        if len(self._terms) - self._sorted > max(_UNSORTED, self._sorted // 64):
            self._sort()
        squares, total = self._scheme.squared_weights(sketch)
        weight = np.zeros(len(self._column))
        columns = np.array([self._column[term] for term in squares], np.intp)
        weight[columns] = list(squares.values())
        shared = self._shared_common(weight)
        rare = [column for column in columns.tolist() if self._bit[column] < 0]
        lists = [self._rows[self._starts[column] : self._starts[column + 1]] for column in rare]
        if lists:
            sizes = [len(rows) for rows in lists]
            shared += np.bincount(
                np.concatenate(lists),
                weights=np.repeat(weight[rare], sizes),
                minlength=self._sorted,
            )
        # Rows that came since the lists were made: few, so that making them anew can wait.
        late = [weight[terms].sum() for terms in self._terms[self._sorted :]]
        shared = np.concatenate([shared, np.array(late, np.float64)])
        totals = self._totals.rows
        with np.errstate(invalid="ignore", divide="ignore"):
            similarities = np.minimum(shared / np.sqrt(totals * float(total)), 1.0)
        similarities[shared == 0.0] = 0.0
        if not total:  # nothing that it implies says anything: only the same terms are similar
            query = Fingerprint(sketch, self._scheme.id)
            for row in np.flatnonzero(totals == 0.0).tolist():
                other = Fingerprint(self._sketches.rows[row].tobytes(), self._scheme.id)
                similarities[row] = self._scheme.similarity(query, other)
        if gone is not None:
            similarities[gone] = -1.0
        return similarities

    def _shared_common(self, weight: Floats) -> Floats:
        """Shared weight of the common terms, from a table for each byte of the rows' words."""
        shared = np.zeros(self._sorted)
        for byte in range(_COMMON // 8):
            of_bits = [weight[term] for term in self._common[8 * byte : 8 * byte + 8]]
            if not any(of_bits):
                continue
            table = np.zeros(256)
            for bit, value in enumerate(of_bits):
                table += np.where(np.arange(256) >> bit & 1, value, 0.0)
            shared += table[self._words[byte]]
        return shared

    def _sort(self) -> None:
        """Build the lists of rows by term, of all rows."""
        sizes = [len(terms) for terms in self._terms]
        terms = np.concatenate([np.empty(0, np.int32), *self._terms])
        rows = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        counts = np.bincount(terms, minlength=len(self._column))
        self._common = np.argsort(-counts, kind="stable")[:_COMMON].tolist()
        self._bit = np.full(len(self._column), -1)
        self._bit[self._common] = np.arange(len(self._common))
        self._words = np.zeros((_COMMON // 8, len(sizes)), np.uint8)
        bits = self._bit[terms]
        is_common = bits >= 0
        np.bitwise_or.at(
            self._words,
            (bits[is_common] // 8, rows[is_common]),
            (1 << bits[is_common] % 8).astype(np.uint8),
        )
        order = np.argsort(terms[~is_common], kind="stable")
        self._rows = rows[~is_common][order]
        rare = np.where(self._bit < 0, counts, 0)
        self._starts = np.concatenate([[0], np.add.accumulate(rare)])
        self._sorted = len(sizes)

"""Exact search among sketches that are compared field by field: one streaming pass in numpy.

Sketches lie column by column, so that a block of one word each stays in the processor's cache and
is compared by XOR and population count.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from qis.about import SKETCH_SIZE
from qis.fingerprint.fields import SKETCH_BITS, FieldScheme

_BLOCK = 32_768
_FIRST_BLOCK = 1_024  # small, so that the others come with a bound on what is near
_WORDS = SKETCH_SIZE // 8
_ROW_BITS = 40  # distance (at most 256) and row share one int64, so that one sort orders both

Sketches = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


class BitIndex:
    """Rows of sketches of a scheme that compares field by field."""

    def __init__(self, scheme: FieldScheme[Any]) -> None:
        self._planes = scheme.field_bits
        self._similarities = np.array(scheme.similarities[::-1])  # by number of differing fields
        self._farthest = int(np.argmin(self._similarities))  # from here on all are equally far
        self._columns = np.empty((_WORDS, 0), np.uint64)
        self._count = 0

    def extend(self, sketches: Sketches) -> None:
        """Append rows; sketches of shape (n, 32)."""
        count, capacity = self._count + len(sketches), self._columns.shape[1]
        if count > capacity:
            grown = np.empty((_WORDS, max(count, 2 * capacity)), np.uint64)
            grown[:, : self._count] = self._columns[:, : self._count]
            self._columns = grown
        self._columns[:, self._count : count] = sketches.view("<u8").T
        self._count = count

    def keep(self, is_kept: npt.NDArray[np.bool_]) -> None:
        """Drop all other rows and close the gaps; shape (rows,)."""
        self._columns = self._columns[:, : self._count][:, is_kept]
        self._count = self._columns.shape[1]

    def sketches(self) -> Sketches:
        """All rows, shape (rows, 32)."""
        words = np.ascontiguousarray(self._columns[:, : self._count].T, dtype="<u8")
        return words.view(np.uint8)

    def nearest(self, sketch: bytes, k: int, gone: Flags | None = None) -> Found:
        """The k most similar rows and their similarities, best first, ties by row."""
        query = np.frombuffer(sketch, "<u8")
        best = np.empty(0, np.int64)
        reach = self._farthest
        for start, differing in self._blocks(query):
            found = self._keys(query, start, differing, reach, gone)
            best = np.concatenate([best, found])
            if len(found) and len(best) >= k:
                best = np.partition(best, k - 1)[:k]
                reach = int(best[-1] >> _ROW_BITS) - 1  # later rows lose ties
                if reach < 0:
                    break
        return self._decode(best)

    def within(self, sketch: bytes, min_similarity: float, gone: Flags | None = None) -> Found:
        """All rows of at least this similarity, best first, ties by row."""
        query = np.frombuffer(sketch, "<u8")
        reach = int(np.count_nonzero(self._similarities >= min_similarity)) - 1
        blocks = self._blocks(query) if reach >= 0 else ()
        keys = [self._keys(query, start, differing, reach, gone) for start, differing in blocks]
        return self._decode(np.concatenate([np.empty(0, np.int64), *keys]))

    def _blocks(self, query: npt.NDArray[np.uint64]) -> Iterator[tuple[int, Sketches]]:
        """Yield the first row of each block, and the differing fields of its rows modulo 256."""
        block = min(_BLOCK, self._count)
        groups = self._planes, _WORDS // self._planes
        words = np.empty((*groups, block), np.uint64)
        bits = np.empty((groups[1], block), np.uint8)
        differing = np.empty(block, np.uint8)
        starts = [0, *range(_FIRST_BLOCK, self._count, _BLOCK), self._count]
        for start, stop in pairwise(starts):
            columns = self._columns[:, start:stop]
            part = slice(columns.shape[1])
            np.bitwise_xor(
                columns.reshape(*groups, columns.shape[1]),
                query.reshape(*groups, 1),
                out=words[..., part],
            )
            for plane in words[1:]:
                np.bitwise_or(words[0, :, part], plane[:, part], out=words[0, :, part])
            np.bitwise_count(words[0, :, part], out=bits[:, part])
            np.add.reduce(bits[:, part], axis=0, dtype=np.uint8, out=differing[part])
            yield start, differing[part]

    def _keys(
        self,
        query: npt.NDArray[np.uint64],
        start: int,
        differing: Sketches,
        reach: int,
        gone: Flags | None,
    ) -> npt.NDArray[np.int64]:
        """Return ``distance << 40 | row`` of the rows in a block that differ by up to `reach`."""
        is_near = (
            differing <= reach if reach < self._farthest else np.ones(len(differing), np.bool_)
        )
        if gone is not None:
            is_near = is_near & ~gone[start : start + len(differing)]
        rows = np.flatnonzero(is_near)
        distances = differing[rows].astype(np.int64)
        # 256 differing fields wrap to 0 in uint8; the first word tells these from equal sketches.
        wrapped = (distances == 0) & (self._columns[0, start + rows] != query[0])
        distances[wrapped] = SKETCH_BITS
        distances = np.minimum(distances, self._farthest)
        return ((distances << _ROW_BITS) + start + rows)[distances <= reach]

    def _decode(self, keys: npt.NDArray[np.int64]) -> Found:
        keys = np.sort(keys)
        return keys & ((1 << _ROW_BITS) - 1), self._similarities[keys >> _ROW_BITS]

"""Exact search among sketches that are compared field by field: one streaming pass in numpy.

Sketches lie word by word, in columns. Each word of a block is compared on its own, by XOR and
population count in memory that is used again, so that all intermediate results stay in the
processor's second cache and a search reads the sketches once and writes next to nothing.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from qis.about import SKETCH_SIZE
from qis.fingerprint.fields import SKETCH_BITS, FieldScheme

_BLOCK = 32_768  # rows: 256 KiB for one word of each
_FIRST = 4_096  # rows that say how near the others have to be
_WORDS = SKETCH_SIZE // 8
_ROW_BITS = 40  # distance (at most 256) and row share one int64, so that one sort orders both

Sketches = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
_NONE = np.empty(0, np.int64)


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
        differing = self._differing(query)
        best = _NONE
        reach = self._farthest
        for start, stop in ((0, _FIRST), (_FIRST, self._count)):
            found = self._keys(query, start, differing[start:stop], reach, gone)
            best = np.concatenate([best, found])
            if len(best) >= k:
                best = np.partition(best, k - 1)[:k]
                reach = int(best[-1] >> _ROW_BITS) - 1  # later rows lose ties
                if reach < 0:
                    break
        return self._decode(best)

    def within(self, sketch: bytes, min_similarity: float, gone: Flags | None = None) -> Found:
        """All rows of at least this similarity, best first, ties by row."""
        query = np.frombuffer(sketch, "<u8")
        reach = int(np.count_nonzero(self._similarities >= min_similarity)) - 1
        if reach < 0:
            return self._decode(_NONE)
        return self._decode(self._keys(query, 0, self._differing(query), reach, gone))

    def _differing(self, query: npt.NDArray[np.uint64]) -> Sketches:
        """Count the fields of each row that differ, modulo 256."""
        differing = np.empty(self._count, np.uint8)
        size = min(_BLOCK, self._count)
        words, plane, bits = (np.empty(size, kind) for kind in (np.uint64, np.uint64, np.uint8))
        groups = _WORDS // self._planes  # words that hold one bit of each field in them
        for start in range(0, self._count, _BLOCK):
            columns = self._columns[:, start : min(start + _BLOCK, self._count)]
            part = slice(columns.shape[1])
            here = differing[start : start + _BLOCK]
            for group in range(groups):
                np.bitwise_xor(columns[group], query[group], out=words[part])
                for word in range(group + groups, _WORDS, groups):  # any bit of a field
                    np.bitwise_xor(columns[word], query[word], out=plane[part])
                    np.bitwise_or(words[part], plane[part], out=words[part])
                if group:
                    np.bitwise_count(words[part], out=bits[part])
                    np.add(here, bits[part], out=here)
                else:
                    np.bitwise_count(words[part], out=here)
        return differing

    def _keys(
        self,
        query: npt.NDArray[np.uint64],
        start: int,
        differing: Sketches,
        reach: int,
        gone: Flags | None,
    ) -> npt.NDArray[np.int64]:
        """Return ``distance << 40 | row`` of the rows from `start` on that are within `reach`."""
        if reach < self._farthest:
            is_near = differing <= reach
        else:
            is_near = np.ones(len(differing), np.bool_)
        if gone is not None:
            is_near &= ~gone[start : start + len(differing)]
        rows = _where(is_near)
        distances = differing[rows].astype(np.int64)
        # 256 differing fields wrap to 0 in uint8; the first word tells these from equal sketches.
        wrapped = (distances == 0) & (self._columns[0, start + rows] != query[0])
        distances[wrapped] = SKETCH_BITS
        distances = np.minimum(distances, self._farthest)
        return ((distances << _ROW_BITS) + start + rows)[distances <= reach]

    def _decode(self, keys: npt.NDArray[np.int64]) -> Found:
        keys = np.sort(keys)
        return keys & ((1 << _ROW_BITS) - 1), self._similarities[keys >> _ROW_BITS]


def _where(flags: Flags) -> npt.NDArray[np.int64]:
    """Where flags are set, as `numpy.flatnonzero`, which takes as long for few as for many."""
    whole = len(flags) // 8 * 8
    eights = np.flatnonzero(flags[:whole].view(np.uint64))
    rows = (eights[:, None] * 8 + np.arange(8)).ravel()
    return np.concatenate([rows[flags[rows]], whole + np.flatnonzero(flags[whole:])])

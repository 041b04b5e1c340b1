"""An array that grows at its end: adding one row at a time costs as much as all at once."""

from typing import Any

import numpy as np
import numpy.typing as npt


class Growing:
    """Rows of one dtype and shape, in memory that is doubled when it is full.

    Parameters
    ----------
    empty
        An array of no rows, which says dtype and shape of a row.

    """

    def __init__(self, empty: npt.NDArray[Any]) -> None:
        self._buffer = empty
        self._count = 0

    @property
    def rows(self) -> npt.NDArray[Any]:
        """All rows: a view, valid until the next change."""
        return self._buffer[: self._count]

    def __len__(self) -> int:
        return self._count

    def extend(self, added: npt.NDArray[Any]) -> None:
        """Append rows."""
        count = self._count + len(added)
        if count > len(self._buffer):
            shape = max(count, 2 * len(self._buffer)), *self._buffer.shape[1:]
            grown = np.empty(shape, self._buffer.dtype)
            grown[: self._count] = self.rows
            self._buffer = grown
        self._buffer[self._count : count] = added
        self._count = count

    def keep(self, is_kept: npt.NDArray[np.bool_]) -> None:
        """Drop all other rows and close the gaps."""
        self._buffer = self.rows[is_kept]
        self._count = len(self._buffer)

"""The gate for columns and tables of numbers, of any library that gives arrays.

Conversion by numpy alone would take texts and truth values for numbers, and drop the mask of a
masked array. What is wrong is named by its row, and by the row's label where the table has labels.
"""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from qis._given import as_float, hint, is_iterable, real_number, scalar, shown
from qis.errors import InputError

_MOST_DIMENSIONS = 8


def vector(value: Any, field: str, *, booleans: bool = False) -> NDArray[np.float64]:
    """Return a column of finite numbers as a new float64 array of shape (n,).

    A missing value, a mask, a text or a boolean (unless `booleans`) is refused by its row.
    """
    return _table(value, field, 1, booleans=booleans)


def matrix(value: Any, field: str, *, booleans: bool = False) -> NDArray[np.float64]:
    """Return a table of finite numbers as a new float64 array of shape (n, p); see `vector`."""
    return _table(value, field, 2, booleans=booleans)


def rows(value: Any, field: str) -> NDArray[np.float64]:
    """Return vectors as a float64 array of shape (n, p); see `vector`. Booleans are 0 and 1.

    Vectors may be a table, or a list of columns of any library. An array of numpy's numbers is
    taken as it is, infinite values too, since whoever computes with it finds these for nothing.
    """
    if _is_plain(value):
        plain: NDArray[np.float64] = value.astype(np.float64, copy=False)
        return plain
    is_list = isinstance(value, (list, tuple))
    if not is_list or (len(value) != 1 and set(map(type, value)) <= {list, tuple}):
        return matrix(value, field, booleans=True)
    found = [
        row.astype(np.float64, copy=False)
        if _is_plain(row)
        else vector(row, field if len(value) == 1 else f"{field}[{number}]", booleans=True)
        for number, row in enumerate(value)
    ]
    if len({row.shape for row in found}) != 1 or found[0].ndim != 1:
        raise InputError(
            f"{field} have shapes {sorted({row.shape for row in found})!r:.60}; they are vectors "
            "of one length",
            field=field,
        )
    return np.stack(found)


def _is_plain(value: Any) -> bool:
    """True for an array of numpy's own numbers, without a mask."""
    return type(value) is np.ndarray and value.dtype.kind in "iuf"


def array(value: Any, field: str) -> NDArray[np.float64]:
    """Return a number, column or table of finite numbers as a float64 array of its own shape."""
    try:
        dimensions = np.ndim(value) if hasattr(value, "__array__") else _depth(value)
    except Exception as error:  # any class's own __array__ may raise anything
        raise InputError(f"{field} is {shown(value)}, no numbers", field=field) from error
    if dimensions:
        return _table(value, field, dimensions, booleans=False)
    return np.array(real_number(value, field, -np.inf, np.inf))


def _depth(value: Any) -> int:
    """How many lists are in one another."""
    depth = 0
    while isinstance(value, (list, tuple)) and depth < _MOST_DIMENSIONS:
        depth += 1
        value = value[0] if value else None
    return depth


def _table(value: Any, field: str, dimensions: int, *, booleans: bool) -> NDArray[np.float64]:
    expected = "a column of numbers" if dimensions == 1 else "a table of numbers"
    if (
        value is None
        or isinstance(value, (str, bytes, bytearray, dict, set, frozenset, type))
        or not (hasattr(value, "__array__") or is_iterable(value))
        or type(value).__module__.startswith("scipy.sparse")
    ):
        raise InputError(
            f"{field} is {shown(value)}; it must be {expected}", field=field, actual=value
        )
    labels = getattr(value, "index", None)
    if not hasattr(value, "__array__") and not isinstance(value, (list, tuple)):
        value = list(value)
    if isinstance(value, (list, tuple)) and np.ma.MaskedArray in set(map(type, value)):
        # numpy would drop the masks; as lists these have None where a value is missing.
        value = [row.tolist() if isinstance(row, np.ma.MaskedArray) else row for row in value]
    try:
        array = value if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    except Exception as error:  # any class's own __array__ may raise anything
        raise InputError(
            f"{field} cannot be read as {expected} (its rows may differ in length)", field=field
        ) from error
    if array.ndim != dimensions:
        raise InputError(
            f"{field} has {array.ndim} dimensions; it must be {expected}, with {dimensions}",
            field=field,
            actual=array.ndim,
            limit=dimensions,
        )
    if isinstance(array, np.ma.MaskedArray):
        masked = np.argwhere(np.ma.getmaskarray(array))
        if len(masked):
            _refuse_cell(field, labels, masked[0], "masked, a missing value", booleans=booleans)
        array = array.data
    # A list that mixes numbers with booleans or texts is converted by numpy before anybody sees it.
    mixed = isinstance(value, (list, tuple)) and not _only_numbers(value)
    if array.dtype.kind not in "iuf" or mixed:
        array = _cell_by_cell(
            np.array(value, dtype=object) if mixed else array, field, labels, booleans=booleans
        )
    found = np.array(array, dtype=np.float64)
    if not np.isfinite(found).all():
        row = np.argwhere(~np.isfinite(found))[0]
        cell = found[tuple(row)]
        what = f"{cell}, which is not finite" + (" (a missing value?)" if np.isnan(cell) else "")
        _refuse_cell(field, labels, row, what, booleans=booleans)
    return found + 0.0  # -0.0 becomes 0.0


def _only_numbers(rows: Any) -> bool:
    """True if a list, or a list of lists, holds nothing but `int` and `float`."""
    kinds = set(map(type, rows))
    if kinds <= {list, tuple}:
        kinds = {type(cell) for row in rows for cell in row}
    return kinds <= {int, float}


def _cell_by_cell(
    array: NDArray[Any], field: str, labels: Any, *, booleans: bool
) -> NDArray[np.float64]:
    if array.dtype.kind == "b" and booleans:
        return array.astype(np.float64)
    found = np.empty(array.shape)
    for where, cell in np.ndenumerate(array):
        number = as_float(cell)
        if number is None and booleans and isinstance(scalar(cell), bool):
            number = float(cell)
        if number is None:
            _refuse_cell(field, labels, where, shown(cell) + hint(cell), booleans=booleans)
        found[where] = number
    return found


def _refuse_cell(field: str, labels: Any, where: Any, what: str, *, booleans: bool) -> NoReturn:
    """Refuse one cell, by its row's label where the table has labels."""
    row = int(where[0])
    name = f"{field}[{', '.join(str(int(index)) for index in where)}]"
    label = ""
    if hasattr(labels, "dtype"):  # a data frame's index; a list's `index` is a method
        label = f" (row {labels[row]!r:.40})"
    kinds = "a finite number, or True or False" if booleans else "a finite number"
    raise InputError(f"{name}{label} is {what}; it must be {kinds}", field=field, actual=what)

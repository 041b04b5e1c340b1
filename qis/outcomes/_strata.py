"""Strata of people, from a column of labels."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis.errors import InputError

_MISSING = frozenset({"NoneType", "NAType", "NaTType"})


def strata_of(labels: ArrayLike | None, size: int) -> list[NDArray[np.bool_]]:
    """Who is in each stratum, masks of shape (size,); everybody in one if there are no labels.

    A label that is missing is refused: whoever has it would be compared with nobody.
    """
    if labels is None:
        return [np.ones(size, dtype=np.bool_)]
    try:
        column = np.asarray(labels)
    except Exception as error:  # any class's own __array__ may raise anything
        raise InputError("strata cannot be read as a column of labels", field="strata") from error
    if column.shape != (size,):
        raise InputError(
            f"strata has shape {column.shape}; it must be one label for each of the {size} people",
            field="strata",
            actual=column.shape,
            limit=(size,),
        )
    if column.dtype.kind in "cV":
        raise InputError("strata holds complex values or records, no labels", field="strata")
    masked = np.ma.getmaskarray(labels) if isinstance(labels, np.ma.MaskedArray) else [False] * size
    missing = [
        row
        for row, label in enumerate(column.tolist())
        if masked[row]
        or type(label).__name__ in _MISSING
        or (isinstance(label, float) and math.isnan(label))
    ]
    if missing:
        raise InputError(
            f"strata is missing for {len(missing)} people, first in row {missing[0]}: leave them "
            "out, or give them a label",
            field="strata",
            actual=len(missing),
            limit=0,
        )
    try:
        _, inverse = np.unique(column, return_inverse=True)
    except TypeError:
        raise InputError("strata mixes types that have no order", field="strata") from None
    return [inverse == which for which in range(int(inverse.max()) + 1)]

"""The hyperplanes of `VectorScheme`: normally distributed integers, the same on every machine.

Planes of ±1 would be few in few dimensions, four in three up to sign, and sums of few features
would often be zero whatever the features. In few dimensions planes are also made orthogonal to one
another in groups, which makes the number of equal bits vary less (super-bit hashing; Ji et al.
2012). That is done with Python's floats, one operation at a time and with exactly rounded sums, so
that no processor, compiler or BLAS changes an integer.
"""

from math import fsum, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

DRAWN: Final = 8
"""Bytes that are added up to one component: normal but for tails beyond 4.8 deviations."""
PLANE_BITS: Final = 10
"""Components are at most 2¹⁰ in magnitude."""
_MEAN: Final = DRAWN * 255 // 2
_LENGTH: Final = 1 << PLANE_BITS
_MOST_ORTHOGONAL: Final = 32
"""Up to so many dimensions planes are made orthogonal: beyond, they nearly are."""
_ROWS: Final = 1_024


def planes_of(drawn: bytes, dimensions: int, count: int) -> npt.NDArray[np.float64]:
    """Planes from random bytes.

    Parameters
    ----------
    drawn
        ``dimensions * count * DRAWN`` bytes.
    dimensions, count
        Length and number of the planes.

    Returns
    -------
    numpy.ndarray
        Shape (dimensions, count), whole numbers as float64.

    """
    raw = np.frombuffer(drawn, np.uint8).reshape(dimensions, count, DRAWN)
    planes = np.empty((dimensions, count))
    for start in range(0, dimensions, _ROWS):
        part = slice(start, start + _ROWS)
        planes[part] = raw[part].sum(axis=2, dtype=np.int64) - _MEAN
    if dimensions > _MOST_ORTHOGONAL:
        return planes
    columns = planes.T.tolist()
    made: list[list[float]] = []
    for start in range(0, count, dimensions):
        made += _orthogonal(columns[start : start + dimensions])
    return np.array(made).T


def _orthogonal(group: list[list[float]]) -> list[list[float]]:
    """Gram-Schmidt, each then scaled to one length and rounded to whole numbers."""
    units: list[list[float]] = []
    for vector in group:
        rest = _unit(vector)
        for unit in units:
            share = fsum(a * b for a, b in zip(rest, unit, strict=True))
            rest = [a - share * b for a, b in zip(rest, unit, strict=True)]
        units.append(_unit(rest))
    return [[float(round(_LENGTH * value)) for value in unit] for unit in units]


def _unit(vector: list[float]) -> list[float]:
    length = sqrt(fsum(value * value for value in vector))
    if not length:  # all zero or, in a group, dependent: next to impossible, and no plane
        return [1.0, *[0.0] * (len(vector) - 1)]
    return [value / length for value in vector]

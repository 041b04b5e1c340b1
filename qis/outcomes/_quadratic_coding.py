"""Score and information in 16-bit numbers, positive definite after rounding.

The information travels as its diagonal and correlations, the score in units of its standard
deviation: plain 16-bit numbers would overflow, since features have units.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError

Floats = NDArray[np.float64]

UNIT: Final = 32767
"""A correlation of 1 on the wire."""
FLOOR: Final = 1e-6
"""Smallest eigenvalue of the correlations that are sent."""
MOST_DRAWN: Final = 1e-3
"""Largest part by which correlations are drawn towards zero to reach that."""
_LARGEST_SCORE: Final = 65_000.0
_LEAST_DRAWN: Final = 1e-6
_SMALLEST: Final = 1e-30


def coded(
    score: Floats, information: Floats
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """Scaled score, diagonal and correlations as they travel.

    Raises
    ------
    InputError
        If the information has a negative diagonal, or a score is beyond 65,000 standard deviations.

    """
    diagonal = information.diagonal().astype(np.float32).astype(np.float64)
    if (diagonal < 0.0).any():
        raise InputError("the information has a negative diagonal", field="information")
    said = diagonal > _SMALLEST
    diagonal[~said] = 0.0
    scale = np.sqrt(diagonal)
    safe = np.where(said, scale, 1.0)
    if score[~said].any():
        raise InputError(
            "the score pulls at a coefficient of which there is no information: the anchor is too "
            "far from the data; take one nearer",
            field="anchor",
        )
    scaled = np.where(said, score / safe, 0.0)
    largest = float(np.abs(scaled).max())
    if largest > _LARGEST_SCORE:
        raise InputError(
            f"the score is {largest:.3g} standard deviations from zero, more than "
            f"{_LARGEST_SCORE:g}: the anchor is too far from the data; take one nearer",
            field="anchor",
            actual=largest,
            limit=_LARGEST_SCORE,
        )
    correlations = np.where(np.outer(said, said), information / np.outer(safe, safe), 0.0)
    correlations = np.clip(0.5 * (correlations + correlations.T), -1.0, 1.0)
    np.fill_diagonal(correlations, 1.0)
    return tuple(scaled.tolist()), tuple(diagonal.tolist()), _definite(correlations)


def _definite(correlations: Floats) -> tuple[int, ...]:
    """Lower triangle by rows in units of 1/32767, drawn towards zero only as far as it must be."""
    size = len(correlations)
    lower = np.tril_indices(size, -1)
    drawn = 0.0
    while drawn <= MOST_DRAWN:
        packed = np.rint(correlations[lower] * (1.0 - drawn) * UNIT).astype(int)
        found = tuple(packed.tolist())
        if float(np.linalg.eigvalsh(unpacked(found, size))[0]) >= FLOOR:
            return found
        drawn = max(2.0 * drawn, _LEAST_DRAWN)
    raise InputError(
        "the information is not positive semidefinite, by more than rounding explains",
        field="information",
    )


def unpacked(correlations: tuple[int, ...], size: int) -> Floats:
    """The symmetric matrix with unit diagonal, float64 of shape (size, size)."""
    full = np.eye(size)
    lower = np.tril_indices(size, -1)
    full[lower] = np.array(correlations, dtype=np.float64) / UNIT
    full.T[lower] = full[lower]
    return full


def coefficients_in(size: int) -> int:
    """How many coefficients take this many bytes.

    Raises
    ------
    ValueError
        If no number does.

    """
    for count in range(1, 15):
        if 6 * count + count * (count - 1) == size:
            return count
    raise ValueError(f"{size} bytes are no score and information")

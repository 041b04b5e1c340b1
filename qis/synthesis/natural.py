"""Sums of natural parameters, and the coefficients that they give.

A quadratic log-likelihood about anchor a with score s and information H is, up to a constant, that
with natural parameters H and h = s + H a. Those add, also between anchors.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qis.errors import NoEstimateError

Floats = NDArray[np.float64]
_SINGULAR = 1e-12
"""Below this an eigenvalue of the information, scaled to a diagonal of ones, counts as zero."""


def summed(parts: Sequence[Floats]) -> Floats:
    """The sum of arrays of one shape, exact and rounded once, so that their order is no matter."""
    stacked = np.array(parts)
    flat = stacked.reshape(len(parts), -1)
    return np.array([math.fsum(column) for column in flat.T.tolist()]).reshape(stacked.shape[1:])


def solved(total: Floats, natural: Floats) -> tuple[Floats, Floats]:
    """Covariance and coefficients; scaled first, since features have units.

    Raises
    ------
    NoEstimateError
        If the information does not determine the coefficients.

    """
    diagonal = total.diagonal()
    if not (diagonal > 0.0).all():
        raise NoEstimateError(
            "no site says anything of some coefficient; leave it out, or give a ridge",
            field="outcomes",
            actual=np.flatnonzero(diagonal <= 0.0).tolist(),
        )
    scale = np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(total / np.outer(scale, scale))
    if float(values[0]) < _SINGULAR:
        raise NoEstimateError(
            "the coefficients are not determined: some feature is a sum of others at all sites; "
            "leave it out, or give a ridge",
            field="outcomes",
            actual=float(values[0]),
            limit=_SINGULAR,
        )
    inverse = (vectors / values) @ vectors.T
    covariance = inverse / np.outer(scale, scale)
    return covariance, (inverse @ (natural / scale)) / scale

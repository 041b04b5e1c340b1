"""Score and information coded in 16-bit numbers: a Cholesky factor and a whitened score.

The information is L Lᵀ and the score is L z. Rounding L leaves the product positive semidefinite
whatever is rounded, and where features are nearly collinear (eigenvalue e of the correlations) the
relative error is about 1e-4 / √e, while correlations in 16 bits have 1e-4 / e. Rounding z moves the
maximum by the rounding error itself, in standard errors, since it is in those units already; so z
shares one power of two.
"""

import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.outcomes._base import check_count

Floats = NDArray[np.float64]

UNIT: Final = 32767
"""Integers are in units of a power of two divided by this."""
_SMALLEST: Final = 1e-30
"""Information up to this counts as none."""
_ZERO: Final = 1e-10
"""A share of a coefficient's information, given the others, up to this is a rounding error."""
_NEGATIVE: Final = 1e-6
"""Rounding errors in a site's information are smaller than this, relative to its diagonal."""
_UNEXPLAINED: Final = 1e-3
"""Share of a score that may be left where there is no information; far from the data all is."""
_INDEFINITE: Final = "the information is not positive semidefinite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """The numbers that travel; the fields are those of `qis.outcomes.QuadraticLikelihood`."""

    score_exponent: int
    whitened: tuple[int, ...]
    diagonal: tuple[float, ...]
    exponents: tuple[int, ...]
    factors: tuple[int, ...]


def coded(score: Floats, information: Floats) -> Coded:
    """Round score and information to the numbers that travel.

    Raises
    ------
    InputError
        If the information is not positive semidefinite, or the score pulls at something of which
        there is no information: the anchor is too far from the data.

    """
    diagonal, exponents, factors = [], [], []
    exact = _cholesky(information)
    _check_pull(exact, score)
    for i, row in enumerate(exact):
        exponent, entries = _scaled(row[:i])
        exponents.append(exponent)
        factors += entries
        diagonal.append(_sixteen_bits(float(row[i])))
    # Whitened by the rounded factor, the one that travels: then rounding z is the only error of
    # the score, but where there is no information of its own.
    factor = unpacked(tuple(diagonal), tuple(exponents), tuple(factors))
    score_exponent, whitened = _scaled(_nearest(factor, score))
    return Coded(
        score_exponent=score_exponent,
        whitened=tuple(whitened),
        diagonal=tuple(diagonal),
        exponents=tuple(exponents),
        factors=tuple(factors),
    )


def _scaled(numbers: Floats) -> tuple[int, list[int]]:
    """Integers in units of 2**exponent / 32767, with the exponent that the numbers share."""
    largest = float(np.abs(numbers).max(initial=0.0))
    exponent = math.frexp(largest)[1] if largest > 0.0 else 0
    return exponent, np.rint(numbers * (UNIT * 2.0**-exponent)).astype(int).tolist()


def check_scaled(exponent: int, integers: tuple[int, ...], field: str) -> None:
    """Raise `InputError` unless these are what `_scaled` gives for some numbers."""
    check_count(exponent, field, -126, 126)
    for integer in integers:
        check_count(integer, field, -UNIT, UNIT)
    largest = max(map(abs, integers), default=0)
    if (largest <= UNIT // 2) if largest else exponent != 0:
        raise InputError(f"{field} has another exponent than its own numbers", field=field)


def unpacked(
    diagonal: tuple[float, ...], exponents: tuple[int, ...], factors: tuple[int, ...]
) -> Floats:
    """The lower triangular factor, float64 of shape (p, p)."""
    size = len(diagonal)
    factor = np.zeros((size, size))
    lower = np.tril_indices(size, -1)
    factor[lower] = np.array(factors, dtype=np.float64) / UNIT
    factor *= np.exp2(np.array(exponents, dtype=np.float64))[:, np.newaxis]
    np.fill_diagonal(factor, diagonal)
    return factor


def pack(parts: Coded) -> bytes:
    """Pack into 1 + 6p + p(p - 1) bytes, in the layout of `qis.outcomes.quadratic`."""
    size = len(parts.diagonal)
    rows = b"".join(
        struct.pack("<b", exponent) + struct.pack("<f", entry)[1:]
        for exponent, entry in zip(parts.exponents, parts.diagonal, strict=True)
    )
    return (
        struct.pack(f"<b{size}h", parts.score_exponent, *parts.whitened)
        + rows
        + struct.pack(f"<{len(parts.factors)}h", *parts.factors)
    )


def unpack(packed: bytes) -> Coded:
    """The inverse of `pack`.

    Raises
    ------
    ValueError
        If no number of coefficients takes so many bytes.

    """
    size = next((p for p in range(1, 15) if 1 + 6 * p + p * (p - 1) == len(packed)), None)
    if size is None:
        raise ValueError(f"{len(packed)} bytes are no score and information")
    rows = packed[1 + 2 * size : 1 + 6 * size]
    score_exponent, *whitened = struct.unpack(f"<b{size}h", packed[: 1 + 2 * size])
    return Coded(
        score_exponent=score_exponent,
        whitened=tuple(whitened),
        diagonal=tuple(
            struct.unpack("<f", b"\0" + rows[4 * i + 1 : 4 * i + 4])[0] for i in range(size)
        ),
        exponents=struct.unpack(f"<{size}b", rows[::4]),
        factors=struct.unpack(f"<{size * (size - 1) // 2}h", packed[1 + 6 * size :]),
    )


def _cholesky(information: Floats) -> Floats:
    """Lower triangular factor; a coefficient without information, given those before, has a 0."""
    size = len(information)
    diagonal = information.diagonal()
    scale = np.sqrt(np.where(diagonal > _SMALLEST, diagonal, 1.0))
    scaled = 0.5 * (information + information.T) / np.outer(scale, scale)
    factor = np.zeros((size, size))
    for i in range(size):
        if diagonal[i] <= _SMALLEST:
            if np.abs(scaled[i]).max() > _NEGATIVE:
                raise InputError(
                    "the information is not positive semidefinite", field="information"
                )
            continue
        for j in range(i):
            if factor[j, j] > 0.0:
                rest = scaled[i, j] - float(factor[i, :j] @ factor[j, :j])
                factor[i, j] = rest / factor[j, j]
        left = 1.0 - float(factor[i, :i] @ factor[i, :i])
        if left < -_NEGATIVE:
            raise InputError(_INDEFINITE, field="information")
        factor[i, i] = math.sqrt(left) if left > _ZERO else 0.0
    return factor * scale[:, np.newaxis]


def _whitened(factor: Floats, score: Floats) -> Floats:
    """The z that solves L z = score, by forward substitution; 0 where there is no information."""
    z = np.zeros(len(score))
    for i, row in enumerate(factor):
        if row[i] > 0.0:
            z[i] = (score[i] - row[:i] @ z[:i]) / row[i]
    return z


def _nearest(factor: Floats, score: Floats) -> Floats:
    """The z whose L z is nearest to the score, each entry in units of its row.

    Where some coefficient has no information of its own, as with fewer people than coefficients,
    forward substitution would leave to the last rows what rounding did to all of them, and more.
    """
    told = factor.diagonal() > 0.0
    size = np.abs(factor).max(axis=1, initial=0.0)
    if not (size[~told] > 0.0).any():
        return _whitened(factor, score)
    scale = np.where(size > 0.0, size, 1.0)
    z = np.zeros(len(score))
    z[told] = np.linalg.lstsq(factor[:, told] / scale[:, np.newaxis], score / scale)[0]
    return z


def _check_pull(factor: Floats, score: Floats) -> None:
    """Raise `InputError` if the score is not in the span of the information.

    It is asked of the factor before that is rounded: with fewer people than coefficients, what
    rounding adds up to in the last rows has no bound and is no fault of the data.
    """
    z = _whitened(factor, score)
    left = np.abs(score - factor @ z)
    terms = np.abs(score) + np.abs(factor) @ np.abs(z)
    if (left > _UNEXPLAINED * terms + 1e-9 * np.abs(factor).max(axis=1, initial=0.0)).any():
        raise InputError(
            "the score pulls at something of which there is no information: the anchor is too far "
            "from the data, or the data are not those of the information",
            field="anchor",
        )


def _sixteen_bits(number: float) -> float:
    """Round to 16 significant bits: the low byte of the float32 is zero, and need not travel."""
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(mantissa * 2**16), exponent - 16)

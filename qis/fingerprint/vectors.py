"""Sketches of vectors: random hyperplanes (SimHash; Charikar 2002), the same bits on every machine.

The input is quantised to integers so small that every partial sum of their products with ±1 is
exact in float32, so neither the order of summation nor the BLAS can change a bit.
"""

from collections.abc import Sequence
from math import frexp, isfinite, ldexp
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from qis._given import whole_number
from qis.about import SKETCH_SIZE, Fingerprint
from qis.errors import InputError
from qis.fingerprint.fields import SKETCH_BITS, FieldScheme, fingerprints_of

MAX_DIMENSIONS = 65_536
_EXACT_BITS = 24  # integers up to 2²⁴ are exact in float32
_SMALL = 2.0**-100  # below, a factor that makes the largest value near 2²⁴ may overflow

Vector = Sequence[float] | npt.NDArray[Any]


class VectorScheme(FieldScheme[Vector]):
    """Fingerprints of real vectors by the signs of 256 random projections.

    `similarity` is the share of equal bits, 1 − d/256 at d differing bits. For independent
    hyperplanes its expectation at an angle θ is 1 − θ/π, so cos θ ≈ cos(π(1 − similarity)); its
    standard deviation is at most 1/32. Only directions count: x and 2x have one fingerprint.

    Parameters
    ----------
    dimensions
        Length of the vectors, 1–65,536. Scale the features so that each matters as it should, and
        centre them: vectors of all-positive features are all alike.
    secret
        32 bytes, see `Scheme`.
    bands, band_bits
        One routing key for each of `bands` groups of `band_bits` bits; together at most 256 bits.
        Take 24 × 5 up to some 30,000 agents, 42 × 6 above.

    Raises
    ------
    InputError
        If a parameter is out of range.

    Examples
    --------
    >>> import qis
    >>> scheme = qis.VectorScheme(dimensions=3)
    >>> a, b = scheme.fingerprint([0.2, -1.0, 0.7]), scheme.fingerprint([0.2, -1.1, 0.7])
    >>> scheme.similarity(a, b) > 0.9
    True

    """

    field_bits = 1
    similarities = tuple(equal / SKETCH_BITS for equal in range(SKETCH_BITS + 1))
    default_min_similarity = 1.0 - 80 / SKETCH_BITS

    def __init__(
        self,
        dimensions: int,
        *,
        secret: bytes | None = None,
        bands: int = 24,
        band_bits: int = 5,
    ) -> None:
        dimensions = whole_number(dimensions, "dimensions", 1, MAX_DIMENSIONS)
        bands = whole_number(bands, "bands", 1, 42)
        band_bits = whole_number(band_bits, "band_bits", 1, 64)
        if not (bands * band_bits <= SKETCH_BITS):
            raise InputError(
                f"{bands} bands of {band_bits} bits; at most 42 bands, 64 bits each and "
                f"{SKETCH_BITS} bits together",
                field="bands",
                actual=(bands, band_bits),
                limit=SKETCH_BITS,
            )
        super().__init__(["qis vectors 1", dimensions, bands, band_bits], secret=secret)
        self.dimensions = dimensions
        self.bands = bands
        self.band_bits = band_bits
        self._bits = _EXACT_BITS - (dimensions - 1).bit_length()
        signs = np.frombuffer(self._derive(b"hyperplanes", dimensions * SKETCH_SIZE), np.uint8)
        planes = np.unpackbits(signs).reshape(dimensions, SKETCH_BITS).astype(np.float32)
        self._planes = np.multiply(planes, 2.0, dtype=np.float32) - np.float32(1.0)

    def fingerprints(self, batch: Any) -> list[Fingerprint]:
        """The fingerprints of many vectors.

        Parameters
        ----------
        batch
            Array of shape (n, dimensions), any real dtype.

        Raises
        ------
        InputError
            If the shape is wrong, a value is not finite, or a vector is all zero.

        """
        return fingerprints_of(self._sketches(batch), self._id, self._what, is_open=self.is_keyed)

    def routing_keys(self, features: Vector) -> tuple[bytes, ...]:
        """One key for each band, 8 bytes each, sorted."""
        bits = int.from_bytes(self._sketches([features]), "big")
        mask = (1 << self.band_bits) - 1
        size = (self.band_bits + 7) // 8
        keys = set()
        for band in range(self.bands):
            shift = SKETCH_BITS - (band + 1) * self.band_bits
            keys.add(self._routing_key(band, (bits >> shift & mask).to_bytes(size, "big")))
        return tuple(sorted(keys))

    def _sketches(self, batch: Any) -> bytes:
        """All sketches, one after the other."""
        bits = (self._quantised(batch) @ self._planes) > 0.0  # an exact zero gives a 0
        return np.packbits(bits, axis=1).tobytes()

    def _quantised(self, batch: Any) -> npt.NDArray[np.float32]:
        """Round to integers so small that the sum over all dimensions is at most 2²⁴ in magnitude.

        Returns shape (n, dimensions), dtype float32.

            Each vector is multiplied by the power of two that brings its largest value to the upper
            half of the range, and rounded half to even: both are exact in float32 as in float64.
        """
        values = self._as_array(batch)
        quantised = np.abs(values)
        largest = quantised.max(axis=1)
        if not _are_ordinary(largest.tolist()):
            _require_direction(largest)
            largest, exponents = np.frexp(largest)
            values = np.ldexp(values, -exponents[:, None])
        np.multiply(values, self._factors(largest), out=quantised)
        np.rint(quantised, out=quantised)
        exact: npt.NDArray[np.float32] = quantised.astype(np.float32, copy=False)
        return exact

    def _factors(self, largest: npt.NDArray[Any]) -> float | npt.NDArray[Any]:
        """Return the power of two that each vector is multiplied by: shape (n, 1), or one float."""
        if len(largest) == 1:  # plain floats are faster than arrays of one
            return ldexp(1.0, self._bits - frexp(largest[0])[1])
        exponents = np.frexp(largest)[1]
        column: npt.NDArray[Any] = np.ldexp(largest.dtype.type(1), self._bits - exponents)
        return column[:, None]

    def _as_array(self, batch: Any) -> npt.NDArray[Any]:
        """The batch as float32 if it is, else as float64."""
        try:
            values = np.asarray(batch)
            if values.dtype != np.float32:
                values = values.astype(np.float64, casting=_casting(values), copy=False)
        except Exception as error:  # noqa: BLE001  of a class' own __array__
            raise InputError(f"features are no real numbers: {error}", field="features") from None
        if values.ndim != 2 or values.shape[1] != self.dimensions:
            raise InputError(
                f"features have shape {values.shape[1:]}; this scheme has {self.dimensions} "
                "dimensions",
                field="features",
                actual=values.shape,
                limit=self.dimensions,
            )
        return values


def _casting(values: npt.NDArray[Any]) -> Literal["same_kind", "unsafe"]:
    """Refuse complex numbers, text and dates, which an unsafe cast would take for numbers."""
    return "unsafe" if values.dtype == np.object_ else "same_kind"


def _are_ordinary(largest: list[float]) -> bool:
    """True if all are finite and none is so small that its factor could overflow."""
    return min(largest, default=1.0) >= _SMALL and isfinite(sum(largest))


def _require_direction(largest: npt.NDArray[Any]) -> None:
    if not np.isfinite(largest).all():
        raise InputError("features hold a value that is not finite", field="features")
    if not largest.all():
        raise InputError("a vector of zeros has no direction", field="features")

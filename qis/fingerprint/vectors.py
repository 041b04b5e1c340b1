"""Sketches of vectors: random hyperplanes (SimHash; Charikar 2002), the same bits on every machine.

Input is quantised to integers so small that every partial sum of their products with the planes'
whole numbers is exact in float64, so neither the order of summation nor the BLAS can change a bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import frexp, isfinite, ldexp
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from qis._columns import matrix, rows, vector
from qis._gate import checked
from qis._given import whole_number
from qis.about import SKETCH_SIZE, Fingerprint
from qis.errors import InputError
from qis.fingerprint.fields import SKETCH_BITS, FieldScheme, Similar, fingerprints_of
from qis.fingerprint.planes import DRAWN, PLANE_BITS, planes_of

MAX_DIMENSIONS = 65_536
_EXACT_BITS = 53  # integers up to 2⁵³ are exact in float64
_SMALL = 2.0**-900  # below, a factor that makes the largest value near 2⁵³ may overflow
_DOMINANT: Final = 0.9
"""Share of a vector's squared length above which one component is nearly all of it."""
_TOO_MANY: Final = 0.2
_TOO_MANY_IN_SPACE: Final = 0.4
"""Share of the pairs of a batch that may be as similar as an interest asks; in up to three
dimensions, where a fifth to a third of directions drawn at random are."""
_SEVERAL: Final = 20
_LOOKED_AT: Final = 200
"""Least vectors of a batch whose pairs are looked at, and how many of them are."""
_DIGITS: Final = 3
"""Significant digits of means and scales, which others have to be told."""

Vector = Sequence[float] | npt.NDArray[Any]


class VectorScheme(FieldScheme[Vector]):
    """Fingerprints of real vectors by the signs of 256 random projections.

    `similarity` is the share of equal bits, 1 − d/256 at d differing bits. For independent
    hyperplanes its expectation at an angle θ is 1 − θ/π, so cos θ ≈ cos(π(1 − similarity)); its
    standard deviation is at most 1/32. Only directions count: x and 2x have one fingerprint.

    Parameters
    ----------
    dimensions
        Length of the vectors, 1–65,536.
    secret
        32 bytes, see `Scheme`.
    bands, band_bits
        One routing key for each of `bands` groups of `band_bits` bits; together at most 256 bits.
        Take 24 × 5 up to some 30,000 agents, 42 × 6 above.
    centre, scale
        Subtracted from each vector, and what it is then divided by: `dimensions` numbers each, part
        of the scheme and so the same at all sites. Without them features of unlike scales (age in
        years, a rate per litre) are compared by the largest one alone, and vectors of all-positive
        features are all alike. `fit` takes them from a sample.

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
        centre: Vector | None = None,
        scale: Vector | None = None,
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
        self.centre = _frozen(centre, "centre", dimensions)
        self.scale = _frozen(scale, "scale", dimensions)
        if self.scale is not None and not min(self.scale) > 0.0:
            raise InputError(
                f"scale has {min(self.scale)!r}; every component is divided by a number above 0",
                field="scale",
                actual=min(self.scale),
            )
        parameters: list[Any] = ["qis vectors 2", dimensions, bands, band_bits]
        if self.centre is not None or self.scale is not None:
            # Exact decimals, since the encoding has no real numbers.
            parameters += [list(map(repr, numbers or ())) for numbers in (self.centre, self.scale)]
        super().__init__(
            parameters,
            secret=secret,
            description=", ".join(map(str, parameters[:4]))
            + (", with centre or scale" if len(parameters) > len(parameters[:4]) else ""),
        )
        self.dimensions = dimensions
        self.bands = bands
        self.band_bits = band_bits
        self._bits = _EXACT_BITS - PLANE_BITS - (dimensions - 1).bit_length()
        drawn = self._derive(b"hyperplanes", dimensions * SKETCH_BITS * DRAWN)
        self._planes = planes_of(drawn, dimensions, SKETCH_BITS)

    @classmethod
    def fit(
        cls,
        sample: Any,
        *,
        secret: bytes | None = None,
        bands: int = 24,
        band_bits: int = 5,
    ) -> Self:
        """A scheme that centres and scales features as this sample needs.

        All sites of a network need the same scheme: one fits, and tells the others `centre` and
        `scale` (three significant digits). They are means and standard deviations of the sample, so
        take one that may be published, or a public one.

        Parameters
        ----------
        sample
            Array of shape (n, dimensions), n ≥ 2. A component that never varies is not scaled.
        secret, bands, band_bits
            The consortium's secret, and what routing keys are made of.

        Raises
        ------
        InputError
            If the shape is wrong or a value is not finite.

        Examples
        --------
        >>> import qis
        >>> ages_and_heights = [[34, 1.71], [51, 1.80], [8, 1.25], [70, 1.66]]
        >>> scheme = qis.VectorScheme.fit(ages_and_heights)
        >>> scheme.centre, scheme.scale
        ((40.8, 1.6), (22.8, 0.211))

        """
        values = matrix(sample, "sample", booleans=True)
        if len(values) < 2:
            raise InputError(
                f"sample has shape {values.shape}; it has two rows or more",
                field="sample",
                actual=values.shape,
            )
        scales = values.std(axis=0)
        return cls(
            values.shape[1],
            secret=secret,
            bands=bands,
            band_bits=band_bits,
            centre=[float(f"{mean:.{_DIGITS}g}") for mean in values.mean(axis=0)],
            scale=[float(f"{scale:.{_DIGITS}g}") if scale > 0.0 else 1.0 for scale in scales],
        )

    def fingerprints(self, batch: Any) -> list[Fingerprint]:
        """The fingerprints of many vectors.

        Parameters
        ----------
        batch
            Array of shape (n, dimensions), any real dtype, or a list of vectors of any library;
            booleans count 0 and 1. Of 20 or more, every fingerprint's
            `warnings` say if over a fifth of the pairs are as similar as an interest asks by
            default; each one's say if a single component is nearly all of its length.

        Raises
        ------
        InputError
            If the shape is wrong, a value is not finite, or a vector is all zero.

        """
        values = self._as_array(batch)
        quantised = self._quantised(values)
        sketches = self._signs(quantised)
        made = fingerprints_of(sketches, self._id, self._what, is_open=self.is_keyed)
        about_all = self._alike(sketches)
        for row, component in self._dominated(quantised):
            said = (
                f"component {component} is over {_DOMINANT:.0%} of this vector's squared length, "
                "so the others hardly count: scale the features, as VectorScheme.fit does"
            )
            made[row] = replace(made[row], warnings=(said,))
        if about_all:
            made = [replace(each, warnings=(*each.warnings, about_all)) for each in made]
        return made

    @checked
    def relevance(self, features: Vector, fingerprint: Fingerprint) -> float:
        """How relevant a sketch is to a vector that is known in full, in [0, 1].

        The share of equal bits where each counts as much as the vector is far from its plane, so
        that bits near to chance count little. Finds more of the nearest than `similarity`. An
        interest goes by `similarity`, which other nodes can check.
        """
        self.require_own(fingerprint)
        heights = (self._quantised(self._as_array([features])) @ self._planes)[0]
        bits = np.unpackbits(np.frombuffer(fingerprint.sketch, np.uint8)) > 0
        weights = np.abs(heights)
        # An exact zero counts nothing, and is not all of them: planes span the space.
        return float(weights[(heights > 0.0) == bits].sum() / weights.sum())

    @checked
    def explain(self, features: Vector, fingerprint: Fingerprint) -> str:
        """In words, how similar and how relevant a fingerprint is."""
        score = self.similarity(self.fingerprint(features), fingerprint)
        relevance = self.relevance(features, fingerprint)
        return (
            f"similarity {score:.2f}, above {self.percentile(score):.1%} of random pairs; "
            f"relevance {relevance:.2f}"
        )

    def _alike(self, sketches: bytes) -> str:
        """Say if a batch has a direction in common, so that its sketches tell nothing apart."""
        rows = np.frombuffer(sketches, np.uint8).reshape(-1, SKETCH_SIZE)
        if len(rows) < _SEVERAL:
            return ""
        words = rows[:: -(-len(rows) // _LOOKED_AT)].view(np.uint64)
        differing = np.bitwise_count(words[:, None] ^ words[None, :]).sum(axis=2, dtype=np.int64)
        most = SKETCH_BITS * (1.0 - self.default_min_similarity)
        passing = int(np.count_nonzero(differing <= most)) - len(words)
        share = passing / (len(words) * (len(words) - 1))
        if share <= (_TOO_MANY if self.dimensions > 3 else _TOO_MANY_IN_SPACE):
            return ""
        return (
            f"{share:.0%} of the pairs of these vectors are as similar as an interest asks: they "
            "have a direction in common; centre and scale them, as VectorScheme.fit does"
        )

    def _dominated(self, quantised: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
        """Rows that one component is nearly all of, and that component."""
        if self.dimensions == 1:
            return []
        squared = np.einsum("ij,ij->i", quantised, quantised)
        # The largest is below 2^bits by construction: few vectors are so short as to be asked.
        rows = np.flatnonzero(squared * _DOMINANT < 4.0**self._bits)
        found = []
        for row in rows.tolist():
            component = int(np.abs(quantised[row]).argmax())
            if quantised[row, component] ** 2 > _DOMINANT * squared[row]:
                found.append((row, component))
        return found

    def base_keys(self, features: Vector) -> tuple[bytes, ...]:
        """One key for each band, 8 bytes each, sorted."""
        bits = int.from_bytes(self._signs(self._quantised(self._as_array([features]))), "big")
        mask = (1 << self.band_bits) - 1
        size = (self.band_bits + 7) // 8
        keys = set()
        for band in range(self.bands):
            shift = SKETCH_BITS - (band + 1) * self.band_bits
            keys.add(self._routing_key(band, (bits >> shift & mask).to_bytes(size, "big")))
        return tuple(sorted(keys))

    def _relevance_to(self, features: Vector) -> Callable[[Fingerprint], float]:
        return Similar(self, self.fingerprint(features))

    def _signs(self, quantised: npt.NDArray[np.float64]) -> bytes:
        """All sketches, one after the other."""
        bits = (quantised @ self._planes) > 0.0  # an exact zero gives a 0
        return np.packbits(bits, axis=1).tobytes()

    def _quantised(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Round to integers so small that no sum of products is beyond 2⁵³ in magnitude.

        Each vector is multiplied by the power of two that brings its largest value to the upper
        half of the range, which is exact, and rounded half to even. Shape (n, dimensions).
        """
        quantised = np.abs(values)
        largest = quantised.max(axis=1)
        if not _are_ordinary(largest.tolist()):
            _require_direction(largest)
            largest, exponents = np.frexp(largest)
            values = np.ldexp(values, -exponents[:, None])
        np.multiply(values, self._factors(largest), out=quantised)
        return np.rint(quantised, out=quantised)

    def _factors(self, largest: npt.NDArray[Any]) -> float | npt.NDArray[Any]:
        """Return the power of two that each vector is multiplied by: shape (n, 1), or one float."""
        if len(largest) == 1:  # plain floats are faster than arrays of one
            return ldexp(1.0, self._bits - frexp(largest[0])[1])
        exponents = np.frexp(largest)[1]
        column: npt.NDArray[Any] = np.ldexp(largest.dtype.type(1), self._bits - exponents)
        return column[:, None]

    def _as_array(self, batch: Any) -> npt.NDArray[Any]:
        """The batch as float64, centred and scaled."""
        values = rows(batch, "features")
        if values.ndim != 2 or values.shape[1] != self.dimensions:
            raise InputError(
                f"features have shape {values.shape[1:]}; this scheme has {self.dimensions} "
                "dimensions",
                field="features",
                actual=values.shape,
                limit=self.dimensions,
            )
        # Element by element, so that every machine computes the same.
        if self.centre is not None:
            values = values - np.array(self.centre)
        if self.scale is not None:
            values = values / np.array(self.scale)
        return values


def _frozen(numbers: Vector | None, name: str, dimensions: int) -> tuple[float, ...] | None:
    """Centre or scale as a tuple of finite numbers."""
    if numbers is None:
        return None
    values = vector(numbers, name)
    if values.shape != (dimensions,):
        raise InputError(
            f"{name} has shape {values.shape}; it is {dimensions} finite numbers",
            field=name,
            actual=values.shape,
            limit=dimensions,
        )
    return tuple(values.tolist())


def _are_ordinary(largest: list[float]) -> bool:
    """True if all are finite and none is so small that its factor could overflow."""
    return min(largest, default=1.0) >= _SMALL and isfinite(sum(largest))


def _require_direction(largest: npt.NDArray[Any]) -> None:
    if not np.isfinite(largest).all():
        raise InputError("features hold a value that is not finite", field="features")
    if not largest.all():
        raise InputError("a vector of zeros has no direction", field="features")

"""Sketches that are compared field by field: what vectors and sets have in common.

The 256 bits are equally wide fields laid out in bit planes: plane j holds bit j of every field, so
that two sketches differ in as many fields as the OR of their planes' XORs has bits.
"""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from itertools import pairwise, repeat
from math import comb
from struct import unpack
from typing import Any, ClassVar

from qis._gate import checked
from qis.about import SKETCH_SIZE, Fingerprint, Near, differing_fields
from qis.errors import InputError
from qis.fingerprint.scheme import Features, Scheme

SKETCH_BITS = 8 * SKETCH_SIZE
_set_sketch = Fingerprint.__dict__["sketch"].__set__
_set_scheme_id = Fingerprint.__dict__["scheme_id"].__set__
_set_warnings = Fingerprint.__dict__["warnings"].__set__
_set_made_by = Fingerprint.__dict__["made_by"].__set__
_set_is_open = Fingerprint.__dict__["is_open"].__set__
_set_carried_by = Fingerprint.__dict__["carried_by"].__set__


class FieldScheme(Scheme[Features]):
    """A scheme whose similarity depends on the number of equal fields alone."""

    shares_sketch = True
    field_bits: ClassVar[int]
    """Bits of a field; 256 / field_bits fields fill a sketch."""
    similarities: ClassVar[tuple[float, ...]]
    """Similarity at 0, 1, … all fields equal: in [0, 1], never falling, 1 at the end."""

    @property
    def chance(self) -> float:
        """What `kernel` is for two fingerprints that have nothing in common, on average."""
        return 2.0**-self.field_bits

    @checked
    def similarity(self, a: Fingerprint, b: Fingerprint) -> float:
        """Similarity of two fingerprints, in [0, 1], from their number of equal fields.

        Raises
        ------
        SchemeMismatchError
            If one of them is of another scheme.

        """
        self.require_own(a, b)
        one, other = (int.from_bytes(each.sketch, "big") for each in (a, b))
        differing = differing_fields(one, other, self.field_bits)
        return self.similarities[SKETCH_BITS // self.field_bits - differing]

    @checked
    def kernel(self, a: Fingerprint, b: Fingerprint) -> float:
        """Share of equal fields of two fingerprints, in [0, 1]; positive semidefinite.

        Raises
        ------
        SchemeMismatchError
            If one of them is of another scheme.

        """
        self.require_own(a, b)
        one, other = (int.from_bytes(each.sketch, "big") for each in (a, b))
        count = SKETCH_BITS // self.field_bits
        return 1.0 - differing_fields(one, other, self.field_bits) / count

    @checked
    def relevance(self, features: Features, fingerprint: Fingerprint) -> float:
        """Similarity in [0, 1] to the fingerprint of the features, which say no more than it."""
        return self.similarity(self.fingerprint(features), fingerprint)

    def _relevance_to(self, features: Features) -> Callable[[Fingerprint], float]:
        return Similar(self, self.fingerprint(features))

    @checked
    def percentile(self, similarity: float) -> float:
        """Share of pairs that have nothing in common but chance and are less similar, in [0, 1]."""
        if not 0.0 <= similarity <= 1.0:
            raise InputError(
                f"similarity is {similarity!r}; it lies in [0, 1]",
                field="similarity",
                actual=similarity,
                limit=(0.0, 1.0),
            )
        # With the tolerance, a similarity that was rounded elsewhere still finds its own value.
        equal = bisect_left(self.similarities, similarity - 1e-12)
        return 1.0 - _chance_of_at_least(self.field_bits)[equal]

    @checked
    def similarity_at(self, top_fraction: float) -> float:
        """The smallest similarity that at most this fraction of chance pairs reaches."""
        if not 0.0 < top_fraction <= 1.0:
            raise InputError(
                f"top_fraction is {top_fraction!r}; it lies in (0, 1]",
                field="top_fraction",
                actual=top_fraction,
                limit=(0.0, 1.0),
            )
        if top_fraction == 1.0:
            return self.similarities[0]
        chances = _chance_of_at_least(self.field_bits)[1:]
        for chance, (below, reached) in zip(chances, pairwise(self.similarities), strict=False):
            if reached > below and chance <= top_fraction:
                return reached
        return self.similarities[-1]


class Similar:
    """Similarity to one fingerprint, and which sketches reach a given one."""

    def __init__(self, scheme: FieldScheme[Any], own: Fingerprint) -> None:
        self._scheme = scheme
        self._own = own

    def __call__(self, fingerprint: Fingerprint) -> float:
        """The similarity of a fingerprint, which is opened if it is sealed."""
        return self._scheme.similarity(self._own, self._scheme.open(fingerprint))

    def near(self, min_similarity: float) -> Near | None:
        """The sketches that are as similar as that; `None` if all are."""
        reaching = sum(similarity >= min_similarity for similarity in self._scheme.similarities)
        field_bits = self._scheme.field_bits
        if reaching > SKETCH_BITS // field_bits:
            return None
        return Near(self._own.scheme_id, self._own.sketch, field_bits, reaching - 1)


def fingerprints_of(
    sketches: bytes, scheme_id: bytes, made_by: str, *, is_open: bool
) -> list[Fingerprint]:
    """Fingerprints of sketches that lie one after the other, some three times as fast as singly."""
    if len(sketches) <= SKETCH_SIZE:
        if not sketches:
            return []
        return [Fingerprint(sketches, scheme_id, made_by=made_by, is_open=is_open)]
    # Its checks hold for the others.
    made = [Fingerprint(sketches[:SKETCH_SIZE], scheme_id, made_by=made_by, is_open=is_open)]
    count = len(sketches) // SKETCH_SIZE
    # Straight to the slots: `Fingerprint`'s checks cost more than a matrix product per sketch.
    made += map(object.__new__, repeat(Fingerprint, count - 1))
    parts = unpack(f"{SKETCH_SIZE}s" * count, sketches)
    for fingerprint, sketch in zip(made, parts, strict=True):
        _set_sketch(fingerprint, sketch)
        _set_scheme_id(fingerprint, scheme_id)
        _set_warnings(fingerprint, ())
        _set_made_by(fingerprint, made_by)
        _set_is_open(fingerprint, is_open)
        _set_carried_by(fingerprint, None)
    return made


@cache
def _chance_of_at_least(field_bits: int) -> tuple[float, ...]:
    """P(at least k fields of two independent sketches are equal), k = 0 …, from exact integers."""
    count, values = SKETCH_BITS // field_bits, 1 << field_bits
    shares = []
    reached = 0
    for equal in range(count, -1, -1):
        reached += comb(count, equal) * (values - 1) ** (count - equal)
        shares.append(reached / values**count)
    return tuple(reversed(shares))

"""Similarity that any node can check: in how many fields two sketches differ."""

from dataclasses import dataclass, field

from qis.about.fingerprint import SKETCH_SIZE


def differing_fields(a: int, b: int, field_bits: int) -> int:
    """How many fields of two sketches, as big-endian integers, differ.

    The 256 bits are fields of `field_bits` each, in bit planes: plane j holds bit j of every field.
    """
    differing = a ^ b
    if field_bits == 1:
        return differing.bit_count()
    count = 8 * SKETCH_SIZE // field_bits
    folded = 0
    for _ in range(field_bits):
        # The lowest `count` bits collect the OR of all planes; what lies above is cut off below.
        folded |= differing
        differing >>= count
    return (folded & (1 << count) - 1).bit_count()


@dataclass(frozen=True, slots=True)
class Near:
    """All sketches that differ from one in few fields: a similarity that any node can check.

    Parameters
    ----------
    scheme_id, sketch
        The fingerprint in the middle, 8 and 32 bytes.
    field_bits
        Width of a field: 1, 2, 4, 8 or 16 bits. The 256 bits of a sketch lie in bit planes: plane j
        holds bit j of every field.
    differing
        How many fields may differ, in [0, 256).

    """

    scheme_id: bytes
    sketch: bytes
    field_bits: int
    differing: int
    _bits: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bits", int.from_bytes(self.sketch, "big"))

    def covers(self, scheme_id: bytes, sketch: bytes) -> bool:
        """True if a sketch is of the same scheme and differs in at most `differing` fields."""
        if scheme_id != self.scheme_id:
            return False
        other = int.from_bytes(sketch, "big")
        return differing_fields(self._bits, other, self.field_bits) <= self.differing

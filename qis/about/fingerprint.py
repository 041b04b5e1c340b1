"""Semantic fingerprints, and when two of them can be compared."""

from dataclasses import dataclass, field

from qis._given import several, shown
from qis.errors import InputError, SchemeMismatchError

SKETCH_SIZE = 32
SCHEME_ID_SIZE = 8


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A semantic fingerprint: what an outcome or an interest is about.

    A fingerprint is not anonymous: see docs/fingerprints.md for what can be recovered from one.

    Parameters
    ----------
    sketch
        32 bytes, comparable only with sketches of the same scheme.
    scheme_id
        8 bytes that identify everything that decides the sketch's bits.
    warnings
        What of the features was not used as it was given, in words. Stays here: it does not travel
        and does not count in comparisons.
    made_by
        What the scheme is, in words, if the fingerprint was made here: told by the error that two
        schemes differ. Stays here, too.

    Raises
    ------
    InputError
        If a field is not `bytes` of its size.

    Examples
    --------
    >>> import qis
    >>> fingerprint = qis.VectorScheme(dimensions=3).fingerprint([0.2, -1.0, 0.7])
    >>> len(fingerprint.sketch), len(fingerprint.scheme_id)
    (32, 8)

    """

    sketch: bytes
    scheme_id: bytes
    warnings: tuple[str, ...] = field(default=(), compare=False, kw_only=True)
    made_by: str = field(default="", compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if type(self.made_by) is not str:
            raise InputError(
                f"made_by is {shown(self.made_by)}; it must be a text", field="made_by"
            )
        check_size(self.sketch, "sketch", SKETCH_SIZE)
        check_size(self.scheme_id, "scheme_id", SCHEME_ID_SIZE)
        if type(self.warnings) is not tuple or self.warnings:
            warnings = several(self.warnings, "warnings", "texts")
            if not all(isinstance(text, str) for text in warnings):
                raise InputError("warnings holds something else than texts", field="warnings")
            object.__setattr__(self, "warnings", tuple(warnings))

    def __repr__(self) -> str:
        return f"Fingerprint(sketch={self.sketch.hex()!r}, scheme_id={self.scheme_id.hex()!r})"


@dataclass(frozen=True, slots=True)
class OfScheme:
    """What belongs to a scheme, by its id; and what the scheme is in words, if that is known."""

    scheme_id: bytes
    made_by: str = ""


def require_same_scheme(a: Fingerprint | OfScheme, b: Fingerprint | OfScheme) -> None:
    """Raise `SchemeMismatchError`, which says how they differ, unless two are of one scheme."""
    if a.scheme_id != b.scheme_id:
        one, other = (
            f"{each.scheme_id.hex()} ({each.made_by or 'not made in this process'})"
            for each in (a, b)
        )
        hint = "make both with one scheme (same kind, parameters, ontology release and secret)"
        if a.made_by and a.made_by == b.made_by:
            hint = "they differ in the secret, or in an ontology of the same name"
        raise SchemeMismatchError(
            f"fingerprints of scheme {one} and scheme {other} cannot be compared: {hint}",
            field="scheme_id",
            actual=b.scheme_id.hex(),
            limit=a.scheme_id.hex(),
        )


def bit_agreement(a: Fingerprint, b: Fingerprint) -> float:
    """Share of equal bits of two sketches of one scheme, in [0, 1]; 0.5 is chance.

    Raises
    ------
    SchemeMismatchError
        If the two are of different schemes.

    """
    require_same_scheme(a, b)
    differing = (
        int.from_bytes(a.sketch, "little") ^ int.from_bytes(b.sketch, "little")
    ).bit_count()
    return 1.0 - differing / (8 * SKETCH_SIZE)


def check_size(value: object, name: str, size: int) -> None:
    """Raise `InputError` unless a value is `bytes` of this size."""
    if type(value) is not bytes or len(value) != size:
        actual = len(value) if isinstance(value, bytes) else shown(value)
        raise InputError(
            f"{name} must be exactly {size} bytes, not {actual}",
            field=name,
            actual=actual,
            limit=size,
        )

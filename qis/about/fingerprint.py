"""Semantic fingerprints, and when two of them can be compared."""

from dataclasses import dataclass, field

from qis._given import several, shown, truth_value
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
    is_open
        True if it was made with a secret and is not sealed: it must not leave as it is, and
        `Packet.sign` refuses it without ``seal=``.
    carried_by
        Issuer's key (32 bytes) and sequence of the packet that it was read from. If its scheme has
        a secret, its sketch is sealed by these: `scheme.open` reads it.

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
    is_open: bool = field(default=False, compare=False, kw_only=True)
    carried_by: tuple[bytes, int] | None = field(default=None, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if type(self.made_by) is not str:
            raise InputError(
                f"made_by is {shown(self.made_by)}; it must be a text", field="made_by"
            )
        truth_value(self.is_open, "is_open")
        if self.carried_by is not None:
            _check_carrier(self.carried_by)
        check_size(self.sketch, "sketch", SKETCH_SIZE)
        check_size(self.scheme_id, "scheme_id", SCHEME_ID_SIZE)
        if type(self.warnings) is not tuple or self.warnings:
            warnings = several(self.warnings, "warnings", "texts")
            if not all(isinstance(text, str) for text in warnings):
                raise InputError("warnings holds something else than texts", field="warnings")
            object.__setattr__(self, "warnings", tuple(warnings))

    def __repr__(self) -> str:
        return f"Fingerprint(sketch={self.sketch.hex()!r}, scheme_id={self.scheme_id.hex()!r})"


def _check_carrier(carried_by: object) -> None:
    kinds = [type(each) for each in carried_by] if type(carried_by) is tuple else []
    if kinds != [bytes, int] or len(carried_by[0]) != 32:  # type: ignore[index]
        raise InputError(
            f"carried_by is {shown(carried_by)}; it must be an issuer's key of 32 bytes and a "
            "sequence",
            field="carried_by",
            actual=carried_by,
        )


_setters = [
    Fingerprint.__dict__[name].__set__
    for name in ("sketch", "scheme_id", "carried_by", "warnings", "made_by", "is_open")
]


def carried_fingerprint(
    sketch: bytes, scheme_id: bytes, issuer: bytes, sequence: int
) -> Fingerprint:
    """The fingerprint of a packet whose bytes were verified, so that nothing is checked again."""
    made = object.__new__(Fingerprint)
    for setter, value in zip(_setters, (sketch, scheme_id, (issuer, sequence), (), "", False)):  # noqa: B905  six of six, for each packet that comes
        setter(made, value)
    return made


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
    InputError
        If one is open and the other as it stands in a packet, which is sealed.

    """
    require_same_scheme(a, b)
    if any(one.is_open and other.carried_by is not None for one, other in ((a, b), (b, a))):
        raise InputError(
            "a sealed sketch is noise to whoever does not open it: scheme.open(packet)",
            field="fingerprint",
        )
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

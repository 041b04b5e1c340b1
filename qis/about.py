"""What a packet is about: the values that packets, schemes and transports share.

They live below all of these, so that packets know no scheme and transports compute no sketch.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from blake3 import blake3

from qis._gate import checked
from qis._given import callable_, instance, iterable, real_number, several, shown, truth_value
from qis.errors import InputError, SchemeMismatchError

SKETCH_SIZE = 32
SCHEME_ID_SIZE = 8
ROUTING_KEY_SIZE = 8
COMMITMENTS_REMEMBERED = 1_024
"""Lists of routing keys whose commitment is remembered: all that a site says of a topic has one."""
MAX_ROUTING_KEYS = 48
"""Most routing keys of one packet or interest: 42 bands of 6 bits, and some studies."""


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

    Raises
    ------
    InputError
        If a field is not `bytes` of its size.

    """

    sketch: bytes
    scheme_id: bytes
    warnings: tuple[str, ...] = field(default=(), compare=False, kw_only=True)

    def __post_init__(self) -> None:
        _check_size(self.sketch, "sketch", SKETCH_SIZE)
        _check_size(self.scheme_id, "scheme_id", SCHEME_ID_SIZE)
        if type(self.warnings) is not tuple or self.warnings:
            warnings = several(self.warnings, "warnings", "texts")
            if not all(isinstance(text, str) for text in warnings):
                raise InputError("warnings holds something else than texts", field="warnings")
            object.__setattr__(self, "warnings", tuple(warnings))

    def __repr__(self) -> str:
        return f"Fingerprint(sketch={self.sketch.hex()!r}, scheme_id={self.scheme_id.hex()!r})"


def bit_agreement(a: Fingerprint, b: Fingerprint) -> float:
    """Share of equal bits of two sketches of one scheme, in [0, 1]; 0.5 is chance.

    Raises
    ------
    SchemeMismatchError
        If the two are of different schemes.

    """
    require_same_scheme(a.scheme_id, b.scheme_id)
    differing = (
        int.from_bytes(a.sketch, "little") ^ int.from_bytes(b.sketch, "little")
    ).bit_count()
    return 1.0 - differing / (8 * SKETCH_SIZE)


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


_DESCRIPTIONS: dict[bytes, str] = {}
_MOST_DESCRIPTIONS = 1_000


def describe_scheme(scheme_id: bytes, description: str) -> None:
    """Remember what a scheme of this process is, for the error that tells two of them apart."""
    if len(_DESCRIPTIONS) < _MOST_DESCRIPTIONS:
        _DESCRIPTIONS[scheme_id] = description


def require_same_scheme(a: bytes, b: bytes) -> None:
    """Raise `SchemeMismatchError`, which says how they differ, unless two scheme ids are equal."""
    if a != b:
        one, other = (
            f"{scheme.hex()} ({_DESCRIPTIONS.get(scheme, 'not made in this process')})"
            for scheme in (a, b)
        )
        hint = "make both with one scheme (same kind, parameters, ontology release and secret)"
        if a in _DESCRIPTIONS and _DESCRIPTIONS[a] == _DESCRIPTIONS.get(b):
            hint = "they differ in the secret, or in an ontology of the same name"
        raise SchemeMismatchError(
            f"fingerprints of scheme {one} and scheme {other} cannot be compared: {hint}",
            field="scheme_id",
            actual=b.hex(),
            limit=a.hex(),
        )


def canonical_routing_keys(keys: Iterable[bytes]) -> tuple[bytes, ...]:
    """The distinct routing keys, sorted.

    Raises
    ------
    InputError
        If a key is not 8 bytes, or there are more than `MAX_ROUTING_KEYS`.

    """
    given = several(keys, "routing_keys", "keys of 8 bytes")
    for key in given:
        _check_size(key, "routing key", ROUTING_KEY_SIZE)
    distinct = set(given)
    if len(distinct) > MAX_ROUTING_KEYS:
        raise InputError(
            f"{len(distinct)} routing keys; at most {MAX_ROUTING_KEYS} fit a datagram: "
            "use a scheme with fewer bands or keys",
            field="routing_keys",
            actual=len(distinct),
            limit=MAX_ROUTING_KEYS,
        )
    return tuple(sorted(distinct))


def routing_commitment(keys: Iterable[bytes]) -> bytes:
    """First 8 bytes of BLAKE3 over the sorted, distinct routing keys, whatever they are."""
    return _commitment(tuple(keys))


@lru_cache(maxsize=COMMITMENTS_REMEMBERED)
def _commitment(keys: tuple[bytes, ...]) -> bytes:
    return blake3(b"".join(sorted(set(keys)))).digest(8)


def checked_commitment(keys: Iterable[bytes]) -> bytes:
    """Check routing keys as `canonical_routing_keys` does, and return their commitment (8 bytes).

    Every signature needs it, so that of a list of keys is remembered.
    """
    keys = keys if type(keys) is tuple else tuple(iterable(keys, "routing_keys", "keys"))
    try:
        return _checked_commitment(keys)
    except TypeError:  # what has no hash is no key
        return _commitment(canonical_routing_keys(keys))


@lru_cache(maxsize=COMMITMENTS_REMEMBERED)
def _checked_commitment(keys: tuple[bytes, ...]) -> bytes:
    return _commitment(canonical_routing_keys(keys))


@dataclass(frozen=True, slots=True)
class Interest:
    """A standing query: which packets a subscriber wants to receive.

    A packet matches if it belongs to one of `studies`, whatever its similarity; or if it shares a
    routing key and its relevance is at least `min_similarity`. Schemes build interests
    (`scheme.interest`) with the relevance that fits them.

    Parameters
    ----------
    fingerprint
        What the subscriber works on.
    routing_keys
        Rendezvous points to register at, 8 bytes each, at most `MAX_ROUTING_KEYS`.
    min_similarity
        Smallest relevance that matches, in [0, 1].
    studies
        Ids (8 bytes each) of studies of which everything is wanted.
    share_sketch
        True: the sketch may be registered at other nodes, beside the routing keys; then they
        send only what is similar, instead of all that shares a key by chance.
    relevance
        Relevance in [0, 1] of a fingerprint to this interest, without noise and for ever the same;
        default: the share of equal bits, which is `VectorScheme`'s similarity.

    Raises
    ------
    InputError
        If a key or study id is not 8 bytes, there are too many, or `min_similarity` is not in
        [0, 1].

    """

    fingerprint: Fingerprint
    routing_keys: tuple[bytes, ...]
    min_similarity: float
    studies: tuple[bytes, ...] = ()
    share_sketch: bool = field(default=False, kw_only=True)
    relevance: Callable[[Fingerprint], float] | None = field(
        default=None, kw_only=True, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        instance(self.fingerprint, "fingerprint", Fingerprint, "scheme.fingerprint(features)")
        studies = several(self.studies, "studies", "study ids")
        for study in studies:
            _check_size(study, "study id", ROUTING_KEY_SIZE)
        object.__setattr__(self, "routing_keys", canonical_routing_keys(self.routing_keys))
        object.__setattr__(self, "studies", tuple(sorted(set(studies))))
        canonical_routing_keys(self.all_keys)
        truth_value(self.share_sketch, "share_sketch")
        similarity = real_number(self.min_similarity, "min_similarity", 0.0, 1.0)
        object.__setattr__(self, "min_similarity", similarity)
        if self.relevance is not None:
            callable_(self.relevance, "relevance", "a fingerprint's relevance in [0, 1]")

    @property
    def all_keys(self) -> tuple[bytes, ...]:
        """Routing keys and study ids: everything this interest is registered under."""
        return tuple(sorted({*self.routing_keys, *self.studies}))

    @property
    def near(self) -> Near | None:
        """The sketches that other nodes shall send; `None`: send all packets that share a key.

        That is so without `share_sketch`, and where the relevance takes more than two sketches.
        """
        if not self.share_sketch:
            return None
        if self.relevance is not None:
            near: Callable[[float], Near | None] | None = getattr(self.relevance, "near", None)
            return None if near is None else near(self.min_similarity)
        bits = 8 * SKETCH_SIZE
        # Those that `bit_agreement` accepts, as it computes.
        differing = sum(1.0 - n / bits >= self.min_similarity for n in range(bits + 1)) - 1
        own = self.fingerprint
        return None if differing >= bits else Near(own.scheme_id, own.sketch, 1, differing)

    @checked
    def matches(
        self, fingerprint: Fingerprint, study: bytes, routing_keys: Iterable[bytes]
    ) -> bool:
        """True if a packet with this fingerprint, study id and routing keys is wanted.

        Raises
        ------
        SchemeMismatchError
            If it is not of a wanted study and its fingerprint is of another scheme.

        """
        if study in self.studies:
            return True
        require_same_scheme(self.fingerprint.scheme_id, fingerprint.scheme_id)
        if not set(self.routing_keys).intersection(routing_keys):
            return False
        if self.relevance is not None:
            return self.relevance(fingerprint) >= self.min_similarity
        return bit_agreement(self.fingerprint, fingerprint) >= self.min_similarity


def _check_size(value: object, name: str, size: int) -> None:
    if type(value) is not bytes or len(value) != size:
        actual = len(value) if isinstance(value, bytes) else shown(value)
        raise InputError(
            f"{name} must be exactly {size} bytes, not {actual}",
            field=name,
            actual=actual,
            limit=size,
        )

"""What every scheme offers: features in, a 32-byte sketch and a few routing keys out.

A scheme's id is a hash of everything that decides a bit: kind, version, parameters, secret.
Constants come from BLAKE3's extendable output, never from a random generator whose stream may
change between versions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from blake3 import blake3

from qis._canonical import encode
from qis._gate import checked
from qis._given import instance, real_number, whole_number
from qis.about import (
    ROUTING_KEY_SIZE,
    SCHEME_ID_SIZE,
    SKETCH_SIZE,
    Fingerprint,
    Interest,
    OfScheme,
    epoch_at,
    require_same_scheme,
)
from qis.errors import InputError
from qis.picture.html import with_table

SECRET_SIZE = 32
Features = TypeVar("Features")


class HasFingerprint(Protocol):
    """What has a fingerprint, such as a packet."""

    @property
    def fingerprint(self) -> Fingerprint:
        """As it travels: sealed, if its scheme has a secret."""


@with_table
class Ranked(NamedTuple):
    """One line of a reader's list.

    Examples
    --------
    >>> import qis
    >>> scheme = qis.VectorScheme(dimensions=2)
    >>> prints = scheme.fingerprints([[0.0, 1.0], [1.0, 0.1]])
    >>> (best,) = scheme.ranked([1.0, 0.0], prints, top=1)
    >>> best.packet == prints[1], best.relevance > 0.9
    (True, True)

    """

    packet: Any
    """What was given: a packet, or a fingerprint."""
    relevance: float
    """As `Scheme.relevance`, in [0, 1]."""


class Scheme(ABC, Generic[Features]):
    """Turns features of one kind into fingerprints and routing keys.

    Parameters
    ----------
    parameters
        Everything that decides a bit, as CBOR-encodable values, the kind's name and version first.
    description
        In words, for errors; default: the parameters.
    secret
        32 bytes shared by a consortium. With one, sketches are sealed in packets, so that they say
        nothing to others, and routing keys say only which of them are equal; with none, whoever
        knows the parameters can test guesses of the features.

    Examples
    --------
    >>> import qis
    >>> scheme: Scheme = qis.VectorScheme(dimensions=2)
    >>> len(scheme.fingerprint([1.0, 0.0]).sketch)
    32

    """

    default_min_similarity: float
    shares_sketch: ClassVar[bool] = False
    """True if interests register their sketch too by default. That suits schemes whose keys are
    shared by chance and reveal much of the sketch anyway; keys of terms select well without it."""

    def __init__(
        self, parameters: list[Any], *, secret: bytes | None, description: str | None = None
    ) -> None:
        if secret is not None and (type(secret) is not bytes or len(secret) != SECRET_SIZE):
            raise InputError(
                f"a secret is {SECRET_SIZE} random bytes", field="secret", limit=SECRET_SIZE
            )
        self._context = encode(parameters)
        self._secret = secret
        # Named otherwise than where a secret did not seal, so that the two never compare noise.
        self._id = self._derive(b"id" if secret is None else b"sealed id", SCHEME_ID_SIZE)
        self._seal_key = self._derive(b"seal", SECRET_SIZE)
        self._epoch_key = self._derive(b"epochs", SECRET_SIZE)
        what = description or ", ".join(map(str, parameters))
        self._what = f"{what}, {'without a' if secret is None else 'with a'} secret"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id.hex()}, {self._what}>"

    @property
    def id(self) -> bytes:
        """8 bytes that name this scheme with all its parameters and its secret."""
        return self._id

    @property
    def description(self) -> str:
        """What the scheme is, in words, for errors."""
        return self._what

    @property
    def is_keyed(self) -> bool:
        """True if the scheme has a secret."""
        return self._secret is not None

    @checked
    def seal(self, fingerprint: Fingerprint, issuer: bytes, sequence: int) -> Fingerprint:
        """The fingerprint as a packet carries it: without the secret, no bit of it can be told.

        Added is a keystream that follows from secret, issuer and sequence, which no two packets
        share; so equal sketches look unlike. There is no check inside: the scheme's id covers the
        secret, and the packet's signature the bytes. Without a secret nothing is changed.
        Usually given to `Packet.sign`, as ``seal=scheme.seal``.

        Parameters
        ----------
        fingerprint
            An open one.
        issuer
            The issuer's public key, 32 bytes.
        sequence
            The packet's; used for no other packet of the issuer.

        Raises
        ------
        SchemeMismatchError
            If it is of another scheme.
        InputError
            If it is sealed already.

        """
        self.require_own(fingerprint)
        if self._secret is None:
            return fingerprint
        return Fingerprint(
            self._streamed(fingerprint.sketch, issuer, sequence),
            self._id,
            made_by=self._what,
            carried_by=(issuer, sequence),
        )

    @checked
    def open(self, packet: HasFingerprint | Fingerprint) -> Fingerprint:
        """The fingerprint of a packet, to be compared; the inverse of `seal`.

        Parameters
        ----------
        packet
            A packet, or its fingerprint. Without a secret, or if it is open, nothing is changed.

        Raises
        ------
        SchemeMismatchError
            If it is of another scheme.

        """
        found: object = getattr(packet, "fingerprint", packet)
        if not isinstance(found, Fingerprint):
            raise InputError("packet is a packet, or its fingerprint", field="packet", actual=found)
        require_same_scheme(OfScheme(self._id, self._what), found)
        if self._secret is None or found.carried_by is None:
            return found
        sketch = self._streamed(found.sketch, *found.carried_by)
        return Fingerprint(sketch, self._id, made_by=self._what, is_open=True)

    def _streamed(self, sketch: bytes, issuer: bytes, sequence: int) -> bytes:
        message = issuer + sequence.to_bytes(8, "big")
        stream = blake3(message, key=self._seal_key).digest(SKETCH_SIZE)
        mixed = int.from_bytes(sketch, "big") ^ int.from_bytes(stream, "big")
        return mixed.to_bytes(SKETCH_SIZE, "big")

    @abstractmethod
    def fingerprints(self, batch: Any) -> list[Fingerprint]:
        """The fingerprints of many feature sets at once."""

    def fingerprint(self, features: Features) -> Fingerprint:
        """The fingerprint of one feature set."""
        return self.fingerprints([features])[0]

    @abstractmethod
    def base_keys(self, features: Features) -> tuple[bytes, ...]:
        """The routing keys of one feature set before any epoch, 8 bytes each, sorted.

        Without a secret they are the routing keys. With one they stay at the site.
        """

    @checked
    def keys_of_epoch(self, base_keys: Iterable[bytes], epoch: int) -> tuple[bytes, ...]:
        """The routing keys of an epoch that base keys stand for, sorted; of no secret, the same.

        Nobody without the secret can tell that keys of two epochs stand for the same.
        """
        keys = tuple(sorted(base_keys))
        if self._secret is None:
            return keys
        head = epoch.to_bytes(4, "big", signed=True)
        return tuple(
            sorted(blake3(head + key, key=self._epoch_key).digest(ROUTING_KEY_SIZE) for key in keys)
        )

    @checked
    def routing_keys(self, features: Features, *, at: float | None = None) -> tuple[bytes, ...]:
        """The routing keys of one feature set, 8 bytes each, sorted.

        Parameters
        ----------
        features
            What a packet is about.
        at
            When the first version of the packet's evidence was issued, in Unix seconds: with a
            secret, keys are of the epoch (13 weeks) of that date, and no version lives longer than
            `qis.about.last_expiry`. Needed with a secret only.

        Raises
        ------
        InputError
            If the scheme has a secret and no date is given, or the features are wrong.

        Examples
        --------
        >>> import qis
        >>> scheme = qis.SetScheme()
        >>> {len(key) for key in scheme.routing_keys({"ann", "ben"})}
        {8}
        >>> keyed = qis.SetScheme(secret=bytes(32))
        >>> today, later = (keyed.routing_keys({"ann"}, at=at) for at in (1.8e9, 1.81e9))
        >>> set(today) & set(later)
        set()

        """
        return self._keys_at(self.base_keys(features), at)

    def _keys_at(self, base_keys: tuple[bytes, ...], at: float | None) -> tuple[bytes, ...]:
        if self._secret is None:
            return base_keys
        if at is None:
            raise InputError(
                "the routing keys of a scheme with a secret change every 13 weeks: give at=, the "
                "Unix seconds at which the first version of the packet's evidence was issued",
                field="at",
            )
        at = real_number(at, "at", 0.0, 2.0**32)
        return self.keys_of_epoch(base_keys, epoch_at(at))

    @abstractmethod
    def similarity(self, a: Fingerprint, b: Fingerprint) -> float:
        """Similarity of two fingerprints, in [0, 1].

        Raises
        ------
        SchemeMismatchError
            If one of them is of another scheme.

        """

    @abstractmethod
    def relevance(self, features: Features, fingerprint: Fingerprint) -> float:
        """Similarity in [0, 1] of a fingerprint to features that are known in full."""

    @abstractmethod
    def percentile(self, similarity: float) -> float:
        """Share of random pairs that are less similar, in [0, 1]: .98 is the top 2 %."""

    @abstractmethod
    def similarity_at(self, top_fraction: float) -> float:
        """The similarity that only this fraction of random pairs reaches."""

    @checked
    def explain(self, features: Features, fingerprint: Fingerprint) -> str:
        """In words, how relevant a fingerprint is; schemes that know more say more."""
        score = self.relevance(features, fingerprint)
        return f"relevance {score:.2f}, above {self.percentile(score):.1%} of random pairs"

    @checked
    def interest(
        self,
        features: Features,
        *,
        min_similarity: float | None = None,
        top_fraction: float | None = None,
        studies: Iterable[bytes] = (),
        share_sketch: bool | None = None,
    ) -> Interest:
        """A standing query for whatever is similar to these features.

        Parameters
        ----------
        features
            What the subscriber works on.
        min_similarity, top_fraction
            From which relevance on; or which fraction of random pairs. At most one of the two;
            default: the scheme's `default_min_similarity`.
        studies
            Ids of studies of which everything is wanted.
        share_sketch
            True: the sketch is registered at other nodes beside the routing keys, so that they send
            only what is similar. Default: true for vectors and sets without a secret. With one it
            is refused, since those nodes would learn the sketch, and see only sealed ones.

        Raises
        ------
        InputError
            If both are given, one is out of (0, 1], or a sketch made with a secret is to be shared.

        Examples
        --------
        >>> import qis
        >>> scheme = qis.VectorScheme(dimensions=2)
        >>> interest = scheme.interest([1.0, -1.0])
        >>> interest.fingerprint == scheme.fingerprint([1.0, -1.0])
        True

        """
        least = self._least(min_similarity, top_fraction)
        return Interest(
            self.fingerprint(features),
            self.base_keys(features),
            self.default_min_similarity if least is None else least,
            tuple(studies),
            share_sketch=(
                self.shares_sketch and not self.is_keyed if share_sketch is None else share_sketch
            ),
            relevance=self._relevance_to(features),
            keys_of_epoch=self.keys_of_epoch if self.is_keyed else None,
        )

    @checked
    def ranked(
        self,
        features: Features,
        packets: Iterable[Any],
        *,
        top: int | None = None,
        top_fraction: float | None = None,
        min_similarity: float | None = None,
    ) -> list[Ranked]:
        """The reader's list: packets in the order of their relevance, the most relevant first.

        Parameters
        ----------
        features
            What the reader works on.
        packets
            Packets or fingerprints of this scheme, sealed or open.
        top
            How many of them at most; default: all.
        top_fraction, min_similarity
            Only what is so relevant, as for `interest`. A tenth of random pairs still holds some
            .77 of a patient's mates, a twentieth .70. At most one of the two.

        Returns
        -------
        list of Ranked
            Of equally relevant ones the one that was given first.

        Raises
        ------
        SchemeMismatchError
            If one is of another scheme.
        InputError
            If a limit is out of range, or both are given.

        """
        if top is not None:
            top = whole_number(top, "top", 1, 2**63)
        least = self._least(min_similarity, top_fraction)
        found = [Ranked(item, self.relevance(features, self.open(item))) for item in packets]
        found = [each for each in found if least is None or each.relevance >= least]
        return sorted(found, key=lambda each: -each.relevance)[:top]

    def _least(self, min_similarity: float | None, top_fraction: float | None) -> float | None:
        """Return the smallest relevance that is asked for, `None` if none is."""
        if min_similarity is not None and top_fraction is not None:
            raise InputError("give min_similarity or top_fraction, not both", field="top_fraction")
        if min_similarity is not None:
            return real_number(min_similarity, "min_similarity", 0.0, 1.0)
        return None if top_fraction is None else self.similarity_at(top_fraction)

    def _relevance_to(self, features: Features) -> Callable[[Fingerprint], float]:
        """Return `relevance` for fixed features as a function, so that schemes can precompute."""
        return lambda fingerprint: self.relevance(features, self.open(fingerprint))

    def require_own(self, *fingerprints: Fingerprint) -> None:
        """Refuse fingerprints of another scheme, and sealed ones, which would read as noise."""
        own = OfScheme(self._id, self._what)
        for fingerprint in fingerprints:
            instance(fingerprint, "fingerprint", Fingerprint, "scheme.fingerprint(features)")
            require_same_scheme(own, fingerprint)
            if self._secret is not None and fingerprint.carried_by is not None:
                raise InputError(
                    "the fingerprint of a packet is sealed: scheme.open(packet) reads it",
                    field="fingerprint",
                )

    def _derive(self, purpose: bytes, size: int) -> bytes:
        """Derive `size` bytes from parameters and purpose (BLAKE3, keyed with any secret)."""
        # The length first, so that no purpose and context run into another pair.
        message = len(purpose).to_bytes(1, "big") + purpose + self._context
        if self._secret is None:
            return blake3(message).digest(size)
        return blake3(message, key=self._secret).digest(size)

    def _routing_key(self, band: int, content: bytes) -> bytes:
        message = self._id + band.to_bytes(2, "big") + content
        if self._secret is None:
            return blake3(message).digest(ROUTING_KEY_SIZE)
        return blake3(message, key=self._secret).digest(ROUTING_KEY_SIZE)

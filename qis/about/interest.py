"""Interests: standing queries for packets."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from qis._gate import checked
from qis._given import callable_, instance, real_number, several, truth_value
from qis.about.epochs import epochs_read_at
from qis.about.fingerprint import (
    SKETCH_SIZE,
    Fingerprint,
    bit_agreement,
    check_size,
    require_same_scheme,
)
from qis.about.nearness import Near
from qis.about.routing_keys import (
    MAX_INTEREST_KEYS,
    ROUTING_KEY_SIZE,
    canonical_routing_keys,
)
from qis.errors import InputError


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
        Rendezvous points to register at, 8 bytes each, with studies at most `MAX_INTEREST_KEYS`.
        With `keys_of_epoch` they are those before any epoch, which stay here.
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
    keys_of_epoch
        Of a scheme with a secret: gives the keys of an epoch, from those before any and its
        number. `at` gives the interest with the keys to register at a date; transports ask for it.

    Raises
    ------
    InputError
        If a key or study id is not 8 bytes, there are too many, or `min_similarity` is not in
        [0, 1]; or the fingerprint was made with a secret, and its sketch is to be shared or
        `relevance` is missing.

    Examples
    --------
    >>> import qis
    >>> scheme = qis.VectorScheme(dimensions=3)
    >>> interest = scheme.interest([0.2, -1.0, 0.7], min_similarity=0.8)
    >>> len(interest.routing_keys)
    24

    """

    fingerprint: Fingerprint
    routing_keys: tuple[bytes, ...]
    min_similarity: float
    studies: tuple[bytes, ...] = ()
    share_sketch: bool = field(default=False, kw_only=True)
    relevance: Callable[[Fingerprint], float] | None = field(
        default=None, kw_only=True, compare=False, repr=False
    )

    keys_of_epoch: Callable[[tuple[bytes, ...], int], tuple[bytes, ...]] | None = field(
        default=None, kw_only=True, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        instance(self.fingerprint, "fingerprint", Fingerprint, "scheme.fingerprint(features)")
        if self.keys_of_epoch is not None:
            callable_(self.keys_of_epoch, "keys_of_epoch", "scheme.keys_of_epoch")
        studies = several(self.studies, "studies", "study ids")
        for study in studies:
            check_size(study, "studies", ROUTING_KEY_SIZE)
        object.__setattr__(
            self, "routing_keys", canonical_routing_keys(self.routing_keys, MAX_INTEREST_KEYS)
        )
        object.__setattr__(self, "studies", tuple(sorted(set(studies))))
        canonical_routing_keys({*self.routing_keys, *self.studies}, MAX_INTEREST_KEYS)
        if self.keys_of_epoch is not None:
            callable_(self.keys_of_epoch, "keys_of_epoch", "the routing keys of an epoch")
            self.at(0.0)  # the keys of two epochs have to be few enough, too
        truth_value(self.share_sketch, "share_sketch")
        similarity = real_number(self.min_similarity, "min_similarity", 0.0, 1.0)
        object.__setattr__(self, "min_similarity", similarity)
        if self.relevance is not None:
            callable_(self.relevance, "relevance", "a fingerprint's relevance in [0, 1]")
        if self.fingerprint.is_open and (self.share_sketch or self.relevance is None):
            raise InputError(
                "sketches made with a secret are sealed in packets: other nodes cannot compare "
                "them, and would learn this one; take scheme.interest(features) without "
                "share_sketch",
                field="share_sketch" if self.share_sketch else "relevance",
            )

    @checked
    def at(self, unix_s: float) -> Self:
        """Return the interest with the routing keys to register at a date in Unix seconds.

        Those of the epoch, and of the one before it, whose versions may live still. An hour before
        an epoch begins they change, so subscribe again then; `qis.SynthesisLoop` does so itself.
        Without a secret keys are the same for ever, and this is the interest itself.

        Examples
        --------
        >>> import qis
        >>> interest = qis.VectorScheme(2, secret=bytes(32)).interest([1.0, 0.0])
        >>> len(interest.at(1_800_000_000).routing_keys)
        48
        >>> interest.at(1_800_000_000) == interest.at(1_800_000_060)
        True

        """
        if self.keys_of_epoch is None:
            return self
        keys = {
            key
            for epoch in epochs_read_at(unix_s)
            for key in self.keys_of_epoch(self.routing_keys, epoch)
        }
        return replace(self, routing_keys=tuple(keys), keys_of_epoch=None)

    @property
    def all_keys(self) -> tuple[bytes, ...]:
        """Routing keys and study ids: everything this interest is registered under.

        Raises
        ------
        InputError
            If its routing keys follow the date: `at` gives those of a date.

        """
        self._require_date()
        return tuple(sorted({*self.routing_keys, *self.studies}))

    def _require_date(self) -> None:
        if self.keys_of_epoch is not None:
            raise InputError(
                "the routing keys of a scheme with a secret follow the date: take "
                "interest.at(unix_s)",
                field="routing_keys",
            )

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
        self, fingerprint: Fingerprint, study: bytes, routing_keys: Iterable[bytes] | None
    ) -> bool:
        """True if a packet with this fingerprint, study id and routing keys is wanted.

        Where no routing keys travel (`None`), as in direct mode, the relevance alone decides; it
        has to be more than 0.

        Raises
        ------
        SchemeMismatchError
            If it is not of a wanted study and its fingerprint is of another scheme.

        """
        if study in self.studies:
            return True
        require_same_scheme(self.fingerprint, fingerprint)
        if routing_keys is not None:
            self._require_date()
        if routing_keys is not None and not set(self.routing_keys).intersection(routing_keys):
            return False
        if self.relevance is not None:
            relevance = self.relevance(fingerprint)
        else:
            relevance = bit_agreement(self.fingerprint, fingerprint)
        return relevance >= self.min_similarity and (routing_keys is not None or relevance > 0.0)

"""The admission rules: what a store keeps, and which packet speaks for a site and study.

A store's state is a set of packets, and sets grow by union, which is commutative, associative and
idempotent. All else follows from the set: any order, duplication or replay gives the same state.
Of the packets under one evidence key that the roster accepts the one of the highest sequence
decides, also after it has expired and when it withdraws something, so that nothing older ever comes
back.
"""

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

from qis.outcomes import Outcome
from qis.packet import CLOCK_TOLERANCE_S, Packet, is_numbered_ahead, issuer_key

if TYPE_CHECKING:
    from qis.outcomes import Retraction

KIND_ANCHOR: Final = 7
KIND_DERIVED: Final = 8
KIND_RETRACTION: Final = 9
KIND_SUPPRESSED: Final = 10
MAX_COHORTS: Final = 64
"""Most cohorts of one issuer under one study; by contract they are disjoint."""


class Role(IntEnum):
    """What a packet is for; a packet never replaces one of another role."""

    PRIMARY = 0
    """Distilled from a site's own data, or the withdrawal or suppression of that."""
    DERIVED = 1
    """Synthesised from other packets, or the withdrawal of that."""
    ANCHOR = 2
    """A point of expansion for quadratic likelihoods: a convention, no data; or its withdrawal."""


class EvidenceKey(NamedTuple):
    """What a newer packet replaces: one key has at most one packet that counts."""

    study_id: bytes
    issuer: bytes
    cohort: str
    role: Role


class Admission(Enum):
    """The verdict on a packet offered to a store. `sentence` says it in words.

    `kept` tells whether the store holds the packet now, `changes_evidence` whether what counts may
    have changed, so that syntheses of the study are due.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> packet = qis.Packet.sign(
    ...     key,
    ...     outcome=qis.Counts(question="a vs b | death", events=3, total=20),
    ...     fingerprint=qis.VectorScheme(dimensions=2).fingerprint([0.5, -1.0]),
    ...     issued_at=1_800_000_000,
    ...     lifetime_s=86_400,
    ... )
    >>> store = qis.MemoryStore(roster=qis.Roster.open())
    >>> [store.add(packet, now=1_800_000_000).name for _ in range(2)]
    ['ACCEPTED', 'DUPLICATE']

    """

    ACCEPTED = ("accepted", "The packet decides for its issuer, study and cohort.")
    DUPLICATE = ("duplicate", "The store has this packet already.")
    SUPERSEDED = (
        "superseded",
        "A packet of a higher sequence decides for its issuer, study and cohort; "
        "this one is kept as history.",
    )
    EQUIVOCATION = (
        "equivocation",
        "The issuer signed another packet under the same sequence: both are kept as proof, and "
        "neither counts until a higher sequence arrives.",
    )
    UNTRUSTED = (
        "untrusted",
        "The roster does not accept its issuer (not listed, revoked, not enrolled in the study, or "
        "outside the key's validity); it is kept, and counts should the roster come to accept it.",
    )
    OVERLAPPING = (
        "overlapping",
        "Its site shares patients with a site that counts already; it is kept and listed.",
    )
    DERIVED = (
        "derived",
        "A synthesis of other packets: kept, and not evidence unless a reader asks for it.",
    )
    EXPIRED = ("expired", "Its validity had ended when it arrived; it is not kept.")
    NOT_YET_VALID = (
        "not yet valid",
        f"It says that it was issued more than {CLOCK_TOLERANCE_S} s from now; it is not kept.",
    )
    SEQUENCE_AHEAD = (
        "sequence ahead",
        f"Its sequence is more than {CLOCK_TOLERANCE_S} s ahead of the time at which it says it "
        "was issued, and would stand above all that its issuer signs until then; it is not kept. "
        "The issuer's clock was wrong once: its site has to recover its clock and publish again.",
    )
    EVICTED = (
        "evicted",
        "The store is full and has dropped packets of this issuer of this or a higher sequence; "
        "it is not kept.",
    )

    def __init__(self, label: str, sentence: str) -> None:
        self.label = label
        self.sentence = sentence
        self._kept = label not in {"expired", "not yet valid", "sequence ahead", "evicted"}
        self._changes_evidence = label in {"accepted", "equivocation", "derived"}

    @property
    def kept(self) -> bool:
        """True if the store holds the packet now."""
        return self._kept

    @property
    def changes_evidence(self) -> bool:
        """True if what counts may have changed."""
        return self._changes_evidence

    def __str__(self) -> str:
        return self.label


class Held(Protocol):
    """What the rules need to know of a store."""

    def newest(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was ever held, or 0."""

    def ids_at(self, issuer: bytes, sequence: int) -> frozenset[bytes]:
        """Ids of the packets held under (issuer, sequence)."""

    def head_sequence(self, key: EvidenceKey) -> int | None:
        """Highest sequence held under a key."""

    def floor(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was evicted, or 0."""


def role_of(outcome: Outcome) -> Role:
    """The role of a packet that carries this outcome."""
    if outcome.kind == KIND_RETRACTION:
        return _RETRACTED[cast("Retraction", outcome).role]
    return _ROLES.get(outcome.kind, _PRIMARY)


_PRIMARY: Final = Role.PRIMARY
_RETRACTED: Final = {"primary": Role.PRIMARY, "derived": Role.DERIVED, "anchor": Role.ANCHOR}
_ROLES: Final = {KIND_DERIVED: Role.DERIVED, KIND_ANCHOR: Role.ANCHOR}


def evidence_key(packet: Packet) -> EvidenceKey:
    """The key under which a packet counts, replaces and is replaced."""
    outcome = packet.outcome
    return EvidenceKey(
        outcome.study_id, issuer_key(bytes(packet)), outcome.cohort, role_of(outcome)
    )


def refusal_by_time(packet: Packet, now: float) -> Admission | None:
    """Why a packet may not be admitted at `now` (Unix seconds); `None` if it may.

    Expiry is about the network. What was accepted in time stays, hence a retraction that arrives
    late must still count: otherwise a site that was offline would keep withdrawn evidence for ever.
    """
    if packet.issued_at > now + CLOCK_TOLERANCE_S:
        return Admission.NOT_YET_VALID
    if packet.expires_at <= now and packet.outcome.kind != KIND_RETRACTION:
        return Admission.EXPIRED
    return None


def verdict(packet: Packet, key: EvidenceKey, held: Held) -> Admission:
    """The verdict that follows from what a store holds; trust and overlap come when it is read."""
    if is_numbered_ahead(packet.sequence, packet.issued_at):
        return Admission.SEQUENCE_AHEAD
    if packet.sequence <= held.newest(key.issuer):  # as a rule not, and nothing is in its way
        others = held.ids_at(key.issuer, packet.sequence)
        if others:
            return Admission.DUPLICATE if packet.id in others else Admission.EQUIVOCATION
        if packet.sequence <= held.floor(key.issuer):
            return Admission.EVICTED
        head = held.head_sequence(key)
        if head is not None and head > packet.sequence:
            return Admission.SUPERSEDED
    return _DECIDING[key.role]


def deciding(packet: Packet) -> Admission:
    """The verdict on a packet that decides under its key."""
    return _DECIDING[role_of(packet.outcome)]


_DECIDING: Final = {
    Role.PRIMARY: Admission.ACCEPTED,
    Role.DERIVED: Admission.DERIVED,
    Role.ANCHOR: Admission.ACCEPTED,
}

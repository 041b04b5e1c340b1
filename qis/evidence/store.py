"""What every evidence store offers, over the few questions that storage must answer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from qis.errors import InputError
from qis.evidence.eviction import Kept, losses, shares, to_free
from qis.evidence.review import Head, Reason, Review, distrust, judge, study_id_of
from qis.evidence.roster import Roster
from qis.evidence.rules import Admission, EvidenceKey, evidence_key, refusal_by_time, verdict
from qis.identity import Issuer
from qis.outcomes import Study
from qis.packet import Packet

_DECIDING: Final = frozenset({Admission.ACCEPTED, Admission.DERIVED})


class Equivocation(NamedTuple):
    """Proof that an issuer signed two contents under one sequence; anyone can verify it."""

    issuer: Issuer
    first: Packet
    second: Packet


@dataclass(slots=True)
class StoreStatistics:
    """What a store has done since it was opened."""

    admitted: int = 0
    refused: int = 0
    evicted: int = 0


class EvidenceStore(ABC):
    """Packets that were received, and what of them counts.

    The state is the set of the packets admitted; what counts follows from it (`qis.evidence.rules`
    and `qis.evidence.review`), whatever order they came in. A store takes packets, which were
    verified when they were made; it never takes bytes.

    Not promised: that a packet stays. A store holds at most `capacity` packets. Above that it drops
    packets of the issuers that the roster does not accept, then of the issuer that has most, and of
    one issuer first what was superseded, then what has the lowest sequence; proofs of equivocation
    go last. It remembers what it dropped, so that nothing older than that comes back, and counts it
    in `statistics`. Until something is dropped, stores that saw the same packets hold the same.

    Parameters
    ----------
    roster
        Who is believed. May be replaced at any time; it is judged by when evidence is read.
    capacity
        Most packets held.

    """

    roster: Roster
    statistics: StoreStatistics

    def __init__(self, *, roster: Roster, capacity: int) -> None:
        if not isinstance(roster, Roster):
            raise InputError(
                "a store needs a roster; to believe everybody, say qis.Roster.open()",
                field="roster",
            )
        if type(capacity) is not int or capacity < 1:
            raise InputError("capacity is a positive number of packets", field="capacity")
        self.roster = roster
        self.capacity = capacity
        self.statistics = StoreStatistics()

    def add(self, packet: Packet, *, now: float) -> Admission:
        """Offer a packet; what is kept is on disk, if the store has one, when this returns.

        Parameters
        ----------
        packet
            A verified packet.
        now
            Unix seconds, of its arrival.

        """
        return self.add_many((packet,), now=now)[0]

    def add_many(self, packets: Iterable[Packet], *, now: float) -> list[Admission]:
        """Offer packets, in one transaction; their verdicts, in the same order."""
        packets = list(packets)
        for packet in packets:
            if not isinstance(packet, Packet):
                raise InputError(
                    f"a store takes packets, not {type(packet).__name__}: Packet.parse verifies "
                    "bytes",
                    field="packet",
                )
        verdicts = self._add_all(packets, now)
        kept = sum([admission.kept for admission in verdicts])
        self.statistics.admitted += kept
        self.statistics.refused += len(verdicts) - kept
        if self.roster.is_open:
            return verdicts
        return [
            self._read_verdict(
                packet, admission, partial(self.review, packet.outcome.study_id, now=now)
            )
            if admission in _DECIDING
            else admission
            for packet, admission in zip(packets, verdicts, strict=True)
        ]

    def foreseen(self, packet: Packet, *, now: float) -> Admission:
        """What `add` would say of a packet, which is not kept.

        Parameters
        ----------
        packet
            A verified packet.
        now
            Unix seconds, of its arrival.

        """
        key = evidence_key(packet)
        refusal = refusal_by_time(packet, now)
        admission = verdict(packet, key, self) if refusal is None else refusal
        if self.roster.is_open or admission not in _DECIDING:
            return admission
        study_id = packet.outcome.study_id
        others = [head for head in self._heads(study_id) if evidence_key(head.packet) != key]
        heads = [*others, Head(packet, equivocal=False)]
        return self._read_verdict(
            packet,
            admission,
            lambda: judge(heads, study=study_id, roster=self.roster, now=now),
        )

    def evidence(self, study: Study | bytes | str, *, now: float) -> list[Packet]:
        """The packets that count for a study, in the order of their ids.

        Parameters
        ----------
        study
            A `Study`, its id, or the question of a study that says nothing else.
        now
            Unix seconds.

        """
        return list(self.review(study, now=now).evidence)

    def review(self, study: Study | bytes | str, *, now: float) -> Review:
        """The evidence of a study beside everything that does not count, with the reasons."""
        return judge(self._heads(study_id_of(study)), study=study, roster=self.roster, now=now)

    @property
    def flagged(self) -> frozenset[Issuer]:
        """The issuers of which there is proof of equivocation."""
        return frozenset(proof.issuer for proof in self.equivocations())

    def _read_verdict(
        self, packet: Packet, admission: Admission, review: Callable[[], Review]
    ) -> Admission:
        """The verdict on a packet that now decides, in the light of the roster."""
        roster = self.roster
        site = roster.site_of(packet.issuer)
        if site is None or distrust(packet, roster) is not None:
            return Admission.UNTRUSTED
        if admission is Admission.DERIVED or not roster.overlaps_of(site.name):
            return admission
        if packet in review().excluded_for(Reason.OVERLAPPING):
            return Admission.OVERLAPPING
        return admission

    @abstractmethod
    def equivocations(self) -> list[Equivocation]:
        """All proofs of equivocation, sorted by issuer and sequence."""

    @abstractmethod
    def studies(self) -> Sequence[bytes]:
        """Ids of the studies of which packets are held, sorted."""

    @abstractmethod
    def packets(self) -> list[Packet]:
        """All packets held, superseded ones too, in the order of their ids."""

    @abstractmethod
    def packets_of(self, issuer: Issuer) -> list[Packet]:
        """All packets of one issuer, superseded ones too, by sequence and id."""

    @abstractmethod
    def __len__(self) -> int:
        """How many packets are held, superseded ones too."""

    @abstractmethod
    def __contains__(self, packet: object) -> bool:
        """Whether a packet is held, given as such or by its id (32 bytes)."""

    @abstractmethod
    def close(self) -> None:
        """Release what the store holds open."""

    def _add_all(self, packets: list[Packet], now: float) -> list[Admission]:
        """Admit packets, all or (if this raises) none."""
        return [self._add(packet, now) for packet in packets]

    def _add(self, packet: Packet, now: float) -> Admission:
        refusal = refusal_by_time(packet, now)
        return self._keep(packet) if refusal is None else refusal

    def _keep(self, packet: Packet) -> Admission:
        """Admit a packet whatever the time is."""
        key = evidence_key(packet)
        admission = verdict(packet, key, self)
        if not admission.kept or admission is Admission.DUPLICATE:
            return admission
        self._insert(packet, key, admission)
        if len(self) > self.capacity:
            self._evict()
            if packet not in self:
                return Admission.EVICTED
        return admission

    def _evict(self) -> None:
        needed = to_free(len(self), self.capacity)
        lost = shares(self._held_by_issuer(), self.roster, needed)
        going, floors = losses(self, lost)
        self._drop(going)
        for issuer, floor in floors.items():
            if floor > self.floor(issuer):
                self._raise_floor(issuer, floor)
        self.statistics.evicted += len(going)

    @abstractmethod
    def newest(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was ever held, or 0."""

    @abstractmethod
    def ids_at(self, issuer: bytes, sequence: int) -> frozenset[bytes]:
        """Ids of the packets held under (issuer, sequence)."""

    @abstractmethod
    def head_sequence(self, key: EvidenceKey) -> int | None:
        """Highest sequence held under a key."""

    @abstractmethod
    def floor(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was evicted, or 0."""

    @abstractmethod
    def _insert(self, packet: Packet, key: EvidenceKey, admission: Admission) -> None:
        """Hold a packet that is not held; the head of its key is the newest, then smallest id."""

    @abstractmethod
    def _drop(self, going: Sequence[Kept]) -> None:
        """Let go of packets; a key whose head was among them has none."""

    @abstractmethod
    def _raise_floor(self, issuer: bytes, sequence: int) -> None:
        """Remember that the issuer's packets up to this sequence were dropped."""

    @abstractmethod
    def _held_by_issuer(self) -> dict[bytes, int]:
        """How many packets of each issuer are held."""

    @abstractmethod
    def singles(self, *, decide: bool) -> Iterable[Kept]:
        """Packets alone under their issuer and sequence, by sequence: those that decide, or not."""

    @abstractmethod
    def doubles(self) -> Iterable[Kept]:
        """All others, by issuer, sequence and id."""

    @abstractmethod
    def _heads(self, study_id: bytes) -> list[Head]:
        """The head of each evidence key of a study; of several at the top, the smallest id."""

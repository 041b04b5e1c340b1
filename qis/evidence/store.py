"""What every evidence store offers, over the few questions that storage must answer."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from qis._gate import checked
from qis._given import byte_string, instance, point_in_time, several, whole_number
from qis._layout import PACKET_SIZE
from qis.errors import InputError
from qis.evidence._unread import Unread
from qis.evidence.eviction import Kept, losses, refused_losses, shares, strangers_of, to_free
from qis.evidence.review import Head, Reason, Review, judge, study_id_of
from qis.evidence.roster import Roster
from qis.evidence.rules import (
    Admission,
    EvidenceKey,
    deciding,
    evidence_key,
    refusal_by_time,
    verdict,
)
from qis.evidence.trust import candidates, decides, distrust
from qis.identity import Issuer
from qis.outcomes import Study
from qis.packet import Packet, content_id
from qis.picture.html import with_table

_READ_AGAIN: Final = frozenset({Admission.ACCEPTED, Admission.DERIVED, Admission.SUPERSEDED})
"""Verdicts that depend on the roster too."""


@with_table
class Equivocation(NamedTuple):
    """Proof that an issuer signed two contents under one sequence; anyone can verify it.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> named = {"question": "a vs b | c", "measure": "OR"}
        >>> effect = qis.Effect(**named, estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> other = qis.Packet.sign(
    ...     key, outcome=qis.Retraction(question="a vs b | c", reason="error"),
    ...     fingerprint=packet.fingerprint, issued_at=1_800_000_000, lifetime_s=3600,
    ...     sequence=packet.sequence,
    ... )
    >>> store = qis.MemoryStore(roster=qis.Roster.open())
    >>> _ = store.add_many([packet, other], now=1_800_000_100)
    >>> [proof.issuer == key.issuer for proof in store.equivocations()]
    [True]

    """

    issuer: Issuer
    first: Packet
    second: Packet


@dataclass(slots=True)
class StoreStatistics:
    """How many packets a store has admitted, refused and evicted since it was opened."""

    admitted: int = 0
    refused: int = 0
    evicted: int = 0


class Reviewer(NamedTuple):
    """What a store held for a study at one moment, not yet judged."""

    heads: tuple[Head, ...]
    study: Study | bytes | str
    roster: Roster
    now: float

    def review(self) -> Review:
        """What counts, and what does not and why."""
        return judge(self.heads, study=self.study, roster=self.roster, now=self.now)


class EvidenceStore(ABC):
    """Packets that were received, and what of them counts.

    The state is the set of the packets admitted; what counts follows from it (`qis.evidence.rules`
    and `qis.evidence.review`), whatever order they came in. A store takes packets, which were
    verified when they were made; it never takes bytes.

    Trust comes before that: what the roster of the moment refuses has no say, so it displaces
    nothing, and a roster that changes to and fro leaves the same evidence.

    Not promised: that a packet stays. A store holds at most `capacity` packets. Above that it drops
    packets of the issuers that the roster does not accept, then other packets that it refuses, then
    of the issuer that has most, and of one issuer first what was superseded, then what has the
    lowest sequence; proofs of equivocation go last. It remembers what it dropped, so that nothing
    older than that comes back, and counts it in `statistics`; only what was dropped because the
    roster refuses it may come back. Until something is dropped, stores that saw the same packets
    hold the same.

    Parameters
    ----------
    roster
        Who is believed. May be replaced at any time; it is judged by when evidence is read.
    capacity
        Most packets held.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> named = {"question": "a vs b | c", "measure": "OR"}
        >>> effect = qis.Effect(**named, estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> store: EvidenceStore = qis.MemoryStore(roster=qis.Roster.open())
    >>> store.add(packet, now=1_800_000_100).name
    'ACCEPTED'

    """

    roster: Roster
    statistics: StoreStatistics

    def __init__(self, *, roster: Roster, capacity: int) -> None:
        if not isinstance(roster, Roster):
            raise InputError(
                "a store needs a roster; to believe everybody, say qis.Roster.open()",
                field="roster",
            )
        self.roster = roster
        self.capacity = whole_number(capacity, "capacity", 1, 2**63 - 1)
        self.statistics = StoreStatistics()
        self._own_memory = secrets.token_bytes(16)
        self._aside: set[bytes] = set()
        self._nothing_refused_by: bytes | None = None
        """Digest of a roster that refuses nothing held of the issuers that it accepts."""

    @property
    def memory(self) -> bytes:
        """Names what is stored here (16 bytes): while it is the same, nothing need come twice.

        By default it is new with each object, as befits a store that forgets. One that is on disk
        gives what it was made with.
        """
        return self._own_memory

    def add(self, packet: Packet, *, now: float | datetime) -> Admission:
        """Offer a packet; what is kept is on disk, if the store has one, when this returns.

        Parameters
        ----------
        packet
            A verified packet.
        now
            Time of its arrival: Unix seconds, or a `datetime` with a zone.

        Examples
        --------
        >>> import qis
        >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=1)
        >>> named = {"question": "a vs b | c", "measure": "OR"}
        >>> effect = qis.Effect(**named, estimate=0.1, standard_error=0.2)
        >>> mark, month = scheme.fingerprint([1.0]), 30 * 86_400
        >>> packet = qis.Packet.sign(
        ...     key, outcome=effect, fingerprint=mark, issued_at=1_800_000_000, lifetime_s=month
        ... )
        >>> store = qis.MemoryStore(roster=qis.Roster.open())
        >>> [store.add(packet, now=1_800_000_000 + second).name for second in (0, 1)]
        ['ACCEPTED', 'DUPLICATE']
        >>> len(store.evidence("a vs b | c", now=1_800_000_001))
        1

        """
        return self.add_many((packet,), now=now)[0]

    @checked
    def add_many(self, packets: Iterable[Packet], *, now: float | datetime) -> list[Admission]:
        """Offer packets, in one transaction; their verdicts, in the same order."""
        now = point_in_time(now, "now")
        packets = several(packets, "packets", "packets")
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
        return [
            self._read_verdict(
                packet, admission, partial(self.review, packet.outcome.study_id, now=now)
            )
            if admission in _READ_AGAIN
            else admission
            for packet, admission in zip(packets, verdicts, strict=True)
        ]

    def foreseen(self, packet: Packet, *, now: float | datetime) -> Admission:
        """The verdict that `add` would give; the packet is not kept.

        Parameters
        ----------
        packet
            A verified packet.
        now
            Time of its arrival: Unix seconds, or a `datetime` with a zone.

        """
        instance(packet, "packet", Packet, "Packet.parse verifies bytes")
        now = point_in_time(now, "now")
        key = evidence_key(packet)
        refusal = refusal_by_time(packet, now)
        admission = verdict(packet, key, self) if refusal is None else refusal
        if admission not in _READ_AGAIN:
            return admission

        def review() -> Review:
            study_id = packet.outcome.study_id
            others = [
                head
                for head in candidates(self, study_id)
                if head.refusal is not None or evidence_key(head.packet) != key
            ]
            heads = [*others, Head(packet, equivocal=False)]
            return judge(heads, study=study_id, roster=self.roster, now=now)

        return self._read_verdict(packet, admission, review)

    def evidence(self, study: Study | bytes | str, *, now: float | datetime) -> Review:
        """The packets that count for a study, in the order of their ids, and what does not count.

        Parameters
        ----------
        study
            A `Study`, its id, or the question of a study that says nothing else.
        now
            Unix seconds, or a `datetime` with a zone.

        Returns
        -------
        Review
            A sequence of the packets that count, with their sites' names, and with every packet
            that does not count and the reason.

        """
        return self.reviewer(study, now=now).review()

    def reviewer(self, study: Study | bytes | str, *, now: float | datetime) -> "Reviewer":
        """Take what is held for a study now, to be judged later or in another thread.

        With a thousand packets the judging takes longer than an event loop may stand still.
        `evidence` does both at once.
        """
        now = point_in_time(now, "now")
        heads = candidates(self, study_id_of(study))
        return Reviewer(tuple(heads), study, self.roster, now)

    def review(self, study: Study | bytes | str, *, now: float | datetime) -> Review:
        """Return what `evidence` returns."""
        return self.evidence(study, now=now)

    @checked
    def set_aside(self, packets: Iterable[Packet]) -> int:
        """Let packets count no longer, whatever the roster says, and stand above nothing.

        For this site's own packets that a wrong clock has dated: they stay in the store, are listed
        with `Reason.SET_ASIDE`, and the newest that is left decides. Kept over restarts.

        Returns
        -------
        How many were not set aside before.

        Raises
        ------
        StorageError
            If the disk refuses; then nothing has changed.

        """
        fresh = {packet.id for packet in packets} - self._aside
        self._keep_aside(fresh)
        self._aside |= fresh
        self._nothing_refused_by = None
        return len(fresh)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} packets>"

    @property
    def aside(self) -> frozenset[bytes]:
        """Ids of the packets that were set aside."""
        return frozenset(self._aside)

    @property
    def unread(self) -> list[Unread]:
        """Packets that an older version kept and this one no longer reads: they do not count."""
        return []

    @property
    def flagged(self) -> frozenset[Issuer]:
        """The issuers of which there is proof of equivocation."""
        return frozenset(proof.issuer for proof in self.equivocations())

    def _read_verdict(
        self, packet: Packet, admission: Admission, review: Callable[[], Review]
    ) -> Admission:
        """The verdict on a packet in the light of the roster."""
        roster = self.roster
        if admission is Admission.SUPERSEDED and decides(self, packet):
            admission = deciding(packet)  # what is newer has no say
        if roster.is_open:
            return admission
        site = roster.site_of(packet.issuer)
        if site is None or self.refusal(bytes(packet)) is not None:
            return Admission.UNTRUSTED
        if admission is not Admission.ACCEPTED or not roster.overlaps_of(site.name):
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
        """True if a packet is held, given as such or by its id (32 bytes)."""

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
        if not self.roster.is_open and self.refusal(bytes(packet)) is not None:
            self._nothing_refused_by = None
        if len(self) > self.capacity:
            self._evict()
            if packet not in self:
                return Admission.EVICTED
        return admission

    @checked
    def refusal(self, data: bytes) -> Reason | None:
        """Why a packet of these bytes (all 512) has no say now; `None` if it has."""
        data = byte_string(data, "data", PACKET_SIZE)
        if self._aside and content_id(data) in self._aside:
            return Reason.SET_ASIDE
        return distrust(data, self.roster)

    @checked
    def refusals(self, packets: Sequence[Packet]) -> list[Reason | None]:
        """Why each of some packets has no say now; `None` where it has."""
        aside, roster = self._aside, self.roster
        return [
            Reason.SET_ASIDE if aside and each.id in aside else distrust(bytes(each), roster)
            for each in packets
        ]

    def _evict(self) -> None:
        held, needed = self._held_by_issuer(), to_free(len(self), self.capacity)
        going = self._refused_going(needed - sum(strangers_of(held, self.roster).values()))
        if going:
            self._drop(going)
            held = self._held_by_issuer()
        others, floors = losses(self, shares(held, self.roster, needed - len(going)))
        self._drop(others)
        for issuer, floor in floors.items():
            if floor > self.floor(issuer):
                self._raise_floor(issuer, floor)
        self.statistics.evicted += len(going) + len(others)

    def _refused_going(self, most: int) -> list[Kept]:
        """Choose packets to drop that the roster refuses, though it accepts their issuers."""
        if most <= 0 or self._nothing_refused_by == self.roster.digest:
            return []
        going, left = refused_losses(self.refused, most)
        if not left:
            self._nothing_refused_by = self.roster.digest
        return going

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
    def head(self, key: EvidenceKey) -> Packet | None:
        """The newest packet under a key, whoever believes it; of several the smallest id."""

    @abstractmethod
    def heads(self, study_id: bytes) -> list[Head]:
        """The newest packet of each evidence key of a study, whoever believes it."""

    @abstractmethod
    def newest_of(
        self, keys: Collection[EvidenceKey], accepts: Callable[[bytes], bool]
    ) -> list[Packet]:
        """The newest packet under each of some keys that is accepted, if one is."""

    @abstractmethod
    def at(self, issuer: bytes, sequence: int) -> list[Packet]:
        """The packets held under (issuer, sequence)."""

    @abstractmethod
    def refused(self) -> Iterable[Kept]:
        """Packets that have no say, of issuers that the roster accepts, by sequence."""

    @abstractmethod
    def _keep_aside(self, ids: Collection[bytes]) -> None:
        """Remember ids over a restart, if the store does."""

    @abstractmethod
    def _insert(self, packet: Packet, key: EvidenceKey, admission: Admission) -> None:
        """Hold a packet that is not held; the head of its key is the newest, then smallest id."""

    @abstractmethod
    def _drop(self, going: Sequence[Kept]) -> None:
        """Let go of packets; of each key the newest that is left is the head."""

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

    def _repr_html_(self) -> str:
        from qis.picture.html import table_of  # noqa: PLC0415  for people only

        rows = (
            ("store", type(self).__name__),
            ("packets", str(len(self))),
            ("set aside", str(len(self.aside))),
            ("roster", "open" if self.roster.is_open else f"{len(self.roster.sites)} sites"),
        )
        return table_of(rows)

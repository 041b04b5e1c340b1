"""Evidence in memory: for simulations, tests and short-lived processes."""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from qis._gate import checked
from qis.evidence.eviction import Kept
from qis.evidence.review import Head
from qis.evidence.roster import Roster
from qis.evidence.rules import Admission, EvidenceKey, evidence_key
from qis.evidence.store import Equivocation, EvidenceStore
from qis.identity import Issuer, issuer_of
from qis.packet import Packet

_Slot = tuple[bytes, int]
_NONE: frozenset[bytes] = frozenset()


class MemoryStore(EvidenceStore):
    """An `EvidenceStore` that forgets when the process ends.

    Parameters
    ----------
    roster
        Who is believed.
    capacity
        Most packets held; one takes some 3 kB.

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
    >>> store.add(packet, now=1_800_000_000).kept
    True
    >>> len(store.evidence("a vs b | death", now=1_800_000_000))
    1

    """

    def __init__(self, *, roster: Roster, capacity: int = 100_000) -> None:
        super().__init__(roster=roster, capacity=capacity)
        self._by_id: dict[bytes, Packet] = {}
        self._by_slot: dict[_Slot, dict[bytes, Packet]] = {}
        self._by_issuer: dict[bytes, dict[bytes, Packet]] = {}
        self._versions_of: dict[bytes, dict[EvidenceKey, list[Packet]]] = {}
        self._double: set[_Slot] = set()
        self._newest: dict[bytes, int] = {}
        self._floors: dict[bytes, int] = {}

    @checked
    def newest(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was ever held, or 0."""
        return self._newest.get(issuer, 0)

    @checked
    def ids_at(self, issuer: bytes, sequence: int) -> frozenset[bytes]:
        """Ids of the packets held under (issuer, sequence)."""
        found = self._by_slot.get((issuer, sequence))
        return frozenset(found) if found else _NONE

    @checked
    def head_sequence(self, key: EvidenceKey) -> int | None:
        """Highest sequence held under a key."""
        versions = self._versions(key)
        return versions[-1].sequence if versions else None

    @checked
    def head(self, key: EvidenceKey) -> Packet | None:
        """The newest packet under a key, whoever believes it; of several the smallest id."""
        versions = self._versions(key)
        return _newest(versions) if versions else None

    @checked
    def heads(self, study_id: bytes) -> list[Head]:
        """The newest packet of each evidence key of a study, whoever believes it."""
        held, double = self._versions_of.get(study_id, {}), self._double
        newest = [(key, _newest(all_)) for key, all_ in held.items()]
        return [
            Head(one, bool(double) and (key.issuer, one.sequence) in double) for key, one in newest
        ]

    @checked
    def newest_of(
        self, keys: Collection[EvidenceKey], accepts: Callable[[bytes], bool]
    ) -> list[Packet]:
        """The newest packet under each of some keys that is accepted, if one is."""
        found = []
        for key in keys:
            accepted = (one for one in _newest_first(self._versions(key)) if accepts(bytes(one)))
            found += [one for one in (next(accepted, None),) if one is not None]
        return found

    @checked
    def at(self, issuer: bytes, sequence: int) -> list[Packet]:
        """The packets held under (issuer, sequence)."""
        return list(self._by_slot.get((issuer, sequence), {}).values())

    def refused(self) -> Iterator[Kept]:
        """Packets that have no say, of issuers that the roster accepts, by sequence."""
        for sequence, issuer in sorted((sequence, issuer) for issuer, sequence in self._by_slot):
            if self.roster.accepts(issuer_of(issuer)):
                for _, packet in sorted(self._by_slot[issuer, sequence].items()):
                    if self.refusal(bytes(packet)) is not None:
                        yield Kept(sequence, issuer, packet)

    @checked
    def floor(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was evicted, or 0."""
        return self._floors.get(issuer, 0)

    def equivocations(self) -> list[Equivocation]:
        """All proofs of equivocation, sorted by issuer and sequence."""
        proofs = []
        for slot in sorted(self._double):
            packets = self._by_slot[slot]
            first, second, *_ = sorted(packets)
            proofs.append(Equivocation(Issuer(slot[0]), packets[first], packets[second]))
        return proofs

    def studies(self) -> list[bytes]:
        """Ids of the studies of which packets are held, sorted."""
        return sorted(self._versions_of)

    def packets(self) -> list[Packet]:
        """All packets held, superseded ones too, in the order of their ids."""
        return [self._by_id[packet_id] for packet_id in sorted(self._by_id)]

    @checked
    def packets_of(self, issuer: Issuer) -> list[Packet]:
        """All packets of one issuer, superseded ones too, by sequence and id."""
        found = self._by_issuer.get(issuer.key, {}).values()
        return sorted(found, key=lambda packet: (packet.sequence, packet.id))

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, packet: object) -> bool:
        return (packet.id if isinstance(packet, Packet) else packet) in self._by_id

    def close(self) -> None:
        """Nothing to release."""

    def _insert(self, packet: Packet, key: EvidenceKey, admission: Admission) -> None:
        slot = (key.issuer, packet.sequence)
        self._by_id[packet.id] = packet
        self._by_issuer.setdefault(key.issuer, {})[packet.id] = packet
        at = self._by_slot.setdefault(slot, {})
        at[packet.id] = packet
        if admission is Admission.EQUIVOCATION:
            self._double.add(slot)
        insort(
            self._versions_of.setdefault(key.study_id, {}).setdefault(key, []), packet, key=_rank
        )
        if packet.sequence > self._newest.get(key.issuer, 0):
            self._newest[key.issuer] = packet.sequence

    def _held_by_issuer(self) -> dict[bytes, int]:
        return {issuer: len(packets) for issuer, packets in self._by_issuer.items()}

    @checked
    def singles(self, *, decide: bool) -> Iterator[Kept]:
        """Packets alone under their issuer and sequence, by sequence: those that decide, or not."""
        for sequence, issuer in sorted((sequence, issuer) for issuer, sequence in self._by_slot):
            packet, *others = self._by_slot[issuer, sequence].values()
            if not others and self._is_head(packet) is decide:
                yield Kept(sequence, issuer, packet)

    def doubles(self) -> Iterator[Kept]:
        """All others, by issuer, sequence and id."""
        for issuer, sequence in sorted(self._double):
            for _, packet in sorted(self._by_slot[issuer, sequence].items()):
                yield Kept(sequence, issuer, packet)

    def _is_head(self, packet: Packet) -> bool:
        return self.head(evidence_key(packet)) is packet

    def _versions(self, key: EvidenceKey) -> list[Packet]:
        """All packets under a key, by sequence and id."""
        return self._versions_of.get(key.study_id, {}).get(key, [])

    def _keep_aside(self, ids: Collection[bytes]) -> None:
        """Nothing is kept over a restart."""

    def _raise_floor(self, issuer: bytes, sequence: int) -> None:
        self._floors[issuer] = sequence

    def _drop(self, going: Sequence[Kept]) -> None:
        for sequence, issuer, packet in going:
            slot = (issuer, sequence)
            at = self._by_slot[slot]
            del self._by_id[packet.id], at[packet.id]
            if len(at) < 2:
                self._double.discard(slot)
            if not at:
                del self._by_slot[slot]
            of_issuer = self._by_issuer[issuer]
            del of_issuer[packet.id]
            if not of_issuer:
                del self._by_issuer[issuer]
            key = evidence_key(packet)
            of_study = self._versions_of[key.study_id]
            versions = of_study[key]
            del versions[bisect_left(versions, _rank(packet), key=_rank)]
            if not versions:
                del of_study[key]
                if not of_study:
                    del self._versions_of[key.study_id]


def _rank(packet: Packet) -> tuple[int, bytes]:
    return packet.sequence, packet.id


def _newest(versions: list[Packet]) -> Packet:
    """Return the packet of the highest sequence; of several the one of the smallest id."""
    if len(versions) == 1:
        return versions[0]
    return versions[bisect_left(versions, (versions[-1].sequence, b""), key=_rank)]


def _newest_first(versions: list[Packet]) -> Iterator[Packet]:
    """Yield versions by falling sequence; equal sequences by rising id."""
    for _, slot in groupby(reversed(versions), key=attrgetter("sequence")):
        yield from sorted(slot, key=attrgetter("id"))

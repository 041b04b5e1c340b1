"""Evidence in memory: for simulations, tests and short-lived processes."""

from collections.abc import Iterator, Sequence

from qis.evidence.eviction import Kept
from qis.evidence.review import Head
from qis.evidence.roster import Roster
from qis.evidence.rules import Admission, EvidenceKey, evidence_key
from qis.evidence.store import Equivocation, EvidenceStore
from qis.identity import Issuer
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

    """

    def __init__(self, *, roster: Roster, capacity: int = 100_000) -> None:
        super().__init__(roster=roster, capacity=capacity)
        self._by_id: dict[bytes, Packet] = {}
        self._by_slot: dict[_Slot, dict[bytes, Packet]] = {}
        self._by_issuer: dict[bytes, dict[bytes, Packet]] = {}
        self._heads_of: dict[bytes, dict[EvidenceKey, Packet]] = {}
        self._double: set[_Slot] = set()
        self._newest: dict[bytes, int] = {}
        self._floors: dict[bytes, int] = {}

    def newest(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was ever held, or 0."""
        return self._newest.get(issuer, 0)

    def ids_at(self, issuer: bytes, sequence: int) -> frozenset[bytes]:
        """Ids of the packets held under (issuer, sequence)."""
        found = self._by_slot.get((issuer, sequence))
        return frozenset(found) if found else _NONE

    def head_sequence(self, key: EvidenceKey) -> int | None:
        """Highest sequence held under a key."""
        head = self._heads_of.get(key.study_id, {}).get(key)
        return None if head is None else head.sequence

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
        return sorted(self._heads_of)

    def packets(self) -> list[Packet]:
        """All packets held, superseded ones too, in the order of their ids."""
        return [self._by_id[packet_id] for packet_id in sorted(self._by_id)]

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
        heads = self._heads_of.setdefault(key.study_id, {})
        head = heads.get(key)
        if head is None or (-packet.sequence, packet.id) < (-head.sequence, head.id):
            heads[key] = packet
        if packet.sequence > self._newest.get(key.issuer, 0):
            self._newest[key.issuer] = packet.sequence

    def _held_by_issuer(self) -> dict[bytes, int]:
        return {issuer: len(packets) for issuer, packets in self._by_issuer.items()}

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
        key = evidence_key(packet)
        return self._heads_of.get(key.study_id, {}).get(key) is packet

    def _raise_floor(self, issuer: bytes, sequence: int) -> None:
        self._floors[issuer] = sequence

    def _drop(self, going: Sequence[Kept]) -> None:
        for sequence, issuer, packet in going:
            is_head = self._is_head(packet)
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
            if is_head:
                key = evidence_key(packet)
                heads = self._heads_of[key.study_id]
                del heads[key]
                if not heads:
                    del self._heads_of[key.study_id]

    def _heads(self, study_id: bytes) -> list[Head]:
        return [
            Head(packet, (key.issuer, packet.sequence) in self._double)
            for key, packet in self._heads_of.get(study_id, {}).items()
        ]

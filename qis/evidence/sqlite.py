"""Evidence on disk: what was acknowledged is there after a power cut, and damage is named."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Final, Self

from qis import _layout
from qis._database import open_database, translated
from qis.errors import InputError, PeerError, StorageDamagedError, StorageError
from qis.evidence._schema import SCHEMA
from qis.evidence.eviction import Kept
from qis.evidence.review import Head
from qis.evidence.roster import Roster
from qis.evidence.rules import Admission, EvidenceKey, evidence_key
from qis.evidence.store import Equivocation, EvidenceStore
from qis.identity import Issuer
from qis.packet import Packet

_PARSED_LIMIT: Final = 8_192
"""Packets kept verified in memory (some 25 MB), so that reading again costs no signature."""
_NONE: Final[frozenset[bytes]] = frozenset()


class SQLiteStore(EvidenceStore):
    """An `EvidenceStore` in one SQLite file, in WAL mode and synced before `add` returns.

    One process at a time has the file open, and its threads take turns. Whatever is read from it is
    verified again, so a packet changed on disk is found and never counts.

    Parameters
    ----------
    path
        The file; made if there is none. Beside it lies ``path-wal`` while the store is open: keep
        the two together. Not on a network share whose locks do not work.
    roster
        Who is believed.
    capacity
        Most packets held; one takes some 1 kB on disk.

    Raises
    ------
    StorageError
        If another process has the file open, a newer qis wrote it, or the disk refuses.
    StorageDamagedError
        If the file is damaged or is something else; it is left as it is.

    """

    def __init__(
        self, path: str | PathLike[str], *, roster: Roster, capacity: int = 1_000_000
    ) -> None:
        super().__init__(roster=roster, capacity=capacity)
        self.path = Path(path)
        self._parsed: OrderedDict[bytes, Packet] = OrderedDict()
        self._database = open_database(self.path, SCHEMA)
        with translated(self.path, SCHEMA):
            self._load()

    def _load(self) -> None:
        """Read what is kept in memory too; again after a transaction was taken back."""
        self._count: int = self._database.execute("SELECT count(*) FROM packets").fetchone()[0]
        rows = self._database.execute("SELECT issuer, sequence FROM floors")
        self._floors = {issuer: _number(sequence) for issuer, sequence in rows}
        rows = self._database.execute("SELECT issuer, max(sequence) FROM packets GROUP BY issuer")
        self._tops = {issuer: _number(sequence) for issuer, sequence in rows}

    def ids_at(self, issuer: bytes, sequence: int) -> frozenset[bytes]:
        """Ids of the packets held under (issuer, sequence)."""
        if sequence > self._tops.get(issuer, 0):  # as a rule, so no query
            return _NONE
        rows = self._database.execute(_IDS_AT, (issuer, _key(sequence))).fetchall()
        return frozenset(row[0] for row in rows) if rows else _NONE

    def head_sequence(self, key: EvidenceKey) -> int | None:
        """Highest sequence held under a key."""
        row = self._database.execute(_HEAD_SEQUENCE, key).fetchone()
        return None if row is None else _number(row[0])

    def floor(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was evicted, or 0."""
        return self._floors.get(issuer, 0)

    def equivocations(self) -> list[Equivocation]:
        """All proofs of equivocation, sorted by issuer and sequence."""
        with translated(self.path, SCHEMA):
            rows = self._database.execute(_EQUIVOCATIONS).fetchall()
            slots = [(issuer, sorted(self.ids_at(issuer, _number(at)))[:2]) for issuer, at in rows]
            return [
                Equivocation(Issuer(issuer), *(self._packet(packet_id) for packet_id in ids))
                for issuer, ids in slots
            ]

    def studies(self) -> list[bytes]:
        """Ids of the studies of which packets are held, sorted."""
        with translated(self.path, SCHEMA):
            return [row[0] for row in self._database.execute(_STUDIES)]

    def packets(self) -> list[Packet]:
        """All packets held, superseded ones too, in the order of their ids."""
        with translated(self.path, SCHEMA):
            ids = self._database.execute("SELECT id FROM packets ORDER BY id").fetchall()
            return [self._packet(packet_id) for (packet_id,) in ids]

    def packets_of(self, issuer: Issuer) -> list[Packet]:
        """All packets of one issuer, superseded ones too, by sequence and id."""
        with translated(self.path, SCHEMA):
            ids = self._database.execute(_OF_ISSUER, (issuer.key,)).fetchall()
            return [self._packet(packet_id) for (packet_id,) in ids]

    def verify(self) -> None:
        """Check the whole file: its structure, every index, and every packet's signature.

        Opening checks the structure only. Takes some 0.1 ms a packet.

        Raises
        ------
        StorageDamagedError
            If anything is not what was written.

        """
        with translated(self.path, SCHEMA):
            faults = [row[0] for row in self._database.execute("PRAGMA integrity_check(3)")]
            if faults != ["ok"]:
                raise self._damage("; ".join(faults))
            for packet_id, raw in self._database.execute("SELECT id, raw FROM packets"):
                self._verified(packet_id, raw)

    @classmethod
    def recover(
        cls,
        path: str | PathLike[str],
        *,
        into: str | PathLike[str],
        roster: Roster,
        capacity: int = 1_000_000,
    ) -> Self:
        """Save what is readable of a damaged store into a new file; the old one is only read.

        Every packet carries its own proof, so the file and its log are searched for packets
        wherever they lie, and each whose signature verifies is admitted anew. Packets that the old
        store had evicted, but not yet overwritten, come back too.

        Returns
        -------
        The new store, open; `len` says how many packets were saved.

        Raises
        ------
        InputError
            If there is something under `into`.
        StorageError
            If the old file cannot be read or the new one not be written.

        """
        target = Path(into)
        if target.exists():
            raise InputError(f"{target} exists; recover into a new file", field="into")
        found: dict[bytes, Packet] = {}
        for source in (Path(path), Path(f"{path}-wal")):
            with translated(source, SCHEMA):
                data = source.read_bytes() if source.exists() else b""
            found.update((packet.id, packet) for packet in _carved(data))
        if not found:
            raise StorageError(f"{path} holds no packet that verifies", field="path")
        store = cls(target, roster=roster, capacity=capacity)
        with store._transaction():
            for packet in sorted(found.values(), key=lambda packet: packet.sequence):
                store._keep(packet)
        return store

    def __len__(self) -> int:
        return self._count

    def __contains__(self, packet_id: object) -> bool:
        if not isinstance(packet_id, bytes):
            return False
        return self._database.execute(_RAW, (_tag(packet_id), packet_id)).fetchone() is not None

    def close(self) -> None:
        """Write the log back into the file and unlock it; idempotent."""
        self._database.close()

    def _add_all(self, packets: list[Packet], now: float) -> list[Admission]:
        with self._transaction():
            return super()._add_all(packets, now)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        evicted = self.statistics.evicted
        with translated(self.path, SCHEMA):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                self._parsed.clear()
                self.statistics.evicted = evicted
                self._load()
                raise

    def _insert(self, packet: Packet, key: EvidenceKey, admission: Admission) -> None:
        sequence = _key(packet.sequence)
        execute = self._database.execute
        execute(_INSERT, (packet.id, _tag(packet.id), key.issuer, sequence, bytes(packet)))
        if admission is Admission.EQUIVOCATION:
            execute(_MARK, (key.issuer, sequence))
        if admission is not Admission.SUPERSEDED:
            execute(_LIFT, (*key, sequence, packet.id))
        self._count += 1
        if packet.sequence > self._tops.get(key.issuer, 0):
            self._tops[key.issuer] = packet.sequence
        self._remember(packet)

    def _drop(self, packet_id: bytes) -> None:
        packet = self._packet(packet_id)
        key = evidence_key(packet)
        self._database.execute(_DELETE, (_tag(packet_id), packet_id))
        self._database.execute(_LOWER, (*key, packet_id))
        if len(self.ids_at(key.issuer, packet.sequence)) < 2:
            self._database.execute(_UNMARK, (key.issuer, _key(packet.sequence)))
        self._count -= 1
        self._parsed.pop(packet_id, None)

    def _raise_floor(self, issuer: bytes, sequence: int) -> None:
        self._database.execute("REPLACE INTO floors VALUES (?, ?)", (issuer, _key(sequence)))
        self._floors[issuer] = sequence

    def _held_by_issuer(self) -> dict[bytes, int]:
        return dict(self._database.execute("SELECT issuer, count(*) FROM packets GROUP BY issuer"))

    def _kept_of(self, issuer: bytes) -> list[Kept]:
        rows = self._database.execute(_KEPT_OF, (issuer,))
        return [Kept(_number(sequence), at, bool(head)) for sequence, at, head in rows]

    def _heads(self, study_id: bytes) -> list[Head]:
        with translated(self.path, SCHEMA):
            rows = self._database.execute(_HEADS, (study_id,)).fetchall()
            return [Head(self._packet(packet_id), bool(double)) for packet_id, double in rows]

    def _packet(self, packet_id: bytes) -> Packet:
        packet = self._parsed.get(packet_id)
        if packet is None:
            row = self._database.execute(_RAW, (_tag(packet_id), packet_id)).fetchone()
            if row is None:
                raise self._damage(f"packet {packet_id.hex()} is missing")
            packet = self._verified(packet_id, row[0])
            self._remember(packet)
        return packet

    def _remember(self, packet: Packet) -> None:
        self._parsed[packet.id] = packet
        if len(self._parsed) > _PARSED_LIMIT:
            self._parsed.popitem(last=False)

    def _verified(self, packet_id: bytes, raw: bytes) -> Packet:
        try:
            packet = Packet.parse(raw)
        except PeerError as error:
            raise self._damage(f"packet {packet_id.hex()}: {error}") from error
        if packet.id != packet_id:
            raise self._damage(f"packet {packet.id.hex()} is filed under {packet_id.hex()}")
        return packet

    def _damage(self, what: str) -> StorageDamagedError:
        return StorageDamagedError(
            f"{self.path} is damaged ({what}); it is left as it is. Bring it back from a backup, "
            f"{SCHEMA.rescue}",
            field="path",
            actual=what,
        )


def _key(sequence: int) -> bytes:
    """A sequence as sqlite stores it: its integers end at 2**63, sequences at 2**64."""
    return sequence.to_bytes(8, "big")


def _tag(packet_id: bytes) -> int:
    """The first 8 bytes of an id: an index over these is a quarter as large, hence as fast."""
    return int.from_bytes(packet_id[:8], "big", signed=True)


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")


def _carved(data: bytes) -> Iterator[Packet]:
    """Every packet in these bytes that verifies; rows never cross a page, so each is in a piece."""
    place = data.find(_layout.PREFIX)
    while place >= 0:
        try:
            yield Packet.parse(data[place : place + _layout.PACKET_SIZE])
        except PeerError:
            place += 1
        else:
            place += _layout.PACKET_SIZE
        place = data.find(_layout.PREFIX, place)


_IDS_AT: Final = "SELECT id FROM packets WHERE issuer = ? AND sequence = ?"
_HEAD_SEQUENCE: Final = (
    "SELECT sequence FROM heads WHERE study = ? AND issuer = ? AND cohort = ? AND role = ?"
)
_EQUIVOCATIONS: Final = "SELECT issuer, sequence FROM equivocations ORDER BY issuer, sequence"
_STUDIES: Final = "SELECT DISTINCT study FROM heads ORDER BY study"
_RAW: Final = "SELECT raw FROM packets WHERE tag = ? AND id = ?"
_DELETE: Final = "DELETE FROM packets WHERE tag = ? AND id = ?"
_INSERT: Final = "INSERT INTO packets (id, tag, issuer, sequence, raw) VALUES (?, ?, ?, ?, ?)"
_LIFT: Final = """
    INSERT INTO heads (study, issuer, cohort, role, sequence, id) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET sequence = excluded.sequence, id = excluded.id
    WHERE excluded.sequence > sequence OR (excluded.sequence = sequence AND excluded.id < id)
"""
_LOWER: Final = (
    "DELETE FROM heads WHERE study = ? AND issuer = ? AND cohort = ? AND role = ? AND id = ?"
)
_MARK: Final = "INSERT OR IGNORE INTO equivocations VALUES (?, ?)"
_UNMARK: Final = "DELETE FROM equivocations WHERE issuer = ? AND sequence = ?"
_OF_ISSUER: Final = "SELECT id FROM packets WHERE issuer = ? ORDER BY sequence, id"
_KEPT_OF: Final = """
    SELECT sequence, id, id IN (SELECT id FROM heads WHERE issuer = ?1)
    FROM packets WHERE issuer = ?1
"""
_HEADS: Final = """
    SELECT id, EXISTS (SELECT 1 FROM equivocations AS e
        WHERE e.issuer = heads.issuer AND e.sequence = heads.sequence)
    FROM heads WHERE study = ?
"""

"""Evidence on disk: what was acknowledged is there after a power cut, and damage is named."""

import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Final, Self

from qis._database import open_database, translated
from qis._gate import checked
from qis._paths import file_path
from qis.errors import InputError, PeerError, StorageDamagedError, StorageError
from qis.evidence import _statements as sql
from qis.evidence._carving import carved
from qis.evidence._schema import SCHEMA
from qis.evidence._unread import Unread, all_unread, set_unread_aside
from qis.evidence.eviction import Kept
from qis.evidence.review import Head
from qis.evidence.roster import Roster
from qis.evidence.rules import Admission, EvidenceKey, evidence_key
from qis.evidence.store import Equivocation, EvidenceStore
from qis.identity import Issuer, issuer_of
from qis.packet import Packet, content_id, issuer_key, reread

_PARSED_LIMIT: Final = 8_192
"""Packets kept verified in memory (some 25 MB), so that reading again costs no signature."""


@dataclass(slots=True)
class _Account:
    """Counts and sequences of an issuer, kept in memory so that they need no query."""

    number: int
    floor: int = 0
    held: int = 0
    newest: int = 0


class SQLiteStore(EvidenceStore):
    """An `EvidenceStore` in one SQLite file, in WAL mode and synced before `add` returns.

    One process at a time has the file open, and its threads take turns. Packets that an older
    version has stored and this one no longer reads are in `unread`. Whatever is read from it is
    verified again, so a packet changed on disk is found and never counts.

    Parameters
    ----------
    path
        The file; made if there is none. Beside it lies ``path-wal`` while the store is open: keep
        the two together. Not on a network share whose locks do not work.
    roster
        Who is believed.
    capacity
        Most packets held; one takes some 0.6 kB on disk.

    Raises
    ------
    StorageError
        If another process has the file open, a newer qis wrote it, or the disk refuses.
    StorageDamagedError
        If the file is damaged or is something else; it is left as it is.

    Examples
    --------
    >>> import qis, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> store = qis.SQLiteStore(f"{folder.name}/evidence.db", roster=qis.Roster.open())
    >>> store
    <SQLiteStore of 0 packets>
    >>> store.close()
    >>> folder.cleanup()

    """

    @checked
    def __init__(
        self, path: str | PathLike[str], *, roster: Roster, capacity: int = 1_000_000
    ) -> None:
        super().__init__(roster=roster, capacity=capacity)
        self.path = file_path(path, without="a qis.MemoryStore")
        self._parsed: OrderedDict[int, Packet] = OrderedDict()
        self._rows: list[tuple[int, int, bytes, bytes]] = []
        self._lifts: list[tuple[bytes, int, str, int, bytes, int]] = []
        self._database = open_database(self.path, SCHEMA)
        try:
            with translated(self.path, SCHEMA):
                set_unread_aside(self._database, self.path)
                self._load()
        except BaseException:
            self._database.close()
            raise

    def _load(self) -> None:
        """Read what is also kept in memory; called again after a transaction was rolled back."""
        execute = self._database.execute
        own = execute("SELECT id FROM file").fetchone()
        if own is None:
            raise self._damage("the file's own id is missing")
        self._memory = bytes(own[0])
        self._count: int
        self._last_row_id: int
        self._count, self._last_row_id = execute(sql.EXTENT).fetchone()
        self._accounts = {
            key: _Account(number, floor=_number(floor), newest=_number(floor))
            for number, key, floor in execute(sql.ISSUERS)
        }
        accounts = {account.number: account for account in self._accounts.values()}
        for number, held, newest in execute(sql.TALLY):
            if number not in accounts:
                raise self._damage(f"issuer {number} is missing")
            account = accounts[number]
            account.held, account.newest = held, max(account.newest, _number(newest))
        for number, newest in execute(sql.NEWEST_UNREAD):
            if number in accounts:
                accounts[number].newest = max(accounts[number].newest, _number(newest))
        self._aside = {packet_id for (packet_id,) in execute(sql.ASIDE)}
        self._nothing_refused_by = None

    @property
    def unread(self) -> list[Unread]:
        """Packets of the file that this version no longer reads: they do not count.

        Found when a file of an older version is opened for the first time, and named in the log
        then. They stay in the file.
        """
        with translated(self.path, SCHEMA):
            return list(all_unread(self._database))

    @property
    def memory(self) -> bytes:
        """16 random bytes that the file was made with, so that they stay when it is reopened."""
        return self._memory

    @checked
    def newest(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was ever held, or 0."""
        account = self._accounts.get(issuer)
        return 0 if account is None else account.newest

    @checked
    def ids_at(self, issuer: bytes, sequence: int) -> frozenset[bytes]:
        """Ids of the packets held under (issuer, sequence)."""
        return frozenset(packet_id for _, packet_id in self._slot(issuer, sequence))

    @checked
    def head_sequence(self, key: EvidenceKey) -> int | None:
        """Highest sequence held under a key."""
        head = self._head(key)
        return None if head is None else head[0]

    @checked
    def head(self, key: EvidenceKey) -> Packet | None:
        """The newest packet under a key, whoever believes it; of several the smallest id."""
        head = self._head(key)
        with translated(self.path, SCHEMA):
            return None if head is None else self._packet(head[2])

    @checked
    def heads(self, study_id: bytes) -> list[Head]:
        """The newest packet of each evidence key of a study, whoever believes it."""
        with translated(self.path, SCHEMA):
            rows = self._database.execute(sql.HEADS, (study_id,)).fetchall()
            return [Head(self._packet(row_id, at), bool(double)) for at, row_id, double in rows]

    @checked
    def newest_of(
        self, keys: Collection[EvidenceKey], accepts: Callable[[bytes], bool]
    ) -> list[Packet]:
        """The newest packet under each of some keys that is accepted, if one is."""
        with translated(self.path, SCHEMA):
            return [
                self._packet(row_id)
                for issuer in sorted({key.issuer for key in keys})
                for row_id in self._newest_of(
                    [key for key in keys if key.issuer == issuer], accepts
                ).values()
            ]

    @checked
    def at(self, issuer: bytes, sequence: int) -> list[Packet]:
        """The packets held under (issuer, sequence)."""
        with translated(self.path, SCHEMA):
            return [self._packet(row_id) for row_id, _ in self._slot(issuer, sequence)]

    @checked
    def floor(self, issuer: bytes) -> int:
        """Highest sequence of the issuer that was evicted, or 0."""
        account = self._accounts.get(issuer)
        return 0 if account is None else account.floor

    def equivocations(self) -> list[Equivocation]:
        """All proofs of equivocation, sorted by issuer and sequence."""
        with translated(self.path, SCHEMA):
            slots = groupby(self.doubles(), key=itemgetter(0, 1))
            proofs = [(issuer, list(slot)[:2]) for (_, issuer), slot in slots]
            return [
                Equivocation(Issuer(issuer), *(self._packet(kept.handle) for kept in proof))
                for issuer, proof in proofs
            ]

    def studies(self) -> list[bytes]:
        """Ids of the studies of which packets are held, sorted."""
        with translated(self.path, SCHEMA):
            return [row[0] for row in self._database.execute(sql.STUDIES)]

    def packets(self) -> list[Packet]:
        """All packets held, superseded ones too, in the order of their ids."""
        with translated(self.path, SCHEMA):
            row_ids = self._database.execute("SELECT place FROM packets").fetchall()
            return sorted((self._packet(row_id) for (row_id,) in row_ids), key=lambda one: one.id)

    @checked
    def packets_of(self, issuer: Issuer) -> list[Packet]:
        """All packets of one issuer, superseded ones too, by sequence and id."""
        account = self._accounts.get(issuer.key)
        if account is None:
            return []
        with translated(self.path, SCHEMA):
            row_ids = self._database.execute(sql.OF_ISSUER, (account.number,)).fetchall()
            found = [self._packet(row_id) for (row_id,) in row_ids]
        return sorted(found, key=lambda packet: (packet.sequence, packet.id))

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
            for row in self._database.execute(f"{sql.PACKETS} ORDER BY place"):
                self._verified(*row)
            for row_id, *key in self._database.execute(sql.KEYS).fetchall():
                if evidence_key(self._packet(row_id)) != tuple(key):
                    raise self._damage(f"packet {row_id} decides for what it is not about")

    @classmethod
    @checked
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
        target = file_path(into, field="into")
        if target.exists():
            raise InputError(f"{target} exists; recover into a new file", field="into")
        found: dict[bytes, Packet] = {}
        for source in (Path(path), Path(f"{path}-wal")):
            with translated(source, SCHEMA):
                data = source.read_bytes() if source.exists() else b""
            found.update((packet.id, packet) for packet in carved(data))
        if not found:
            raise StorageError(f"{path} holds no packet that verifies", field="path")
        store = cls(target, roster=roster, capacity=capacity)
        try:
            with store._transaction():
                for packet in sorted(found.values(), key=lambda packet: packet.sequence):
                    store._keep(packet)
        except BaseException:
            store.close()
            raise
        return store

    def __len__(self) -> int:
        return self._count

    def __contains__(self, packet: object) -> bool:
        """True if a packet is held, given as such or by its id (32 bytes).

        By its id it is searched for in the whole file, which takes some 2 µs for each packet held.
        """
        if isinstance(packet, Packet):
            return packet.id in self.ids_at(issuer_key(bytes(packet)), packet.sequence)
        rows = self._database.execute("SELECT raw FROM packets")
        return any(content_id(raw) == packet for (raw,) in rows)

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
                self._write()
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                for kept in (self._parsed, self._rows, self._lifts):
                    kept.clear()
                self.statistics.evicted = evicted
                self._load()
                raise

    def _insert(self, packet: Packet, key: EvidenceKey, admission: Admission) -> None:
        account = self._accounts.get(key.issuer) or self._new_account(key.issuer)
        number, sequence = account.number, _key(packet.sequence)
        lifts = admission is not Admission.SUPERSEDED
        if admission is Admission.EQUIVOCATION:
            head = self._head(key)
            lifts = head is None or (-packet.sequence, packet.id) < (-head[0], head[1])
        self._last_row_id = row_id = self._last_row_id + 1
        self._rows.append((row_id, number, sequence, bytes(packet)))
        if lifts:
            row = (key.study_id, number, key.cohort, int(key.role), sequence, row_id)
            self._lifts.append(row)
        if admission is Admission.EQUIVOCATION:
            self._database.executemany(sql.MARK, self._slot(key.issuer, packet.sequence))
        self._count += 1
        account.held += 1
        account.newest = max(account.newest, packet.sequence)
        self._remember(row_id, packet)

    def _new_account(self, issuer: bytes) -> _Account:
        account = self._accounts[issuer] = _Account(len(self._accounts) + 1)
        self._database.execute(sql.NEW_ISSUER, (account.number, issuer, _key(0)))
        return account

    def _write(self) -> None:
        """Insert the rows that were buffered; has to run before each query of them."""
        if self._rows:
            self._database.executemany(sql.INSERT, self._rows)
            self._database.executemany(sql.LIFT, self._lifts)
            self._rows.clear()
            self._lifts.clear()

    def _slot(self, issuer: bytes, sequence: int) -> list[tuple[int, bytes]]:
        """Row id and packet id of each packet held under (issuer, sequence)."""
        account = self._accounts.get(issuer)
        if account is None:
            return []
        self._write()
        rows = self._database.execute(sql.SLOT, (_key(sequence), account.number))
        return [(row_id, content_id(raw)) for row_id, raw in rows]

    def _head(self, key: EvidenceKey) -> tuple[int, bytes, int] | None:
        """Sequence, id and row id of the head of a key."""
        account = self._accounts.get(key.issuer)
        if account is None:
            return None
        self._write()
        at = (key.study_id, account.number, key.cohort, int(key.role))
        row = self._database.execute(sql.HEAD, at).fetchone()
        return None if row is None else (_number(row[0]), content_id(row[1]), row[2])

    def _newest_of(
        self, keys: Collection[EvidenceKey], accepts: Callable[[bytes], bool]
    ) -> dict[EvidenceKey, int]:
        """The row id of the newest accepted packet under each of some keys of one issuer.

        Reads the issuer's packets from the newest on, until all are found: rare enough to do
        without an index, which each addition would pay for.
        """
        lacking = set(keys)
        (issuer,) = {key.issuer for key in lacking}
        studies = {key.study_id for key in lacking}
        self._write()
        if issuer not in self._accounts:
            return {}
        rows = self._database.execute(
            sql.NEWEST_FIRST,
            (self._accounts[issuer].number, studies.pop() if len(studies) == 1 else None),
        )
        found: dict[EvidenceKey, int] = {}
        for _, slot in groupby(rows, key=itemgetter(0)):
            for _, row_id, raw in sorted(slot, key=lambda row: content_id(row[2])):
                if accepts(raw) and (key := evidence_key(reread(raw))) in lacking:
                    lacking.remove(key)
                    found[key] = row_id
            if not lacking:
                break
        return found

    def _drop(self, going: Sequence[Kept]) -> None:
        self._write()
        row_ids = json.dumps([packet.handle for packet in going])
        (heads,) = self._database.execute(sql.HEAD_COUNT).fetchone()
        lost: list[EvidenceKey] = []
        if heads < self._count:  # else there is nothing under any head
            lost = [EvidenceKey(*row) for row in self._database.execute(sql.LOST, (row_ids,))]
        for statement in sql.DROP:
            self._database.execute(statement, (row_ids,))
        self._database.execute(sql.UNMARK)
        self._count -= len(going)
        for packet in going:
            self._accounts[packet.issuer].held -= 1
            self._parsed.pop(packet.handle, None)
        if lost:
            self._lift_others(lost)

    def _lift_others(self, lost: list[EvidenceKey]) -> None:
        """Make the newest that is left the head of each key that has lost its head.

        As a rule none is left: what was superseded goes before what decides.
        """
        keys_of: dict[bytes, list[EvidenceKey]] = {}
        for key in lost:
            keys_of.setdefault(key.issuer, []).append(key)
        numbers = json.dumps([self._accounts[issuer].number for issuer in keys_of])
        heads = dict(self._database.execute(sql.HEADS_OF, (numbers,)).fetchall())
        for issuer, keys in keys_of.items():
            account = self._accounts[issuer]
            if account.held > heads.get(issuer, 0):
                for key, row_id in self._newest_of(keys, lambda _: True).items():
                    (sequence,) = self._database.execute(sql.SEQUENCE, (row_id,)).fetchone()
                    at = (key.study_id, account.number, key.cohort, int(key.role))
                    self._database.execute(sql.LIFT, (*at, sequence, row_id))

    def _keep_aside(self, ids: Collection[bytes]) -> None:
        with self._transaction():
            self._database.executemany(sql.SET_ASIDE, [(packet_id,) for packet_id in ids])

    def _raise_floor(self, issuer: bytes, sequence: int) -> None:
        account = self._accounts[issuer]
        account.floor = sequence
        self._database.execute(sql.RAISE, (_key(sequence), account.number))

    def _held_by_issuer(self) -> dict[bytes, int]:
        return {issuer: account.held for issuer, account in self._accounts.items() if account.held}

    @checked
    def singles(self, *, decide: bool) -> Iterator[Kept]:
        """Packets alone under their issuer and sequence, by sequence: those that decide, or not."""
        self._write()
        for sequence, issuer, row_id in self._database.execute(sql.SINGLES, (decide,)):
            yield Kept(_number(sequence), issuer, row_id)

    def doubles(self) -> Iterator[Kept]:
        """All others, by issuer, sequence and id."""
        self._write()
        for issuer, sequence, row_id in self._database.execute(sql.DOUBLES):
            yield Kept(_number(sequence), issuer, row_id)

    def refused(self) -> Iterator[Kept]:
        """Packets that have no say, of issuers that the roster accepts, by sequence."""
        self._write()
        rows = self._database.execute(sql.JUDGED)
        for (sequence, issuer), slot in groupby(rows, key=itemgetter(0, 1)):
            if self.roster.accepts(issuer_of(issuer)):
                found = [(row_id, raw) for *_, row_id, raw in slot if self.refusal(raw) is not None]
                for row_id, _ in sorted(found, key=lambda row: content_id(row[1])):
                    yield Kept(_number(sequence), issuer, row_id)

    def _packet(self, row_id: int, sequence: bytes | None = None) -> Packet:
        """The packet in a row; damage if it does not have this sequence (where one is given)."""
        packet = self._parsed.get(row_id)
        if packet is None:
            row = self._database.execute(f"{sql.PACKETS} WHERE place = ?", (row_id,)).fetchone()
            if row is None:
                raise self._damage(f"packet {row_id} is missing")
            packet = self._verified(*row)
            self._remember(row_id, packet)
        if sequence is not None and packet.sequence != _number(sequence):
            raise self._damage(f"packet {row_id} is not of sequence {_number(sequence)}")
        return packet

    def _remember(self, row_id: int, packet: Packet) -> None:
        self._parsed[row_id] = packet
        if len(self._parsed) > _PARSED_LIMIT:
            self._parsed.popitem(last=False)

    def _verified(self, issuer: bytes, sequence: bytes, raw: bytes) -> Packet:
        name = f"packet {_number(sequence)} of issuer {issuer.hex()}"
        try:
            packet = Packet.parse(raw)
        except PeerError as error:
            raise self._damage(f"{name}: {error}") from error
        if (issuer_key(raw), packet.sequence) != (issuer, _number(sequence)):
            raise self._damage(f"packet {packet.id.hex()} is filed as {name}")
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


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")

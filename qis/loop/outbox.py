"""The outbox: packets that are signed and not held yet, outcomes that wait, used sequences.

Packet, routing keys and sequence are written to disk in one transaction before anybody can see the
packet. So a process that dies at any point has either published a packet, which it will go on
sending, or not made it at all.
"""

import json
from collections.abc import Container, Iterable
from os import PathLike
from typing import Final, NamedTuple

from qis._gate import checked
from qis.account import Account
from qis.account.chain import append_line
from qis.account.findings import FINDINGS
from qis.disclosure.budget import payment_of
from qis.disclosure.ledger import Emission, line_of
from qis.errors import InputError, StorageError
from qis.evidence.rules import EvidenceKey, evidence_key
from qis.loop._made import Made
from qis.loop._numbers import Numbers, limit_at
from qis.loop._outbox_file import OutboxFile
from qis.loop._outbox_rows import keys_of
from qis.loop._waiting import Waiting
from qis.loop.approval import Pending
from qis.packet import Packet, is_numbered_ahead

LIMIT: Final = 10_000
"""Default of the most packets that wait for the network, and of outcomes that wait for a person."""

FRESH_LIMIT: Final = 64
"""Most packets kept as objects between `put` and `queued`, which then need not verify them."""


_ANSWERED, _DUE = 1, 2
"""States of a packet that was set aside, beside 0; fixed for ever."""


class Unsent(NamedTuple):
    """A packet that is not known to be held by another site yet."""

    number: int
    """Its row in the table of unsent packets; grows with every packet."""
    packet: Packet
    routing_keys: tuple[bytes, ...]
    since: float
    """Unix seconds: when it was put into the queue."""


class Own(NamedTuple):
    """The newest packet that this site signed under an evidence key."""

    packet: Packet
    routing_keys: tuple[bytes, ...]


class Aside(NamedTuple):
    """A packet of this site that a wrong clock has dated, and that supersedes nothing here."""

    packet: Packet
    routing_keys: tuple[bytes, ...]
    is_answered: bool
    """True if its date has come and a newer packet was published to supersede it."""
    is_due: bool = False
    """True if it is a withdrawal that is to be signed again at once, with the right date."""


class Look(NamedTuple):
    """A look at a study's synthesis; confidence sequences hold for any number of looks."""

    state: bytes
    """Hash of what was seen."""
    number: int


class Outbox(OutboxFile):
    """The packets that a key has published, and which of them are still to be sent.

    It is a part of the key's `qis.Account`, which a loop keeps its ledger and budget in too. The
    file (mode 0600) holds keyed hashes of subjects: it stays at the site. One loop at a time may
    use a key: it holds ``<key file>.witness``, or ``<issuer>.witness`` beside the outbox where the
    key has no file. An outbox in another folder goes on in the account that this witness names.

    Parameters
    ----------
    path
        The account, or its file, created if missing. `None`: in memory; then unsent packets are
        lost when the process ends, and only the clock keeps sequences from being used again.
    limit
        Most packets that wait for the network (`publish` waits for room), and most outcomes that
        wait for approval (`publish` refuses another).

    Raises
    ------
    InputError
        If `limit` is not positive.
    StorageError
        If another process has it open, or the disk refuses.
    StorageDamagedError
        If the file is damaged or no outbox; it is left as it is.

    Examples
    --------
    >>> import qis
    >>> with qis.Outbox() as outbox:  # in memory; with a path it survives the process
    ...     outbox
    <Outbox the outbox in memory, 0 of 10000 unsent>

    """

    @checked
    def __init__(
        self, path: Account | str | PathLike[str] | None = None, *, limit: int = LIMIT
    ) -> None:
        if limit < 1:
            raise InputError("limit is a positive number of packets", field="limit", actual=limit)
        self.limit = limit
        super().__init__(path)

    def _begin(self, account: Account) -> None:
        super()._begin(account)
        with self._translated():
            self._numbers = Numbers(self._execute)
            self._made = Made(self._execute)
            self._waiting = Waiting(self._execute, self._damage)
            self._unsent: int = self._execute("SELECT count(*) FROM unsent").fetchone()[0]
            row = self._execute("SELECT coalesce(max(number), 0) FROM unsent").fetchone()
            self._newest: int = row[0]
        self._fresh: dict[int, Packet] = {}  # put just now: need not be verified when it is read

    @property
    def last_sequence(self) -> int:
        """The highest used sequence of this key that was not set aside; 0 if there is none."""
        return self._numbers.last

    @checked
    def next_sequence(self, now: float, *, above: int = 0) -> int:
        """Return an unused sequence for a packet that is signed now (Unix seconds).

        It is higher than `above` and than all used ones, except those that lie further ahead than
        clocks may differ.
        """
        with self._translated():
            return self._numbers.next(now, above=above)

    @property
    def unsent(self) -> int:
        """Number of packets that are not held yet."""
        return self._unsent

    @checked
    def put(
        self,
        packet: Packet,
        routing_keys: tuple[bytes, ...],
        *,
        releases: str = "",
        base_keys: tuple[bytes, ...] = (),
        after: Own | None = None,
    ) -> bool:
        """Queue a packet; it, its keys and its sequence are on disk when this returns.

        Parameters
        ----------
        packet
            The packet, whose sequence was never used before (`next_sequence`).
        routing_keys
            The keys that it travels under.
        releases
            Id of the pending outcome that this packet carries, which waits no longer.
        base_keys
            What the keys follow from, if they are of an epoch.
        after
            The retraction of the version that it replaces, under that version's keys: both are
            queued, or neither.

        Returns
        -------
        bool
            True if the outcome `releases` was waiting, and waits no longer.

        Raises
        ------
        StorageError
            If the sequence was used, or the disk refuses; then nothing has changed.

        """
        queued = [each for each in (after, Own(packet, routing_keys)) if each is not None]
        for each in queued:
            self._require_unused(each.packet)
        rows = []
        with self._transaction():
            for each in queued:
                row = self._execute(
                    "INSERT INTO unsent (packet, keys) VALUES (?, ?)",
                    (bytes(each.packet), b"".join(each.routing_keys)),
                )
                rows.append((row.lastrowid or self._newest, each.packet))
                self._numbers.use(each.packet.sequence)
                self._made.note(each.packet)
            self._execute(
                "REPLACE INTO own VALUES (?, ?, ?, ?, ?, ?)",
                (*_row_key(evidence_key(packet)), bytes(packet), b"".join(routing_keys)),
            )
            if base_keys:
                self._execute(
                    "REPLACE INTO bases VALUES (?, ?)",
                    (packet.routing_commitment, b"".join(base_keys)),
                )
            has_waited = self._waiting.drop(releases)
        self._numbers.used()
        self._unsent += len(rows)
        self._newest = rows[-1][0]
        for number, each_packet in rows:
            if len(self._fresh) < FRESH_LIMIT:
                self._fresh[number] = each_packet
        return has_waited

    def _require_unused(self, packet: Packet) -> None:
        with self._translated():
            last = min(self._numbers.last, self._numbers.before(limit_at(packet.issued_at)))
            is_used = packet.sequence <= last or self._numbers.is_used(packet.sequence)
        if is_used:
            raise StorageError(
                f"sequence {packet.sequence} was used already; the last is {last}",
                field="sequence",
                actual=packet.sequence,
                limit=last,
            )

    @checked
    def take_back(
        self,
        packet: Packet,
        former: Own | None,
        *,
        waits: Pending | None = None,
        after: Packet | None = None,
    ) -> None:
        """Undo `put` of what nobody has seen, `after` too. Its sequences stay used."""
        row_key = _row_key(evidence_key(packet))
        queued = [each for each in (after, packet) if each is not None]
        with self._transaction():
            for each in queued:
                self._execute("DELETE FROM unsent WHERE packet = ?", (bytes(each),))
            self._execute(
                "DELETE FROM own WHERE study = ? AND issuer = ? AND cohort = ? AND role = ?",
                row_key,
            )
            if former is not None:
                keys = b"".join(former.routing_keys)
                self._execute(
                    "REPLACE INTO own VALUES (?, ?, ?, ?, ?, ?)",
                    (*row_key, bytes(former.packet), keys),
                )
            if waits is not None:
                self._waiting.put(waits)
        self._unsent -= len(queued)

    @checked
    def begins(self, now: float) -> None:
        """Tell an outbox in memory when it begins (Unix seconds): it knows no earlier packets."""
        if self.path is None:
            with self._transaction():
                self._made.ignore_before(max(0, int(now * 1e6)))

    @checked
    def noticed(self, packet: Packet, *, now: float = 0.0) -> int:
        """Note a packet of this key if it was made elsewhere; returns the number of such packets.

        Nothing leaves then until a person has said what happened (`findings`); the ledger counts it
        as a release.
        0 if this outbox made it, if that is not known, or if it was noted before.
        """
        with self._translated():
            if not self._made.is_foreign(packet):
                return 0
        code = "unknown_packet"
        emission = json.dumps(line_of(Emission.of(packet.outcome, None, at=packet.issued_at)))
        with self._transaction():
            # What an outsider has seen counts for the rules, whoever has signed it.
            self._execute(
                "INSERT OR IGNORE INTO unknown VALUES (?, ?, ?)",
                (bytes(packet), emission, payment_of(packet.outcome, at=packet.issued_at)),
            )
            self._execute(
                "INSERT OR IGNORE INTO findings VALUES (?, ?, ?)",
                (code, f"{FINDINGS[code]}. The first is {packet.id.hex()}", now),
            )
            return self._made.note_foreign(packet)

    def adopt_unknown(self) -> None:
        """Take the unknown packets for this site's, as a person has said after a restored backup.

        What they released and paid stays counted, and each that is the newest of its evidence key
        is in force.
        """
        with self._transaction():
            rows = self._execute("SELECT packet, emission, payment FROM unknown").fetchall()
            own = self.own()
            aside = {raw for (raw,) in self._execute("SELECT packet FROM aside")}
            for raw, emission, payment in rows:
                for kind, line in (("emission", emission), ("payment", payment)):
                    if line is not None:
                        append_line(self.account, kind, line)
                packet = self._parsed(raw)
                former = own.get(evidence_key(packet))
                if is_numbered_ahead(packet.sequence, packet.issued_at) or raw in aside:
                    continue  # no store admits it, or a wrong clock has dated it
                if former is None or former.packet.sequence < packet.sequence:
                    keys = () if former is None else former.routing_keys
                    keys = keys if packet.travels_under(keys) else ()
                    own[evidence_key(packet)] = Own(packet, keys)
                    self._execute(
                        "REPLACE INTO own VALUES (?, ?, ?, ?, ?, ?)",
                        (*_row_key(evidence_key(packet)), raw, b"".join(keys)),
                    )
            self._execute("DELETE FROM unknown")
            self._made.adopt()

    @checked
    def raise_sequence(self, sequence: int) -> None:
        """Note a sequence as used, which a packet of this key from elsewhere has shown."""
        if sequence > self._numbers.last:
            with self._transaction():
                self._numbers.use(sequence)
            self._numbers.used()

    @checked
    def set_aside(
        self,
        packets: Iterable[Own],
        former: Iterable[Own],
        *,
        limit: int | None,
        again: Container[bytes] = (),
    ) -> None:
        """Stop sending packets that a wrong clock has dated, and let them supersede nothing here.

        Parameters
        ----------
        packets
            The packets, with the routing keys that they travel under.
        former
            The packets that are in force under their evidence keys without them.
        limit
            Sequences beyond it no longer raise the next one; `None`: they still do, since it is not
            known whether they are wrong.
        again
            Ids of packets whose content is to be signed again at once (`Aside.is_due`).

        """
        rows = [
            (bytes(own.packet), b"".join(own.routing_keys), _DUE if own.packet.id in again else 0)
            for own in packets
        ]
        with self._transaction():
            for packet, keys, state in rows:
                self._execute("INSERT OR IGNORE INTO aside VALUES (?, ?, ?)", (packet, keys, state))
                self._execute("DELETE FROM own WHERE packet = ?", (packet,))
                self._execute("DELETE FROM unsent WHERE packet = ?", (packet,))
            for each in former:
                row_key, keys = _row_key(evidence_key(each.packet)), b"".join(each.routing_keys)
                self._execute(
                    "INSERT OR IGNORE INTO own VALUES (?, ?, ?, ?, ?, ?)",
                    (*row_key, bytes(each.packet), keys),
                )
            if limit is not None:
                self._numbers.set_aside(limit)
            (self._unsent,) = self._execute("SELECT count(*) FROM unsent").fetchone()
        self._numbers.used()

    def aside(self) -> list[Aside]:
        """Return the packets that were set aside and are still kept, in order of sequence."""
        with self._translated():
            rows = self._execute("SELECT packet, keys, is_answered FROM aside").fetchall()
        found = [
            Aside(self._parsed(raw), keys_of(keys), state == _ANSWERED, state == _DUE)
            for raw, keys, state in rows
        ]
        return sorted(found, key=lambda each: each.packet.sequence)

    @checked
    def signed_again(self, packet: Packet) -> None:
        """Note that the content of a packet which was set aside is signed again."""
        with self._transaction():
            self._execute("UPDATE aside SET is_answered = 0 WHERE packet = ?", (bytes(packet),))

    @checked
    def answered(self, packets: Iterable[Packet], *, now: float) -> None:
        """Note that newer packets supersede these, which were set aside; delete expired ones."""
        done = {bytes(packet) for packet in packets}
        with self._transaction():
            for (raw,) in self._execute("SELECT packet FROM aside").fetchall():
                if self._parsed(raw).expires_at <= now:
                    self._execute("DELETE FROM aside WHERE packet = ?", (raw,))
                elif raw in done:
                    self._execute("UPDATE aside SET is_answered = 1 WHERE packet = ?", (raw,))

    @checked
    def arriving(self, packets: Iterable[Packet], *, since: int) -> None:
        """Note packets that are about to be stored, in place of those before them.

        They are stored first and recorded in the audit log then; a process that ends in between
        finds here what has no line yet. `since` is the number of entries that the log has.
        """
        with self._transaction():
            self._execute("DELETE FROM arriving")
            for packet in packets:
                self._execute(
                    "INSERT OR IGNORE INTO arriving VALUES (?, ?)", (bytes(packet), str(since))
                )

    def arrived(self) -> tuple[int, list[Packet]]:
        """Return the packets of the last `arriving`, and how many entries the log had then."""
        with self._translated():
            rows = self._execute("SELECT packet, label FROM arriving").fetchall()
        since = min((int(label) for _, label in rows), default=0)
        return since, [self._parsed(raw) for raw, _ in rows]

    @checked
    def queued(self, *, after: int = 0, most: int = 64) -> list[Unsent]:
        """Return at most `most` unsent packets with numbers above `after`, oldest first."""
        if 0 < after >= self._newest:  # the usual case, which must not cost a query
            return []
        with self._translated():
            rows = self._execute(
                "SELECT number, packet, keys, since FROM unsent WHERE number > ? "
                "ORDER BY number LIMIT ?",
                (after, most),
            ).fetchall()
        return [self._unsent_of(*row) for row in rows]

    @checked
    def taken(self, numbers: Iterable[int]) -> None:
        """Delete the packets of these numbers: they are held, replaced or expired."""
        with self._transaction():
            gone = [
                self._execute("DELETE FROM unsent WHERE number = ?", (number,)).rowcount
                for number in numbers
            ]
        self._unsent -= sum(gone)

    @checked
    def queue_again(self, *, now: float) -> list[Packet]:
        """Queue each evidence key's newest packet again, unless queued or expired; returns them.

        Other nodes keep packets in memory and may have lost them since.
        """
        with self._transaction():
            rows = self._execute(
                "SELECT packet, keys FROM own WHERE packet NOT IN (SELECT packet FROM unsent)"
            ).fetchall()
            found = [(self._parsed(raw), keys) for raw, keys in rows]
            living = [(packet, keys) for packet, keys in found if packet.expires_at > now]
            for packet, keys in sorted(living, key=lambda pair: pair[0].sequence):
                row = self._execute(
                    "INSERT INTO unsent (packet, keys, since) VALUES (?, ?, ?)",
                    (bytes(packet), keys, now),
                )
                self._newest = row.lastrowid or self._newest
        self._unsent += len(living)
        return [packet for packet, _ in living]

    @checked
    def base_keys(self, packet: Packet) -> tuple[bytes, ...]:
        """Return what the routing keys of a packet of this site follow from; empty if unknown."""
        with self._translated():
            row = self._execute(
                "SELECT keys FROM bases WHERE commitment = ?", (packet.routing_commitment,)
            ).fetchone()
        return () if row is None else keys_of(row[0])

    def own(self) -> dict[EvidenceKey, Own]:
        """Return the newest packet of each evidence key, with the routing keys it travels under."""
        with self._translated():
            rows = self._execute("SELECT packet, keys FROM own").fetchall()
        found = (Own(self._parsed(packet), keys_of(keys)) for packet, keys in rows)
        return {evidence_key(one.packet): one for one in found}

    @checked
    def hold(self, pending: Pending) -> None:
        """Keep an outcome until it is released or rejected; on disk when this returns.

        Raises
        ------
        InputError
            If `limit` outcomes wait already.
        StorageError
            If the disk refuses.

        """
        with self._transaction():
            if len(self._waiting) >= self.limit:
                raise InputError(
                    f"{len(self._waiting)} outcomes wait for approval: release or reject some "
                    "first",
                    field="waiting",
                    actual=len(self._waiting),
                    limit=self.limit,
                )
            self._waiting.put(pending)

    def waiting(self) -> tuple[Pending, ...]:
        """Return the outcomes that wait for approval, oldest first."""
        with self._translated():
            return self._waiting.all()

    @checked
    def pending(self, pending_id: str) -> Pending | None:
        """Return the outcome that waits under an id, if there is one."""
        with self._translated():
            return self._waiting.get(pending_id)

    @checked
    def drop(self, pending_id: str) -> None:
        """Delete an outcome that waits, or that waited and can no longer be read."""
        with self._transaction():
            self._waiting.drop(pending_id)
            self._execute("DELETE FROM unread_waiting WHERE id = ?", (pending_id,))

    @checked
    def look(self, study_id: bytes) -> Look:
        """Return the last look at a study's synthesis, by this process or an earlier one."""
        with self._translated():
            row = self._execute(
                "SELECT state, number FROM looks WHERE study = ?", (study_id,)
            ).fetchone()
        return Look(b"", 0) if row is None else Look(*row)

    @checked
    def looked(self, study_id: bytes, look: Look) -> None:
        """Remember a look at a study's synthesis."""
        with self._transaction():
            self._execute("REPLACE INTO looks VALUES (?, ?, ?)", (study_id, *look))

    def _unsent_of(self, number: int, packet: bytes, keys: bytes, since: float | None) -> Unsent:
        fresh = self._fresh.pop(number, None)
        found = fresh if fresh and bytes(fresh) == packet else self._parsed(packet)
        # Without `since` the packet was queued when it was signed, so its issue time is the time.
        return Unsent(number, found, keys_of(keys), found.issued_at if since is None else since)

    def __repr__(self) -> str:
        return f"<Outbox {self._name}, {self.unsent} of {self.limit} unsent>"


def _row_key(key: EvidenceKey) -> tuple[bytes, bytes, str, int]:
    """Return the primary key of table `own`: study, issuer, cohort, role."""
    return key.study_id, key.issuer, key.cohort, int(key.role)

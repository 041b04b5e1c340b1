"""SQLiteStore: the one behaviour, and a disk that is cut, full, locked, old, new or damaged."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import qis
from qis.errors import InputError, StorageDamagedError, StorageError
from qis.evidence import Admission, MemoryStore, Roster, SQLiteStore, sqlite as sqlite_store
from qis.evidence.rules import evidence_key
from qis.testing.stores import check_store, state_of
from tests._builders import effect, signed

NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]
FINGERPRINT = qis.Fingerprint(bytes(32), bytes(8))


def packet(number, *, site=0, estimate=0.0, cohort=None):
    name = f"c{number}" if cohort is None else cohort
    outcome = effect(estimate, 1.0, question=f"q{number % 3}", cohort=name)
    return signed(SITES[site], outcome, at=NOW + number, lifetime_s=3600)


PACKETS = [packet(n, site=n % 3) for n in range(200)]


def opened(path, **options):
    return SQLiteStore(path, roster=Roster.open(), **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evidence.db"


@pytest.fixture
def filled(path):
    store = opened(path)
    store.add_many([*PACKETS, packet(0, estimate=9.0)], now=NOW)
    store.close()
    return path


def test_sqlite_store_conforms(tmp_path):
    names = iter(range(10_000))

    def factory(roster, capacity):
        return SQLiteStore(tmp_path / f"{next(names)}.db", roster=roster, capacity=capacity)

    check_store(factory)


def test_what_was_added_is_there_after_reopening(filled):
    memory = MemoryStore(roster=Roster.open())
    memory.add_many([*PACKETS, packet(0, estimate=9.0)], now=NOW)
    store = opened(filled)
    assert state_of(store) == state_of(memory)
    assert store.add(PACKETS[3], now=NOW) is Admission.DUPLICATE
    store.verify()
    store.close()


def test_evictions_are_remembered_after_reopening(path):
    store = opened(path, capacity=20)
    store.add_many(PACKETS, now=NOW)
    before = state_of(store)
    store.close()
    store = opened(path, capacity=20)
    assert state_of(store) == before
    assert store.add(PACKETS[0], now=NOW) is Admission.EVICTED
    store.close()


def test_sequences_keep_their_order_up_to_the_last_that_time_can_reach(path):
    def numbered(sequence, issued_at=NOW):
        return qis.Packet.sign(
            SITES[0],
            outcome=PACKETS[0].outcome,
            fingerprint=FINGERPRINT,
            issued_at=issued_at,
            lifetime_s=60,
            sequence=sequence,
        )

    end = 2**32 - 61
    low, high = numbered(2**32), numbered(NOW * 10**6)
    last = numbered((end + 300) * 10**6, issued_at=end)
    store = opened(path)
    verdicts = store.add_many([high, low, last], now=end)
    assert verdicts == [Admission.EXPIRED, Admission.EXPIRED, Admission.ACCEPTED]
    assert store.add_many([low, high], now=NOW) == [Admission.SUPERSEDED, Admission.SUPERSEDED]
    assert store.evidence("q0", now=NOW) == [last]
    store.close()


def test_one_writer(filled):
    store = opened(filled)
    with pytest.raises(StorageError, match="another process or store"):
        opened(filled)
    store.close()
    opened(filled).close()


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other database"])
def test_damage_is_named_and_nothing_is_changed(filled, damage):
    if damage == "other database":
        filled.unlink()
        other = sqlite3.connect(filled)
        other.execute("CREATE TABLE mine (x)")
        other.commit()
        other.close()
    else:
        size = filled.stat().st_size
        old = filled.read_bytes()
        filled.write_bytes(
            {"empty": b"", "cut": old[: size // 2], "text": b"hello " * 1000}[damage]
        )
    before = filled.read_bytes()
    with pytest.raises(StorageDamagedError, match=filled.name):
        opened(filled)
    assert filled.read_bytes() == before


def test_a_lost_file_beside_its_log_is_not_begun_anew(filled):
    filled.with_name(filled.name + "-wal").write_bytes(b"log")
    filled.unlink()
    with pytest.raises(StorageDamagedError, match="is gone"):
        opened(filled)
    assert not filled.exists()


def test_a_packet_changed_on_disk_is_found_and_never_counts(filled):
    data = filled.read_bytes()
    at = data.index(bytes(PACKETS[7])) + 300
    filled.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    store = opened(filled)
    with pytest.raises(StorageDamagedError, match=f"{PACKETS[7].sequence} .*{SITES[1].issuer}"):
        store.evidence(PACKETS[7].outcome.question, now=NOW)
    with pytest.raises(StorageDamagedError):
        store.verify()
    store.close()


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("UPDATE heads SET place = place + 3", lambda store: store.evidence("q0", now=NOW)),
        ("UPDATE heads SET cohort = cohort || 'x'", SQLiteStore.verify),
        ("DELETE FROM packets WHERE place > 100", lambda store: store.evidence("q0", now=NOW)),
        ("UPDATE packets SET issuer = 4 - issuer", SQLiteStore.packets),
        ("UPDATE packets SET sequence = x'ffffffffffffffff'", SQLiteStore.packets),
        ("DELETE FROM issuers", len),
    ],
)
def test_tables_that_contradict_each_other_are_damage(filled, change, read):
    database = sqlite3.connect(filled)
    database.execute(change)
    database.commit()
    database.close()
    with pytest.raises(StorageDamagedError, match=filled.name):  # noqa: PT012  some on opening
        store = opened(filled)
        try:
            read(store)
        finally:
            store.close()


def test_recovery_saves_all_but_the_damaged_pages(filled, tmp_path):
    data = bytearray(filled.read_bytes())
    data[:4096] = bytes(4096)
    at = data.index(bytes(PACKETS[7]))
    data[at + 100 : at + 110] = bytes(10)
    filled.write_bytes(data)
    with pytest.raises(StorageDamagedError):
        opened(filled)
    store = SQLiteStore.recover(filled, into=tmp_path / "saved.db", roster=Roster.open())
    expected = {*PACKETS, packet(0, estimate=9.0)} - {PACKETS[7]}
    assert set(store.packets()) == expected
    assert len(store.equivocations()) == 1
    assert filled.read_bytes() == data
    store.close()


def test_recovery_reads_the_log_of_a_lost_file(path, tmp_path):
    store = opened(path)
    store.add_many(PACKETS, now=NOW)
    copy = tmp_path / "lost.db"
    log = path.with_name(path.name + "-wal")
    copy.with_name("lost.db-wal").write_bytes(log.read_bytes())
    store.close()
    saved = SQLiteStore.recover(copy, into=tmp_path / "saved.db", roster=Roster.open())
    assert len(saved) == len(PACKETS)
    saved.close()


def test_recovery_overwrites_nothing_and_says_when_nothing_is_left(filled, tmp_path):
    with pytest.raises(InputError, match="exists"):
        SQLiteStore.recover(filled, into=filled, roster=Roster.open())
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"junk" * 1000)
    with pytest.raises(StorageError, match="no packet"):
        SQLiteStore.recover(junk, into=tmp_path / "saved.db", roster=Roster.open())
    assert not (tmp_path / "saved.db").exists()


def test_a_recovery_that_fails_lets_go_of_the_new_file(filled, tmp_path):
    closed = []

    class Full(SQLiteStore):
        def _keep(self, packet):
            raise StorageError(f"no room for {packet}", field="path")

        def close(self):
            closed.append(self.path)
            super().close()

    with pytest.raises(StorageError, match="no room"):
        Full.recover(filled, into=tmp_path / "saved.db", roster=Roster.open())
    assert closed == [tmp_path / "saved.db"]


def test_a_newer_schema_is_left_alone(filled):
    database = sqlite3.connect(filled)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match="version 99"):
        opened(filled)


def test_an_older_schema_is_migrated_all_or_nothing(filled, monkeypatch):
    schema = sqlite_store.SCHEMA
    steps = schema.migrations
    bad = "CREATE TABLE notes (x); CREATE TABLE notes (x);"
    monkeypatch.setattr(sqlite_store, "SCHEMA", replace(schema, migrations=(*steps, bad)))
    with pytest.raises(StorageError, match="already exists"):
        opened(filled)
    longer = replace(schema, migrations=(*steps, "CREATE TABLE notes (x);"))
    monkeypatch.setattr(sqlite_store, "SCHEMA", longer)
    store = opened(filled)
    assert len(store) == len(PACKETS) + 1
    store.close()
    database = sqlite3.connect(filled)
    assert database.execute("PRAGMA user_version").fetchone() == (len(steps) + 1,)
    database.close()


def first_version(path, packets, floors):
    """A file as the first version of the schema had it, row by row."""
    schema = sqlite_store.SCHEMA
    database = sqlite3.connect(path)
    database.executescript(schema.migrations[0])
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA application_id = {schema.application_id}")
    database.execute("PRAGMA user_version = 1")
    slots, heads = {}, {}
    for one in packets:
        sequence = one.sequence.to_bytes(8, "big")
        tag = int.from_bytes(one.id[:8], "big", signed=True)
        row = (one.id, tag, one.issuer.key, sequence, bytes(one))
        database.execute(
            "INSERT INTO packets (id, tag, issuer, sequence, raw) VALUES (?, ?, ?, ?, ?)", row
        )
        slots.setdefault((one.issuer.key, sequence), []).append(one)
        heads.setdefault((one.outcome.study_id, one.issuer.key, one.outcome.cohort, 0), []).append(
            (-one.sequence, one.id)
        )
    for key, ranks in heads.items():
        sequence, head = min(ranks)
        row = (*key, (-sequence).to_bytes(8, "big"), head)
        database.execute("INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?)", row)
    database.executemany(
        "INSERT INTO equivocations VALUES (?, ?)", [slot for slot in slots if len(slots[slot]) > 1]
    )
    database.executemany("INSERT INTO floors VALUES (?, ?)", floors)
    database.commit()
    return database


def test_a_file_of_the_first_version_holds_the_same_after_its_migration(path):
    packets = [*PACKETS, packet(0, estimate=9.0), packet(0, estimate=8.0), packet(300, cohort="c3")]
    stranger = qis.Identity.from_seed(bytes([9]) * 32)
    floors = [
        (issuer.key, (sequence * 1_000_000).to_bytes(8, "big"))
        for issuer, sequence in ((SITES[0].issuer, NOW - 10), (stranger.issuer, NOW + 10))
    ]
    first_version(path, packets, floors).close()
    memory = MemoryStore(roster=Roster.open())
    memory.add_many(packets, now=NOW)
    for _ in range(2):
        store = opened(path)
        assert state_of(store) == state_of(memory)
        assert len(store) == len(packets)
        store.verify()
        assert store.add(packet(-11), now=NOW) is Admission.EVICTED
        assert store.floor(stranger.issuer.key) == (NOW + 10) * 1_000_000
        assert store.add(packet(3), now=NOW) is Admission.DUPLICATE
        store.close()
    store = opened(path)
    assert store.add(packet(301, cohort="c3"), now=NOW + 9) is Admission.ACCEPTED
    store.close()


def test_a_migration_that_finds_a_packet_missing_leaves_the_file_as_it_is(path):
    database = first_version(path, PACKETS, [])
    database.execute("DELETE FROM packets WHERE id = ?", (PACKETS[7].id,))
    database.commit()
    before = list(database.iterdump())
    database.close()
    with pytest.raises(StorageError, match="NOT NULL"):
        opened(path)
    database = sqlite3.connect(path)
    assert list(database.iterdump()) == before
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.close()


def test_a_full_disk_writes_nothing_of_the_batch(path):
    store = opened(path)
    store.add(PACKETS[0], now=NOW)
    before = state_of(store)
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages + 4}")  # sqlite's own SQLITE_FULL
    with pytest.raises(StorageError, match="free space"):
        store.add_many(PACKETS, now=NOW)
    assert state_of(store) == before
    assert len(store) == 1
    store._database.execute("PRAGMA max_page_count = 1000000")
    store.add_many(PACKETS, now=NOW)
    assert len(store) == len(PACKETS)
    store.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_folder_that_is_none_is_a_clear_error():
    with pytest.raises(StorageError, match="/dev/full"):
        opened("/dev/full/evidence.db")


def test_a_read_only_file_is_a_clear_error(filled):
    if os.geteuid() == 0:
        script = f"""
            import os, qis
            from qis.evidence import Roster, SQLiteStore
            os.seteuid(65534)
            try:
                SQLiteStore({str(filled)!r}, roster=Roster.open())
            except qis.errors.StorageError as error:
                print(error)
        """
        for folder in (filled.parent, *filled.parent.parents):
            if folder.stat().st_uid == os.getuid() and folder.name.startswith(("pytest", "popen")):
                folder.chmod(0o755)
        filled.parent.chmod(0o555)
        filled.chmod(0o444)
        out = _python(script).stdout
        assert str(filled) in out
    else:
        filled.chmod(0o444)
        with pytest.raises(StorageError, match=filled.name):
            opened(filled)


def test_kill_9_loses_nothing_acknowledged(path):
    script = f"""
        import sys
        sys.path[:0] = {[str(Path(__file__).parents[n]) for n in (0, 2)]!r}
        from test_sqlite_store import NOW, PACKETS, opened
        store = opened({str(path)!r})
        for number, packet in enumerate(PACKETS):
            store.add(packet, now=NOW)
            print(number, flush=True)
    """
    for stop in (1, 23, 77, 140):
        process = subprocess.Popen(  # noqa: S603  our own interpreter and script
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
        )
        acknowledged = -1
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged >= stop:
                break
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        process.stdout.close()
        process.wait()
        store = opened(path)
        store.verify()
        assert set(PACKETS[: acknowledged + 1]) <= set(store.packets())
        store.close()


def _python(script):
    return subprocess.run(  # noqa: S603  our own interpreter and script
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


def looks_alike(monkeypatch, number, cohort, site=0):
    """A packet as the former rule for text allowed it."""
    with monkeypatch.context() as former:
        former.setattr("qis.outcomes._base.normal_text", lambda text, *_: text)
        return packet(number, site=site, cohort=cohort)


@pytest.fixture
def older(path, monkeypatch):
    """A file of schema 2 with packets that are no longer read, one of them a correction."""
    first = packet(0, cohort="north")
    ugly = [looks_alike(monkeypatch, n, "north\u200b", site=n % 2) for n in (3, 4, 40)]
    with monkeypatch.context() as former:
        former.setattr("qis.outcomes._base.normal_text", lambda text, *_: text)
        store = opened(path)
        store.add_many([first, *ugly, *PACKETS[10:20]], now=NOW)
        store.close()
    database = sqlite3.connect(path)
    database.executescript(
        "DROP TABLE file; DROP TABLE unread; DROP TABLE rules; DROP TABLE aside;"
        "PRAGMA user_version = 2;"
    )
    # As an older rule may have judged: a row that is no longer read decides for "north".
    database.execute(
        "UPDATE heads SET place = (SELECT place FROM packets WHERE raw = ?), sequence = ?"
        " WHERE cohort = 'north'",
        (bytes(ugly[2]), ugly[2].sequence.to_bytes(8, "big")),
    )
    database.commit()
    database.close()
    return path, first, ugly


def test_packets_that_are_no_longer_read_are_set_aside_and_named_once(older, caplog):
    path, first, ugly = older
    store = opened(path)
    assert [one.raw for one in store.unread] == [bytes(each) for each in ugly]
    assert [one.issuer for one in store.unread] == [each.issuer for each in ugly]
    assert all("U+200B" in one.reason for one in store.unread)
    assert "3 packets are no longer read" in caplog.text
    assert str(ugly[0].sequence) in caplog.text
    assert store.packets() == sorted([first, *PACKETS[10:20]], key=lambda one: one.id)
    assert store.evidence("q0", now=NOW + 30) == sorted(
        [first, *PACKETS[12:20:3]], key=lambda one: one.id
    )
    assert store.newest(ugly[2].issuer.key) == ugly[2].sequence  # newer than all that is read
    store.verify()
    store.close()
    caplog.clear()
    store = opened(path)
    assert len(store.unread) == 3
    assert not caplog.text
    assert len(store) == 11
    store.close()


def test_a_new_file_has_nothing_set_aside(path):
    store = opened(path)
    assert store.unread == []
    store.close()


def test_a_damaged_packet_of_an_older_file_is_damage_and_not_set_aside(older):
    path, _, ugly = older
    database = sqlite3.connect(path)
    torn = bytes(ugly[0])[:200] + b"\xff" * 8 + bytes(ugly[0])[208:]
    database.execute("UPDATE packets SET raw = ? WHERE raw = ?", (torn, bytes(ugly[0])))
    database.commit()
    database.close()
    store = opened(path)
    assert len(store.unread) == 2
    with pytest.raises(StorageDamagedError):
        store.packets()
    store.close()


def test_the_newest_of_keys_of_several_issuers_or_none(tmp_path):
    with closing(SQLiteStore(tmp_path / "store.db", roster=Roster.open())) as store:
        packets = [packet(1), packet(2, site=1)]
        store.add_many(packets, now=NOW)
        keys = [evidence_key(each) for each in packets]
        found = store.newest_of(keys, lambda _: True)
        assert sorted(bytes(each) for each in found) == sorted(map(bytes, packets))
        assert store.newest_of([], lambda _: True) == []
        stranger = evidence_key(packet(3, site=2))
        assert store.newest_of([stranger], lambda _: True) == []

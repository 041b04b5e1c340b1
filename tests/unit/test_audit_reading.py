"""An audit log that others hold: read while it is written, in segments, with heads handed out."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from qis.errors import InputError, StorageDamagedError, StorageError
from qis.evidence import AuditHead, AuditLog
from qis.evidence.audit_reader import closed_segments
from qis.loop.journal import Journal

NOW = 1_800_000_000
SMALL = 65_536


def used_packet(number):
    """What the journal reads of a packet."""
    return SimpleNamespace(id=number.to_bytes(32, "big"))


def made_of(number, packets):
    """What the journal reads of a synthesis."""
    return SimpleNamespace(
        study_id=bytes(8),
        looks=number + 1,
        model="fixed",
        digest=number.to_bytes(32, "little"),
        sites=[SimpleNamespace(packets=packets)],
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def fill(log, number, *, size=2_000):
    for n in range(number):
        log.record("emitted", now=NOW + n, reason="x" * size)
    return log.head


def test_a_log_is_verified_while_its_site_writes_it_and_without_write_access(path):
    with AuditLog(path) as log:
        head = fill(log, 3)
        path.chmod(0o400)
        reader = AuditLog.read(path)
        assert reader.verify() == head
        later = fill(log, 2)
        assert reader.verify(head=head) == later == reader.head
        assert [entry.number for entry in reader.entries()] == list(range(5))
        before = path.read_bytes()
        os.write(log._file, b'{"an unfinished')  # as a writer is in the middle of a line
        assert AuditLog.read(path).verify() == later
        assert path.read_bytes() == before + b'{"an unfinished'  # which the reader leaves alone


def test_a_reader_finds_what_a_log_finds(path):
    with AuditLog(path) as log:
        head = fill(log, 5, size=20)
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (lines[1:], lines[:2] + lines[3:], [*lines[:3], b"{}\n", *lines[3:]]):
        path.write_bytes(b"".join(changed))
        with pytest.raises(StorageDamagedError, match="line"):
            AuditLog.read(path).verify()
    path.write_bytes(b"".join(lines[:3]))
    AuditLog.read(path).verify()
    with pytest.raises(StorageDamagedError, match="cut or remade"):
        AuditLog.read(path).verify(head=head)
    path.unlink()
    with pytest.raises(StorageError):
        AuditLog.read(path).verify()


def test_the_chain_runs_through_closed_segments(path):
    with AuditLog(path, segment_bytes=SMALL) as log:
        heads = [fill(log, 20) for _ in range(6)]
        assert log.verify(head=heads[0]) == heads[-1]
    segments = closed_segments(path)
    assert len(segments) >= 3
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in (*segments, path))
    for head in heads:
        assert AuditLog.read(path).verify(head=head) == heads[-1]
    with AuditLog(path, segment_bytes=SMALL) as log:
        assert log.head == heads[-1]
        assert log.record("used", now=NOW).number == 120
    middle = segments[1].read_bytes()
    for change in (
        middle[:-1],
        middle.replace(b"x", b"y", 1),
        b"".join(middle.splitlines(keepends=True)[1:]),
    ):
        segments[1].write_bytes(change)
        with pytest.raises(StorageDamagedError, match="line"):
            AuditLog.read(path).verify()
    segments[1].unlink()
    with pytest.raises(StorageDamagedError, match="does not follow"):
        AuditLog.read(path).verify()


def test_old_segments_may_lie_elsewhere_if_their_last_head_is_known(path):
    with AuditLog(path, segment_bytes=SMALL) as log:
        fill(log, 100)
        segments = closed_segments(path)
        first = [*AuditLog.read(path).entries()][: int(segments[1].name.rpartition(".")[2])]
        begins = AuditHead(len(first), first[-1].hash)
        segments[0].unlink()
        assert log.verify() == log.head  # its own site goes on
        with pytest.raises(StorageDamagedError, match="earlier segments"):
            AuditLog.read(path).verify()
        assert AuditLog.read(path, begins=begins).verify() == log.head
        with pytest.raises(StorageDamagedError):
            AuditLog.read(path, begins=AuditHead(begins.count, "ab" * 32)).verify()


def test_a_process_that_dies_within_a_rotation_leaves_a_whole_log(path):
    """Killed before and after each durable step of it."""
    script = f"""
import os, pathlib, signal, sys
from qis.evidence import audit
left = int(sys.argv[1])
def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
def dying(real):
    def call(*arguments, **options):
        step()
        result = real(*arguments, **options)
        step()
        return result
    return call
log = audit.AuditLog({str(path)!r}, segment_bytes={SMALL})
os.link, os.fsync = dying(os.link), dying(os.fsync)
pathlib.Path.replace = dying(pathlib.Path.replace)
log.record("emitted", now=0.0, reason="it is time for a new segment")
print("done")
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = []
    for step in range(1, 10):
        with AuditLog(path, segment_bytes=SMALL) as log:
            while path.stat().st_size < SMALL:
                fill(log, 1, size=20_000)
            written = log.head.count
            rotated = len(closed_segments(path))
        ran = subprocess.run(  # noqa: S603  our own interpreter and script
            [sys.executable, "-c", script, str(step)], check=False, env=env, capture_output=True
        )
        ended.append(ran.stdout)
        with AuditLog(path, segment_bytes=SMALL) as log:
            assert log.verify() == log.head
            assert log.head.count in (written, written + 1)
            assert len(closed_segments(path)) in (rotated, rotated + 1)
    assert ended == [b""] * 8 + [b"done\n"]


@pytest.mark.parametrize("fault", ["deleted", "replaced", "cut", "added to", "emptied"])
def test_a_log_that_is_changed_under_its_writer_takes_nothing_more(path, tmp_path, fault):
    with AuditLog(path) as log:
        fill(log, 3)
        whole = path.read_bytes()
        if fault == "deleted":
            path.unlink()
        elif fault == "replaced":
            copy = tmp_path / "copy"
            copy.write_bytes(whole)
            copy.replace(path)
        else:
            change = {"cut": whole[:-30], "added to": whole + b"{}\n", "emptied": b""}
            path.write_bytes(change[fault])
        with pytest.raises(StorageDamagedError, match="while it was written"):
            log.record("emitted", now=NOW)


def test_heads_are_handed_out_and_read_back(path, tmp_path):
    heads = tmp_path / "elsewhere" / "north.heads"
    with AuditLog(path, heads=heads) as log:
        first = fill(log, 3)
        with pytest.raises(StorageError, match="not handed out"):
            log.hand_out(now=NOW)
        assert log.handed_out() is None
        heads.parent.mkdir()
        log.hand_out(now=NOW)
        second = fill(log, 2)
        log.hand_out(now=NOW + 60)
        assert log.handed_out() == second
        assert log.contains(first)
        assert log.contains(second)
        assert not log.contains(AuditHead(3, "ab" * 32))
    assert heads.read_text() == f"{NOW} {first}\n{NOW + 60} {second}\n"
    heads.write_text(heads.read_text() + "half a li")
    with AuditLog(path, heads=heads) as log:
        assert log.handed_out() == second
        heads.write_text("no head\n")
        with pytest.raises(InputError, match="no head"):
            log.handed_out()


def test_a_segment_has_room_for_any_entry(path):
    with pytest.raises(InputError, match="at least"):
        AuditLog(path, segment_bytes=1_000)


def test_entries_of_syntheses_list_what_changed_and_can_be_read_back(path):
    """1,000 packets of which one changes each night: the log grows by that, not by all."""
    with AuditLog(path) as log:
        journal = Journal(log, "none", lambda: NOW)
        made, used, ids = {}, [], {n: used_packet(n) for n in range(1_000)}
        for night in range(6):
            if night == 3:  # as after opening again
                journal = Journal(log, "none", lambda: NOW)
            if night:
                ids.pop(night)
                ids[1_000 + night] = used_packet(1_000 + night)
            before = path.stat().st_size
            synthesis = made_of(night, list(ids.values()))
            journal.used(synthesis)
            used.append(path.stat().st_size - before)
            made[synthesis.digest] = sorted(each.id.hex() for each in ids.values())
    assert max(used[1], used[2], used[4]) < 2_000
    assert min(used[0], used[3]) > 60_000
    reader = AuditLog.read(path)
    for digest, packets in made.items():
        assert list(reader.packets_of(digest)) == packets
    with pytest.raises(InputError, match="no whole record"):
        reader.packets_of(b"\xff" * 32)

"""The audit log: whatever is changed in it is found, and what is acknowledged is on disk."""

import json
import os
import subprocess
import sys

import pytest
from blake3 import blake3
from hypothesis import given, settings, strategies as st

from qis.errors import InputError, StorageDamagedError, StorageError
from qis.evidence import AuditHead, AuditLog
from qis.evidence.audit_entry import AuditNote

NOW = 1_800_000_000


def fill(path, number=5):
    with AuditLog(path) as log:
        for n in range(number):
            log.record(
                "emitted",
                now=NOW + n,
                subject=(f"{n:064x}",),
                rule="cms",
                reason=f"n° {n}",
                details={"n": 40 + n},
            )
        return log.head


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def test_entries_come_back_and_the_chain_goes_on_after_reopening(path):
    head = fill(path)
    with AuditLog(path) as log:
        assert log.head == head
        entry = log.record("used", now=NOW, subject=("ab",), details={"sites": ["a", "b"]})
        assert entry.number == 5
        entries = list(log.entries())
        assert entries[-1] == entry
        assert [e.reason for e in entries[:5]] == [f"n° {n}" for n in range(5)]
        assert log.verify(head=head) == log.head
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_chain_can_be_checked_without_us(path):
    fill(path)
    previous = "0" * 64
    for line in path.read_text().splitlines():
        content = json.loads(line)
        digest = content.pop("hash")
        assert content["previous"] == previous
        plain = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        assert blake3(plain).hexdigest() == digest
        previous = digest


@settings(max_examples=200)
@given(data=st.data())
def test_any_changed_byte_is_found(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    head = fill(path)
    old = path.read_bytes()
    at = data.draw(st.integers(0, len(old) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != old[at]))
    path.write_bytes(old[:at] + bytes([new]) + old[at + 1 :])
    with pytest.raises(StorageDamagedError), AuditLog(path) as log:
        log.verify(head=head)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: lines[:2] + lines[3:],
        lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]],
        lambda lines: [*lines[:3], lines[2], *lines[3:]],
    ],
    ids=["first removed", "middle removed", "swapped", "repeated"],
)
def test_removed_moved_and_repeated_lines_are_found_without_a_head(path, change):
    fill(path)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with AuditLog(path) as log, pytest.raises(StorageDamagedError, match="line"):
        log.verify()


def test_a_cut_at_the_end_is_found_only_with_the_head(path):
    head = fill(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    with AuditLog(path) as log:
        log.verify()
        with pytest.raises(StorageDamagedError, match="cut or remade"):
            log.verify(head=AuditHead.parse(str(head)))


def test_a_log_that_was_made_anew_is_found_with_the_head(path):
    head = fill(path)
    path.unlink()
    fill(path, 9)
    with AuditLog(path) as log:
        log.verify(head=AuditHead())
        assert log.verify(head=head)  # the same entries in the same order are the same log
    path.unlink()
    with AuditLog(path) as log:
        log.record("emitted", now=NOW, reason="another story")
        with pytest.raises(StorageDamagedError):
            log.verify(head=head)


def test_a_cut_while_the_log_is_open_is_found(path):
    fill(path)
    with AuditLog(path) as log:
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
        with pytest.raises(StorageDamagedError, match="was written"):
            log.verify()


def test_an_unfinished_last_line_is_removed_and_said(path):
    head = fill(path)
    whole = path.read_bytes()
    torn = whole.splitlines(keepends=True)[-1][:37]
    path.write_bytes(whole + torn)
    with AuditLog.open(path, now=NOW) as log:
        *_, last = log.entries()
        assert last.event == "recovered"
        assert last.details == {"bytes": 37, "blake3": blake3(torn).hexdigest()}
        log.verify(head=head)
    path.write_bytes(torn)
    with AuditLog(path) as log:
        assert log.head == AuditHead()
        log.record("emitted", now=NOW)
        assert [e.event for e in log.entries()] == ["recovered", "emitted"]


@pytest.mark.parametrize(
    "bad",
    [
        {"event": "lost"},
        {"event": "used", "details": {"x": float("nan")}},
        {"event": "used", "details": {"x": b"bytes"}},
        {"event": "used", "reason": "x" * 70_000},
    ],
)
def test_what_is_no_entry_is_refused_and_leaves_nothing(path, bad):
    head = fill(path)
    size = path.stat().st_size
    with AuditLog(path) as log:
        with pytest.raises(InputError):
            log.record(now=NOW, **bad)
        assert log.head == head
    assert path.stat().st_size == size


def test_many_entries_are_appended_together_or_not_at_all(path):
    with AuditLog(path) as log:
        assert log.record_many((), now=NOW) == []
        notes = [AuditNote("received", (f"{n:064x}",), reason="accepted") for n in range(3)]
        entries = log.record_many(notes, now=NOW)
        assert [entry.number for entry in entries] == [0, 1, 2]
        with pytest.raises(InputError, match="one of"):
            log.record_many([notes[0], AuditNote("lost")], now=NOW)
        assert list(log.entries()) == entries
        assert log.verify() == AuditHead(3, entries[-1].hash)


def test_one_writer(path):
    with AuditLog(path), pytest.raises(StorageError, match="one writer"):
        AuditLog(path)
    AuditLog(path).close()


def test_a_closed_log_takes_nothing(path):
    log = AuditLog(path)
    log.close()
    log.close()
    with pytest.raises(StorageError, match="closed"):
        log.record("used", now=NOW)


def test_a_full_disk_leaves_no_part_of_a_line(path):
    script = f"""
import resource, signal
from qis.errors import StorageError
from qis.evidence.audit import AuditLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = AuditLog({str(path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
written = 0
try:
    while True:
        log.record("emitted", now={NOW}, reason="x" * 100)
        written += 1
except StorageError as error:
    assert "nothing was appended" in str(error)
assert log.head.count == written
log.verify()
print(written)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run(  # noqa: S603  our own interpreter and script
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env
    )
    with AuditLog(path) as log:
        assert log.head.count == int(run.stdout) > 0
        log.verify()


def test_export_is_json_lines_and_overwrites_nothing(path, tmp_path):
    head = fill(path)
    target = tmp_path / "export.jsonl"
    with AuditLog(path) as log:
        assert log.export(target) == head
        with pytest.raises(StorageError):
            log.export(target)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(5))
    with AuditLog(target) as copy:
        copy.verify(head=head)

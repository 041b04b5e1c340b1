"""Whatever writes a file refuses what names none: nobody's evidence ends in a file ':memory:'."""

from contextlib import suppress
from pathlib import Path

import pytest

import qis
from qis.disclosure.budget import PrivacyBudget
from qis.disclosure.ledger import EmissionLedger
from qis.errors import InputError, StorageError
from qis.loop import Outbox

OPEN = qis.Roster.open()
SITE = qis.Identity.from_seed(bytes(32))


def exported(path):
    with qis.AuditLog("audit.jsonl") as log:
        log.export(path)


WRITERS = {
    "SQLiteStore": lambda path: qis.SQLiteStore(path, roster=OPEN).close(),
    "SQLiteStore.recover": lambda path: qis.SQLiteStore.recover(
        "gone.db", into=path, roster=OPEN
    ).close(),
    "Outbox": lambda path: Outbox(path).close(),
    "AuditLog": lambda path: qis.AuditLog(path).close(),
    "AuditLog.export": exported,
    "EmissionLedger": EmissionLedger,
    "PrivacyBudget": lambda path: PrivacyBudget(1.0, path),
    "Disclosure": lambda path: qis.Disclosure.preset("cms", ledger=path),
    "UDPTransport": lambda path: qis.UDPTransport(SITE, roster=OPEN, cache=path),
    "write_packets": lambda path: qis.write_packets(path, []),
    "Identity.save": SITE.save,
    "DirectoryTransport": lambda path: qis.DirectoryTransport(path, SITE),
}
NO_PATHS = [
    ":memory:",
    ":MEMORY:",
    "",
    " ",
    "file:store.db",
    "FILE:store.db?mode=memory",
    "file::memory:?cache=shared",
    "sqlite:///store.db",
    "s3://bucket/store",
    "store\0.db",
    b"store.db",
    7,
]
NO_FILES = [".", "folder", "new/"]
FILES = ["store.db", "C:name", "a:b", "memory", Path("store.db")]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("path", NO_PATHS, ids=repr)
def test_what_is_no_path_is_refused_and_makes_no_file(write, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        write(path)
    assert repr(path)[:80] in str(refused.value)
    assert refused.value.actual == path
    assert {file.name for file in tmp_path.iterdir()} <= {"audit.jsonl"}


@pytest.mark.parametrize("write", [w for n, w in WRITERS.items() if n != "DirectoryTransport"])
@pytest.mark.parametrize("path", NO_FILES)
def test_a_folder_is_no_file(write, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"a folder|exists"):
        write(path)
    assert {file.name for file in tmp_path.iterdir()} <= {"audit.jsonl", "folder"}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("path", FILES, ids=repr)
def test_whatever_names_a_file_is_taken(write, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with suppress(StorageError):  # nothing to recover
        write(path)


def test_the_refusal_names_what_keeps_no_file():
    with pytest.raises(InputError, match=r"take a qis\.MemoryStore"):
        qis.SQLiteStore(":memory:", roster=OPEN)
    with pytest.raises(InputError, match=r"take Outbox\(\)"):
        Outbox(":memory:")

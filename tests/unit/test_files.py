"""Writing files: whole or not at all, durable, and told when the disk fails."""

import ast
import errno
import os
from pathlib import Path

import pytest

import qis
from qis import _files
from qis.errors import KeyFileError

ROOT = Path(qis.__file__).parent
# Files that are written line by line, each under a lock of its own, and cut where a line is torn.
WITH_OWN_LINES = {"_files.py", "account/witness.py", "evidence/audit.py"}


def leftovers(folder, *kept):
    return sorted({path.name for path in folder.iterdir()} - set(kept))


def failing(monkeypatch, call, code, *, folders):
    """Have a call of `os` fail for folders, or for files."""
    real = getattr(os, call)

    def fail(descriptor, *rest):
        if os.path.isdir(f"/proc/self/fd/{descriptor}") == folders:  # noqa: PTH112
            raise OSError(code, os.strerror(code))
        return real(descriptor, *rest)

    monkeypatch.setattr(os, call, fail)


WRITERS = {
    "create": lambda path: _files.create(path, b"new"),
    "replace": lambda path: _files.replace(path, b"new"),
}
LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at open files")


@LINUX
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_or_failing_disk_leaves_all_as_it_was(name, code, tmp_path, monkeypatch):
    path = tmp_path / "file"
    before = ["file"] if name == "replace" else []
    if before:
        path.write_bytes(b"old")
    failing(monkeypatch, "fsync", code, folders=False)
    with pytest.raises(OSError, match=os.strerror(code)):
        WRITERS[name](path)
    assert leftovers(tmp_path) == before
    assert not before or path.read_bytes() == b"old"


@LINUX
@pytest.mark.parametrize("name", WRITERS)
def test_a_network_share_that_syncs_no_folders_is_taken_and_a_failing_disk_told(
    name, tmp_path, monkeypatch
):
    for code in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
        with monkeypatch.context() as patch:
            failing(patch, "fsync", code, folders=True)
            WRITERS[name](tmp_path / f"{code}")
        assert (tmp_path / f"{code}").read_bytes() == b"new"
    failing(monkeypatch, "fsync", errno.EIO, folders=True)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        WRITERS[name](tmp_path / "last")
    if name == "create":  # so that it can be tried again
        assert not (tmp_path / "last").exists()


def test_a_new_file_is_private_never_replaces_one_and_leaves_no_draft(tmp_path):
    path = tmp_path / "file"
    _files.create(path, b"1")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        _files.create(path, b"2")
    _files.replace(path, b"3")
    assert path.read_bytes() == b"3"
    assert path.stat().st_mode & 0o777 == 0o600
    assert leftovers(tmp_path) == ["file"]


def test_without_hard_links_a_file_is_created_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    _files.create(tmp_path / "file", b"1")
    with pytest.raises(FileExistsError):
        _files.create(tmp_path / "file", b"2")
    assert (tmp_path / "file").read_bytes() == b"1"
    assert leftovers(tmp_path) == ["file"]


def test_a_shared_file_has_the_mode_that_the_umask_leaves(tmp_path):
    old = os.umask(0o027)
    try:
        _files.replace(tmp_path / "file", b"1", mode=_files.SHARED, draft="issuer")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_what_is_appended_is_behind_what_was_there_and_synced(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), real(file)))
    for text in (b"1", b"2"):
        with _files.durable(tmp_path / "file", "ab") as file:
            file.write(text)
            assert not synced
        assert len(synced) == 2  # the file and its folder
        synced.clear()
    assert (tmp_path / "file").read_bytes() == b"12"
    with pytest.raises(FileExistsError), _files.durable(tmp_path / "file", "xb"):
        pass


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601, 0o620, 0o777])
def test_a_secret_that_others_can_reach_is_refused(mode, tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"0123456789")
    path.chmod(0o600)
    assert _files.read_private(path, 4) == b"0123"
    path.chmod(0o400)
    assert _files.read_private(path, 100) == b"0123456789"
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode 0{mode:o}.*chmod 600"):
        _files.read_private(path, 100)
    with pytest.raises(KeyFileError, match="cannot be read"):
        _files.read_private(tmp_path / "none", 100)


def test_no_other_module_syncs_files_or_writes_drafts():
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            if name in {"os.fsync", "os.fdatasync", "NamedTemporaryFile"}:
                found.add(path.relative_to(ROOT).as_posix())
    assert found == WITH_OWN_LINES

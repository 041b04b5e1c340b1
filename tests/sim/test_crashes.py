"""Kill −9 at 240 random points, and disks that fill up at seven: nothing acknowledged is lost."""

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

resource = pytest.importorskip("resource")

ROOT = Path(__file__).parents[2]
SITES, ROUNDS = 10, 24

SCRIPT = ROOT / "tests" / "sim" / "crash_site.py"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork, SIGKILL and RLIMIT_FSIZE")


def run(*arguments):
    done = subprocess.run(  # noqa: S603  our own script
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        # Threads of a linear algebra library do not survive a fork.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def crash_site():
    spec = importlib.util.spec_from_file_location("crash_site", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_kept(after, acknowledged):
    """What must hold of a site's files, whatever ended its processes."""
    # What a newer version has replaced that has left itself need not leave.
    ended = after["left"] | after["replaced"]
    assert set(acknowledged) <= set(ended)
    assert set(acknowledged) <= set(after["stored"])
    assert set(after["left"]) <= set(after["stored"])
    sequences = after["own_sequences"]
    assert len(set(sequences)) == len(sequences) == len(ended)
    assert after["equivocations"] == 0
    # Nothing has left that the audit log and the ledger do not know.
    assert after["left"].items() <= after["emitted"].items()
    assert set(after["left_digests"]) <= set(after["ledger"])
    emitted = list(after["emitted"].values())
    assert len(set(emitted)) == len(emitted)
    assert after["unsent"] == 0


def test_nothing_acknowledged_is_lost_and_no_sequence_used_twice_by_processes_that_are_killed(
    tmp_path,
):
    sites = run("kill", tmp_path, SITES, ROUNDS, 20_261_125)
    for found in sites:
        assert found["failed"] == []
        assert found["killed"] == ROUNDS
        published = found["published"]
        check_kept(found["after"], published)
        after = found["after"]
        assert published.items() <= (after["left"] | after["replaced"]).items()
        assert len(after["left"]) > len(after["replaced"])
        assert set(found["received"]) <= set(found["after"]["stored"])
        assert set(found["offered"]) <= set(found["after"]["stored"])
        assert found["integrity"] == ["ok", "ok"]
    # They were killed at work, and not only while they opened.
    assert sum(len(found["published"]) for found in sites) > SITES * ROUNDS
    assert sum(len(found["received"]) for found in sites) > SITES * ROUNDS / 2


def test_a_full_disk_is_said_clearly_and_leaves_nothing_half_written(tmp_path):
    cases = run("full", tmp_path)
    assert sum(bool(case["acknowledged"]) for case in cases) >= 3
    for case in cases:
        kind, _, words = case["error"].partition(": ")
        assert kind == "StorageError", case["error"]
        assert str(tmp_path) in words  # which file
        check_kept(case["after"], case["acknowledged"])
        assert case["integrity"] == ["ok", "ok"]
    refused = {Path(case["error"].split(": ")[1]).name for case in cases}
    assert refused == {"store.db", "outbox.db", "audit.jsonl"}


def test_a_version_that_begins_anew_in_another_epoch_leaves_with_the_retraction_or_not_at_all(
    tmp_path,
):
    """The retraction alone would withdraw what nobody has withdrawn, and keep it withdrawn."""
    cases = run("edge", tmp_path)
    assert len(cases) > 6
    assert all(case["killed"] for case in cases)
    for case in cases:
        kinds = [kind for _, kind in case["left"]]
        is_over = case["in_force"] == [111]
        assert is_over or case["in_force"] == [100]
        assert kinds == (["Effect", "Retraction", "Effect"] if is_over else ["Effect"])
        assert case["published_again"] == 111
    assert {case["in_force"][0] for case in cases} == {100, 111}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 768 KiB, and how to make it read-only."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount_point]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603

    if not mount("size=768k"):
        pytest.skip("only root may make a small file system")
    yield mount_point, lambda: mount("remount,ro")
    subprocess.run(["umount", mount_point], check=True)  # noqa: S603, S607


def test_a_disk_without_space_and_one_that_is_read_only(small_disk, crash_site, faults):
    faults.allow("loop.synthesis")  # whose entry finds no space either
    mount_point, make_read_only = small_disk
    files = crash_site.Files(mount_point)
    files.network = mount_point.parent / "network"
    files.network.mkdir()
    found = asyncio.run(crash_site.fill(files, resource.RLIM_INFINITY))
    assert found["error"].startswith(f"StorageError: {mount_point}")
    assert re.search("full|No space", found["error"])
    assert len(found["acknowledged"]) >= 1
    with ExitStack() as stack:  # what was acknowledged is on the full disk
        parts = files.open(stack)
        kept = {packet.id.hex() for packet in parts["store"].packets()}
        assert set(found["acknowledged"]) <= kept
        parts["audit"].verify()
    assert make_read_only()
    again = asyncio.run(crash_site.fill(files, resource.RLIM_INFINITY))
    assert again["acknowledged"] == []
    assert again["error"].startswith(f"StorageError: {mount_point}")
    assert "read-only" in again["error"]

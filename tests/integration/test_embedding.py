"""The nightly job of examples/embedding as processes: again, at once, killed, without its share."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import qis
import qis.blocking

LIBRARY = str(Path(qis.__file__).parents[1])
ROOT = Path(__file__).parents[2]
JOB = ROOT / "examples" / "embedding" / "nightly.py"
ENROLMENT = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "embedding.md").read_text(), re.DOTALL | re.MULTILINE
)[0]

DRIVER = """
import os, runpy, signal, sys
from pathlib import Path

job = runpy.run_path(sys.argv[1])
job["run"].__kwdefaults__["quiet_s"] = 0.2
left = int(sys.argv[3])

def counted(real):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return call

os.fsync, Path.write_text, Path.unlink = map(counted, (os.fsync, Path.write_text, Path.unlink))
sys.exit(job["main"](Path(sys.argv[2])))
"""
"""Runs the job and kills it at the nth call that writes; 0: never."""

SERVER = """
import os, runpy, signal, sys
from pathlib import Path

job = runpy.run_path(sys.argv[1])
replaced = Path.replace

def stopping(draft, target):
    replaced(draft, target)
    os.kill(os.getpid(), signal.SIGTERM)

Path.replace = stopping
sys.exit(job["main"](Path(sys.argv[2]), job["serve"]))
"""
"""Serves until the file that shows it lives is there."""


FULL = """
import errno, os, runpy, sys
from pathlib import Path
from qis.transport import directory

def full(self, name, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

directory.DirectoryTransport._write = full
job = runpy.run_path(sys.argv[1])
job["run"].__kwdefaults__["quiet_s"] = 0.2
job["work"].__globals__["FLUSH_S"] = 0.5
sys.exit(job["main"](Path(sys.argv[2])))
"""
"""Runs the job while the shared folder takes nothing."""


@pytest.fixture
def site(tmp_path):
    """The folder of one site, enrolled as the page enrols it."""
    said = {}
    exec(ENROLMENT.replace("tempfile.mkdtemp()", repr(str(tmp_path))), said)  # noqa: S102  our page
    return tmp_path / "north"


def run(site, die_at=0, driver=DRIVER):
    """Run the job; exit status, result and complaints."""
    done = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-W", "error", "-c", driver, JOB, site, str(die_at)],
        env={**os.environ, "PYTHONPATH": LIBRARY},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def verified(site):
    with qis.AuditLog(site / "audit.jsonl") as log:
        log.verify()
        return [entry for entry in log.entries() if entry.event != "configured"]


def packets(site):
    return list((site / "exchange" / "packets").glob("*.qis"))


def test_a_second_run_submits_nothing_and_an_approvers_file_releases_it(site):
    status, first, complaints = run(site)
    assert (status, complaints, first["state"]) == (0, "", "submitted")
    (waiting,) = first["waiting"]
    status, second, _ = run(site)
    assert (status, second["state"], second["waiting"]) == (0, "nothing new", [waiting])
    assert "An outsider could learn" in (site / "desk" / f"{waiting}.txt").read_text()
    assert packets(site) == []

    order = site / "desk" / f"{waiting}.release"
    order.touch()
    owner = order.owner()
    status, third, _ = run(site)
    assert (status, third["waiting"], third["found"]["sites"]) == (0, [], ["north"])
    assert list((site / "desk").iterdir()) == []
    assert len(packets(site)) == 1
    approved = [entry for entry in verified(site) if entry.event == "approved"]
    assert [entry.details["approver"] for entry in approved] == [owner]


def test_killed_at_any_call_that_writes_it_comes_to_the_same_end(site):
    for die_at in range(1, 100):
        status, _, _ = run(site, die_at)
        assert status in (0, -signal.SIGKILL)
        if status == 0:
            break
    _, result, _ = run(site)
    (waiting,) = result["waiting"]
    (site / "desk" / f"{waiting}.release").touch()
    for again in range(1, 100):
        if run(site, again)[0] == 0:
            break
    status, result, _ = run(site)
    assert (status, result["state"], result["waiting"]) == (0, "nothing new", [])
    assert result["found"]["sites"] == ["north"]
    assert len(packets(site)) == 1
    assert die_at > 3
    assert again > 3, "it was killed some times"
    entries = verified(site)
    released = {
        packet for entry in entries if entry.event == "approved" for packet in entry.subject
    }
    assert packets(site)[0].stem in released


def test_of_two_runs_at_once_one_says_try_later(site):
    with qis.blocking.open_site(site / "site.toml"):
        status, _, complaints = run(site)
    assert status == os.EX_TEMPFAIL
    assert "one writer" in complaints
    assert run(site)[0] == 0


def test_without_the_share_nothing_is_lost(site):
    (site / "exchange").rename(site / "away")
    status, _, complaints = run(site)
    assert status == os.EX_TEMPFAIL
    assert "exchange" in complaints
    (site / "away").rename(site / "exchange")
    assert run(site)[0] == 0


def test_newer_data_replace_what_waits_and_few_people_are_kept_back(site):
    _, first, _ = run(site)
    head = "events,total,control_events,control_total\n"
    (site / "counts.csv").write_text(f"{head}52,262,63,255\n")
    status, second, _ = run(site)
    assert (status, second["state"], len(second["waiting"])) == (0, "submitted", 1)
    assert second["waiting"] != first["waiting"]
    (site / "counts.csv").write_text(f"{head}3,262,63,255\n")
    status, third, complaints = run(site)
    assert (status, third["state"], complaints) == (3, "kept back: minimum_cell", "")
    assert third["waiting"] == second["waiting"]


def test_a_service_says_that_it_lives_and_ends_when_told(site):
    status, result, complaints = run(site, driver=SERVER)
    assert (status, result["state"], complaints) == (0, "submitted", "")
    assert json.loads((site / "alive").read_text()) == result
    assert run(site)[1]["state"] == "nothing new"


def test_what_the_folder_does_not_take_is_not_called_sent(site):
    """A disk that is full, as the system says when a file of the folder is to be synced."""
    run(site)
    (waiting,) = run(site)[1]["waiting"]
    (site / "desk" / f"{waiting}.release").touch()
    status, result, _ = run(site, driver=FULL)
    assert status == os.EX_TEMPFAIL
    assert result["sent"] is False
    (missing,) = result["undelivered"]
    assert "No space left on device" in missing["why"]
    assert "degraded" in result["health"]
    assert packets(site) == []
    status, result, _ = run(site)
    assert (status, result["sent"], result["undelivered"]) == (0, True, [])
    assert result["health"] == "ok"
    assert [packet.stem for packet in packets(site)] == [missing["packet"]]

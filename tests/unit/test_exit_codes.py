"""One table of exit codes: what the page says, what errors give, what the job ends with."""

import os
import re
import runpy
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import qis
from qis import errors
from qis.loop import Outbox
from qis.site import ExitCode, exit_code_of

ROOT = Path(__file__).parents[2]
SITE = """
studies = ["study.toml"]
[identity]
file = "key.pem"
[roster]
file = "roster.toml"
[scheme]
kind = "vector"
dimensions = 3
secret_file = "secret"
[interest]
features = [0.2, -1.0, 0.7]
people = 0
[transport]
kind = "directory"
path = "exchange/packets"
[loop]
approval = "none"
"""
STUDY = 'question = "beta blocker vs none | 30-day death"\nmeasure = "OR"\nmodel = "fixed"\n'
COUNTS = "events,total,control_events,control_total\n"


def test_the_page_has_this_table():
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.*?) \|", page, re.MULTILINE))
    assert rows.pop("137") == "killed"  # the kernel's
    assert rows == {str(code.value): code.meaning for code in ExitCode}


@pytest.fixture
def job():
    found = runpy.run_path(str(ROOT / "examples" / "embedding" / "nightly.py"))
    found["run"].__kwdefaults__["quiet_s"] = 0.1
    return found["main"]


@pytest.fixture
def home(tmp_path):
    identity = qis.Identity.generate()
    identity.save(tmp_path / "key.pem")
    (tmp_path / "secret").touch(mode=0o600)
    for name, text in (
        ("site.toml", SITE),
        ("study.toml", STUDY),
        ("secret", secrets.token_hex(32)),
        ("roster.toml", f'[[site]]\nname = "n"\n[[site.key]]\nissuer = "{identity.issuer}"\n'),
        ("counts.csv", f"{COUNTS}31,212,44,205\n"),
    ):
        (tmp_path / name).write_text(text)
    (tmp_path / "exchange").mkdir()
    (tmp_path / "desk").mkdir()
    return tmp_path


def replaced(name, old, new):
    def change(home):
        text = (home / name).read_text()
        assert old in text
        (home / name).write_text(text.replace(old, new))

    return change


def removed(name):
    return lambda home: (home / name).unlink()


def locked(home):
    outbox = Outbox(home / "outbox.db")
    return outbox.close


@pytest.mark.parametrize(
    "case",
    [
        ("small counts", replaced("counts.csv", "31,", "3,"), ExitCode.KEPT_BACK),
        ("more events than people", replaced("counts.csv", "31,212", "313,212"), ExitCode.DATA),
        ("no counts", removed("counts.csv"), ExitCode.NO_INPUT),
        ("a ledger of another kind", lambda home: (home / "releases.jsonl").write_text("x\n"), 74),
        ("another run", locked, ExitCode.LATER),
        ("no share", lambda home: (home / "exchange").rmdir(), ExitCode.LATER),
        ("no site.toml", removed("site.toml"), ExitCode.CONFIGURATION),
        ("no roster", removed("roster.toml"), ExitCode.CONFIGURATION),
        ("no study", removed("study.toml"), ExitCode.CONFIGURATION),
        ("no key", removed("key.pem"), ExitCode.CONFIGURATION),
        ("no secret", removed("secret"), ExitCode.CONFIGURATION),
        ("unsigned", replaced("site.toml", '"roster.toml"', '"roster.toml"\nneeded = 2'), 78),
        (
            "not signed",
            replaced(
                "site.toml", '"roster.toml"', f'"roster.toml"\ncoordinators = ["{"ab" * 32}"]'
            ),
            ExitCode.CONFIGURATION,
        ),
        ("nobody's interest", replaced("site.toml", "people = 0", "people = 3"), 78),
        ("readable key", lambda home: (home / "key.pem").chmod(0o644), ExitCode.CONFIGURATION),
    ],
)
def test_what_the_job_ends_with(job, home, capsys, case):
    what, change, code = case
    undo = change(home)
    assert job(home) == code, what
    said = capsys.readouterr()
    assert said.out if code == ExitCode.KEPT_BACK else said.err
    if callable(undo):
        undo()
        assert job(home) == ExitCode.OK


def test_what_goes_well_and_what_nobody_foresaw(job, home):
    assert job(home) == ExitCode.OK
    (home / "counts.csv").write_text(f"{COUNTS}many,212,44,205\n")
    with pytest.raises(ValueError, match="many") as caught:
        job(home)
    assert exit_code_of(caught.value) == ExitCode.FAILED == 1  # as Python ends then


WRONG_CLOCK = """
import runpy, sys, time
right = time.time
time.time = lambda: right() + float(sys.argv[1])
job = runpy.run_path(sys.argv[2])
job["run"].__kwdefaults__["quiet_s"] = 0.1
sys.exit(job["main"](job["Path"](sys.argv[3])))
"""
DAY_S = 86_400


def run_with_clock(home, ahead_s):
    """The job as a process of its own, on a machine whose clock is this much ahead."""
    script = str(ROOT / "examples" / "embedding" / "nightly.py")
    return subprocess.run(  # noqa: S603  our own words
        [sys.executable, "-c", WRONG_CLOCK, str(ahead_s), script, str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def neighbours(home, count):
    """Other sites of the roster, whose clocks are right, with a packet each in the folder."""
    folder = home / "exchange" / "packets"
    folder.mkdir(exist_ok=True)
    study = qis.Study.load(home / "study.toml")
    with (home / "roster.toml").open("a") as roster:
        for number in range(count):
            identity = qis.Identity.generate()
            packet = qis.Packet.sign(
                identity,
                outcome=qis.Effect(
                    study=study, measure="OR", estimate=0.1, standard_error=0.2, n=400
                ),
                fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
                issued_at=int(time.time()),
                lifetime_s=30 * DAY_S,
            )
            (folder / f"{packet.id.hex()}.qis").write_bytes(bytes(packet) + study.id)
            roster.write(
                f'[[site]]\nname = "s{number}"\n[[site.key]]\nissuer = "{identity.issuer}"\n'
            )


def test_a_machine_whose_clock_is_behind_ends_with_the_code_of_clocks(home):
    neighbours(home, 2)
    ended = run_with_clock(home, -40 * DAY_S)
    assert ended.returncode == ExitCode.CLOCK, ended.stderr
    assert "2 of 2 sites heard are 40.0 d ahead" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert run_with_clock(home, 0).returncode == ExitCode.OK  # nothing was kept of the other date


def test_a_machine_whose_clock_was_ahead_ends_so_until_others_vouch_for_its_date(home):
    assert run_with_clock(home, 2 * DAY_S).returncode == ExitCode.OK  # nobody could know
    replaced("counts.csv", "31,212", "61,262")(home)
    ended = run_with_clock(home, 0)
    assert ended.returncode == ExitCode.CLOCK, ended.stderr
    assert "recover_clock()" in ended.stderr
    neighbours(home, 2)
    ended = run_with_clock(home, 0)
    assert ended.returncode == ExitCode.OK, ended.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become nobody")
def test_what_may_not_be_read_is_forbidden():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to all others
        roster = Path(folder) / "roster.toml"
        roster.touch(mode=0o600)
        roster.parent.chmod(0o755)
        os.seteuid(65_534)
        try:
            with pytest.raises(errors.StorageError) as caught:
                qis.Roster.load(roster)
        finally:
            os.seteuid(0)
    assert exit_code_of(caught.value) == ExitCode.FORBIDDEN


def test_every_error_has_a_code_and_only_what_passes_is_tried_again():
    found = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.QISError):
            found[kind.__name__] = exit_code_of(kind("x"))
    assert found.pop("QISError") == ExitCode.FAILED
    assert ExitCode.FAILED not in found.values()
    passing = {name for name, code in found.items() if code.is_passing}
    assert passing == {"StorageError", "TransportError"}
    assert found["ClockError"] == ExitCode.CLOCK
    refused = errors.StorageError("x")
    refused.__cause__ = PermissionError(13, "Permission denied")
    assert exit_code_of(refused) == ExitCode.FORBIDDEN

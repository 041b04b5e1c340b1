"""`site`: who decides what leaves, what a run does, and what it tells the one who runs it."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import qis
import qis.blocking
from qis.command import main
from qis.site import ExitCode
from tests._builders import ABOUT, effect, site_folders

ROOT = Path(__file__).parents[2]


@pytest.fixture
def homes(tmp_path):
    return site_folders(tmp_path, "north", "south")


def submit(home, estimate=-0.3171):
    """An outcome of a site waits; returns its id."""
    study = qis.Study.load(home / "study.toml")
    with qis.blocking.open_site(home / "site.toml") as site:
        pending = site.publish(effect(estimate, 0.25, study=study, n=400), about=ABOUT)
    return pending.id


def run(capsys, *words):
    code = main(["site", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def answer(capsys, *words):
    code, out, _ = run(capsys, *words, "--json")
    return code, json.loads(out)


def sent(home):
    return len(list((home.parent / "exchange").glob("*.qis")))


def audit_of(home):
    return list(qis.AuditLog.read(home / "audit.jsonl").entries())


def test_what_waits_is_shown_and_leaves_when_somebody_says_so(homes, capsys):
    home, file = homes[0], homes[0] / "site.toml"
    pending = submit(home)
    code, out, _ = run(capsys, "waiting", file)
    assert code == ExitCode.OK
    assert pending in out
    assert "May be released" in out
    code, values = answer(capsys, "waiting", file)
    assert [each["id"] for each in values["waiting"]] == [pending]
    assert sent(home) == 0
    code, out, err = run(capsys, "approve", file, pending, "--yes")
    assert code == ExitCode.OK, err
    assert "May be released" in err  # the preview is on screen
    assert "delivered" in out
    assert sent(home) == 1
    (approved,) = (each for each in audit_of(home) if each.event == "approved")
    assert approved.details["approver"] == pwd.getpwuid(os.getuid()).pw_name
    assert answer(capsys, "waiting", file)[1] == {"waiting": []}


def test_nobody_approves_by_the_name_of_the_environment(homes, capsys, monkeypatch):
    monkeypatch.setenv("LOGNAME", "Dr Grey")
    monkeypatch.setenv("USER", "Dr Grey")
    for home, said in zip(homes, ((), ("--approver", "Dr May")), strict=True):
        run(capsys, "approve", home / "site.toml", submit(home), "--yes", *said)
        audit = (home / "audit.jsonl").read_text()
        assert "Dr Grey" not in audit
        assert ("Dr May" in audit) == bool(said)


@pytest.mark.parametrize(("said", "leaves"), [(b"y\n", 1), (b"n\n", 0), (b"\n", 0), (b"\x04", 0)])
def test_at_a_terminal_it_is_asked(homes, capsys, monkeypatch, said, leaves):
    home, pending = homes[0], submit(homes[0])
    ours, theirs = os.openpty()
    with open(theirs, encoding="utf-8") as terminal:  # noqa: PTH123  a descriptor
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(ours, said)
        code, _, err = run(capsys, "approve", home / "site.toml", pending)
    os.close(ours)
    assert f"Let {pending} leave? [y/N]" in err
    assert code == (ExitCode.OK if leaves else ExitCode.KEPT_BACK)
    assert sent(home) == leaves


def test_without_a_terminal_nothing_is_taken_for_a_yes(homes, capsys, monkeypatch, tmp_path):
    home, pending = homes[0], submit(homes[0])
    (tmp_path / "answers").write_text("y\n" * 9)
    with (tmp_path / "answers").open() as answers:
        monkeypatch.setattr(sys, "stdin", answers)
        code, _, err = run(capsys, "approve", home / "site.toml", pending)
    assert code == ExitCode.DATA
    assert "--yes" in err
    assert sent(home) == 0
    assert len(answer(capsys, "waiting", home / "site.toml")[1]["waiting"]) == 1


def test_what_is_rejected_never_leaves_and_the_log_says_why(homes, capsys):
    home, pending = homes[0], submit(homes[0])
    assert run(capsys, "reject", home / "site.toml", pending)[0] == 2  # without a reason
    code, _, _ = run(capsys, "reject", home / "site.toml", pending, "--reason", "an old extract")
    assert code == ExitCode.OK
    (refused,) = (each for each in audit_of(home) if each.event == "refused")
    assert refused.reason == "an old extract"
    code, _, err = run(capsys, "approve", home / "site.toml", pending, "--yes")
    assert code == ExitCode.DATA
    assert "nothing waits" in err
    assert sent(home) == 0


def test_check_names_what_is_wrong_with_the_account(homes, capsys):
    home, file = homes[0], homes[0] / "site.toml"
    pending = submit(home)
    backup = {each: each.read_bytes() for each in home.glob("outbox.db*") if each.is_file()}
    run(capsys, "approve", file, pending, "--yes")
    code, values = answer(capsys, "check", file)
    assert (code, values["findings"], values["health"]) == (ExitCode.OK, [], "ok")
    for each, content in backup.items():
        if "witness" not in each.name:
            each.write_bytes(content)
    code, out, _ = run(capsys, "check", file)
    assert code == ExitCode.DAMAGED
    assert "account_older" in out
    assert "Nothing leaves until a person" in out


def test_two_sites_run_and_each_has_what_the_other_said(homes, capsys):
    for home, estimate in zip(homes, (-0.3171, 0.1312), strict=True):
        run(capsys, "approve", home / "site.toml", submit(home, estimate), "--yes")
    found = []
    for home in homes:
        code, values = answer(
            capsys, "run", home / "site.toml", "--quiet", 0.2,
            "--report", home / "report.html", "--metrics", home / "qis.prom",
        )  # fmt: skip
        assert code == ExitCode.OK
        found.append(values["syntheses"])
        assert "<svg" in (home / "report.html").read_text("utf-8")
        assert "qis_health" in (home / "qis.prom").read_text()
    assert found[0] == found[1]
    (synthesis,) = found[0]
    assert synthesis["sites"] == ["north", "south"]
    assert synthesis["lower"] < synthesis["estimate"] < synthesis["upper"]
    for action, name in (("report", "-"), ("metrics", "-")):
        code, out, _ = run(capsys, action, homes[0] / "site.toml", name)
        assert code == ExitCode.OK
        assert ("What the evidence says" if action == "report" else "# EOF") in out
    assert run(capsys, "report", homes[0] / "site.toml", homes[0] / "r.html")[0] == ExitCode.OK
    assert run(capsys, "run", homes[0] / "site.toml", "--quiet", "0")[0] == ExitCode.DATA


def test_the_first_report_of_a_site_has_what_others_published(homes, capsys):
    north, south = homes
    run(capsys, "approve", north / "site.toml", submit(north), "--yes")
    code, out, _ = run(capsys, "report", south / "site.toml", "-")
    assert code == ExitCode.OK
    assert "Fixed effect" in out


def test_a_site_that_another_process_has_open_says_so(homes, capsys):
    with qis.blocking.open_site(homes[0] / "site.toml"):
        code, _, err = run(capsys, "check", homes[0] / "site.toml")
    assert code == ExitCode.LATER
    assert "another" in err


def test_a_service_tells_its_manager_and_its_log_and_ends_when_it_is_told(homes, tmp_path):
    home = homes[0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60.0)
        service = subprocess.Popen(  # noqa: S603  our own interpreter
            [
                *(sys.executable, "-m", "qis", "site", "run", str(home / "site.toml"), "--serve"),
                *("--log", "json", "--json", "--report", str(home / "report.txt")),
            ],
            cwd=ROOT,
            env={
                **os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        heard = [manager.recv(4096).decode() for _ in range(4)]
        service.send_signal(signal.SIGTERM)
        out, err = service.communicate(timeout=60)
        while not heard[-1].startswith("STOPPING"):
            heard.append(manager.recv(4096).decode())
    assert service.returncode == 0, err
    assert heard[0] == "READY=1"
    assert heard[1].splitlines() == ["WATCHDOG=1", "STATUS=ok"]
    assert heard[3].startswith("WATCHDOG=1")  # again, though rounds are a minute apart
    lines = [json.loads(line) for line in err.splitlines()]
    assert {line["site"] for line in lines} == {"north"}
    assert {"opened", "closed"} <= {line.get("qis_event") for line in lines}
    assert {line["version"] for line in lines} == {qis.__version__}
    assert json.loads(out)["sent"] is True
    assert "What needs somebody" in (home / "report.txt").read_text()

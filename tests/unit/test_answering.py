"""A health check asks the process: one that hangs, is gone, or is another one does not pass it."""

import json
import re
import socket
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

import qis.blocking
from qis.command import main
from qis.errors import StorageError
from qis.health import Health, HealthReason, HealthState
from qis.site import ExitCode, answering, examine
from tests._builders import SITE, site_folders

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "container.md").read_text(encoding="utf-8")
(FILES,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def home(tmp_path):
    (home,) = site_folders(tmp_path, "north")
    (home / "site.toml").write_text(SITE + FILES)
    return home


def check(home, capsys, *words):
    code = main(["site", "health", str(home / "site.toml"), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_check_of_the_page_passes_while_the_site_is_open_and_not_after(home, capsys):
    (words,) = re.findall(r"test: (\[.*\])", PAGE)
    first, *command = json.loads(words)
    assert first == "CMD"
    command = [sys.executable, *command[1:-1], command[-1].replace("/site", str(home), 1)]
    with qis.blocking.open_site(home / "site.toml"):
        assert stat.S_IMODE((home / "health.sock").stat().st_mode) == 0o600
        asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, "health: ok\n", "")
        assert json.loads(check(home, capsys, "--json")[1])["version"] == qis.__version__
        (said,) = (each for each in examine(home / "site.toml") if each.code == "running")
        assert "it says: ok" in said.text
        assert not said.is_wrong
    assert not (home / "health.sock").exists()
    code, _, err = check(home, capsys)
    assert code == ExitCode.LATER
    assert "nobody says how the site is" in err


@pytest.mark.parametrize("state", HealthState)
def test_who_goes_on_is_healthy_and_who_is_cut_off_is_not(home, capsys, monkeypatch, state):
    reason = HealthReason(code="no_answer", state=state, text="nobody answers", since=1.0)
    health = Health(state=state, since=1.0, reasons=(reason,))
    monkeypatch.setattr(qis.SynthesisLoop, "health", property(lambda _: health))
    with qis.blocking.open_site(home / "site.toml"):
        code, out, _ = check(home, capsys)
    assert out.splitlines() == [f"health: {state.value}", "nobody answers"]
    goes_on = state in (HealthState.OK, HealthState.DEGRADED)
    assert code == (ExitCode.OK if goes_on else ExitCode.LATER)


def test_a_process_that_hangs_is_seen(home, capsys):
    with answering.listening(home / "health.sock"):  # bound, as by a loop that never turns again
        code, _, err = check(home, capsys, "--within", "0.05")
    assert code == ExitCode.LATER
    assert "no answer in time" in err


def test_a_health_that_cannot_be_told_is_no_answer(home, capsys, monkeypatch, caplog):
    with qis.blocking.open_site(home / "site.toml"):
        with monkeypatch.context() as patched:
            patched.setattr(answering, "_line", lambda _: 1 / 0)
            assert check(home, capsys)[0] == ExitCode.LATER
        assert check(home, capsys)[0] == ExitCode.OK
    assert "ZeroDivisionError" in caplog.text


def test_what_a_killed_process_has_left_is_no_hindrance(home, capsys):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(home / "health.sock"))
    assert check(home, capsys)[0] == ExitCode.LATER
    with qis.blocking.open_site(home / "site.toml"):
        assert check(home, capsys)[0] == ExitCode.OK


def test_nothing_else_is_removed_or_displaced(home, tmp_path):
    path = home / "health.sock"
    path.write_text("somebody's file")
    with (
        pytest.raises(StorageError, match="no socket"),
        qis.blocking.open_site(home / "site.toml"),
    ):
        pass
    assert path.read_text() == "somebody's file"
    path.unlink()
    with answering.listening(path):
        with (
            pytest.raises(StorageError, match="another process answers there"),
            qis.blocking.open_site(home / "site.toml"),
        ):
            pass
        assert path.exists()
    with qis.blocking.open_site(home / "site.toml"):  # what was refused has left no lock
        pass


def test_a_path_that_is_too_long_for_a_socket_works_too(home, capsys):
    deep = home / ("d" * 120)
    deep.mkdir()
    text = SITE + f'[files]\nhealth = "{deep.name}/health.sock"\n'
    (home / "site.toml").write_text(text)
    with qis.blocking.open_site(home / "site.toml"):
        assert check(home, capsys)[0] == ExitCode.OK


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b"\xff", b'{"state": "ok"}'])
def test_another_program_is_not_taken_for_the_site(tmp_path, answer):
    def reply():
        near, _ = other.accept()
        with near:
            near.sendall(answer)

    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        replying = threading.Thread(target=reply)
        replying.start()
        with pytest.raises(StorageError):
            answering.ask(tmp_path / "s", within_s=5.0)
        replying.join()


def test_without_a_socket_the_file_is_named(home, capsys):
    (home / "site.toml").write_text(SITE)
    code, _, err = check(home, capsys)
    assert code == ExitCode.CONFIGURATION
    assert '[files] health is missing: say where the open site answers, as health = "' in err
    (home / "site.toml").write_text(SITE + FILES)
    assert check(home, capsys, "--within", "0")[0] == ExitCode.DATA


def test_the_page_says_what_the_command_says():
    assert tomllib.loads(FILES) == {"files": {"health": "health.sock"}}
    table = re.findall(r"^\| `?(.*?)`?.* \| (\d+) \| (\w+) \|$", PAGE, re.MULTILINE)
    assert [(code, word) for _, code, word in table] == [
        ("0", "healthy"), ("75", "unhealthy"), ("75", "unhealthy"), ("78", "unhealthy"),
    ]  # fmt: skip

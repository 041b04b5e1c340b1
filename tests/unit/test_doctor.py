"""The doctor names what is wrong with a site, and raises no alarm about a healthy one."""

import json
import time

import pytest

from benchmarks._doctor_cases import CLOCKS, DAY_S, FAULTS, HEALTHY, changed, make
from qis.command import main
from qis.site import ExitCode, examine


@pytest.fixture
def home(tmp_path):
    """A healthy site."""
    make(tmp_path)
    return tmp_path


def wrong(home, **options):
    return {each.code for each in examine(home / "site.toml", **options) if each.is_wrong}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(home, name):
    assert wrong(home) == set()
    code, change = FAULTS[name]
    with changed(home, change):
        assert code in wrong(home)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_site_raises_no_alarm(home, name):
    with changed(home, HEALTHY[name]):
        assert wrong(home) == set()


@pytest.mark.parametrize(("days", "code"), [*CLOCKS.values(), (2, "")])
def test_a_wrong_clock_is_seen_by_what_others_have_signed(home, days, code):
    found = wrong(home, now=time.time() + days * DAY_S)
    assert found == ({code} if code else set())  # two days are not told from a quiet folder


def test_a_site_that_is_open_elsewhere_is_told_so(home):
    with changed(home, HEALTHY["open in another process"]):
        (said,) = (each for each in examine(home / "site.toml") if each.code == "running")
    assert "a process has this site open" in said.text
    (said,) = (each for each in examine(home / "site.toml") if each.code == "running")
    assert "no process" in said.text


def test_who_differs_is_named_and_by_what(home):
    with changed(home, FAULTS["a study that differs by one field"][1]):
        (said,) = (each for each in examine(home / "site.toml") if each.is_wrong)
    assert said.text.startswith("Bern has published 'a vs b | c' under the study ")


def test_the_command_ends_with_the_first_finding_and_publishes_nothing(home, capsys):
    assert main(["doctor", str(home / "site.toml"), "--json"]) == ExitCode.OK
    before = json.loads(capsys.readouterr().out)
    assert before["wrong"] == 0
    (home / "key.pem").chmod(0o644)
    files = sorted((home / "exchange").iterdir())
    assert main(["doctor", str(home / "site.toml")]) == ExitCode.CONFIGURATION
    assert "WRONG  key:" in capsys.readouterr().out
    assert sorted((home / "exchange").iterdir()) == files

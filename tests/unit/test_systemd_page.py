"""The units of docs/how-to/systemd.md are read by systemd, and what they start runs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import qis

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "systemd.md").read_text(encoding="utf-8")
UNITS = dict(
    zip(
        re.findall(r"`/etc/systemd/system/(qis@\.\w+)`", PAGE),
        re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL),
        strict=True,
    )
)
SERVICE = UNITS["qis@.service"]
STUDY = 'question = "beta blocker vs none | 30-day death"\nmeasure = "OR"\nmodel = "fixed"\n'
SITE = """
studies = ["study.toml"]
[identity]
file = "key.pem"
[roster]
file = "roster.toml"
[scheme]
kind = "vector"
dimensions = 3
secret_file = "scheme.secret"
[interest]
features = [0.2, -1.0, 0.7]
people = 0
[transport]
kind = "directory"
path = "exchange/packets"
[disclosure]
preset = "cms"
[loop]
approval = "manual"
"""


def setting(name):
    (value,) = re.findall(rf"^{name}=(.*)$", SERVICE, re.MULTILINE)
    return value.replace("%i", "north")


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "north"
    for folder in ("exchange", "desk"):
        (home / folder).mkdir(parents=True)
    key = qis.Identity.generate()
    key.save(home / "key.pem")
    (home / "site.toml").write_text(SITE, encoding="utf-8")
    (home / "study.toml").write_text(STUDY, encoding="utf-8")
    roster = f'[[site]]\nname = "north"\n[[site.key]]\nissuer = "{key.issuer}"\n'
    (home / "roster.toml").write_text(roster, encoding="utf-8")
    (home / "scheme.secret").touch(mode=0o600)
    (home / "scheme.secret").write_text("7c" * 32, encoding="ascii")
    return home


def started(home):
    """Run what the service starts, with the folders of this test in place of its own."""
    words = [
        word.replace("/opt/qis/bin/python", sys.executable)
        .replace("/opt/job", str(ROOT / "examples" / "embedding"))
        .replace("/srv/qis/north", str(home))
        for word in shlex.split(setting("ExecStart"))
    ]
    return subprocess.run(  # noqa: S603  the page's own words
        words,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=setting("WorkingDirectory").replace("/srv/qis/north", str(home)),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},  # a unit inherits no shell
    )


def test_what_the_service_starts_submits_and_tells_by_its_status(home):
    (home / "counts.csv").write_text(
        "events,total,control_events,control_total\n31,212,44,205\n", encoding="ascii"
    )
    run = started(home)
    assert (run.returncode, run.stderr) == (0, "")
    said = json.loads(run.stdout)
    assert said["state"] == "submitted"
    assert [path.stem for path in (home / "desk").iterdir()] == said["waiting"]

    (home / "counts.csv").write_text(
        "events,total,control_events,control_total\n3,212,44,205\n", encoding="ascii"
    )
    run = started(home)
    assert str(run.returncode) in setting("SuccessExitStatus").split()
    assert json.loads(run.stdout)["state"].startswith("kept back")

    (home / "site.toml").write_text("studies = 7\n", encoding="utf-8")
    assert started(home).returncode == 78


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="this machine has no systemd-analyze"
)
def test_systemd_reads_the_units(tmp_path):
    for name, unit in UNITS.items():
        # Programs of the page are not on this machine, which systemd would complain about.
        runnable = unit.replace("/opt/qis/bin/python", "/bin/true")
        (tmp_path / name.replace("@", "@north")).write_text(runnable, encoding="utf-8")
    for name in UNITS:
        path = tmp_path / name.replace("@", "@north")
        checked = subprocess.run(  # noqa: S603  the page's own units
            ["systemd-analyze", "verify", "--man=no", str(path)],  # noqa: S607
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert str(path.parent) not in checked.stderr, checked.stderr
        assert "Unknown" not in checked.stderr, checked.stderr
        assert "Failed to parse" not in checked.stderr, checked.stderr

"""The versions of docs/how-to/upgrading.md are those of the code."""

import re
from pathlib import Path

from qis.account.tables import SCHEMA as ACCOUNT
from qis.direct.frames import MAGIC as DIRECT
from qis.evidence._schema import SCHEMA as EVIDENCE
from qis.overlay.messages import MAGIC as KEYED
from qis.synthesis.synthesising import VERSION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "upgrading.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (\w[^|]*?) \| ([^|]*?) \|", PAGE, re.MULTILINE))


def row(begin):
    (version,) = [version for what, version in ROWS.items() if what.startswith(begin)]
    return version


def test_the_page_names_the_versions_that_the_code_writes():
    assert row("store") == str(len(EVIDENCE.migrations))
    assert row("account") == str(len(ACCOUNT.migrations))
    assert row("method") == str(VERSION)
    assert row("messages") == f"{DIRECT[3]} and {KEYED[3]}"


def test_the_page_names_the_versions_that_stand_in_the_formats():
    format_page = (ROOT / "docs" / "packet-format.md").read_text(encoding="utf-8")
    channel = (ROOT / "qis" / "channel" / "handshake.py").read_text(encoding="utf-8")
    assert f"version {row('packet')}" in format_page.lower()
    assert f"qis channel {row('channel')} " in channel

"""Every seam of the guard raises once, of every kind, and two sites go on as if nothing had been.

The table of seams is benchmarks/_fault_seams.py, which the benchmark walks too.
"""

import asyncio
import re

import pytest

from benchmarks import _fault_seams

ONE_EACH = ("udp.handling", "overlay.answer", "directory.poll", "loop.store", "site.roster")


def test_the_table_names_every_seam_in_the_library_and_no_other():
    assert set(_fault_seams.SEAMS) == _fault_seams.seams_in_source()
    assert len(_fault_seams.SEAMS) >= 20


def test_the_operators_page_says_of_every_seam_what_became_of_what_failed():
    page = (_fault_seams.ROOT / "docs" / "operating.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z]+\.[a-z_]+)`", row)}
    assert named == set(_fault_seams.SEAMS)


@pytest.mark.parametrize("name", _fault_seams.SEAMS)
def test_after_a_fault_a_node_publishes_receives_and_closes_and_it_was_told(name, faults):
    faults.expect(f"{name}: ")
    assert asyncio.run(_fault_seams.walked(name)) == ""


@pytest.mark.parametrize("name", ONE_EACH)
def test_the_same_faults_are_seen_to_do_harm_where_nothing_contains_them(name):
    with _fault_seams.without_guard():
        lost = asyncio.run(_fault_seams.walked(name, _fault_seams.ERRORS[:1], within_s=1.5))
    assert lost

"""The acceptance of the gate: 200 seeded sites a preset, each with one small cell, in every form.

Whatever passes is attacked by an outsider who shares no line with the gate.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _disclosure_fuzz import KINDS, NAMES, Tally, harmless_refused, is_above, made_by, read

from qis.disclosure import PRESETS

SITES = 200


@pytest.mark.parametrize("preset", NAMES)
def test_nothing_that_passes_shows_the_small_cell(preset):
    tally = Tally(preset, range(SITES), most_attacked=1)
    read_from = {form: count for form, count in tally.proved.items() if count}
    assert not read_from
    assert tally.passed.total() < tally.made.total() / 2


def test_the_attacker_reads_most_forms_with_the_gate_off():
    """Otherwise it would be no wonder that nothing is read from what passes."""
    read_of = {
        made.form: read(made, PRESETS["cms"].minimum_cell).guess == made.truth
        for made in made_by("cms", range(len(KINDS)), is_small=True)
    }
    assert sum(read_of.values()) > len(read_of) / 2


@pytest.mark.parametrize("preset", NAMES)
def test_harmless_sites_are_not_kept_back(preset):
    refused = harmless_refused(preset, range(42))
    assert {kind for kind, (few, made) in refused.items() if is_above(few, made, 0.05)} == set()

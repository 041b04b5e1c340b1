"""What members of a roster may try, each against the check that stands for the claim."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import _insiders


@pytest.mark.parametrize("case", _insiders.CASES, ids=lambda case: case.__name__)
def test_the_claim_holds_and_without_its_check_it_does_not(case, faults):
    faults.allow("reception.", "overlay.", "direct.")
    assert case()
    unchecked = _insiders.CASES[case]
    if unchecked is not None:
        with unchecked():
            assert not case()

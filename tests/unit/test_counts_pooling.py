"""Against metafor's rma.peto and rma.mh on published 2×2 tables."""

import json
from pathlib import Path

import pytest

from qis.errors import InputError, NoEstimateError
from qis.synthesis import mantel_haenszel, peto

FOLDER = Path(__file__).parents[1] / "data" / "synthesis"
NAMES = sorted(p.stem for p in FOLDER.glob("*.json") if '"counts"' in p.read_text())


def check(path):
    content = json.loads(path.read_text())
    data, expected = content["data"], content["expected"]["counts"]
    table = (data["ai"], data["n1i"], data["ci"], data["n2i"])
    for name in ("MH_OR", "MH_RR", "MH_RD", "Peto"):
        if name == "Peto":
            found = peto(*table)
            assert found.q == pytest.approx(expected[name]["Q"], rel=1e-9)
            assert sum(found.informative) == expected[name]["k_used"]
        else:
            found = mantel_haenszel(*table, measure=name[3:])
        assert found.estimate == pytest.approx(expected[name]["est"], rel=1e-9)
        assert found.standard_error == pytest.approx(expected[name]["se"], rel=1e-9)
        limits = (expected[name]["ci_lo"], expected[name]["ci_hi"])
        assert found.interval == pytest.approx(limits, rel=1e-9, abs=1e-12)


def test_there_are_tables():
    assert len(NAMES) == 7


@pytest.mark.parametrize("name", NAMES)
def test_as_metafor(name):
    check(FOLDER / f"{name}.json")


@pytest.mark.shared
def test_as_metafor_on_132_hospitals(shared_data):
    check(shared_data / "synthesis" / "reference" / "eicu_vent.json")


def test_a_table_without_events_says_nothing_of_a_ratio():
    with_it = mantel_haenszel([3, 0], [20, 10], [5, 0], [20, 10])
    without = mantel_haenszel([3], [20], [5], [20])
    assert with_it.estimate == without.estimate
    assert with_it.informative == (True, False)
    assert peto([3, 0], [20, 10], [5, 0], [20, 10]).informative == (True, False)


@pytest.mark.parametrize("measure", ["OR", "RR"])
def test_events_in_one_arm_only_give_no_ratio(measure):
    with pytest.raises(NoEstimateError):
        mantel_haenszel([3], [20], [0], [20], measure=measure)
    assert peto([3], [20], [0], [20]).estimate > 0  # Peto can, and is biased there


@pytest.mark.parametrize("call", [peto, mantel_haenszel])
def test_no_events_at_all_is_no_estimate(call):
    with pytest.raises(NoEstimateError):
        call([0, 0], [20, 10], [0, 0], [20, 10])


def test_no_events_at_all_is_no_risk_difference_with_an_error():
    with pytest.raises(NoEstimateError):
        mantel_haenszel([0], [20], [0], [20], measure="RD")


@pytest.mark.parametrize(
    ("table", "field"),
    [
        (([21], [20], [1], [20]), "events"),
        (([1], [20], [21], [20]), "control_events"),
        (([0], [0], [1], [20]), "events"),
        (([-1], [20], [1], [20]), "events"),
        (([1.5], [20], [1], [20]), "events"),
        (([1], [float("nan")], [1], [20]), "totals"),
        (([1, 2], [20], [1], [20]), "events"),
        (([], [], [], []), "events"),
        ((["x"], [20], [1], [20]), "events"),
    ],
)
def test_bad_tables_are_named(table, field):
    with pytest.raises(InputError) as caught:
        peto(*table)
    assert caught.value.field == field

"""Cox's partial likelihood, against R's survival package and by definition."""

import csv
import itertools
import json
import math

import numpy as np
import pytest

import qis
from qis.errors import InputError
from qis.outcomes.cox import PartialLikelihood


def root(function, low, high):
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (middle, high) if function(middle) > 0.0 else (low, middle)
    return low


def cgd(folder, *, days_per_unit=1):
    rows = list(
        csv.DictReader((folder / "hospitals" / "cgd.csv").read_text(encoding="utf-8").splitlines())
    )
    return {
        "times": [math.ceil(float(row["days"]) / days_per_unit) for row in rows],
        "events": [int(row["infection"]) for row in rows],
        "treated": [row["treatment"] != "placebo" for row in rows],
        "strata": [row["hospital"] for row in rows],
    }


@pytest.mark.shared
@pytest.mark.parametrize(
    ("days_per_unit", "ties", "expected"),
    [
        (1, "breslow", -1.1404),
        (1, "efron", -1.1404),
        (90, "breslow", -0.998),
        (90, "efron", -1.041),
    ],
)
def test_estimate_of_the_cgd_trial(shared_data, days_per_unit, ties, expected):
    data = cgd(shared_data, days_per_unit=days_per_unit)
    cox = PartialLikelihood.from_times(**data, ties=ties)
    assert root(lambda b: float(cox.gradient(b)), -5.0, 5.0) == pytest.approx(expected, abs=6e-4)


@pytest.mark.shared
def test_values_and_gradients_agree_with_r(shared_data):
    reference = json.loads(
        (shared_data / "synthesis/reference/cox_lung_sex_by_institution.json").read_text()
    )
    path = shared_data / "hospitals" / "lung_ncctg.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    grid = np.array(reference["grid"])
    for site in reference["sites"]:
        mine = [row for row in rows if row["inst"] == site["site"]]
        assert len(mine) == site["n"]
        cox = PartialLikelihood.from_times(
            times=[float(row["time"]) for row in mine],
            events=[row["status"] == "2" for row in mine],
            treated=[row["sex"] in {"2", "female"} for row in mine],
            ties="breslow",
        )
        assert cox.events == site["events"]
        # R's own values carry the rounding of its convergence.
        assert cox.value(grid) == pytest.approx(np.array(site["loglik"]), abs=1e-6)
        assert cox.gradient(grid) == pytest.approx(np.array(site["grad"]), abs=1e-6)


def by_definition(rows, b):
    """Sum over untied events of the log of one's share of the hazard at risk."""
    total = 0.0
    for stop, event, arm, stratum, _start in rows:
        if event:
            risk = [
                math.exp(b * a) for t, _, a, s, begin in rows if s == stratum and begin < stop <= t
            ]
            total += b * arm - math.log(sum(risk))
    return total


def test_strata_and_delayed_entry_follow_the_definition():
    rng = np.random.default_rng(3)
    rows = [
        (t + 1.0, rng.random() < 0.6, int(rng.random() < 0.5), "ab"[rng.integers(2)], t * 0.7 - 1)
        for t in rng.permutation(25).astype(float)
    ]
    stop, event, arm, stratum, start = zip(*rows, strict=True)
    for ties in ("efron", "breslow"):
        cox = PartialLikelihood.from_times(
            times=stop, events=event, treated=arm, strata=stratum, entry=start, ties=ties
        )
        for b in (-3.0, -0.4, 0.0, 1.7):
            assert float(cox.value(b)) == pytest.approx(by_definition(rows, b), abs=1e-10)


def test_gradient_is_the_derivative_and_tends_to_the_limiting_slopes():
    rng = np.random.default_rng(4)
    cox = PartialLikelihood.from_times(
        times=rng.integers(1, 9, 40), events=rng.random(40) < 0.5, treated=rng.random(40) < 0.4
    )
    b = np.linspace(-4.0, 4.0, 9)
    step = 1e-5
    numeric = (cox.value(b + step) - cox.value(b - step)) / (2 * step)
    assert cox.gradient(b) == pytest.approx(numeric, abs=1e-7)
    assert (float(cox.gradient(-900.0)), float(cox.gradient(900.0))) == cox.limiting_slopes
    assert np.isfinite(cox.value(np.array([-1e5, 1e5]))).all()


GOOD = {"times": [1.0, 2.0, 3.0], "events": [1, 0, 1], "treated": [0, 1, 1]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("times", []),
        ("times", [1.0, 2.0, math.nan]),
        ("times", [[1.0, 2.0, 3.0]]),
        ("times", ["a", "b", "c"]),
        ("events", [1, 0]),
        ("events", [1, 2, 0]),
        ("treated", [0.5, 1, 0]),
        ("strata", ["a", "b"]),
        ("strata", ["a", None, "b"]),
        ("strata", [1.0, math.nan, 2.0]),
        ("strata", np.ma.array([1, 2, 1], mask=[False, True, False])),
        ("strata", [[1, 2], [3]]),
        ("entry", [0.0, 2.0, 0.0]),
        ("entry", [0.0, 0.0]),
        ("ties", "exact"),
    ],
)
def test_refuses_what_it_cannot_use(field, value):
    with pytest.raises(InputError) as caught:
        PartialLikelihood.from_times(**{**GOOD, field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        # NaN equals nothing, so whoever has it as label was in no stratum, and was left out unseen.
        ("strata", [1.0, math.nan, 1.0, 2.0, 2.0], "missing for 1 people, first in row 1"),
        ("times", [3.0, -4.0, 2.0, 5.0, 1.0], r"times\[1\] is -4"),
    ],
)
def test_models_refuse_missing_strata_and_negative_times(field, value, words):
    given = {
        "features": [[0.0], [1.0], [0.0], [1.0], [0.5]],
        "times": [3.0, 4.0, 2.0, 5.0, 1.0],
        "events": [1, 0, 1, 1, 1],
        "strata": [1, 1, 1, 2, 2],
    }
    fit = qis.QuadraticLikelihood.from_cox
    assert fit(question="a vs b | c", anchor=[0.0], **given).n == 5
    with pytest.raises(InputError, match=words):
        fit(question="a vs b | c", anchor=[0.0], **{**given, field: value})


def test_order_of_people_changes_nothing():
    rows = list(zip(*GOOD.values(), strict=True))
    found = set()
    for some in itertools.permutations(rows):
        times, events, treated = zip(*some, strict=True)
        cox = PartialLikelihood.from_times(times=times, events=events, treated=treated)
        found.add(float(cox.value(0.3)))
    assert len(found) == 1

"""Moments: merged exactly, in any order; effects as metafor gives them."""

import json
import math
import statistics

import pytest
from hypothesis import given, strategies as st

from qis.errors import IncompatibleEvidenceError, InputError, NoEstimateError
from qis.outcomes import Moments
from qis.outcomes.moments import merge_moments

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


def of(values, control=None, **others):
    return Moments.from_values(values, control, **{"question": "q", **others})


@given(st.lists(VALUES, min_size=1, max_size=6), st.randoms())
def test_merging_is_exact_in_any_order(groups, random):
    parts = [of(group) for group in groups]
    shuffled = parts[:]
    random.shuffle(shuffled)
    merged = merge_moments(parts)
    assert merged == merge_moments(shuffled)
    everyone = [value for group in groups for value in group]
    assert merged.total == len(everyone)
    size = max(map(abs, everyone)) + 1.0
    assert merged.mean == pytest.approx(statistics.fmean(everyone), abs=1e-12 * size)
    spread = statistics.pvariance(everyone) * len(everyone)
    assert merged.ss == pytest.approx(spread, rel=1e-9, abs=1e-9 * size)


def test_nothing_cancels_far_from_zero():
    # The textbook formula (sum of squares less n mean squared) gives 0 or worse here.
    far = [1e9 + x for x in (4.0, 7.0, 13.0, 16.0)]
    merged = merge_moments([of(far[:1]), of(far[1:3]), of(far[3:])])
    assert (merged.mean, merged.ss) == (1e9 + 10.0, 90.0)


def test_two_arms_merge_arm_by_arm():
    merged = merge_moments([of([1.0, 2.0], [5.0]), of([3.0], [7.0, 9.0])])
    assert merged == of([1.0, 2.0, 3.0], [5.0, 7.0, 9.0])
    assert merged.n == 6


@pytest.mark.shared
def test_mean_differences_are_metafors(shared_data):
    path = shared_data / "synthesis" / "reference" / "normand1999.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    table = found["data"]
    for i, (y, v) in enumerate(zip(found["effects"]["yi"], found["effects"]["vi"], strict=True)):
        arms = {}
        for prefix, arm in (("", "1"), ("control_", "2")):
            n, sd = table[f"n{arm}i"][i], table[f"sd{arm}i"][i]
            arms |= {f"{prefix}total": n, f"{prefix}mean": table[f"m{arm}i"][i]}
            arms[f"{prefix}ss"] = sd**2 * (n - 1)
        effect = Moments(question="q", **arms).effect("MD")
        assert effect.estimate == pytest.approx(y, rel=1e-9)
        assert effect.standard_error == pytest.approx(math.sqrt(v), rel=1e-9)


def test_standardised_differences_and_ratios_by_their_definitions():
    site = of([3.0, 5.0, 8.0, 4.0], [1.0, 2.0, 4.0])
    pooled = math.sqrt((site.ss + site.control_ss) / 5)
    correction = math.gamma(2.5) / (math.sqrt(2.5) * math.gamma(2.0))
    smd = site.effect("SMD")
    assert smd.estimate == pytest.approx(correction * (5.0 - 7 / 3) / pooled)
    assert smd.standard_error == pytest.approx(math.sqrt(1 / 4 + 1 / 3 + smd.estimate**2 / 14))
    rom = site.effect("ROM")
    assert rom.estimate == pytest.approx(math.log(5.0 / (7 / 3)))
    parts = [site.ss / 3 / (4 * 25), site.control_ss / 2 / (3 * (7 / 3) ** 2)]
    assert rom.standard_error == pytest.approx(math.sqrt(sum(parts)))
    assert of([1.0, 3.0]).effect("MN").standard_error == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("moments", "measure", "words"),
    [
        (of([1.0], [1.0, 2.0]), "MD", "fewer than two"),
        (of([1.0, 1.0], [1.0, 2.0]), "SMD", "one value"),
        (of([-1.0, -2.0], [1.0, 2.0]), "ROM", "positive"),
    ],
)
def test_no_standard_error_is_said(moments, measure, words):
    with pytest.raises(NoEstimateError, match=words):
        moments.effect(measure)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="they give MN"):
        of([1.0]).effect("MD")
    with pytest.raises(InputError, match="or none"):
        Moments(question="q", total=2, mean=1.0, ss=1.0, control_total=2)
    with pytest.raises(InputError, match="empty"):
        of([])
    with pytest.raises(InputError, match="finite"):
        of([math.nan])
    with pytest.raises(InputError, match="nothing to merge"):
        merge_moments([])
    with pytest.raises(IncompatibleEvidenceError, match="one arm"):
        merge_moments([of([1.0]), of([1.0], [2.0])])
    with pytest.raises(IncompatibleEvidenceError, match="study_id"):
        merge_moments([of([1.0]), of([1.0], question="other")])

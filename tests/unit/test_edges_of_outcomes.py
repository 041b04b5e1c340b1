"""Edges of outcomes that a change of one operator once crossed unseen."""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import qis
from qis.errors import InputError, MissingExtraError
from qis.outcomes import _characters, _printed, _record_check, _sampling, _text
from qis.outcomes._regression import Design
from qis.outcomes.measures import MEASURES
from qis.synthesis.currency import Likelihood

PAGE = Path(__file__).parents[2] / "docs" / "packet-format-characters.txt"
NAMES = {"measure": "OR", "estimate": 0.1, "standard_error": 0.2}


def test_a_question_beside_a_study_id_is_made_normal_and_needed_too():
    with_id = qis.Effect(question="  a   vs b | e\u0301 ", study_id=bytes(8), **NAMES)
    assert with_id.question == "a vs b | é"
    for wrong in ("", "   "):
        with pytest.raises(InputError, match="question"):
            qis.Effect(question=wrong, study_id=bytes(8), **NAMES)
    with pytest.raises(InputError, match="question"):
        qis.Effect(question="x" * 49, study_id=bytes(8), **NAMES)


def test_refused_characters_are_those_of_the_page_up_to_the_last_of_each_range():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    ranges = [tuple(int(end, 16) for end in line.split()) for line in lines if line[:1] != "#"]
    refused = {code for first, last in ranges for code in (first, last)}
    edges = {code + step for code in refused for step in (-1, 0, 1)} & set(range(0x110000))
    joiners_and_spaces = {0x200C, 0x200D, *map(ord, " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85")}
    for code in sorted(edges - joiners_and_spaces):
        if 0xD800 <= code <= 0xDFFF:
            continue
        is_refused = any(first <= code <= last for first, last in ranges)
        found = _characters.refused_in(f"a{chr(code)}b")
        assert (found == chr(code)) == is_refused, hex(code)


@pytest.mark.parametrize("labels", [[0, 1, 2, 1], [0, 1, 0.5, 1], [-1, 1, 1, 0]])
def test_one_label_that_is_neither_0_nor_1_is_one_too_many(labels):
    features = np.arange(4.0)[:, np.newaxis]
    names = {"question": "a", "features": features, "anchor": [0.0]}
    with pytest.raises(InputError, match="labels must be 0 or 1"):
        qis.QuadraticLikelihood.from_logistic(labels=labels, **names)
    with pytest.raises(InputError, match="events must be 0 or 1"):
        qis.QuadraticLikelihood.from_cox(times=[1, 2, 3, 4], events=labels, **names)


def test_people_with_events_are_the_group_that_a_poisson_model_may_show():
    random = np.random.default_rng(1)
    features = random.normal(size=(60, 2))
    events = np.zeros(60)
    events[:7] = random.integers(1, 4, 7)
    outcome = qis.QuadraticLikelihood.from_poisson(
        question="a",
        features=features,
        events=events,
        exposure=random.uniform(1.0, 2.0, 60),
        anchor=[0.0, 0.0],
    )
    assert outcome.data_summary.smallest_cell == 7


def test_a_number_that_may_be_negative_has_to_be_finite_and_no_more():
    table = {"site": ["n", "s"], "estimate": [-0.1, float("inf")], "error": [0.1, 0.2]}
    columns = {"site": "site", "estimate": "estimate", "standard_error": "error"}
    with pytest.raises(InputError, match=r"is inf; it must be finite$"):
        qis.Effect.from_columns(table, question="a", measure="OR", **columns)


def test_a_data_frame_without_narwhals_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(MissingExtraError, match=r"need narwhals.*frames"):
        qis.Moments.from_frame(pd.DataFrame({"x": [1.0, 2.0]}), question="a", value="x")


@pytest.mark.parametrize(
    ("number", "least"),
    [(0.1234567890123456, 1e-13), (1 / 3, 3e-13), (123.45678901234567, 1e-10)],
)
def test_a_computed_number_is_known_to_its_noise_and_not_to_its_last_digit(number, least):
    value, unit = _printed._as_printed(number)
    assert value == number
    assert least < unit < 1e-9
    assert _printed._as_printed(0.73)[1] == pytest.approx(0.01)


@pytest.mark.parametrize(
    "content",
    [
        {"a": [{"x": 1}, {"b": 1, "a": 2}]},
        {"a": [{}, {"bb": 1, "a": 2}, {"x": 1}]},
        {"a": [{"b": 1, "a": 2}, {"x": 1}]},
        {"a": {"b": 1.5, "a": 2}, "b": {"x": 1}},
    ],
)
def test_one_map_out_of_order_among_others_is_refused(content):
    with pytest.raises(InputError, match="keys of content ascend"):
        _record_check.checked_size(content)


@pytest.mark.parametrize("wrong", [2.0, -0.0, float("inf"), float("nan"), 1e300])
def test_a_real_that_is_whole_or_not_finite_is_refused_among_good_ones(wrong):
    for content in ({"a": [0.5, wrong]}, {"a": [wrong, 0.25, 1e-3]}, {"a": wrong}):
        with pytest.raises(InputError, match="reals in content"):
            _record_check.checked_size(content)


def test_score_and_information_have_both_to_be_finite():
    design = Design.of([[1.0], [2.0]], [0.0, 1.0], "labels", np.zeros(1))

    def model(*_):
        return np.array([1.0]), np.array([[np.inf]])

    with pytest.raises(InputError, match="not finite at this anchor"):
        design.terms(model)


@pytest.mark.parametrize("text", ["a\u2003b", " ab", "ab ", "a  b", "a\tb", "\u00a0a"])
def test_white_space_that_is_not_folded_is_refused_of_whatever_sort(text):
    with pytest.raises(InputError):
        _text.check_normal(["good", text, "other one"], "content")
    assert _text.check_normal(["a b", "c"], "content") == [3, 1]


def test_one_person_is_the_least_that_an_effect_may_have():
    assert qis.Effect(question="a", n=1, **NAMES).n == 1
    with pytest.raises(InputError, match="n"):
        qis.Effect(question="a", n=0, **NAMES)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.93])
def test_values_are_read_back_on_their_own_scale(share):
    logit, log = np.log(share / (1 - share)), np.log(share)
    assert qis.outcomes.measure_named("PLO").back(logit) == pytest.approx(share)
    assert qis.outcomes.measure_named("IRLN").back(log) == pytest.approx(share)
    assert qis.outcomes.measure_named("OR").back(log) == pytest.approx(share)
    assert qis.outcomes.measure_named("MD").back(share) == share
    assert qis.outcomes.measure_named("PLO").back(-800.0) == 0.0
    assert qis.outcomes.measure_named("PLO").back(800.0) == 1.0
    assert qis.outcomes.measure_named("OR").back(800.0) == float("inf")


def test_a_feature_that_is_alike_for_all_says_nothing_beside_the_sites_own_intercept():
    random = np.random.default_rng(4)
    features = np.column_stack((np.full(80, 2.0), random.normal(size=(80, 2))))
    outcome = qis.QuadraticLikelihood.from_logistic(
        question="a",
        features=features,
        labels=random.integers(0, 2, 80),
        anchor=[0.1, 0.2, -0.1],
        own_intercept=True,
    )
    assert outcome.score[0] == 0.0
    assert not outcome.information[0].any()
    assert not outcome.information[:, 0].any()
    assert np.all(np.diagonal(outcome.information)[1:] > 1.0)


def test_a_likelihood_that_bends_too_far_out_is_refused_with_where_it_does():
    def evaluate(theta):
        return -np.logaddexp(0.0, 60.0 - theta), 1.0 / (1.0 + np.exp(theta - 60.0))

    with pytest.raises(InputError, match=r"bends at (59|60)"):
        _sampling.sample(evaluate, (1.0, 0.0))


def test_the_two_heaviest_people_are_those_of_the_worse_arm():
    one, other = [1.0, 1.0, 1.0, 30.0, 50.0], [2.0, 2.1, 1.9, 2.0, 2.0, 2.0]
    for values, control in ((one, other), (other, one)):
        outcome = qis.Moments.from_values(question="a", values=values, control=control)
        assert outcome.data_summary.largest_two == pytest.approx(80.0 / 83.0)
        assert outcome.data_summary.largest_share == pytest.approx(50.0 / 83.0)


def test_a_diagonal_travels_in_16_bits_and_more_are_refused():
    random = np.random.default_rng(4)
    outcome = qis.QuadraticLikelihood.from_logistic(
        question="a",
        features=random.normal(size=(80, 2)),
        labels=random.integers(0, 2, 80),
        anchor=[0.1, 0.2],
    )
    first, second = outcome.diagonal
    float32 = float(np.nextafter(np.float32(first), np.float32(9e9)))
    for wrong in (first * (1.0 + 1e-12), float32):
        with pytest.raises(InputError, match="more than 16 bits"):
            dataclasses.replace(outcome, diagonal=(wrong, second), study=None)


def test_texts_of_a_record_become_normal_and_integers_end_where_doubles_are_exact():
    content = {"a": "e\u0301", "b": "", "c": 2.0**53 - 1.0, "d": -(2**53) + 1}
    record = qis.Record(question="a", content=content)
    assert dict(record.content) == {"a": "é", "b": "", "c": 2**53 - 1, "d": 1 - 2**53}
    for wrong in (2.0**53, 2**53, -(2**53)):
        with pytest.raises(InputError):
            qis.Record(question="a", content={"a": wrong})


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda x: 9.0 * x - 20.0 * math.exp(x), lambda x: 9.0 - 20.0 * np.exp(x)),
        (lambda x: -300.0 * math.log(math.cosh(x)), lambda x: -300.0 * np.tanh(x)),
        (
            lambda x: -50.0 * math.log1p(2.0 * (x - 1.0) ** 2),
            lambda x: -200.0 * (x - 1.0) / (1.0 + 2.0 * (x - 1.0) ** 2),
        ),
    ],
    ids=["poisson", "logistic", "t"],
)
def test_where_nine_points_over_all_of_a_curve_are_too_few_they_stand_closer(value, slope):
    """The slope between them is right to .004 of one over the standard error."""
    profile = qis.LikelihoodProfile.from_function(question="q", measure="OR", log_likelihood=value)
    curve = Likelihood.of([profile])
    theta = np.linspace(profile.lower, profile.upper, 500)
    _, found, bends = curve.evaluate(theta)
    assert np.abs(found - slope(theta)).max() < 0.0045 * math.sqrt(max(-bends.min(), 1.0))


@pytest.mark.parametrize(("events", "control"), [(9, 11), (2, 11), (14, 4)])
def test_a_profile_is_widened_by_steps_until_enough_is_seen_on_each_side(events, control):
    """From ratios of a tenth and of ten on, and no further than the first wide enough end."""
    outcome = qis.Counts(
        question="q", events=events, total=20, control_events=control, control_total=21
    )
    profile, curve = outcome.profile(), Likelihood.of([outcome])
    top = float(curve.value(np.array([profile.maximum]))[0])

    def is_wide(end, side):
        value, slope, _ = (float(each[0]) for each in curve.evaluate(np.array([end])))
        limit = Likelihood.of([profile]).curves.limiting_slopes[0 if side < 0 else 1][0]
        return top - value >= 8.0 or abs(slope - limit) < _sampling.STRAIGHT

    for side, end in ((-1, profile.lower), (1, profile.upper)):
        steps = (side * end - _sampling.START) / _sampling._STEP
        assert steps == pytest.approx(round(steps), abs=1e-5)
        assert steps > -1e-5
        assert is_wide(end, side)
        assert round(steps) == 0 or not is_wide(end - side * _sampling._STEP, side)


def test_one_row_a_patient_and_one_row_a_group_are_not_mixed():
    table = {"x": [1.0, 2.0, 4.0], "mean": [1.0, 2.0, 3.0]}
    with pytest.raises(InputError, match="one row a patient"):
        qis.Moments.from_frame(table, value="x", mean="mean", question="q")


def test_the_priors_of_tau_that_hold_where_a_study_names_none_stay():
    """Another default would change what every such study has published."""
    found = {name: measure.default_tau_scale for name, measure in MEASURES.items()}
    halves = {"OR", "RR", "HR", "IRR", "ROM", "SMD"}
    assert {name for name, scale in found.items() if scale == 0.5} == halves
    assert {name for name, scale in found.items() if scale == 1.0} == {"PLO", "IRLN"}
    others = {name for name, scale in found.items() if scale is None}
    assert others == set(found) - halves - {"PLO", "IRLN"}

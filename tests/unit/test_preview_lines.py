"""Every line that the direct attacks can put into a preview stands there where it is true."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import qis
from qis.disclosure import attacks
from qis.disclosure.attacks import findings

LIMIT = 11
NAMES = {"question": "a vs b | death", "measure": "OR"}
EVENTS, TOTAL, CONTROL_EVENTS, CONTROL_TOTAL = 14, 60, 23, 75
COUNTS = qis.Counts(
    question="a vs b | death",
    events=EVENTS,
    total=TOTAL,
    control_events=CONTROL_EVENTS,
    control_total=CONTROL_TOTAL,
)
RATES = qis.Counts(question="a", events=12, total=40, person_time=88.0)
MOMENTS = qis.Moments(
    question="a",
    total=30,
    mean=1.25,
    ss=40.0,
    control_total=41,
    control_mean=1.5,
    control_ss=33.0,
)


def logistic():
    random = np.random.default_rng(3)
    return qis.QuadraticLikelihood.from_logistic(
        question="a",
        features=random.normal(size=(90, 2)),
        labels=(np.arange(90) < 31).astype(float),
        anchor=[0.0, 0.0],
    )


OUTCOMES = {
    "two arms": COUNTS,
    "one arm with time": RATES,
    "means of two arms": MOMENTS,
    "mean of one arm": qis.Moments(question="a", total=30, mean=1.25, ss=40.0),
    "profile": COUNTS.profile(),
    "model": logistic(),
    "hazard ratio": qis.Effect(
        question="a", measure="HR", estimate=0.1234567, standard_error=0.2512345, n=400
    ),
    "estimate without n": qis.Effect(**NAMES, estimate=0.1234567, standard_error=0.2512345),
}
# All that each of these gives away without a search, worked out by hand.
SHOWN = {
    "two arms": {
        ("written", "people in the treated arm", 60),
        ("written", "events in the treated arm", 14),
        ("by subtraction", "without event in the treated arm", 46),
        ("written", "people in the control arm", 75),
        ("written", "events in the control arm", 23),
        ("by subtraction", "without event in the control arm", 52),
    },
    "one arm with time": {
        ("written", "people in the treated arm", 40),
        ("written", "events in the treated arm", 12),
        ("by subtraction", "without event in the treated arm", 28),
    },
    "means of two arms": {
        ("written", "people in the treated arm", 30),
        ("written", "people in the control arm", 41),
    },
    "mean of one arm": {("written", "people in the treated arm", 30)},
    "profile": {
        ("written", "people", 135),
        ("written", "events", 37),
        ("by subtraction", "people without event", 98),
        ("from the profile's slopes", "events in the treated arm", 14),
        ("from the profile's slopes", "events in the control arm", 23),
    },
    "model": {
        ("written", "people", 90),
        ("written", "events", 31),
        ("by subtraction", "people without event", 59),
    },
    "hazard ratio": {
        ("written", "people", 400),
        ("from the standard error", "events in one of the arms, about or fewer", 31),
        ("from the standard error", "events, about or more", 64),
        ("from the standard error", "people without event, about or fewer", 336),
    },
    "estimate without n": set(),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_what_an_outcome_shows_is_found_and_nothing_else(name):
    assert set(map(tuple, findings(OUTCOMES[name], below=LIMIT))) == SHOWN[name]


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_finding_is_a_line_of_the_preview(name):
    lines = qis.Disclosure.preset("none").preview(OUTCOMES[name]).learns
    for attack, cell, people in SHOWN[name]:
        assert f"{cell}: {people} ({attack})" in lines


def test_no_finding_that_the_direct_attacks_know_is_left_out_here():
    """A finding that is added to the code is added to the table above."""
    patterns = []
    for node in ast.walk(ast.parse(Path(attacks.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
            cell = node.args[1]
            parts = cell.values if isinstance(cell, ast.JoinedStr) else [cell]
            text = "".join(
                re.escape(p.value) if isinstance(p, ast.Constant) else ".+" for p in parts
            )
            patterns.append((node.args[0].value, text))
    assert len(patterns) >= 11
    shown = {(attack, cell) for found in SHOWN.values() for attack, cell, _ in found}
    for attack, text in patterns:
        assert any(a == attack and re.fullmatch(text, cell) for a, cell in shown), text


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (OUTCOMES["profile"], "nine points fix the curve"),
        (MOMENTS, "mean and variance of the values in each arm, exactly"),
        (OUTCOMES["estimate without n"], "not searched: any table, since there is no n"),
        (qis.Counts(question="a", events=20, total=20), "everybody in the treated arm had"),
    ],
)
def test_what_follows_whatever_the_numbers_are_is_said(outcome, says):
    text = str(qis.Disclosure.preset("none").preview(outcome))
    assert text.count(says) == 1


@pytest.mark.parametrize(
    "outcome",
    [
        qis.Counts(question="a", events=19, total=20),
        qis.Counts(question="a", events=20, total=20, person_time=50.0),
        OUTCOMES["hazard ratio"],
    ],
)
def test_and_not_where_it_does_not_follow(outcome):
    text = str(qis.Disclosure.preset("none").preview(outcome))
    assert "everybody in the treated arm" not in text
    assert "without n" not in text

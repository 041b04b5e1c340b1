"""Answers of different kinds about the same people, or about one arm: each passes alone."""

import itertools

import numpy as np
import pytest

from qis.disclosure import Disclosure, subject_hashes
from qis.errors import DisclosureError
from qis.outcomes import Counts, Effect, Moments, QuadraticLikelihood

KEY = bytes(range(32))
NOW = 1_800_000_000.0
SMALL = (5, 60, 60, 60)
EVERYBODY, CONTROL = range(185), range(65, 185)


def people(who):
    return subject_hashes(map(str, who), key=KEY)


def table(cells):
    a, b, c, d = cells
    return Counts(question="q", events=a, total=a + b, control_events=c, control_total=c + d)


def printed(exact, decimals=2):
    return Effect(question="q", measure=exact.measure, estimate=round(exact.estimate, decimals),
                  standard_error=round(exact.standard_error, decimals), n=exact.n)  # fmt: skip


def model(events, n):
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    return QuadraticLikelihood.from_logistic(
        question="q", features=x, labels=(np.arange(n) < events).astype(float), anchor=[0.1, 0.2]
    )


def others(cells):
    """What else may be said of these people, and of whom it is."""
    a, b, c, d = cells
    n, events = sum(cells), a + c
    values = np.random.default_rng(2).normal(50.0, 8.0, n)
    one_arm = Counts(question="q", events=events, total=n)
    return {
        "counts of all": (one_arm, range(n)),
        "proportion": (one_arm.effect("PR"), range(n)),
        "log odds": (one_arm.effect("PLO"), range(n)),
        "model": (model(events, n), range(n)),
        "control arm": (Counts(question="q", events=c, total=c + d), range(a + b, n)),
        "proportion of an arm": (
            Counts(question="q", events=c, total=c + d).effect("PR"),
            range(a + b, n),
        ),
        "measured values": (
            Moments.from_values(values[: a + b], values[a + b :], question="q"),
            range(n),
        ),
    }


def refused(*released):
    """The first that is refused of answers that are released one after the other, and why."""
    gate = Disclosure.preset("cms")
    for nth, (outcome, who) in enumerate(released):
        try:
            gate.release(outcome, now=NOW, subjects=people(who))
        except DisclosureError as error:
            return nth, error
    return None


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("second", others(SMALL))
def test_a_rounded_estimate_is_cut_by_every_other_answer(second, order):
    estimate = printed(table(SMALL).effect("OR")), EVERYBODY
    other = others(SMALL)[second]
    assert refused(estimate) is None
    assert refused(other) is None
    nth, error = refused(*(estimate, other)[::order])
    assert (nth, error.field) == (1, "answers")
    assert 0 < error.actual < 11


@pytest.mark.parametrize("second", others(SMALL))
def test_large_groups_pass_together(second):
    cells = (70, 60, 60, 80)
    estimate = printed(table(cells).effect("RD")), range(270)
    assert refused(estimate, others(cells)[second]) is None


def test_an_adjusted_estimate_hides_nothing():
    """It fits no table of these people, wherever it stands among the others."""
    adjusted = Effect(question="q", measure="RR", estimate=-0.71234567, standard_error=0.2345678,
                      n=185)  # fmt: skip
    crude = [printed(table(SMALL).effect(measure)) for measure in ("OR", "RD")]
    for answers in itertools.permutations([adjusted, *crude]):
        nth, error = refused(*((answer, EVERYBODY) for answer in answers))
        assert error.field == "answers"
        assert nth == max(answers.index(each) for each in crude)


def test_a_number_of_few_digits_that_is_exact_for_some_table_may_be_rounded():
    """MD -0.45 with 0.05 is exact for other arms; counts of the control arm tell the table."""
    cells = (2, 62, 68, 73)
    arms = [[1.0] * yes + [0.0] * no for yes, no in (cells[:2], cells[2:])]
    difference = printed(Moments.from_values(*arms, question="q").effect("MD"))
    control = Counts(question="q", events=68, total=141)
    nth, error = refused((difference, range(205)), (control, range(64, 205)))
    assert (nth, error.field) == (1, "answers")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("events", [9, 60])
def test_a_rate_difference_tells_which_events_a_rate_ratio_has(events, order):
    counts = Counts(question="q", events=events, total=400, control_events=45, control_total=300,
                    person_time=700.5, control_person_time=411.2)  # fmt: skip
    answers = printed(counts.effect("IRR"), 2), counts.effect("IRD")
    assert refused((answers[0], range(700))) is None
    found = refused(*((each, range(700)) for each in answers[::order]))
    assert (found is not None) == (events == 9)
    if found is not None:
        assert found[1].actual == 9


@pytest.mark.parametrize("few", [4, 40])
@pytest.mark.parametrize("measure", ["PR", "PLO", "MN"])
def test_proportions_of_those_who_came_are_subtracted(measure, few):
    def share(events, n):
        if measure == "MN":
            values = [1.0] * events + [0.0] * (n - events)
            return printed(Moments.from_values(values, question="q").effect("MN"), 4)
        return printed(Counts(question="q", events=events, total=n).effect(measure), 4)

    found = refused((share(50, 120), range(120)), (share(50 + few, 220), range(220)))
    assert (found is not None) == (few == 4)


@pytest.mark.parametrize(("more", "field"), [(8, "answers"), (300, None)])
def test_those_whom_a_model_has_more_are_people_enough_for_its_coefficients(more, field):
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(1_200), rng.normal(size=(1_200, 3))])
    y = rng.integers(0, 2, 1_200).astype(float)

    def answer(n, at):
        return QuadraticLikelihood.from_logistic(
            question="q", features=x[:n], labels=y[:n], anchor=at
        )

    for at in ([0.1, 0.0, 0.2, 0.0], [0.3, 0.1, 0.0, 0.0]):  # the same anchor, then another
        whole = answer(600 + 2 * more, at)
        found = refused((answer(600, [0.1, 0.0, 0.2, 0.0]), range(600)),
                        (whole, range(600 + 2 * more)))  # fmt: skip
        assert (found[1].field if found else None) == field


@pytest.mark.parametrize("few", [3, 40])
def test_yes_no_responses_of_a_linear_model_are_subtracted(few):
    def answer(*groups):
        data = np.repeat([(1.0, i, y) for i in (0, 1) for y in (0, 1)], groups, axis=0)
        return QuadraticLikelihood.from_linear(
            question="q", features=data[:, :2], responses=data[:, 2], residual_variance=0.37,
            anchor=[0.3, -0.2],
        )  # fmt: skip

    part, whole = answer(50, 60, 70, 80), answer(90, 100, 110, 80 + few)
    found = refused((part, range(260)), (whole, range(380 + few)))
    assert (found is not None) == (few == 3)
    if found is not None:
        assert found[1].actual == 3

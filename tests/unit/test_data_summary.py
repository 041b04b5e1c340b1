"""What an outcome knows of its rows: counted here one group at a time, and bound to its numbers."""

import dataclasses
import itertools

import numpy as np
import pytest

from qis.outcomes import Moments, QuadraticLikelihood, Study


def by_counting(columns, size):
    """The smallest group by up to `size` columns, person by person."""
    groups = set()
    for chosen in itertools.combinations(range(len(columns)), size):
        rows = list(zip(*(columns[nth] for nth in chosen), strict=True))
        groups |= {rows.count(row) for row in set(rows)}
    return min(groups)


def table(rng, n=60, features=3):
    x = np.column_stack([np.ones(n), rng.random((n, features)) < 0.4]).astype(float)
    return x, (rng.random(n) < 0.3).astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_groups_are_those_of_the_rows(seed):
    rng = np.random.default_rng(seed)
    x, y = table(rng)
    x[:, 3] += rng.random(len(x)) < 0.3  # a column of three values
    known = QuadraticLikelihood.from_logistic(
        question="q", features=x, labels=y, anchor=[0.1, 0.2, 0.3, 0.0]
    ).known
    columns = [*x[:, 1:].T.tolist(), y.tolist()]
    assert known.smallest_cell == min(by_counting(columns, 1), by_counting(columns, 2))
    assert known.smallest_of_three == min(known.smallest_cell, by_counting(columns, 3))
    assert known.anchor == pytest.approx((0.1, 0.2, 0.3, 0.0))


def test_measured_columns_are_no_groups():
    rng = np.random.default_rng(1)
    known = QuadraticLikelihood.from_linear(
        question="q",
        features=rng.normal(size=(40, 2)),
        responses=rng.normal(size=40),
        residual_variance=2.0,
        anchor=[0.0, 0.0],
    ).known
    assert (known.smallest_cell, known.smallest_of_three, known.weight) == (0, 0, 0.5)
    assert known.largest_share == pytest.approx(1 / 40)


def test_an_anchor_laid_through_one_person_gives_that_person_most_of_the_information():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 2))
    x[0] = 9.0, 9.0
    y = (rng.random(200) < 0.5).astype(float)
    at = np.array([-50.0, 50.0])  # zero for the first person, far out for all others
    weights = 0.25 / np.cosh(x @ at / 2.0) ** 2
    known = QuadraticLikelihood.from_logistic(question="q", features=x, labels=y, anchor=at).known
    assert known.largest_share == pytest.approx(weights[0] / weights.sum())


def test_the_summary_goes_with_the_numbers_and_never_on_the_wire():
    values = [0.0] * 30 + [1.0] * 7
    outcome = Moments.from_values(values, question="q")
    assert outcome.known.smallest_cell == 7
    assert outcome.known.largest_share == pytest.approx(1 / 7)
    renamed = dataclasses.replace(outcome, study=Study(question="r"), question="", study_id=b"")
    assert renamed.known == outcome.known
    assert dataclasses.replace(outcome, total=400, study=None).known is None
    assert Moments.from_body(outcome.body()).known is None
    assert Moments.from_body(outcome.body()) == outcome
    assert "summary" not in repr(outcome)

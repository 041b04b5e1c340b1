"""Edges of the gate that a change of one operator crosses unseen elsewhere."""

import math

import numpy as np
import pytest

from qis.disclosure import Disclosure, PrivacyBudget
from qis.disclosure.consistent import most_likely
from qis.disclosure.formulas import estimates
from qis.disclosure.inversion import proven
from qis.disclosure.margins import Margins
from qis.disclosure.matrices import _yes_no
from qis.disclosure.own_intercept import with_own_intercept
from qis.disclosure.preview import _whatever_its_numbers
from qis.disclosure.privacy import _arm, _check_epsilon
from qis.disclosure.solved_groups import _sizes
from qis.disclosure.suppression import cells_of
from qis.disclosure.together import cuts_of, small_together
from qis.disclosure.triples import small_of_three
from qis.disclosure.two_by_two import tables
from qis.disclosure.weights import _events, _own_intercept
from qis.errors import DisclosureError, InputError
from qis.outcomes import Counts, Effect, Moments, QuadraticLikelihood
from tests._builders import people

KEY = bytes(range(32))
NOW = 1_800_000_000.0
CMS = Disclosure.preset("cms").rules


def refusal(gate, outcome, subjects=None):
    try:
        gate.check(outcome, subjects=subjects)
    except DisclosureError as error:
        return error
    return None


@pytest.mark.parametrize(("others", "field"), [(3, "answers"), (13, None)])
def test_the_control_arm_of_those_who_came_later_is_subtracted_too(others, field):
    gate = Disclosure.preset("cms")
    first = Counts(question="q", events=40, total=200, control_events=50, control_total=200)
    gate.release(first, now=NOW, subjects=people((0, 400)))
    added = 15 + others
    second = Counts(
        question="q", events=60, total=250, control_events=65, control_total=200 + added
    )
    error = refusal(gate, second, people((0, 450 + added)))
    assert (error.field if error else None) == field
    if error:
        assert error.actual == 3


@pytest.mark.parametrize(("beyond", "is_refused"), [(3, True), (30, False)])
def test_few_people_beyond_the_two_values_about_the_mean_are_seen(beyond, is_refused):
    values = [0.0] * 50 + [1.0] * 47 + [2.0] * beyond
    found = proven(Moments.from_values(values, question="q"), limit=11)
    assert (found.people if found else None) == (3 if is_refused else None)


@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_a_linear_model_with_its_own_intercept_is_read_by_an_outsider(variance):
    rng = np.random.default_rng(1)
    rows = (rng.random((90, 2)) < (0.4, 0.3)).astype(float)
    outcome = QuadraticLikelihood.from_linear(
        question="q", features=rows, responses=rng.normal(size=90), anchor=[0.0, 0.0],
        residual_variance=variance, own_intercept=True,
    )  # fmt: skip
    exact = rows.T @ rows
    mirrors = [np.abs(exact - found.pairs).max() for found in with_own_intercept(outcome)]
    assert min(mirrors) == 0


@pytest.mark.parametrize("price", [0.0, -1.0, math.inf, -math.inf, math.nan])
def test_no_price_but_a_positive_one_is_paid(price):
    budget = PrivacyBudget(epsilon=1.0)
    with pytest.raises(InputError):
        budget.spend(b"01234567", price, now=NOW)
    assert budget.spent(b"01234567") == 0.0


def test_sizes_are_solved_only_where_the_equations_tell_them_apart():
    sizes = np.array([20.0, 7.0, 33.0])
    rows = np.array([[1.0, 1.0, 1.0], [0.25, 0.1, 0.2], [0.2, 0.05, 0.25]])
    assert (_sizes(rows, rows @ sizes) == sizes).all()
    assert _sizes(rows, rows @ sizes + [0.0, 0.0, 3.0]) is None  # no whole numbers give that
    alike = np.array([[1.0, 1.0, 1.0], [0.25, 0.1, 0.1], [0.2, 0.05, 0.050001]])
    assert np.linalg.matrix_rank(alike) == 3
    assert _sizes(alike, alike @ sizes) is None


def test_of_several_small_cells_the_smallest_is_told():
    whole = Counts(question="q", events=5, total=65, control_events=9, control_total=120)
    exact, other = (whole.effect(measure) for measure in ("OR", "RD"))
    found = small_together(exact, [], cuts_of(other, exact), limit=11)
    assert (found.cell, found.people) == ("events", 5)


def test_a_column_of_ones_is_no_variable():
    table = np.array([[40.0, 40.0, 12.0], [40.0, 40.0, 12.0], [12.0, 12.0, 12.0]])
    assert _yes_no(table, 40) == [2]


@pytest.mark.parametrize(("few", "is_found"), [(3, True), (40, False)])
def test_a_group_by_three_that_every_table_has_is_found(few, is_found):
    patterns = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
    # What one of them may gain the other has to give, so that one of the two stays small.
    sizes = np.array([few, 40, 40, 40, 40, 40, 40, few])
    pairs = patterns.T @ (sizes[:, np.newaxis] * patterns)
    margins = Margins(("a", "b", "c"), int(sizes.sum()), pairs)
    found, is_searched = small_of_three(margins, limit=11)
    assert is_searched
    assert (found is not None) == is_found


@pytest.mark.parametrize("measure", ["MD", "ROM", "RD", "RR"])
def test_means_are_read_with_sample_variances_and_risks_with_those_of_the_binomial(measure):
    treated, control = np.r_[np.ones(14), np.zeros(26)], np.r_[np.ones(30), np.zeros(25)]
    one, other = treated.mean(), control.mean()
    ddof = 1 if measure in {"MD", "ROM"} else 0
    variances = treated.var(ddof=ddof) / 40, control.var(ddof=ddof) / 55
    if measure in {"ROM", "RR"}:
        expected = math.log(one / other), variances[0] / one**2 + variances[1] / other**2
    else:
        expected = one - other, sum(variances)
    estimate, (error, *_) = estimates(measure, np.array([[14.0, 26.0, 30.0, 25.0]]))
    assert (estimate[0], error[0] ** 2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("measure", ["RD", "MD", "OR", "RR"])
def test_no_table_has_fewer_than_no_people(measure):
    rng = np.random.default_rng(1)
    for _ in range(20):
        sizes, share = rng.integers(20, 90, 2), rng.uniform(0.01, 0.1)
        events = 1 + rng.binomial(sizes - 2, share)
        variance = (events * (sizes - events) / sizes**3.0).sum()
        one, other = events / sizes
        ratio, apart = one / other, one - other
        is_ratio = measure in {"OR", "RR"}
        outcome = Effect(
            question="q", measure=measure, n=int(sizes.sum()),
            estimate=round(float(np.log(ratio) if is_ratio else apart), 2),
            standard_error=round(float((1 / events).sum() if is_ratio else variance) ** 0.5, 2),
        )  # fmt: skip
        for found, _, _ in tables(outcome):
            assert (found >= 0).all()
            assert (found.sum(axis=1) == outcome.n).all()


def test_cells_are_those_of_both_arms_and_people_stand_for_the_cells_of_rates():
    arms = {"control_events": 5, "control_total": 50}
    assert cells_of(Counts(question="q", events=7, total=40, **arms)) == (7, 33, 5, 45)
    assert cells_of(Counts(question="q", events=7, total=40)) == (7, 33)
    times = {"person_time": 10.0, "control_person_time": 20.0}
    assert cells_of(Counts(question="q", events=7, total=40, **arms, **times)) == (7, 40, 5, 50)


@pytest.mark.parametrize("epsilon", [0.1, 10.0])
def test_the_ends_of_the_range_of_epsilon_are_in_it(epsilon):
    _check_epsilon(epsilon)
    for beyond in (epsilon * 0.999, epsilon * 1.001):
        if not 0.1 <= beyond <= 10.0:
            with pytest.raises(InputError):
                _check_epsilon(beyond)


def test_all_noise_that_is_not_negligible_is_summed_over():
    arm = _arm(100, 200, 1.0)
    whole = np.exp(arm.log_weights).sum()
    apart = np.abs(arm.events - 100) + np.abs(arm.people - arm.events - 200)
    q = math.exp(-1.0)  # the sum over both cells of q ** |noise|
    assert apart.max() >= 18
    assert whole == pytest.approx(((1.0 + q) / (1.0 - q)) ** 2, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_table_behind_an_answer_with_its_own_intercept_is_among_few(seed):
    rng = np.random.default_rng(seed)
    rows = (rng.random((90, 2)) < (0.4, 0.3)).astype(float)
    label = (rng.random(90) < 0.35).astype(float)
    outcome = QuadraticLikelihood.from_logistic(
        question="q", features=rows, labels=label, anchor=[0.0, 0.0], own_intercept=True
    )
    first, second, pairs = _own_intercept(outcome, 90, int(label.sum()))
    for column, fits in enumerate((first, second)):
        having, events = int(rows[:, column].sum()), int((rows[:, column] * label).sum())
        read = [(fit[0].people, fit[2].people) for fit in fits]
        assert (having, events) in read
        assert len(read) <= 4  # each N has a mirror image, and 16 bits leave little room
    one, other = rows.astype(int).T
    cells = (one & other).sum(), (one & ~other & 1).sum(), (other & ~one & 1).sum()
    assert [*cells, 90 - sum(cells)] in [[cell.people for cell in fit] for fit in pairs]


@pytest.mark.parametrize(("chance", "sign"), [(0.2, -1.0), (0.7, 1.0), (0.5, 1.0)])
def test_events_follow_from_weight_and_score(chance, sign):
    information, score = 40.0 * chance * (1.0 - chance), 11.0 - 40.0 * chance
    events, error = _events(np.array([40.0, 9.0]), information, score, sign, 1.0)
    assert events[0] == pytest.approx(11.0, abs=1e-6 + error[0] if chance == 0.5 else 1e-6)
    if information / 9.0 > 0.26:
        assert math.isnan(events[1])  # no probability gives so few people that weight


def test_a_value_may_be_half_as_much_again_as_frequent_as_chance_makes_it():
    assert [most_likely(limit) for limit in (1, 2, 4, 11)] == [1.0, 1.0, 0.5, 0.15]


def test_only_a_full_arm_of_people_is_told_to_be_full():
    arm = {"question": "q", "total": 20}
    assert _whatever_its_numbers(Counts(events=5, **arm)) == []
    assert _whatever_its_numbers(Counts(events=20, person_time=4.0, **arm)) == []
    assert "everybody" in _whatever_its_numbers(Counts(events=20, **arm))[0]

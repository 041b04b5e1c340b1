"""What the rows decide: small groups at any anchor, people who weigh too much, three columns.

The groups are counted here person by person.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from qis.disclosure import Disclosure
from qis.disclosure.margins import Margins, margins_of
from qis.disclosure.reconstruction import certain_records, records_that_fit
from qis.disclosure.triples import small_of_three, tables_of_three
from qis.errors import DisclosureError
from qis.outcomes import Moments, QuadraticLikelihood

SEEDS = st.integers(0, 2**32)


def refusal(outcome, preset="cms"):
    try:
        Disclosure.preset(preset).check(outcome)
    except DisclosureError as error:
        return error
    return None


def rows_of(groups):
    """One row a person, from the number of people in each group of yes/no columns."""
    return np.repeat([list(group) for group in groups], list(groups.values()), axis=0).astype(float)


def made(rows, label, place, coding, anchor_of_intercept):
    zero, step = coding
    x = np.insert(zero + step * rows, place, 1.0, axis=1)
    anchor = np.zeros(x.shape[1])
    anchor[place] = anchor_of_intercept
    return QuadraticLikelihood.from_logistic(question="q", features=x, labels=label, anchor=anchor)


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    place=st.integers(0, 2),
    coding=st.sampled_from([(0.0, 1.0), (-1.0, 2.0), (1.0, 1.0), (-0.5, 1.0)]),
    at=st.sampled_from([0.0, -1.0, 0.7]),
)
def test_every_pair_of_columns_is_read_wherever_ones_are_and_however_coded(seed, place, coding, at):
    rng = np.random.default_rng(seed)
    rows = (rng.random((200, 2)) < rng.uniform(0.2, 0.8, 2)).astype(float)
    label = (rng.random(200) < 0.4).astype(float)
    table = np.column_stack([rows, label])
    found = list(margins_of(made(rows, label, place, coding, at)))
    assert any(np.array_equal(margins.pairs, table.T @ table) for margins in found)


def test_a_linear_model_is_read_whatever_its_variance():
    rng = np.random.default_rng(3)
    rows = (rng.random((150, 2)) < 0.4).astype(float)
    outcome = QuadraticLikelihood.from_linear(
        question="q",
        features=np.column_stack([rows, np.ones(150)]),
        responses=rng.normal(size=150),
        residual_variance=3.7,
        anchor=[0.0, 0.0, 0.0],
    )
    assert any(np.array_equal(each.pairs, rows.T @ rows) for each in margins_of(outcome))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, features=st.integers(1, 5), is_small=st.booleans())
def test_a_small_pair_in_the_rows_is_kept_back_at_any_anchor(seed, features, is_small):
    rng = np.random.default_rng(seed)
    groups = {
        group: int(rng.integers(33, 60)) for group in itertools.product((0, 1), repeat=features + 1)
    }
    rows = rows_of(groups)
    if is_small:  # a column that few people have
        rare = np.zeros(len(rows))
        rare[rng.choice(len(rows), size=rng.integers(1, 11), replace=False)] = 1.0
        rows = np.column_stack([rare, rows])
    x = np.column_stack([np.ones(len(rows)), rows[:, :-1]])
    outcome = QuadraticLikelihood.from_logistic(
        question="q", features=x, labels=rows[:, -1], anchor=rng.normal(0.0, 0.8, x.shape[1])
    )
    error = refusal(outcome)
    assert (error is not None) == is_small
    if error is not None:
        assert error.field == "implied_cell"


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.integers(0, 12), min_size=8, max_size=8))
def test_all_tables_of_three_columns_with_the_same_pairs_are_tried(cells):
    groups = dict(zip(itertools.product((0, 1), repeat=3), cells, strict=True))
    rows = rows_of(groups) if sum(cells) else np.zeros((0, 3))
    pairs = (rows.T @ rows).astype(int)
    margins = Margins(("a", "b", "c"), len(rows), pairs)
    found = {tuple(table) for table in tables_of_three(margins, (0, 1, 2)).tolist()}
    by_hand = set()
    for free in range(sum(cells) + 1):
        shift = free - cells[7]
        other = [
            cell + shift * (-1) ** (3 - sum(group))
            for group, cell in zip(groups, cells, strict=True)
        ]
        if min(other) >= 0:
            by_hand.add(tuple(other))
    assert found == by_hand


def test_a_group_by_three_that_follows_from_the_pairs_is_kept_back():
    groups = dict.fromkeys(itertools.product((0, 1), repeat=3), 40)
    groups[1, 1, 1], groups[1, 1, 0] = 4, 12  # 16 have both: 0 and 16 do not fit, nor 11 and 5
    groups[0, 1, 0] = groups[1, 0, 0] = 11
    rows = rows_of(groups)
    margins = Margins(("a", "b", "c"), len(rows), (rows.T @ rows).astype(int))
    tables = tables_of_three(margins, (0, 1, 2))
    expected = not ((tables == 0) | (tables >= 11)).all(axis=1).any()
    small, searched = small_of_three(margins, limit=11)
    assert searched
    assert (small is not None) == expected


def test_no_person_has_more_than_a_limits_part_of_the_information():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 2))
    x[0] = 9.0, 9.0
    label = (rng.random(300) < 0.5).astype(float)
    through = QuadraticLikelihood.from_logistic(
        question="q", features=x, labels=label, anchor=[-50.0, 50.0]
    )
    error = refusal(through)
    assert error.field == "largest_share"
    assert error.actual > error.limit == pytest.approx(1 / 11)
    fair = QuadraticLikelihood.from_logistic(question="q", features=x, labels=label, anchor=[0, 0])
    assert refusal(fair) is None


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([1.0] * 40 + [2.5] * 40 + [4.0] * 40, None),
        ([*np.linspace(0.1, 1.0, 100), 4_000.0], "dominance"),  # one has nearly all
        ([*np.linspace(0.1, 1.0, 100), 900.0, 10.0], "dominance"),  # the others are 6 % of it
        ([*np.linspace(0.1, 1.0, 100), 90.0, 80.0], None),
    ],
)
def test_one_person_does_not_make_a_mean(values, rule):
    error = refusal(Moments.from_values(values, question="q"))
    assert (error.field if error else None) == rule


def test_a_rare_value_is_seen_in_the_rows_however_it_is_coded():
    values = [17.3] * 100 + [41.9] * 6
    assert refusal(Moments.from_values(values, question="q")).field == "implied_cell"


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 9), columns=st.integers(1, 3))
def test_all_tables_of_records_with_the_same_pairs_are_found(seed, n, columns):
    """All splits of n people into the patterns are tried here one by one."""
    rng = np.random.default_rng(seed)
    rows = (rng.random((n, columns)) < 0.4).astype(int)
    margins = Margins(("a", "b", "c")[:columns], n, rows.T @ rows)
    found = records_that_fit(margins)
    patterns = np.array(list(itertools.product((0, 1), repeat=columns)))
    by_hand = []
    for cuts in itertools.combinations(range(n + len(patterns) - 1), len(patterns) - 1):
        sizes = np.diff([-1, *cuts, n + len(patterns) - 1]) - 1
        if np.array_equal(patterns.T @ (sizes[:, np.newaxis] * patterns), margins.pairs):
            pairs = zip(map(tuple, patterns.tolist()), sizes.tolist(), strict=True)
            by_hand.append({pattern: size for pattern, size in pairs if size})
    assert sorted(map(sorted, map(dict.items, found))) == sorted(
        map(sorted, map(dict.items, by_hand))
    )
    certain = certain_records(found)
    assert all(min(table.get(p, 0) for table in by_hand) == few for p, few in certain.items())


def test_the_preview_of_four_people_shows_their_records():
    rng = np.random.default_rng(5)
    rows = np.column_stack([np.ones(4), rng.random((4, 4)) < 0.5]).astype(float)
    label = np.array([1.0, 0.0, 0.0, 1.0])
    outcome = QuadraticLikelihood.from_logistic(
        question="q", features=rows, labels=label, anchor=np.zeros(5)
    )
    preview = Disclosure.preset("cms").preview(outcome)
    assert preview.refusal
    shown = [line for line in preview.learns if line.startswith("reconstructed: ")]
    whole = {tuple(row) for row in np.column_stack([rows[:, 1:], label]).tolist()}
    for line in shown:
        words = line.partition(" with ")[2].split(", ")
        assert tuple(float(not word.startswith("not ")) for word in words) in whole
    assert shown


def test_standardised_values_are_not_taken_for_a_yes_no_variable():
    values = np.random.default_rng(6).normal(size=442)
    values -= values.mean()
    values /= np.linalg.norm(values)  # mean 0 but for rounding errors, sum of squares 1
    assert refusal(Moments.from_values(values, question="q")) is None
    assert refusal(Moments.from_values(values, question="q").effect("MN")) is None

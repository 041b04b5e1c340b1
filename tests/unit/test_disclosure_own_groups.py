"""Several answers with an intercept of the site's own, and what releases show that overlap."""

import itertools

import numpy as np
import pytest

from qis.disclosure import Disclosure, subject_hashes
from qis.disclosure.answer_tables import AnswerTables
from qis.disclosure.unions import Release, of_unions, unsearched
from qis.errors import DisclosureError
from qis.outcomes import Counts, QuadraticLikelihood

PATTERNS = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
SIZES = np.array([40, 35, 30, 28, 45, 33, 29, 31, 38, 36, 27, 41, 30, 26, 34, 3])
ANCHORS = [[0.0] * 4, [0.8, -0.5, 0.6, -0.7], [-0.6, 0.9, 0.4, 0.8]]
ROWS = np.repeat(PATTERNS, SIZES, axis=0)
WHO = subject_hashes(map(str, range(len(ROWS))), key=bytes(32))


def answer(anchor, *, read_back=False, rows=ROWS):
    """Half of each group have the event, so that no group by three columns is small."""
    labels = np.concatenate(
        [np.arange(n) % 2 for n in np.unique(rows, axis=0, return_counts=True)[1]]
    )
    made = QuadraticLikelihood.from_logistic(
        question="q", features=rows, labels=labels, anchor=anchor, own_intercept=True
    )
    return QuadraticLikelihood.from_body(made.body()) if read_back else made


def published(sizes, anchor, events):
    """The information of the other coefficients, given the intercept that fits the events."""
    eta, low, high = PATTERNS @ anchor, -30.0, 30.0
    for _ in range(45):
        middle = (low + high) / 2
        expected = (sizes / (1 + np.exp(-eta - middle))).sum()
        low, high = (middle, high) if expected < events else (low, middle)
    p = 1 / (1 + np.exp(-eta - low))
    weight = p * (1 - p) * sizes
    wide = np.column_stack([np.ones(len(eta)), PATTERNS])
    full = wide.T @ (weight[:, np.newaxis] * wide)
    return (full[1:, 1:] - np.outer(full[0, 1:], full[0, 1:]) / full[0, 0])[np.triu_indices(4)]


def attacked(answers):
    """Newton's steps, from sizes that are known roughly, towards those that give all numbers."""
    n, events = answers[0].n, answers[0].events
    told = np.concatenate([each.information[np.triu_indices(4)] for each in answers])

    def numbers(sizes):
        each = [published(sizes, np.array(at), events) for at in ANCHORS[: len(answers)]]
        return np.r_[np.concatenate(each), sizes.sum()]

    sizes = SIZES + np.random.default_rng(3).uniform(-8.0, 8.0, 16)
    wanted = np.r_[told, n]
    for _ in range(6):
        steps = 0.01 * np.eye(16)
        slopes = np.column_stack(
            [(numbers(sizes + step) - numbers(sizes - step)) / 0.02 for step in steps]
        )
        sizes = sizes + np.linalg.lstsq(slopes, wanted - numbers(sizes), rcond=1e-7)[0]
        sizes = np.maximum(sizes, 0.0)
    return float(np.abs(sizes - SIZES).max())


def test_two_answers_tell_groups_that_one_does_not():
    """The attack succeeds with the gate off, and the gate refuses the second answer."""
    answers = [answer(at) for at in ANCHORS]
    assert attacked(answers) < 0.5
    assert attacked(answers[:1]) > 3.0
    gate = Disclosure.preset("cms")
    gate.release(answers[0], now=0.0, subjects=WHO)
    with pytest.raises(DisclosureError) as refusal:
        gate.check(answers[1], subjects=WHO)
    assert (refusal.value.field, refusal.value.actual) == ("answers", 3)


@pytest.mark.parametrize("slope", [1e-6, 1.0])
def test_a_measured_column_hides_groups_only_where_an_anchor_moves_it(slope):
    """It is in large units, and its coefficient near zero or not."""
    ages = np.random.default_rng(1).normal(60.0, 10.0, len(ROWS))
    labels = np.concatenate([np.arange(n) % 2 for n in SIZES])

    def beside(anchor, slope):
        return QuadraticLikelihood.from_logistic(
            question="q",
            features=np.column_stack((ROWS, ages)),
            labels=labels,
            anchor=[*anchor, slope],
            own_intercept=True,
        )

    gate = Disclosure.preset("cms")
    gate.release(beside(ANCHORS[0], 0.0), now=0.0, subjects=WHO)
    second = beside(ANCHORS[1], slope / 10.0)
    if slope < 0.5:
        with pytest.raises(DisclosureError) as refusal:
            gate.check(second, subjects=WHO)
        assert (refusal.value.field, refusal.value.actual) == ("answers", 3)
    else:
        gate.check(second, subjects=WHO)
        assert "groups by all columns" in " ".join(gate.not_searched(second, subjects=WHO))


def test_answers_pass_if_no_group_is_small():
    """Then what they tell is harmless, however much it is."""
    rows = np.repeat(PATTERNS, np.maximum(SIZES, 25), axis=0)
    who = subject_hashes(map(str, range(len(rows))), key=bytes(32))
    gate = Disclosure.preset("cms")
    for anchor in ANCHORS:
        outcome = answer(anchor, rows=rows)
        gate.release(outcome, now=0.0, subjects=who)
        assert gate.not_searched(outcome, subjects=who) == ()


def test_answers_without_rows_are_not_solved_and_that_is_told():
    """Few people are refused for it: five for each coefficient of all answers, times the limit."""
    gate = Disclosure.preset("cms")
    first, second, third = (answer(at, read_back=True) for at in ANCHORS)
    gate.release(first, now=0.0, subjects=WHO)
    assert "groups by all columns" in " ".join(gate.not_searched(second, subjects=WHO))
    assert any("not searched: groups by all" in line
               for line in gate.preview(second, subjects=WHO).learns)  # fmt: skip
    gate.release(second, now=0.0, subjects=WHO)
    with pytest.raises(DisclosureError) as refusal:
        gate.check(third, subjects=WHO)
    assert (refusal.value.field, refusal.value.limit) == ("not_searched", 5 * 4 * 3 * 11)


def release(people, events):
    tables = AnswerTables({"arm": np.array([[events, len(people) - events]], dtype=float)})
    return Release({bytes([who]): b"" for who in people}, tables)


def span(rows, union):
    return np.abs(np.linalg.lstsq(rows.T, union, rcond=None)[0] @ rows - union).max() < 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_every_union_with_a_small_cell_that_a_release_tells_is_found(seed):
    """Against trying each union of people whom no release tells apart by itself."""
    rng = np.random.default_rng(seed)
    ill = rng.integers(0, 2, 12)
    groups = [rng.integers(0, 2, 12).astype(bool) for _ in range(6)]
    groups = [group for group in groups if group.any()]
    releases = [release(np.flatnonzero(group).tolist(), int(ill[group].sum())) for group in groups]
    found = {
        tuple(map(int, row))
        for tables in of_unions(releases[-1], releases[:-1])
        for row in tables.forms["arm"]
    }
    inside = np.array(groups, dtype=float)
    atoms, where = np.unique(inside, axis=1, return_inverse=True)
    chosen = [nth for nth in range(atoms.shape[1]) if atoms[:, nth].any()]
    assert 0 < len(chosen) <= 12
    told = [nth for nth in chosen if span(atoms, np.eye(atoms.shape[1])[nth])]
    rest = [nth for nth in chosen if nth not in told]
    unions = [(nth,) for nth in told]
    for size in range(2, (len(rest) if len(rest) <= 10 else 3) + 1):
        unions += itertools.combinations(rest, size)
    for union in unions:
        vector = np.isin(np.arange(atoms.shape[1]), union).astype(float)
        if span(atoms, vector) and not span(atoms[:-1], vector):
            people = np.isin(where.ravel(), union)
            assert (int(ill[people].sum()), int(people.sum() - ill[people].sum())) in found


def test_what_is_not_tried_of_many_groups_is_told():
    """Of a ring of groups each release holds two neighbours, and no sum one group alone."""

    def ring(size):
        return [release([who, (who + 1) % size], 1) for who in range(size)]

    assert unsearched(release([1], 0), []) == ""
    apart = [release([who], 0) for who in range(70)]
    assert unsearched(apart[0], apart[1:]) == ""
    for size, word in ((10, ""), (12, "more than 3"), (70, "more than 2")):
        one, *others = ring(size)
        said = unsearched(one, others)
        assert word in said
        assert bool(word) == bool(said)
    assert "before the newest 200" in unsearched(apart[0], apart * 3)
    wide = [
        Release(
            {who.to_bytes(2, "big"): b"" for who in range(1_100) if who >> bit & 1},
            apart[0].tables,
        )
        for bit in range(11)
    ]
    assert "over 1,000 groups" in unsearched(wide[0], wide[1:])


def test_a_release_of_few_people_beside_many_groups_is_refused():
    gate = Disclosure.preset("cms")
    rest = [range(40 * nth, 40 * nth + 40) for nth in range(12)]
    for nth, people in enumerate(rest):
        both = [*people, *rest[(nth + 1) % 12]]
        part = Counts(question="q", cohort=str(nth), events=40, total=80)
        gate.release(part, now=0.0, subjects=subject_hashes(map(str, both), key=bytes(32)))
    for total, field in ((40, "not_searched"), (80, None)):
        last = Counts(question="q", cohort="last", events=20, total=total)
        who = subject_hashes(map(str, range(1_000, 1_000 + total)), key=bytes(32))
        if field is None:
            gate.check(last, subjects=who)
            assert "more than 3 groups" in " ".join(gate.not_searched(last, subjects=who))
            continue
        with pytest.raises(DisclosureError) as refusal:
            gate.check(last, subjects=who)
        assert (refusal.value.field, refusal.value.limit) == (field, 55)

"""Answers about the same people: each passes alone, and together they are refused."""

from dataclasses import replace

import numpy as np
import pytest

from qis.disclosure import PRESETS, Disclosure
from qis.disclosure.told_groups import told_groups
from qis.errors import DisclosureError
from qis.outcomes import Counts, Effect, Moments, QuadraticLikelihood
from qis.outcomes._base import knowing
from tests._builders import people

KEY = bytes(range(32))
NOW = 1_800_000_000.0
ANCHORS = (  # a site's own start, and where a false member pulled its second answer
    (-0.2162960171699524, 0.0, 0.0, 0.0, 0.0),
    (
        -0.939400851726532,
        -1.218467354774475,
        -0.03725156560540199,
        1.5886353254318237,
        -0.021176237612962723,
    ),
)


def refusal(gate, outcome, subjects=None):
    try:
        gate.check(outcome, subjects=subjects)
    except DisclosureError as error:
        return error
    return None


def gate_after(tmp_path, *released):
    """A gate that has released these, with its ledger read again from the disk."""
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "releases.jsonl"
    gate = Disclosure.preset("cms", ledger=path)
    for outcome, subjects in released:
        gate.release(outcome, now=NOW, subjects=subjects)
    return Disclosure.preset("cms", ledger=path)


def model(rng, n, size, anchor=None, rows=None):
    x = rng.normal(size=(n, size)) if rows is None else rows
    at = rng.normal(0.0, 0.3, size) if anchor is None else anchor
    label = np.arange(n) % 2
    return QuadraticLikelihood.from_logistic(
        question="q", features=x, labels=label.astype(float), anchor=at
    )


def test_answers_at_many_anchors_are_paid_from_one_budget(tmp_path):
    rng = np.random.default_rng(1)
    rows, who = rng.normal(size=(200, 8)), people((0, 200))
    answers = [model(rng, 200, 8, rows=rows) for _ in range(6)]
    gate = gate_after(tmp_path, *((answer, who) for answer in answers[:5]))  # 5 · 8 · 5 = 200
    error = refusal(gate, answers[5], who)
    assert (error.field, error.limit) == ("answers", 240)
    assert refusal(gate, answers[0], who) is None  # given already
    assert refusal(gate_after(tmp_path / "other", (answers[0], who)), answers[1], who) is None


def test_a_linear_model_says_the_same_at_each_anchor(tmp_path):
    rng = np.random.default_rng(2)
    rows, values, who = rng.normal(size=(60, 6)), rng.normal(size=60), people((0, 60))
    answers = [
        QuadraticLikelihood.from_linear(
            question="q", features=rows, responses=values, residual_variance=1.0, anchor=at
        )
        for at in rng.normal(0.0, 0.2, size=(4, 6))
    ]
    gate = gate_after(tmp_path, *((answer, who) for answer in answers[:3]))
    assert refusal(gate, answers[3], who) is None


def test_rounded_estimates_of_one_table_are_inverted_together(tmp_path):
    whole = Counts(question="q", events=5, total=65, control_events=60, control_total=120)
    who = people((0, 185))
    rounded = [
        Effect(question="q", measure=exact.measure, estimate=round(exact.estimate, 2),
               standard_error=round(exact.standard_error, 2), n=exact.n)
        for exact in (whole.effect(measure) for measure in ("OR", "RD"))
    ]  # fmt: skip
    assert [refusal(Disclosure.preset("cms"), answer) for answer in rounded] == [None] * 2
    error = refusal(gate_after(tmp_path, (rounded[0], who)), rounded[1], who)
    assert (error.field, 0 < error.actual < 11) == ("answers", True)
    assert refusal(gate_after(tmp_path, (rounded[0], who)), rounded[0], who) is None


@pytest.mark.parametrize("events", [43, 60])
def test_the_people_who_came_later_are_a_table_too(tmp_path, events):
    first = Counts(question="q", events=40, total=200)
    gate = gate_after(tmp_path, (first, people((0, 200))))
    error = refusal(gate, Counts(question="q", events=events, total=260), people((0, 260)))
    assert (error.field if error else None) == ("answers" if events == 43 else None)
    if error:
        assert error.actual == 3
        assert "3" not in str(error).split("the limit")[0].replace("cms", "")


def test_moments_of_those_who_came_later_are_subtracted(tmp_path):
    early, late = [0.0] * 60 + [1.0] * 40, [0.0] * 36 + [1.0] * 4
    gate = gate_after(tmp_path, (Moments.from_values(early, question="q"), people((0, 100))))
    error = refusal(gate, Moments.from_values(early + late, question="q"), people((0, 140)))
    assert error.field == "answers"


def test_a_union_less_its_disjoint_parts_is_a_table(tmp_path):
    parts = [
        (Counts(question="q", cohort="a", events=30, total=100), people((0, 100))),
        (Counts(question="q", cohort="b", events=30, total=100), people((100, 200))),
    ]
    union = Counts(question="q", cohort="all", events=75, total=260)  # 15 of 60: fine
    assert refusal(gate_after(tmp_path, *parts), union, people((0, 260))) is None
    fewer = Counts(question="q", cohort="all", events=65, total=260)  # 5 of 60
    assert (
        refusal(gate_after(tmp_path / "other", *parts), fewer, people((0, 260))).field == "answers"
    )


def test_models_of_those_who_came_later_are_subtracted(tmp_path):
    rng = np.random.default_rng(3)
    has = np.r_[np.arange(200) % 2, np.arange(60) < 4].astype(float)
    label = (np.arange(260) // 2 % 2).astype(float)
    rows = np.column_stack([np.ones(260), has])
    order = rng.permutation(200)

    def answer(chosen):
        return QuadraticLikelihood.from_logistic(
            question="q", features=rows[chosen], labels=label[chosen], anchor=[0.0, 0.0]
        )

    gate = gate_after(tmp_path, (answer(order), people((0, 200))))
    error = refusal(gate, answer(np.r_[order, np.arange(200, 260)]), people((0, 260)))
    assert error.field == "answers"


def test_groups_that_one_anchor_hides_follow_from_several(tmp_path):
    rng = np.random.default_rng(4)
    groups = np.array([[i >> 3 & 1, i >> 2 & 1, i >> 1 & 1] for i in range(16)], dtype=float)
    sizes = np.full(16, 40)
    sizes[14:] = 2, 3  # five people have all three features, and each pair of columns is large
    rows = np.repeat(groups, sizes, axis=0)
    label = np.repeat(np.arange(16) % 2, sizes).astype(float)
    x, who = np.column_stack([np.ones(len(rows)), rows]), people((0, len(rows)))

    def answer():
        return QuadraticLikelihood.from_logistic(
            question="q", features=x, labels=label, anchor=rng.normal(0.0, 0.8, 4)
        )

    first, *later = [answer() for _ in range(4)]
    gate = Disclosure.preset("cms")
    assert refusal(gate, first, who) is None
    gate.release(first, now=NOW, subjects=who)
    refused = []
    for each in later:
        error = refusal(gate, each, who)
        refused.append(error.field if error else None)
        if error is None:
            gate.release(each, now=NOW, subjects=who)
    assert "answers" in refused


def test_the_log_likelihood_is_one_more_equation_for_the_sizes_of_groups():
    """Sizes are less uncertain with it than without it, and those told are right."""
    more = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = np.column_stack([np.ones(300), rng.random((300, 3)) < 0.4]).astype(float)
        y = (rng.random(300) < 0.4).astype(float)
        told = QuadraticLikelihood.from_logistic(
            question="q", features=x, labels=y, anchor=rng.normal(size=4)
        )
        bare = knowing(replace(told, study_id=told.study_id, log_likelihood=None), told.known)
        groups, fewer = told_groups([told]), told_groups([bare])
        more += int(groups.spread.sum() < fewer.spread.sum())
        true = [(x[:, 1:] == pattern).all(axis=1).sum() for pattern in groups.patterns]
        # Of 16 bits, so some are off by one or two; the gate counts them as told.
        assert (np.abs(groups.sizes - true) < 3)[groups.is_told].all()
    assert more > 0


@pytest.mark.parametrize("columns", [4, 5])
def test_whole_numbers_are_told_where_the_equations_leave_more_open(columns):
    """Sizes that are sure by rounding tell the others, and no small one that is told is missed."""
    exact = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = np.column_stack([np.ones(300), rng.random((300, columns)) < 0.4]).astype(float)
        y = (rng.random(300) < 0.4).astype(float)
        answers = [
            QuadraticLikelihood.from_logistic(question="q", features=x, labels=y, anchor=at)
            for at in rng.normal(size=(2, columns + 1))
        ]
        groups = told_groups(answers)
        true = np.array([(x[:, 1:] == at).all(axis=1).sum() for at in groups.patterns])
        assert (np.abs(groups.sizes - true) < np.maximum(groups.spread, 0.9))[groups.is_told].all()
        few = groups.patterns[groups.is_told & (true > 0) & (true < 11)]
        assert {tuple(pattern) for pattern in few.tolist()} <= groups.small(11).keys()
        exact += int((np.rint(groups.sizes) == true)[groups.is_told].sum())
    assert exact > 0.9 * 12 * 2**columns


def test_whole_numbers_are_told_where_no_size_alone_is_sure():
    """One answer of 17 or 22 equations with uncertainties of many people tells all sizes."""
    for columns in (4, 5):
        rng = np.random.default_rng(columns)
        x = np.column_stack([np.ones(300), rng.random((300, columns)) < 0.4]).astype(float)
        answer = QuadraticLikelihood.from_logistic(
            question="q",
            features=x,
            labels=(rng.random(300) < 0.4).astype(float),
            anchor=rng.normal(size=columns + 1),
        )
        groups = told_groups([answer])
        true = [(x[:, 1:] == pattern).all(axis=1).sum() for pattern in groups.patterns]
        assert groups.is_told.all()
        assert np.rint(groups.sizes).tolist() == true


def test_eight_people_whom_two_answers_tell_by_whole_numbers_alone_stay_hidden():
    """Each size alone is uncertain by up to 0.95 people, and six that are less so tell the rest."""
    rng = np.random.default_rng(163)
    assert (rng.integers(3, 6), rng.integers(120, 500)) == (4, 426)
    x = (rng.random((426, 4)) < rng.uniform(0.3, 0.7, 4)).astype(float)
    y = (rng.random(426) < 0.45).astype(float)
    first, second = (
        QuadraticLikelihood.from_logistic(
            question="q", features=np.column_stack([np.ones(426), x]), labels=y, anchor=anchor
        )
        for anchor in ANCHORS
    )
    group = (1.0, 1.0, 1.0, 0.0)
    assert (x == group).all(axis=1).sum() == 8
    assert group not in told_groups([first]).small(11)
    assert told_groups([first, second]).small(11)[group] == 8
    gate, who = Disclosure.preset("cms"), people((0, 426))
    gate.release(first, now=NOW, subjects=who)
    error = refusal(gate, second, who)
    assert (error.field, error.actual) == ("answers", 8)


def steered(seed, answers=4):
    """Rows in four yes/no columns, and answers at anchors that somebody steers about."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(400), rng.random((400, 4)) < 0.5]).astype(float)
    y = (rng.random(400) < 0.45).astype(float)
    subjects = people((0, 400))
    made = []
    for number in range(answers):
        anchor = np.zeros(5) if not number else np.append(-0.2, rng.normal(0, 1, 4))
        made.append(
            QuadraticLikelihood.from_logistic(question="q", features=x, labels=y, anchor=anchor)
        )
    return x, made, subjects


def test_steered_answers_tell_groups_by_all_columns_and_are_refused_before_they_do():
    told = refused = 0
    for seed in range(8):
        x, answers, subjects = steered(seed)
        true = {
            pattern: int((x[:, 1:] == pattern).all(axis=1).sum())
            for pattern in map(tuple, np.unique(x[:, 1:], axis=0))
        }
        limit = min(true.values()) + 1  # so that some group is small
        rules = replace(PRESETS["cms"], minimum_cell=min(limit, 25), people_per_coefficient=1)
        together = told_groups(answers)
        small = together.small(rules.minimum_cell)
        told += bool(small)
        assert all(true[pattern] == size for pattern, size in small.items())  # and rightly
        gate = Disclosure(rules)
        left = []
        for answer in answers:
            if refusal(gate, answer, subjects) is None:
                gate.release(answer, now=NOW, subjects=subjects)
                left.append(answer)
        refused += len(left) < len(answers)
        first = told_groups(left[:1]).small(rules.minimum_cell)
        assert told_groups(left).small(rules.minimum_cell).keys() <= first.keys()
        if small.keys() - first.keys():
            assert len(left) < len(answers)
    assert told > 4
    assert refused > 4


@pytest.mark.parametrize("slope", [1e-6, 5e-4, 1.0])
def test_a_steered_anchor_does_not_hide_groups_behind_a_column_that_it_hardly_moves(slope):
    """With a measured column the groups are told while its coefficient is near zero."""
    told = refused = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = np.column_stack(
            [np.ones(400), rng.normal(60.0, 10.0, 400), rng.random((400, 4)) < 0.5]
        ).astype(float)
        y = (rng.random(400) < 0.45).astype(float)
        anchors = [np.zeros(6)]
        anchors += [np.append([0.5, slope / 10.0], rng.normal(0, 1, 4)) for _ in range(3)]
        anchors[1:] = [each - np.eye(6)[0] * 6.0 * slope for each in anchors[1:]]
        answers = [
            QuadraticLikelihood.from_logistic(question="q", features=x, labels=y, anchor=each)
            for each in anchors
        ]
        groups = told_groups(answers)
        true = [(x[:, 2:] == pattern).all(axis=1).sum() for pattern in groups.patterns]
        assert (np.abs(groups.sizes - true) < 3)[groups.is_told].all()
        told += groups.is_told.sum()
        rules = replace(PRESETS["cms"], minimum_cell=min(true) + 1, people_per_coefficient=1)
        gate, subjects = Disclosure(rules), people((0, 400))
        for answer in answers:
            if refusal(gate, answer, subjects) is None:
                gate.release(answer, now=NOW, subjects=subjects)
            else:
                refused += 1
        last = gate.preview(answers[-1], subjects=subjects)
        hidden = "not searched: groups by all" in "\n".join(last.learns)
        assert hidden == (slope > 0.5)
    assert (told > 30) == (slope < 0.01) == (refused > 0)


def test_the_preview_says_what_an_answer_tells_together_with_the_former_ones():
    _, answers, subjects = steered(1)
    gate = Disclosure.preset("none")
    lines = gate.preview(answers[0], subjects=subjects).learns
    assert not [line for line in lines if line.startswith("answer")]
    gate.release(answers[0], now=NOW, subjects=subjects)
    gate.release(answers[1], now=NOW, subjects=subjects)
    (line,) = [
        line
        for line in gate.preview(answers[2], subjects=subjects).learns
        if line.startswith("answer")
    ]
    assert line.startswith("answer 3 about the same people: with the first 2 one could read")
    assert "16 of 16 groups" in line

"""What insiders learn: the attacks are run here on outcomes of simulated sites, in another way.

The attacker below knows the population and one record, and gets an outcome as it travels. Nothing
of the attack is taken from `qis.disclosure`, which only predicts how well it goes.
"""

import math

import numpy as np
import pytest

from qis.disclosure import PRESETS, Disclosure, membership_auc
from qis.errors import InputError
from qis.outcomes import Effect, Moments, QuadraticLikelihood

Q = "q"
GATE = Disclosure(PRESETS["none"])


def auc(members, others):
    """Chance that a member scores higher than another; ties count half (Mann & Whitney)."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, "left")
    at_most = np.searchsorted(ordered, members, "right")
    return float((below + at_most).mean() / 2 / len(others))


def people(random, n, size):
    """Features, the first one for all, and labels that depend on them."""
    x = np.column_stack([np.ones(n), random.normal(size=(n, size - 1))])
    y = (random.random(n) < 1 / (1 + np.exp(-x @ np.full(size, 0.3)))).astype(float)
    return x, y


def matrix_of(x, y):
    return QuadraticLikelihood.from_logistic(
        question=Q, features=x, labels=y, anchor=np.zeros(x.shape[1])
    )


def terms(x, y):
    """What each person adds at a zero anchor: to the score, and to the information."""
    rows, columns = np.tril_indices(x.shape[1])
    return np.column_stack([(y - 0.5)[:, None] * x, 0.25 * x[:, rows] * x[:, columns]])


class Attacker:
    """The likelihood ratio of two normal laws of a sum: with this person in it, and without."""

    def __init__(self, sample):
        self.mean = sample.mean(axis=0)
        self.inverse = np.linalg.pinv(np.cov(sample.T), rcond=1e-9)

    def scores(self, candidates, total, n):
        off = candidates - self.mean
        pull = off @ self.inverse
        return pull @ (total - n * self.mean) - 0.5 * (pull * off).sum(axis=1)


@pytest.mark.parametrize(("size", "n"), [(2, 11), (4, 20), (8, 40), (14, 70), (14, 280)])
def test_membership_in_score_and_information_is_as_easy_as_predicted(size, n):
    random = np.random.default_rng(size * n)
    attacker = Attacker(terms(*people(random, 40_000, size)))
    lower = np.tril_indices(size)
    members, others = [], []
    for _ in range(max(20, 1200 // n)):
        x, y = people(random, n, size)
        packet = matrix_of(x, y)
        total = np.concatenate([packet.score, packet.information[lower]])
        members.extend(attacker.scores(terms(x, y), total, n))
        others.extend(attacker.scores(terms(*people(random, n, size)), total, n))
    # The intercept's own entry is n / 4 whoever they are.
    predicted = membership_auc(size + size * (size + 1) // 2 - 1, n)
    assert auc(members, others) == pytest.approx(predicted, abs=0.035)
    assert f"about {predicted:.2f}" in str(GATE.preview(packet))


def test_fewer_people_than_coefficients_are_found_without_error():
    random = np.random.default_rng(11)
    x, y = people(random, 11, 14)
    packet = matrix_of(x, y)
    information = packet.information
    # What is left of a record outside the span of the 11 largest eigenvectors.
    span = np.linalg.eigh(information)[1][:, -11:]

    def outside(rows):
        return np.linalg.norm(rows - rows @ span @ span.T, axis=1) / np.linalg.norm(rows, axis=1)

    strangers = people(random, 5_000, 14)[0]
    assert outside(x).max() < 0.02 < outside(strangers).min()
    assert "the test makes no error" in str(GATE.preview(packet))
    assert "makes no error" not in str(GATE.preview(matrix_of(*people(random, 28, 14))))


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_person_is_laid_open(label):
    x = np.array([[1.0, 0.5, -1.25, 61.0]])
    shown = str(GATE.preview(matrix_of(x, np.array([label]))))
    event = "with" if label else "without"
    assert f"as multiples of the first: 1, 0.5, -1.25, 61, {event} the event" in shown


def test_membership_in_moments_is_as_easy_as_predicted():
    random = np.random.default_rng(3)
    n = 11

    def terms_of(values):
        return np.column_stack([values, values**2])

    attacker = Attacker(terms_of(random.normal(5.0, 2.0, 100_000)))
    members, others = [], []
    for _ in range(600):
        values = random.normal(5.0, 2.0, n)
        sent = Moments.from_values(values, question=Q)
        total = np.array([n * sent.mean, sent.ss + n * sent.mean**2])
        members.extend(attacker.scores(terms_of(values), total, n))
        others.extend(attacker.scores(terms_of(random.normal(5.0, 2.0, n)), total, n))
    assert auc(members, others) == pytest.approx(membership_auc(2, n), abs=0.03)
    assert f"about {membership_auc(2, n):.2f}" in str(GATE.preview(sent))


def test_membership_in_an_effect_is_as_easy_as_predicted():
    """A mean and its standard error are two smooth functions of two sums, so no harder."""
    random = np.random.default_rng(4)
    n = 12
    members, others = [], []
    for _ in range(600):
        values = random.normal(0.0, 1.0, n)
        sent = Effect(
            question=Q,
            measure="MN",
            estimate=float(values.mean()),
            standard_error=float(values.std(ddof=1) / math.sqrt(n)),
            n=n,
        )
        variance = sent.standard_error**2 * n
        total = np.array([n * sent.estimate, (n - 1) * variance + n * sent.estimate**2])
        for scores, candidates in ((members, values), (others, random.normal(0.0, 1.0, n))):
            off = np.column_stack([candidates, (candidates**2 - 1.0) / math.sqrt(2.0)])
            away = np.array([total[0], (total[1] - n) / math.sqrt(2.0)])
            scores.extend(off @ away - 0.5 * (off**2).sum(axis=1))
    assert auc(members, others) == pytest.approx(membership_auc(2, n), abs=0.03)
    assert f"about {membership_auc(2, n):.2f}" in str(GATE.preview(sent))


def yes_no(n, groups):
    """An intercept and two yes/no features; `groups` maps their values to people and events."""
    rows = [
        (1.0, float(one), float(other), float(nth < events))
        for (one, other), (number, events) in groups.items()
        for nth in range(number)
    ]
    table = np.array(rows)
    assert len(table) == n
    return matrix_of(table[:, :3], table[:, 3])


@pytest.mark.parametrize(
    ("groups", "cell"),
    [
        (((100, 50), (60, 30), (60, 30), (4, 2)), "people with feature 2 and feature 3: 4"),
        (((4, 2), (60, 30), (60, 30), (100, 50)), "people with neither feature 2 nor feature 3: 4"),
        (((100, 50), (7, 3), (60, 30), (60, 30)), "people with feature 3 and not feature 2: 7"),
        (((100, 50), (60, 30), (60, 5), (60, 3)), "events among people with feature 2: 8"),
        (((100, 50), (60, 30), (60, 58), (60, 57)), "people with feature 2 without event: 5"),
        (((100, 2), (60, 3), (60, 30), (60, 30)), "events among people without feature 2: 5"),
    ],
)
def test_tables_of_two_features_and_of_events_are_found(groups, cell):
    by_value = dict(zip(((0, 0), (0, 1), (1, 0), (1, 1)), groups, strict=True))
    outcome = yes_no(sum(number for number, _ in groups), by_value)
    preview = Disclosure.preset("cms").preview(outcome)
    assert cell in str(preview)
    assert "implied_cell" in preview.refusal


def test_tables_without_a_small_cell_and_numbers_that_are_no_counts_pass():
    gate = Disclosure.preset("cms")
    gate.check(
        yes_no(280, {(0, 0): (100, 50), (0, 1): (60, 30), (1, 0): (60, 30), (1, 1): (60, 30)})
    )
    refused = 0
    for seed in range(60):
        x, y = people(np.random.default_rng(seed), 2_000, 8)
        refused += bool(gate.preview(matrix_of(x, y)).refusal)
    assert refused == 0


def test_wrong_numbers_are_refused():
    with pytest.raises(InputError, match="people"):
        membership_auc(3, 0)

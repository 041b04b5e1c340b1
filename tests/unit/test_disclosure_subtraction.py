"""Two answers, one about a part of the other's people: what is left of them must pass too.

Every kind of answer about a table is combined with every other. The people who are in one and not
in the other have one small cell, or none.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from qis.disclosure import Disclosure, subject_hashes
from qis.disclosure.answers import check_answers
from qis.disclosure.ledger import Emission
from qis.disclosure.presets import PRESETS
from qis.errors import DisclosureError
from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments

NOW = 1_800_000_000.0
KEY = bytes(range(32))
LIMIT = 11


def table(cells):
    a, b, c, d = map(int, cells)
    return Counts(question="q", events=a, total=a + b, control_events=c, control_total=c + d)


def moments(cells):
    a, b, c, d = map(int, cells)
    return Moments.from_values([1.0] * a + [0.0] * b, [1.0] * c + [0.0] * d, question="q")


KINDS = {
    "counts": table,
    "profile": lambda cells: table(cells).profile(),
    "OR": lambda cells: table(cells).effect("OR"),
    "RD": lambda cells: table(cells).effect("RD"),
    "MD": lambda cells: moments(cells).effect("MD"),
    "moments": moments,
}
PAIRS = list(itertools.product(KINDS, repeat=2))


def refusal(whole, part, first):
    """How the second of two answers is refused by what the first has said; `None` if it passes."""
    released, new = (part, whole) if first == "part" else (whole, part)
    former = Emission.of(released, None, at=NOW)
    try:
        check_answers(PRESETS["cms"], new, Emission.of(new, None, at=NOW), [former])
    except DisclosureError as error:
        return error
    return None


@pytest.mark.parametrize("first", ["part", "whole"])
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_small_cell_among_those_who_came_or_left_is_found(one, other, first):
    rng = np.random.default_rng([PAIRS.index((one, other)), 7])
    part, rest = (rng.integers([25, 60, 25, 60], [45, 99, 45, 99]) for _ in range(2))
    few = int(rng.integers(4))
    rest[few] = rng.integers(1, LIMIT)
    error = refusal(KINDS[one](part + rest), KINDS[other](part), first)
    assert error is not None
    assert error.field == "answers"
    assert 0 < error.actual < LIMIT


def test_those_of_whom_every_group_is_large_pass():
    """But where most pairs of mirrored tables have a small cell: nobody can tell that from one."""
    rng = np.random.default_rng(3)
    passed = [
        refusal(KINDS[one](part + rest), KINDS[other](part), "part") is None
        for one, other in PAIRS
        for part, rest in [rng.integers([33, 70, 33, 70], [50, 99, 50, 99], size=(2, 4))]
    ]
    assert np.mean(passed) >= 0.9


def test_a_release_that_shows_a_part_is_refused_by_the_gate_and_without_the_rule_it_passes():
    """The whole way through the gate, with the subjects and with the ledger read again."""
    part, rest = np.array([40, 60, 50, 45]), np.array([30, 25, 3, 28])
    who = [subject_hashes(map(str, range(n)), key=KEY) for n in (int(part.sum()), 281)]
    gate = Disclosure.preset("cms")
    first, second = table(part).effect("OR"), moments(part + rest)
    gate.release(first, now=NOW, subjects=who[0])
    with pytest.raises(DisclosureError, match="by comparing") as caught:
        gate.check(second, subjects=who[1])
    assert caught.value.actual == 3
    assert "3" not in str(caught.value).partition("the limit")[0]
    Disclosure.preset("cms").check(second, subjects=who[1])  # alone


def test_measured_values_of_two_arms_are_subtracted_arm_by_arm():
    rng = np.random.default_rng(4)
    old, control = rng.normal(size=80), rng.normal(size=90)
    late = np.r_[np.zeros(36), np.ones(4)]  # of the measured variable, those who came are yes/no
    part = Moments.from_values(old, control, question="q")
    whole = Moments.from_values(np.r_[old, late], np.r_[control, rng.normal(size=60)], question="q")
    assert refusal(whole, part, "part").actual == 4
    harmless = Moments.from_values(
        np.r_[old, rng.normal(size=40)], np.r_[control, rng.normal(size=60)], question="q"
    )
    assert refusal(harmless, part, "part") is None


def test_means_as_effects_are_subtracted_too():
    values = np.r_[np.arange(100.0) % 7, np.zeros(36), np.ones(4)]
    part = Moments.from_values(values[:100], question="q").effect("MN")
    whole = Moments.from_values(values, question="q").effect("MN")
    assert refusal(whole, part, "part").actual == 4


def test_curves_of_survival_show_the_events_that_came():
    rng = np.random.default_rng(5)

    def curve(events, control):
        happened = np.r_[np.arange(120) < events, np.arange(130) < control].astype(float)
        return LikelihoodProfile.from_survival(
            question="q",
            times=np.where(happened > 0, rng.uniform(0.0, 9.0, 250), 10.0),
            events=happened,
            treated=np.arange(250) < 120,
        )

    def more(events, control):
        former, new = curve(40, 50), curve(40 + events, 50 + control)
        entries = [replace(Emission.of(each, None, at=NOW), n=n) for each, n in
                   ((former, 200), (new, 250))]  # fmt: skip
        try:
            check_answers(PRESETS["cms"], new, entries[1], entries[:1])
        except DisclosureError as error:
            return error.actual
        return None

    assert more(3, 20) == 3
    assert more(20, 20) is None


@pytest.mark.parametrize("decimals", [1, 2])
def test_where_too_many_tables_fit_nothing_is_said(decimals):
    part, rest = np.array([40, 60, 50, 45]), np.array([30, 25, 3, 28])
    exact = [table(cells).effect("OR") for cells in (part + rest, part)]
    rounded = [
        Effect(question="q", measure="OR", estimate=round(each.estimate, decimals),
               standard_error=round(each.standard_error, decimals), n=each.n)
        for each in exact
    ]  # fmt: skip
    assert refusal(*rounded, "part") is None

"""Releases that overlap in any way, rates, corrections, and other studies that ask the same."""

import math

import numpy as np
import pytest
from hypothesis import Phase, given, settings, strategies as st

from qis.disclosure import Disclosure, subject_hashes
from qis.errors import DisclosureError
from qis.outcomes import Counts, Effect, Moments, Study

KEY = bytes(range(32))
NOW = 1_800_000_000.0
LIMIT = 11
OVERLAPS = {
    "both overlap in the whole": ("XYZ", "XY", "YZ"),
    "every two of three": ("XY", "YZ", "XZ"),
    "four": ("XY", "YZ", "ZWX", "W"),
    "parts of the whole": ("XYZ", "X", "Y"),
}


def who(names, sizes):
    first = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    people = [n for name in names for n in range(first[name], first[name] + sizes[name])]
    return subject_hashes(map(str, people), key=KEY)


def counts(cells, **others):
    a, b, c, d = map(int, cells)
    return Counts(question="q", events=a, total=a + b, control_events=c, control_total=c + d,
                  **others)  # fmt: skip


def moments(cells, **others):
    a, b, c, d = map(int, cells)
    values = [1.0] * a + [0.0] * b, [1.0] * c + [0.0] * d
    return Moments.from_values(*values, question="q", **others)


KINDS = {
    "counts": counts,
    "profile": lambda cells: counts(cells).profile(),
    "OR": lambda cells: counts(cells).effect("OR"),
    "RD": lambda cells: counts(cells).effect("RD"),
    "moments": moments,
}


def rule_of(*releases):
    """The rule that refuses one of several releases; "" if all pass."""
    gate = Disclosure.preset("cms")
    try:
        for outcome, subjects in releases:
            gate.release(outcome, now=NOW, subjects=subjects)
    except DisclosureError as error:
        return error.field
    return ""


def released(cells, names, kind):
    sizes = {name: sum(each) for name, each in cells.items()}
    whole = [sum(column) for column in zip(*(cells[name] for name in names), strict=True)]
    return KINDS[kind](whole), who(names, sizes)


@pytest.mark.parametrize("form", OVERLAPS)
@pytest.mark.parametrize("kind", ["counts", "profile", "moments"])
@pytest.mark.parametrize("few", [3, 40])
def test_a_group_that_sums_and_differences_show_must_pass_itself(form, kind, few):
    cells = {name: [40, 50 + nth, 60, 70 - 2 * nth] for nth, name in enumerate("XYZW")}
    cells["Z"][2] = few
    releases = [released(cells, names, kind) for names in OVERLAPS[form]]
    for order in (releases, releases[::-1]):
        assert rule_of(*order) == ("answers" if few < LIMIT else "")


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    cells=st.lists(st.lists(st.integers(12, 60), min_size=4, max_size=4), min_size=3, max_size=3),
    few=st.integers(1, 10),
    where=st.integers(0, 11),
    kinds=st.lists(st.sampled_from(["counts", "profile", "moments"]), min_size=3, max_size=3),
)
def test_whichever_group_of_three_has_the_small_cell(cells, few, where, kinds):
    cells = dict(zip("XYZ", cells, strict=True))
    releases = [released(cells, names, kind)
                for names, kind in zip(("XYZ", "XY", "YZ"), kinds, strict=True)]  # fmt: skip
    assert rule_of(*releases) == ""
    cells["XYZ"[where // 4]][where % 4] = few
    # Z and X follow from two releases already, Y from all three.
    releases = [released(cells, names, kind)
                for names, kind in zip(("XYZ", "XY", "YZ"), kinds, strict=True)]  # fmt: skip
    assert rule_of(*releases) == "answers"
    if where // 4 == 1:
        assert rule_of(*releases[:2]) == ""


@pytest.mark.parametrize("form", ["counts", "IRLN", "IRLN printed"])
@pytest.mark.parametrize("second", ["IRR", "IRD", "HR"])
@pytest.mark.parametrize("few", [9, 60])
def test_a_rate_of_one_arm_or_of_all_tells_the_events_of_the_other(form, second, few):
    events, times = (44, few), (251.0, 269.0)
    one, other = (e / t for e, t in zip(events, times, strict=True))
    everybody, arm = who("XY", {"X": 200, "Y": 200}), who("X", {"X": 200, "Y": 200})
    error = math.sqrt(sum(1 / e for e in events))
    variance = sum(e / t**2 for e, t in zip(events, times, strict=True))
    pair = {
        "IRR": Effect(question="q", measure="IRR", estimate=round(math.log(one / other), 2),
                      standard_error=round(error, 2), n=400),
        "HR": Effect(question="q", measure="HR", estimate=0.1, standard_error=1.01 * error, n=400),
        "IRD": Effect(question="q", measure="IRD", estimate=one - other, n=400,
                      standard_error=math.sqrt(variance)),
    }[second]  # fmt: skip
    rate = Counts(question="q", events=events[0], total=200, person_time=times[0])
    if form != "counts":
        rate = rate.effect("IRLN")
    if form == "IRLN printed":
        rate = Effect(question="q", measure="IRLN", estimate=round(rate.estimate, 4),
                      standard_error=round(rate.standard_error, 4), n=200)  # fmt: skip
    whole = Counts(question="q", events=sum(events), total=400, person_time=sum(times))
    for first, subjects in ((rate, arm), (whole, everybody)):
        for order in (1, -1):
            found = rule_of(*((pair, everybody), (first, subjects))[::order])
            # A hazard ratio of so few events is refused alone.
            rule = "implied_cell" if second == "HR" else "answers"
            assert found == (rule if few < LIMIT else "")


@pytest.mark.parametrize("kind", ["counts", "profile", "OR", "moments"])
@pytest.mark.parametrize("other", ["counts", "RD", "moments"])
def test_a_corrected_table_shows_how_many_were_corrected(kind, other):
    sizes = {"X": 240}
    before, after, later = (60, 60, 60, 60), (61, 59, 60, 60), (80, 40, 60, 60)
    everybody = who("X", sizes)
    first = KINDS[kind](before)
    assert rule_of((first, everybody), (KINDS[other](after), everybody)) == "difference"
    assert rule_of((first, everybody), (KINDS[other](before), everybody)) == ""
    assert rule_of((first, everybody), (KINDS[other](later), everybody)) == ""


def test_means_of_the_same_people_with_other_values_need_the_data_of_each():
    rng = np.random.default_rng(1)
    values = rng.normal(50.0, 8.0, 200)
    other = values.copy()
    other[7] += 30.0
    first, second = (Moments.from_values(each, question="q") for each in (values, other))
    names = subject_hashes(map(str, range(200)), key=KEY)
    assert rule_of((first, names), (second, names)) == "difference"
    assert rule_of((first, names), (first, names)) == ""
    data = [
        subject_hashes({str(n): repr(value) for n, value in enumerate(each.tolist())}, key=KEY)
        for each in (values, other)
    ]
    assert rule_of((first, data[0]), (second, data[1])) == "difference"
    all_other = subject_hashes({str(n): "new" for n in range(200)}, key=KEY)
    assert rule_of((first, data[0]), (second, all_other)) == ""


def of_study(effect, question):
    study = Study(question=question, measure=effect.measure, model="fixed")
    return Effect(study=study, measure=effect.measure, estimate=effect.estimate,
                  standard_error=effect.standard_error, n=effect.n)  # fmt: skip


@pytest.mark.parametrize(("question", "is_same"), [("A vs  b | Death.", True), ("a | x", False)])
def test_studies_that_ask_the_same_are_about_the_same_table(question, is_same):
    first = of_study(counts((60, 60, 60, 60)).effect("OR"), "a vs b | death")
    second = of_study(counts((61, 60, 60, 60)).effect("RD"), question)
    sizes = {"X": 240, "Y": 1}
    found = rule_of((first, who("X", sizes)), (second, who("XY", sizes)))
    assert found == ("difference" if is_same else "")
    # And rounded estimates of one table cut each other.
    small = counts((7, 60, 60, 60))
    printed = [
        of_study(Effect(question="q", measure=each.measure, estimate=round(each.estimate, 2),
                        standard_error=round(each.standard_error, 2), n=each.n), text)
        for each, text in ((small.effect("RD"), "a vs b | death"), (small.effect("RR"), question))
    ]  # fmt: skip
    alone = [rule_of((each, None)) for each in printed]
    together = rule_of((printed[0], None), (printed[1], None)) if not any(alone) else "alone"
    assert together == ("answers" if is_same else "") or any(alone)

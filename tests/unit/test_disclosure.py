"""Disclosure: what the presets keep back, what the attacks find, and what they must not find."""

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from qis.about import Interest
from qis.disclosure import (
    PRESETS,
    Disclosure,
    EmissionLedger,
    complementary,
    implied_cells,
    subject_hashes,
)
from qis.disclosure.two_by_two import gives_exactly, tables
from qis.errors import DisclosureError, InputError, StorageDamagedError
from qis.fingerprint import VectorScheme
from qis.outcomes import (
    Anchor,
    Counts,
    Derived,
    Effect,
    LikelihoodProfile,
    Moments,
    QuadraticLikelihood,
    Record,
    Retraction,
    Suppressed,
)

Q = "a vs b | death"
KEY = bytes(range(32))


def counts(events, total, control_events, control_total, cohort="", **rest):
    return Counts(
        question=Q,
        cohort=cohort,
        events=events,
        total=total,
        control_events=control_events,
        control_total=control_total,
        **rest,
    )


def effect(measure="OR", estimate=0.2, standard_error=0.3, n=500, cohort=""):
    return Effect(
        question=Q,
        cohort=cohort,
        measure=measure,
        estimate=estimate,
        standard_error=standard_error,
        n=n,
    )


def rule_of(outcome, preset="cms", **options):
    caught = None
    try:
        Disclosure.preset(preset).check(outcome, **options)
    except DisclosureError as error:
        caught = error
    if caught is None:
        return None
    assert caught.field in str(caught)
    assert "Ways out" in str(caught)
    return caught.field


# The thresholds as their sources state them; a change of a preset must be deliberate.
@pytest.mark.parametrize(
    ("preset", "refused", "allowed"),
    [
        ("cms", (1, 10), (0, 11)),
        ("acro", (1, 9), (0, 10)),
        ("ohdsi", (1, 4), (0, 5)),
        ("datashield", (1, 2), (0, 3)),
        ("nhs", (1, 7), (0, 10)),
    ],
)
def test_cells_at_the_threshold(preset, refused, allowed):
    for cell in refused:
        assert rule_of(counts(cell, 100, 40, 100), preset) == "minimum_cell"
        assert rule_of(counts(40, 100, 40, 40 + cell), preset) == "minimum_cell"
    for cell in allowed:
        assert rule_of(counts(cell, 100, 40, 100), preset) is None


def test_none_lets_everything_out():
    assert rule_of(counts(1, 2, 0, 1), "none") is None
    assert rule_of(Record(question=Q, content={"name": "x"}), "none") is None


@pytest.mark.parametrize(
    ("outcome", "rule"),
    [
        (effect(n=None), "minimum_n"),
        (effect(n=10, standard_error=2.0), "minimum_n"),
        (effect(), None),
        (effect("HR", standard_error=0.8), "implied_cell"),
        (effect("HR", standard_error=0.3), None),
        (effect("IRR", standard_error=math.sqrt(1 / 3 + 1 / 50)), "implied_cell"),
        (effect("IRLN", standard_error=math.sqrt(1 / 7)), "implied_cell"),
        (effect("PR", estimate=0.004, standard_error=0.1), "implied_cell"),
        (Moments(question=Q, total=10, mean=1.0, ss=3.0), "minimum_n"),
        (Moments(question=Q, total=30, mean=1.0, ss=0.0), "no_variation"),
        (Moments(question=Q, total=30, mean=1.0, ss=3.0), None),
        (Record(question=Q, content={"n": 500}), "record"),
        (Suppressed(question=Q), None),
        (Retraction(question=Q), None),
        (Derived(question=Q, measure="OR", model="fixed", estimate=0.1, standard_error=1.0,
                 sites=2), None),
        (Anchor(question=Q, model="logistic", coefficients=(0.0,), names_hash=bytes(8)), None),
    ],
)  # fmt: skip
def test_rules_by_kind(outcome, rule):
    assert rule_of(outcome) == rule


@settings(max_examples=60, deadline=None)
@given(
    small=st.integers(1, 10),
    others=st.lists(st.integers(1, 300), min_size=3, max_size=3),
    index=st.integers(0, 3),
    measure=st.sampled_from(["OR", "RR", "RD"]),
)
def test_a_small_cell_behind_a_crude_estimate_is_always_found(small, others, index, measure):
    cells = [*others[:index], small, *others[index:]]
    a, b, c, d = cells
    behind = counts(a, a + b, c, c + d).effect(measure)
    assert tuple(cells) in implied_cells(behind, below=11)
    if sum(cells) >= 11:
        assert rule_of(behind) == "implied_cell"


@pytest.mark.parametrize("decimals", [2, 3, 4, 6])
@pytest.mark.parametrize("cells", [(3, 97, 40, 160), (60, 40, 9, 91), (7, 200, 30, 190)])
def test_rounding_protects_only_if_a_table_without_small_cells_fits_too(cells, decimals):
    """All tables of n people are tried here one by one, in another way than the gate does."""
    a, b, c, d = cells
    exact = counts(a, a + b, c, c + d).effect("OR")
    rounded = effect(
        estimate=round(exact.estimate, decimals),
        standard_error=round(exact.standard_error, decimals),
        n=exact.n,
    )
    assert cells in implied_cells(rounded, below=11)
    harmless, found = False, []
    for first in range(1, exact.n):
        a, c = np.meshgrid(np.arange(first + 1), np.arange(exact.n - first + 1), indexing="ij")
        table = np.stack([a, first - a, c, exact.n - first - c]).astype(float)
        for shift in (0.0, 0.5):
            odds = table + shift
            with np.errstate(all="ignore"):
                log_ratio = np.log(odds[0] * odds[3] / odds[1] / odds[2])
                error = np.sqrt((1.0 / odds).sum(axis=0))
            fits = abs(log_ratio - rounded.estimate) <= 0.5 * 10.0**-decimals
            fits &= abs(error - rounded.standard_error) <= 0.5 * 10.0**-decimals
            without = fits & ((table == 0) | (table >= 11)).all(axis=0)
            harmless |= shift == 0.0 and bool(without.any())
            found.append(table[:, fits])
    tables = np.concatenate(found, axis=1)
    most_small = 2 * ((tables > 0) & (tables < 11)).any(axis=0).sum() > tables.shape[1]
    # Where most tables have a small cell, one of its values may be named too well.
    if not harmless or not most_small:
        assert rule_of(rounded) == (None if harmless else "implied_cell")
    assert decimals < 3 or not harmless


@settings(max_examples=60, deadline=None)
@given(
    small=st.integers(1, 10),
    larger=st.integers(0, 400),
    other=st.tuples(st.integers(11, 200), st.integers(11, 200)),
    coding=st.sampled_from([(0, 1), (1, 2), (2, 1), (1, 0), (-1, 1), (0, 100), (-0.5, 0.5)]),
    form=st.sampled_from(["one arm", "treated", "control", "MN", "MD", "ROM", "SMD", "PR", "PLO"]),
)
def test_means_of_a_yes_no_variable_are_its_counts(small, larger, other, coding, form):
    """However it is coded, in whichever arm: mean times n is a count."""
    no, yes = coding if form in ("one arm", "treated", "control", "MN") else (0, 1)
    values = [yes] * small + [no] * (larger + 11)
    others = [yes] * other[0] + [no] * other[1]
    n, share = len(values), small / len(values)
    if form in ("PR", "PLO"):
        estimate = share if form == "PR" else math.log(share / (1.0 - share))
        error = (
            math.sqrt(share * (1 - share) / n)
            if form == "PR"
            else math.sqrt(1 / small + 1 / (n - small))
        )
        outcome = effect(form, estimate, error, n)
    elif form in ("one arm", "MN"):
        outcome = Moments.from_values(values, question=Q)
    else:
        arms = (others, values) if form == "control" else (values, others)
        outcome = Moments.from_values(*arms, question=Q)
    if form in ("MN", "MD", "ROM", "SMD"):
        outcome = outcome.effect(form)
    if form == "SMD" and rule_of(outcome) is None:  # rarely another table has the same numbers
        rows = np.concatenate([part.rows for part in tables(outcome)])
        exact = rows[gives_exactly(outcome, rows).any(axis=0)]
        assert ((exact == 0) | (exact >= 11)).all(axis=1).any()
        return
    assert rule_of(outcome) == "implied_cell"
    learns = Disclosure.preset("cms").preview(outcome).learns
    shown = [re.search(r": (\d+) \(from", line) for line in learns]
    assert any(found and 0 < int(found[1]) < 11 for found in shown)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(st.integers(33, 300), min_size=4, max_size=4),
    form=st.sampled_from(["Moments", "MD", "ROM", "SMD"]),
)
def test_means_of_a_yes_no_variable_with_large_cells_pass(cells, form):
    a, b, c, d = cells
    moments = Moments.from_values([1] * a + [0] * b, [1] * c + [0] * d, question=Q)
    assert rule_of(moments if form == "Moments" else moments.effect(form)) is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), form=st.sampled_from(["Moments", "MN", "MD", "ROM", "SMD"]))
def test_means_of_measured_values_pass(seed, form):
    rng = np.random.default_rng(seed)
    ages = np.rint(rng.normal(60, 12, size=rng.integers(40, 400)))
    values, control = np.split(ages, [len(ages) // 2])
    moments = Moments.from_values(values, None if form == "MN" else control, question=Q)
    assert rule_of(moments if form == "Moments" else moments.effect(form)) is None


@pytest.mark.parametrize("n", [60, 400, 1500, 5000])
@pytest.mark.parametrize(("estimate", "error"), [(-0.3, 0.2), (0.25, 0.11), (0.0, 0.1)])
@pytest.mark.parametrize("measure", ["MD", "ROM"])
def test_rounded_means_of_measured_values_pass(measure, estimate, error, n):
    assert rule_of(effect(measure, estimate, error, n)) is None


@pytest.mark.parametrize("others", [1, 3, 5])
def test_a_few_people_with_a_third_value_are_seen(others):
    """The number of children, say: 0 or 1 for all but a few."""
    moments = Moments.from_values([0] * 60 + [1] * 50 + [2] * others, question=Q)
    assert rule_of(moments) == "implied_cell"
    assert rule_of(Moments.from_values([0] * 60 + [1] * 50 + [2] * 40, question=Q)) is None


@pytest.mark.parametrize(
    ("measure", "estimate", "error", "n"),
    [
        ("PR", 0.03, 0.02, 93),  # 0.0323 of 93 people are 3
        ("PR", 0.9677, 0.02, 93),
        ("IRLN", -3.0, 0.38, 500),  # 1/0.38² = 6.9
        ("IRR", 0.1, 0.5944, 500),  # √(1/3 + 1/50)
    ],
)
def test_rounded_numbers_are_searched_within_their_rounding(measure, estimate, error, n):
    assert rule_of(effect(measure, estimate, error, n)) == "implied_cell"


def test_published_ratios_are_searched_as_widely_as_they_were_rounded():
    a, b, c, d = 3, 97, 40, 160
    exact = counts(a, a + b, c, c + d).effect("OR")
    low, middle, high = (
        round(math.exp(exact.estimate + z * exact.standard_error), 2) for z in (-1.96, 0, 1.96)
    )
    published = Effect.from_ratio(
        question=Q, measure="OR", ratio=middle, lower=low, upper=high, n=300
    )
    assert (a, b, c, d) in implied_cells(published, below=11)


def test_small_cells_behind_a_corrected_zero_are_found():
    a, b, c, d = (cell + 0.5 for cell in (0, 60, 4, 56))
    behind = effect(
        estimate=math.log(a * d / (b * c)),
        standard_error=math.sqrt(1 / a + 1 / b + 1 / c + 1 / d),
        n=120,
    )
    assert (0, 60, 4, 56) in implied_cells(behind, below=11)


def test_adjusted_estimates_are_not_taken_for_tables():
    random = np.random.default_rng(0)
    false = sum(
        bool(implied_cells(effect(estimate=e, standard_error=s, n=400), below=11))
        for e, s in zip(random.normal(0, 0.5, 200), random.uniform(0.3, 0.9, 200), strict=True)
    )
    assert false <= 10


@pytest.mark.parametrize(("events", "control"), [(3, 40), (40, 7)])
def test_the_profiles_slopes_give_the_events_away(events, control):
    profile = counts(events, 200, control, 200).profile()
    assert rule_of(profile) == "implied_cell"
    preview = str(Disclosure.preset("cms").preview(profile))
    assert f"- events: {events} (from the profile's slopes)" in preview
    assert f"- control events: {control} (from the profile's slopes)" in preview
    assert rule_of(counts(30, 200, 40, 200).profile()) is None


def test_a_cox_profile_gives_its_events_away():
    random = np.random.default_rng(1)
    treated = np.arange(300) % 2 == 0
    events = np.zeros(300, dtype=bool)
    events[:24:6] = True  # 4 treated
    events[1::4] = True  # 75 untreated
    profile = LikelihoodProfile.from_survival(
        question=Q, times=random.exponential(10.0, 300), events=events, treated=treated
    )
    assert rule_of(profile) == "implied_cell"


def logistic(n, size, seed=0):
    random = np.random.default_rng(seed)
    features = np.column_stack([np.ones(n), random.normal(size=(n, size - 1))])
    labels = np.arange(n) % 2
    return QuadraticLikelihood.from_logistic(
        question="q", features=features, labels=labels, anchor=np.zeros(size)
    )


def test_a_matrix_needs_five_people_a_coefficient():
    assert rule_of(logistic(39, 8)) == "people_per_coefficient"
    assert rule_of(logistic(40, 8)) is None
    assert "is among them" in str(Disclosure.preset("cms").preview(logistic(40, 8)))


def test_a_rare_feature_is_read_from_the_information():
    n = 200
    rare = (np.arange(n) < 3).astype(float)
    features = np.column_stack([np.ones(n), rare])
    outcome = QuadraticLikelihood.from_logistic(
        question="q", features=features, labels=np.arange(n) % 2, anchor=np.zeros(2)
    )
    assert rule_of(outcome) == "implied_cell"
    assert "people with feature 2: 3" in str(Disclosure.preset("cms").preview(outcome))


def test_nhs_counts_are_multiples_of_five():
    assert rule_of(counts(41, 100, 40, 100), "nhs") == "rounding"
    assert rule_of(counts(40, 100, 40, 100), "nhs") is None
    assert rule_of(effect(n=501), "nhs") == "rounding"


def people(*numbers):
    return subject_hashes([f"person {n}" for n in numbers], key=KEY)


@pytest.mark.parametrize(
    ("now", "refused"),
    [
        (range(100), False),
        (range(101), True),
        (range(110), True),
        (range(111), False),
        (range(1, 100), True),
        (range(1, 101), True),
        (range(11, 111), False),
        (range(90), True),
        (range(89), False),
    ],
)
def test_nobody_is_shown_by_subtraction(now, refused):
    gate = Disclosure.preset("cms")
    gate.release(effect(n=100), now=0, subjects=people(*range(100)))
    new = effect(estimate=0.25, n=len(now))
    if refused:
        with pytest.raises(DisclosureError) as caught:
            gate.check(new, subjects=people(*now))
        assert caught.value.field == "difference"
    else:
        gate.check(new, subjects=people(*now))


def test_changed_data_of_a_few_people_are_seen():
    gate = Disclosure.preset("cms")
    before = {f"p{n}": "alive" for n in range(50)}
    gate.release(effect(n=50), now=0, subjects=subject_hashes(before, key=KEY))
    after = before | {"p3": "dead"}
    with pytest.raises(DisclosureError, match="a few people changed"):
        gate.check(effect(estimate=0.3, n=50), subjects=subject_hashes(after, key=KEY))


def test_every_former_version_is_compared_not_only_the_last():
    gate = Disclosure.preset("cms")
    gate.release(effect(n=100), now=0, subjects=people(*range(100)))
    gate.release(effect(estimate=0.3, n=120), now=1, subjects=people(*range(120)))
    with pytest.raises(DisclosureError):
        gate.check(effect(estimate=0.4, n=105), subjects=people(*range(105)))


def test_overlapping_cohorts_are_compared_and_disjoint_ones_are_not():
    gate = Disclosure.preset("cms")
    gate.release(effect(n=100, cohort="all"), now=0, subjects=people(*range(100)))
    with pytest.raises(DisclosureError, match="'all'"):
        gate.check(effect(n=95, cohort="adults"), subjects=people(*range(95)))
    gate.check(effect(n=95, cohort="others"), subjects=people(*range(200, 295)))


@pytest.mark.parametrize(("n", "refused"), [(105, True), (100, True), (111, False), (89, False)])
def test_without_subjects_numbers_of_people_are_compared(n, refused):
    gate = Disclosure.preset("cms")
    gate.release(effect(n=100), now=0)
    if refused:
        with pytest.raises(DisclosureError, match="subjects"):
            gate.check(effect(estimate=0.3, n=n))
    else:
        gate.check(effect(estimate=0.3, n=n))
    gate.check(effect(n=100))  # the same again shows nothing new


def test_the_ledger_survives_a_restart_and_a_torn_line(tmp_path):
    path = tmp_path / "ledger.jsonl"
    gate = Disclosure.preset("cms", ledger=path)
    gate.release(effect(n=100), now=0, subjects=people(*range(100)))
    with path.open("ab") as file:
        file.write(b'{"study": "0')
    gate = Disclosure.preset("cms", ledger=path)
    with pytest.raises(DisclosureError):
        gate.check(effect(estimate=0.3, n=101), subjects=people(*range(101)))
    gate.release(effect(estimate=0.3, n=150), now=1, subjects=people(*range(150)))
    assert len(EmissionLedger(path).of_study(effect().study_id)) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"person" not in path.read_bytes()
    path.write_bytes(b"junk\n")
    with pytest.raises(StorageDamagedError):
        EmissionLedger(path)


def test_a_refused_release_is_not_noted():
    gate = Disclosure.preset("cms")
    with pytest.raises(DisclosureError):
        gate.release(counts(3, 100, 40, 100), now=0)
    assert gate.ledger.of_study(effect().study_id) == []


def test_suppressed_stands_in():
    gate = Disclosure.preset("cms")
    small = counts(3, 100, 40, 100, cohort="north")
    stand_in = gate.or_suppressed(small)
    assert stand_in == Suppressed(question=Q, cohort="north")
    assert stand_in.study_id == small.study_id
    large = counts(30, 100, 40, 100)
    assert gate.or_suppressed(large) is large


def test_one_hidden_table_is_never_alone():
    tables = [
        counts(3, 60, 20, 60, "a"),
        counts(20, 60, 20, 60, "b"),
        counts(30, 90, 30, 90, "c"),
    ]
    out = complementary(tables, PRESETS["cms"])
    assert [type(table).__name__ for table in out] == ["Suppressed", "Suppressed", "Counts"]
    assert complementary(tables[1:], PRESETS["cms"]) == tables[1:]
    two = [counts(2, 60, 20, 60, "a"), counts(3, 60, 20, 60, "b"), *tables[2:]]
    assert all(isinstance(table, Suppressed) for table in complementary(two, PRESETS["cms"]))
    with pytest.raises(InputError):
        complementary([tables[0], tables[0]], PRESETS["cms"])


def test_preview_says_what_could_be_learnt_and_has_a_digest():
    gate = Disclosure.preset("cms")
    preview = gate.preview(counts(3, 100, 40, 100).effect("OR"))
    # A table mirrored along either diagonal has the same odds ratio and standard error.
    assert "events: 3 (from OR, SE and n, one of 4 tables" in str(preview)
    behind_rr = gate.preview(counts(3, 101, 41, 99).effect("RR"))
    assert "events: 3 (from RR, SE and n)" in str(behind_rr)
    assert preview.refusal
    other = gate.preview(effect())
    assert not other.refusal
    assert preview.digest != other.digest
    assert len(other.digest) == 32


def test_wrong_arguments():
    with pytest.raises(InputError, match="cms"):
        Disclosure.preset("mild")
    with pytest.raises(InputError):
        subject_hashes(["x"], key=b"short")
    with pytest.raises(InputError, match="subjects"):
        Disclosure.preset("cms").check(effect(n=100), subjects=people(*range(99)))


def test_the_published_trial_of_the_example_is_kept_back_by_cms():
    # Interferon gamma in chronic granulomatous disease: 14 of 63 and 30 of 65 with an infection.
    whole = counts(14, 63, 30, 65)
    assert rule_of(whole) is None
    assert rule_of(counts(4, 12, 9, 15)) == "minimum_cell"


def released(gate, *cohorts):
    for at, (cohort, members) in enumerate(cohorts):
        gate.release(
            effect(estimate=0.1 * at, n=len(members), cohort=cohort),
            now=at,
            subjects=people(*members),
        )


@pytest.mark.parametrize(
    ("before", "new", "refused"),
    [
        # The union of two parts, less a few, more a few, and exactly.
        ([range(100), range(100, 200)], range(195), 5),
        ([range(100), range(100, 200)], range(205), 5),
        ([range(100), range(100, 200)], range(200), None),
        ([range(100), range(100, 200)], range(240), None),
        # What is left of a union when its parts are known.
        ([range(205), range(100)], range(100, 200), 5),
        ([range(240), range(100)], range(100, 200), None),
        # Three in a chain: (a ∪ b) + (b ∪ c) − (a ∪ c) shows b twice.
        ([range(56), [*range(50, 56), *range(100, 150)]], [*range(50), *range(100, 150)], 6),
    ],
)  # fmt: skip
def test_nobody_is_shown_by_several_releases_together(before, new, refused):
    gate = Disclosure.preset("cms")
    released(gate, *((f"part {nth}", part) for nth, part in enumerate(before)))
    outcome = effect(estimate=0.7, n=len(new), cohort="new")
    if refused is None:
        gate.check(outcome, subjects=people(*new))
        return
    with pytest.raises(DisclosureError) as caught:
        gate.check(outcome, subjects=people(*new))
    assert (caught.value.field, caught.value.actual) == ("difference", refused)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 7), min_size=1), min_size=1, max_size=5), st.data())
def test_no_sum_of_releases_that_passed_shows_a_few_people(parts, data):
    """Blocks of people of known sizes; whatever whole multiples are added, no few are left."""
    sizes = data.draw(st.lists(st.sampled_from([1, 5, 10, 11, 30]), min_size=8, max_size=8))
    starts = [sum(sizes[:block]) for block in range(9)]
    gate = Disclosure.preset("cms")
    passed = []
    for nth, part in enumerate(parts):
        members = [n for block in part for n in range(starts[block], starts[block + 1])]
        outcome = effect(estimate=0.1 * nth, n=len(members), cohort=f"c{nth}")
        try:
            gate.release(outcome, now=nth, subjects=people(*members))
        except DisclosureError:
            continue
        passed.append(part)
    for factors in itertools.product((-2, -1, 0, 1, 2), repeat=len(passed)):
        left = [
            sum(factor for factor, part in zip(factors, passed, strict=True) if block in part)
            for block in range(8)
        ]
        shown = sum(size for size, weight in zip(sizes, left, strict=True) if weight)
        assert shown == 0 or shown >= 11


KEYED = VectorScheme(dimensions=3, secret=KEY)
OPEN = VectorScheme(dimensions=3)


def about_rule(outcome=None, scheme=KEYED, preset="cms", **options):
    caught = None
    try:
        Disclosure.preset(preset).check_about(
            effect() if outcome is None else outcome, scheme, **{"leaves_machine": True, **options}
        )
    except DisclosureError as error:
        caught = error
    if caught is None:
        return None
    assert "Ways out" in str(caught)
    return caught.field, caught.actual


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({}, None),  # as many people as the outcome
        ({"people": 11}, None),
        ({"people": 10}, ("fingerprint", 10)),
        ({"people": 1, "leaves_machine": False}, ("fingerprint", 1)),
        ({"people": 0}, None),
        ({"scheme": OPEN}, ("secret", None)),
        ({"scheme": OPEN, "people": 0}, ("secret", None)),
        ({"scheme": OPEN, "leaves_machine": False}, None),
        ({"scheme": OPEN, "people": 1, "preset": "none"}, None),
        ({"people": 3, "preset": "datashield"}, None),
        ({"outcome": Suppressed(question=Q)}, ("fingerprint", None)),
        ({"outcome": Suppressed(question=Q), "people": 0}, None),
        ({"outcome": Suppressed(question=Q), "people": 4}, ("fingerprint", 4)),
        ({"outcome": Record(question=Q, content={}), "people": 1}, ("fingerprint", 1)),
        ({"outcome": Retraction(question=Q)}, None),
    ],
)
def test_a_fingerprint_is_of_enough_people_and_readable_by_few(options, refused):
    assert about_rule(**options) == refused


@pytest.mark.parametrize(
    ("scheme", "people_behind", "leaves_machine", "field"),
    [
        (KEYED, 11, True, None),
        (KEYED, 1, True, "interest"),
        (KEYED, None, True, "interest"),
        (KEYED, 0, True, None),
        (OPEN, 11, True, "secret"),
        (OPEN, 1, False, None),
    ],
)
def test_an_interest_is_of_enough_people_and_readable_by_few(
    scheme, people_behind, leaves_machine, field
):
    gate, caught = Disclosure.preset("cms"), None
    interest = scheme.interest([0.2, -1.0, 0.7])
    try:
        gate.check_interest(interest, scheme, people=people_behind, leaves_machine=leaves_machine)
    except DisclosureError as error:
        caught = error.field
    assert caught == field


def test_an_interest_in_studies_alone_says_nothing_of_people():
    silent = Interest(OPEN.fingerprint([0.2, -1.0, 0.7]), (), 0.5, studies=(bytes(8),))
    gate = Disclosure.preset("cms")
    gate.check_interest(silent, OPEN, leaves_machine=True)
    with pytest.raises(DisclosureError):
        gate.check_interest(
            dataclasses.replace(silent, share_sketch=True), OPEN, leaves_machine=True
        )


def test_a_site_may_say_that_its_features_are_no_secret():
    rules = dataclasses.replace(PRESETS["cms"], keyed_schemes=False)
    Disclosure(rules).check_about(effect(), OPEN, leaves_machine=True)

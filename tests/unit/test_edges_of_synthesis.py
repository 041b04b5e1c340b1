"""Edges of syntheses that a change of one operator once crossed unseen."""

import math

import numpy as np
import pytest
from scipy.stats import t

import qis
from qis.errors import InputError
from qis.synthesis import pool_profiles
from qis.synthesis.absolute import _risk
from qis.synthesis.asymmetry import egger_test
from qis.synthesis.currency import Likelihood
from qis.synthesis.marginals import _Group
from qis.synthesis.said import Facts
from qis.synthesis.scale import percent
from tests._builders import signed

NOW = 1_800_000_000
ABOUT = qis.Fingerprint(bytes(32), bytes(8))
OR = {"question": "a vs b | death", "measure": "OR"}
COUNTS = qis.Counts(
    question="a vs b | death", events=4, total=40, control_events=9, control_total=41
)
RISING = qis.Counts(
    question="a vs b | death", events=0, total=30, control_events=5, control_total=31
)
EFFECT = qis.Effect(**OR, estimate=-0.6, standard_error=0.3)
PROFILE = qis.LikelihoodProfile.from_function(
    **OR, log_likelihood=lambda x: 5.0 * (x + 1.0) - 11.0 * math.exp(x + 1.0)
)
MEANS = qis.Moments(question="m", total=9, mean=3.0, ss=12.0)
EFFECT_OF_MEAN = qis.Effect(question="m", measure="MN", estimate=2.0, standard_error=0.5)


def columns(row):
    return {name: [value] for name, value in row.items()}


@pytest.mark.parametrize(
    ("outcomes", "level", "parabola", "concave"),
    [
        ([EFFECT], False, True, True),
        ([EFFECT, EFFECT], False, True, True),
        ([COUNTS], False, False, True),
        ([COUNTS, EFFECT], False, False, True),
        ([PROFILE], False, False, False),
        ([PROFILE, EFFECT], False, False, False),
        ([PROFILE, COUNTS, EFFECT], False, False, False),
        ([MEANS], False, False, False),
        ([MEANS, EFFECT_OF_MEAN], False, False, False),
    ],
)
def test_what_is_known_of_a_sum_follows_from_its_terms(outcomes, level, parabola, concave):
    found = Likelihood.of(outcomes)
    assert (found.is_level, found.is_parabola, found.is_concave) == (level, parabola, concave)
    # `bend` is the difference of slopes, and `evaluate` their derivatives, whatever is in the sum.
    low, high = -0.9, 0.4
    theta = np.array([low - 1e-5, low + 1e-5, high - 1e-5, high + 1e-5])
    values = found.value(theta)
    slopes = (values[1] - values[0]) / 2e-5, (values[3] - values[2]) / 2e-5
    assert found.bend(low, high) == pytest.approx(slopes[0] - slopes[1], rel=1e-3)
    alone = [Likelihood.of([each]) for each in outcomes]
    assert found.bend(low, high) == pytest.approx(sum(each.bend(low, high) for each in alone))
    spans = [each.span for each in alone]
    assert found.span[0] <= min(low for low, _ in spans) + 1e-12
    assert found.span[1] >= max(high for _, high in spans) - 1e-12
    assert found.finest <= min(each.finest for each in alone) + 1e-12


def test_a_sum_of_sites_far_apart_spans_them_all():
    one = qis.Counts(question="q", events=1, total=900, control_events=300, control_total=900)
    other = qis.Counts(question="q", events=300, total=900, control_events=1, control_total=900)
    low, high = Likelihood.of([one, other]).span
    assert low <= Likelihood.of([one]).span[0] < -4.0
    assert high >= Likelihood.of([other]).span[1] > 4.0


def test_risks_at_an_infinite_ratio():
    assert _risk("RR", 0.1, math.inf) == math.inf
    assert _risk("OR", 0.1, math.inf) == 1.0
    assert _risk("HR", 0.1, math.inf) == 1.0
    assert _risk("OR", 0.1, -math.inf) == 0.0


@pytest.mark.parametrize("unit", [1e-6, 0.01, 1.0, 40.0, 1e8])
def test_egger_s_numbers_are_those_of_the_unit(unit):
    """In other units the slope stays, and the limit at a standard error of 0 goes along."""
    random = np.random.default_rng(2)
    errors = random.uniform(0.1, 0.6, 12)
    estimates = 0.3 + 1.2 * errors + random.normal(0, errors)
    one, other = egger_test(estimates, errors), egger_test(estimates * unit, errors * unit)
    assert other.slope == pytest.approx(one.slope)
    assert other.standard_error == pytest.approx(one.standard_error)
    assert other.limit == pytest.approx(one.limit * unit)
    weights = errors**-2.0
    matrix = np.column_stack((np.ones(12), errors)) * np.sqrt(weights)[:, np.newaxis]
    limit, slope = np.linalg.lstsq(matrix, estimates * np.sqrt(weights), rcond=None)[0]
    assert (one.limit, one.slope) == pytest.approx((limit, slope))


def test_a_prediction_interval_is_never_narrower_than_the_classical_error_makes_it():
    alike, errors = [0.10, 0.11, 0.10, 0.09], [0.3, 0.4, 0.35, 0.3]
    pooled = qis.inverse_variance(alike, errors, interval="hksj")
    assert pooled.hartung_knapp_q < 1.0
    low, high = pooled.predict("hk")
    half = t.ppf(0.975, 3) * math.hypot(pooled.tau2**0.5, pooled.classical_standard_error)
    assert (low, high) == pytest.approx((pooled.estimate - half, pooled.estimate + half))


def test_without_outcomes_there_is_nothing_to_combine():
    with pytest.raises(InputError, match="nothing to combine"):
        qis.combine_quadratics([], anchors={})


def test_a_row_with_every_number_of_a_rate_ratio_is_one():
    row = {"site": "n", "events": 4, "total": 40, "control_events": 9, "control_total": 41}
    times = {"person_time": 90.0, "control_person_time": 80.0}
    study = qis.Study(question="a", measure="IRR", model="fixed")
    found = qis.synthesise(columns({**row, **times}), study=study)
    assert found.estimate == pytest.approx(math.log(4 / 90 / (9 / 80)))


def test_one_person_s_mean_has_no_deviation_and_more_need_theirs():
    study = qis.Study(question="a", measure="MN", model="fixed")
    rows = [{"site": "n", "mean": 3.0, "total": 5}, {"site": "s", "mean": 3.0, "total": 2}]
    for row in rows:
        with pytest.raises(InputError, match="a mean needs its sd"):
            qis.synthesise(columns(row), study=study)
    table = {"site": ["n", "s"], "mean": [3.0, 4.0], "total": [1, 9], "sd": [None, 1.0]}
    alone = qis.synthesise(table, study=study)
    assert alone.estimate == pytest.approx(4.0)


def test_the_text_says_how_many_people_a_site_has_and_the_frequent_reason_first():
    people = qis.Effect(**OR, estimate=-0.2, standard_error=0.3, n=321)
    records = [
        signed(n, qis.Record(question="a vs b | death", content={"a": 1})) for n in (3, 4, 5)
    ]
    one, other = signed(6, EFFECT), signed(6, people)  # two contents under one sequence
    given = [signed(1, EFFECT), signed(2, people), *records, one, other]
    found = qis.synthesise(given, model="fixed")
    text = found.explain()
    assert text.count("n 321, ") == 1
    assert "n None" not in text
    assert "No evidence counts." not in text
    counts = [int(each.split()[0]) for each in repr(found).split("left out: ")[1:]]
    assert counts == [3, 1]
    assert sum(counts) == len(found.excluded)


def test_records_alone_are_no_evidence_and_an_estimate_of_nothing_says_so():
    found = qis.synthesise(
        [signed(n, qis.Record(question="a vs b | death", content={"a": 1})) for n in (1, 2)],
        model="fixed",
    )
    assert found.sites == ()
    assert "No evidence counts." in found.explain()
    assert "nothing" in repr(found)


def test_a_note_stands_in_the_repr_of_what_has_sites():
    found = qis.synthesise([signed(1, RISING), signed(2, RISING)], model="fixed")
    assert found.note
    assert found.note in repr(found)


def test_embargoed_syntheses_of_other_evidence_differ():
    study = qis.Study(**OR, model="fixed", embargo_until=NOW + 10**6)

    def hidden(*numbers):
        outcome = qis.Effect(study=study, measure="OR", estimate=0.1, standard_error=0.2)
        packets = [signed(number, outcome) for number in numbers]
        return qis.synthesise(packets, study=study, now=NOW)

    assert hidden(1, 2) == hidden(1, 2)
    assert hidden(1, 2) != hidden(1, 3)
    assert hidden(1, 2) != hidden(1)
    one, other = ({site.name: site for site in hidden(*ns).sites} for ns in ((1, 2), (1, 3)))
    (shared,) = one.keys() & other.keys()
    assert one[shared] == other[shared]
    (alone,) = one.keys() - other.keys()
    assert one[alone] != other[shared]
    assert hash(hidden(1, 2)) == hash(hidden(1, 2))


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("apart", [2.0, 6.0, 20.0])
def test_of_two_modes_the_higher_is_the_estimate(side, apart):
    """Precise sites that contradict each other: the curve rises again beyond the higher one."""
    ones = [(40, side * apart, 10.0), (30, -side * apart, 10.0)]
    sites = [qis.Moments(question="q", total=n, mean=mean, ss=ss) for n, mean, ss in ones]
    found = pool_profiles(sites, model="fixed")
    theta = np.linspace(-apart - 1.0, apart + 1.0, 400_001)
    log = sum(-0.5 * n * np.log1p(n * (mean - theta) ** 2 / ss) for n, mean, ss in ones)
    assert found.estimate == pytest.approx(theta[log.argmax()], abs=1e-4)
    assert side * found.estimate > 0.0


def test_a_group_of_likelihoods_bends_wherever_one_of_them_does():
    tables = [(2, 11), (30, 1), (9, 9)]
    parts = [
        Likelihood.of([qis.Counts(question="q", events=a, total=40, control_events=c,
                                  control_total=40)])
        for a, c in tables
    ]  # fmt: skip
    spans = [part.span for part in parts]
    group = _Group([Facts.of(part) for part in parts], 0.3, None)
    assert group._span == (min(low for low, _ in spans), max(high for _, high in spans))


@pytest.mark.parametrize("part", [1e-6, 0.0004, 0.02, 0.5, 0.98, 0.9996, 1.0 - 1e-6])
def test_a_share_between_nothing_and_everything_is_not_shown_as_either(part):
    shown = float(percent(part))
    assert 0.0 < shown < 100.0
    assert shown == pytest.approx(100.0 * part, abs=0.051)
    assert (percent(0.0), percent(1.0)) == ("0.0", "100.0")


def test_where_nothing_counts_that_is_what_the_explanation_says():
    study = qis.Study(question="a vs b | death", measure="OR", model="fixed")
    roster = qis.Roster(sites=[qis.Site.of("north", qis.Identity.from_seed(bytes(32)).issuer)])
    outcome = qis.Effect(study=study, measure="OR", estimate=-0.6, standard_error=0.3)
    found = qis.synthesise([signed(1, outcome)], roster=roster, study=study, now=NOW)
    assert not found.sites
    assert "No evidence counts." in found.explain()

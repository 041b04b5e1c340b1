"""Numbers by formulas that programs use and nobody lists: what follows of few people all the same.

Each outcome is made of a table with one small cell, and once more of one without: the first is
refused, the second passes.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from qis.disclosure import Disclosure, subject_hashes
from qis.disclosure.identifiers import identifiers_in
from qis.errors import DisclosureError
from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments, QuadraticLikelihood

Q = "a vs b | death"
SMALL, LARGE = (5, 92, 60, 71), (35, 92, 60, 71)


def rule_of(outcome, people=None):
    subjects = None if people is None else subject_hashes(map(str, range(people)), key=bytes(32))
    try:
        Disclosure.preset("cms").check(outcome, subjects=subjects)
    except DisclosureError as error:
        return error.field
    return None


def effect(measure, estimate, error, n):
    return Effect(question=Q, measure=measure, estimate=estimate, standard_error=error, n=n)


def counts(a, b, c, d):
    return Counts(question=Q, events=a, total=a + b, control_events=c, control_total=c + d)


def wider(measure):
    """An exact or score interval's width, divided by 3.92."""

    def make(*cells):
        whole = counts(*cells).effect(measure)
        return replace(whole, study=None, standard_error=1.13 * whole.standard_error)

    return make


def poisson(a, b, c, d):
    """A risk ratio by Poisson regression without a robust variance."""
    error = math.sqrt(1 / a + 1 / c)
    return effect("RR", math.log(a * (c + d) / (c * (a + b))), error, a + b + c + d)


def peto(a, b, c, d):
    n1, n0, m, n = a + b, c + d, a + c, a + b + c + d
    variance = n1 * n0 * m * (n - m) / (n * n * (n - 1))
    return effect("OR", (a - n1 * m / n) / variance, variance**-0.5, n)


def agresti_caffo(a, b, c, d):
    n1, n0 = a + b + 2, c + d + 2
    p, q = (a + 1) / n1, (c + 1) / n0
    return effect("RD", p - q, math.sqrt(p * (1 - p) / n1 + q * (1 - q) / n0), a + b + c + d)


def cohen(a, b, c, d):
    n1, n0 = a + b, c + d
    spread = math.sqrt((a * b / n1 + c * d / n0) / (n1 + n0 - 2))
    g = (a / n1 - c / n0) / spread
    return effect("SMD", g, math.sqrt(1 / n1 + 1 / n0 + g * g / (2 * (n1 + n0 - 2))), n1 + n0)


def coded(no, yes, measure=None):
    """Means of a variable of any two values, without its rows."""

    def make(a, b, c, d):
        whole = Moments.from_values([yes] * a + [no] * b, [yes] * c + [no] * d, question=Q)
        return whole.effect(measure) if measure else Moments.from_body(whole.body())

    return make


def t_test(a, b, c, d):
    n1, n0 = a + b, c + d
    spread = math.sqrt((a * b / n1 + c * d / n0) / (n1 + n0 - 2)) * 4.7
    return effect("MD", 4.7 * (a / n1 - c / n0), spread * math.sqrt(1 / n1 + 1 / n0), n1 + n0)


def parabola(*cells):
    """A normal approximation that travels as a curve."""
    odds = counts(*cells).effect("OR")
    return LikelihoodProfile.from_function(
        question=Q,
        measure="OR",
        n=sum(cells),
        log_likelihood=lambda x: -((x - odds.estimate) ** 2) / (2 * odds.standard_error**2),
    )


def correlation(a, b, c, d):
    """With the error that a t statistic is divided by."""
    n = a + b + c + d
    phi = (a * d - b * c) / math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    return effect("COR", phi, 1.07 * (1 - phi * phi) / math.sqrt(n - 2), n)


def fishers_z(*cells):
    phi = correlation(*cells)
    return effect("ZCOR", math.atanh(phi.estimate), 1 / math.sqrt(phi.n - 2), phi.n)


def jackknife(measure):
    """The library's own estimate with an error that is none of any formula."""

    def make(*cells):
        whole = coded(0, 1, measure)(*cells)
        return replace(whole, study=None, standard_error=1.21 * whole.standard_error)

    return make


FORMS = {
    "a correlation": correlation,
    "Fisher's z": fishers_z,
    "a jackknife of SMD": jackknife("SMD"),
    "a jackknife of ROM": jackknife("ROM"),
    "a jackknife of MD": jackknife("MD"),
    "Newcombe's or a score interval": wider("RD"),
    "an exact interval": wider("OR"),
    "a profile interval of a risk ratio": wider("RR"),
    "Poisson regression": poisson,
    "Peto": peto,
    "Agresti and Caffo": agresti_caffo,
    "Cohen's d": cohen,
    "moments of -1 and 1": coded(-1, 1),
    "moments of any two values": coded(3.2, 7.9),
    "MD of -1 and 1": coded(-1, 1, "MD"),
    "MD of 0 and 1,000": coded(0, 1_000, "MD"),
    "MD of any two values": coded(3.2, 7.9, "MD"),
    "a t test of any two values": t_test,
    "a parabola": parabola,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_behind_another_formula_or_coding_is_found(form):
    make = FORMS[form]
    assert rule_of(make(*SMALL)) == "implied_cell"
    assert rule_of(make(*LARGE)) is None


def agresti_coull(k, n):
    share = (k + 2) / (n + 4)
    return effect("PR", share, math.sqrt(share * (1 - share) / (n + 4)), n)


def kaplan_meier(k, n):
    """Survival after k events among n people of whom most are lost from sight in between."""
    at_risk = np.linspace(n, n / 2, k).round()
    survival = float(np.prod(1 - 1 / at_risk))
    greenwood = float((1 / (at_risk * (at_risk - 1))).sum())
    return effect("PR", survival, survival * math.sqrt(greenwood), n)


def garwood(k, n):
    """The logarithm of a rate with the width of an exact interval, nearly (Byar)."""
    low = k * (1 - 1 / (9 * k) - 1.96 / (3 * math.sqrt(k))) ** 3
    high = (k + 1) * (1 - 1 / (9 * (k + 1)) + 1.96 / (3 * math.sqrt(k + 1))) ** 3
    return effect("IRLN", math.log(k / 3.1 / n), (math.log(high) - math.log(low)) / 3.92, n)


ONE_ARM = {
    "Agresti and Coull": agresti_coull,
    "Kaplan and Meier": kaplan_meier,
    "log odds with 0.5": lambda k, n: effect("PLO", math.log((k + 0.5) / (n - k + 0.5)), 0.4, n),
    "log odds, another error": lambda k, n: effect("PLO", math.log(k / (n - k)), 0.4, n),
    "an exact interval of a rate": garwood,
    "a rate of death, few of whom live": lambda k, n: effect("IRLN", 0.1, (n - k) ** -0.5, n),
    "rates of death, few of whom live": lambda k, n: effect(
        "IRR", 0.1, math.sqrt(1 / (n // 2) + 1 / (n - n // 2 - k)), n
    ),
    "hazards of death, few of whom live": lambda k, n: effect(
        "HR", 0.1, 1.001 * math.sqrt(1 / (n // 2) + 1 / (n - n // 2 - k)), n
    ),
    "counts of death, few of whom live": lambda k, n: Counts(
        question=Q, events=n - k, total=n, person_time=321.5
    ),
    "an exact interval of a rate ratio": lambda k, n: effect(
        "IRR", 0.1, 1.08 * math.sqrt(1 / k + 1 / (n - k)), 4 * n
    ),
}


@pytest.mark.parametrize("form", ONE_ARM)
def test_about_how_few_events_there_are_needs_no_formula(form):
    make = ONE_ARM[form]
    for few in (2, 5, 6):
        assert rule_of(make(few, 200)) in ("implied_cell", "minimum_cell")
    assert rule_of(make(60, 200)) is None


@pytest.mark.parametrize("error", [0.995, 1.0, 1.005])
def test_a_small_arm_behind_a_standardised_difference_of_measured_values(error):
    """Its formulas differ by less than a person."""
    for arm, expected in ((7, "implied_cell"), (60, None)):
        root = error * math.sqrt(1 / arm + 1 / (200 - arm) + 0.31**2 / 400)
        assert rule_of(effect("SMD", 0.3123456789, root, 200)) == expected


def test_a_rate_that_looks_rounded_and_is_not_tells_the_other_arm():
    """60 events in 250 years are 0.24, and 1/SE² is 60."""
    rates = Counts(
        question=Q, events=4, total=100, control_events=60, control_total=100,
        person_time=230.0, control_person_time=250.0,
    )  # fmt: skip
    one = Counts(question=Q, events=60, total=100, person_time=250.0).effect("IRLN")
    everybody, arm = (
        subject_hashes(map(str, people), key=bytes(32)) for people in (range(200), range(100))
    )
    gate = Disclosure.preset("cms")
    gate.release(rates.effect("IRD"), now=0.0, subjects=everybody)
    with pytest.raises(DisclosureError) as refusal:
        gate.check(one, subjects=arm)
    assert (refusal.value.field, refusal.value.actual) == ("answers", 4)


@pytest.mark.parametrize("measure", [None, "MN"])
def test_what_rows_show_is_not_lost_in_an_effect(measure):
    """Few people with any cost, and one who has nearly all of it."""
    few = [0.0] * 93 + [120.5, 133.2, 99.7, 150.1]
    many = [0.0] * 60 + [100.0 + nth / 7.0 for nth in range(37)]
    large = [50.0 + nth / 7.0 for nth in range(96)] + [5e4]
    for values, rule in ((few, "implied_cell"), (many, None), (large, "dominance")):
        outcome = Moments.from_values(values, question=Q)
        assert rule_of(outcome.effect(measure) if measure else outcome) == rule


def test_an_estimate_of_few_people_that_is_not_searched_is_refused():
    """Under five times the limit; unrounded it is searched, and passes."""
    for n, rule in ((40, "not_searched"), (60, None)):
        assert rule_of(effect("MD", 1.25, 0.5, n)) == rule
        assert rule_of(effect("IRD", 0.0123456789, 0.00456789123, n)) == rule
        assert rule_of(effect("MD", 1.2512345678, 0.5123456789, n)) is None


def test_a_model_without_rows_and_anchor_is_not_called_searched():
    rows = np.repeat([[1.0], [0.0]], (97, 131), axis=0)
    label = np.r_[np.ones(4), np.zeros(93), np.ones(60), np.zeros(71)]
    own = QuadraticLikelihood.from_poisson(
        question=Q, features=rows, events=label, anchor=[0.0], own_intercept=True
    )
    assert rule_of(QuadraticLikelihood.from_body(own.body())) == "implied_cell"
    linear = QuadraticLikelihood.from_linear(
        question=Q, features=rows, responses=label, anchor=[0.4], residual_variance=0.3,
        own_intercept=True,
    )  # fmt: skip
    bare = QuadraticLikelihood.from_body(linear.body())
    assert "neither the rows nor the anchor" in Disclosure.preset("cms").not_searched(bare)[0]
    few = replace(bare, study=None, n=54)
    assert rule_of(few) == "not_searched"


@pytest.mark.parametrize("n", [200, 2_000, 20_000])
@pytest.mark.parametrize("measure", ["MD", "COR"])
def test_measured_values_are_no_table_by_chance(measure, n):
    """Of 20,000 people and fewer, nothing that was not rounded is the number of some table."""
    rng = np.random.default_rng(n)
    for _ in range(3):
        estimate, error = rng.normal(0.0, 0.2), 2.0 * rng.uniform(1.0, 1.5) / math.sqrt(n)
        if measure == "COR":
            error = (1.0 - estimate**2) / math.sqrt(n - 1.0)
        assert rule_of(effect(measure, estimate, error, n)) is None


def test_leaving_n_away_hides_nothing_where_the_people_are_told():
    exact = counts(3, 17, 9, 12).effect("OR")
    assert rule_of(replace(exact, study=None, n=None), people=41) == "implied_cell"
    few = np.arange(207) < 7
    times = np.where(np.arange(207) % 2, np.arange(207) / 20, 11.0)
    curve = LikelihoodProfile.from_survival(
        question=Q, times=times, events=(np.arange(207) % 2) * 1.0, treated=few
    )
    bare = replace(curve, study=None, n=None, events=None)
    assert rule_of(curve) == rule_of(bare, people=207) == "implied_cell"


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("drug vs none | death (3/40)", True),
        ("rare disease, n=7 | relapse", True),
        ("outcome of 4 patients", True),
        ("2 deaths in the arm", True),
        ("drug vs none | death within 30 days", False),
        ("5/325 mg vs 10 mg | pain at 2 hours", False),
        ("cohort 2019 | 847 people", False),
        ("at least 2 deaths", False),
        ("COVID-19 cases | day 3 of 28", False),
        ("grade 3 or 4 | 110 patients", False),
    ],
)
def test_numbers_of_few_people_in_texts_are_warned_of(text, is_told):
    assert ("a number of few people" in identifiers_in(text)) is is_told

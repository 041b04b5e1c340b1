"""One estimate, read in every way in which it may have come about.

By another formula of the standard error, from a printed interval, with another coding of yes and
no, beside another number of people. Each form is made of a table with a cell of 3, and of one whose
cells are three times the limit: the first is kept back, the second passes.
"""

import math
from statistics import NormalDist

import pytest

from qis.disclosure import PRESETS, Disclosure
from qis.disclosure.answer_tables import answer_tables
from qis.errors import DisclosureError
from qis.outcomes import Anchor, Counts, Effect, Moments

SMALL = (3, 60, 120, 61), (120, 60, 67, 3)
LARGE = (40, 60, 120, 61), (120, 60, 67, 43)
Z = NormalDist().inv_cdf(0.975)


def rule_of(outcome, preset="cms"):
    try:
        Disclosure.preset(preset).check(outcome)
    except DisclosureError as error:
        return error.field
    return ""


def effect(measure, estimate, error, n):
    return Effect(question="q", measure=measure, estimate=estimate, standard_error=error, n=n)


def parts(cells):
    a, b, c, d = cells
    return a + b, c + d, a / (a + b), c / (c + d)


def counts(cells):
    a, b, c, d = cells
    return Counts(question="q", events=a, total=a + b, control_events=c, control_total=c + d)


def mean_difference(cells, *, less=1, scale=1.0, away=0, measure="MD"):
    n, m, p, q = parts(cells)
    error = math.sqrt(p * (1 - p) / (n - less) + q * (1 - q) / (m - less))
    return effect(measure, scale * (p - q), scale * error, n + m + away)


def pooled(cells, measure):
    n, m, p, q = parts(cells)
    variance = (n * p * (1 - p) + m * q * (1 - q)) / (n + m - 2)
    return effect(measure, p - q, math.sqrt(variance * (1 / n + 1 / m)), n + m)


def under_null(cells):
    n, m, p, q = parts(cells)
    share = (cells[0] + cells[2]) / (n + m)
    return effect("RD", p - q, math.sqrt(share * (1 - share) * (1 / n + 1 / m)), n + m)


def of_one_and_two(cells):
    n, m, p, q = parts(cells)
    variance = p * (1 - p) / (n - 1) / (1 + p) ** 2 + q * (1 - q) / (m - 1) / (1 + q) ** 2
    return effect("ROM", math.log((1 + p) / (1 + q)), math.sqrt(variance), n + m)


def beside(cells, measure, away):
    exact = counts(cells).effect(measure)
    return effect(measure, exact.estimate, exact.standard_error, exact.n + away)


def of_width(cells, decimals):
    exact = counts(cells).effect("RD")
    low, middle, high = (
        round(exact.estimate + side * 1.96 * exact.standard_error, decimals) for side in (-1, 0, 1)
    )
    return effect("RD", middle, (high - low) / 2 / 1.96, exact.n)


def printed(cells, measure, rounding, level=0.95):
    exact = counts(cells).effect(measure)
    width = NormalDist().inv_cdf(0.5 + level / 2) * exact.standard_error
    low, ratio, high = (rounding(math.exp(exact.estimate + side * width)) for side in (-1, 0, 1))
    return Effect.from_ratio(
        question="q", measure=measure, ratio=ratio, lower=low, upper=high, level=level, n=exact.n
    )


def three_digits(number):
    return float(f"{number:.3g}")


def arm(cells, measure, *, away=0, scale=1.0, less=0):
    n, _, p, _ = parts(min((cells[:2], cells[2:]), key=min) * 2)
    if measure == "PLO":
        error = math.sqrt(1 / (n * p) + 1 / (n - n * p))
        return effect(measure, math.log(p / (1 - p)), error, n + away)
    return effect(measure, scale * p, scale * math.sqrt(p * (1 - p) / (n - less)), n + away)


FORMS = {
    "a t test": lambda cells: pooled(cells, "MD"),
    "a linear model of a yes/no outcome": lambda cells: pooled(cells, "RD"),
    "a difference of risks by n - 1": lambda cells: mean_difference(cells, measure="RD"),
    "a difference under the null": under_null,
    "a difference of means by n": lambda cells: mean_difference(cells, less=0),
    "percent": lambda cells: mean_difference(cells, scale=100.0),
    "1 and 2": of_one_and_two,
    "one missing, MD": lambda cells: mean_difference(cells, away=1),
    **{
        f"{away} away, {measure}": lambda cells, away=away, measure=measure: beside(
            cells, measure, away
        )
        for measure in ("OR", "RR", "RD")
        for away in (1, -2)
    },
    "width to 3 decimals": lambda cells: of_width(cells, 3),
    "width to 4 decimals": lambda cells: of_width(cells, 4),
    "RR printed": lambda cells: printed(cells, "RR", three_digits),
    "OR printed": lambda cells: printed(cells, "OR", three_digits),
    "OR printed at 90 %": lambda cells: printed(cells, "OR", three_digits, 0.9),
    "OR printed at 99 %": lambda cells: printed(cells, "OR", lambda x: round(x, 3), 0.99),
    "proportion, one missing": lambda cells: arm(cells, "PR", away=1),
    "log odds, one missing": lambda cells: arm(cells, "PLO", away=1),
    "mean, one missing": lambda cells: arm(cells, "MN", away=1, less=1),
    "mean by n": lambda cells: arm(cells, "MN"),
    "mean in percent": lambda cells: arm(cells, "MN", scale=100.0, less=1),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_small_cell_is_found_however_the_estimate_came_about(form):
    which = sum(form.encode()) % 2
    assert rule_of(FORMS[form](SMALL[which])) == "implied_cell"
    assert not rule_of(FORMS[form](LARGE[which]))


@pytest.mark.parametrize("step", [5.0, 37.5])
def test_a_variable_of_0_and_any_other_value_is_its_counts(step):
    n, share = 163, 3 / 163
    small, large = (
        Moments(question="q", total=n, mean=step * p, ss=step * step * n * p * (1 - p))
        for p in (share, 40 / 163)
    )
    assert rule_of(small) == "implied_cell"
    assert not rule_of(large)


@pytest.mark.parametrize("measure", ["OR", "RR", "RD"])
@pytest.mark.parametrize("decimals", [None, 4])
def test_a_number_of_people_that_was_rounded_hides_nothing(measure, decimals):
    exact = counts((3, 60, 120, 60)).effect(measure)  # 243 people
    numbers = exact.estimate, exact.standard_error
    if decimals is not None:
        numbers = tuple(round(number, decimals) for number in numbers)
    assert rule_of(effect(measure, *numbers, 245), "nhs") == "implied_cell"
    large = counts((43, 60, 120, 60)).effect(measure)  # 283
    assert not rule_of(effect(measure, large.estimate, large.standard_error, 285), "nhs")


@pytest.mark.parametrize("preset", ["cms", "acro", "ohdsi", "datashield"])
def test_a_hazard_ratio_tells_that_one_arm_has_few_events(preset):
    limit = PRESETS[preset].minimum_cell
    for events, others, rule in (
        (limit - 1, limit - 1, "implied_cell"),
        (limit // 2, 300, "implied_cell"),
        (3 * limit, 3 * limit, ""),
    ):
        error = math.sqrt(1 / events + 1 / others)
        assert rule_of(effect("HR", math.log(0.5), error, 900), preset) == rule


@pytest.mark.parametrize("events", [107, 50])
def test_a_number_that_looks_rounded_and_is_exact_is_one_table(events):
    """Half of the people have log odds of 0, which is not taken for 0 to one decimal."""
    n = 2 * events
    for estimate in (effect("PLO", 0.0, math.sqrt(2 / events), n),
                     effect("PR", 0.5, math.sqrt(0.25 / n), n)):  # fmt: skip
        assert answer_tables(estimate).forms["arm"].tolist() == [[events, events]]
    rate = effect("IRLN", math.log(0.5), 1 / math.sqrt(events), 400)
    assert answer_tables(rate).forms["total"].tolist() == [[events]]


def test_the_preview_asks_where_the_coefficients_of_an_anchor_come_from():
    anchor = Anchor(question="q", coefficients=[0.1, 0.2], model="logistic")
    assert "if they were fitted to this site's own patients" in str(
        Disclosure.preset("cms").preview(anchor)
    )


@pytest.mark.parametrize(
    ("preset", "cells", "error"),
    [("cms", (58, 71, 3, 51), 0.05375), ("acro", (59, 56, 8, 50), 0.065)],
)
def test_an_interval_whose_standard_error_looks_rounded_too_is_read_in_both_ways(
    preset, cells, error
):
    """Widths of 0.2107 and 0.2548 are divided by 3.92 without a rest."""
    outcome = of_width(cells, 4)
    assert outcome.standard_error == pytest.approx(error, rel=1e-12)
    assert rule_of(outcome, preset)

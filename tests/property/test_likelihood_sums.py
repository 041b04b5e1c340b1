"""A sum of log-likelihoods of any kinds says of itself what its parts say."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import qis
from qis.outcomes._conditional import Rates, Tables
from qis.synthesis._knots import Knots
from qis.synthesis.currency import Likelihood

NAMES = {"question": "q", "measure": "OR"}
THETA = np.linspace(-6.0, 6.0, 241)
STEP = 1e-4
CELLS = st.integers(0, 30)


@st.composite
def effects(draw):
    error = draw(st.floats(0.1, 3.0))
    return qis.Effect(**NAMES, estimate=draw(st.floats(-3.0, 3.0)), standard_error=error)


@st.composite
def counts(draw):
    total, control_total = draw(st.integers(30, 90)), draw(st.integers(30, 90))
    events, control = draw(CELLS), draw(CELLS)
    return qis.Counts(
        question="q", events=events, total=total, control_events=control or 1 - min(events, 1),
        control_total=control_total,
    )  # fmt: skip


TABLES = ((2, 11), (0, 5), (9, 0), (14, 14))
PROFILES = [
    qis.Counts(question="q", events=a, total=40, control_events=c, control_total=60).profile()
    for a, c in TABLES
]
PARTS = st.lists(effects() | counts() | st.sampled_from(PROFILES), min_size=1, max_size=6)


def means():
    return st.builds(
        qis.Moments,
        question=st.just("q"),
        total=st.integers(3, 60),
        mean=st.floats(-3.0, 3.0),
        ss=st.floats(1.0, 90.0),
    )


def apart(found, wanted):
    """The largest distance but for a constant, relative to the size of what is compared."""
    distance = (found - found[0]) - (wanted - wanted[0])
    return float(np.abs(distance).max() / (1.0 + np.abs(wanted - wanted[0]).max()))


@given(parts=PARTS | st.lists(means(), min_size=1, max_size=4))
def test_its_values_are_those_of_its_parts_and_its_derivatives_follow(parts):
    whole = Likelihood.of(parts)
    each = [Likelihood.of([part]) for part in parts]
    values, slopes, bends = whole.evaluate(THETA)
    assert apart(values, sum(one.value(THETA) for one in each)) < 1e-9
    assert apart(values, Likelihood.sum(each).value(THETA)) < 1e-9
    above, below = whole.evaluate(THETA + STEP), whole.evaluate(THETA - STEP)
    smooth = np.full(THETA.size, fill_value=True)
    if whole.curves is not None:  # curvature jumps at the points of a sampled curve
        near = np.abs(whole.curves.points.ravel()[:, np.newaxis] - THETA).min(axis=0)
        smooth = near > 2 * STEP
    for found, ends in ((slopes, 0), (bends, 1)):
        numeric = (above[ends] - below[ends]) / (2 * STEP)
        assert np.abs((found - numeric) / (1.0 + np.abs(numeric)))[smooth].max() < 1e-3
    assert whole.bend(-1.0, 2.0) == pytest.approx(
        whole.evaluate(np.array([-1.0]))[1][0] - whole.evaluate(np.array([2.0]))[1][0], abs=1e-9
    )


@given(parts=PARTS)
def test_it_is_called_concave_and_a_parabola_exactly_where_its_parts_are(parts):
    whole = Likelihood.of(parts)
    kinds = {type(part) for part in parts if Likelihood.of([part]).rows or part.measure == "OR"}
    has_rows = any(not isinstance(part, qis.Effect) and part.is_informative for part in parts)
    assert whole.is_parabola == (not has_rows and qis.Effect in kinds)
    assert whole.is_level == (not has_rows and qis.Effect not in kinds)
    sampled = any(isinstance(part, qis.LikelihoodProfile) and part.is_informative for part in parts)
    assert whole.is_concave != sampled
    if whole.is_concave:
        assert (whole.evaluate(THETA)[2] <= 1e-12).all()


@given(parts=PARTS)
def test_its_span_limits_and_sharpness_bound_those_of_its_parts(parts):
    whole = Likelihood.of(parts)
    each = [Likelihood.of([part]) for part in parts]
    bending = [one for one in each if not one.is_level]
    if bending:
        # The parabola's centre is one of all effects; every other part has its own span.
        others = [one for one in bending if not one.is_parabola]
        spans = [one.span for one in others] + [(whole.centre, whole.centre)] * any(
            one.is_parabola for one in bending
        )
        ends = min(low for low, _ in spans), max(high for _, high in spans)
        assert whole.span == pytest.approx(ends, abs=1e-12)
        precision = sum(one.finest**-2 for one in bending)
        assert whole.finest**-2 == pytest.approx(precision, rel=1e-9)
    for side, sign in enumerate((-1.0, 1.0)):
        limit = whole.limits[side]
        far = whole.value(np.array([sign * 60.0, sign * 80.0]))
        if math.isfinite(limit):
            assert far == pytest.approx(limit, abs=1e-6)
        else:
            assert far[1] < far[0]


@given(outcome=means(), origin=st.floats(-3.0, 3.0), power=st.integers(-3, 3))
def test_in_other_units_it_is_the_same(outcome, origin, power):
    whole, unit = Likelihood.of([outcome, outcome]), 2.0**power
    moved = whole.moved(origin, unit)
    assert apart(moved.value((THETA - origin) / unit), whole.value(THETA)) < 1e-9
    assert moved.frame[0] * unit + origin == pytest.approx(whole.frame[0], abs=1e-9)


@pytest.mark.parametrize("kind", [Tables, Rates])
@pytest.mark.parametrize("size", [1, 30, 1000])
def test_knots_are_the_log_likelihoods_that_they_stand_for(kind, size):
    random = np.random.default_rng(1)
    events, control = random.integers(1, 40, (2, 12)) * float(size)
    if kind is Rates:
        ratio = random.normal(0, 1, events.size)
        rows = Rates(events=events, control_events=control, log_time_ratio=ratio)
    else:
        total, control_total = (
            each + random.integers(1, 300, each.size) for each in (events, control)
        )
        rows = Tables(
            events=events, total=total, control_events=control, control_total=control_total
        )
    sharpest = float(rows.sharpest.max())
    knots = Knots.of(rows, sharpest**-0.5)
    ends = knots.start, knots.start + knots.step * knots.coefficients.shape[2]
    theta = np.linspace(ends[0] - 4.0, ends[1] + 4.0, 800)  # the tails beyond them, too
    found, wanted = knots.evaluate(theta), rows.evaluate(theta)
    np.testing.assert_array_equal(found[0], knots.value(theta))
    for part, unit in enumerate((1.0, sharpest**0.5, sharpest)):
        assert np.abs(found[part] - wanted[part]).max() < 1e-3 * unit

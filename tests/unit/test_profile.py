"""Likelihood profiles: shapes, the wire, and how well nine points stand for the whole."""

import math
import struct

import numpy as np
import pytest

from qis import _canonical
from qis.errors import InputError
from qis.outcomes import LikelihoodProfile, Study, outcome_from_body
from qis.outcomes._sampling import well_apart

QUESTION = "q" * 48
COHORT = "c" * 24


def binomial(theta, events, n, offset=0.0):
    """Log-likelihood of two Poisson counts given their sum: binomial in a log rate ratio."""
    return events * theta - n * np.logaddexp(0.0, theta + offset)


def profile(y, m, offset=0.0, **others):
    return LikelihoodProfile.from_function(
        measure="IRR",
        log_likelihood=lambda theta: float(binomial(theta, y, m, offset)),
        **{"question": QUESTION, **others},
    )


def normal(mean, error):
    return LikelihoodProfile.from_function(
        question=QUESTION,
        measure="OR",
        log_likelihood=lambda theta: -0.5 * ((theta - mean) / error) ** 2,
    )


@pytest.mark.parametrize(
    ("events", "n", "offset"),
    [
        (3, 7, 0.0),
        (0, 4, 0.0),
        (4, 4, 0.0),
        (0, 0, 0.0),
        (1, 30, 0.5),
        (1, 31, 0.0),
        (12, 400, 0.0),
    ],
)
def test_round_trip_through_the_body(events, n, offset):
    before = profile(events, n, offset, cohort=COHORT, n=2**32 - 1, events=2**32 - 1)
    sent = _canonical.encode(before.body())
    after = outcome_from_body(4, _canonical.decode(sent))
    assert after == before
    assert _canonical.encode(after.body()) == sent
    assert len(sent) <= 311
    assert list(before.body()) == sorted(before.body())


@pytest.mark.parametrize(
    ("events", "n", "argmax"),
    [(3, 7, math.log(3 / 4)), (1, 31, -math.log(30)), (30, 31, math.log(30))],
)
def test_the_maximum_is_the_known_one(events, n, argmax):
    found = profile(events, n)
    assert found.maximum == pytest.approx(argmax, abs=1e-6)
    assert not found.is_monotone
    assert found.is_informative


def test_monotone_and_flat_likelihoods_are_ordinary_citizens():
    rising, falling, flat = profile(4, 4), profile(0, 4), profile(0, 0)
    assert rising.is_monotone
    assert falling.is_monotone
    assert rising.maximum is falling.maximum is flat.maximum is None
    assert (rising.slope_below, rising.slope_above) == (pytest.approx(-4.0, abs=1e-6), 0.0)
    assert (falling.slope_below, falling.slope_above) == (0.0, pytest.approx(-4.0, abs=1e-6))
    assert not flat.is_informative
    assert not flat.is_monotone
    assert not flat.log_likelihood([-9.0, 0.0, 9.0]).any()


RATIOS = (0.03, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0)


@pytest.mark.parametrize("n", [1, 4, 12, 60])
@pytest.mark.parametrize("ratio", RATIOS)
def test_the_curve_follows_the_function_where_it_counts(ratio, n):
    # Person-time ratios shift the likelihood; every number of events that is plausible then.
    for events in sorted({0, 1, n // 2, n - 1, n}):
        offset = math.log(max(events, 0.5) / max(n - events, 0.5)) - math.log(ratio)
        found = profile(events, n, offset)
        theta = np.linspace(-12.0, 12.0, 481)
        exact = binomial(theta, events, n, offset)
        exact -= exact.max()
        curve = found.log_likelihood(theta)
        curve = curve - curve.max()
        error = np.abs(np.exp(curve) - np.exp(exact))
        assert error.max() < 0.01, (events, float(theta[error.argmax()]))


def test_between_and_beyond_points_as_the_format_says():
    found = profile(3, 7)
    points, values, slopes = found.points, np.array(found.values), np.array(found.gradients)
    assert found.log_likelihood(points) == pytest.approx(values, abs=1e-12)
    width = points[3] - points[2]
    middle = (values[2] + values[3]) / 2 + width * (slopes[2] - slopes[3]) / 8
    assert float(found.log_likelihood((points[2] + points[3]) / 2)) == pytest.approx(middle)
    limit, slope = found.slope_above, slopes[-1]
    beyond = values[-1] + limit * 2.5 + (slope - limit) * (1 - math.exp(-2.5))
    assert float(found.log_likelihood(points[-1] + 2.5)) == pytest.approx(beyond, abs=1e-12)
    limit, slope = found.slope_below, -slopes[0]
    beyond = values[0] + limit * 2.5 + (slope - limit) * (1 - math.exp(-2.5))
    assert float(found.log_likelihood(points[0] - 2.5)) == pytest.approx(beyond, abs=1e-12)


def test_a_normal_likelihood_is_reproduced():
    for mean, error in ((-2.0, 0.3), (0.4, 0.05), (1.0, 1.5)):
        theta = np.linspace(mean - 3 * error, mean + 3 * error, 61)
        theta = theta[np.abs(theta) < math.log(10.0)]
        exact = -0.5 * ((theta - mean) / error) ** 2
        assert normal(mean, error).log_likelihood(theta) == pytest.approx(exact, abs=2e-4)


def test_a_maximum_on_an_equally_spaced_point_is_no_obstacle():
    grid = np.linspace(-math.log(10.0), math.log(10.0), 8)
    for argmax in (*grid[1:-1], 0.0, 6.99, -6.99):
        found = normal(float(argmax), 0.4)
        assert found.maximum == pytest.approx(float(argmax), abs=1e-6)
        assert len(set(found.points.tolist())) == 9


def test_refuses_functions_that_are_no_likelihood():
    cases = {
        "not finite": lambda theta: math.log(theta) if theta > 0.0 else -math.inf,
        "nan": lambda theta: theta * math.nan,
        "rises again": lambda theta: math.cos(2.0 * theta) * 20.0 - theta**2 / 100,
    }
    for function in cases.values():
        with pytest.raises(InputError):
            LikelihoodProfile.from_function(
                question=QUESTION, measure="OR", log_likelihood=function
            )
    with pytest.raises(InputError) as caught:
        LikelihoodProfile.from_function(
            question=QUESTION, measure="MD", log_likelihood=lambda theta: -theta * theta
        )
    assert caught.value.field == "measure"


def test_a_study_fixes_measure_and_ties():
    data = {"times": [1, 2, 3, 4], "events": [1, 1, 0, 1], "treated": [0, 1, 0, 1]}
    study = Study(question="a vs b", measure="HR", ties="breslow")
    found = LikelihoodProfile.from_survival(study=study, **data, ties="breslow")
    assert found.study_id == study.id
    assert (found.n, found.events) == (4, 3)
    with pytest.raises(InputError):
        LikelihoodProfile.from_survival(study=study, **data)
    with pytest.raises(InputError):
        LikelihoodProfile.from_survival(study=Study(question="a", measure="OR"), **data)


def arguments(found):
    return {
        name: getattr(found, name)
        for name in ("measure", "lower", "upper", "maximum", "slope_below", "slope_above")
    } | {"values": found.values, "gradients": found.gradients, "question": "q"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"measure": "RD"},
        {"lower": 9.0},
        {"lower": math.nan},
        {"lower": 3.0},
        {"maximum": 2.9},
        {"maximum": None},
        {"slope_above": 0.5},
        {"values": (0.0,) * 8},
        {"values": (-1.0,) * 9},
        {"values": (1.0,) * 9},
        {"gradients": (math.inf,) * 9},
        {"gradients": (1.0,) * 9},
        {"gradients": "123456789"},
        {"n": -1},
        {"events": True},
    ],
)
def test_construction_refuses(wrong):
    good = arguments(profile(3, 7))
    LikelihoodProfile(**good)
    with pytest.raises(InputError):
        LikelihoodProfile(**{**good, **wrong})


def test_negative_zero_and_other_lengths_do_not_survive_the_wire():
    body = profile(3, 7).body()
    reals = bytearray(body[6])
    values = struct.unpack("<23f", reals)
    at = 4 * values.index(0.0)
    reals[at : at + 4] = struct.pack("<f", -0.0)
    assert LikelihoodProfile.from_body({**body, 6: bytes(reals)}).body() != {
        **body,
        6: bytes(reals),
    }
    for cut in (0, 4, 87, 88, 91):
        with pytest.raises((ValueError, struct.error)):
            LikelihoodProfile.from_body({**body, 6: body[6][:cut]})


@pytest.mark.parametrize(
    ("lower", "upper", "maximum"),
    [
        (2.0913910603326258e-09, 1.3586393594741821, 0.5842149257659912),
        (-1.05281867490703e-06, 6.453073978424072, 5.521987438201904),
    ],
)
def test_the_edge_of_the_maximum_is_the_pages_to_the_last_bit(lower, upper, maximum):
    x = 7 * (maximum - lower) / (upper - lower)
    assert abs(x - round(x)) <= 0.01
    assert abs((maximum - lower) / ((upper - lower) / 7) - round(x)) > 0.01  # rounds otherwise
    assert not well_apart(lower, upper, maximum)

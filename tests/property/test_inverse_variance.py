"""What holds for all numbers, whatever they are."""

import math

import numpy as np
from hypothesis import example, given, strategies as st

from qis.synthesis import inverse_variance

METHODS = st.sampled_from(("FE", "DL", "REML", "PM", "ML", "EB", "SJ", "HE", "HS"))
# Below 1e-100 the scaled numbers would leave the normal range and lose bits of their own.
ESTIMATES = st.floats(-5.0, 5.0).map(lambda y: y if abs(y) >= 1e-100 else 0.0)
ERRORS = st.floats(1e-2, 10.0)
SITES = st.lists(st.tuples(ESTIMATES, ERRORS), min_size=1, max_size=12)


def pool(sites, **options):
    return inverse_variance([y for y, _ in sites], [s for _, s in sites], **options)


@given(st.data(), SITES, METHODS)
def test_order_changes_no_bit(data, sites, method):
    order = data.draw(st.permutations(range(len(sites))))
    given_, shuffled = pool(sites, tau2=method), pool([sites[i] for i in order], tau2=method)
    for name in ("estimate", "standard_error", "interval", "tau2", "tau2_standard_error"):
        assert getattr(given_, name) == getattr(shuffled, name)
    for name in ("q", "i2", "h2", "hartung_knapp_q", "restricted_log_likelihood"):
        assert getattr(given_, name) == getattr(shuffled, name)
    assert [given_.weights[i] for i in order] == list(shuffled.weights)
    assert [given_.blups()[0][i] for i in order] == list(shuffled.blups()[0])


@given(SITES, METHODS, st.integers(-300, 300))
def test_units_carry_through_exactly_for_powers_of_two(sites, method, exponent):
    factor = math.ldexp(1.0, exponent)
    plain = pool(sites, tau2=method)
    scaled = pool([(y * factor, s * factor) for y, s in sites], tau2=method)
    assert scaled.estimate == plain.estimate * factor
    assert scaled.standard_error == plain.standard_error * factor
    assert scaled.tau2 == plain.tau2 * factor**2
    assert (scaled.q, scaled.i2) == (plain.q, plain.i2)


@given(SITES, METHODS, st.floats(0.01, 100.0))
def test_units_carry_through(sites, method, factor):
    plain = pool(sites, tau2=method)
    scaled = pool([(y * factor, s * factor) for y, s in sites], tau2=method)
    # REML and ML can have two maxima of equal height; then rounding decides between them.
    tolerance = 1e-6 * (plain.standard_error + abs(plain.estimate))
    if abs(scaled.tau2 / factor**2 - plain.tau2) <= 1e-6 * (plain.tau2 + 1e-4):
        assert abs(scaled.estimate / factor - plain.estimate) <= tolerance
    else:
        assert method in ("REML", "ML")
        unit = (len(sites) - 1) * math.log(factor)
        gap = scaled.restricted_log_likelihood + unit - plain.restricted_log_likelihood
        assert abs(gap) < 1e-6 or method == "ML"


# Few distinct numbers, many of them alike: here iterations that only step can run in a circle.
ALIKE = st.lists(
    st.tuples(st.integers(-6, 6).map(float), st.sampled_from((0.125, 0.5, 1.0, 2.0, 3.0, 7.0))),
    min_size=2,
    max_size=15,
)
CIRCLED = [(0.0, 2.0), *[(0.0, 3.0)] * 6, (0.0, 5.0), (0.0, 7.0), (0.0, 0.125), (3.0, 1.0)]


@given(SITES | ALIKE, st.sampled_from(("REML", "ML")))
@example(CIRCLED, "REML")
@example([(3.0, 2.0), (-3.0, 0.125), (-3.0, 0.5), (-3.0, 2.0)], "REML")  # two maxima
def test_no_tau2_is_likelier_than_the_maximum_likelihood_estimate(sites, method):
    estimates, errors = (np.array(column) for column in zip(*sites, strict=True))

    def twice_log_likelihood(tau2):
        weights = 1.0 / (errors**2 + tau2)
        mean = (weights * estimates).sum() / weights.sum()
        value = np.log(weights).sum() - (weights * (estimates - mean) ** 2).sum()
        return value - np.log(weights.sum()) if method == "REML" else value

    found = pool(sites, tau2=method).tau2
    others = [0.0, *np.geomspace(1e-8, 400.0, 400), *(found * np.linspace(0.5, 1.5, 101))]
    best = max(map(twice_log_likelihood, others))
    if len(sites) > 1:
        assert twice_log_likelihood(found) >= best - 1e-9 * (1.0 + abs(best))


@given(SITES | ALIKE)
@example(CIRCLED)
def test_paule_and_mandels_q_is_its_expectation(sites):
    estimates, errors = (np.array(column) for column in zip(*sites, strict=True))

    def q(tau2):
        weights = 1.0 / (errors**2 + tau2)
        mean = (weights * estimates).sum() / weights.sum()
        return (weights * (estimates - mean) ** 2).sum()

    found = pool(sites, tau2="PM").tau2
    expected = len(sites) - 1
    if found > 0.0:
        assert math.isclose(q(found), expected, rel_tol=1e-8)
    else:
        assert q(0.0) <= expected * (1.0 + 1e-9) + 1e-20


@given(SITES, ESTIMATES, ERRORS)
def test_a_further_site_never_widens_the_fixed_effect(sites, estimate, error):
    before = pool(sites, tau2="FE")
    after = pool([*sites, (estimate, error)], tau2="FE")
    assert after.standard_error <= before.standard_error


@given(ESTIMATES, ERRORS, METHODS)
def test_one_site_alone_is_itself(estimate, error, method):
    pooled = pool([(estimate, error)], tau2=method)
    assert (pooled.estimate, pooled.standard_error) == (estimate, error)


@given(SITES, METHODS.filter(lambda m: m != "FE"))
def test_modified_hartung_knapp_is_never_narrower(sites, method):
    normal = pool(sites, tau2=method)
    modified = pool(sites, tau2=method, interval="hksj")
    assert modified.standard_error >= normal.standard_error
    assert modified.interval[0] <= normal.interval[0]
    assert modified.interval[1] >= normal.interval[1]


@given(SITES, METHODS)
def test_nothing_is_negative_or_not_a_number(sites, method):
    pooled = pool(sites, tau2=method)
    assert pooled.tau2 >= 0.0
    assert 0.0 <= pooled.i2 <= 100.0
    assert math.isclose(math.fsum(pooled.weights), 1.0, rel_tol=1e-12)
    low, high = min(y for y, _ in sites), max(y for y, _ in sites)
    slack = 1e-12 * max(abs(low), abs(high))
    assert low - slack <= pooled.estimate <= high + slack
    assert np.isfinite(pooled.prediction_interval).all()

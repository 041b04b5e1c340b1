"""Pooling of profiles under one common effect."""

import csv
import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from qis import _canonical
from qis.disclosure.privacy import profile_of_noisy_cells
from qis.errors import IncompatibleEvidenceError, InputError
from qis.outcomes import Effect, LikelihoodProfile, outcome_from_body
from qis.synthesis import bayes, pool_profiles


def normal(mean, error, **others):
    return LikelihoodProfile.from_function(
        log_likelihood=lambda theta: -0.5 * ((theta - mean) / error) ** 2,
        **{"question": "q", "measure": "OR", **others},
    )


def binomial(events, n, offset=0.0):
    def log_likelihood(theta):
        return events * theta - n * math.log1p(math.exp(theta + offset))

    return LikelihoodProfile.from_function(
        question="q", measure="IRR", log_likelihood=log_likelihood
    )


@pytest.mark.shared
def test_thirteen_hospitals_equal_the_pooled_trial(shared_data):
    path = shared_data / "hospitals" / "cgd.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    received = []
    for hospital in sorted({row["hospital"] for row in rows}):
        mine = [row for row in rows if row["hospital"] == hospital]
        sent = LikelihoodProfile.from_survival(
            question="interferon gamma vs placebo | first infection",
            times=[float(row["days"]) for row in mine],
            events=[int(row["infection"]) for row in mine],
            treated=[row["treatment"] != "placebo" for row in mine],
        )
        body = _canonical.decode(_canonical.encode(sent.body()))
        received.append(outcome_from_body(4, body))
    pooled = pool_profiles(received, model="fixed")
    assert len(received) == 13
    assert pooled.estimate == pytest.approx(-1.1404, abs=0.001)
    assert pooled.interval == pytest.approx((-1.8417, -0.4931), abs=0.001)
    # Two hospitals had no infection.
    assert len(pooled.uninformative) == 2
    assert sum(profile.is_monotone for profile in received) == 4


def test_normal_likelihoods_pool_as_inverse_variance():
    pooled = pool_profiles([normal(0.2, 0.5), normal(-0.4, 0.25)], model="fixed", level=0.9)
    mean = (0.2 / 0.25 - 0.4 / 0.0625) / (1 / 0.25 + 1 / 0.0625)
    half = NormalDist().inv_cdf(0.95) / math.sqrt(1 / 0.25 + 1 / 0.0625)
    assert pooled.estimate == pytest.approx(mean, abs=1e-5)
    assert pooled.interval == pytest.approx((mean - half, mean + half), abs=1e-4)
    assert pooled.note == ""


def test_one_profile_gives_its_own_maximum():
    alone = binomial(3, 7)
    pooled = pool_profiles([alone], model="fixed")
    assert pooled.estimate == pytest.approx(alone.maximum, abs=1e-7)


def test_order_changes_no_bit():
    profiles = [binomial(3, 7), binomial(0, 4), binomial(2, 2, 0.3), binomial(5, 9), binomial(0, 0)]
    results = {
        (pooled.estimate, pooled.interval)
        for some in itertools.permutations(profiles)
        for pooled in [pool_profiles(list(some), model="fixed")]
    }
    assert len(results) == 1


@pytest.mark.parametrize("events", [0, 1])
@pytest.mark.parametrize("sites", [1, 5, 40])
def test_only_monotone_evidence_gives_a_one_sided_interval(sites, events):
    pooled = pool_profiles([binomial(events * 3, 3)] * sites, model="fixed")
    assert pooled.estimate is None
    # Exactly: 3k log(expit(x)) = -1.9207 at the limit.
    share = math.exp(-(NormalDist().inv_cdf(0.975) ** 2) / 2 / (3 * sites))
    border = math.log(share / (1 - share))
    low, high = pooled.interval
    if events:
        assert high == math.inf
        assert low == pytest.approx(border, abs=0.02)
    else:
        assert low == -math.inf
        assert high == pytest.approx(-border, abs=0.02)
    assert "no finite estimate" in pooled.note


@pytest.mark.parametrize("n", [4, 60, 400, 4000])
@pytest.mark.parametrize("ratio", [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
def test_limits_are_the_exact_ones_for_strong_effects_and_large_sites(ratio, n):
    for events in sorted({1, 2, n // 4, n // 2}):
        offset = math.log(events / (n - events)) - math.log(ratio)

        def fall(theta, events=events, offset=offset):
            log_likelihood = events * theta - n * math.log1p(math.exp(theta + offset))
            at_peak = events * math.log(ratio) - n * math.log(n / (n - events))
            return at_peak - log_likelihood

        pooled = pool_profiles([binomial(events, n, offset)], model="fixed")
        assert pooled.estimate == pytest.approx(math.log(ratio), abs=1e-6)
        # At the limits found, the exact log-likelihood has dropped as it should: 0.006 on the
        # log scale is the bar, measured 0.0037.
        drop = NormalDist().inv_cdf(0.975) ** 2 / 2
        for side, limit in zip((-1, 1), pooled.interval, strict=True):
            assert fall(limit - side * 0.006) < drop < fall(limit + side * 0.006)


def test_opposite_monotone_sites_make_an_estimate():
    pooled = pool_profiles([binomial(3, 3), binomial(0, 2)], model="fixed")
    assert pooled.estimate == pytest.approx(math.log(3 / 2), abs=0.003)


def test_nothing_informative_is_said():
    pooled = pool_profiles([binomial(0, 0)] * 3, model="fixed")
    assert (pooled.estimate, pooled.interval) == (None, (-math.inf, math.inf))
    assert pooled.uninformative == (0, 1, 2)
    assert pooled.note


@pytest.mark.parametrize("slope", [-0.05, -1e-3])
def test_a_slow_fall_is_followed_to_its_end_and_has_no_limit_where_that_means_nothing(slope):
    wide = LikelihoodProfile(
        question="q",
        measure="OR",
        lower=-2.0,
        upper=2.0,
        maximum=0.0,
        slope_below=slope,
        slope_above=slope,
        values=(-0.1, -0.05, -0.02, -0.01, 0.0, -0.01, -0.02, -0.05, -0.1),
        gradients=(0.05, 0.04, 0.03, 0.02, 0.0, -0.02, -0.03, -0.04, -0.05),
    )
    pooled = pool_profiles([wide], model="fixed")
    drop = NormalDist().inv_cdf(0.975) ** 2 / 2
    # -0.1 + slope * d - (0.05 + slope) = -drop once the bend is over.
    border = 2.0 + (drop - 0.15 - slope) / -slope
    if border > 64.0:
        assert pooled.interval == (-math.inf, math.inf)
        assert "there is no lower limit and no upper limit" in pooled.note
    else:
        assert pooled.interval == pytest.approx((-border, border), rel=1e-5)


@given(
    st.tuples(*[st.integers(-15, 60)] * 4),
    st.sampled_from([0.5, 2.0]),  # with 0.1 a table takes seconds
)
@example((0, 0, 0, 1), 0.1)  # endless on one side, and too level for a limit on the other
@settings(max_examples=8, deadline=None)
def test_noisy_tables_have_a_limit_that_means_something_or_none(cells, epsilon):
    noisy = profile_of_noisy_cells(cells, epsilon=epsilon, question="q")
    for model in ("fixed", "random"):
        pooled = pool_profiles([noisy], model=model, mean_scale=2.0 if model == "random" else None)
        assert_limits_mean_something(pooled)


def assert_limits_mean_something(pooled):
    for end, name in zip(pooled.interval, ("lower", "upper"), strict=True):
        assert abs(end) <= 64.0 or math.isinf(end)
        if math.isinf(end) and pooled.estimate is not None:
            assert f"no {name} limit" in pooled.note


@given(
    st.sampled_from(["peak", "rises", "falls"]),
    st.floats(-6.0, 0.5),
    st.tuples(st.sampled_from([0.0, -1e-9, -1e-3, -0.3]), st.sampled_from([0.0, -1e-6, -0.1])),
    st.integers(1, 3),
)
@settings(max_examples=12, deadline=None)
def test_curves_that_hardly_fall_have_a_limit_that_means_something_or_none(
    shape, log10_height, slopes, sites
):
    """No estimate and no limit: there was no value at which to ask how wrong the curve may be."""
    height, steps = 10.0**log10_height, np.linspace(-1.0, 1.0, 9)
    below, above = slopes
    if shape == "peak":
        values, gradients, maximum = -height * steps**2, -height * steps, 0.05
    else:
        turned = steps if shape == "rises" else -steps
        values, maximum = height * (turned - 1.0) / 2.0, None
        gradients = np.full(9, height / 4.0 if shape == "rises" else -height / 4.0)
        below, above = (below, 0.0) if shape == "rises" else (0.0, above)
    profile = LikelihoodProfile(
        question="q",
        measure="OR",
        lower=-2.0,
        upper=2.0,
        maximum=maximum,
        slope_below=below,
        slope_above=above,
        values=tuple(values.tolist()),
        gradients=tuple(gradients.tolist()),
    )
    for model, mean_scale in (("fixed", None), ("random", None), ("random", 2.0)):
        pooled = pool_profiles([profile] * sites, model=model, mean_scale=mean_scale)
        if model == "fixed" or mean_scale is not None:
            assert_limits_mean_something(pooled)


def test_refuses():
    good = normal(0.0, 1.0)
    with pytest.raises(InputError):
        pool_profiles([], model="fixed")
    with pytest.raises(InputError):
        pool_profiles([good], model="mixed")
    with pytest.raises(InputError):
        pool_profiles([good], model="fixed", level=1.0)
    for other in (normal(0.0, 1.0, question="r"), normal(0.0, 1.0, measure="RR")):
        with pytest.raises(IncompatibleEvidenceError):
            pool_profiles([good, other], model="fixed")


CASES = {
    "agreeing": ([0.2, 0.1, 0.3], [0.3, 0.2, 0.4]),
    "conflicting": ([-2.0, 2.0], [0.2, 0.2]),
    "one sharp": ([0.5, -0.5, 0.2, 0.0], [0.05, 0.5, 0.6, 0.4]),
    "wide": ([1.0, -1.0, 0.0], [1.5, 2.0, 1.0]),
}


@pytest.mark.parametrize("kinds", ["profiles", "mixed"])
@pytest.mark.parametrize("mean_scale", [None, 2.0])
@pytest.mark.parametrize("name", CASES)
def test_random_effects_of_normal_likelihoods_are_those_of_their_estimates(name, mean_scale, kinds):
    estimates, errors = CASES[name]
    outcomes = [normal(y, s) for y, s in zip(estimates, errors, strict=True)]
    if kinds == "mixed":
        outcomes[0] = Effect(
            question="q", measure="OR", estimate=estimates[0], standard_error=errors[0]
        )
    pooled = pool_profiles(outcomes, model="random", mean_scale=mean_scale)
    posterior = bayes(estimates, errors, tau_scale=0.5, mean_scale=mean_scale)
    close = {"abs": 2e-3 * posterior.sd}
    assert pooled.estimate == pytest.approx(posterior.median, **close)
    assert pooled.standard_error == pytest.approx(posterior.sd, **close)
    assert pooled.interval == pytest.approx(posterior.interval, **close)
    assert pooled.tau == pytest.approx(posterior.tau.median, abs=2e-3)
    assert pooled.tau_interval == pytest.approx(posterior.tau.interval, abs=2e-3)


def test_a_prior_on_the_mean_gives_monotone_evidence_an_estimate():
    up = binomial(3, 3)
    assert up.is_monotone
    bare = pool_profiles([up, up], model="random")
    assert bare.estimate is None
    assert "mean_scale" in bare.note
    found = pool_profiles([up, up], model="random", mean_scale=2.0)
    assert 0.0 < found.estimate < 4.0
    assert math.isfinite(found.interval[0])
    assert math.isfinite(found.interval[1])


def test_evidence_that_pulls_apart_without_end_has_no_mean():
    # One site rises to either side for ever: the sum peaks, and its ends are level.
    up, down = binomial(3, 3), binomial(0, 3)
    fixed = pool_profiles([up, down], model="fixed")
    assert fixed.estimate == pytest.approx(0.0, abs=0.01)
    assert pool_profiles([up, down], model="random").estimate == pytest.approx(0.0, abs=0.01)
    silent = pool_profiles([binomial(0, 0)], model="random")
    assert (silent.estimate, silent.interval) == (None, (-math.inf, math.inf))


def test_a_curve_that_falls_for_ever_faster_makes_no_false_peak():
    """A rate's log-likelihood has no limiting slope: 1e10 was measured, and 1.0 was the answer."""
    rate = LikelihoodProfile.from_function(
        log_likelihood=lambda x: 9.0 * (x - 1.0) - 20.0 * math.exp(min(x - 1.0, 700.0)),
        question="q",
        measure="OR",
    )
    assert rate.slope_above < -1e9
    found = pool_profiles([rate] * 3, model="random", tau_scale=0.5)
    alone = pool_profiles([rate] * 3, model="fixed")
    assert found.estimate == pytest.approx(alone.estimate, abs=0.05)
    assert found.interval[1] < 1.0


@pytest.mark.parametrize("tau_scale", [10.0, 30.0])
def test_a_scale_far_wider_than_the_errors_is_resolved(tau_scale):
    """Few sites leave a long tail of tau, whose density near 0 is as narrow as their errors."""
    estimates, errors = [0.4, -0.3], [0.25, 0.4]
    outcomes = [normal(y, s) for y, s in zip(estimates, errors, strict=True)]
    pooled = pool_profiles(outcomes, model="random", tau_scale=tau_scale)
    posterior = bayes(estimates, errors, tau_scale=tau_scale)
    assert pooled.estimate == pytest.approx(posterior.median, abs=0.01 * posterior.sd)
    assert pooled.standard_error == pytest.approx(posterior.sd, rel=0.01)
    assert pooled.tau == pytest.approx(posterior.tau.median, rel=0.01)
    assert pooled.tau_interval == pytest.approx(posterior.tau.interval, rel=0.02)

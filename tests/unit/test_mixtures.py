"""Every mixture of kinds of one measure, by value, against references that share no code with qis.

Likelihoods are written down again by log-gammas, sums over risk sets and logarithms; the fixed
model is maximised and cut by scipy; random effects are plain sums over mu, tau and each site's
effect.
"""

import itertools
import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import interpolate, optimize, special, stats

import qis
from qis.synthesis import pool_profiles, synthesise

DROP = stats.chi2.ppf(0.95, 1) / 2.0


def effect_of(measure, estimate, error):
    outcome = qis.Effect(question="q", measure=measure, estimate=estimate, standard_error=error)
    return outcome, lambda x: -0.5 * ((x - estimate) / error) ** 2


def counts_of(*cells):
    a, n, c, m = cells
    u = np.arange(max(0, a + c - m), min(n, a + c) + 1.0)
    weights = -sum(special.gammaln(k + 1.0) for k in (u, n - u, a + c - u, m - a - c + u))

    def log_likelihood(x):
        logs = weights + np.multiply.outer(x, u)
        return a * np.asarray(x) - special.logsumexp(logs, axis=-1)

    outcome = qis.Counts(question="q", events=a, total=n, control_events=c, control_total=m)
    return outcome, log_likelihood


def rates_of(a, time, c, control_time):
    def log_likelihood(x):
        shift = np.asarray(x) + math.log(time / control_time)
        return a * shift - (a + c) * np.logaddexp(0.0, shift)

    outcome = qis.Counts(
        question="q",
        events=a,
        total=50,
        control_events=c,
        control_total=50,
        person_time=time,
        control_person_time=control_time,
    )
    return outcome, log_likelihood


def one_arm_of(events, total):
    outcome = qis.Counts(question="q", events=events, total=total)
    return outcome, lambda x: events * np.asarray(x) - total * np.logaddexp(0.0, x)


def one_rate_of(events, time):
    outcome = qis.Counts(question="q", events=events, total=400, person_time=time)
    return outcome, lambda x: events * np.asarray(x) - time * np.exp(np.minimum(x, 30.0))


def mean_of(n, mean, ss):
    outcome = qis.Moments(question="q", total=n, mean=mean, ss=ss)
    return outcome, lambda x: -n / 2.0 * np.log1p(n * (np.asarray(x) - mean) ** 2 / ss)


def difference_of(*numbers):
    n, mean, ss, m, control_mean, control_ss = numbers
    outcome = qis.Moments(
        question="q",
        total=n,
        mean=mean,
        ss=ss,
        control_total=m,
        control_mean=control_mean,
        control_ss=control_ss,
    )

    def log_likelihood(x):
        # The control arm's mean is profiled out on a grid.
        own = control_mean + np.linspace(-9.0, 9.0, 601) * math.sqrt(control_ss) / m
        rest = -m / 2.0 * np.log1p(m * (own - control_mean) ** 2 / control_ss)
        apart = own + np.asarray(x)[..., np.newaxis] - mean
        return (rest - n / 2.0 * np.log1p(n * apart**2 / ss)).max(axis=-1)

    return outcome, log_likelihood


def survival_of(seed, ratio):
    rng = np.random.default_rng(seed)
    treated = rng.random(60) < 0.5
    times = rng.exponential(1.0, 60) / np.where(treated, ratio, 1.0)
    events = rng.random(60) < 0.7
    outcome = qis.LikelihoodProfile.from_survival(
        question="q", times=times, events=events, treated=treated
    )

    def log_likelihood(x):
        total = 0.0
        for k in np.flatnonzero(events):
            at_risk = treated[times >= times[k]]
            ratio_of_all = at_risk.sum() * np.exp(x) + (~at_risk).sum()
            total = total + treated[k] * np.asarray(x) - np.log(ratio_of_all)
        return total

    return outcome, log_likelihood


def as_profile(pair):
    return pair[0].profile(), pair[1]


KINDS = {
    "OR": {
        "Effect": [effect_of("OR", -0.4, 0.3)],
        "Counts": [counts_of(3, 20, 9, 22), counts_of(0, 15, 2, 14)],
        "LikelihoodProfile": [as_profile(counts_of(6, 40, 12, 38))],
    },
    "IRR": {
        "Effect": [effect_of("IRR", 0.4, 0.3)],
        "Counts": [rates_of(7, 20.0, 3, 22.0), rates_of(2, 15.0, 0, 14.0)],
        "LikelihoodProfile": [as_profile(rates_of(9, 31.0, 8, 40.0))],
    },
    "HR": {
        "Effect": [effect_of("HR", -0.5, 0.25)],
        "LikelihoodProfile": [survival_of(1, 0.6), survival_of(2, 0.9)],
    },
    "PLO": {
        "Effect": [effect_of("PLO", -1.0, 0.5)],
        "Counts": [one_arm_of(3, 20), one_arm_of(0, 9)],
    },
    "IRLN": {
        "Effect": [effect_of("IRLN", -1.0, 0.4)],
        "Counts": [one_rate_of(7, 20.0), one_rate_of(0, 3.0)],
    },
    "MN": {
        "Effect": [effect_of("MN", 1.3, 0.4)],
        "Moments": [mean_of(30, 1.0, 40.0), mean_of(5, 2.0, 9.0)],
    },
    "MD": {
        "Effect": [effect_of("MD", 1.3, 0.4)],
        "Moments": [difference_of(30, 2.0, 40.0, 20, 1.2, 33.0)],
    },
}
MIXTURES = [
    (measure, mixed)
    for measure, kinds in KINDS.items()
    for size in range(2, len(kinds) + 1)
    for mixed in itertools.combinations(kinds, size)
]


def pairs_of(measure, mixed):
    return [pair for kind in mixed for pair in KINDS[measure][kind]]


def common_effect(functions):
    """Estimate and interval: the maximum, and where the sum has dropped."""
    grid = np.linspace(-6.0, 6.0, 1201)
    heights = sum(function(grid) for function in functions)
    best = grid[heights.argmax()]

    def total(x):
        return float(sum(function(np.array([x]))[0] for function in functions))

    found = optimize.minimize_scalar(
        lambda x: -total(x), bounds=(best - 0.02, best + 0.02), options={"xatol": 1e-9}
    )
    ends = [
        optimize.brentq(lambda x: total(x) + found.fun + DROP, found.x, found.x + 12.0 * side)
        for side in (-1.0, 1.0)
    ]
    return found.x, *ends


THETA = np.linspace(-14.0, 14.0, 701)
MEANS = slice(125, 576, 2)
SCALE = 0.6
TAUS = np.linspace(0.0, 5.5 * SCALE, 45)


@lru_cache
def kernels():
    """What takes likelihoods at theta to marginal ones at each mean, for each tau above 0."""
    apart = THETA[:, np.newaxis] - THETA[MEANS]
    step = (THETA[1] - THETA[0]) / math.sqrt(2.0 * math.pi)
    return [np.exp(-0.5 * (apart / tau) ** 2) * step / tau for tau in TAUS[1:]]


def mean_effect(functions):
    """Posterior quantiles of mu and tau by plain sums."""
    tables = np.array([function(THETA) for function in functions])
    heights = np.exp(tables - tables.max(axis=1, keepdims=True))
    marginals = [heights[:, MEANS], *(heights @ kernel for kernel in kernels())]
    logs = np.array([np.log(each + 1e-300).sum(axis=0) for each in marginals])
    logs -= 0.5 * (TAUS[:, np.newaxis] / SCALE) ** 2
    density = np.exp(logs - logs.max())
    half = density.copy()
    half[0] /= 2.0
    of_mean, of_tau = half.sum(axis=0), density.sum(axis=1)
    return quantiles(THETA[MEANS], of_mean), quantiles(TAUS, of_tau)


def quantiles(points, heights):
    below = interpolate.CubicSpline(points, heights).antiderivative()
    fine = np.linspace(points[0], points[-1], 20_001)
    return np.interp([0.025, 0.5, 0.975], below(fine) / below(fine[-1]), fine)


@pytest.mark.parametrize(("measure", "mixed"), MIXTURES)
def test_the_common_effect_of_a_mixture(measure, mixed):
    pairs = pairs_of(measure, mixed)
    pooled = pool_profiles([outcome for outcome, _ in pairs])
    assert {type(outcome).__name__ for outcome, _ in pairs} == set(mixed)
    expected = common_effect([function for _, function in pairs])
    # Nine points of a curve lose some thousandths, and so does the grid of a profiled mean.
    close = 3e-3 if "LikelihoodProfile" in mixed or measure == "MD" else 2e-6
    assert (pooled.estimate, *pooled.interval) == pytest.approx(expected, abs=close)


@pytest.mark.parametrize(("measure", "mixed"), MIXTURES)
def test_the_mean_effect_of_a_mixture(measure, mixed):
    pairs = pairs_of(measure, mixed)
    pooled = pool_profiles([outcome for outcome, _ in pairs], model="random", tau_scale=SCALE)
    mean, tau = mean_effect([function for _, function in pairs])
    found = [pooled.interval[0], pooled.estimate, pooled.interval[1]]
    assert found == pytest.approx(mean.tolist(), abs=4e-3)
    assert (pooled.tau, *pooled.tau_interval) == pytest.approx((tau[1], tau[0], tau[2]), abs=4e-3)


@pytest.mark.parametrize("measure", KINDS)
def test_cohorts_of_several_kinds_are_one_site(measure):
    """The first two kinds are cohorts of one site, so one effect of its own; the rest are sites."""
    kinds = list(KINDS[measure].values())
    (one, f), (two, g) = kinds[0][0], kinds[1][0]
    others = [*kinds[1][1:], *(pair for kind in kinds[2:] for pair in kind)]
    others = others or [effect_of(measure, -0.2, 0.5)]
    two = replace(two, study=None, cohort="more")
    outcomes = [one, two, *(outcome for outcome, _ in others)]
    names = ["a", "a", *(f"site {k}" for k in range(len(others)))]
    found = synthesise(outcomes, names=names, model="random", tau_scale=SCALE)
    functions = [lambda x: f(x) + g(x), *(function for _, function in others)]
    mean, _ = mean_effect(functions)
    assert len(found.sites) == len(functions)
    numbers = [found.interval[0], found.estimate, found.interval[1]]
    assert numbers == pytest.approx(mean.tolist(), abs=4e-3)
    expected = common_effect([f, g, *(function for _, function in others)])
    assert (found.fixed.estimate, *found.fixed.interval) == pytest.approx(expected, abs=3e-3)

"""Against bayesmeta 3.4 within its own accuracy, and against scipy's adaptive quadrature."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from qis.errors import InputError
from qis.synthesis import bayes

FOLDER = Path(__file__).parents[1] / "data" / "synthesis"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
BLOCKS = ("halfnormal_0.5__mu_flat", "halfnormal_0.5__mu_normal0_2", "halfcauchy_0.5__mu_flat")
ACCURACY = 3e-3


def check_block(path, block):
    data = json.loads(path.read_text())
    expected = data["expected"]["bayes"][block]
    prior_sd = expected["prior_mu_sd"]
    posterior = bayes(
        data["effects"]["yi"],
        [math.sqrt(v) for v in data["effects"]["vi"]],
        tau_scale=expected["prior_tau_scale"],
        mean_scale=None if prior_sd == "flat" else prior_sd,
        tau_prior="half-cauchy" if block.startswith("halfcauchy") else "half-normal",
    )
    checked = {"prior_tau_scale", "prior_mu_sd"}
    quantities = (("mu", posterior), ("tau", posterior.tau), ("predictive", posterior.predictive))
    for name, found in quantities:
        reference = expected[name]
        sd = reference["sd"]
        values = {
            "mean": found.mean,
            "median": found.median,
            "sd": found.sd,
            "q025": found.interval[0],
            "q975": found.interval[1],
        }
        assert set(reference) == set(values)
        for key, value in values.items():
            assert abs(value - reference[key]) < ACCURACY * sd, (name, key)
        checked.add(name)
    sds = np.array(expected["shrinkage_sd"])
    assert np.abs(posterior.shrinkage_sds - sds).max() < ACCURACY * sds.min()
    gap = np.abs(np.array(posterior.shrinkage_means) - expected["shrinkage_mean"])
    assert (gap < ACCURACY * sds).all()
    assert abs(posterior.probability_positive - expected["p_mu_gt_0"]) < 1e-4
    checked |= {"shrinkage_mean", "shrinkage_sd", "p_mu_gt_0"}
    assert checked == set(expected), "a reference value was not compared"


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_bayesmeta(name, block):
    check_block(FOLDER / f"{name}.json", block)


@pytest.mark.shared
@pytest.mark.parametrize("block", BLOCKS)
def test_every_number_of_bayesmeta_on_132_hospitals(shared_data, block):
    check_block(shared_data / "synthesis" / "reference" / "eicu_vent.json", block)


@pytest.mark.parametrize("mean_scale", [None, 2.0])
@pytest.mark.parametrize("tau_prior", ["half-normal", "half-cauchy"])
@pytest.mark.parametrize(
    ("estimates", "errors"),
    [
        ([-0.9, -1.6, -0.2, 0.4], [0.57, 0.44, 0.2, 0.7]),
        ([0.1, 0.1, 0.1], [0.3, 0.3, 0.3]),
        ([-3.0, 0.0, 3.0, 1.0, 0.5], [0.1, 0.2, 0.1, 1.0, 0.5]),
    ],
)
def test_adaptive_quadrature_gives_the_same_to_seven_digits(
    estimates, errors, tau_prior, mean_scale
):
    y, v = np.array(estimates), np.square(errors)
    precision = 0.0 if mean_scale is None else mean_scale**-2

    def conditional(tau):
        w = 1.0 / (v + tau * tau)
        total = w.sum() + precision
        mean = (w @ y) / total
        misfit = w @ (y - mean) ** 2 + precision * mean**2
        log_density = 0.5 * (np.log(w).sum() - math.log(total) - misfit)
        prior = stats.halfnorm if tau_prior == "half-normal" else stats.halfcauchy
        return math.exp(log_density) * prior.pdf(tau, scale=0.5), mean, 1.0 / total

    def expectation(of):
        def integrand(u):  # tau = u / (1 - u)
            tau = u / (1.0 - u)
            return of(tau, *conditional(tau)) / (1.0 - u) ** 2

        return integrate.quad(integrand, 0.0, 1.0, epsabs=1e-13, epsrel=1e-11, limit=500)[0]

    mass = expectation(lambda _t, p, _m, _v: p)
    mean = expectation(lambda _t, p, m, _v: p * m) / mass
    second = expectation(lambda _t, p, m, s2: p * (s2 + (m - mean) ** 2)) / mass
    tau_mean = expectation(lambda t, p, _m, _v: p * t) / mass
    found = bayes(estimates, errors, tau_prior=tau_prior, mean_scale=mean_scale)
    assert found.mean == pytest.approx(mean, abs=1e-8)
    assert found.sd == pytest.approx(math.sqrt(second), rel=1e-7)
    assert found.tau.mean == pytest.approx(tau_mean, rel=1e-7)
    for x, probability in ((found.interval[0], 0.025), (found.median, 0.5)):
        cdf = expectation(lambda _t, p, m, s2, x=x: p * stats.norm.cdf((x - m) / math.sqrt(s2)))
        assert cdf / mass == pytest.approx(probability, abs=1e-8)
    for t, probability in ((found.tau.interval[0], 0.025), (found.tau.interval[1], 0.975)):
        below = integrate.quad(lambda u: conditional(u)[0], 0.0, t, epsrel=1e-11, limit=500)[0]
        assert below / mass == pytest.approx(probability, abs=1e-6)


def test_one_site_keeps_its_estimate_and_tells_of_the_prior_only():
    found = bayes([0.1], [0.3])
    assert (found.mean, found.median) == (0.1, 0.1)
    assert found.tau.median == pytest.approx(0.5 * stats.halfnorm.median(), rel=1e-6)
    # Given tau the mean is N(0.1, 0.3² + tau²); the variance of tau's prior is known.
    assert found.sd == pytest.approx(math.sqrt(0.3**2 + 0.5**2), rel=1e-9)


def test_moments_that_do_not_exist_are_infinite():
    one = bayes([0.1], [0.3], tau_prior="half-cauchy")
    two = bayes([0.1, 0.2], [0.3, 0.3], tau_prior="half-cauchy")
    three = bayes([0.1, 0.2, 0.3], [0.3, 0.3, 0.3], tau_prior="half-cauchy")
    assert (one.sd, one.tau.mean, one.tau.sd, one.predictive.sd) == (math.inf,) * 4
    assert (two.sd, two.tau.sd, two.predictive.sd) == (math.inf,) * 3
    assert math.isfinite(two.tau.mean)
    assert all(map(math.isfinite, (three.sd, three.tau.sd, three.predictive.sd)))
    proper = bayes([0.1], [0.3], tau_prior="half-cauchy", mean_scale=2.0)
    assert math.isfinite(proper.sd)
    assert proper.sd < 2.0


@pytest.mark.parametrize("factor", [1e-100, 1e-3, 1e100])
def test_units_carry_through(factor):
    y, s = np.array([-0.9, -1.6, -0.2]), np.array([0.57, 0.44, 0.2])
    plain = bayes(y, s, tau_scale=0.5, mean_scale=2.0)
    scaled = bayes(y * factor, s * factor, tau_scale=0.5 * factor, mean_scale=2.0 * factor)
    assert scaled.mean / factor == pytest.approx(plain.mean, rel=1e-9)
    assert scaled.tau.median / factor == pytest.approx(plain.tau.median, rel=1e-7)
    assert scaled.interval[0] / factor == pytest.approx(plain.interval[0], rel=1e-9)


def test_order_changes_no_bit():
    rng = np.random.default_rng(3)
    y, s = rng.normal(0, 0.5, 9), rng.uniform(0.1, 0.8, 9)
    order = rng.permutation(9)
    one, other = bayes(y, s), bayes(y[order], s[order])
    assert (one.mean, one.sd, one.interval, one.tau) == (
        other.mean,
        other.sd,
        other.interval,
        other.tau,
    )
    assert np.array(one.shrinkage_means)[order].tolist() == list(other.shrinkage_means)


def test_ten_thousand_sites():
    rng = np.random.default_rng(5)
    errors = rng.uniform(0.1, 1.0, 10_000)
    found = bayes(rng.normal(0.2, np.hypot(errors, 0.3)), errors)
    assert abs(found.mean - 0.2) < 5 * found.sd
    assert abs(found.tau.mean - 0.3) < 5 * found.tau.sd


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tau_scale": 0.0}, "tau_scale"),
        ({"tau_scale": math.nan}, "tau_scale"),
        ({"mean_scale": -1.0}, "mean_scale"),
        ({"mean_prior": math.inf}, "mean_prior"),
        ({"tau_prior": "gamma"}, "tau_prior"),
        ({"level": 0.0}, "level"),
    ],
)
def test_bad_options_are_named(options, field):
    with pytest.raises(InputError) as caught:
        bayes([1.0, 2.0], [1.0, 1.0], **options)
    assert caught.value.field == field


def test_estimates_that_the_prior_all_but_excludes_are_refused():
    with pytest.raises(InputError, match="check units"):
        bayes([0.0, 1e12], [1.0, 1.0])

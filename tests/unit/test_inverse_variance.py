"""Against metafor 3.8-1 on published data, estimator by estimator (tests/data/synthesis)."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from qis.errors import InputError
from qis.synthesis import Pooled, egger_test, inverse_variance

FOLDER = Path(__file__).parents[1] / "data" / "synthesis"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
METHODS = ("DL", "REML", "PM", "ML", "EB", "SJ", "HE", "HS")


def load(path):
    data = json.loads(path.read_text())
    effects = data["effects"]
    return data, effects["yi"], [math.sqrt(v) for v in effects["vi"]]


def check_method(path, method):
    data, estimates, errors = load(path)
    expected = data["expected"]["inverse_variance"][method]
    name = "FE" if method == "fixed" else method
    plain = inverse_variance(estimates, errors, tau2=name)
    close = {"rel": data["rtol"][method], "abs": 1e-12}
    found = {
        "est": plain.estimate,
        "se": plain.standard_error,
        "ci_lo": plain.interval[0],
        "ci_hi": plain.interval[1],
        "z": plain.z,
        "p": plain.pval,
        "tau2": plain.tau2,
        "tau2_se": plain.tau2_standard_error,
        "I2_pct": plain.i2,
        "H2": plain.h2,
        "Q": plain.q,
        "Q_p": plain.q_pval,
        "df": plain.df,
        "logLik_reml": plain.restricted_log_likelihood,
    }
    checked = {key for key in expected if key in found}
    for key in checked:
        assert found[key] == pytest.approx(expected[key], **close), key
    if method == "fixed":
        assert checked == set(expected)
        return
    for option, block in (("hk", "hk"), ("hksj", "hk_modified")):
        pooled = inverse_variance(estimates, errors, tau2=name, interval=option)
        values = {
            "se": pooled.standard_error,
            "ci_lo": pooled.interval[0],
            "ci_hi": pooled.interval[1],
            "df": pooled.df,
            "q": pooled.hartung_knapp_q,
        }
        for key in expected[block].keys() - {"note"}:
            assert values[key] == pytest.approx(expected[block][key], **close), (block, key)
        checked.add(block)
        if option == "hk":
            check_prediction(pooled.predict("hk"), expected["pi_hk"], close)
    check_prediction(plain.predict("z"), expected["pi_z"], close)
    check_prediction(plain.predict("hts"), expected["pi_hts"], close)
    checked |= {"pi_hk", "pi_z", "pi_hts"}
    if method == "REML":
        means, blup_errors = plain.blups()
        assert means == pytest.approx(expected["blup"]["pred"], **close)
        assert blup_errors == pytest.approx(expected["blup"]["se"], **close)
        without = [each.estimate for each in plain.leave_one_out()]
        assert without == pytest.approx(expected["leave_one_out_est"], **close)
        checked |= {"blup", "leave_one_out_est"}
    assert checked == set(expected), "a reference value was not compared"


def check_prediction(interval, expected, close):
    assert interval == pytest.approx((expected["lo"], expected["hi"]), **close)


@pytest.mark.parametrize("method", ["fixed", *METHODS])
@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_metafor(name, method):
    check_method(FOLDER / f"{name}.json", method)


@pytest.mark.shared
@pytest.mark.parametrize("method", ["fixed", *METHODS])
def test_every_number_of_metafor_on_132_hospitals(shared_data, method):
    check_method(shared_data / "synthesis" / "reference" / "eicu_vent.json", method)


def check_q_profile_and_egger(path):
    data, estimates, errors = load(path)
    block = data["expected"]["inverse_variance"]
    pooled = inverse_variance(estimates, errors)
    expected = block["tau2_qprofile_ci95"]
    # metafor finds these with uniroot at its default tolerance, which is 1.2e-4 (absolute).
    low, high = pooled.tau2_interval()
    assert (low, high) == pytest.approx((expected["lo"], expected["hi"]), rel=1e-5, abs=1e-4)
    expected_i2 = (expected["I2_lo"], expected["I2_hi"])
    assert pooled.i2_interval() == pytest.approx(expected_i2, rel=1e-4, abs=1e-6)
    # So the defining equation is what is held to more digits.
    for tau2, probability in ((low, 0.975), (high, 0.025)):
        quantile = stats.chi2.ppf(probability, pooled.df)
        weights = 1.0 / (np.square(errors) + tau2)
        mean = np.average(estimates, weights=weights)
        q = float(np.sum(weights * (np.array(estimates) - mean) ** 2))
        assert q == pytest.approx(quantile, rel=1e-9) if tau2 else q <= quantile
    egger = egger_test(estimates, errors)
    assert egger.t == pytest.approx(block["egger_lm"]["t"], rel=1e-9)
    assert egger.pval == pytest.approx(block["egger_lm"]["p"], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_q_profile_and_egger(name):
    check_q_profile_and_egger(FOLDER / f"{name}.json")


@pytest.mark.shared
def test_q_profile_and_egger_on_132_hospitals(shared_data):
    check_q_profile_and_egger(shared_data / "synthesis" / "reference" / "eicu_vent.json")


def test_the_estimators_differ_enough_to_be_told_apart():
    _, estimates, errors = load(FOLDER / "collins1985b.json")
    found = {m: inverse_variance(estimates, errors, tau2=m).tau2 for m in METHODS}
    assert len({round(v, 4) for v in found.values()}) == 7, "only EB and PM are the same"


@pytest.mark.parametrize("interval", ["z", "hksj", "hk"])
@pytest.mark.parametrize("method", METHODS)
def test_one_site_gives_its_own_numbers(method, interval):
    pooled = inverse_variance([0.1], [0.3], tau2=method, interval=interval)
    assert (pooled.estimate, pooled.standard_error) == (0.1, 0.3)
    assert pooled.interval_method == "z"
    assert pooled.interval == pytest.approx((0.1 - 1.959963984540054 * 0.3, 0.6879891953620163))
    assert (pooled.tau2, pooled.q, pooled.i2, pooled.h2, pooled.q_pval) == (0.0, 0.0, 0.0, 1.0, 1.0)
    assert pooled.weights == (1.0,)
    for ask in (pooled.leave_one_out, pooled.tau2_interval, lambda: pooled.predict("hk")):
        with pytest.raises(InputError):
            ask()


@pytest.mark.parametrize(
    ("estimates", "errors", "field"),
    [
        ([], [], "estimates"),
        ([1.0, 2.0], [1.0], "standard_errors"),
        ([1.0], [0.0], "standard_errors"),
        ([1.0], [-1.0], "standard_errors"),
        ([math.nan], [1.0], "estimates"),
        ([1.0], [math.inf], "standard_errors"),
        ([1e200], [1.0], "estimates"),
        ([1.0, 1.0], [1e-80, 1.0], "standard_errors"),
        (["a"], [1.0], "estimates"),
        ([[1.0]], [[1.0]], "estimates"),
    ],
)
def test_bad_input_is_named(estimates, errors, field):
    with pytest.raises(InputError) as caught:
        inverse_variance(estimates, errors)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tau2": "reml"}, "tau2"),
        ({"interval": "t"}, "interval"),
        ({"tau2": "FE", "interval": "hksj"}, "interval"),
        ({"level": 1.0}, "level"),
        ({"level": True}, "level"),
    ],
)
def test_bad_options_are_named(options, field):
    with pytest.raises(InputError) as caught:
        inverse_variance([1.0, 2.0], [1.0, 1.0], **options)
    assert caught.value.field == field


def numbers(pooled: Pooled):
    return [
        pooled.estimate,
        pooled.standard_error,
        *pooled.interval,
        pooled.tau2,
        pooled.tau2_standard_error,
        pooled.q,
        pooled.q_pval,
        pooled.i2,
        pooled.h2,
        pooled.hartung_knapp_q,
        *pooled.predict("z"),
        *pooled.weights,
        *pooled.blups()[0],
        *pooled.blups()[1],
        pooled.restricted_log_likelihood,
    ]


@pytest.mark.parametrize("method", ["FE", *METHODS])
@pytest.mark.parametrize(
    ("estimates", "errors"),
    [
        ([0.3, 0.3], [0.2, 0.2]),
        ([0.0, 1e60], [1.0, 1e-5]),
        ([0.0, 1e60, 3.0], [1.0, 1e60, 1.0]),
        ([0.0, 0.0, 1e5], [1e-60, 1.0, 1.0]),
        ([0.0, 1.0], [1e-30, 1e30]),
        ([1e149, -1e149], [1e148, 1e149]),
        ([1e-149, -1e-149], [1e-149, 1e-148]),
    ],
)
def test_extreme_numbers_stay_finite(method, estimates, errors):
    assert np.isfinite(numbers(inverse_variance(estimates, errors, tau2=method))).all()


@pytest.mark.parametrize("method", ["FE", *METHODS])
def test_ten_thousand_sites(method):
    rng = np.random.default_rng(5)
    errors = rng.uniform(0.1, 1.0, 10_000)
    estimates = rng.normal(0.2, np.hypot(errors, 0.3))
    pooled = inverse_variance(estimates, errors, tau2=method)
    assert np.isfinite(numbers(pooled)).all()
    assert abs(pooled.estimate - 0.2) < 5 * pooled.standard_error
    if method not in ("FE", "SJ"):
        assert abs(pooled.tau2 - 0.09) < 5 * pooled.tau2_standard_error


def test_reml_finds_the_higher_of_two_maxima():
    # Two precise sites that agree and imprecise ones that do not give a likelihood with two
    # maxima; a search that climbs from a moment estimate can stop at either.
    rng = np.random.default_rng(0)
    for _ in range(200):
        errors = np.exp(rng.normal(0.0, 3.0, 4))
        estimates = rng.normal(0.0, 3.0, 4)
        pooled = inverse_variance(estimates, errors)
        tau2 = np.concatenate([[0.0], np.geomspace(1e-8, 1e4, 2000)])
        w = 1.0 / (errors**2 + tau2[:, None])
        mean = (w * estimates).sum(1) / w.sum(1)
        ll = np.log(w).sum(1) - np.log(w.sum(1)) - (w * (estimates - mean[:, None]) ** 2).sum(1)
        best = 0.5 * (ll.max() + math.log(4) - 3 * math.log(2 * math.pi))
        assert pooled.restricted_log_likelihood >= best - 1e-9


WITHOUT_SCIPY = """
import sys
sys.modules["scipy"] = None
import qis.synthesis as s
y, e = [0.1, 0.5, -0.2], [0.2, 0.3, 0.4]
for method in ("FE", "DL", "REML", "PM", "ML", "EB", "HE", "HS", "SJ"):
    pooled = s.inverse_variance(y, e, tau2=method)
    pooled.prediction_interval, pooled.blups(), pooled.leave_one_out(), pooled.pval
s.inverse_variance([0.1], [0.2], interval="hksj")
asks = (
    lambda: s.inverse_variance(y, e, interval="hksj"),
    lambda: pooled.q_pval,
    lambda: pooled.predict("hts"),
    lambda: pooled.tau2_interval(),
    lambda: s.egger_test(y, e).pval,
)
for ask in asks:
    ask()
"""


def test_without_scipy_in_a_fresh_interpreter():
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", WITHOUT_SCIPY], check=True, cwd=root, timeout=60)  # noqa: S603


@pytest.mark.parametrize(
    ("estimates", "errors"), [([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])]
)
def test_egger_needs_sites_that_differ(estimates, errors):
    with pytest.raises(InputError):
        egger_test(estimates, errors)

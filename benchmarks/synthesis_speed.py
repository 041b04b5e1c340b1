"""Speed of synthesis, each as a ratio to statsmodels on the same data in the same run.

``python benchmarks/synthesis_speed.py [--json]`` needs statsmodels (not a dependency of qis).
statsmodels' `combine_effects` has DerSimonian-Laird ("dl") and Paule-Mandel ("pm"), not REML: REML
is compared with its Paule-Mandel, the iterative one. Random effects of whole profiles, which it has
not either, are compared with the same. `running_ratio` is adding one outcome to a synthesis of
10,000 against statsmodels' fixed effect of all 10,001. A ratio below 1 means that qis is faster.
"""

import argparse
import json

import numpy as np
from _ratio import median_seconds
from statsmodels.stats.meta_analysis import combine_effects

from qis import Counts, Effect, pool_profiles
from qis.synthesis import bayes, inverse_variance
from qis.synthesis.running import RunningFixedEffect


def measure(k: int, rounds: int) -> dict[str, float]:
    """Median seconds a call, by name."""
    rng = np.random.default_rng(1)
    s = rng.uniform(0.1, 1.0, k)
    y = rng.normal(0.2, np.hypot(s, 0.3))
    v = s * s
    return median_seconds(
        {
            "statsmodels_dl": lambda: combine_effects(y, v, method_re="dl"),
            "statsmodels_pm": lambda: combine_effects(y, v, method_re="pm"),
            "fixed": lambda: inverse_variance(y, s, tau2="FE"),
            "dl": lambda: inverse_variance(y, s, tau2="DL"),
            "pm": lambda: inverse_variance(y, s, tau2="PM"),
            "reml": lambda: inverse_variance(y, s, tau2="REML"),
            "bayes": lambda: bayes(y, s),
        },
        calls=1,
        rounds=rounds,
    )


def measure_profiles(k: int) -> dict[str, float]:
    """Median seconds of pooling k profiles of counts, and of their estimates by statsmodels."""
    rng = np.random.default_rng(2)
    tables = rng.binomial(200, (0.1, 0.08), (k, 2)) + 1
    sites = [
        Counts(question="q", events=int(a), total=220, control_events=int(c), control_total=220)
        for a, c in tables
    ]
    profiles = [site.profile() for site in sites]
    effects = [site.effect("OR") for site in sites]
    y = np.array([effect.estimate for effect in effects])
    v = np.array([effect.standard_error**2 for effect in effects])
    return median_seconds(
        {
            "statsmodels_pm": lambda: combine_effects(y, v, method_re="pm"),
            "profiles_fixed": lambda: pool_profiles(profiles),
            "profiles_random": lambda: pool_profiles(profiles, model="random"),
        },
        calls=1,
        rounds=3,
    )


def measure_running(k: int) -> dict[str, float]:
    """Median seconds of one outcome more in a synthesis of k."""
    rng = np.random.default_rng(3)
    s = rng.uniform(0.1, 1.0, k + 1)
    y = rng.normal(0.2, s)
    effects = [
        Effect(question="q", measure="OR", estimate=float(a), standard_error=float(b))
        for a, b in zip(y, s, strict=True)
    ]
    running = RunningFixedEffect()
    for effect in effects[:-1]:
        running.add(effect)

    def one_more() -> None:
        running.add(effects[-1])
        running.interval()
        running.remove(effects[-1])

    return median_seconds(
        {
            "statsmodels_fixed": lambda: combine_effects(y, s * s, method_re="dl"),
            "running": one_more,
        },
        calls=20,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    seconds = measure(options.sites, options.rounds)
    dl, pm = seconds["statsmodels_dl"], seconds["statsmodels_pm"]
    ratios = {
        "dl_ratio": seconds["dl"] / dl,
        "pm_ratio": seconds["pm"] / pm,
        "reml_ratio_to_pm": seconds["reml"] / pm,
        "bayes_ratio_to_pm": seconds["bayes"] / pm,
    }
    profiles = measure_profiles(options.sites)
    for name in ("profiles_fixed", "profiles_random"):
        ratios[f"{name}_ratio_to_pm"] = profiles[name] / profiles["statsmodels_pm"]
    running = measure_running(10_000)
    ratios["running_ratio"] = running["running"] / running["statsmodels_fixed"]
    if options.json:
        print(json.dumps(ratios))
        return
    for name, ratio in ratios.items():
        print(f"{name:32}{ratio:8.2f}")


if __name__ == "__main__":
    main()

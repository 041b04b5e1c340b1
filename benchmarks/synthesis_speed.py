"""Speed of synthesis, each as a ratio to statsmodels on the same data in the same run.

``python benchmarks/synthesis_speed.py [--json]`` needs statsmodels (not a dependency of qis).
statsmodels' `combine_effects` has DerSimonian-Laird ("dl") and Paule-Mandel ("pm"), not REML: REML
is compared with its Paule-Mandel, the iterative one. A ratio below 1 means that qis is faster.
"""

import argparse
import json

import numpy as np
from _ratio import median_seconds
from statsmodels.stats.meta_analysis import combine_effects

from qis.synthesis import bayes, inverse_variance


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
    if options.json:
        print(json.dumps(ratios))
        return
    for name, ratio in ratios.items():
        print(f"{name:20}{ratio:8.2f}")


if __name__ == "__main__":
    main()

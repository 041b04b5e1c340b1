"""How far the synthesis is from metafor and bayesmeta, in one number a method.

``python benchmarks/synthesis_accuracy.py [--json] [--data DIR]``. Without `--data` the published
data sets in tests/data/synthesis are used; DIR may name a folder with more files of that format.
`worst_inverse_variance_error` is the largest |found - reference| / (1 + |reference|) over every
number of every estimator; `worst_bayes_error_sd` the largest difference in posterior standard
deviations. Both include the references' own error: metafor iterates tau² to 1e-5 and bayesmeta
works on a grid.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qis.synthesis import Pooled, bayes, inverse_variance

HERE = Path(__file__).parents[1] / "tests" / "data" / "synthesis"
METHODS = {"fixed": "FE"} | {m: m for m in ("DL", "REML", "PM", "ML", "EB", "SJ", "HE", "HS")}


def read(folder: Path) -> Iterator[tuple[dict[str, Any], list[float], list[float]]]:
    """Each reference meta-analysis: the file, estimates, standard errors."""
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        if "effects" in content:
            effects = content["effects"]
            yield content, effects["yi"], [math.sqrt(v) for v in effects["vi"]]


def numbers(pooled: Pooled) -> dict[str, float]:
    """What metafor prints for one fit, by its names."""
    return {
        "est": pooled.estimate,
        "se": pooled.standard_error,
        "ci_lo": pooled.interval[0],
        "ci_hi": pooled.interval[1],
        "tau2": pooled.tau2,
        "tau2_se": pooled.tau2_standard_error,
        "I2_pct": pooled.i2,
        "H2": pooled.h2,
        "Q": pooled.q,
        "Q_p": pooled.q_p,
        "q": pooled.hartung_knapp_q,
    }


def inverse_variance_errors(folder: Path) -> Iterator[tuple[float, str]]:
    """Error and name of each number."""
    for content, y, s in read(folder):
        for key, method in METHODS.items():
            reference = content["expected"]["inverse_variance"][key]
            blocks = [("z", reference)]
            if key != "fixed":
                blocks += [("hk", reference["hk"]), ("hksj", reference["hk_modified"])]
            for interval, block in blocks:
                found = numbers(inverse_variance(y, s, tau2=method, interval=interval))
                for name in found.keys() & block.keys():
                    error = abs(found[name] - block[name]) / (1.0 + abs(block[name]))
                    yield error, f"{content['name']} {key} {interval} {name}"


def bayes_errors(folder: Path) -> Iterator[tuple[float, str]]:
    """Error in posterior standard deviations, and name, of each number."""
    for content, y, s in read(folder):
        for key, block in content["expected"]["bayes"].items():
            flat = block["prior_mu_sd"] == "flat"
            found = bayes(
                y,
                s,
                tau_scale=block["prior_tau_scale"],
                mean_scale=None if flat else block["prior_mu_sd"],
                tau_prior="half-cauchy" if key.startswith("halfcauchy") else "half-normal",
            )
            parts = {"mu": found, "tau": found.tau, "predictive": found.predictive}
            for part, values in parts.items():
                ours = {
                    "mean": values.mean,
                    "median": values.median,
                    "sd": values.sd,
                    "q025": values.interval[0],
                    "q975": values.interval[1],
                }
                for name, value in ours.items():
                    error = abs(value - block[part][name]) / block[part]["sd"]
                    yield error, f"{content['name']} {key} {part} {name}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, default=HERE)
    options = parser.parse_args()
    reference = options.data / "synthesis" / "reference"
    folder = reference if reference.is_dir() else options.data
    worst = {
        "worst_inverse_variance_error": max(inverse_variance_errors(folder)),
        "worst_bayes_error_sd": max(bayes_errors(folder)),
    }
    if options.json:
        print(json.dumps({key: error for key, (error, _) in worst.items()}))
        return
    for key, (error, where) in worst.items():
        print(f"{key:32}{error:10.2e}  ({where})")


if __name__ == "__main__":
    main()

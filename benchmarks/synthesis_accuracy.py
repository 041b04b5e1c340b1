"""How far the synthesis is from metafor and bayesmeta, in one number a method.

``python benchmarks/synthesis_accuracy.py [--json] [--data DIR]``. Without `--data` the published
data sets in tests/data/synthesis are used; DIR may name a folder with more files of that format.
`worst_inverse_variance_error` is the largest |found - reference| / (1 + |reference|) over every
number of every estimator; `worst_bayes_error_sd` the largest difference in posterior standard
deviations; `worst_profile_error` the largest difference of pooled profiles of counts, as they come
out of a packet, from the exact conditional estimate and from the exact hypergeometric
random-effects model, on the log scale. `one_arm_…` compares proportions and rates with metafor's
`rma.glmm` (`_one_arm.py`). With --data also the gaps of benchmarks/heart_disease.py.
All include the references' own error: metafor iterates tau² to 1e-5 and bayesmeta works on a grid.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import heart_disease
from _one_arm import one_arm_vs_glmm

import qis
from qis.outcomes import LikelihoodProfile
from qis.synthesis import Pooled, bayes, inverse_variance, pool_profiles

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
        "Q_p": pooled.q_pval,
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


def profile_errors(folder: Path) -> Iterator[tuple[float, str]]:
    """Error and name of each number, on the log scale."""
    for content, _, _ in read(folder):
        if content["kind"] != "2x2":
            continue
        table = content["data"]
        sites = [
            received(events=a, total=n, control_events=c, control_total=m)
            for a, n, c, m in zip(*(table[key] for key in ("ai", "n1i", "ci", "n2i")), strict=True)
        ]
        name = content["name"]
        exact = content["expected"]["counts"]["exact_conditional_FE"]["log_or"]
        fixed = pool_profiles(sites)
        yield abs((fixed.estimate or math.inf) - exact), f"{name} fixed"
        block = content["expected"]["exact_bayes_nch"]
        mean = pool_profiles(sites, model="random", tau_scale=0.5, mean_scale=2.0)
        for found, key in (
            (mean.estimate, "mu_median"),
            (mean.standard_error, "mu_sd"),
            (mean.interval[0], "mu_q025"),
            (mean.interval[1], "mu_q975"),
            (mean.tau, "tau_median"),
        ):
            yield abs((found or 0.0) - block[key]), f"{name} random {key}"


def received(**table: int) -> LikelihoodProfile:
    """A site's profile as it comes out of a packet."""
    packet = qis.Packet.sign(
        qis.Identity.from_seed(bytes(32)),
        outcome=qis.Counts(question="q", **table).profile(),
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=1_800_000_000,
        lifetime_s=60,
    )
    outcome = qis.Packet.parse(bytes(packet)).outcome
    assert isinstance(outcome, LikelihoodProfile)  # noqa: S101  we made it
    return outcome


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
        "worst_profile_error": max(profile_errors(folder)),
    }
    worst |= {key: (error, "rma.glmm") for key, error in one_arm_vs_glmm().items()}
    if reference.is_dir():
        gaps = heart_disease.figures(options.data / "synthesis")
        worst |= {key: (gap, "four hospitals") for key, gap in gaps.items()}
    if options.json:
        print(json.dumps({key: error for key, (error, _) in worst.items()}))
        return
    for key, (error, where) in worst.items():
        print(f"{key:32}{error:10.2e}  ({where})")


if __name__ == "__main__":
    main()

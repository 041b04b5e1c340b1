"""The table of the comparison: every method on every scenario, with two intervals.

Splits of one data set share people. The interval of Nadeau & Bengio (2003) widens the variance over
splits by the ratio of people tested to people trained on; verdicts use it alone. The Monte Carlo
error says only how well more splits would repeat the mean.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from _case_data import Floats, Scenario, Site, Split
from _case_models import Batch, fitted
from scipy import stats

MARGIN: Final = 0.01
"""Fixed before anything was measured: differences of AUC that do not matter."""
CHUNK: Final = 10
Rows = dict[str, dict[str, Floats]]


def auc(scores: Floats, labels: Floats) -> float:
    """Area under the ROC curve, ties counted half; NaN where labels are all alike."""
    cases, rest = np.sort(scores[labels == 1.0]), scores[labels == 0.0]
    if not len(cases) or not len(rest):
        return math.nan
    below = np.searchsorted(cases, rest, "left") + np.searchsorted(cases, rest, "right")
    return float(1.0 - below.mean() / 2.0 / len(cases))


def judged(site: Site, rows: Floats, b: Floats) -> dict[str, float]:
    """What one method's coefficients are worth for the people tested at one site."""
    x, y = site.x[rows], site.y[rows]
    eta = x @ b
    chance = 1.0 / (1.0 + np.exp(-np.clip(eta, -500, 500)))
    return {
        "auc": auc(eta, y),
        "logloss": float(np.logaddexp(0.0, np.where(y == 1.0, -eta, eta)).mean()),
        "calibration": abs(float(chance.mean() - y.mean())),
    }


def covers(site: Site, train: Floats, test: Floats, b: Floats, slopes: Floats) -> float:
    """Whether the 95 % interval of the mean risk holds the share of cases among those tested.

    The delta method with the covariance of the slopes, of the site's own intercept given them, and
    the chance that people tested have by themselves.
    """
    x, y = site.x[train], site.x[test]
    chance = 1.0 / (1.0 + np.exp(-x @ b))
    spread = chance * (1.0 - chance)
    centre = spread @ x[:, 1:] / spread.sum()
    there = 1.0 / (1.0 + np.exp(-y @ b))
    weight = there * (1.0 - there)
    along = (weight @ y[:, 1:]) / len(y) - weight.mean() * centre
    variance = weight.mean() ** 2 / spread.sum() + along @ slopes @ along
    variance += weight.mean() / len(y)
    off = abs(float(there.mean() - site.y[test].mean()))
    return float(off <= 1.959963984540054 * math.sqrt(variance))


def measured(scenario: Scenario, splits: int, said: Callable[[str], None]) -> Rows:
    """Figures by method, one a split: means over sites, and over the sites of 11 people."""
    found: dict[str, dict[str, list[float]]] = {}
    for begin in range(0, splits, CHUNK):
        numbers = list(range(begin, min(begin + CHUNK, splits)))
        chosen = [scenario.split(number) for number in numbers]
        label = f"{scenario.data}, {scenario.name}, splits {begin}-{numbers[-1]}: "
        fits, covariance = fitted(
            Batch.of(scenario, chosen), lambda words, label=label: said(label + words)
        )
        for index, (number, split) in enumerate(zip(numbers, chosen, strict=True)):
            small = scenario.small_sites(number)
            for method, coefficients in fits.items():
                row = _row(scenario, split, small, coefficients[index])
                if method == "packet" and small:
                    row["coverage_small"] = float(
                        np.mean(
                            [
                                covers(
                                    scenario.sites[site],
                                    split.train[site],
                                    split.test[site],
                                    coefficients[index, site],
                                    covariance[index],
                                )
                                for site in small
                            ]
                        )
                    )
                for name, value in row.items():
                    found.setdefault(method, {}).setdefault(name, []).append(value)
    return {
        method: {name: np.array(values) for name, values in rows.items()}
        for method, rows in found.items()
    }


def _row(scenario: Scenario, split: Split, small: list[int], fits: Floats) -> dict[str, float]:
    sites = [
        judged(site, split.test[index], fits[index]) for index, site in enumerate(scenario.sites)
    ]
    row = {name: float(np.mean([each[name] for each in sites])) for name in sites[0]}
    if scenario.data == "heart":
        row["auc_without_switzerland"] = float(
            np.mean([each["auc"] for index, each in enumerate(sites) if index != 2])
        )
    if small:
        for name in sites[0]:
            row[f"{name}_small"] = float(np.mean([sites[index][name] for index in small]))
    return row


def figures_of(scenario: Scenario, splits: list[Split], fits: Floats) -> dict[str, float]:
    """Means over splits of one method."""
    rows = [
        _row(scenario, split, scenario.small_sites(number), fits[number])
        for number, split in enumerate(splits)
    ]
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def intervals(differences: Floats, test_over_train: float) -> dict[str, float]:
    """Mean, Monte Carlo error, and the corrected resampled t interval of differences by split."""
    count = len(differences)
    spread = float(differences.std(ddof=1))
    mean, error = float(differences.mean()), spread * math.sqrt(1.0 / count + test_over_train)
    reach = float(stats.t.ppf(0.975, count - 1)) * error
    return {
        "mean": mean,
        "monte_carlo_se": spread / math.sqrt(count),
        "low": mean - reach,
        "high": mean + reach,
    }


def verdict(interval: dict[str, float]) -> str:
    """What a corrected interval of differences in AUC says, with the margin of .01."""
    low, high = interval["low"], interval["high"]
    if low >= -MARGIN:
        return "as good" if high <= MARGIN else "better" if low > MARGIN else "not worse"
    return "worse" if high < -MARGIN else "cannot tell"


REGIONS: Final = {
    "better": (MARGIN, math.inf),
    "as good": (-MARGIN, MARGIN),
    "not worse": (-MARGIN, math.inf),
    "worse": (-math.inf, -MARGIN),
    "cannot tell": (-math.inf, math.inf),
}
"""Where the true difference in AUC lies, by each verdict."""


def excludes(interval: dict[str, float], said: str) -> bool:
    """Whether no difference within a corrected interval is one of which this verdict is true."""
    low, high = REGIONS[said]
    return interval["high"] < low or interval["low"] > high


def against(rows: Rows, ours: str, test_over_train: float) -> dict[str, Any]:
    """One of our methods minus each of the others, with both intervals and the verdict."""
    found = {}
    for other in [name for name in rows if not name.startswith("packet")]:
        compared = {
            name: intervals(rows[ours][name] - rows[other][name], test_over_train)
            for name in ("auc", "logloss")
        }
        found[other] = {**compared, "verdict": verdict(compared["auc"])}
    return found


def summary(scenario: Scenario, rows: Rows) -> dict[str, Any]:
    """The record of one scenario."""
    methods = {
        method: {name: float(np.nanmean(values)) for name, values in each.items()}
        for method, each in rows.items()
    }
    ratio, best = scenario.test_over_train, {}
    for ours in ("packet", "packet own"):
        best[ours] = against(rows, ours, ratio)
    return {
        "data": scenario.data,
        "scenario": scenario.name,
        "splits": len(rows["packet"]["auc"]),
        "methods": methods,
        "packet_against": best["packet"],
        "own_against": best["packet own"],
    }

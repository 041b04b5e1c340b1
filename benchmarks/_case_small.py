"""Small sites: the table, sites by their number, and what 11 people of 1,470 weigh."""

from typing import Any

import numpy as np
from _case_asked import Asked
from _case_data import ARTICLE, Scenario, actg, actg_scenarios, dealt, heart_scenarios
from _case_models import Batch, outcomes
from _case_table import measured, summary

COUNTS = (2, 4, 8, 16, 30, 60)
EVERYBODY = 2_130


def hearts(asked: Asked) -> dict[str, Any]:
    """The table of UCI heart disease, or why not."""
    if asked.data is None or not (asked.data / "synthesis" / "heart_va.csv").exists():
        return {"table": [], "not_run": "UCI heart disease is not in the data folder"}
    return {"table": [_row(each, asked) for each in heart_scenarios(asked.data)]}


def part(asked: Asked) -> dict[str, Any]:
    """The table of the packaged data, and weights."""
    return {
        "table": [_row(each, asked) for each in actg_scenarios()],
        "weights": weights(actg_scenarios()[-1], asked.of(4, 10, 50)),
    }


def by_number(asked: Asked) -> dict[str, Any]:
    """The same people dealt to 2 to 60 sites."""
    found: dict[str, Any] = {"by_number": []}
    everybody = actg()
    for count in COUNTS if asked.effort else COUNTS[:2]:
        sites = dealt(everybody, (EVERYBODY // count,) * count)
        scenario = Scenario("actg", f"{count} sites", sites)
        rows = measured(scenario, asked.of(2, 4, 20), asked.said)
        found["by_number"].append(summary(scenario, rows))
    return found


def _row(scenario: Scenario, asked: Asked) -> dict[str, Any]:
    # As many as keep the Monte Carlo error near .001; where all sites are cut they cost least.
    few, many = (48, 130) if scenario.data == "heart" else (20, 280)
    splits = asked.of(4, many if scenario.cut == "all" else few, 400)
    return summary(scenario, measured(scenario, splits, asked.said))


def weights(scenario: Scenario, splits: int) -> dict[str, float]:
    """What the third of 847, 612 and 11 people weighs: by people, and by information."""
    batch = Batch.of(scenario, [scenario.split(number) for number in range(splits)])
    shares = []
    for made in outcomes(batch, own=True):
        told = np.array([outcome.information.diagonal() for outcome in made])
        shares.append(float(np.mean(told[2] / told.sum(axis=0))))
    return {
        "fedavg": ARTICLE[2] / sum(ARTICLE),
        "packet_information": float(np.mean(shares)),
    }

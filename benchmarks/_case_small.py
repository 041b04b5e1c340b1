"""Small sites: the table, sites by their number, and what 11 people of 1,470 weigh."""

from typing import Any

import numpy as np
from _case_asked import Asked
from _case_data import ARTICLE, Scenario, actg, dealt, scenarios
from _case_models import Batch, outcomes
from _case_table import measured, summary

COUNTS = (2, 4, 8, 16, 30, 60)
EVERYBODY = 2_130


def part(asked: Asked) -> dict[str, Any]:
    """All of it; what needs the data folder is left out without it, and named."""
    found: dict[str, Any] = {"table": [], "by_number": []}
    for scenario in scenarios(asked.data):
        few = 60 if scenario.data == "heart" else 40
        splits = asked.of(6, 160 if scenario.cut == "all" else few, 400)
        rows = measured(scenario, splits, asked.said)
        found["table"].append(summary(scenario, rows))
    everybody = actg()
    for count in COUNTS if asked.effort else COUNTS[:2]:
        sites = dealt(everybody, (EVERYBODY // count,) * count)
        scenario = Scenario("actg", f"{count} sites", sites)
        rows = measured(scenario, asked.of(3, 4, 20), asked.said)
        found["by_number"].append(summary(scenario, rows))
    found["weights"] = weights(scenarios(None)[-1], asked.of(4, 10, 50))
    return found


def weights(scenario: Scenario, splits: int) -> dict[str, float]:
    """What the third of 847, 612 and 11 people weighs: by people, and by information."""
    batch = Batch.of(scenario, [scenario.split(number) for number in range(splits)])
    shares = []
    for _, fit, made in outcomes(batch, own=True):
        if fit == batch.mask.shape[-1] - 1:
            told = np.array([outcome.information.diagonal() for outcome in made])
            shares.append(float(np.mean(told[2] / told.sum(axis=0))))
    return {
        "fedavg": ARTICLE[2] / sum(ARTICLE),
        "packet_information": float(np.mean(shares)),
    }

"""What was measured, and what several claims ask of it."""

import math
from typing import Any, Final

FEDERATED: Final = ("fedavg 1", "fedavg 10", "fedavg 100", "fedavg", "fedavg refit")


class Record:
    """What was measured, by part."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.parts: dict[str, Any] = {
            name: part["found"] for name, part in content.get("parts", {}).items()
        }

    @property
    def table(self) -> list[dict[str, Any]]:
        """All scenarios that were run, UCI heart disease first."""
        parts = (self.parts.get(name, {}) for name in ("hearts", "small_sites"))
        return [row for part in parts for row in part.get("table", [])]

    def scenario(self, data: str, name: str) -> dict[str, Any]:
        """One scenario of the table.

        Raises
        ------
        KeyError
            If it was not run.

        """
        for row in self.table:
            if (row["data"], row["scenario"]) == (data, name):
                found: dict[str, Any] = row
                return found
        raise KeyError(f"{data}, {name}")

    @property
    def article(self) -> dict[str, Any]:
        """847, 612 and 11 people."""
        return self.scenario("actg", "847/612/11")

    def sites(self, nodes: int) -> dict[str, Any]:
        """A network of so many sites."""
        rows = self.parts["pairs"]["by_number"]
        found: dict[str, Any] = next((row for row in rows if row["nodes"] == nodes), rows[-1])
        return found


def best_federated(row: dict[str, Any]) -> str:
    """The row of federated averaging with the highest AUC in a scenario."""
    return max(FEDERATED, key=lambda name: row["methods"][name]["auc"])


def auc_gaps(record: Record, ours: str = "packet") -> list[float]:
    """A packet's AUC minus that of the best federated averaging, by scenario."""
    gaps = []
    for row in record.table:
        methods = row["methods"]
        gaps.append(methods[ours]["auc"] - methods[best_federated(row)]["auc"])
    return gaps


def at_thresholds(record: Record) -> float:
    """Share of records rebuilt at the smallest n that passes, of models with five numbers.

    With fewer features some records are right by chance.
    """
    passing = record.parts.get("thresholds", {}).get("passing", [])
    rows = [row for row in passing if row["coefficients"] == 6]
    return sum(row["rebuilt"] for row in rows) / len(rows) if rows else math.nan

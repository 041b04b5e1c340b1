"""Federated averaging by a framework: flwr's simulation, in a Python environment of its own.

    python benchmarks/_flwr_app.py FOLDER

Reads `sites.npz` of that folder (x0, y0, x1, y1 …, rounds, steps, ridge) and writes
`coefficients.npy`. It imports nothing of this project: sites take their steps as McMahan et al.
(2017) have them, and all else is the framework's. Nothing is reported to the framework's makers.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import numpy as np


def main(folder: Path) -> None:
    """Train, and write the common coefficients."""
    app, client, server, strategy, simulation = (
        importlib.import_module(f"flwr.{name}")
        for name in ("app", "clientapp", "serverapp", "serverapp.strategy", "simulation")
    )
    told = dict(np.load(folder / "sites.npz"))
    count = sum(name.startswith("x") for name in told)
    sites, averaging = client.ClientApp(), server.ServerApp()

    @sites.train()
    def train(message: Any, context: Any) -> Any:
        """Steps of gradient descent on a site's own mean loss."""
        number = context.node_config["partition-id"]
        x, y = told[f"x{number}"], told[f"y{number}"]
        b = message.content["arrays"].to_numpy_ndarrays()[0]
        for _ in range(int(told["steps"])):
            slope = x.T @ (1.0 / (1.0 + np.exp(-x @ b)) - y) / len(y)
            b = b - (slope + told["ridge"] * np.append(0.0, b[1:]))
        content = {
            "arrays": app.ArrayRecord([b]),
            "metrics": app.MetricRecord({"num-examples": len(y)}),
        }
        return app.Message(content=app.RecordDict(content), reply_to=message)

    @averaging.main()
    def run(grid: Any, _: Any) -> None:
        """All sites in every round, weighted by their people."""
        plan = strategy.FedAvg(
            fraction_evaluate=0.0, min_train_nodes=count, min_available_nodes=count
        )
        start = app.ArrayRecord([np.zeros(told["x0"].shape[1])])
        result = plan.start(grid=grid, initial_arrays=start, num_rounds=int(told["rounds"]))
        np.save(folder / "coefficients.npy", result.arrays.to_numpy_ndarrays()[0])

    simulation.run_simulation(
        server_app=averaging,
        client_app=sites,
        num_supernodes=count,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Federated averaging by a framework, beside the short implementation of this comparison.

`python -m benchmarks.claims --parts framework --flwr PYTHON`, where PYTHON is the interpreter of an
environment with ``pip install "flwr[simulation]"``: it brings some fifty packages, which do not
belong into this project's own.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from _case_asked import Asked
from _case_data import Site, actg_scenarios
from _fedavg import average

ROUNDS: Final = 10
STEPS: Final = 3
RIDGE: Final = 0.03
_LONGEST_S: Final = 1_800.0


def part(asked: Asked) -> dict[str, Any]:
    """The largest difference between the coefficients of both, or why it was not run."""
    if asked.flwr is None:
        return {"not_run": "no Python with flwr is named (--flwr)"}
    scenario = actg_scenarios()[-1]
    split = scenario.split(0)
    sites = [
        Site(site.x[rows], site.y[rows])
        for site, rows in zip(scenario.sites, split.train, strict=True)
    ]
    theirs, version = by_flwr(sites, asked.flwr)
    off = float(np.abs(by_us(sites) - theirs).max())
    asked.said(f"flwr {version}: coefficients differ by {off:.2g} at most")
    return {
        "framework": f"flwr {version}",
        "rounds": ROUNDS,
        "steps": STEPS,
        "coefficients": len(theirs),
        "largest_coefficient": float(np.abs(theirs).max()),
        "largest_difference": off,
    }


def by_us(sites: list[Site]) -> Any:
    """The common coefficients of the implementation that the table uses."""
    longest, p = max(len(site.y) for site in sites), sites[0].x.shape[1]
    x = np.zeros((len(sites), longest, p), np.float32)
    y, mask = np.zeros(x.shape[:2], np.float32), np.zeros((*x.shape[:2], 1), np.float32)
    for index, site in enumerate(sites):
        n = len(site.y)
        x[index, :n], y[index, :n], mask[index, :n] = site.x, site.y, 1.0
    *_, last = average(x, y, mask, ridge=np.array([RIDGE], np.float32), steps=STEPS, rounds=ROUNDS)
    return last[:, 0].astype(float)


def by_flwr(sites: list[Site], python: Path) -> tuple[Any, str]:
    """The same by flwr's simulation in another environment, and its version."""
    script = Path(__file__).parent / "_flwr_app.py"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays: dict[str, Any] = {"rounds": ROUNDS, "steps": STEPS, "ridge": RIDGE}
        for number, site in enumerate(sites):
            arrays |= {f"x{number}": site.x, f"y{number}": site.y}
        np.savez(folder / "sites.npz", **arrays)
        for words in ([str(script), name], ["-c", "import flwr; print(flwr.__version__)"]):
            done = subprocess.run(  # noqa: S603  an interpreter that the caller names
                [str(python), *words], env=environment, capture_output=True, text=True,
                timeout=_LONGEST_S, check=False,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"flwr failed:\n{done.stderr[-2_000:]}")
        return np.load(folder / "coefficients.npy"), done.stdout.strip()

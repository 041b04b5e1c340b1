"""The one folder where figures are kept, each with the commit and the processor that gave them.

`results/<benchmark>.json` holds the last runs of a benchmark. Tables in docs/ are made from the
medians over these runs (`keep.py`), so no figure is copied by hand.
"""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RUNS = 5


def processor() -> str:
    """The processor's name, where the system tells it: ratios differ between them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def commit() -> str:
    """The checkout's commit, with a ``+`` if files differ from it; ``unknown`` without git."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        return done.stdout.strip()

    try:
        is_changed = git("status", "--porcelain", "--", ":/qis", ":/benchmarks/*.py")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if is_changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def origin() -> dict[str, Any]:
    """Where figures come from."""
    return {
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def kept(name: str, *, path: Path | None = None) -> dict[str, Any]:
    """What is kept of a benchmark; empty if nothing is."""
    try:
        content: dict[str, Any] = json.loads((path or _path(name)).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content


def keep(name: str, content: Mapping[str, Any], *, path: Path | None = None) -> None:
    """Keep one record under a name, with where it comes from."""
    text = json.dumps({**origin(), **content}, indent=1, ensure_ascii=False)
    (path or _path(name)).write_text(text + "\n", encoding="utf-8")


def keep_run(name: str, figures: Mapping[str, float]) -> None:
    """Keep a run beside the former ones of the same processor, the last five at most."""
    run = {**origin(), "figures": dict(figures)}
    former = [each for each in kept(name).get("runs", []) if each["processor"] == run["processor"]]
    text = json.dumps({"runs": [*former, run][-RUNS:]}, indent=1, ensure_ascii=False)
    _path(name).write_text(text + "\n", encoding="utf-8")


def medians(name: str) -> dict[str, float]:
    """Each figure's median over the runs that are kept."""
    runs = [run["figures"] for run in kept(name)["runs"]]
    return {
        figure: statistics.median(run[figure] for run in runs if figure in run)
        for figure in {figure: None for run in runs for figure in run}
    }


def _path(name: str) -> Path:
    return RESULTS / f"{name}.json"

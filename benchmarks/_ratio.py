"""How every benchmark compares: the two sides take turns in one run, and medians are divided."""

import statistics
import time
from collections.abc import Callable


def seconds_per_call(run: Callable[[], object], calls: int) -> float:
    """Mean wall time of one call over `calls` calls in a row, in seconds."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def median_seconds(
    sides: dict[str, Callable[[], object]], *, calls: int = 200, rounds: int = 25
) -> dict[str, float]:
    """Median seconds per call of each side, the sides interleaved round by round.

    Interleaving lets a busy machine slow all sides alike, so that their ratio holds.
    """
    for run in sides.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            times[name].append(seconds_per_call(run, calls))
    return {name: statistics.median(values) for name, values in times.items()}

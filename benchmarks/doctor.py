"""Faults that the doctor names, and healthy sites at which it raises no alarm.

    python benchmarks/doctor.py --json

Each fault is made in a site of its own: in its files, in the shared folder, or between real nodes
on loopback and at a real NATS server. A fault is named if the finding with its code is there; every
finding that is wrong at a healthy site is a false alarm.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from benchmarks import (  # noqa: E402  found by the line above
    _doctor_cases as files,
    _doctor_network as networks,
)
from qis.site import examine, examine_network  # noqa: E402


def by_files(change: files.Change, *, ahead_s: float = 0.0) -> set[str]:
    """The codes of what is wrong with a site after a change, by its files and network."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        files.make(home)
        with files.changed(home, change):
            now = time.time() + ahead_s
            found = examine(home / "site.toml", now=now)
            found += asyncio.run(examine_network(home / "site.toml", now=now))
    return {each.code for each in found if each.is_wrong}


def by_network(around: networks.Around, *, ahead_s: float = 0.0) -> set[str]:
    """The same of a site in a network."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(networks.wrong(Path(folder), around, ahead_s=ahead_s))


def main() -> None:
    """Try all, list what was missed, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print figures as one line of JSON")
    as_json = parser.parse_args().json
    logging.disable(logging.ERROR)  # faults are what this is about
    took: list[float] = []

    def timed(look: Callable[[], set[str]]) -> set[str]:
        start = time.perf_counter()
        found = look()
        took.append(time.perf_counter() - start)
        return found

    named = 0
    faults: list[tuple[str, str, Callable[[], set[str]]]] = []
    for name, (code, change) in files.FAULTS.items():
        faults.append((name, code, partial(by_files, change)))
    for name, (days, code) in files.CLOCKS.items():
        nothing = files.HEALTHY["as it was made"]
        faults.append((name, code, partial(by_files, nothing, ahead_s=days * files.DAY_S)))
    for name, (code, around) in networks.FAULTS.items():
        ahead_s = networks.AHEAD_S.get(name, 0.0)
        faults.append((name, code, partial(by_network, around, ahead_s=ahead_s)))
    for name, code, look in faults:
        found = timed(look)
        named += code in found
        if code not in found:
            print(f"not named: {name} ({code}); found {sorted(found)}")
    alarms = 0
    healthy = [
        *((name, partial(by_files, change)) for name, change in files.HEALTHY.items()),
        *((name, partial(by_network, around)) for name, around in networks.HEALTHY.items()),
    ]
    for name, look in healthy:
        if found := timed(look):
            alarms += len(found)
            print(f"false alarm: {name}: {sorted(found)}")
    figures = {
        "faults": len(faults),
        "faults_named": named,
        "healthy_variants": len(healthy),
        "false_alarms": alarms,
        "seconds_max": round(max(took), 1),
    }
    print(json.dumps(figures) if as_json else figures)


if __name__ == "__main__":
    main()

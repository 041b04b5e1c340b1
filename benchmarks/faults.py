"""What faults, hostile bytes and dead networks take along: ``python -m benchmarks.faults --json``.

Every seam of the guard raises in a running network; the same with the guard off shows that the
search finds something. The other figures come from the files beside this one. The last line is one
flat JSON object of numbers; ``--full`` takes the long forms: all four errors at every seam, too.
"""

import argparse
import asyncio
import importlib
import importlib.util
import json
import logging
import platform
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from benchmarks import _fault_seams  # noqa: E402  found by the line above

PARTS = ("_faults_gate", "_faults_reader", "_faults_delivery")


def seam_figures(*, full: bool) -> dict[str, float]:
    """How many seams there are, how many are lost, and how many without the guard."""
    lost = {}
    for name in _fault_seams.SEAMS:
        errors = _fault_seams.ERRORS if full else _fault_seams.ERRORS[:2]
        if why := asyncio.run(_fault_seams.walked(name, errors)):
            lost[name] = why
    for name, why in lost.items():
        print(f"lost: {name}: {why}")
    without = {}
    with _fault_seams.without_guard():
        for name in _fault_seams.SEAMS:
            errors = _fault_seams.ERRORS[:1]
            if why := asyncio.run(_fault_seams.walked(name, errors, within_s=2.0)):
                without[name] = why
    print(f"without the guard {len(without)} of {len(_fault_seams.SEAMS)} seams are lost, such as:")
    for name, why in list(without.items())[::8]:
        print(f"  {name}: {why}")
    return {
        "seams": len(_fault_seams.SEAMS),
        "seams_lost": len(lost),
        "seams_lost_without_guard": len(without),
    }


def main() -> None:
    """Measure, print, and end with the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="only for the other benchmarks' sake")
    parser.add_argument("--full", action="store_true", help="the long forms")
    full = parser.parse_args().full
    logging.getLogger("qis").setLevel(logging.CRITICAL)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    began_s = time.perf_counter()
    figures = seam_figures(full=full)
    print(f"seams: {time.perf_counter() - began_s:.0f} s", flush=True)
    for part in PARTS:
        if importlib.util.find_spec(f"benchmarks.{part}") is None:
            print(f"{part}: not there; its figures are missing")
            continue
        began_s = time.perf_counter()
        is_long = full or part == "_faults_reader"  # 10⁵ inputs: some minutes
        figures.update(importlib.import_module(f"benchmarks.{part}").figures(is_long))
        print(f"{part}: {time.perf_counter() - began_s:.0f} s", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Wrong clocks, rotated keys and rosters that must not be believed: who is told, and what is lost.

python benchmarks/time_and_trust.py --json
python benchmarks/time_and_trust.py --full --json
"""

import argparse
import importlib
import importlib.util
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

PARTS = ("_clock_cases", "_trust_cases", "_roster_cases", "_framing_cases")
"""Modules beside this one; each has `figures(full)`."""


def main() -> None:
    """Run all parts; the last line is one flat JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the long forms")
    parser.add_argument("--json", action="store_true", help="only the JSON at the end")
    full = parser.parse_args().full
    logging.disable(logging.ERROR)  # what is told is counted, not shown
    found: dict[str, float] = {}
    for part in PARTS:
        name = f"benchmarks.{part}"
        if importlib.util.find_spec(name) is not None:
            found |= importlib.import_module(name).figures(full)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Small cells that can be read from packets that pass, and harmless outcomes that are refused.

Seeded sites with one cell from 1 to the limit make every form of packet, under each preset
(`_disclosure_sites`). What passes is attacked by an outsider who tries every table of n people, or
solves for the groups with the weights of the public anchor, and shares no line with the gate
(`_disclosure_attacker`). A form counts as recovered if a small cell is proved, or named more often
than the commonest guess would name it (95 %). Beside it stand the outsider's successes with the
gate off and after the former gate (3a3dd33). Sites without a group under three times the limit,
200 people or more, count what is refused for nothing; measured values of public data sets too.
Then the files that remember releases are damaged or shared, and it is counted how many of these
faults are named; two processes spend one budget; and rules that give no clear yes are asked.

    python benchmarks/disclosure_inversion.py --json
    python benchmarks/disclosure_inversion.py --json --full    # 10,000 sites, an hour or two
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from _disclosure_fuzz import figures as fuzzed  # noqa: E402  found by the line above

from benchmarks import _account_faults  # noqa: E402


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one line of JSON at the end")
    parser.add_argument("--sites", type=int, default=40, help="sites of each sort a preset")
    parser.add_argument("--attacks", type=int, default=2, help="most attacks on a form a preset")
    parser.add_argument("--full", action="store_true", help="2,000 sites of each sort a preset")
    arguments = parser.parse_args()
    sites, attacks = (2_000, 200) if arguments.full else (arguments.sites, arguments.attacks)
    figures: dict[str, float] = {}
    figures.update(fuzzed(sites, attacks))
    of_account, faults = asyncio.run(_account_faults.figures())
    figures.update(of_account)
    if not arguments.json:
        for name, figure in figures.items():
            print(f"{name:45} {figure:g}")
        for fault, (called, word) in faults.items():
            print(f"  {fault:43} {called or 'nothing'}{'' if called == word else ', NOT ' + word}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

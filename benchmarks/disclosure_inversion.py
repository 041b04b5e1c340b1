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
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _disclosure_fuzz import figures as fuzzed

import qis
from qis.disclosure import Disclosure, EmissionLedger, PrivacyBudget
from qis.errors import QISError
from qis.outcomes import Counts

NOW = 1_800_000_000.0
SPEND = """
import sys
from qis.disclosure import PrivacyBudget
from qis.errors import DisclosureError
budget = PrivacyBudget(1.0, sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
try:
    budget.spend(bytes(8), 0.75, now=0.0)
    print("paid")
except DisclosureError:
    print("refused")
"""


def double_spend(folder: Path) -> int:
    """Payments beyond the first of two processes that have both opened the budget before."""
    command = [sys.executable, "-c", SPEND, str(folder / "budget.jsonl")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]  # noqa: S603  our own lines
    for process in processes:
        if process.stdout is None or process.stdout.readline() != "open\n":
            raise RuntimeError("the process did not open the budget")
    said = [process.communicate("go\n")[0].strip() for process in processes]
    return max(0, said.count("paid") - 1)


def faults(folder: Path) -> dict[str, bool]:
    """Faults of the files that remember releases, and whether each is named or made harmless."""
    named: dict[str, bool] = {}

    def ledger(name: str) -> tuple[Path, Disclosure]:
        path = folder / f"{name}.jsonl"
        gate = Disclosure.preset("cms", ledger=path)
        gate.release(Counts(question="q", events=40, total=100), now=NOW)
        return path, gate

    def is_named(call: Callable[[], object]) -> bool:
        try:
            call()
        except QISError:
            return True
        return False

    later = Counts(question="q", events=40, total=101)
    path, gate = ledger("cut_in_use")
    path.write_bytes(path.read_bytes()[:-9])
    named["ledger_cut_in_use"] = is_named(lambda: gate.release(later, now=NOW))
    path, gate = ledger("deleted_in_use")
    path.unlink()
    named["ledger_deleted_in_use"] = is_named(lambda: gate.release(later, now=NOW))
    path, gate = ledger("shared")
    other = Disclosure.preset("cms", ledger=path)
    named["ledger_of_two_processes"] = is_named(lambda: other.release(later, now=NOW))
    path, _ = ledger("changed")
    path.write_bytes(path.read_bytes().replace(b'"study"', b'"stud"'))
    named["ledger_changed"] = is_named(lambda: EmissionLedger(path))
    path, _ = ledger("cut_before")
    path.write_bytes(b"")
    named["ledger_cut_before_opening"] = is_named(
        lambda: Disclosure.preset("cms", ledger=path).release(later, now=NOW)
    )
    path, _ = ledger("deleted_before")
    path.unlink()
    named["ledger_deleted_before_opening"] = is_named(
        lambda: Disclosure.preset("cms", ledger=path).release(later, now=NOW)
    )
    budget = PrivacyBudget(1.0, folder / "cut_budget.jsonl")
    budget.spend(bytes(8), 0.75, now=NOW)
    (folder / "cut_budget.jsonl").write_bytes(b"")
    named["budget_cut_in_use"] = is_named(lambda: budget.spend(bytes(8), 0.1, now=NOW))
    return named


async def without_yes() -> int:
    """Packets that leave although the rule's answer is not `True`."""

    async def awaited(_pending: object) -> object:
        return "no"

    answers: list[Any] = [
        lambda _pending, a=a: a for a in ("no", 1, [0], object(), np.True_, False)
    ]
    released = 0
    scheme = qis.VectorScheme(dimensions=3)
    for rule in (*answers, awaited):
        network, site = qis.MemoryNetwork(now=NOW), qis.Identity.from_seed(bytes(32))
        async with qis.SynthesisLoop(
            site,
            qis.MemoryTransport(network, site),
            scheme,
            interest=scheme.interest([0.1, 0.2, 0.3]),
            clock=lambda: NOW,
            approve=rule,
        ) as loop:
            try:
                published = await loop.publish(
                    Counts(question="q", events=40, total=100), about=[0.1, 0.2, 0.3]
                )
            except QISError:
                continue
            released += isinstance(published, qis.Packet)
    return released


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one line of JSON at the end")
    parser.add_argument("--sites", type=int, default=40, help="sites of each sort a preset")
    parser.add_argument("--attacks", type=int, default=3, help="most attacks on a form a preset")
    parser.add_argument("--full", action="store_true", help="2,000 sites of each sort a preset")
    arguments = parser.parse_args()
    sites, attacks = (2_000, 200) if arguments.full else (arguments.sites, arguments.attacks)
    figures: dict[str, float] = {}
    figures.update(fuzzed(sites, attacks))
    with tempfile.TemporaryDirectory() as folder:
        figures["budget_double_spend"] = double_spend(Path(folder))
        named = faults(Path(folder))
    figures["account_faults"] = len(named)
    figures["account_faults_named"] = sum(named.values())
    figures["released_without_yes"] = asyncio.run(without_yes())
    if not arguments.json:
        for name, figure in figures.items():
            print(f"{name:45} {figure:g}")
        for fault, is_told in named.items():
            print(f"  {fault:43} {'named' if is_told else 'NOT named'}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Small cells that leave in packets that pass, and harmless outcomes that are refused.

Seeded sites with one cell of 1 to 10 people make each form of packet. In these forms the cells can
be computed by whoever knows the form and the anchor, so every packet with a small cell that passes
counts as a cell that was read; no attacker is run that could fail to read one. For the form with
two yes/no features at an anchor of all three coefficients, of which the gate only bounds the
groups, the attack is run: the information divided by the known weights. Sites whose cells are at
least three times the limit, with 200 people or more, count what is refused for nothing. Then the
files that remember releases are damaged or shared, and it is counted how many of these faults are
named; two processes spend one budget; and rules that give no clear yes are asked for approval.

    python benchmarks/disclosure_inversion.py --json
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qis
from qis.disclosure import Disclosure, EmissionLedger, PrivacyBudget
from qis.errors import QISError
from qis.outcomes import Counts, LikelihoodProfile, Moments, Outcome, QuadraticLikelihood

Floats = NDArray[np.float64]
Cells = tuple[int, int, int, int]
"""Events and others of the treated (or those with the feature), then of the rest."""
LIMIT = 11
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


def drawn(rng: np.random.Generator, *, is_small: bool) -> Cells:
    """Four cells of 33 to 149 people, one of them replaced by 1 to 10 if a small one is wanted."""
    cells = rng.integers(3 * LIMIT, 150, size=4)
    cells[0] = max(cells[0], 200 - cells[1:].sum())
    if is_small:
        cells[rng.integers(4)] = rng.integers(1, LIMIT)
    a, b, c, d = map(int, cells)
    return a, b, c, d


def yes_no(cells: Cells) -> tuple[Floats, Floats]:
    """Feature and label of each person."""
    a, b, c, d = cells
    feature = np.r_[np.ones(a + b), np.zeros(c + d)]
    return feature, np.r_[np.ones(a), np.zeros(b), np.ones(c), np.zeros(d)]


def moments(cells: Cells, _rng: np.random.Generator) -> Moments:
    """Means of a yes/no variable in two arms."""
    a, b, c, d = cells
    return Moments.from_values([1] * a + [0] * b, [1] * c + [0] * d, question="q")


def counts(cells: Cells, _rng: np.random.Generator) -> Counts:
    """The table itself."""
    a, b, c, d = cells
    return Counts(question="q", events=a, total=a + b, control_events=c, control_total=c + d)


def own_intercept(cells: Cells, _rng: np.random.Generator) -> QuadraticLikelihood:
    """A model of one feature with an intercept of the site's own."""
    feature, label = yes_no(cells)
    return QuadraticLikelihood.from_logistic(
        question="q", features=feature[:, None], labels=label, anchor=[0.0], own_intercept=True
    )


def anchored(cells: Cells, rng: np.random.Generator, scale: float = 0.8) -> QuadraticLikelihood:
    """A model of intercept and one feature at an anchor away from zero."""
    feature, label = yes_no(cells)
    x = np.column_stack([np.ones(len(feature)), feature])
    at = rng.normal(0.0, scale, size=2)
    return QuadraticLikelihood.from_logistic(question="q", features=x, labels=label, anchor=at)


def survival(cells: Cells, rng: np.random.Generator) -> LikelihoodProfile:
    """Nothing happens among the treated, of whom there are as many as the smallest cell says."""
    treated, control = min(cells), max(cells)
    arm = np.arange(treated + control) < treated
    times, events = np.full(len(arm), 10.0), np.zeros(len(arm))
    happened = treated + rng.choice(control, size=control // 3, replace=False)
    times[happened], events[happened] = rng.uniform(0.0, 9.0, size=len(happened)), 1.0
    return LikelihoodProfile.from_survival(question="q", times=times, events=events, treated=arm)


FORMS: dict[str, Callable[[Cells, np.random.Generator], Outcome]] = {
    "counts": counts,
    "counts_profile": lambda cells, rng: counts(cells, rng).profile(),
    "moments": moments,
    **{
        f"effect_{measure}": lambda cells, rng, m=measure: counts(cells, rng).effect(m)
        for measure in ("OR", "RR", "RD")
    },
    **{
        f"effect_{measure}": lambda cells, rng, m=measure: moments(cells, rng).effect(m)
        for measure in ("MD", "SMD", "ROM")
    },
    "quadratic_zero_anchor": lambda cells, rng: anchored(cells, rng, 0.0),
    "quadratic_other_anchor": anchored,
    "quadratic_own_intercept": own_intercept,
    "survival_arm_without_events": survival,
}


def refused(outcome: Outcome) -> bool:
    """Whether the preset cms keeps it back."""
    try:
        Disclosure.preset("cms").check(outcome)
    except QISError:
        return True
    return False


def read_with_the_anchor(sites: int) -> int:
    """Small groups that two yes/no features make together, read from packets that pass."""
    rng = np.random.default_rng(17)
    read = 0
    for _ in range(sites):
        groups = drawn(rng, is_small=True)  # people with both, the first, the second, none
        rows = np.repeat([[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 0]], groups, axis=0).astype(float)
        label = (rng.random(len(rows)) < 0.5).astype(float)
        at = np.float32(rng.normal(0.0, 0.8, size=3)).astype(float)
        outcome = QuadraticLikelihood.from_logistic(
            question="q", features=rows, labels=label, anchor=at
        )
        if refused(outcome):
            continue
        eta = np.array([at.sum(), at[0] + at[1], at[0] + at[2], at[0]])
        weight = 1.0 / (2.0 + 2.0 * np.cosh(eta))
        table = outcome.information
        both, first, second = table[1, 2], table[1, 1], table[2, 2]
        sums = both, first - both, second - both, table[0, 0] - first - second + both
        found = [round(float(part)) for part in sums / weight]
        read += found == list(groups)
    return read


def searched(sites: int) -> Iterator[tuple[str, float]]:
    """For each form: how many small cells pass, and which share of harmless outcomes is refused.

    In each form here the four cells can be read by whoever solves it (this is how the forms were
    chosen), so a packet with a small cell that passes counts as a cell that was read.
    """
    recovered = 0
    most = 0.0
    for form, made in FORMS.items():
        rng = np.random.default_rng(17)
        passed = sum(not refused(made(drawn(rng, is_small=True), rng)) for _ in range(sites))
        nothing = sum(refused(made(drawn(rng, is_small=False), rng)) for _ in range(sites))
        recovered += passed
        most = max(most, nothing / sites)
        yield f"passed_small_{form}", float(passed)
        yield f"harmless_refused_{form}", round(nothing / sites, 4)
    read = read_with_the_anchor(sites)
    yield "passed_and_read_quadratic_two_features", float(read)
    recovered += read
    yield "cells_recovered_after_passing", float(recovered)
    yield "harmless_refused_max", round(most, 4)


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
    parser.add_argument("--sites", type=int, default=200, help="sites with a small cell a form")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    figures.update(searched(arguments.sites))
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

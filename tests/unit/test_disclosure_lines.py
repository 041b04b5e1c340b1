"""Ledger and budget in files: several processes, restarts, torn and cut lines."""

import asyncio
import subprocess
import sys

import pytest

import qis
from qis.disclosure import Disclosure, EmissionLedger, PrivacyBudget
from qis.errors import DisclosureError, StorageDamagedError
from qis.loop import Outbox
from qis.outcomes import Counts, Suppressed
from qis.testing import VirtualClock

NOW = 1_800_000_000.0
STUDY = bytes(8)
SPEND = """
import sys
from qis.disclosure import PrivacyBudget
from qis.errors import DisclosureError
budget = PrivacyBudget(1.0, sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
try:
    budget.spend(bytes(8), 0.75, now=0.0)
except DisclosureError:
    print("refused")
else:
    print("paid")
"""


def counts(n):
    return Counts(question="q", events=40, total=n)


def test_two_processes_spend_one_budget_once(tmp_path):
    """Both have opened it before either has paid, as two notebooks have."""
    path = tmp_path / "budget.jsonl"
    processes = [
        subprocess.Popen(  # noqa: S603  our own lines
            [sys.executable, "-c", SPEND, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "open\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate()[0].strip() for process in processes)
    assert said == ["paid", "refused"]
    assert PrivacyBudget(1.0, path).spent(STUDY) == 0.75


def test_two_gates_of_one_ledger_know_what_the_other_released(tmp_path):
    one, other = (Disclosure.preset("cms", ledger=tmp_path / "ledger.jsonl") for _ in range(2))
    one.release(counts(100), now=NOW)
    with pytest.raises(DisclosureError, match="difference"):
        other.release(counts(101), now=NOW)
    other.release(counts(120), now=NOW)
    assert [emission.n for emission in one.ledger] == [100, 120]


def test_reading_leaves_the_line_that_another_process_is_writing(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Disclosure.preset("cms", ledger=path).release(counts(100), now=NOW)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    reader = EmissionLedger(path)
    assert len(list(reader)) == 1
    assert path.read_bytes() == whole + whole[:40]
    path.write_bytes(whole + whole.replace(b"100", b"300"))
    assert [emission.n for emission in reader] == [100, 300]


@pytest.mark.parametrize("fault", ["cut", "deleted"])
def test_a_ledger_that_loses_lines_while_in_use_releases_nothing(tmp_path, fault):
    path = tmp_path / "ledger.jsonl"
    gate = Disclosure.preset("cms", ledger=path)
    gate.release(counts(100), now=NOW)
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()
    with pytest.raises(StorageDamagedError, match="cut short or deleted"):
        gate.release(counts(101), now=NOW)
    gate.release(Suppressed(question="q"), now=NOW)  # says nothing of people


@pytest.mark.parametrize("n", [99, 101, 110])
def test_a_loop_remembers_its_releases_where_its_outbox_is_on_disk(tmp_path, n):
    """With the default rules too: n people, a restart, and n + 1 would show the new one."""
    scheme = qis.VectorScheme(dimensions=3)
    about = [0.2, -1.0, 0.7]
    site = qis.Identity.from_seed(bytes(32))

    async def publish(people):
        network = qis.MemoryNetwork(now=NOW)
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with qis.SynthesisLoop(
                site,
                qis.MemoryTransport(network, site),
                scheme,
                interest=scheme.interest(about),
                outbox=outbox,
                clock=VirtualClock(NOW),
            ) as loop:
                return await loop.publish(counts(people), about=about)

    asyncio.run(publish(100))
    with pytest.raises(DisclosureError, match="difference"):
        asyncio.run(publish(n))
    assert asyncio.run(publish(111)).outcome.n == 111

"""The small number for which something is refused: in no log, event, audit entry, file or text."""

import asyncio
import logging
import re
import sqlite3

import pytest

import qis
from qis.disclosure import subject_hashes
from qis.errors import DisclosureError
from qis.loop import Outbox
from qis.outcomes import Counts, Moments, QuadraticLikelihood
from qis.testing import VirtualClock

NOW = 1_800_000_000.0
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
SMALL = 7
"""A number that occurs in no time, limit or threshold of these tests."""
KEY = bytes(range(32))


def people(first, last):
    return subject_hashes([f"patient {number}" for number in range(first, last)], key=KEY)


def of_rows(few):
    rows = [[1.0, float(number < few)] for number in range(120)]
    labels = [float(number % 2) for number in range(120)]
    return QuadraticLikelihood.from_logistic(
        question="q", features=rows, labels=labels, anchor=[0.0, 0.0]
    )


CASES = {
    "events": (Counts(question="q", events=SMALL, total=120), None),
    "others": (Counts(question="q", events=120 - SMALL, total=120), None),
    "control": (
        Counts(question="q", events=40, total=120, control_events=SMALL, control_total=120),
        None,
    ),
    "people": (
        qis.Effect(question="q", measure="MD", estimate=0.1, standard_error=0.2, n=SMALL),
        None,
    ),
    "yes/no": (Moments.from_values([1] * SMALL + [0] * 113, question="q"), None),
    "group": (of_rows(SMALL), None),
    "difference": (
        qis.Effect(question="q", measure="MD", estimate=0.1, standard_error=0.2, n=100 + SMALL),
        None,
    ),
    "subjects": (
        qis.Effect(question="q", measure="MD", estimate=0.1, standard_error=0.2, n=100 + SMALL),
        people(0, 100 + SMALL),
    ),
}


def standing_alone(text):
    return re.search(rf"(?<![\w.,:-]){SMALL}(?![\w.:])", text)


@pytest.mark.parametrize("approve", [None, "manual"])
@pytest.mark.parametrize("case", CASES)
def test_the_small_number_is_nowhere_but_in_the_error_s_attribute(case, approve, tmp_path, caplog):
    outcome, subjects = CASES[case]
    events, said = [], []
    caplog.set_level(logging.DEBUG, logger="qis")

    async def scenario():
        site = qis.Identity.from_seed(bytes(32))
        with (
            Outbox(tmp_path / "outbox.db") as outbox,
            qis.AuditLog(tmp_path / "audit.jsonl") as audit,
        ):
            async with qis.SynthesisLoop(
                site,
                qis.MemoryTransport(qis.MemoryNetwork(now=NOW), site),
                SCHEME,
                interest=SCHEME.interest(ABOUT),
                outbox=outbox,
                audit=audit,
                approve=approve,
                clock=VirtualClock(NOW),
                on_event=events.append,
            ) as loop:
                if case in ("difference", "subjects"):
                    former = qis.Effect(
                        question="q", measure="MD", estimate=0.2, standard_error=0.2, n=100
                    )
                    first = await loop.publish(
                        former, about=ABOUT, subjects=subjects and people(0, 100)
                    )
                    if approve:
                        await loop.release(first.id, approver="Dr Ada")
                with pytest.raises(DisclosureError) as refused:
                    await loop.publish(outcome, about=ABOUT, subjects=subjects)
                said.append(str(refused.value))
            return [f"{e.rule} {e.reason} {dict(e.details)}" for e in audit.entries()]

    entries = asyncio.run(scenario())
    assert standing_alone(f"there are {SMALL} people")  # it would be seen
    assert any(entry.startswith("cms/") for entry in entries)  # it was refused, and that is told
    database = sqlite3.connect(tmp_path / "outbox.db")
    (waiting,) = database.execute("SELECT count(*) FROM waiting").fetchone()
    findings = [row[0] for row in database.execute("SELECT said FROM findings")]
    released = [row[0] for row in database.execute("SELECT line FROM lines")]
    database.close()
    assert waiting == 0  # nothing of what was refused is kept
    assert not any(f'"n": {getattr(outcome, "n", None)},' in line for line in released)
    told = [f"{e.reason} {e.subject} {e.count or ''}" for e in events]
    logged = [record.getMessage() for record in caplog.records]
    for text in (*said, *told, *logged, *findings, *entries):
        assert not standing_alone(re.sub(r"'sequence': \d+|'account': \[.*?\]", "", text)), text

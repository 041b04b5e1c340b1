"""What was not searched is refused where few people are, and told in preview and audit log."""

import asyncio
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import qis
from qis.disclosure import Disclosure, Preset, implied_cells
from qis.disclosure.two_by_two import is_grid_cut
from qis.disclosure.unsearched import not_searched
from qis.outcomes import Counts, Effect, QuadraticLikelihood
from qis.testing import VirtualClock

NOW = 1_800_000_000.0
SCHEME = qis.VectorScheme(dimensions=3)


def effect(measure, n, estimate=0.1234567891, error=0.2345678912):
    return Effect(question="q", measure=measure, estimate=estimate, standard_error=error, n=n)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (effect("OR", 400), None),
        (effect("OR", 20_000), None),  # tables with a small cell are all tried
        (effect("OR", None), "there is no n"),
        (effect("RD", 2_000_001), "more than 2,000,000 people"),
        (effect("SMD", 2_001), "more than 2,000 people"),
        (effect("SMD", 2_000, 0.1, 0.1), "so few decimals"),
        (effect("MD", 400, 1.2, 0.3), "so few decimals"),
        (effect("IRD", 400), "two equations"),
        (effect("HR", 400), None),
        (Counts(question="q", events=40, total=100), None),
    ],
)
def test_what_is_not_searched_has_a_word(outcome, word):
    said = not_searched(outcome, limit=11)
    assert (said == ()) if word is None else (word in said[0])
    lines = [line for line in Disclosure.preset("cms").preview(outcome).learns
             if line.startswith("not searched: ")]  # fmt: skip
    assert lines == [f"not searched: {each}" for each in said]


def test_a_grid_that_is_cut_says_so():
    """An SMD of four decimals whose error leaves many sizes of the arms."""
    cut = effect("SMD", 2_000, 0.0112, 0.0447)
    whole = effect("SMD", 120, 0.0112, 0.1827)
    assert (is_grid_cut(cut), is_grid_cut(whole)) == (True, False)
    assert "too many" in not_searched(cut, limit=11)[0]


MODEL = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "scipy":
            raise ImportError(f"{name} is blocked")

if "blocked" in sys.argv:
    sys.meta_path.insert(0, Blocked())

import itertools
import numpy as np
from qis.disclosure import Disclosure, Preset, implied_cells
from qis.errors import DisclosureError
from qis.outcomes import Counts, Effect, LikelihoodProfile, QuadraticLikelihood

def model(size):
    groups = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    rows = np.repeat(groups, size, axis=0)
    made = QuadraticLikelihood.from_logistic(
        question="q", features=np.column_stack([np.ones(len(rows)), rows[:, :3]]),
        labels=rows[:, 3], anchor=np.zeros(4))
    return QuadraticLikelihood.from_body(made.body())  # as after a restart: no rows are known

def verdict(outcome):
    gate = Disclosure.preset("cms")
    try:
        gate.check(outcome)
    except DisclosureError as error:
        return [error.field, str(error), []]
    return ["passed", "", list(gate.not_searched(outcome))]

table = Counts(question="q", events=40, total=120, control_events=50, control_total=130)
small = Counts(question="q", events=4, total=120, control_events=50, control_total=130)
found = {"few": verdict(model(13)), "many": verdict(model(40))}
for name, counts in (("table", table), ("small", small)):
    found[name] = [verdict(each)[0] for each in (counts, counts.profile(), counts.effect("OR"))]
print(json.dumps(found | {"scipy": "scipy" in sys.modules}))
"""


def run(*arguments):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", MODEL, *arguments]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)  # noqa: S603
    return json.loads(done.stdout)


def test_without_scipy_few_people_are_refused_and_many_are_told():
    found = run("blocked")
    assert not found["scipy"]
    field, text, _ = found["few"]
    assert field == "not_searched"
    assert "qis-protocol[stats]" in text
    assert "220" in text  # five people for each of 4 coefficients, times the limit of 11
    field, _, told = found["many"]
    assert field == "passed"
    assert "qis-protocol[stats]" in told[0]
    # All else needs no scipy, and says the same without it.
    assert found["table"] == ["passed"] * 3
    assert found["small"] == ["minimum_cell", "implied_cell", "implied_cell"]
    pytest.importorskip("scipy")
    with_scipy = run()
    assert with_scipy["few"][0] == with_scipy["many"][0] == "passed"
    assert with_scipy["few"][2] == with_scipy["many"][2] == []
    assert (with_scipy["table"], with_scipy["small"]) == (found["table"], found["small"])


@pytest.mark.parametrize("approved", [False, True])
def test_the_audit_log_says_what_was_not_searched_in_what_left(tmp_path, approved):
    rng = np.random.default_rng(1)
    rows = np.column_stack([np.ones(400), rng.integers(0, 2, (400, 3)), rng.normal(size=400)])
    model = QuadraticLikelihood.from_body(
        QuadraticLikelihood.from_logistic(
            question="model",
            features=rows,
            labels=np.arange(400.0) % 2,
            anchor=[0.1, 0.2, -0.3, 0.1, 0.4],
        ).body()
    )
    table = Counts(question="table", events=40, total=100)
    key = qis.Identity.from_seed(bytes([7]) * 32)

    async def scenario():
        with qis.AuditLog.open(tmp_path / "audit.jsonl", now=NOW) as audit:
            async with qis.SynthesisLoop(
                key,
                qis.MemoryTransport(qis.MemoryNetwork(now=NOW), key),
                SCHEME,
                interest=SCHEME.interest([0.1, 0.2, 0.3]),
                approve="manual" if approved else None,
                audit=audit,
                clock=VirtualClock(NOW),
            ) as loop:
                for outcome in (model, table):
                    waits = await loop.publish(outcome, about=[0.1, 0.2, 0.3])
                    if approved:
                        await loop.release(waits.id, approver="Dr Grey")

    asyncio.run(scenario())
    told = {
        entry.details["question"]: entry.details.get("not_searched")
        for entry in qis.AuditLog.read(tmp_path / "audit.jsonl").entries()
        if entry.event == "emitted"
    }
    assert told["table"] is None
    assert "groups by three columns" in told["model"][0]


def test_larger_cells_are_searched_among_fewer_people_and_it_is_told():
    outcome = effect("OR", 300_000, error=0.02)
    assert not_searched(outcome, limit=11) == ()
    assert "more than 220,000 people" in not_searched(outcome, limit=100)[0]
    assert implied_cells(outcome, below=100) == []


@pytest.mark.parametrize("value", [1_001, 2**62, 0.5, -1, "11"])
def test_a_cell_that_would_keep_the_search_going_for_ever_is_refused(value):
    with pytest.raises(qis.InputError, match="below is"):
        implied_cells(effect("OR", 40), below=value)
    with pytest.raises(qis.InputError, match="minimum_cell is"):
        Preset(name="ours", minimum_cell=value, source="us")

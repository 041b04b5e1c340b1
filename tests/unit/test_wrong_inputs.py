"""The zoo of wrong inputs at every public callable, a part of it each; all of it is a benchmark."""

import itertools
from collections.abc import Iterable
from inspect import signature

import numpy as np
import pytest

from benchmarks import wrong_inputs
from benchmarks._wrong_live import Live
from benchmarks._wrong_subjects import Subject, subjects
from benchmarks._wrong_zoo import fits, foreign, plain
from benchmarks.wrong_inputs import Trials, run

STEP = 23
"""A prime, so that the parts of the zoo that the parameters get are all unlike."""


def cut():
    """Of the zoo each parameter gets every 23rd value, beginning with another one each."""
    turns = itertools.count()
    return lambda: itertools.islice([*plain(), *foreign()], next(turns) % STEP, None, STEP)


def test_every_public_callable_has_usual_values_and_takes_them(tmp_path, monkeypatch):
    """Without them its gate is not tried: `benchmarks/_wrong_subjects.py` and `_wrong_live.py`."""
    monkeypatch.chdir(tmp_path)
    with Live() as live:
        trials = Trials(live)
        found = list(subjects(live.owners, live.special, live.new_owner))
        wrong = {subject.name: said for subject in found if (said := trials.usual(subject))}
    assert wrong == {}
    assert len(found) > 300


def test_wrong_inputs_are_refused_in_our_words_or_taken_for_what_they_are(faults):
    faults.allow("loop.on_event")  # some of the zoo can be called, and raise when they are
    counts, failures = run(zoo=cut())
    assert counts["callables"] > 300
    assert counts["parameters"] > 800
    assert counts["refused"] > 2_500
    # Refusals without the name are listed by the benchmark.
    assert [failure for failure in sorted(failures) if not failure.startswith("unnamed")] == []


def test_a_callable_without_a_gate_is_seen(monkeypatch):
    def open_gate(number: int) -> int:
        return number

    def rude(number: int) -> int:
        return number + 1

    def endless(number: int) -> int:
        while number > 1:
            pass
        return number

    monkeypatch.setattr(wrong_inputs, "_TOO_LONG_S", 0.02)
    for call in (open_gate, rude, endless):
        subject = Subject(call.__name__, call, {"number": 1}, dict(signature(call).parameters))
        monkeypatch.setattr(wrong_inputs, "subjects", lambda *_, it=subject: [it])
        counts, failures = run(zoo=lambda: iter(["text", 2, None]))
        assert counts["foreign" if call is rude else "nonsense"] >= 1, failures


@pytest.mark.parametrize(
    ("value", "kind", "taken"),
    [
        (3, int, True), (True, int, False), ("3", float, False), (b"x", str, False),
        (2, float, True), (np.int64(3), int, True), (np.array(0.5), float, True),
        (np.array(0.5), int, False), (["a"], Iterable[str], True), ([1], Iterable[str], False),
        ("ab", Iterable[str], False), (None, str | None, True), (np.zeros(2), bytes, False),
    ],
)  # fmt: skip
def test_the_judge_tells_nonsense(value, kind, taken):
    assert fits(value, kind) is taken

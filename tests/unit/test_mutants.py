"""The tool of benchmarks/mutants.py: what it changes, what it draws, and what it calls a kill."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import _mutators, _results, mutants

ROOT = Path(__file__).parents[2]
SOURCE = '''"""Docs with 1 + 1."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    LIMIT = 3

WAIT_S: "1 + 2" = 5


def clamp(x: int, *, low=0, deep=False) -> int:
    """At least `low`, if 1 < 2."""
    if not deep and x < low:
        raise ValueError("at least " + str(low + 1))
    names = []
    names.append(x)
    return max(x, low) if x != 7 else -x
'''


def changes():
    found = _mutators.mutants("qis/a.py", SOURCE)
    return {(each.operator, each.before, each.after) for each in found}


@pytest.mark.parametrize(
    "change",
    [
        ("constant", "5", "6"),
        ("constant", "0", "1"),
        ("constant", "False", "True"),
        ("connective", "not deep and x < low", "(not deep or x < low)"),
        ("negation", "not deep", "(deep)"),
        ("relation", "x < low", "(x <= low)"),
        ("relation", "x != 7", "(x == 7)"),
        ("deletion", 'raise ValueError("at least " + str(low + 1))', "pass"),
        ("deletion", "names.append(x)", "pass"),
        ("exchange", "max(x, low)", "min(x, low)"),
        ("negation", "-x", "(x)"),
        ("condition", "max(x, low) if x != 7 else -x", "(-x if x != 7 else max(x, low))"),
    ],
)
def test_each_operator_changes_what_it_says(change):
    assert change in changes()


def test_texts_annotations_errors_and_what_is_for_type_checkers_stay():
    befores = {before for _, before, _ in changes()}
    assert not befores & {"3", "1 + 2", "1 + 1", "1 < 2", "low + 1", "1", "2"}


def test_each_mutant_differs_in_one_stretch_and_has_its_own_id():
    found = _mutators.mutants("qis/a.py", SOURCE)
    assert len({each.id for each in found}) == len(found)
    for each in found:
        text = each.applied(SOURCE)
        ast.parse(text)
        assert text != SOURCE
        assert text == SOURCE[: each.start] + each.after + SOURCE[each.end :]


def test_a_change_elsewhere_moves_few_of_the_drawn():
    some = {f"qis/{n}.py": SOURCE for n in range(20)}
    drawn = {each.id for each in _mutators.sample(some, count=60, seed=1)}
    assert len(drawn) == 60
    assert drawn != {each.id for each in _mutators.sample(some, count=60, seed=2)}
    more = {**some, "qis/1.py": f"BEFORE = 1\n{SOURCE}"}
    again = {each.id for each in _mutators.sample(more, count=60, seed=1)}
    assert len(drawn & again) >= 55


def test_operators_share_the_sample():
    drawn = _mutators.sample(mutants.sources(), count=160, seed=3)
    counts = [sum(each.operator == name for each in drawn) for name in _mutators.OPERATORS]
    assert counts == [20] * 8


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout of git")
def test_a_tree_has_the_id_that_git_gives_it(tmp_path):
    def git(*words):
        command = [shutil.which("git"), "-C", str(tmp_path), *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        return done.stdout.strip()

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.py").write_text("1\n", encoding="utf-8")
    (tmp_path / "b.py").write_text("2\n", encoding="utf-8")
    (tmp_path / "__pycache__").mkdir()
    git("init", "-q")
    git("add", "b", "b.py")
    written = git("write-tree")
    shutil.rmtree(tmp_path / ".git")
    assert mutants.tree_id(tmp_path) == written


PROJECT = {
    "qis/__init__.py": "",
    "qis/a.py": "LIMIT = 2\n\n\ndef f(x):\n    while x > LIMIT:\n        x -= 1\n    return x + 0\n"
    "\n\ndef unused(x):\n    return x + 1\n",
    "tests/conftest.py": "from hypothesis import settings\nsettings.register_profile('mutants')\n",
    "tests/test_a.py": "from qis.a import f\n\n\ndef test_f():\n    assert f(4) == 2\n"
    "\n\ndef test_other():\n    assert f(1) == 1\n",
}
SCRIPT = """
import json, sys
from pathlib import Path
from benchmarks import _mutant_runs as runs
from benchmarks._mutators import mutants
root, folder = Path(sys.argv[1]), Path(sys.argv[2])
names = ["tests/test_a.py::test_f", "tests/test_a.py::test_other"]
lines = {"1": [], "4": [], "5": [0, 1], "6": [0], "7": [0, 1], "10": []}
tests = runs.Tests({"tests": names, "seconds": [0.01, 0.01], "lines": {"qis/a.py": lines}})
copy = runs.Copy(root, folder)
(copy.folder / "tests/test_b.py").write_text("def test_red():\\n    assert False\\n")
print(copy.failing_without_mutant([*names], 0.1), file=sys.stderr)
runs.LIMITS_S = (3.0, 5.0)
for mutant in mutants("qis/a.py", (root / "qis/a.py").read_text()):
    found = copy.judge(mutant, tests)
    print(json.dumps([mutant.before, mutant.after, found.verdict, found.killed_by]))
assert (folder / "qis/a.py").read_text() == (root / "qis/a.py").read_text()
"""


def test_mutants_are_killed_hang_survive_or_are_not_reached(tmp_path):
    for name, text in PROJECT.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "root"), str(tmp_path / "copy")]
    done = subprocess.run(  # noqa: S603  our own interpreter and script
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = {tuple(entry[:2]): entry[2:] for entry in map(json.loads, done.stdout.splitlines())}
    test_f = "tests/test_a.py::test_f"
    assert found["2", "3"] == ["killed", test_f]  # of the module's head
    assert found["x -= 1", "pass"] == ["timeout", ""]
    assert found["x > LIMIT", "(x >= LIMIT)"] == ["killed", test_f]
    assert found["x + 0", "(x - 0)"] == ["survived", ""]
    assert found["x + 1", "(x - 1)"] == ["unreached", ""]


def test_the_record_is_complete_and_its_figures_are_those_of_its_mutants():
    record = _results.kept("mutants")
    if not record:
        pytest.skip("no record is kept yet")
    told = mutants.figures(record)
    assert told["mutants"] >= 300
    assert told["survivors_without_reason"] == sum(
        each.get("reason") == "" for each in record["mutants"]
    )
    assert told["killed"] + told["survivors"] == told["mutants"]
    for each in record["mutants"]:
        assert (each["verdict"] in {"survived", "unreached"}) == ("reason" in each)
        assert each["verdict"] != "killed" or each["killed_by"]


def test_without_a_record_it_says_so_and_reasons_are_words():
    assert mutants.figures({}) == {"mutants": 0, "record_is_current": 0}
    path = ROOT / "benchmarks" / "mutant_reasons.json"
    for name, each in json.loads(path.read_text(encoding="utf-8")).items():
        assert len(bytes.fromhex(name)) == 8
        assert len(each["reason"].split()) >= 5
        assert each["equivalent"] in (True, False)

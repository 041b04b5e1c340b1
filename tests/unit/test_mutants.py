"""The tool of benchmarks/mutants.py: what it changes, what it draws, and what it calls a kill."""

import ast
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import benchmarks._mutant_record as records
from benchmarks import _mutant_map, _mutators, _results
from benchmarks._mutant_runs import Verdict

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
    drawn = _mutators.sample(records.sources(), count=160, seed=3)
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
    assert records.tree_id(tmp_path) == written


PROJECT = {
    "qis/__init__.py": "",
    "qis/packet/__init__.py": "",
    "qis/packet/a.py": "LIMIT = 2\n\n\ndef f(x):\n    while x > LIMIT:\n        x -= 1\n"
    "    return x + 0\n\n\ndef unused(x):\n    return x + 1\n",
    "tests/conftest.py": "from hypothesis import settings\nsettings.register_profile('mutants')\n",
    "tests/test_a.py": "from qis.packet.a import f\n\n\ndef test_f():\n    assert f(4) == 2\n"
    "\n\ndef test_other():\n    assert f(1) == 1\n",
}
SCRIPT = """
import json, sys
from pathlib import Path
from benchmarks import _mutant_runs as runs
from benchmarks._mutant_map import branch_coverage
from benchmarks._mutators import mutants
root, folder = Path(sys.argv[1]), Path(sys.argv[2])
source = (root / "qis/packet/a.py").read_text()
copy = runs.Copy(root, folder)
runs.mapped(copy, "tests/test_a.py", folder.with_suffix(".map"), {"blob": "1"})
content = json.loads(folder.with_suffix(".map").read_text())
print(json.dumps([content["tests"], len(content["seconds"]), branch_coverage(root, [content])]))
content["tests"].insert(0, "tests/test_a.py::test_red")  # fails in any case
content["seconds"].insert(0, 0.01)
for by_line in content["lines"].values():
    for numbers in by_line.values():
        numbers[:] = [0, *(number + 1 for number in numbers)] if numbers else []
tests = runs.Tests(content, {"qis/packet/a.py": source})
with (copy.folder / "tests/test_a.py").open("a") as file:
    file.write("\\n\\ndef test_red():\\n    assert False\\n")
runs.LIMITS_S = (2.0, 5.0)
for mutant in mutants("qis/packet/a.py", source):
    if mutant.before in {"0", "1"}:
        continue  # each costs a process, and the others show as much
    found = copy.judge(mutant, tests.stages(mutant))
    print(json.dumps([mutant.before, mutant.after, found.verdict, found.killed_by]))
assert (folder / "qis/packet/a.py").read_text() == source
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
    first, *rest = [json.loads(line) for line in done.stdout.splitlines() if line[0] == "["]
    found = {tuple(entry[:2]): entry[2:] for entry in rest}
    test_f, test_other = "tests/test_a.py::test_f", "tests/test_a.py::test_other"
    # 7 statements and 2 branches; `return x + 1` is not run.
    assert first == [[test_f, test_other], 2, 88.9]
    assert found["2", "3"] == ["killed", test_f]  # of the module's head
    assert found["x -= 1", "pass"] == ["timeout", test_f]
    assert found["x > LIMIT", "(x >= LIMIT)"] == ["killed", test_f]
    assert found["x + 0", "(x - 0)"] == ["survived", ""]
    assert found["x + 1", "(x - 1)"] == ["unreached", ""]


def test_a_line_is_named_by_its_function_and_text():
    names = _mutant_map.line_names("A = 1\n\nclass B:\n    def c(self):\n        return 2\n")
    assert names == ["", "\tA = 1", "\t", "B\tclass B:", "B.c\tdef c(self):", "B.c\treturn 2"]
    moved = _mutant_map.line_names("# first\n" + SOURCE)
    assert moved[2:] == _mutant_map.line_names(SOURCE)[1:]


def test_a_kill_holds_while_the_files_that_made_it_are_as_they_were(tmp_path, monkeypatch):
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(records, "ROOT", tmp_path)
    mutant = _mutators.mutants("qis/packet/a.py", PROJECT["qis/packet/a.py"])[0]
    killed = Verdict(mutant, "killed", "tests/test_a.py::test_f", 1, 0.1)
    kept = records.entry(mutant, killed)
    assert sorted(kept["blobs"]) == ["qis/packet/a.py", "tests/conftest.py", "tests/test_a.py"]
    assert records.holds(kept)
    for name in kept["blobs"]:
        path = tmp_path / name
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{text}\n", encoding="utf-8")
        assert not records.holds(kept)
        path.write_text(text, encoding="utf-8")
        assert records.holds(kept)
    (tmp_path / "tests/test_a.py").unlink()
    assert not records.holds(kept)
    assert not records.holds(records.entry(mutant, Verdict(mutant, "survived", "", 2, 0.1)))
    assert not records.holds(records.entry(mutant, Verdict(mutant, "timeout", "", 2, 0.1)))


def test_the_record_is_complete_and_its_figures_are_those_of_its_mutants():
    record = _results.kept("mutants")
    if not record:
        pytest.skip("no record is kept yet")
    told = records.figures(record)
    assert told["mutants"] >= 300
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert record.get("branch_coverage", 100.0) >= floor["tool"]["coverage"]["report"]["fail_under"]
    assert told["survivors_without_reason"] == sum(
        each.get("reason") == "" for each in record["mutants"]
    )
    assert told["killed"] + told["survivors"] == told["mutants"]
    for each in record["mutants"]:
        assert (each["verdict"] not in records.KILLED) == ("reason" in each)
        assert each["verdict"] != "killed" or each["killed_by"]


def test_without_a_record_it_says_so_and_reasons_are_words():
    assert records.figures({}) == {"mutants": 0, "record_is_current": 0}
    path = ROOT / "benchmarks" / "mutant_reasons.json"
    for name, each in json.loads(path.read_text(encoding="utf-8")).items():
        assert len(bytes.fromhex(name)) == 8
        assert len(each["reason"].split()) >= 5
        assert each["equivalent"] in (True, False)

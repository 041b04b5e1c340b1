"""Kept figures of benchmarks: their form, and the tables that are written from them."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import _results, keep

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def test_the_readme_lists_each_benchmark_once_with_what_it_is_for():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| \S.*\|$", text.partition("## Kept")[0], re.MULTILINE)
    files = [path.stem for path in (ROOT / "benchmarks").glob("*.py")]
    assert listed == sorted(name for name in files if name[0] != "_" and name != "keep")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_kept_figures_say_where_they_come_from(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (ROOT / "benchmarks" / f"{path.stem}.py").exists()
    runs = content.get("runs", [content])
    assert 1 <= len(runs) <= _results.RUNS
    for run in runs:
        assert re.fullmatch(r"[0-9a-f]{7,40}\+?|unknown", run["commit"])
        assert run["processor"]
        assert run["cores"] >= 1
        assert re.fullmatch(r"3\.\d+\.\d+.*", run["python"])
    if "runs" in content:
        assert len({run["processor"] for run in runs}) == 1
        for run in runs:
            assert all(isinstance(value, int | float) for value in run["figures"].values())


@pytest.mark.parametrize("page", keep.pages(), ids=lambda path: path.name)
def test_tables_of_kept_figures_are_those_that_the_kept_runs_give(page):
    text = page.read_text(encoding="utf-8")
    assert keep.written(text) == text, "run: python benchmarks/keep.py"
    marks = re.findall(r"<!-- (kept: \w+|end of kept) -->", text)
    assert [mark.startswith("kept") for mark in marks] == [True, False] * (len(marks) // 2)


def test_runs_are_kept_beside_those_of_their_processor_and_medians_follow(tmp_path, monkeypatch):
    monkeypatch.setattr(_results, "RESULTS", tmp_path)
    for number in (5, 1, 9, 2, 3, 4, 30):
        _results.keep_run("udp", {"a": number, "b": 0.5})
    assert [run["figures"]["a"] for run in _results.kept("udp")["runs"]] == [9, 2, 3, 4, 30]
    assert _results.medians("udp") == {"a": 4, "b": 0.5}
    assert "| `a` | 4 |" in keep.table("udp")
    page = "before\n<!-- kept: udp -->\nwhat was written by hand\n<!-- end of kept -->\nbehind\n"
    assert "by hand" not in keep.written(page)
    assert keep.written(page).startswith("before\n<!-- kept: udp -->\n| `udp` | median of 5 runs |")
    assert keep.written(keep.written(page)) == keep.written(page)
    monkeypatch.setattr(_results, "processor", lambda: "another")
    _results.keep_run("udp", {"a": 7})
    assert len(_results.kept("udp")["runs"]) == 1


@pytest.mark.parametrize("last", ["[1, 2]", '{"a": "b"}', '{"a": {"b": 1}}'])
def test_only_flat_numbers_are_kept(last, tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "udp.py").write_text(f"print('words')\nprint({last!r})\n")
    monkeypatch.setattr(keep, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="no flat object of numbers"):
        keep.run("udp", [])

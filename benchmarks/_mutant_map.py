"""A pytest plugin: which test runs which line of the six packages, and how long each test takes.

Lines are named by their function and text, so that a map stays good when lines move. What ran of
all of `qis`, branch by branch, is kept beside it, since it costs nothing more.
"""

import ast
import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import coverage
import pytest

PACKAGES = ("packet", "evidence", "outcomes", "synthesis", "disclosure", "loop")


def line_names(source: str) -> list[str]:
    """A name for each line of a module, the first at index 1: its function, a tab, its text."""
    texts = source.splitlines()
    functions = [""] * (len(texts) + 1)
    inner: list[tuple[ast.AST, str]] = [(ast.parse(source), "")]
    for node, around in inner:  # grows: outer functions come before those in them
        name = around
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{around}.{node.name}".lstrip(".")
            first, last = node.lineno, node.end_lineno or node.lineno
            functions[first : last + 1] = [name] * (last + 1 - first)
        inner.extend((child, name) for child in ast.iter_child_nodes(node))
    return ["", *(f"{functions[n]}\t{text.strip()}" for n, text in enumerate(texts, 1))]


class Map:
    """Coverage with one context a test, and how long each took; written at the end."""

    def __init__(self, path: Path, ids: Mapping[str, str]) -> None:
        self._path, self._ids = path, ids
        self._root = Path.cwd()
        self._seconds: dict[str, float] = {}
        self._coverage = coverage.Coverage(
            data_file=None,
            include=[str(self._root / "qis" / "*")],
            branch=True,
            config_file=False,
            messages=False,
        )
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """One test, with fixtures."""
        self._coverage.switch_context(item.nodeid)
        began_s = time.perf_counter()
        result = yield
        self._seconds[item.nodeid] = time.perf_counter() - began_s
        self._coverage.switch_context("")
        return result  # type: ignore[return-value]  # a wrapper hands on what it got

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails or is skipped kills no mutant."""
        if not report.passed:
            self._seconds[report.nodeid] = float("nan")

    def pytest_sessionfinish(self) -> None:
        """Write all, with tests as numbers: names are long and lines are many."""
        self._coverage.stop()
        data = self._coverage.get_data()
        names = sorted(name for name, s in self._seconds.items() if s == s)  # noqa: PLR0124  NaN
        numbers = {name: number for number, name in enumerate(names)}
        lines: dict[str, dict[str, list[int]]] = {}
        arcs: dict[str, list[tuple[int, int]]] = {}
        for file in sorted(data.measured_files()):
            path = Path(file)
            arcs[path.relative_to(self._root).as_posix()] = data.arcs(file) or []
            if path.relative_to(self._root).parts[1] not in PACKAGES:
                continue
            named = line_names(path.read_text(encoding="utf-8"))
            found: dict[str, set[int]] = {}
            for line, contexts in data.contexts_by_lineno(file).items():
                ran = {numbers[each] for each in contexts if each in numbers}
                found.setdefault(named[line], set()).update(ran)
            lines[path.relative_to(self._root).as_posix()] = {
                name: sorted(ran) for name, ran in found.items()
            }
        content = {
            **self._ids,
            "tests": names,
            "seconds": [round(self._seconds[name], 4) for name in names],
            "lines": lines,
            "arcs": arcs,
        }
        self._path.write_text(json.dumps(content), encoding="utf-8")


def branch_coverage(root: Path, parts: Iterable[Mapping[str, Any]]) -> float:
    """Per cent of the lines and branches of `qis` that ran, from the parts of a map."""
    data = coverage.CoverageData(no_disk=True)
    for part in parts:
        data.add_arcs({str(root / path): map(tuple, arcs) for path, arcs in part["arcs"].items()})
    measured = coverage.Coverage(data_file=None, branch=True, source=[str(root / "qis")])
    measured.get_data().update(data)
    return round(measured.report(file=io.StringIO()), 1)  # the figure is wanted, not the table

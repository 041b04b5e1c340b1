"""A pytest plugin: which test runs which line of the six packages, and how long each test takes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

PACKAGES = ("packet", "evidence", "outcomes", "synthesis", "disclosure", "loop")


class Map:
    """Coverage with one context a test, and how long each took; written at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = Path.cwd()
        self._seconds: dict[str, float] = {}
        self._coverage = coverage.Coverage(
            data_file=str(path.with_suffix(".coverage")),
            include=[str(self._root / "qis" / name / "*") for name in PACKAGES],
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
        lines = {}
        for file in sorted(data.measured_files()):
            by_line = data.contexts_by_lineno(file)
            lines[Path(file).relative_to(self._root).as_posix()] = {
                str(line): sorted(numbers[c] for c in contexts if c in numbers)
                for line, contexts in sorted(by_line.items())
            }
        content = {
            "tests": names,
            "seconds": [round(self._seconds[name], 4) for name in names],
            "lines": lines,
        }
        self._path.write_text(json.dumps(content), encoding="utf-8")
        self._path.with_suffix(".coverage").unlink(missing_ok=True)

"""Runs the tests that reach a mutant against it, in a copy of the checkout and a forked process.

The parent has imported pytest and numpy and never the library, so that a child starts in
milliseconds and imports the mutated file. A child that runs longer than its limit is killed with
all that it started, and so is its mutant: tests that hang do not pass. A test kills a mutant only
if it passes without: each killer is run once more after the mutant was taken out.
"""

import contextlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis  # noqa: F401  imported before the fork
import numpy as np  # noqa: F401
import pytest

from benchmarks._mutant_map import line_names
from benchmarks._mutators import Mutant

MEMORY_BYTES = 8 << 30
# Tests that reach a mutant are tried in two stages: the most focused ones, then many more.
STAGES = ((60, 15.0), (600, 120.0))
# Seconds that tests may take: so many, and so many times what they took without a mutant.
LIMITS_S = (20.0, 5.0)
FILE_S = 400.0
CONFTEST = "tests/conftest.py"
OPTIONS = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is imported before


@dataclass(frozen=True)
class Verdict:
    """What became of it: ``killed``, ``timeout``, ``survived``, ``unclear`` or ``unreached``."""

    mutant: Mutant
    verdict: str
    killed_by: str
    tests: int
    seconds: float


class Tests:
    """The map of lines to tests, and which of them to run for a mutant."""

    def __init__(self, content: dict[str, Any], sources: Mapping[str, str]) -> None:
        self._names: list[str] = content["tests"]
        self._seconds: list[float] = content["seconds"]
        self._lines: dict[str, dict[str, list[int]]] = content["lines"]
        self._sources = sources
        self._width = [0] * len(self._names)
        for by_line in self._lines.values():
            for numbers in by_line.values():
                for number in numbers:
                    self._width[number] += 1

    def reaching(self, mutant: Mutant) -> list[int]:
        """Tests that run the mutant's lines, those that run little else first.

        If the map does not know the lines, since it is older than they are, those that run the
        function. Lines of a module's head run when it is imported, which is under no test: for
        these, the tests that run anything of the module.
        """
        by_line = self._lines.get(mutant.path, {})
        named = line_names(self._sources[mutant.path])
        for lines in (mutant.lines, mutant.statement):
            ran = [by_line[named[line]] for line in lines if named[line] in by_line]
            if ran:
                break
        found = {number for numbers in ran for number in numbers}
        if not found:
            is_head = bool(ran) or not mutant.function
            found = {
                number
                for name, numbers in by_line.items()
                if is_head or name.partition("\t")[0] == mutant.function
                for number in numbers
            }
        return sorted(found, key=lambda n: (self._width[n], self._names[n]))

    def stages(self, mutant: Mutant) -> Iterator[tuple[list[str], float]]:
        """Names of tests to run together, and the seconds that they may take."""
        rest = self.reaching(mutant)
        for most, most_s in STAGES:
            taken: list[int] = []
            total_s = 0.0
            for number in rest:
                if len(taken) < most and total_s + self._seconds[number] <= most_s:
                    taken.append(number)
                    total_s += self._seconds[number]
            if taken:
                yield [self._names[number] for number in taken], LIMITS_S[0] + LIMITS_S[1] * total_s
            rest = [number for number in rest if number not in set(taken)]


class Selected:
    """A pytest plugin: run these tests, in this order, and tell a pipe what fails first."""

    def __init__(self, names: Sequence[str], pipe: int) -> None:
        self._order = {name: number for number, name in enumerate(names)}
        self._pipe = pipe

    def _tell(self, line: str) -> None:
        os.write(self._pipe, f"{line}\n".encode())

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the chosen ones."""
        kept = [item for item in items if item.nodeid in self._order]
        items[:] = sorted(kept, key=lambda item: self._order[item.nodeid])
        self._tell(f"collected {len(kept)}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell that a test file cannot even be imported."""
        if report.failed:
            self._tell(f"failed {report.nodeid}")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell which test begins, so that one that hangs is known."""
        self._tell(f"began {nodeid}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell that a test failed."""
        if report.failed:
            self._tell(f"failed {report.nodeid}")


class Copy:
    """A copy of the checkout in which mutants are planted, one at a time."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        skipped = shutil.ignore_patterns(".git", ".venv", ".*cache", ".hypothesis", "node_modules")
        shutil.copytree(root, folder, ignore=skipped)
        self._passes: dict[str, bool] = {}

    def run(self, names: Sequence[str], limit_s: float) -> tuple[int | None, list[str]]:
        """Pytest's exit code for these tests, ``None`` after the limit, and what it told."""
        files = list(dict.fromkeys(name.split("::")[0] for name in names))
        return self.forked(
            lambda pipe: pytest.main([*OPTIONS, "-x", *files], plugins=[Selected(names, pipe)]),
            limit_s,
        )

    def forked(self, work: Callable[[int], int], limit_s: float) -> tuple[int | None, list[str]]:
        """Do work in a process of its own, which is given a pipe to tell lines."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._child(work, limit_s, writing)
        os.close(writing)
        code = _wait(child, limit_s)
        with os.fdopen(reading, "rb") as pipe:
            os.set_blocking(pipe.fileno(), False)
            told = pipe.read() or b""
        return code, told.decode(errors="replace").splitlines()

    def _child(self, work: Callable[[int], int], limit_s: float, pipe: int) -> None:
        code = 70
        try:
            os.setsid()
            os.chdir(self.folder)
            quiet = os.open(self.folder.with_suffix(".log"), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(quiet, stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            seconds = math.ceil(limit_s)
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            os.environ["PYTHONPATH"] = str(self.folder)
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            sys.dont_write_bytecode = True
            sys.path.insert(0, str(self.folder))
            code = int(work(pipe))
        except BaseException:  # noqa: BLE001  a child never returns into its parent's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def last_words(self) -> str:
        """The end of what the last child printed."""
        text = self.folder.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
        return text.strip().rpartition("\n")[2]

    def passes(self, name: str, limit_s: float) -> bool:
        """Whether a test passes without a mutant; asked once each."""
        if name not in self._passes:
            code, _ = self.run([name], limit_s)
            # Of a file, only that it can be collected.
            good = pytest.ExitCode.OK if "::" in name else pytest.ExitCode.NO_TESTS_COLLECTED
            self._passes[name] = code == good
        return self._passes[name]

    @contextlib.contextmanager
    def planted(self, mutant: Mutant) -> Iterator[None]:
        """The copy with a mutant in it."""
        path = self.folder / mutant.path
        source, times = path.read_text(encoding="utf-8"), path.stat()
        path.write_text(mutant.applied(source), encoding="utf-8")
        # Bytecode is matched by time and size alone, so no two versions may share a time.
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 10**9 * 3600))
        try:
            yield
        finally:
            path.write_text(source, encoding="utf-8")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def judge(self, mutant: Mutant, stages: Iterable[tuple[list[str], float]]) -> Verdict:
        """Run tests against a mutant, a stage after the other, until one of them kills it."""
        began_s, ran = time.monotonic(), 0
        verdict, killed_by = "unreached", ""
        for stage, limit_s in stages:
            names = stage
            while names:
                with self.planted(mutant):
                    found, killed_by = _verdict(*self.run(names, limit_s))
                if not killed_by or self.passes(killed_by, limit_s):
                    break
                # It would fail in any case, so it says nothing of the mutant.
                names = [n for n in names if killed_by not in {n, n.partition("::")[0]}]
                if killed_by == CONFTEST:
                    msg = f"the tests do not run without a mutant: {self.last_words()}"
                    raise RuntimeError(msg)
            if not names:
                continue
            ran, verdict = ran + len(names), found
            if verdict != "survived":
                break
        return Verdict(mutant, verdict, killed_by, ran, time.monotonic() - began_s)


def _verdict(code: int | None, told: list[str]) -> tuple[str, str]:
    """What became of the mutant, and the test that did it.

    Only a test that failed kills, or a process that hung or died: nothing else may look so.
    """
    failed = [line.removeprefix("failed ") for line in told if line.startswith("failed ")]
    began = [line.removeprefix("began ") for line in told if line.startswith("began ")]
    if failed:
        return "killed", failed[0]
    if code is None or code < 0:
        return "timeout", began[-1] if began else ""
    if code == pytest.ExitCode.USAGE_ERROR and not told:  # tests/conftest.py cannot be imported
        return "killed", CONFTEST
    if code in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED} and told:
        return "survived", ""
    # An internal error or the like. It may be the mutant's doing, but no test has said so.
    print(f"pytest ended with {code} and told {told[:9]}", flush=True)
    return "unclear", ""


def _wait(child: int, limit_s: float) -> int | None:
    """Wait for a child, at most so long; end it with all that it started."""
    until_s, code = time.monotonic() + limit_s, None
    while code is None and time.monotonic() < until_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if code is None:
        os.waitpid(child, 0)
    return code


def mapped(copy: Copy, file: str, kept: Path, ids: Mapping[str, str]) -> None:
    """Keep which test of a file runs which line of the packages: it runs once, with coverage.

    What is kept under the same ids is not run again. A file that takes longer than `FILE_S` is left
    out and told: fewer tests then try the mutants.
    """
    if kept.exists():
        content = json.loads(kept.read_text(encoding="utf-8"))
        if all(content.get(name) == value for name, value in ids.items()):
            return
        kept.unlink()
    began_s = time.monotonic()
    code, _ = copy.forked(lambda _: _map_one(file, kept, ids), FILE_S)
    print(f"{file}: {time.monotonic() - began_s:.0f} s, ended with {code}", flush=True)
    if not kept.exists():
        print(f"!! {file} is left out of the map: {copy.last_words()}", flush=True)


def _map_one(name: str, kept: Path, ids: Mapping[str, str]) -> int:
    from benchmarks._mutant_map import Map  # noqa: PLC0415  starts coverage: only in the child

    return int(pytest.main([*OPTIONS, name], plugins=[Map(kept, ids)]))


class Joined:
    """Maps of several test files, as one."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {"tests": [], "seconds": [], "lines": {}}

    def add(self, part: dict[str, Any]) -> None:
        """Number the tests of a part behind those that are here."""
        first = len(self.content["tests"])
        self.content["tests"] += part["tests"]
        self.content["seconds"] += part["seconds"]
        for path, by_line in part["lines"].items():
            lines = self.content["lines"].setdefault(path, {})
            for line, numbers in by_line.items():
                lines.setdefault(line, []).extend(first + number for number in numbers)

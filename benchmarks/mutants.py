"""Do the tests notice a change of one operator? A seeded sample of mutants is tried against them.

    python benchmarks/mutants.py --json
    python benchmarks/mutants.py --renew

Each mutant changes one expression or deletes one statement of packet, evidence, outcomes,
synthesis, disclosure or loop (`_mutators.py`), and the tests that run its lines are run against it
(`_mutant_runs.py`). A mutant that no test notices survives. The result is kept in
`results/mutants.json` with the git trees of the six packages and of tests/; while these are as they
were, `--json` prints the kept figures, and otherwise it renews them: a kill is kept while the
mutated file, the file of the test that killed it and conftest.py are as they were, and where only
one of them has changed the same test is tried first. `--coverage` maps each test file
anew, and tells how many of the lines and branches of `qis` the tests run. Each survivor is listed
with a reason out of `mutant_reasons.json`, by the mutant's id; those whose change nobody could see
from outside are "equivalent".
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import benchmarks._mutant_record as records  # noqa: E402  found by the line above
from benchmarks import _results  # noqa: E402
from benchmarks._mutators import Mutant, sample  # noqa: E402

TESTS = ("tests/unit", "tests/property")
COUNT, SEED = 320, 1
HINT_S = 120.0


class Measurement:
    """Tries mutants in several processes, each with its own copy of the checkout."""

    def __init__(self, sources: dict[str, str], options: argparse.Namespace) -> None:
        # Before numpy is imported: each process has one core.
        os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        from benchmarks import _mutant_runs  # noqa: PLC0415  needs pytest, the record does not

        self._runs, self._sources = _mutant_runs, sources
        self._cache, self._as_mapped = options.map, options.as_mapped
        self._covers = options.coverage
        self._cache.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory()
        self._pool = ProcessPoolExecutor(
            options.jobs, mp_context=multiprocessing.get_context("fork"), initializer=self._begin
        )

    def _begin(self) -> None:
        """Make the copy of this process."""
        self._copy = self._runs.Copy(ROOT, Path(self._folder.name, str(os.getpid())))
        global _here  # noqa: PLW0603  what a process of the pool is given work by
        _here = self

    def close(self) -> None:
        """Remove the copies."""
        self._pool.shutdown()
        self._folder.cleanup()

    def __call__(
        self, chosen: list[Mutant], former: dict[str, dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """What became of each, as it is known."""
        again = []
        for mutant in chosen:
            if mutant.id in former and records.holds(former[mutant.id]):
                yield {**former[mutant.id], "where": f"{mutant.path}:{mutant.line}"}
            else:
                again.append(mutant)
        print(f"{len(chosen) - len(again)} of {len(chosen)} hold; the others are tried", flush=True)
        left = []
        hints = [(mutant, former.get(mutant.id, {}).get("killed_by", "")) for mutant in again]
        tried = [self._pool.submit(_try_hint, mutant, hint) for mutant, hint in hints]
        for mutant, found in _done(tried):
            if found is None:
                left.append(mutant)
            else:
                yield found
        if not left:
            return
        print(f"{len(left)} need the map of lines to tests", flush=True)
        if not self._as_mapped:
            self._map_all()
        for _, found in _done([self._pool.submit(_judge, mutant) for mutant in left]):
            if found is not None:
                yield found

    def _map_all(self) -> None:
        for _ in _done([self._pool.submit(_map, *each) for each in self._files()]):
            pass

    def _files(self) -> Iterable[tuple[str, Path]]:
        """Test files, and where the map of each is kept."""
        for folder in TESTS:
            for path in sorted((ROOT / folder).rglob("test_*.py")):
                name = path.relative_to(ROOT).as_posix()
                yield name, self._cache / f"{name.replace('/', '-')}.json"

    def map_one(self, file: str, kept: Path) -> None:
        """See which test of a file runs which line."""
        ids = {"blob": records.blob(file)}
        if self._covers:
            ids["qis"] = records.tree_id(ROOT / "qis")
        self._runs.mapped(self._copy, file, kept, ids)

    def branch_coverage(self) -> float:
        """Map what is not mapped of this very checkout; what ran of `qis`, in per cent."""
        self._map_all()
        from benchmarks._mutant_map import branch_coverage  # noqa: PLC0415  needs coverage

        kept = (path for _, path in self._files() if path.exists())
        parts = (json.loads(path.read_text(encoding="utf-8")) for path in kept)
        return branch_coverage(ROOT, parts)

    def hint(self, mutant: Mutant, test: str) -> dict[str, Any] | None:
        """Try the test that killed it the last time; ``None`` if it does not any more."""
        if not (self._copy.folder / test.partition("::")[0]).is_file():
            return None
        verdict = self._copy.judge(mutant, [([test], HINT_S)])
        return records.entry(mutant, verdict) if verdict.verdict in records.KILLED else None

    def judge(self, mutant: Mutant) -> dict[str, Any]:
        """Try all tests that reach it, within the limits."""
        if not hasattr(self, "_tests"):
            whole = self._runs.Joined()
            for _, kept in self._files():
                if kept.exists():
                    whole.add(json.loads(kept.read_text(encoding="utf-8")))
            self._tests = self._runs.Tests(whole.content, self._sources)
        return records.entry(mutant, self._copy.judge(mutant, self._tests.stages(mutant)))


_here: Measurement


def _map(file: str, kept: Path) -> tuple[None, None]:
    _here.map_one(file, kept)
    return None, None


def _try_hint(mutant: Mutant, test: str) -> tuple[Mutant, dict[str, Any] | None]:
    return mutant, _here.hint(mutant, test) if test else None


def _judge(mutant: Mutant) -> tuple[Mutant, dict[str, Any]]:
    return mutant, _here.judge(mutant)


def _done(tasks: list[Any]) -> Iterator[Any]:
    for task in as_completed(tasks):
        yield task.result()


def renewed(former: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the former record does not say, and tell about each mutant as it is done."""
    began_s, trees = time.monotonic(), records.trees()
    sources = records.sources()
    chosen = sample(sources, count=options.count, seed=SEED)
    wanted = [m for m in chosen if not options.only or any(each in m.path for each in options.only)]
    known = {} if options.afresh else {each["id"]: each for each in former.get("mutants", [])}
    found = {m.id: known[m.id] for m in chosen if m.id in known and m not in wanted}
    measurement = Measurement(sources, options)
    covered = former.get("branch_coverage")  # the last that was measured
    try:
        if options.coverage:
            covered = measurement.branch_coverage()
        for entry in measurement(wanted, known):
            found[entry["id"]] = entry
            print(f"{len(found)}/{len(chosen)} {records.line(entry)}", flush=True)
            if options.partial:
                _keep(chosen, found, options, trees, began_s)
    finally:
        measurement.close()
    return _keep(chosen, found, options, trees, began_s, branch_coverage=covered)


def _keep(
    chosen: list[Mutant],
    found: dict[str, dict[str, Any]],
    options: argparse.Namespace,
    trees: dict[str, str],
    began_s: float,
    *,
    branch_coverage: float | None = None,
) -> dict[str, Any]:
    if records.trees() != trees:
        msg = "qis/ or tests/ changed while this measured them: measure in a checkout at rest"
        raise SystemExit(msg)
    entries = [found[mutant.id] for mutant in chosen if mutant.id in found]
    record = {"seed": SEED, "trees": trees, "mutants": records.with_reasons(entries)}
    record["is_complete"] = len(entries) == len(chosen) and not options.only
    if branch_coverage is not None:
        record["branch_coverage"] = branch_coverage
    record["seconds"] = round(time.monotonic() - began_s)
    _results.keep("mutants", record, path=options.out)
    return record


def main() -> None:
    """Print the kept record or renew it, and end with the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print figures as JSON (always done)")
    parser.add_argument("--check-record", action="store_true", help="never measure")
    parser.add_argument("--renew", action="store_true", help="renew in any case")
    parser.add_argument("--afresh", action="store_true", help="with nothing of the former record")
    parser.add_argument("--count", type=int, default=COUNT, help="mutants to draw")
    parser.add_argument("--only", nargs="*", help="only modules whose path has one of these in it")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--partial", action="store_true", help="keep what is known after each")
    default = Path(tempfile.gettempdir(), "qis-mutants-map")
    parser.add_argument("--map", type=Path, default=default, help="folder of the map, kept")
    parser.add_argument("--as-mapped", action="store_true", help="map no further test files")
    parser.add_argument("--coverage", action="store_true", help="branch coverage, on the way")
    parser.add_argument("--out", type=Path, help="the record, elsewhere")
    options = parser.parse_args()
    former = _results.kept("mutants", path=options.out)
    is_current = former.get("trees") == records.trees() and former.get("is_complete", False)
    if options.check_record or (is_current and not (options.renew or options.afresh)):
        for each in former.get("mutants", []):
            if "reason" in each:
                print(f"{records.line(each)}\n    {each['reason']}")
    else:
        former = renewed(former, options)
    print(json.dumps(records.figures(former)))


if __name__ == "__main__":
    main()

"""Do the tests notice a change of one operator? A seeded sample of mutants is tried against them.

    python benchmarks/mutants.py --json
    python benchmarks/mutants.py --check-record

Each mutant changes one expression or deletes one statement of packet, evidence, outcomes,
synthesis, disclosure or loop (`_mutators.py`), and the tests that run its lines are run against it
(`_mutant_runs.py`). A mutant that no test notices survives. Trying all takes an hour, so the result
is kept in `results/mutants.json` with the git trees of the six packages and of tests/; while these
are as they were, `--json` prints the kept figures, and otherwise it measures. Each survivor is
listed there with a reason out of `mutant_reasons.json`, by the mutant's id; those whose change
nobody could see from outside are "equivalent".
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks import _results  # noqa: E402  found by the line above
from benchmarks._mutators import Mutant, sample  # noqa: E402

PACKAGES = ("packet", "evidence", "outcomes", "synthesis", "disclosure", "loop")
TESTS = ("tests/unit", "tests/property")
COUNT, SEED = 320, 1
IGNORED = {"__pycache__", ".hypothesis", "node_modules", ".pytest_cache"}


def tree_id(folder: Path) -> str:
    """Git's id of the folder's tree as it is on disk, so that it is known without git, too."""
    entries = []
    for path in folder.iterdir():
        if path.name in IGNORED:
            continue
        if path.is_dir():
            entries.append((f"{path.name}/", f"40000 {path.name}", bytes.fromhex(tree_id(path))))
        else:
            mode = "100755" if path.stat().st_mode & 0o100 else "100644"
            entries.append((path.name, f"{mode} {path.name}", _object("blob", path.read_bytes())))
    content = b"".join(name.encode() + b"\0" + digest for _, name, digest in sorted(entries))
    return _object("tree", content).hex()


def _object(kind: str, content: bytes) -> bytes:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).digest()  # noqa: S324  git's


def trees() -> dict[str, str]:
    """Ids of all that the record depends on."""
    folders = [f"qis/{name}" for name in PACKAGES] + ["tests"]
    return {folder: tree_id(ROOT / folder) for folder in folders}


def sources() -> dict[str, str]:
    """Text of each module of the six packages, by its path."""
    files = [path for name in PACKAGES for path in sorted((ROOT / "qis" / name).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}


def figures(record: dict[str, Any]) -> dict[str, float]:
    """Count what became of the mutants."""
    verdicts = [each["verdict"] for each in record.get("mutants", [])]
    if not verdicts:
        return {"mutants": 0, "record_is_current": 0}
    killed = sum(verdict in {"killed", "timeout"} for verdict in verdicts)
    survivors = [each for each in record["mutants"] if "reason" in each]
    equivalent = sum(bool(each["equivalent"]) for each in survivors)
    return {
        "mutants": len(verdicts),
        "killed": killed,
        "killed_fraction": round(killed / len(verdicts), 4),
        "killed_by_timeout": verdicts.count("timeout"),
        "survivors": len(survivors),
        "survivors_equivalent": equivalent,
        "killed_fraction_without_equivalent": round(killed / (len(verdicts) - equivalent), 4),
        "survivors_without_reason": sum(not each["reason"] for each in survivors),
        "record_is_current": int(record["trees"] == trees()),
    }


def measured(chosen: list[Mutant], cache: Path | None) -> list[dict[str, Any]]:
    """Try each mutant, and tell about it as it is done."""
    from benchmarks import _mutant_runs as runs  # noqa: PLC0415  needs pytest, the record does not

    with tempfile.TemporaryDirectory() as folder:
        copy = runs.Copy(ROOT, Path(folder, "copy"))
        print("the tests run once, to see which of them run which line", flush=True)
        content = runs.mapped(copy, cache or Path(folder, "map"), TESTS)
        tests = runs.Tests(content)
        names = list({name: None for mutant in chosen for name in tests.first(mutant)})
        print(f"{len(names)} tests run without a mutant", flush=True)
        dropped = copy.failing_without_mutant(names, tests.seconds(names))
        print(f"left out, since they fail without a mutant: {dropped}", flush=True)
        tests.drop(dropped)
        found = []
        for number, mutant in enumerate(chosen, 1):
            verdict = copy.judge(mutant, tests)
            found.append(_entry(mutant, verdict))
            print(f"{number}/{len(chosen)} {_line(found[-1])}", flush=True)
    return found


def _entry(mutant: Mutant, verdict: Any) -> dict[str, Any]:
    entry = {
        "id": mutant.id,
        "where": f"{mutant.path}:{mutant.line}",
        "function": mutant.function,
        "operator": mutant.operator,
        "before": mutant.before,
        "after": mutant.after,
        "verdict": verdict.verdict,
        "killed_by": verdict.killed_by,
        "tests": verdict.tests,
        "seconds": round(verdict.seconds, 1),
    }
    if verdict.verdict not in {"killed", "timeout"}:
        entry.update(reason="", equivalent=False)
    return entry


def _line(entry: dict[str, Any]) -> str:
    change = f"{entry['before']} -> {entry['after']}".replace("\n", " ")
    return f"{entry['verdict']} {entry['id']} {entry['where']} {entry['seconds']}s  {change[:160]}"


def recorded(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the record; a survivor gets its reason, where one has been written down."""
    reasons = json.loads((ROOT / "benchmarks" / "mutant_reasons.json").read_text(encoding="utf-8"))
    for entry in entries:
        if "reason" in entry:
            entry.update(reasons.get(entry["id"], {}))
    return {
        "seed": SEED,
        "trees": trees(),
        "mutants": [{**e, "killed_by": e["killed_by"][:200]} for e in entries],
    }


def main() -> None:
    """Print the kept record or measure, and end with the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print figures as JSON (always done)")
    parser.add_argument("--check-record", action="store_true", help="never measure")
    parser.add_argument("--measure", action="store_true", help="measure in any case")
    parser.add_argument("--count", type=int, default=COUNT, help="mutants to draw")
    parser.add_argument("--only", nargs="*", help="ids of mutants, or `survivors` of the record")
    parser.add_argument("--map", type=Path, help="folder to keep the map of lines to tests in")
    parser.add_argument("--out", type=Path, help="write the record here instead")
    options = parser.parse_args()
    former = _results.kept("mutants")
    is_current = former.get("trees") == trees()
    if options.check_record or (is_current and not options.measure):
        for each in former.get("mutants", []):
            if "reason" in each:
                print(f"{_line(each)}\n    {each['reason']}")
        print(json.dumps(figures(former)))
        return
    began_s = time.monotonic()
    chosen = sample(sources(), count=options.count, seed=SEED)
    if options.only:
        ids = set(options.only)
        if "survivors" in ids:
            ids |= {each["id"] for each in former["mutants"] if "reason" in each}
        chosen = [mutant for mutant in chosen if mutant.id in ids]
    if not chosen:
        parser.error("no mutant of the sample has such an id")
    record = recorded(measured(chosen, options.map))
    record["seconds"] = round(time.monotonic() - began_s)
    _results.keep("mutants", record, path=options.out)
    print(json.dumps(figures(record)))


if __name__ == "__main__":
    main()

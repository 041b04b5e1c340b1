"""The record of `mutants.py`: what became of each mutant, and what that depends on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._mutators import Mutant

ROOT = Path(__file__).parents[1]
PACKAGES = ("packet", "evidence", "outcomes", "synthesis", "disclosure", "loop")
CONFTEST = "tests/conftest.py"
KILLED = {"killed", "timeout"}
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
    killed = sum(verdict in KILLED for verdict in verdicts)
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
        **({"branch_coverage": record["branch_coverage"]} if "branch_coverage" in record else {}),
        "record_is_current": int(record["trees"] == trees()),
    }


def blob(path: str) -> str:
    """Git's id of one file's content; empty if there is none."""
    try:
        return _object("blob", (ROOT / path).read_bytes()).hex()
    except (FileNotFoundError, IsADirectoryError):
        return ""


def entry(mutant: Mutant, verdict: Any) -> dict[str, Any]:
    """What the record says of a mutant; `blobs` are the files by which a renewal knows it."""
    files = {mutant.path, CONFTEST, verdict.killed_by.partition("::")[0]} - {""}
    found = {
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
        "blobs": {path: blob(path) for path in sorted(files)},
    }
    if verdict.verdict not in KILLED:
        found.update(reason="", equivalent=False)
    return found


def holds(former: Mapping[str, Any]) -> bool:
    """Whether a kill needs no new try: the mutated file and the killing test are as they were."""
    return (
        former["verdict"] in KILLED
        and former["killed_by"] != ""
        and all(blob(path) == kept for path, kept in former["blobs"].items())
    )


def line(found: Mapping[str, Any]) -> str:
    """One line for people."""
    change = f"{found['before']} -> {found['after']}".replace("\n", " ")
    return f"{found['verdict']} {found['id']} {found['where']} {found['seconds']}s  {change[:160]}"


def with_reasons(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same; a survivor gets its reason, where one has been written down."""
    reasons = json.loads((ROOT / "benchmarks" / "mutant_reasons.json").read_text(encoding="utf-8"))
    for each in entries:
        if "reason" in each:
            each.update(reasons.get(each["id"], {"reason": "", "equivalent": False}))
    return entries

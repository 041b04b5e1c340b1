"""Keep the figures of benchmarks in results/, and write them into the tables of the docs.

    python benchmarks/keep.py synthesis_accuracy        # run it with --json, keep its last line
    python benchmarks/keep.py udp -- --seconds 60       # with further arguments
    python benchmarks/keep.py                           # only write the tables anew

A run is kept with its commit, its processor and its interpreter, beside the four before it on the
same processor. Between the marks ``<!-- kept: NAME -->`` and ``<!-- end of kept -->`` in docs/ and
in the README beside this file stands the table of the medians, written here and nowhere by hand.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks import _results  # noqa: E402  found by the line above

_BLOCK = re.compile(r"(<!-- kept: (\w+) -->\n).*?(<!-- end of kept -->)", re.DOTALL)


def pages() -> list[Path]:
    """The files that may hold tables of kept figures."""
    return [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md"]


def table(name: str) -> str:
    """The table of a benchmark's kept medians, with where they come from."""
    runs = _results.kept(name)["runs"]
    rows = [
        f"| `{figure}` | {_number(value)} |" for figure, value in _results.medians(name).items()
    ]
    last = runs[-1]
    count = f"{len(runs)} runs" if len(runs) > 1 else "one run"
    origin = f"{last['processor']}, {last['cores']} cores, Python {last['python']}"
    head = f"| `{name}` | median of {count} |\n| --- | ---: |\n"
    return f"{head}{chr(10).join(rows)}\n\n({origin}, commit {last['commit']}.)\n"


def written(page: str) -> str:
    """The text of a page with each table as it follows from what is kept."""
    return _BLOCK.sub(lambda found: found[1] + table(found[2]) + found[3], page)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def run(name: str, arguments: list[str]) -> dict[str, float]:
    """The figures that a benchmark prints as its last line.

    Raises
    ------
    ValueError
        If that is no flat JSON object of numbers.

    """
    command = [sys.executable, f"benchmarks/{name}.py", "--json", *arguments]
    done = subprocess.run(  # noqa: S603  our own script
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    if not isinstance(figures, dict) or not all(
        isinstance(value, int | float) for value in figures.values()
    ):
        raise ValueError(f"the last line of {name} is no flat object of numbers: {figures!r:.200}")
    return figures


def main() -> None:
    """Run a benchmark and keep its figures, if one is named; write all tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("name", nargs="?", help="a file of this folder, without .py")
    parser.add_argument("arguments", nargs="*", help="further arguments, after --")
    options = parser.parse_args()
    if options.name:
        figures = run(options.name, options.arguments)
        _results.keep_run(options.name, figures)
        print(json.dumps(figures))
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := written(text)) != text:
            page.write_text(new, encoding="utf-8")
            print(f"written: {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

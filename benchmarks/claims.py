"""The article's claims, measured: outcome routing beside federated averaging.

    python -m benchmarks.claims --quick             # minutes; fixed seeds
    python -m benchmarks.claims --json              # about eight minutes; figures as the last line
    python -m benchmarks.claims --full --keep       # the record, hours; writes the pages
    python -m benchmarks.claims --page              # only writes the pages from the record
    python -m benchmarks.claims --quick --check     # fails if it contradicts the record

`--parts` chooses among the parts, `--data DIR` is the folder of what cannot be packaged (UCI
heart disease, published cases; default: QIS_SHARED_DATA), `--flwr PYTHON` the interpreter of an
environment with ``flwr[simulation]``. A part that lacks its data, or that, says "not run", and what
is recorded of it stands. `--figures DIR` draws the plots.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import _case_appendix  # noqa: E402  found by the line above
import _case_asked  # noqa: E402
import _case_bandwidth  # noqa: E402
import _case_claims  # noqa: E402
import _case_draw  # noqa: E402
import _case_figures  # noqa: E402
import _case_framework  # noqa: E402
import _case_inversion  # noqa: E402
import _case_network  # noqa: E402
import _case_page  # noqa: E402
import _case_rarest  # noqa: E402
import _case_record  # noqa: E402
import _case_small  # noqa: E402
import _case_table  # noqa: E402

from benchmarks import _results  # noqa: E402

Asked = _case_asked.Asked
PARTS: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "aggregator": _case_network.aggregator,
    "bandwidth": _case_bandwidth.part,
    "hearts": _case_small.hearts,
    "small_sites": _case_small.part,
    "by_number": _case_small.by_number,
    "framework": _case_framework.part,
    "inversion": _case_inversion.part,
    "thresholds": _case_inversion.thresholds,
    "pairs": _case_network.pairs,
    "continuous": _case_network.continuous,
    "rarest": _case_rarest.part,
    "appendix": _case_appendix.part,
}
NAME = "claims"
PAGE, README = HERE.parent / "docs" / "claims.md", HERE.parent / "README.md"
SEEDS = (
    "fixed: splits [2024, number], deals 175, attacks 2019, networks 0, 7 and the victim's number"
)


def run(names: list[str], asked: Asked) -> dict[str, Any]:
    """Measure parts; each with where it comes from."""
    parts = {}
    for name in names:
        begun = time.process_time()
        found = PARTS[name](asked)
        hours = (time.process_time() - begun) / 3600.0
        parts[name] = {**_results.origin(), "hours": round(hours, 3), "found": _rounded(found)}
        asked.said(f"{name}: done, {3600 * hours:.0f} s of processor time")
    return {"seeds": SEEDS, "parts": parts}


def _rounded(found: Any) -> Any:
    """Six significant digits are more than any figure has."""
    if isinstance(found, dict):
        return {name: _rounded(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_rounded(value) for value in found]
    if isinstance(found, float):
        return float(f"{found:.6g}")
    return found


def keep(content: dict[str, Any]) -> dict[str, Any]:
    """Keep what was run, and leave of the former record what could not be."""
    former = _results.kept(NAME)
    parts = dict(former.get("parts", {}))
    for name, part in content["parts"].items():
        if "not_run" in part["found"] and name in parts:
            print(f"{name} lacks what it needs: the record stands", file=sys.stderr)
            continue
        parts[name] = part
    ordered = {name: parts[name] for name in PARTS if name in parts}
    made: dict[str, Any] = {"seeds": SEEDS, "parts": ordered}
    _results.keep(NAME, made)
    return made


def write_pages(content: dict[str, Any]) -> None:
    """docs/claims.md, its plots and the README's table, once every part is recorded."""
    if missing := PARTS.keys() - content["parts"].keys():
        print(f"no pages yet, for want of {', '.join(sorted(missing))}", file=sys.stderr)
        return
    record = _case_record.Record(content)
    PAGE.write_text(_case_page.page(record, content), encoding="utf-8")
    _case_draw.draw(record, PAGE.parent)
    README.write_text(
        _case_page.readme(README.read_text(encoding="utf-8"), record), encoding="utf-8"
    )


def contradictions(content: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """Where this run excludes a recorded verdict: by corrected intervals, and by survival."""
    ours, theirs = _case_record.Record(content), _case_record.Record(recorded)
    found = []
    for row in ours.table:
        former = theirs.scenario(row["data"], row["scenario"])
        for other, against in row["packet_against"].items():
            said, auc = former["packet_against"][other]["verdict"], against["auc"]
            if _case_table.excludes(auc, said):
                found.append(
                    f"{row['data']}, {row['scenario']}: packet minus {other} is in "
                    f"[{auc['low']:.4f}, {auc['high']:.4f}], recorded: {said}"
                )
    for name in ("aggregator",):
        if name in ours.parts:
            now, before = (r.parts[name]["survives_any_node_loss"] for r in (ours, theirs))
            if now != before:
                found.append(f"survives_any_node_loss is {now}, recorded {before}")
    return found


def main() -> None:
    """Measure, keep, write, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="few splits, small networks")
    effort.add_argument("--full", action="store_true", help="as for the record")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, help="folder of the data that are not packaged")
    parser.add_argument(
        "--flwr", type=Path, metavar="PYTHON", help="the Python of an environment with flwr"
    )
    parser.add_argument("--json", action="store_true", help="figures as the last line")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw the plots there")
    parser.add_argument("--keep", action="store_true", help="keep the record and write the pages")
    parser.add_argument("--page", action="store_true", help="only write the pages")
    parser.add_argument("--check", action="store_true", help="fail if the record is contradicted")
    options = parser.parse_args()
    if options.page:
        write_pages(_results.kept(NAME))
        return
    begun = time.monotonic()

    def said(words: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {words}", file=sys.stderr, flush=True)

    named = options.data or os.environ.get("QIS_SHARED_DATA")
    data = Path(named) if named else None
    if data is not None and not (data / "synthesis").is_dir():
        print(f"{data} has no folder synthesis: UCI heart disease is not run", file=sys.stderr)
        data = None
    effort = 0 if options.quick else 2 if options.full else 1
    asked = Asked(effort, data, said, options.flwr)
    content = run(options.parts, asked)
    if options.keep:
        content = keep(content)
        write_pages(content)
    record = _case_record.Record(content)
    if options.figures:
        _case_draw.draw(record, options.figures)
    if not options.json:
        for number, claim in enumerate(_case_claims.CLAIMS, 1):
            print(f"{number:2} {claim.verdict(record) or 'not run':14} {claim.said(record)}")
    # What this run did not measure is no number, and JSON has no word for that.
    known = {
        name: each for name, each in _case_figures.figures(record).items() if not math.isnan(each)
    }
    print(json.dumps(known))
    if options.check and (against := contradictions(content, _results.kept(NAME))):
        sys.exit("\n".join(["the record is contradicted:", *against]))


if __name__ == "__main__":
    main()

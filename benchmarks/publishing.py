"""What durability costs a publisher: files that are synced beside memory, and beside bare syncs.

python benchmarks/publishing.py --json
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

from _ratio import median_seconds

import qis
from qis import blocking
from qis.loop import Outbox

SITE = qis.Identity.from_seed(bytes([1]) * 32)
SCHEME = qis.VectorScheme(dimensions=3, secret=bytes(32))
ABOUT = (0.2, -1.0, 0.7)


def publisher(stack: ExitStack, **options: object) -> Callable[[], object]:
    """Publishes one more cohort with each call."""
    loop = stack.enter_context(
        blocking.SynthesisLoop(
            SITE,
            qis.MemoryTransport(qis.MemoryNetwork(), SITE),
            SCHEME,
            interest=SCHEME.interest(ABOUT),
            debounce_s=3600.0,
            **options,
        )
    )
    number = count()
    return lambda: loop.publish(
        qis.Effect(
            question="q",
            cohort=f"{next(number)}",
            measure="OR",
            estimate=0.1,
            standard_error=0.2,
            n=100,
        ),
        about=ABOUT,
    )


def syncing(stack: ExitStack, path: Path) -> Callable[[], object]:
    """Appends 512 bytes to a file and syncs it: what no durable publisher can do without."""
    file = stack.enter_context(path.open("ab"))

    def sync() -> None:
        file.write(bytes(512))
        file.flush()
        os.fsync(file.fileno())

    return sync


def measure(folder: Path) -> dict[str, float]:
    """Milliseconds a call, and ratios."""
    with ExitStack() as stack:
        store = stack.enter_context(
            closing(qis.SQLiteStore(folder / "store.db", roster=qis.Roster.open()))
        )
        sides = {
            "sync": syncing(stack, folder / "plain"),
            "memory": publisher(stack, disclosure=qis.Disclosure.preset("none")),
            "durable": publisher(
                stack,
                disclosure=qis.Disclosure.preset("none", ledger=folder / "ledger.jsonl"),
                store=store,
                outbox=stack.enter_context(Outbox(folder / "outbox.db")),
                audit=stack.enter_context(qis.AuditLog(folder / "audit.jsonl")),
            ),
        }
        seconds = median_seconds(sides, calls=20, rounds=15)
    found = {f"{name}_ms": round(1e3 * value, 2) for name, value in seconds.items()}
    found["durable_over_memory"] = round(seconds["durable"] / seconds["memory"], 1)
    found["durable_over_sync"] = round(seconds["durable"] / seconds["sync"], 1)
    return found


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", help="where the files are made; its disk is what is measured")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        found = measure(Path(folder))
    if asked.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name:24} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()

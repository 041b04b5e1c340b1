"""Stores with 100,000 packets: additions a second, and a query by question.

Packets are signed before the clock starts; adding verifies nothing, as after a transport. The
ratios set the store beside what cannot be avoided: additions beside verifying a packet's signature,
the disk beside memory. A full store, which evicts as much as it takes in, is measured by CPU time:
once with 20 questions, so that most packets were superseded, once with none superseded.

What durability costs a publisher comes first: a publication with all files synced, beside one in
memory and beside a bare sync of 512 bytes.

    python benchmarks/store.py --json
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

from _ratio import median_seconds

import qis
from qis import blocking
from qis.evidence import EvidenceStore, MemoryStore, Roster, SQLiteStore
from qis.loop import Outbox

NOW = 1_800_000_000
BATCHES = (1_000, 10_000)
PER_QUESTION = 50
LOOP_BATCH = 512
"""What a loop hands over at most at once."""
FEW_QUESTIONS = 20
SITE = qis.Identity.from_seed(bytes([1]) * 32)
SCHEME = qis.VectorScheme(dimensions=3, secret=bytes(32))
ABOUT = (0.2, -1.0, 0.7)


def packets(number: int, questions: int) -> list[qis.Packet]:
    """Packets of 50 sites, one of each under every question, over and over."""
    sites = [qis.Identity.from_seed(i.to_bytes(32, "big")) for i in range(PER_QUESTION)]
    about = qis.Fingerprint(bytes(32), bytes(8))
    made = [
        qis.Packet.sign(
            sites[i % PER_QUESTION],
            outcome=qis.Effect(
                question=f"q{i // PER_QUESTION % questions}",
                measure="OR",
                estimate=0.1,
                standard_error=1.0,
            ),
            fingerprint=about,
            issued_at=NOW + i,
            lifetime_s=30 * 86_400,
        )
        for i in range(number)
    ]
    for packet in made:
        _ = packet.id  # known from the transport's duplicate check
    return made


def added_per_second(store: EvidenceStore, made: list[qis.Packet], batch: int) -> float:
    """Packets a second in batches, each of them durable, from the first to the last."""
    start = time.perf_counter()
    for at in range(0, len(made), batch):
        store.add_many(made[at : at + batch], now=NOW + len(made))
    return len(made) / (time.perf_counter() - start)


def cpu_s_when_full(store: EvidenceStore, made: list[qis.Packet]) -> float:
    """CPU seconds a packet, evictions included, once the store is full."""
    for at in range(0, store.capacity, LOOP_BATCH):
        store.add_many(made[at : min(at + LOOP_BATCH, store.capacity)], now=NOW + len(made))
    start = time.process_time()
    for at in range(store.capacity, len(made), LOOP_BATCH):
        store.add_many(made[at : at + LOOP_BATCH], now=NOW + len(made))
    return (time.process_time() - start) / (len(made) - store.capacity)


def query_ms(store: EvidenceStore, questions: range) -> float:
    """Median over questions that were not read since the store was opened."""
    times = []
    for number in questions:
        start = time.perf_counter()
        found = store.evidence(f"q{number}", now=NOW)
        times.append(1e3 * (time.perf_counter() - start))
        assert len(found) == PER_QUESTION  # noqa: S101  a benchmark of nothing would be fast
    return statistics.median(times)


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


def publishing(folder: Path) -> dict[str, float]:
    """Milliseconds a publication, or a sync, and ratios."""
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
    found = {f"publish_{name}_ms": round(1e3 * value, 2) for name, value in seconds.items()}
    found["publish_durable_over_memory"] = round(seconds["durable"] / seconds["memory"], 1)
    found["publish_durable_over_sync"] = round(seconds["durable"] / seconds["sync"], 1)
    return found


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--packets", type=int, default=100_000)
    parser.add_argument("--folder", help="a folder on the disk to measure")
    arguments = parser.parse_args()
    number = arguments.packets
    made = packets(number, number)
    raw = bytes(made[0])
    verify_s = median_seconds({"verify": lambda: qis.Packet.parse(raw)})["verify"]
    results: dict[str, float] = {"packets": number}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        results |= publishing(Path(folder))
        for batch in BATCHES:
            memory = added_per_second(MemoryStore(roster=Roster.open()), made, batch)
            path = Path(folder) / f"store{batch}.db"
            store = SQLiteStore(path, roster=Roster.open())
            disk = added_per_second(store, made, batch)
            store.close()
            results |= {
                f"sqlite_added_per_s_{batch}": round(disk),
                f"memory_added_per_s_{batch}": round(memory),
                f"sqlite_over_memory_seconds_{batch}": memory / disk,
                f"sqlite_over_verification_seconds_{batch}": 1 / disk / verify_s,
            }
        start = time.perf_counter()
        store = SQLiteStore(path, roster=Roster.open())
        results["open_with_check_s"] = time.perf_counter() - start
        cold = query_ms(store, range(40))
        results |= {
            "query_cold_ms": cold,
            "query_cold_over_verification": cold / (1e3 * verify_s * PER_QUESTION),
            "query_warm_ms": query_ms(store, range(40)),
        }
        store.close()
        for name, some in (("superseded", packets(number, FEW_QUESTIONS)), ("deciding", made)):
            full = SQLiteStore(
                Path(folder) / f"{name}.db", roster=Roster.open(), capacity=number // 2
            )
            cpu_s = cpu_s_when_full(full, some)
            results |= {
                f"full_of_{name}_cpu_us": 1e6 * cpu_s,
                f"full_of_{name}_over_verification": cpu_s / verify_s,
            }
            full.close()
    print(json.dumps(results) if arguments.json else "\n".join(map(str, results.items())))


if __name__ == "__main__":
    main()

"""A site that is killed again and again, in children of one warm process; prints what it found.

    python tests/sim/crash_site.py kill FOLDER SITES ROUNDS SEED
    python tests/sim/crash_site.py full FOLDER
    python tests/sim/crash_site.py edge FOLDER

Half of the children are killed from outside after a random time, the others kill themselves around
a random one of their calls of fsync, rename and sqlite's COMMIT. What was acknowledged comes
through a pipe, so it is known whatever becomes of the child.
"""

import asyncio
import json
import os
import random
import resource
import signal
import sqlite3
import sys
import time
import traceback
from contextlib import ExitStack, closing
from pathlib import Path

import qis
from qis.about import EPOCH_S
from qis.account import Account
from qis.evidence.rules import evidence_key
from qis.loop import Outbox
from qis.outcomes import Retraction
from qis.testing import VirtualClock

SITE = qis.Identity.from_seed(bytes([1]) * 32)
PEER = qis.Identity.from_seed(bytes([2]) * 32)
SCHEME = qis.VectorScheme(dimensions=3, secret=bytes(32))
ABOUT = [0.2, -1.0, 0.7]
QUESTIONS = [f"question {number}" for number in range(4)]
STEP = 11
"""People by which each version must exceed the one before, under the rules of the preset "cms"."""


class Files:
    """Everything that a site keeps, in one folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.network = self.folder / "network"

    def open(self, stack, now=None):
        """Store, outbox, audit log and rules."""
        return {
            "store": stack.enter_context(
                closing(qis.SQLiteStore(self.folder / "store.db", roster=qis.Roster.open()))
            ),
            "outbox": stack.enter_context(Outbox(self.folder / "outbox.db")),
            "audit": stack.enter_context(
                qis.AuditLog.open(self.folder / "audit.jsonl", now=now or time.time())
            ),
            "disclosure": qis.Disclosure.preset("cms"),
        }

    def loop(self, parts, clock=time.time, **options):
        transport = qis.DirectoryTransport(self.network, SITE, poll_s=0.003, clock=clock)
        return qis.SynthesisLoop(
            SITE,
            transport,
            SCHEME,
            interest=SCHEME.interest(ABOUT),
            interest_people=0,
            model="fixed",
            clock=clock,
            **parts,
            **options,
        )


def effect(question, n):
    return qis.Effect(question=question, measure="MD", estimate=-3.1, standard_error=1.7, n=n)


def next_n(disclosure, question):
    released = disclosure.ledger.of_study(qis.Study(question=question).id)
    return max([100, *(emission.n + STEP for emission in released if emission.n)])


async def live(files, acknowledge, rng):
    """Publish, retract and receive until killed."""

    def on_event(event):
        if event.kind == "received":
            acknowledge("received", event.packet)

    with ExitStack() as stack:
        parts = files.open(stack)
        async with files.loop(parts, on_event=on_event) as loop:
            while True:
                question = rng.choice(QUESTIONS)
                n = next_n(parts["disclosure"], question)
                acknowledge(
                    "published",
                    await loop.publish(effect(question, n), about=ABOUT, reinstate=True),
                )
                if rng.random() < 0.1:
                    acknowledge("published", await loop.retract(question))
                if rng.random() < 0.3:
                    await loop.flush(5.0)
                await asyncio.sleep(0.001 * rng.random())


def die_at(count, after, rng):
    """Make this process kill itself at the count-th durable step, before or after it."""
    left = [count]

    def step(real):
        def stepping(*arguments, **options):
            left[0] -= 1
            if left[0] == 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **options)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return stepping

    os.fsync = step(os.fsync)
    os.replace = step(os.replace)
    real_execute = Account.execute

    def execute(self, statement, values=()):
        if statement == "COMMIT":
            return step(real_execute)(self, statement, values)
        return real_execute(self, statement, values)

    Account.execute = execute


def child(files, writing, seed):
    rng = random.Random(seed)
    if seed % 2:
        die_at(rng.randrange(1, 80), after=rng.random() < 0.5, rng=rng)

    def acknowledge(what, packet):
        os.write(writing, f"{what} {packet.id.hex()} {packet.sequence}\n".encode())

    try:
        asyncio.run(live(files, acknowledge, rng))
    except BaseException:  # noqa: BLE001  the parent is told of whatever it was
        os.write(writing, f"failed {traceback.format_exc()!r}\n".encode())
    os._exit(1)


def put_peer_packet(files, number):
    """What a peer would have written into the shared folder."""
    now = time.time()
    routing_keys = SCHEME.routing_keys(ABOUT, at=now)
    packet = qis.Packet.sign(
        PEER,
        outcome=effect(QUESTIONS[number % len(QUESTIONS)], 200 + number),
        fingerprint=SCHEME.fingerprint(ABOUT),
        issued_at=int(now),
        lifetime_s=86_400,
        sequence=int(now * 1e6) + number,
        routing_keys=routing_keys,
        seal=SCHEME.seal,
    )
    keys = sorted({*routing_keys, packet.outcome.study_id})
    target = files.network / f"{packet.id.hex()}.qis"
    draft = target.with_suffix(".part")
    draft.write_bytes(bytes(packet) + b"".join(keys))
    draft.replace(target)
    return packet.id.hex()


def run_child(files, seed, delay_s):
    """Lines that it acknowledged, and the signal that ended it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        child(files, writing, seed)
    os.close(writing)
    if not seed % 2:
        time.sleep(delay_s)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    _, status = os.waitpid(pid, 0)
    return lines, os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def kill_rounds(files, rounds, seed):
    rng = random.Random(seed)
    files.network.mkdir()
    found = {"killed": 0, "published": {}, "received": set(), "offered": set(), "failed": []}
    for number in range(rounds):
        found["offered"].add(put_peer_packet(files, number))
        lines, ended_by = run_child(
            files, 2 * rng.getrandbits(40) + number % 2, rng.uniform(0.005, 0.06)
        )
        found["killed"] += ended_by == signal.SIGKILL
        for line in lines:
            what, rest = line.split(" ", 1)
            if what == "failed":
                found["failed"].append(rest)
            elif what == "published":
                packet_id, sequence = rest.split()
                found["published"][packet_id] = int(sequence)
            else:
                found["received"].add(rest.split()[0])
    return found


def killed_site(folder, rounds, seed):
    """One site from its first start on."""
    folder.mkdir()
    files = Files(folder)
    found = kill_rounds(files, rounds, seed)
    found["after"] = asyncio.run(settle(files))
    found["integrity"] = integrity(files)
    return found


async def settle(files):
    """Open once more, let everything leave and come in, and close as one should."""
    with ExitStack() as stack:
        parts = files.open(stack)
        came = asyncio.Event()
        async with files.loop(parts, on_event=lambda event: came.set()) as loop:
            assert await loop.flush(30.0)
            # One look at the folder takes in what no child had the time for.
            async with asyncio.timeout(30):
                while any(
                    path.stem not in {p.id.hex() for p in loop.store.packets()}
                    for path in files.network.glob("*.qis")
                ):
                    came.clear()
                    await came.wait()
        return report(files, parts)


def report(files, parts):
    """What is on disk, for the test to judge."""
    packets = parts["store"].packets()
    own = [packet for packet in packets if packet.issuer == SITE.issuer]
    parts["audit"].verify()
    entries = list(parts["audit"].entries())
    emitted = [e for e in entries if e.event == "emitted" and "sequence" in e.details]
    left = [qis.Packet.parse(path.read_bytes()[:512]) for path in files.network.glob("*.qis")]
    newest = {}
    for packet in left:
        if packet.sequence > newest.get(evidence_key(packet), 0):
            newest[evidence_key(packet)] = packet.sequence
    return {
        "replaced": {
            packet.id.hex(): packet.sequence
            for packet in own
            if packet not in left and packet.sequence < newest.get(evidence_key(packet), 0)
        },
        "stored": sorted(packet.id.hex() for packet in packets),
        "own_sequences": sorted(packet.sequence for packet in own),
        "left": {p.id.hex(): p.sequence for p in left if p.issuer == SITE.issuer},
        "emitted": {entry.subject[0]: entry.details["sequence"] for entry in emitted},
        "ledger": [
            emission.digest.hex()
            for emission in qis.disclosure.EmissionLedger(files.folder / "outbox.db")
        ],
        "left_digests": [
            qis.disclosure.ledger.Emission.of(p.outcome, None, at=0.0).digest.hex()
            for p in left
            if p.issuer == SITE.issuer and not isinstance(p.outcome, Retraction)
        ],
        "equivocations": len(parts["store"].equivocations()),
        "unsent": parts["outbox"].unsent,
        "recovered": sum(entry.event == "recovered" for entry in entries),
    }


def integrity(files):
    """What sqlite says of the files itself."""
    answers = []
    for name in ("store.db", "outbox.db"):
        database = sqlite3.connect(files.folder / name)
        answers.append(database.execute("PRAGMA integrity_check").fetchone()[0])
        database.close()
    return answers


def fatten(files, name):
    """Make one file the largest by far, so that it is the first to meet a limit."""
    with qis.AuditLog(files.folder / name) as log:
        for _ in range(20):
            log.record("configured", now=time.time(), details={"padding": "x" * 50_000})
    return (files.folder / name).stat().st_size + 1_500


async def fill(files, limit):
    """Publish until the disk refuses; then lift the limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    acknowledged = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    error = ""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with ExitStack() as stack:
            parts = files.open(stack)
            async with files.loop(parts) as loop:
                for number in range(2000):
                    question = QUESTIONS[number % len(QUESTIONS)]
                    n = next_n(parts["disclosure"], question)
                    packet = await loop.publish(effect(question, n), about=ABOUT)
                    acknowledged.append(packet.id.hex())
    except Exception as refusal:  # noqa: BLE001  which kind it is, is what is asked
        error = f"{type(refusal).__name__}: {refusal}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return {"error": error, "acknowledged": acknowledged}


def full_disks(files):
    """Sites whose files may not grow beyond a size, which each kind of file meets first once."""
    found = []
    for case in (4_096, 20_000, 45_000, 90_000, 250_000, "audit.jsonl"):
        site = Files(files.folder / str(case))
        site.folder.mkdir()
        site.network.mkdir()
        limit = case if isinstance(case, int) else fatten(site, case)
        outcome = asyncio.run(fill(site, limit))
        outcome["after"] = asyncio.run(settle(site))
        outcome["integrity"] = integrity(site)
        found.append(outcome)
    return found


EDGE = 230 * EPOCH_S
FIRST_AT, SECOND_AT = EDGE - EPOCH_S + 60, EDGE + EPOCH_S - 20 * 86_400
"""A version of the second date outlives the keys of the first, so it begins anew."""


async def publish_at(files, date, n, steps=None):
    """Publish one version at a date; with `steps`, die at that durable step of it."""
    clock = VirtualClock(now=date)
    with ExitStack() as stack:
        parts = files.open(stack, date)
        async with files.loop(parts, clock, lifetime_s=30 * 86_400) as loop:
            if steps is not None:
                die_at(*steps, rng=None)
            packet = await loop.publish(effect(QUESTIONS[0], n), about=ABOUT)
            if steps is None:
                assert await loop.flush(30.0)
            return packet


async def look_at(files, date):
    """Open as after a crash: what is in force, what has left, and if it can be published again."""
    clock, events = VirtualClock(now=date), []
    with ExitStack() as stack:
        parts = files.open(stack, date)
        async with files.loop(parts, clock, on_event=events.append) as loop:
            assert await loop.flush(30.0)
            review = loop.store.evidence(QUESTIONS[0], now=date)
            in_force = [packet.outcome.n for packet in review]
            left = [qis.Packet.parse(p.read_bytes()[:512]) for p in files.network.glob("*.qis")]
            answer = (await loop.publish(effect(QUESTIONS[0], 100 + STEP), about=ABOUT)).outcome.n
    return {
        "in_force": in_force,
        "left": sorted((p.sequence, type(p.outcome).__name__) for p in left),
        "published_again": answer,
    }


def edges(files):
    """A site that dies before each durable step of a version that begins in a new epoch.

    Up to some steps after the one from which on the version is in force.
    """
    found = []
    for number in range(40):
        site = Files(files.folder / str(number))
        site.folder.mkdir()
        site.network.mkdir()
        asyncio.run(publish_at(site, FIRST_AT, 100))
        pid = os.fork()
        if pid == 0:
            asyncio.run(publish_at(site, SECOND_AT, 100 + STEP, (number + 1, False)))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        outcome = asyncio.run(look_at(site, SECOND_AT + 60))
        found.append(outcome | {"killed": os.WIFSIGNALED(status)})
        if [each["in_force"] for each in found[-3:]] == 3 * [[100 + STEP]]:
            return found
    return found


def main():
    what, folder = sys.argv[1], Files(sys.argv[2])
    if what == "edge":
        sys.stdout.write(json.dumps(edges(folder)))
        return
    if what == "full":
        sys.stdout.write(json.dumps(full_disks(folder)))
        return
    sites, rounds, seed = map(int, sys.argv[3:])
    found = [killed_site(folder.folder / str(n), rounds, seed + n) for n in range(sites)]
    sys.stdout.write(json.dumps(found, default=sorted))


if __name__ == "__main__":
    main()

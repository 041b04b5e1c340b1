"""Faults of the files that remember what has left, each on a real site, and what it is called.

A site publishes twice, something happens to its files, and it is started again to publish once
more. A fault is named if that raises, and the error (or its `field`) says what is wrong; a packet
that leaves means that nobody was told.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

import qis
from qis.disclosure import Disclosure, PrivacyBudget
from qis.disclosure.ledger import Emission, line_of
from qis.errors import QISError, StorageError
from qis.loop import Outbox
from qis.outcomes import Counts

NOW = 1_800_000_000.0
SCHEME = qis.VectorScheme(dimensions=3, secret=bytes(32))
ABOUT, ELSEWHERE = [0.2, -1.0, 0.7], [-0.9, 0.1, -0.4]
SPEND = """
import sys
from qis.disclosure import PrivacyBudget
from qis.errors import DisclosureError
budget = PrivacyBudget(1.0, sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
try:
    budget.spend(bytes(8), 0.75, now=0.0)
    print("paid")
except DisclosureError:
    print("refused")
"""
DIES = """
import asyncio, os, signal, sys
from benchmarks._account_faults import Site, counts
async def die():
    site = Site(sys.argv[1])
    async with site.loop() as loop:
        await loop.publish(counts(300), about=site.about)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(die())
"""


def counts(n: int, question: str = "q") -> Counts:
    """An outcome of n people, which the preset cms lets pass."""
    return Counts(question=question, events=40, total=n)


class Site:
    """A hospital's key, its files, the folder that is its network, and a share elsewhere."""

    about = ABOUT

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.key = self.folder / "key" / "north.pem"
        self.data = self.folder / "data"
        self.network = self.folder / "network"
        self.heads = self.folder / "elsewhere" / "north.heads"
        for each in (self.key.parent, self.data, self.network, self.heads.parent):
            each.mkdir(parents=True, exist_ok=True)
        if not self.key.exists():
            qis.Identity.from_seed(bytes([7]) * 32).save(self.key)
        self.outbox, self.audit = self.data / "outbox.db", self.data / "audit.jsonl"
        self.ledger: Path | None = None

    def loop(self, **options: Any) -> qis.SynthesisLoop:
        """The site's loop on its files; `closing` closes them afterwards."""
        identity = qis.Identity.load(self.key)
        self._outbox = Outbox(self.outbox)
        try:
            self._audit = qis.AuditLog.open(self.audit, now=NOW, heads=self.heads)
        except BaseException:
            self._outbox.close()
            raise
        return qis.SynthesisLoop(
            identity,
            qis.DirectoryTransport(self.network, identity, clock=lambda: NOW),
            SCHEME,
            interest=SCHEME.interest(ELSEWHERE),
            interest_people=0,
            outbox=self._outbox,
            audit=self._audit,
            disclosure=Disclosure.preset("cms", ledger=self.ledger),
            clock=lambda: NOW,
            **options,
        )

    def closing(self) -> None:
        """Close the files of the last loop."""
        self._outbox.close()
        self._audit.close()

    async def publish(self, n: int, question: str = "q") -> qis.Packet:
        """Start the site, publish once, and stop it."""
        loop = self.loop()
        try:
            async with loop:
                packet = await loop.publish(counts(n, question), about=self.about)
                await loop.flush(5.0)
        finally:
            self.closing()
        if not isinstance(packet, qis.Packet):
            raise TypeError("nobody was to be asked")
        return packet

    def copy(self, *parts: str) -> Callable[[], None]:
        """Copy folders as they are; the function that is returned brings the copies back."""
        for part in parts:
            shutil.copytree(self.folder / part, self.folder / "backup" / part)

        def restore() -> None:
            for part in parts:
                shutil.rmtree(self.folder / part)
                shutil.copytree(self.folder / "backup" / part, self.folder / part)

        return restore


def named(error: QISError) -> str:
    """The word for a fault: the code of a finding, or the class of the error."""
    code = str(error.field or "")
    return code if isinstance(error, qis.AccountError) else f"{type(error).__name__}:{code}"


async def called(site: Site, n: int = 500, question: str = "q") -> str:
    """What the fault is called when the site is started to publish; empty if it leaves."""
    try:
        await site.publish(n, question)
    except QISError as error:
        return named(error)
    return ""


Fault = Callable[[Site], Awaitable[str]]
FAULTS: dict[str, tuple[Fault, str]] = {}
"""By name: what happens after two publications (it returns the fault's word), and that word."""


def fault(word: str) -> Callable[[Fault], Fault]:
    """Register a fault with the word that it has to be called."""

    def register(happens: Fault) -> Fault:
        FAULTS[happens.__name__] = happens, word
        return happens

    return register


@fault("account_older")
async def account_deleted(site: Site) -> str:
    """Nothing tells a new site from one whose file is gone, but the witness."""
    site.outbox.unlink()
    return await called(site)


@fault("StorageDamagedError:path")
async def account_emptied(site: Site) -> str:
    """Cut to nothing."""
    site.outbox.write_bytes(b"")
    return await called(site)


@fault("StorageDamagedError:path")
async def account_cut(site: Site) -> str:
    """Cut in the middle."""
    site.outbox.write_bytes(site.outbox.read_bytes()[:20_000])
    return await called(site)


@fault("StorageDamagedError:ledger")
async def releases_deleted(site: Site) -> str:
    """Somebody deletes the releases with SQLite's own tool."""
    database = sqlite3.connect(site.outbox)
    with database:
        database.execute("DELETE FROM lines")
    database.close()
    return await called(site)


@fault("StorageDamagedError:ledger")
async def release_changed(site: Site) -> str:
    """Or changes one."""
    database = sqlite3.connect(site.outbox)
    with database:
        database.execute("UPDATE lines SET line = replace(line, '200', '900')")
    database.close()
    return await called(site)


@fault("account_older")
async def account_of_an_older_copy(site: Site) -> str:
    """One file alone is brought back from a backup."""
    copy = site.outbox.read_bytes()
    await site.publish(300)
    site.outbox.write_bytes(copy)
    return await called(site)


@fault("account_older")
async def data_of_an_older_copy(site: Site) -> str:
    """The whole folder of data is brought back; the key lies elsewhere."""
    restore = site.copy("data")
    await site.publish(300)
    restore()
    return await called(site)


@fault("unknown_packet")
async def backup_of_everything(site: Site) -> str:
    """Key and data are brought back; only the network knows what was published since."""
    restore = site.copy("data", "key")
    await site.publish(300)
    restore()
    site.heads.unlink()
    return await called(site, 311)


@fault("unknown_packet")
async def backup_before_a_study(site: Site) -> str:
    """What was forgotten is of a study that the backup does not know."""
    restore = site.copy("data", "key")
    await site.publish(300, "another")
    restore()
    site.heads.unlink()
    return await called(site, 301, "another")


@fault("audit_cut")
async def backup_with_the_network_away(site: Site) -> str:
    """Key and data are brought back and nobody else is there: the head that was handed out."""
    restore = site.copy("data", "key")
    await site.publish(300)
    restore()
    shutil.rmtree(site.network)
    return await called(site)


@fault("unknown_packet")
async def stolen_key(site: Site) -> str:
    """Somebody else publishes with the key."""
    identity = qis.Identity.from_seed(bytes([7]) * 32)
    packet = qis.Packet.sign(
        identity,
        outcome=counts(300),
        fingerprint=SCHEME.fingerprint(ABOUT),
        issued_at=int(NOW),
        lifetime_s=86_400,
        sequence=int(NOW * 1e6) + 1_000,
        routing_keys=SCHEME.routing_keys(ABOUT, at=NOW),
        seal=SCHEME.seal,
    )
    async with qis.DirectoryTransport(site.network, identity, clock=lambda: NOW) as network:
        await network.publish(packet, SCHEME.routing_keys(ABOUT, at=NOW))
    return await called(site)


@fault("audit_cut")
async def audit_cut(site: Site) -> str:
    """The end of the audit log is cut off, at a line."""
    lines = site.audit.read_bytes().splitlines(keepends=True)
    site.audit.write_bytes(b"".join(lines[:3]))
    site.heads.unlink()
    return await called(site)


@fault("audit_cut")
async def audit_deleted(site: Site) -> str:
    """The audit log is gone."""
    site.audit.unlink()
    site.heads.unlink()
    return await called(site)


@fault("audit_cut")
async def audit_of_an_older_copy(site: Site) -> str:
    """The audit log alone is brought back from a backup."""
    copy = site.audit.read_bytes()
    await site.publish(300)
    site.audit.write_bytes(copy)
    site.heads.unlink()
    return await called(site)


@fault("audit_ahead")
async def account_and_witnesses_of_an_older_copy(site: Site) -> str:
    """Account and witnesses are brought back together; the audit log is newer."""
    log = site.audit
    restore = site.copy("data", "key")
    await site.publish(300)
    newer = log.read_bytes()
    restore()
    log.write_bytes(newer)
    shutil.rmtree(site.network)
    site.heads.unlink()
    return await called(site)


@fault("account_older")
async def log_of_last_changes_deleted(site: Site) -> str:
    """The process is killed, and the file with its last transactions goes."""
    _killed(site)
    site.outbox.with_name("outbox.db-wal").unlink()
    return await called(site)


@fault("account_older")
async def log_of_last_changes_cut(site: Site) -> str:
    """Or is cut."""
    _killed(site)
    log = site.outbox.with_name("outbox.db-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    return await called(site)


@fault("witness_missing")
async def witness_deleted(site: Site) -> str:
    """The witness beside the key is gone."""
    site.key.with_name("north.pem.witness").unlink()
    return await called(site)


@fault("witness_damaged")
async def witness_overwritten(site: Site) -> str:
    """Or says something else."""
    site.key.with_name("north.pem.witness").write_text("nothing")
    return await called(site)


@fault("StorageDamagedError:path")
async def account_replaced_in_use(site: Site) -> str:
    """The file is replaced while the site runs."""
    copy = site.outbox.read_bytes()

    def replace() -> None:
        draft = site.outbox.with_name("draft")
        draft.write_bytes(copy)
        draft.replace(site.outbox)

    return await _in_use(site, replace)


@fault("StorageDamagedError:path")
async def account_deleted_in_use(site: Site) -> str:
    """The file is deleted while the site runs."""
    return await _in_use(site, site.outbox.unlink)


@fault("StorageDamagedError:path")
async def audit_deleted_in_use(site: Site) -> str:
    """The audit log is deleted while the site runs."""
    return await _in_use(site, site.audit.unlink)


@fault("StorageError:path")
async def two_loops_of_one_key(site: Site) -> str:
    """A second process publishes with the key, on files of its own."""
    second = Site(site.folder / "second")
    second.key = site.key
    loop = site.loop()
    try:
        async with loop:
            return await called(second)
    finally:
        site.closing()


@fault("DisclosureError:difference")
async def two_outboxes_of_one_key(site: Site) -> str:
    """One after the other on files of their own, which is no fault: they share one account."""
    second = Site(site.folder / "second")
    second.key = site.key
    return await called(second, 201)


@fault("StorageDamagedError:waiting")
async def pending_outcome_changed(site: Site) -> str:
    """What waits for approval is another outcome than what was submitted under its id."""
    return await _pending_changed(site)


@fault("former_file_changed")
async def former_ledger_written_to(site: Site) -> str:
    """A former version still writes the file that was taken over."""
    site.ledger = site.data / "releases.jsonl"
    _former_ledger(site.ledger, [250])
    await site.publish(300)
    _former_ledger(site.ledger, [250, 270])
    return await called(site)


@fault("DisclosureError:difference")
async def former_ledger_is_remembered(site: Site) -> str:
    """What a former version released counts, after the file itself is gone too."""
    site.ledger = site.data / "releases.jsonl"
    _former_ledger(site.ledger, [250])
    await site.publish(300)
    site.ledger.unlink()
    return await called(site, 251)


@fault("account_older")
async def standalone_ledger_of_an_older_copy(site: Site) -> str:
    """A ledger without a loop has a witness too."""
    path = site.folder / "ledger"
    gate = Disclosure.preset("cms", ledger=path)
    gate.release(counts(100), now=NOW)
    gate.ledger.close()
    copy = path.read_bytes()
    gate = Disclosure.preset("cms", ledger=path)
    gate.release(counts(200), now=NOW)
    gate.ledger.close()
    path.write_bytes(copy)
    gate = Disclosure.preset("cms", ledger=path)
    try:
        gate.release(counts(201), now=NOW)
    except QISError as error:
        return named(error)
    finally:
        gate.ledger.close()
    return ""


@fault("DisclosureError:privacy_budget")
async def notebook_beside_the_loop(site: Site) -> str:
    """A notebook pays from the key's budget while the loop is open; the loop knows of it."""
    notebook = PrivacyBudget(1.0, qis.Account.of(qis.Identity.load(site.key)))
    budget = PrivacyBudget(1.0)
    loop = site.loop()
    loop._options.disclosure.budget = budget  # noqa: SLF001  a site without one until now
    try:
        async with loop:
            notebook.spend(bytes(8), 0.75, now=NOW)
            budget.spend(bytes(8), 0.5, now=NOW)
    except QISError as error:
        return named(error)
    finally:
        notebook.close()
        site.closing()
    return ""


async def _in_use(site: Site, happens: Callable[[], object]) -> str:
    loop = site.loop()
    try:
        async with loop:
            await loop.publish(counts(300), about=site.about)
            await loop.flush(5.0)
            happens()
            await loop.publish(counts(400), about=site.about)
    except QISError as error:
        return named(error)
    finally:
        site.closing()
    return ""


def _killed(site: Site) -> None:
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, sys.path)])
    ended = subprocess.run(  # noqa: S603  our own lines
        [sys.executable, "-c", DIES, str(site.folder)],
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        cwd=root,
    )
    if ended.returncode != -signal.SIGKILL:
        raise RuntimeError("the site was to be killed")


async def _pending_changed(site: Site) -> str:
    gate = Disclosure.preset("cms")
    with Outbox(site.outbox) as outbox:
        loop = qis.SynthesisLoop(
            (identity := qis.Identity.load(site.key)),
            qis.DirectoryTransport(site.network, identity, clock=lambda: NOW),
            SCHEME,
            interest=SCHEME.interest(ELSEWHERE),
            interest_people=0,
            outbox=outbox,
            disclosure=gate,
            approve="manual",
            clock=lambda: NOW,
        )
        async with loop:
            pending = await loop.publish(counts(300), about=site.about)
            if not isinstance(pending, qis.loop.Pending):
                raise TypeError("somebody was to be asked")
            other = counts(900).encoded()
            database = sqlite3.connect(site.outbox)
            with database:
                database.execute("UPDATE waiting SET body = ?", (other,))
            database.close()
            try:
                await loop.release(pending.id, approver="Dr Ada")
            except StorageError as error:
                is_said = "not what was submitted" in str(error)
                return f"{type(error).__name__}:{'waiting' if is_said else error.field}"
    return ""


def _former_ledger(path: Path, people: list[int]) -> None:
    lines = [line_of(Emission.of(counts(n), None, at=NOW)) for n in people]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


async def happened(folder: Path) -> dict[str, tuple[str, str]]:
    """For each fault: what it is called, and what it has to be called."""
    found = {}
    for name, (happens, word) in FAULTS.items():
        site = Site(folder / name)
        await site.publish(100)
        await site.publish(200)
        found[name] = await happens(site), word
    return found


def double_spend(folder: Path) -> int:
    """Payments beyond the first of two processes that have both opened the budget before."""
    command = [sys.executable, "-c", SPEND, str(folder / "budget.jsonl")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]  # noqa: S603  our own lines
    for process in processes:
        if process.stdout is None or process.stdout.readline() != "open\n":
            raise RuntimeError("the process did not open the budget")
    said = [process.communicate("go\n")[0].strip() for process in processes]
    return max(0, said.count("paid") - 1)


async def without_yes() -> int:
    """Packets that leave although the rule's answer is not `True`."""

    async def awaited(_pending: object) -> object:
        return "no"

    answers: list[Any] = [
        lambda _pending, a=a: a for a in ("no", 1, [0], object(), np.True_, False)
    ]
    released = 0
    scheme = qis.VectorScheme(dimensions=3)
    for rule in (*answers, awaited):
        network, site = qis.MemoryNetwork(now=NOW), qis.Identity.from_seed(bytes(32))
        async with qis.SynthesisLoop(
            site,
            qis.MemoryTransport(network, site),
            scheme,
            interest=scheme.interest([0.1, 0.2, 0.3]),
            clock=lambda: NOW,
            approve=rule,
        ) as loop:
            try:
                published = await loop.publish(
                    Counts(question="q", events=40, total=100), about=[0.1, 0.2, 0.3]
                )
            except QISError:
                continue
            released += isinstance(published, qis.Packet)
    return released


async def figures() -> tuple[dict[str, float], dict[str, tuple[str, str]]]:
    """The figures of the account, and for each fault what it is called and has to be called."""
    with tempfile.TemporaryDirectory() as folder:
        named = await happened(Path(folder))
        spent = double_spend(Path(folder))
    return {
        "account_faults": len(named),
        "account_faults_named": sum(called == word for called, word in named.values()),
        "budget_double_spend": spent,
        "released_without_yes": await without_yes(),
    }, named

"""The account of a key: one record for all who use it, taken over from former files, settled."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

import qis
from benchmarks._account_faults import ELSEWHERE, NOW, SCHEME, Site, called, counts
from qis.account import Account
from qis.account.account import key_witness
from qis.account.witness import Statement, Witness
from qis.disclosure import Disclosure, EmissionLedger, PrivacyBudget
from qis.disclosure.ledger import Emission, line_of
from qis.errors import AccountError, DisclosureError, InputError, StorageDamagedError, StorageError
from qis.loop import Outbox
from qis.outcomes import Counts, Suppressed
from qis.testing import VirtualClock

STUDY = bytes(8)
SPEND = """
import sys
from qis.disclosure import PrivacyBudget
from qis.errors import DisclosureError
budget = PrivacyBudget(1.0, sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
try:
    budget.spend(bytes(8), 0.75, now=0.0)
except DisclosureError:
    print("refused")
else:
    print("paid")
"""
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def former_lines(path, people):
    lines = [line_of(Emission.of(counts(n), None, at=NOW)) for n in people]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path.read_bytes()


def test_two_processes_spend_one_budget_once(tmp_path):
    """Both have opened it before either has paid, as two notebooks have."""
    path = tmp_path / "budget"
    processes = [
        subprocess.Popen(  # noqa: S603  our own lines
            [sys.executable, "-c", SPEND, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENV,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "open\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate()[0].strip() for process in processes)
    assert said == ["paid", "refused"]
    assert PrivacyBudget(1.0, path).spent(STUDY) == 0.75


def test_two_gates_of_one_ledger_know_what_the_other_released(tmp_path):
    one, other = (Disclosure.preset("cms", ledger=tmp_path / "ledger") for _ in range(2))
    one.release(counts(100), now=NOW)
    with pytest.raises(DisclosureError, match="difference"):
        other.release(counts(101), now=NOW)
    other.release(counts(120), now=NOW)
    assert [emission.n for emission in one.ledger] == [100, 120]


@pytest.mark.parametrize("fault", ["deleted", "replaced", "older"])
def test_a_ledger_that_is_changed_while_in_use_releases_nothing(tmp_path, fault):
    path = tmp_path / "ledger"
    gate = Disclosure.preset("cms", ledger=path)
    gate.release(counts(100), now=NOW)
    if fault == "older":
        copy = sqlite3.connect(tmp_path / "copy")
        with sqlite3.connect(path) as database:
            database.backup(copy)
        gate.release(counts(120), now=NOW)
        with sqlite3.connect(path) as database:  # into the file that is open
            copy.backup(database)
        copy.close()
    else:
        (tmp_path / "other").write_bytes(path.read_bytes())
        (tmp_path / "other").replace(path) if fault == "replaced" else path.unlink()
    with pytest.raises(StorageDamagedError, match="while it was in use"):
        gate.release(counts(140), now=NOW)
    gate.release(Suppressed(question="q"), now=NOW)  # says nothing of people


def test_a_refused_transaction_leaves_nothing_behind(tmp_path):
    ledger = EmissionLedger(tmp_path / "ledger")
    ledger.note(Emission.of(counts(100), None, at=NOW))

    def failing():
        with ledger.writing():
            ledger.note(Emission.of(counts(200), None, at=NOW))
            assert [emission.n for emission in ledger] == [100, 200]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert [emission.n for emission in ledger] == [100]
    ledger.note(Emission.of(counts(300), None, at=NOW))
    assert [emission.n for emission in EmissionLedger(tmp_path / "ledger")] == [100, 300]


# -- former files ----------------------------------------------------------------------------------


def test_a_file_of_lines_is_taken_over_once_and_stays_as_it_is(tmp_path):
    path = tmp_path / "releases.jsonl"
    whole = former_lines(path, [100, 200]) + b'{"study": "half a li'
    path.write_bytes(whole)
    for _ in range(2):
        ledger = EmissionLedger(path)
        assert [emission.n for emission in ledger] == [100, 200]
        assert path.read_bytes() == whole
        ledger.close()
    gate = Disclosure.preset("cms", ledger=path)
    with pytest.raises(DisclosureError, match="difference"):
        gate.release(counts(201), now=NOW)
    gate.release(counts(220), now=NOW)
    path.unlink()  # somebody tidies up
    assert [emission.n for emission in EmissionLedger(path)] == [100, 200, 220]


def test_a_file_of_lines_that_is_damaged_is_not_taken_over(tmp_path):
    path = tmp_path / "releases.jsonl"
    good = former_lines(path, [100, 200])
    path.write_bytes(good.replace(b'{"study"', b'{"study', 1))
    with pytest.raises(StorageDamagedError, match="line 1"):
        EmissionLedger(path)
    path.write_bytes(good)  # brought back from a backup
    assert [emission.n for emission in EmissionLedger(path)] == [100, 200]


def test_an_outbox_of_a_former_version_becomes_the_account(tmp_path):
    """Its tables are kept, and ledger and budget in their former files are taken over."""
    path, ledger, paid = (tmp_path / name for name in ("outbox.db", "releases.jsonl", "paid.jsonl"))
    former_lines(ledger, [250])
    line = {"study": STUDY.hex(), "epsilon": "0.75", "digest": "", "at": NOW}
    paid.write_text(json.dumps(line) + "\n" + json.dumps(line) + "\n")
    key = qis.Identity.from_seed(bytes([7]) * 32)
    disclosure = Disclosure.preset("cms", ledger=ledger, budget=PrivacyBudget(2.0, paid))
    asyncio.run(open_and_close(key, path, disclosure))
    with Account(path) as account:
        assert [e.n for e in EmissionLedger(account)] == [250]
        assert PrivacyBudget(2.0, account).spent(STUDY) == 1.5  # two payments alike are two
    asyncio.run(open_and_close(key, path, Disclosure.preset("cms", ledger=ledger)))
    with Account(path) as account:
        assert [e.n for e in EmissionLedger(account)] == [250]
    # And by the former paths they are still found, where they are now.
    assert PrivacyBudget(2.0, paid).spent(STUDY) == 1.5
    PrivacyBudget(2.0, paid).spend(STUDY, 0.25, now=NOW)
    with Account(path) as account:
        assert PrivacyBudget(2.0, account).spent(STUDY) == 1.75


async def open_and_close(key, path, disclosure):
    network = qis.MemoryNetwork(now=NOW)
    with Outbox(path) as outbox:
        async with qis.SynthesisLoop(
            key,
            qis.MemoryTransport(network, key),
            SCHEME,
            interest=SCHEME.interest([0.1, 0.2, 0.3]),
            outbox=outbox,
            disclosure=disclosure,
            clock=VirtualClock(NOW),
        ) as loop:
            assert loop.check() == ()


def dying_at(step):
    """Make this process kill itself at the step-th begin or commit, before or after it."""
    left, real = [step], Account.execute

    def count():
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def execute(self, statement, values=()):
        is_durable = statement in ("BEGIN IMMEDIATE", "COMMIT")
        if is_durable:
            count()
        found = real(self, statement, values)
        if is_durable:
            count()
        return found

    Account.execute = execute


def open_with_former_files(folder):
    budget = PrivacyBudget(2.0, folder / "paid.jsonl")
    gate = Disclosure.preset("cms", ledger=folder / "releases.jsonl", budget=budget)
    key = qis.Identity.from_seed(bytes([7]) * 32)
    asyncio.run(open_and_close(key, folder / "outbox.db", gate))
    return gate


def test_whenever_it_dies_while_taking_over_nothing_is_lost_or_counted_twice(tmp_path):
    """Killed before and after each begin and commit in turn, then opened as it was left."""
    line = {"study": STUDY.hex(), "epsilon": "0.25", "digest": "", "at": NOW}
    ended, step = -signal.SIGKILL, 0
    while ended == -signal.SIGKILL:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        former_lines(folder / "releases.jsonl", [250, 300])
        (folder / "paid.jsonl").write_text(2 * (json.dumps(line) + "\n"))
        child = os.fork()
        if not child:
            try:
                dying_at(step)
                open_with_former_files(folder)
                os._exit(0)
            finally:
                os._exit(1)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        gate = open_with_former_files(folder)
        assert [emission.n for emission in gate.ledger] == [250, 300]
        assert gate.budget.spent(STUDY) == 0.5
    assert ended == 0
    assert step > 20


# -- one account for all who use the key ----------------------------------------------------------


def test_two_outboxes_in_two_folders_share_the_account_of_a_key(tmp_path):
    async def scenario():
        first, second = Site(tmp_path / "first"), Site(tmp_path / "second")
        second.key = first.key
        await first.publish(100)
        await second.publish(200, "another")
        assert await called(second, 101) == "DisclosureError:difference"
        assert await called(first, 201, "another") == "DisclosureError:difference"
        with Account.of(qis.Identity.load(first.key)) as account:
            assert sorted(e.n for e in EmissionLedger(account)) == [100, 200]
        with Outbox(second.outbox) as one:
            assert one.path == first.outbox
            assert len(one.own()) == 2

    asyncio.run(scenario())


def test_noise_is_paid_from_the_account_of_the_key_wherever_it_is_drawn(tmp_path):
    """First in a notebook, before there is a loop; then in one while the loop is open."""
    pytest.importorskip("opendp")
    key = tmp_path / "north.pem"
    qis.Identity.from_seed(bytes([7]) * 32).save(key)
    few = Counts(question="q", events=2, total=9, control_events=5, control_total=13)

    def notebook(epsilon):
        budget = PrivacyBudget(1.0, Account.of(qis.Identity.load(key)))
        try:
            return qis.disclosure.private_counts(few, epsilon=epsilon, budget=budget, now=NOW)
        finally:
            budget.close()

    async def scenario():
        noisy = notebook(0.5)
        identity = qis.Identity.load(key)
        with Outbox(tmp_path / "data.db") as outbox:
            async with qis.SynthesisLoop(
                identity,
                qis.MemoryTransport(qis.MemoryNetwork(now=NOW), identity),
                SCHEME,
                interest=SCHEME.interest([0.1, 0.2, 0.3]),
                outbox=outbox,
                disclosure=Disclosure.preset("cms", budget=PrivacyBudget(1.0)),
                clock=VirtualClock(NOW),
            ) as loop:
                # The loop knows what the notebook has paid for, so it may leave.
                assert await loop.publish(noisy, about=[0.1, 0.2, 0.3], people=0)
                with pytest.raises(DisclosureError, match="privacy budget"):
                    notebook(0.75)
                notebook(0.5)
        with pytest.raises(DisclosureError, match="privacy budget"):
            notebook(0.1)

    asyncio.run(scenario())


@pytest.mark.parametrize("n", [99, 101, 110])
@pytest.mark.parametrize("given", [True, False])
def test_a_loop_remembers_its_releases_where_its_outbox_is_on_disk(tmp_path, n, given):
    """With the default rules, and with rules whose ledger is in memory, too."""
    site = qis.Identity.from_seed(bytes(32))

    async def publish(people):
        network = qis.MemoryNetwork(now=NOW)
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with qis.SynthesisLoop(
                site,
                qis.MemoryTransport(network, site),
                SCHEME,
                interest=SCHEME.interest([0.2, -1.0, 0.7]),
                outbox=outbox,
                disclosure=Disclosure.preset("cms") if given else None,
                clock=VirtualClock(NOW),
            ) as loop:
                return await loop.publish(counts(people), about=[0.2, -1.0, 0.7])

    asyncio.run(publish(100))
    with pytest.raises(DisclosureError, match="difference"):
        asyncio.run(publish(n))
    assert asyncio.run(publish(111)).outcome.n == 111


@pytest.mark.parametrize("writable", [True, False])
def test_without_an_outbox_the_account_lies_beside_the_key(tmp_path, monkeypatch, writable):
    path, told = tmp_path / "north.pem", []
    qis.Identity.from_seed(bytes([7]) * 32).save(path)
    if not writable:  # root may write everywhere
        monkeypatch.setattr(os, "access", lambda *_: False)

    async def publish(people):
        key = qis.Identity.load(path)
        network = qis.MemoryNetwork(now=NOW)
        async with qis.SynthesisLoop(
            key,
            qis.MemoryTransport(network, key),
            SCHEME,
            interest=SCHEME.interest([0.2, -1.0, 0.7]),
            clock=VirtualClock(NOW),
            on_event=told.append,
        ) as loop:
            return await loop.publish(counts(people), about=[0.2, -1.0, 0.7])

    first = asyncio.run(publish(100))
    limits = [event.reason for event in told if event.kind == "limit"]
    assert (tmp_path / "north.pem.account").exists() is writable
    if not writable:
        assert "give outbox=" in limits[0]
        return
    assert limits == []
    with pytest.raises(DisclosureError, match="difference"):
        asyncio.run(publish(101))
    assert asyncio.run(publish(120)).sequence > first.sequence
    with Account.of(qis.Identity.load(path)) as account:  # where a notebook pays
        assert [each.n for each in EmissionLedger(account)] == [100, 120]


def test_a_new_key_takes_over_the_releases_and_the_old_one_is_not_used_again(tmp_path):
    async def scenario():
        old, new = Site(tmp_path / "old"), Site(tmp_path / "new")
        new.key.unlink()
        qis.Identity.from_seed(bytes([8]) * 32).save(new.key)
        old.ledger = new.ledger = tmp_path / "releases.jsonl"
        former_lines(old.ledger, [50])
        await old.publish(100)
        assert await called(new, 101) == "DisclosureError:difference"
        await new.publish(120)
        assert await called(new, 55) == "DisclosureError:difference"
        assert await called(old, 300) == "account_superseded"

    asyncio.run(scenario())


# -- findings --------------------------------------------------------------------------------------


def test_after_a_restored_backup_a_person_says_so_and_what_was_forgotten_counts(tmp_path):
    async def scenario():
        site = Site(tmp_path)
        await site.publish(100)
        restore = site.copy("data", "key")
        await site.publish(200)
        await site.publish(150, "another")
        restore()
        loop = site.loop()
        async with loop:
            assert {each.code for each in loop.check()} == {"audit_cut"}
            for question, n in (("q", 300), ("another", 300)):  # before each study it asks
                with pytest.raises(AccountError):
                    await loop.publish(counts(n, question), about=site.about)
            found = {each.code: each for each in loop.check()}
            assert set(found) == {"audit_cut", "unknown_packet"}
            assert loop.health.state is qis.HealthState.CUT_OFF
            with pytest.raises(InputError, match="one of"):
                await loop.settle("maybe", approver="Dr Ada")
            with pytest.raises(InputError, match="name of who decides"):
                await loop.settle("restored", approver="")
            assert await loop.settle("restored", approver="Dr Ada") == ()
            assert loop.health.state is qis.HealthState.OK
            # What only the network knew is compared with, and stands in the ledger for ever.
            with pytest.raises(DisclosureError, match="difference"):
                await loop.publish(counts(201), about=site.about)
            with pytest.raises(DisclosureError, match="difference"):
                await loop.publish(counts(151, "another"), about=site.about)
            assert await loop.publish(counts(300), about=site.about)
            with pytest.raises(InputError, match="nothing is wrong"):
                await loop.settle("restored", approver="Dr Ada")
        settled = [e for e in site._audit.entries() if e.rule == "account"]
        assert [(e.reason, e.details["approver"]) for e in settled] == [("restored", "Dr Ada")]
        site.closing()
        assert not await called(site, 400)  # and after a restart nothing is wrong any more

    asyncio.run(scenario())


def test_what_was_withdrawn_before_a_restored_backup_stays_withdrawn(tmp_path):
    async def scenario():
        site = Site(tmp_path)
        await site.publish(100)
        restore = site.copy("data", "key")
        loop = site.loop()
        async with loop:
            await loop.retract("q", reason="consent")
            await loop.flush(5.0)
        site.closing()
        restore()
        site.heads.unlink(missing_ok=True)
        loop = site.loop()
        async with loop:  # the nightly job, again and again
            with pytest.raises(AccountError, match="unknown_packet"):
                await loop.publish(counts(200), about=site.about)
            await loop.settle("restored", approver="Dr Ada")
            with pytest.raises(DisclosureError, match="withdrawn"):
                await loop.publish(counts(200), about=site.about)
        site.closing()
        assert await called(site, 200) == "DisclosureError:withdrawn"

    asyncio.run(scenario())


def test_under_a_stolen_key_nothing_leaves_ever_again(tmp_path):
    async def scenario():
        site = Site(tmp_path)
        await site.publish(100)
        loop = site.loop()
        async with loop:
            (found,) = await loop.settle("stolen", approver="Dr Ada")
            assert found.code == "stolen"
            for call in (
                loop.publish(counts(300), about=site.about),
                loop.retract("q"),
            ):
                with pytest.raises(AccountError, match="stolen"):
                    await call
            with pytest.raises(InputError, match="make a new one"):
                await loop.settle("restored", approver="Dr Ada")
        site.closing()
        assert await called(site) == "stolen"

    asyncio.run(scenario())


def test_nothing_is_sent_again_while_the_account_is_in_doubt(tmp_path):
    """A restored account may have in force what was withdrawn since."""

    async def scenario():
        site = Site(tmp_path)
        await site.publish(100)
        for file in site.network.iterdir():
            file.unlink()
        site.key.with_name("north.pem.witness").unlink()
        loop = site.loop()
        async with loop:
            assert not await loop.flush(0.2) or not list(site.network.iterdir())
            assert not list(site.network.iterdir())
            await loop.settle("restored", approver="Dr Ada")
            assert await loop.flush(5.0)
            assert len(list(site.network.iterdir())) == 1
        site.closing()

    asyncio.run(scenario())


def test_a_witness_says_what_it_was_told(tmp_path):
    witness = Witness(tmp_path / "north.witness")
    assert witness.read() is None
    said = Statement(account="/somewhere/Zürich.db", name="ab" * 16, counter=2**40)
    witness.write(said, is_durable=True)
    assert witness.read() == said
    assert witness.path.stat().st_mode & 0o777 == 0o600
    witness.path.write_text("[]")
    with pytest.raises(StorageDamagedError, match="no witness"):
        witness.read()
    site = qis.Identity.from_seed(bytes(32)).issuer
    assert key_witness(site, None, None) is None
    assert key_witness(site, None, tmp_path / "a.db").path == tmp_path / f"{site}.witness"
    assert key_witness(site, tmp_path / "k.pem", None).path == tmp_path / "k.pem.witness"


def test_a_key_without_a_file_has_no_account_of_its_own():
    with pytest.raises(InputError, match="not loaded from a file"):
        Account.of(qis.Identity.from_seed(bytes(32)))


class Told(qis.MemoryStore):
    """A store that says when something has come."""

    def __init__(self, **options):
        super().__init__(**options)
        self.has_more = asyncio.Event()

    def add_many(self, packets, *, now):
        found = super().add_many(packets, now=now)
        self.has_more.set()
        return found


@pytest.mark.parametrize("ending", ["closed", "killed"])
def test_what_was_stored_and_not_recorded_gets_its_line_at_the_next_opening(
    tmp_path, ending, faults
):
    """The log's disk fails while packets come in, and the loop ends before it works again."""
    peer = qis.Identity.from_seed(bytes([9]) * 32)

    async def scenario():
        site = Site(tmp_path)
        await site.publish(100)
        packet = qis.Packet.sign(
            peer,
            outcome=counts(400, "from a peer"),
            fingerprint=SCHEME.fingerprint(ELSEWHERE),
            issued_at=int(NOW),
            lifetime_s=86_400,
            routing_keys=SCHEME.routing_keys(ELSEWHERE, at=NOW),
            seal=SCHEME.seal,
        )
        store = Told(roster=qis.Roster.open())
        came = asyncio.Event()
        loop = site.loop(store=store, on_event=lambda e: e.kind == "fault" and came.set())
        async with loop:
            store.has_more.clear()  # its own packet was put there
            if ending == "killed":  # between store and log: nothing of the log is reached
                loop._parts.journal.received = lambda _: asyncio.current_task().cancel()
            else:
                faults.allow("loop.audit", "loop.synthesis")
                site._audit._require_same_file = full_disk
            async with qis.DirectoryTransport(site.network, peer, clock=lambda: NOW) as other:
                await other.publish(packet, SCHEME.routing_keys(ELSEWHERE, at=NOW))
            async with asyncio.timeout(20):
                await store.has_more.wait()
            assert packet.id in store
            if ending == "closed":
                await came.wait()
                assert "unrecorded" in {reason.code for reason in loop.health.reasons}
        site.closing()
        loop = site.loop(store=store)
        async with loop:
            entries = [e for e in site._audit.entries() if e.subject == (packet.id.hex(),)]
            assert [(e.event, e.rule) for e in entries] == [("received", "stored")]
        site.closing()
        loop = site.loop(store=store)
        async with loop:  # and one line only
            entries = [e for e in site._audit.entries() if e.subject == (packet.id.hex(),)]
            assert len(entries) == 1
        site.closing()

    def full_disk():
        raise StorageError("the disk is full")

    asyncio.run(scenario())

"""What the loop keeps, records and asks before anything leaves; and what it does after a crash."""

import asyncio
import contextlib
import re
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from blake3 import blake3

import qis
from qis.errors import (
    DisclosureError,
    InputError,
    StorageDamagedError,
    StorageError,
    TransportError,
)
from qis.health import HealthState
from qis.loop import Outbox, Pending
from qis.testing import VirtualClock
from tests._builders import first_synthesis, loop_of, site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
QUESTION = "beta blocker vs none | 30-day death"
NOW = 1_800_000_000.0


def effect(estimate, *, n=200, **others):
    return qis.Effect(
        **{"question": QUESTION, "measure": "OR", "standard_error": 0.2, **others},
        estimate=estimate,
        n=n,
    )


RAISED = (StorageError("store.db: disk full"), RuntimeError(), RecursionError(), MemoryError())


def loop_on(network, number, **options):
    options.setdefault("disclosure", None)
    transport = options.pop("transport", None) or qis.MemoryTransport(network, site(number))
    return loop_of(transport, site(number), SCHEME, ABOUT, **options)


@pytest.fixture
def network():
    return qis.MemoryNetwork(now=NOW)


@pytest.fixture
def audit(tmp_path):
    with qis.AuditLog(tmp_path / "audit.jsonl") as log:
        yield log


def events(audit):
    audit.verify()
    return [entry.event for entry in audit.entries()]


class Down(qis.MemoryTransport):
    """A network that takes nothing."""

    async def publish(self, packet, routing_keys):
        raise TransportError("the network is down")


def test_what_the_network_did_not_take_is_sent_by_the_next_process(network, tmp_path, audit):
    async def scenario():
        clock = VirtualClock(NOW)
        with Outbox(tmp_path / "outbox.db") as outbox:
            down = Down(network, site(1))
            async with loop_on(network, 1, transport=down, outbox=outbox, clock=clock) as loop:
                first = await loop.publish(effect(-0.4), about=ABOUT)
                second = await loop.publish(effect(-0.4, cohort="women"), about=ABOUT)
                assert not await loop.flush(0.0)
        clock.now -= 100.0  # a clock that was set back
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with (
                loop_on(network, 1, outbox=outbox, audit=audit, clock=clock) as loop,
                loop_on(network, 2) as reader,
            ):
                assert await loop.flush(20)
                found = await first_synthesis(reader, lambda s: len(s.sites[0].packets) == 2)
                assert set(found.sites[0].packets) == {first, second}
                assert loop.latest(QUESTION) is not None or await first_synthesis(loop, bool)
                third = await loop.publish(effect(-0.5, n=300), about=ABOUT)
                assert third.sequence == second.sequence + 1
                # The routing keys are known, though the store was new.
                await loop.retract(QUESTION)
                assert await loop.flush(20)
        again = [e for e in audit.entries() if e.reason == "was waiting for the network"]
        assert [e.subject for e in again] == [(first.id.hex(),), (second.id.hex(),)]

    asyncio.run(scenario())


def test_what_is_in_force_is_told_to_a_network_that_has_forgotten_it(network, tmp_path, audit):
    async def scenario():
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox) as loop:
                await loop.publish(effect(-0.4), about=ABOUT)
                newest = await loop.publish(effect(-0.5, n=300), about=ABOUT)
                assert await loop.flush(20)
            forgetful = qis.MemoryNetwork(now=NOW)
            async with (
                loop_on(forgetful, 1, outbox=outbox, audit=audit) as loop,
                loop_on(forgetful, 2) as reader,
            ):
                found = await first_synthesis(reader, lambda s: len(s.sites) == 1)
                assert found.sites[0].packets == (newest,)
                assert reader.statistics.received == 1
        (entry,) = [e for e in audit.entries() if "again" in e.reason]
        assert entry.subject == (newest.id.hex(),)

    asyncio.run(scenario())


def test_a_restored_backup_uses_no_sequence_again(network, tmp_path):
    async def scenario():
        clock = VirtualClock(NOW)
        path = tmp_path / "outbox.db"
        with Outbox(path) as outbox:
            async with loop_on(network, 1, outbox=outbox, clock=clock) as loop:
                await loop.publish(effect(-0.4), about=ABOUT)
        backup = path.read_bytes()
        with Outbox(path) as outbox:
            async with loop_on(network, 1, outbox=outbox, clock=clock) as loop:
                for n in (300, 400, 500):
                    newest = await loop.publish(effect(-0.4, n=n), about=ABOUT)
                assert await loop.flush(20)
        path.write_bytes(backup)
        with Outbox(path) as outbox:
            # The clock stands still, and yet: what we had sent comes back from the network.
            async with loop_on(network, 1, outbox=outbox, clock=clock) as loop:
                await first_synthesis(loop, lambda s: newest in s.sites[0].packets)
                assert {each.code for each in loop.check()} == {"account_older", "unknown_packet"}
                with pytest.raises(qis.AccountError):
                    await loop.publish(effect(-0.4, n=600), about=ABOUT)
                assert await loop.settle("restored", approver="Dr Grey") == ()
                later = await loop.publish(effect(-0.4, n=600), about=ABOUT)
                assert later.sequence == newest.sequence + 1
        path.write_bytes(backup)
        clock.advance(0.001)
        with Outbox(path) as outbox:
            async with loop_on(qis.MemoryNetwork(now=NOW), 1, outbox=outbox, clock=clock) as loop:
                assert await loop.settle("restored", approver="Dr Grey") == ()
                later = await loop.publish(effect(-0.4, n=600), about=ABOUT)
                assert later.sequence > newest.sequence

    asyncio.run(scenario())


def test_flush_does_not_wait_for_what_may_not_leave_until_a_person_has_looked(tmp_path):
    async def scenario():
        path, alone = tmp_path / "outbox.db", qis.MemoryNetwork(now=NOW, overlay=True)
        backups = []
        for number in (200, 300):
            with Outbox(path) as outbox:
                async with loop_on(alone, 1, outbox=outbox) as loop:
                    await loop.publish(effect(-0.4, n=number), about=ABOUT)
            backups.append(path.read_bytes())
        path.write_bytes(backups[0])
        with Outbox(path) as outbox:
            async with loop_on(alone, 1, outbox=outbox) as loop:
                assert loop.check()
                assert loop.undelivered()
                async with asyncio.timeout(30):  # not the hour
                    assert not await loop.flush(3_600)

    asyncio.run(scenario())


def test_after_a_restored_backup_the_folder_brings_back_what_this_site_had_sent(tmp_path):
    async def scenario():
        clock, path = VirtualClock(NOW), tmp_path / "outbox.db"

        def opened(outbox):
            transport = qis.DirectoryTransport(
                tmp_path / "network", site(1), poll_s=0.01, clock=clock
            )
            options = {"interest_people": 0, "outbox": outbox, "clock": clock}
            disclosure = qis.Disclosure.preset("none")
            return loop_on(None, 1, transport=transport, disclosure=disclosure, **options)

        with Outbox(path) as outbox:
            async with opened(outbox) as loop:
                await loop.publish(effect(-0.4), about=ABOUT)
        backup = path.read_bytes()
        with Outbox(path) as outbox:
            async with opened(outbox) as loop:
                newest = await loop.publish(effect(-0.5), about=ABOUT)
                assert await loop.flush(20)
        path.write_bytes(backup)
        with Outbox(path) as outbox:
            async with opened(outbox) as loop:
                await first_synthesis(loop, lambda s: newest in s.sites[0].packets)
                assert await loop.settle("restored", approver="Dr Grey") == ()
                later = await loop.publish(effect(-0.6), about=ABOUT)
                assert later.sequence == newest.sequence + 1

    asyncio.run(scenario())


def test_a_full_outbox_makes_publish_wait(network):
    async def scenario():
        with Outbox(limit=1) as outbox:
            transport = Down(network, site(1))
            async with loop_on(network, 1, transport=transport, outbox=outbox) as loop:
                await loop.publish(effect(-0.4), about=ABOUT)
                another = asyncio.create_task(
                    loop.publish(effect(-0.4, question="another"), about=ABOUT)
                )
                await asyncio.sleep(0)
                assert not another.done()
                outbox.taken([outbox.queued()[0].number])
                loop._parts.sender._taken.set()
                await another
                assert outbox.unsent == 1

    asyncio.run(scenario())


def test_the_audit_log_tells_the_whole_story(network, audit):
    async def scenario():
        clock = VirtualClock(NOW)
        async with (
            loop_on(network, 1, audit=audit, clock=clock) as loop,
            loop_on(network, 2) as other,
        ):
            packet = await loop.publish(effect(-0.4), about=ABOUT)
            theirs = await other.publish(effect(0.1), about=ABOUT)
            found = await first_synthesis(loop, lambda s: len(s.sites) == 2)
            with pytest.raises(DisclosureError):
                await loop.publish(effect(-0.4, n=7, cohort="few"), about=ABOUT)
            withdrawn = await loop.retract(QUESTION, reason="consent")
        said = [(e.event, e.rule, e.subject) for e in audit.entries()]
        assert said[0] == ("configured", "cms", ())
        assert ("emitted", "cms", (packet.id.hex(),)) in said
        assert ("received", "accepted", (theirs.id.hex(),)) in said
        assert ("refused", "cms/minimum_n", ()) in said
        assert ("emitted", "cms", (withdrawn.id.hex(),)) in said
        used = qis.AuditLog.read(audit.path).packets_of(found.digest)
        assert used == tuple(sorted([packet.id.hex(), theirs.id.hex()]))
        # The number for which something was refused would be a disclosure in the log.
        refusal = next(e for e in audit.entries() if e.event == "refused")
        assert not re.search(r"\b7\b", f"{refusal.reason} {refusal.details}")
        assert loop.statistics.refused == {"minimum_n": 1}

    asyncio.run(scenario())


def test_nothing_leaves_that_cannot_be_recorded(network, audit, tmp_path):
    async def scenario():
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, audit=audit, outbox=outbox) as loop:
                audit.close()
                with pytest.raises(StorageError, match="the log is closed"):
                    await loop.publish(effect(-0.4), about=ABOUT)
                assert (outbox.unsent, len(loop.store), len(outbox.own())) == (0, 0, 0)
        audit.close()

    asyncio.run(scenario())


def test_what_the_own_store_does_not_count_does_not_leave(network, audit):
    async def scenario():
        roster = qis.Roster((qis.Site.of("another", site(9).issuer),))
        store = qis.MemoryStore(roster=roster)
        with Outbox() as outbox:
            async with loop_on(network, 1, store=store, outbox=outbox, audit=audit) as loop:
                with pytest.raises(InputError, match="own store"):
                    await loop.publish(effect(-0.4), about=ABOUT)
                assert (outbox.unsent, outbox.own()) == (0, {})
        assert events(audit) == ["configured", "refused"]
        (refused,) = list(audit.entries())[1:]
        assert refused.rule == "store/untrusted"

    asyncio.run(scenario())


def test_an_outcome_waits_for_a_person_over_restarts(network, audit, tmp_path):
    options = {"approve": "manual", "audit": audit}

    async def scenario():
        clock = VirtualClock(NOW)
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, clock=clock, **options) as loop:
                pending = await loop.publish(effect(-0.4), about=ABOUT)
                assert isinstance(pending, Pending)
                assert loop.waiting() == (pending,)
                assert "May be released" in pending.preview
                assert QUESTION in pending.explain
                assert (outbox.unsent, outbox.last_sequence, len(loop.store)) == (0, 0, 0)
                with pytest.raises(DisclosureError, match="minimum_n"):
                    await loop.publish(effect(-0.4, n=10), about=ABOUT)
        clock.advance(86_400.0)
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, clock=clock, **options) as loop:
                assert loop.waiting() == (pending,)
                with pytest.raises(InputError, match="who decides"):
                    await loop.release(pending.id, approver=" ")
                with pytest.raises(InputError, match="nothing waits"):
                    await loop.release("0" * 16, approver="Dr Grey")
                packet = await loop.release(pending.id, approver="Dr Grey")
                assert packet.outcome == pending.outcome
                assert packet.issued_at == int(clock.now)
                assert await loop.flush(20)
                assert loop.waiting() == ()
                with pytest.raises(InputError, match="nothing waits"):
                    await loop.release(pending.id, approver="Dr Grey")
        approved = next(e for e in audit.entries() if e.event == "approved")
        assert approved.subject == (packet.id.hex(),)
        assert approved.details["approver"] == "Dr Grey"
        assert approved.details["preview"] == pending.preview_digest.hex()
        assert events(audit).index("approved") + 1 == events(audit).index("emitted")

    asyncio.run(scenario())


def test_a_rejected_outcome_is_gone_and_the_log_says_who_and_why(network, audit):
    async def scenario():
        async with loop_on(network, 1, approve="manual", audit=audit) as loop:
            pending = await loop.publish(effect(-0.4), about=ABOUT)
            await loop.reject(pending.id, approver="Dr Grey", reason="wrong endpoint")
            assert loop.waiting() == ()
            with pytest.raises(InputError, match="nothing waits"):
                await loop.reject(pending.id, approver="Dr Grey")
        entry = next(e for e in audit.entries() if e.event == "refused")
        assert (entry.rule, entry.reason) == ("approval", "wrong endpoint")
        assert entry.details["approver"] == "Dr Grey"

    asyncio.run(scenario())


def test_rules_are_checked_again_at_the_release(network):
    async def scenario():
        async with loop_on(network, 1, approve="manual") as loop:
            first = await loop.publish(effect(-0.4, n=200), about=ABOUT)
            second = await loop.publish(effect(-0.41, n=205), about=ABOUT)
            await loop.release(first.id, approver="Dr Grey")
            # Five people are the difference to what has left meanwhile.
            with pytest.raises(DisclosureError, match="difference"):
                await loop.release(second.id, approver="Dr Grey")
            assert [pending.id for pending in loop.waiting()] == [second.id]

    asyncio.run(scenario())


def test_a_preview_that_has_changed_must_be_seen_first(network):
    def subjects(*names):
        return qis.disclosure.subject_hashes(names, key=bytes(32))

    people = [f"p{number}" for number in range(40)]

    async def scenario():
        async with loop_on(network, 1, approve="manual") as loop:
            first = await loop.publish(
                effect(-0.4, n=20), about=ABOUT, subjects=subjects(*people[:20])
            )
            second = await loop.publish(effect(-0.5, n=40), about=ABOUT, subjects=subjects(*people))
            await loop.release(first.id, approver="Dr Grey")
            with pytest.raises(DisclosureError, match="look at it again"):
                await loop.release(second.id, approver="Dr Grey")
            (seen,) = loop.waiting()
            assert seen.id == second.id
            assert "20 added" in seen.preview
            assert "20 added" not in second.preview
            await loop.release(seen.id, approver="Dr Grey")

    asyncio.run(scenario())


def test_a_rule_releases_refuses_or_leaves_it_to_a_person(network, audit):
    def by_size(pending):
        n = pending.outcome.n
        return None if n < 50 else n < 1000

    async def scenario():
        async with loop_on(network, 1, approve=by_size, audit=audit) as loop:
            released = await loop.publish(effect(-0.4), about=ABOUT)
            assert isinstance(released, qis.Packet)
            waiting = await loop.publish(effect(-0.4, n=40, cohort="a"), about=ABOUT)
            assert loop.waiting() == (waiting,)
            with pytest.raises(DisclosureError, match="by_size"):
                await loop.publish(effect(-0.4, n=5000, cohort="b"), about=ABOUT)
            assert loop.waiting() == (waiting,)
        approved = next(e for e in audit.entries() if e.event == "approved")
        assert approved.details["approver"].startswith("rule ")
        assert approved.subject == (released.id.hex(),)

    asyncio.run(scenario())
    with pytest.raises(InputError, match="approve is"):
        loop_on(network, 1, approve="sometimes")


class Truthy:
    """Callable, and true like every object: forgetting to call something must release nothing."""

    def __call__(self):
        raise AssertionError

    def __repr__(self):
        return "Truthy()"


@pytest.mark.parametrize(
    "answer",
    ["no", "yes", "", 0, 1, 1.0, [], [False], (), {}, Truthy(), np.True_],
    ids=repr,
)
@pytest.mark.parametrize("is_awaited", [False, True])
def test_only_true_false_and_none_are_answers(network, audit, answer, is_awaited):
    async def asked(pending):
        await asyncio.sleep(0)
        return answer

    rule = asked if is_awaited else lambda _pending: answer

    async def scenario():
        async with loop_on(network, 1, approve=rule, audit=audit) as loop:
            with pytest.raises(InputError, match="only True, False and None"):
                await loop.publish(effect(-0.4), about=ABOUT)
            assert (loop.waiting(), len(loop.store), loop.statistics.published) == ((), 0, 0)
        assert events(audit) == ["configured", "refused"]

    asyncio.run(scenario())


@pytest.mark.parametrize("verdict", [True, False, None])
def test_an_async_rule_is_awaited(network, audit, verdict):
    async def rule(pending):
        await asyncio.sleep(0)
        assert pending in loops[0].waiting()
        return verdict

    loops = []

    async def scenario():
        async with loop_on(network, 1, approve=rule, audit=audit) as loop:
            loops.append(loop)
            if verdict is False:
                with pytest.raises(DisclosureError, match="does not release"):
                    await loop.publish(effect(-0.4), about=ABOUT)
                assert loop.waiting() == ()
                assert not len(loop.store)
            else:
                published = await loop.publish(effect(-0.4), about=ABOUT)
                assert isinstance(published, qis.Packet if verdict else Pending)
                assert loop.waiting() == (() if verdict else (published,))
                assert len(loop.store) == int(verdict is True)

    asyncio.run(scenario())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_rule_that_raises_releases_nothing(network, audit, is_async):
    def plain(_pending):
        raise LookupError("no such approver")

    async def awaited(_pending):
        await asyncio.sleep(0)
        raise LookupError("no such approver")

    async def scenario():
        async with loop_on(network, 1, approve=awaited if is_async else plain, audit=audit) as loop:
            with pytest.raises(LookupError):
                await loop.publish(effect(-0.4), about=ABOUT)
            assert (loop.waiting(), len(loop.store)) == ((), 0)
        assert events(audit) == ["configured", "refused"]

    asyncio.run(scenario())


@pytest.mark.parametrize("meanwhile", ["retract", "reject", "release", "close"])
def test_a_yes_for_what_is_decided_already_releases_nothing_more(network, audit, meanwhile):
    """A rule may take days; in that time a person, a retraction or the loop's end comes first."""

    async def scenario():
        asked, answer = asyncio.Event(), asyncio.Event()

        async def rule(_pending):
            asked.set()
            await answer.wait()
            return True

        async with loop_on(network, 1, approve=rule, audit=audit) as loop:
            task = asyncio.ensure_future(loop.publish(effect(-0.4), about=ABOUT))
            await asked.wait()
            (pending,) = loop.waiting()
            if meanwhile == "retract":
                await loop.retract(QUESTION, force=True)
            elif meanwhile == "reject":
                await loop.reject(pending.id, approver="Dr Grey")
            elif meanwhile == "release":
                await loop.release(pending.id, approver="Dr Grey")
            if meanwhile != "close":
                answer.set()
                with pytest.raises(DisclosureError, match="while the approval"):
                    await task
        if meanwhile == "close":
            answer.set()
            with pytest.raises(DisclosureError, match="the loop was closed"):
                await task
        said = [event for event in events(audit) if event in ("approved", "emitted")]
        assert said == {"retract": ["emitted"], "release": ["approved", "emitted"]}.get(
            meanwhile, []
        )

    asyncio.run(scenario())


CHANGES = {
    "created_at": "created_at + 1",
    "kind": "kind + 1",
    "body": "one_more(body)",
    "sketch": "zeroblob(32)",
    "scheme": "zeroblob(8)",
    "keys": "zeroblob(8)",
    "subjects": "'{}'",
    "people": "5000",
    "explain": "'nothing to worry about'",
}


@pytest.mark.parametrize("column", CHANGES)
def test_what_was_changed_in_the_file_is_not_released(network, tmp_path, column):
    """Whichever column: an id stands for all that is signed, and for what a person has read."""

    async def scenario():
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, approve="manual") as loop:
                pending = await loop.publish(effect(-0.4), about=ABOUT)
        with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as database, database:
            database.create_function("one_more", 1, lambda b: b.replace(b"\x18\xc8", b"\x18\xc9"))
            changed = database.execute(f"UPDATE waiting SET {column} = {CHANGES[column]}")  # noqa: S608
            assert changed.rowcount == 1
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, approve="manual") as loop:
                with pytest.raises(StorageDamagedError):
                    loop.waiting()
                with pytest.raises(StorageDamagedError):
                    await loop.release(pending.id, approver="Dr Grey")
                assert (outbox.unsent, len(loop.store)) == (0, 0)

    asyncio.run(scenario())


def test_a_preview_that_was_changed_in_the_file_must_be_seen_first(network, tmp_path):
    async def scenario():
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, approve="manual") as loop:
                pending = await loop.publish(effect(-0.4), about=ABOUT)
        with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as database, database:
            database.execute("UPDATE waiting SET preview = 'May be released.'")
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, approve="manual") as loop:
                with pytest.raises(DisclosureError, match="look at it again"):
                    await loop.release(pending.id, approver="Dr Grey")
                (seen,) = loop.waiting()
                assert seen.preview == pending.preview
                assert await loop.release(pending.id, approver="Dr Grey")

    asyncio.run(scenario())


def test_what_waits_under_an_id_of_a_former_version_is_still_released(network, tmp_path):
    """Those ids cover what would be signed and the time, not the words beside it."""

    async def scenario():
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, approve="manual") as loop:
                pending = await loop.publish(effect(-0.4), about=ABOUT)
        draft = pending.draft
        parts = (
            bytes((draft.outcome.kind,)),
            draft.outcome.encoded(),
            draft.fingerprint.sketch,
            draft.fingerprint.scheme_id,
            *draft.base_keys,
            repr(pending.created_at).encode(),
        )
        former = blake3(b"".join(len(part).to_bytes(4, "big") + part for part in parts))
        with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as database, database:
            database.execute("UPDATE waiting SET id = ?", (former.hexdigest(8),))
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, approve="manual") as loop:
                (seen,) = loop.waiting()
                assert seen.id == former.hexdigest(8) != pending.id
                assert await loop.release(seen.id, approver="Dr Grey")

    asyncio.run(scenario())


def test_the_log_holds_the_digest_of_what_left_and_not_of_what_was_refused(network, audit):
    """From the digest of a refused outcome small counts could be guessed, one after the other."""

    async def scenario():
        async with loop_on(network, 1, approve="manual", audit=audit) as loop:
            pending = await loop.publish(effect(-0.4), about=ABOUT)
            packet = await loop.release(pending.id, approver="Dr Grey")
            with pytest.raises(DisclosureError):
                await loop.publish(effect(-0.4, n=10), about=ABOUT)
        digest = blake3(packet.outcome.encoded()).hexdigest()
        told = {entry.event: entry.details.get("outcome") for entry in audit.entries()}
        assert (told["approved"], told["emitted"], told["refused"]) == (digest, digest, None)

    asyncio.run(scenario())


def test_a_retraction_needs_no_approval_and_drops_what_waits(network):
    async def scenario():
        async with loop_on(network, 1, approve="manual") as loop:
            first = await loop.publish(effect(-0.4), about=ABOUT)
            await loop.release(first.id, approver="Dr Grey")
            await loop.publish(effect(-0.5, n=300), about=ABOUT)
            other = await loop.publish(effect(-0.5, cohort="b"), about=ABOUT)
            packet = await loop.retract(QUESTION, reason="consent")
            assert isinstance(packet.outcome, qis.Retraction)
            assert loop.waiting() == (other,)

    asyncio.run(scenario())


def test_a_dry_run_shows_the_packet_and_leaves_no_trace(network, audit, tmp_path):
    async def scenario():
        clock = VirtualClock(NOW)
        with Outbox(tmp_path / "outbox.db") as outbox:
            async with loop_on(network, 1, outbox=outbox, audit=audit, clock=clock) as loop:
                shown = loop.dry_run(effect(-0.4), about=ABOUT)
                with pytest.raises(qis.SignatureError):
                    qis.Packet.parse(shown.data)
                assert (outbox.unsent, outbox.last_sequence, len(loop.store)) == (0, 0, 0)
                packet = await loop.publish(effect(-0.4), about=ABOUT)
                assert shown.data[:448] == bytes(packet)[:448]
                assert shown.data[448:] == bytes(64)
                assert packet.travels_under(shown.routing_keys)
                assert shown.explain == packet.explain()
                assert not shown.preview.refusal
                untold = loop.dry_run(qis.Suppressed(question="few"), about=ABOUT)
                assert "give people=" in untold.preview.refusal
                kept = loop.dry_run(effect(-0.4, n=7), about=ABOUT)
                assert "minimum_n" in kept.preview.refusal
                assert "Kept back" in str(kept)
        assert events(audit)[:2] == ["configured", "emitted"]

    asyncio.run(scenario())


def test_a_full_set_of_fields_of_an_outcome_waits_and_comes_back(network):
    """Whatever kind: the outcome that is released is the one that was submitted."""
    outcomes = [
        effect(-0.4, cohort="men"),
        qis.Counts(question=QUESTION, events=20, total=90, control_events=30, control_total=95),
        qis.Suppressed(question="kept back"),
    ]

    async def scenario():
        async with loop_on(network, 1, approve="manual") as loop:
            for outcome in outcomes:
                pending = await loop.publish(outcome, about=ABOUT, people=0)
                assert loop.waiting()[0].outcome == outcome
                packet = await loop.release(pending.id, approver="Dr Grey")
                assert packet.outcome == outcome

    asyncio.run(scenario())


class Failing(qis.MemoryStore):
    """A store whose disk fails as often as it is told."""

    failures = 0
    error: Exception = StorageError("store.db: disk full")

    def add_many(self, packets, *, now):
        if self.failures:
            self.failures -= 1
            raise self.error
        return super().add_many(packets, now=now)


def test_a_store_that_fails_takes_the_packet_back_and_the_next_attempt_works(network, audit):
    async def scenario():
        store = Failing(roster=qis.Roster.open())
        with Outbox() as outbox:
            async with loop_on(
                network, 1, approve="manual", store=store, outbox=outbox, audit=audit
            ) as loop:
                pending = await loop.publish(effect(-0.4), about=ABOUT)
                store.failures = 1
                with pytest.raises(StorageError, match="disk full"):
                    await loop.release(pending.id, approver="Dr Grey")
                assert outbox.unsent == 0
                assert loop.waiting() == (pending,)
                packet = await loop.release(pending.id, approver="Dr Grey")
                assert await loop.flush(20)
        first, second = (e for e in audit.entries() if e.event == "emitted")
        (undone,) = (e for e in audit.entries() if e.event == "refused")
        assert undone.subject == first.subject
        assert undone.rule == "not emitted"
        assert second.subject == (packet.id.hex(),)
        assert second.details["sequence"] > first.details["sequence"]

    asyncio.run(scenario())


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_what_came_in_while_the_disk_failed_is_stored_later(network, error, faults):
    faults.expect("loop.store")

    async def scenario():
        store, told = Failing(roster=qis.Roster.open()), []
        store.error = error
        async with (
            loop_on(network, 1) as writer,
            loop_on(network, 2, store=store, on_event=told.append) as reader,
        ):
            store.failures = 3
            await writer.publish(effect(-0.4), about=ABOUT)
            found = await first_synthesis(reader, bool)
            assert len(found.sites) == 1
            assert reader.health.state is HealthState.OK
        # At the first, and when three more had failed as one kind: once is enough.
        assert [event.count for event in told if event.kind == "fault"] == [1]
        assert [event.subject for event in told if event.kind == "health"][:1] == ["unstored"]

    asyncio.run(scenario())


def test_a_packet_that_the_store_fails_on_takes_no_other_along(network, faults):
    faults.expect("loop.store: RecursionError")

    class Poisoned(qis.MemoryStore):
        bad = b""

        def add_many(self, packets, *, now):
            if any(packet.id == self.bad for packet in packets):
                raise RecursionError
            return super().add_many(packets, now=now)

    async def scenario():
        store = Poisoned(roster=qis.Roster.open())
        async with loop_on(network, 1) as writer, loop_on(network, 3) as other:
            poisoned = await writer.publish(effect(-0.4), about=ABOUT)
            await other.publish(effect(-0.5), about=ABOUT)
            store.bad = poisoned.id
            async with loop_on(network, 2, store=store) as reader:
                found = await first_synthesis(reader, bool)
                assert [packet.issuer for s in found.sites for packet in s.packets] == [
                    site(3).issuer
                ]
                store.bad = b""
                await first_synthesis(reader, lambda s: len(s.sites) == 2)

    asyncio.run(scenario())


def test_what_came_in_and_cannot_be_recorded_is_not_used_and_nothing_leaves(network, audit, faults):
    faults.expect("loop.audit: StorageError")

    async def scenario():
        told = asyncio.Event()

        def on_event(event):
            if event.kind == "health" and event.subject == "unrecorded":
                told.set()

        async with (
            loop_on(network, 1) as writer,
            loop_on(network, 2, audit=audit, on_event=on_event) as reader,
        ):
            audit.close()
            await writer.publish(effect(-0.4), about=ABOUT)
            async with asyncio.timeout(20):
                await told.wait()
            assert reader.latest(QUESTION) is None
            assert reader.statistics.received == 0
            with pytest.raises(StorageError, match="the log is closed"):
                await reader.publish(effect(-0.4), about=ABOUT)

    asyncio.run(scenario())


def test_two_sites_with_one_key_are_told_of_it(network, audit):
    async def scenario():
        told = asyncio.Event()

        def watch(event):
            if event.kind == "equivocation":
                told.set()

        clock = VirtualClock(NOW)
        away = {"interest": SCHEME.interest([-1.0, 1.0, -1.0]), "clock": clock}
        async with loop_on(network, 3, on_event=watch, audit=audit) as reader:
            async with loop_on(network, 1, **away) as one, loop_on(network, 1, **away) as other:
                packets = [
                    await one.publish(effect(-0.4), about=ABOUT),
                    await other.publish(effect(0.4, n=300), about=ABOUT),
                ]
                assert packets[0].sequence == packets[1].sequence
                assert await one.flush(20)
                assert await other.flush(20)
            async with asyncio.timeout(20):
                await told.wait()
            found = await first_synthesis(reader, lambda s: s.excluded)
            assert found.sites == ()
            assert reader.store.flagged == {site(1).issuer}
        verdicts = {e.subject[0]: e.rule for e in audit.entries() if e.event == "received"}
        assert sorted(verdicts.values()) == ["accepted", "equivocation"]
        assert set(verdicts) == {packet.id.hex() for packet in packets}

    asyncio.run(scenario())


def test_a_site_that_is_not_on_the_roster_republishes_nothing_and_goes_on(network):
    study = qis.Study(question=QUESTION, measure="OR", model="fixed")
    roster = qis.Roster(tuple(qis.Site.of(f"{n}", site(n).issuer) for n in (1, 2)))

    def found(estimate, n=200):
        return qis.Effect(study=study, measure="OR", estimate=estimate, standard_error=0.2, n=n)

    async def scenario():
        refused = asyncio.Event()

        def watch(event):
            if event.kind == "refused":
                refused.set()

        options = {
            "studies": [study],
            "republish": True,
            "republish_interval_s": 0.0,
            "on_event": watch,
        }
        async with (
            loop_on(network, 1) as first,
            loop_on(network, 2) as second,
            loop_on(network, 9, roster=roster, **options) as outsider,
        ):
            await first.publish(found(-0.4), about=ABOUT)
            await second.publish(found(0.1), about=ABOUT)
            await first_synthesis(outsider, lambda s: len(s.sites) == 2)
            async with asyncio.timeout(20):
                await refused.wait()
            await first.publish(found(-0.5, n=300), about=ABOUT)
            await first_synthesis(outsider, lambda s: s.sites[0].estimate == -0.5)
            assert outsider.statistics.events["republished"] == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("case", ["not listed", "revoked", "overlapping", "clock"])
def test_a_refused_publication_leaves_no_trace(network, audit, tmp_path, case):
    listed = qis.Site.of("own", site(1).issuer)
    if case == "not listed":
        listed = qis.Site.of("own", site(8).issuer)
    elif case == "revoked":
        listed = qis.Site(name="own", keys=(qis.SiteKey(issuer=site(1).issuer, revoked=True),))
    other = qis.Site.of("registry", site(2).issuer)
    if case == "overlapping":
        listed = replace(listed, shares_patients_with=("registry",))
    roster = qis.Roster((other, listed))  # of two that share patients the first counts

    async def scenario():
        clock, seen = VirtualClock(NOW), []
        store = qis.MemoryStore(roster=roster)
        if case == "overlapping":
            async with loop_on(network, 2, store=store) as first:
                await first.publish(effect(-0.3, n=500), about=ABOUT)
        if case == "clock":
            store.foreseen = lambda packet, now: qis.evidence.Admission.NOT_YET_VALID
        ledger = tmp_path / "ledger.db"
        disclosure = qis.Disclosure.preset("cms", ledger=ledger)
        before = store.packets()
        with Outbox() as outbox:
            options = {"store": store, "outbox": outbox, "audit": audit, "disclosure": disclosure}
            async with loop_on(network, 1, on_event=seen.append, clock=clock, **options) as loop:
                entries = len(events(audit))
                with pytest.raises(InputError, match="does not count it"):
                    await loop.publish(effect(-0.4), about=ABOUT)
                assert outbox.unsent == 0
                assert outbox.own() == {}
                assert loop.undelivered() == ()
                assert "emitted" not in events(audit)[entries:]
        assert store.packets() == before
        assert not list(qis.disclosure.EmissionLedger(ledger))  # nothing was released
        kinds = [event.kind for event in seen]
        assert "refused" in kinds
        assert "published" not in kinds

    asyncio.run(scenario())


def test_what_an_embargo_hides_is_used_in_the_log_without_numbers(network, audit):
    study = qis.Study(
        question=QUESTION, measure="OR", model="fixed", embargo_until=int(NOW) + 86_400
    )

    async def scenario():
        async with loop_on(network, 1, studies=[study], audit=audit) as loop:
            outcome = qis.Effect(
                study=study, measure="OR", estimate=-0.4, standard_error=0.2, n=200
            )
            packet = await loop.publish(outcome, about=ABOUT)
            await first_synthesis(loop, lambda s: len(s.sites) == 1)
        (entry,) = (e for e in audit.entries() if e.event == "used" and e.details["packets"])
        assert entry.details["added"] == [packet.id.hex()]

    asyncio.run(scenario())

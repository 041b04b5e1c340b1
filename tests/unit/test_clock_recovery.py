"""A site whose clock was ahead once: what it signed then, and how it comes back."""

import asyncio
import shutil
import sqlite3
from contextlib import AsyncExitStack, closing

import pytest

import qis
import qis.blocking
from qis.account.tables import SCHEMA
from qis.errors import ClockError, DisclosureError, InputError, StorageError
from qis.loop import _numbers
from qis.loop.outbox import Own
from qis.testing import VirtualClock
from tests.unit.test_clock_watch import (
    DAY_S,
    IDENTITIES,
    NEAR,
    NOW,
    OWN,
    ROSTER,
    SCHEME,
    STUDY,
    effect,
    loop_in,
    packet_of,
    refused_early,
    until,
    write,
)

READER = IDENTITIES[1]


class Network:
    """A folder, the site whose clock was wrong, and a reader whose clock is right."""

    def __init__(self, folder):
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.clock = VirtualClock(now=NOW)
        self.outbox = folder / "outbox.db"
        self.store = folder / "store.db"
        self.reader = qis.MemoryStore(roster=ROSTER)
        self.right = VirtualClock(now=NOW)
        self.events = []

    async def site(self, stack):
        """The site's loop, as after a restart."""
        store = stack.enter_context(closing(qis.SQLiteStore(self.store, roster=ROSTER)))
        outbox = stack.enter_context(qis.Outbox(self.outbox))
        loop = loop_in(
            self.shared, self.clock, self.events, store=store, outbox=outbox, roster=None
        )
        loop._options.transport.believe(ROSTER)
        return await stack.enter_async_context(loop)

    async def read(self):
        """What counts for the reader, after a look at the folder."""
        transport = qis.DirectoryTransport(
            self.shared, READER, roster=ROSTER, poll_s=0.001, clock=self.right
        )
        files = len(list(self.shared.glob("*.qis")))
        async with transport, transport.subscribe(SCHEME.interest(NEAR)) as deliveries:
            seen = transport.statistics
            await until(lambda: seen.delivered + seen.refused.total() + seen.unmatched >= files)
            for _ in range(seen.delivered):
                delivery = await anext(deliveries)
                self.reader.add(delivery.packet, now=self.right())
        return [p.outcome.estimate for p in self.reader.evidence(STUDY, now=self.right())]

    def pass_time(self, seconds):
        self.clock.advance(seconds)
        self.right.advance(seconds)


async def publish(loop, estimate, **options):
    return await loop.publish(effect(estimate), about=NEAR, people=0, **options)


async def kept(loop):
    """Wait until the folder has all that was published, so that it would be read by others."""
    assert await loop.flush(10.0)


def test_two_days_ahead_repaired_and_the_repaired_estimate_counts_everywhere(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await publish(loop, 0.1)
            await kept(loop)
        assert await network.read() == [0.1]

        network.clock.set(NOW + 2 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            wrong = await publish(loop, 9.0)
            await kept(loop)
        assert await network.read() == [0.1]
        copy = tmp_path / "copy.qis"  # somebody synchronises the folder elsewhere
        file = network.shared / f"{wrong.id.hex()}.qis"
        shutil.copy(file, copy)

        network.clock.set(NOW + 60.0)
        network.right.advance(60.0)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            with pytest.raises(ClockError, match="recover_clock") as caught:
                await publish(loop, 0.2)
            assert caught.value.limit - caught.value.actual == pytest.approx(2 * DAY_S, abs=61.0)
            assert await loop.recover_clock() == (wrong,)
            assert not file.exists()
            assert [e.packet for e in network.events if e.kind == "set_aside"] == [wrong]
            assert loop.store.evidence(STUDY, now=network.clock())[0].outcome.estimate == 0.1
            assert await loop.recover_clock() == ()
            repaired = await publish(loop, 0.2)
            assert repaired.sequence < wrong.sequence
            await kept(loop)
        assert await network.read() == [0.2]

        shutil.copy(copy, file)
        network.pass_time(2 * DAY_S)
        network.reader.add(qis.Packet.parse(copy.read_bytes()[:512]), now=network.right())
        assert (await network.read()) == [9.0]  # as long as the site says nothing
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await until(lambda: [e for e in network.events if e.kind == "republished"])
            await kept(loop)
            own = [p.outcome.estimate for p in loop.store.evidence(STUDY, now=network.clock())]
            assert own == [0.2]
            assert await network.read() == [0.2]
            # And the numbering goes on: nothing stands above what is published next.
            network.pass_time(600.0)
            await publish(loop, 0.3)
            await kept(loop)
            assert await network.read() == [0.3]

    asyncio.run(scenario())


def test_what_was_signed_ahead_can_be_withdrawn_at_once_and_stays_withdrawn(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await publish(loop, 0.1)
            await kept(loop)
        network.clock.set(NOW + 400 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            wrong = await publish(loop, 9.0)
            await kept(loop)
        network.clock.set(NOW + 60.0)
        network.right.advance(60.0)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            retraction = await loop.retract(STUDY)  # nobody has said yet which date is right
            assert retraction.sequence < wrong.sequence
            await kept(loop)
            with pytest.raises(ClockError):
                await publish(loop, 0.2)
        assert await network.read() == []
        network.pass_time(400 * DAY_S)
        network.reader.add(wrong, now=network.right())
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await until(lambda: [e for e in network.events if e.kind == "republished"])
            await kept(loop)
        assert await network.read() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [False, True])
def test_a_withdrawal_dated_ahead_stays_in_force_when_the_clock_is_right_again(
    tmp_path, monkeypatch, fails
):
    """It is set aside with all that was dated then; what it withdrew must not come back."""

    async def scenario():
        network = Network(tmp_path)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await publish(loop, 0.1)
            await kept(loop)
        assert await network.read() == [0.1]
        network.clock.set(NOW + 2 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            wrong = await loop.retract(STUDY, reason="consent")
            await kept(loop)
        network.clock.set(NOW + 60.0)
        network.right.advance(60.0)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            if fails:  # between the two, and the process ends
                with monkeypatch.context() as patch:
                    patch.setattr(type(loop._parts.signer), "sign", full_disk)
                    with pytest.raises(StorageError):
                        await loop.recover_clock()
            else:
                assert await loop.recover_clock() == (wrong,)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            with pytest.raises(DisclosureError) as caught:  # the nightly job
                await publish(loop, 0.2)
            assert caught.value.field == "withdrawn"
            (again,) = [e.packet for e in network.events if e.kind == "republished"]
            assert again.outcome == wrong.outcome
            assert again.sequence < wrong.sequence
            assert list(loop.store.evidence(STUDY, now=network.clock())) == []
            await kept(loop)
            assert await network.read() == []
            await publish(loop, 0.3, reinstate=True)
            await publish(loop, 0.4)
            await kept(loop)
        assert await network.read() == [0.4]
        network.pass_time(2 * DAY_S)  # the withdrawal's date comes, and does not win
        network.reader.add(wrong, now=network.right())
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await until(lambda: [e for e in network.events if e.kind == "republished"][1:])
            await kept(loop)
        assert await network.read() == [0.4]

    asyncio.run(scenario())


def full_disk(*_, **__):
    raise StorageError("the disk is full", field="path")


def test_a_retraction_signed_by_a_clock_that_is_behind_works_once_it_is_right(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            good = await publish(loop, 0.1)
            await kept(loop)
        assert await network.read() == [0.1]
        network.clock.set(NOW - 40 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await loop.retract(STUDY)
            await kept(loop)
        network.clock.set(NOW + 60.0)
        network.right.advance(60.0)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await until(lambda: [e for e in network.events if e.kind == "republished"])
            await kept(loop)
        assert good.issued_at < network.right()
        assert await network.read() == []

    asyncio.run(scenario())


def test_sites_heard_that_agree_with_the_clock_recover_it_without_a_person(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        network.clock.set(NOW + 2 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            wrong = await publish(loop, 9.0)
            await kept(loop)
            network.clock.set(NOW)
            received = loop.statistics.received
            for identity in IDENTITIES[1:3]:
                write(network.shared, packet_of(identity, NOW - 5.0))
            await until(lambda: loop.statistics.received == received + 2)
            packet = await publish(loop, 0.2)
            assert packet.sequence < wrong.sequence
            assert [e.packet for e in network.events if e.kind == "set_aside"] == [wrong]

    asyncio.run(scenario())


def test_a_clock_that_others_doubt_is_not_recovered(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await publish(loop, 0.1)
            network.clock.set(NOW - 40 * DAY_S)
            for identity in IDENTITIES[1:3]:
                write(network.shared, packet_of(identity, NOW - 5.0))
            await until(lambda: refused_early(loop) >= 2)
            with pytest.raises(ClockError, match="2 of 2 sites"):
                await loop.recover_clock()
            assert not loop._parts.outbox.aside()

    asyncio.run(scenario())


def test_recovered_content_that_nothing_replaced_gets_its_right_date(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        network.clock.set(NOW + 2 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            wrong = await publish(loop, 0.4)
            network.clock.set(NOW)
            assert await loop.recover_clock() == (wrong,)
            with pytest.raises(InputError, match="in force"):
                await loop.retract(STUDY, "another cohort")
        network.pass_time(2 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await until(lambda: [e for e in network.events if e.kind == "republished"])
            (found,) = loop.store.evidence(STUDY, now=network.clock())
            assert found.outcome == wrong.outcome
            assert found.sequence > wrong.sequence

    asyncio.run(scenario())


@pytest.fixture
def outbox():
    with qis.Outbox() as made:
        yield made


def test_no_number_is_used_twice_after_a_recovery(outbox):
    ahead = [packet_of(OWN, NOW + 2 * DAY_S + second) for second in range(3)]
    for packet in ahead:
        outbox.put(packet, ())
    limit = int(NOW + 300) * 1_000_000
    outbox.set_aside([Own(packet, ()) for packet in ahead], [], limit=limit)
    assert outbox.last_sequence == 0
    assert outbox.unsent == 0
    taken = set()
    for packet in ahead:
        number = outbox.next_sequence(packet.sequence / 1e6)
        assert number not in {each.sequence for each in ahead}
        taken.add(number)
    assert len(taken) == 3


def test_the_blocking_loop_recovers_too(tmp_path):
    clock = VirtualClock(now=NOW + 2 * DAY_S)
    loop = qis.blocking.SynthesisLoop(
        OWN,
        qis.DirectoryTransport(tmp_path, OWN, roster=ROSTER, clock=clock),
        SCHEME,
        interest=SCHEME.interest(NEAR),
        interest_people=0,
        roster=ROSTER,
        disclosure=qis.Disclosure.preset("none"),
        clock=clock,
    )
    with loop:
        wrong = loop.publish(effect(), about=NEAR, people=0)
        clock.set(NOW)
        with pytest.raises(ClockError):
            loop.publish(effect(0.2), about=NEAR, people=0)
        assert loop.recover_clock() == (wrong,)
        assert loop.publish(effect(0.2), about=NEAR, people=0).sequence < wrong.sequence


def test_a_packet_that_lives_longer_than_may_be_from_now_on_can_be_replaced_and_withdrawn(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        async with AsyncExitStack() as stack:
            store = stack.enter_context(closing(qis.SQLiteStore(network.store, roster=ROSTER)))
            options = {"store": store, "roster": None, "lifetime_s": 400 * 86_400}
            loop = loop_in(network.shared, network.clock, network.events, **options)
            await stack.enter_async_context(loop)
            long = await publish(loop, 0.1)
            network.clock.set(NOW - 200.0)  # within what clocks may differ
            assert (await publish(loop, 0.2)).expires_at == long.expires_at - 200
            assert (await loop.retract(STUDY)).expires_at == long.expires_at - 200

    asyncio.run(scenario())


def test_remembered_numbers_are_bounded_and_the_lowest_go(monkeypatch, outbox):
    monkeypatch.setattr(_numbers, "NUMBERS_LIMIT", 5)
    packets = [packet_of(OWN, NOW + second) for second in range(23)]
    for packet in packets:
        outbox.put(packet, ())
    (count,) = outbox._execute("SELECT count(*) FROM numbers").fetchone()
    assert count <= 2 * 5
    assert outbox.last_sequence == packets[-1].sequence
    with pytest.raises(StorageError, match="was used already"):
        outbox.put(packets[0], ())


def test_an_outbox_of_the_first_version_goes_on_and_can_be_recovered(tmp_path):
    wrong = packet_of(OWN, NOW + 2 * DAY_S)
    keys = b"".join(sorted({*SCHEME.routing_keys(NEAR), STUDY.id}))
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as old, old:
        old.executescript(SCHEMA.migrations[0])
        old.execute(f"PRAGMA application_id = {SCHEMA.application_id}")
        old.execute("PRAGMA user_version = 1")
        facts = [("issuer", OWN.issuer.key), ("sequence", wrong.sequence.to_bytes(8, "big"))]
        old.executemany("INSERT INTO facts VALUES (?, ?)", facts)
        old.execute("INSERT INTO unsent (packet, keys) VALUES (?, ?)", (bytes(wrong), keys))
        row = (STUDY.id, OWN.issuer.key, "", 0, bytes(wrong), keys)
        old.execute("INSERT INTO own VALUES (?, ?, ?, ?, ?, ?)", row)

    async def scenario():
        network = Network(tmp_path)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            assert loop._parts.outbox.last_sequence == wrong.sequence
            with pytest.raises(ClockError):
                await publish(loop, 0.2)
            assert await loop.recover_clock() == (wrong,)
            assert (await publish(loop, 0.2)).sequence < wrong.sequence

    asyncio.run(scenario())


def test_what_has_expired_by_then_is_withdrawn_and_not_revived(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        network.clock.set(NOW + 100 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            wrong = await publish(loop, 9.0)
            network.clock.set(NOW)
            await loop.recover_clock()
            await publish(loop, 0.2)  # for 30 days
            await kept(loop)
        assert await network.read() == [0.2]
        network.pass_time(100 * DAY_S)
        network.reader.add(wrong, now=network.right())
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await until(lambda: [e for e in network.events if e.kind == "republished"])
            await kept(loop)
        assert await network.read() == []

    asyncio.run(scenario())


def test_a_folder_that_is_away_gives_its_files_back_later(tmp_path):
    async def scenario():
        network = Network(tmp_path)
        network.clock.set(NOW + 2 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            wrong = await publish(loop, 9.0)
            await kept(loop)
            network.clock.set(NOW)
            file = network.shared / f"{wrong.id.hex()}.qis"
            content = file.read_bytes()
            file.unlink()
            file.mkdir()  # which cannot be unlinked
            assert await loop.recover_clock() == (wrong,)
            (told,) = [e.reason for e in network.events if e.kind == "unsent"]
            assert "1 packets set aside are not taken back yet" in told
            file.rmdir()
            file.write_bytes(content)
        async with AsyncExitStack() as stack:
            await network.site(stack)
            await until(lambda: not file.exists())

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", ["outbox.db", "store.db"])
def test_what_was_set_aside_stays_so_where_one_of_the_files_is_lost(tmp_path, lost):
    async def scenario():
        network = Network(tmp_path)
        network.clock.set(NOW + 2 * DAY_S)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            wrong = await publish(loop, 9.0)
            network.clock.set(NOW)
            await loop.recover_clock()
            repaired = await publish(loop, 0.2)
            await kept(loop)
        for file in tmp_path.glob(f"{lost}*"):
            file.unlink()
        network.pass_time(60.0)
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            if lost == "outbox.db":  # which is the account of the key
                with pytest.raises(qis.AccountError):
                    await publish(loop, 0.3)
                await loop.settle("restored", approver="Dr Ada")
            assert (await publish(loop, 0.3)).sequence > repaired.sequence
            await kept(loop)
        network.pass_time(2 * DAY_S)
        network.reader.add(wrong, now=network.right())
        async with AsyncExitStack() as stack:
            loop = await network.site(stack)
            await until(lambda: [e for e in network.events if e.kind == "republished"])
            await kept(loop)
            loop.store.add(wrong, now=network.clock())
            own = [p.outcome.estimate for p in loop.store.evidence(STUDY, now=network.clock())]
            assert own == [0.3]
        assert await network.read() == [0.3]

    asyncio.run(scenario())

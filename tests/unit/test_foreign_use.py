"""A key that is used elsewhere is noticed: by its packets, and by its node's address."""

import asyncio
import shutil
from contextlib import asynccontextmanager

import pytest

import qis
from qis.errors import AccountError
from qis.loop import Outbox, _made
from tests._builders import signed

NOW = 1_800_000_000.0
SITE, OTHER = (qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
ACCOUNT = ("lines", "taken_over", "findings", "unknown", "arriving", "bases")
"""Tables that an outbox of a former version has not."""


def effect(number):
    return qis.Effect(question=f"q{number}", measure="OR", estimate=0.1, standard_error=0.2, n=400)


def packet(number, *, identity=SITE):
    return signed(identity, effect(number), scheme=SCHEME, about=ABOUT, at=NOW + number)


class Site:
    """One site's loop on a network, what is on its disk, and the events of the key's use."""

    def __init__(self, network, folder, identity=SITE):
        folder.mkdir(exist_ok=True)
        self.network, self.folder, self.identity = network, folder, identity
        self.events = []
        self._news = asyncio.Event()

    def _tell(self, event):
        if event.kind == "foreign_use":
            self.events.append(event)
        self._news.set()

    async def heard(self, loop, count):
        async with asyncio.timeout(20):
            while loop.statistics.received < count:
                self._news.clear()
                await self._news.wait()

    @asynccontextmanager
    async def loop(self, *, in_memory=False):
        with Outbox(None if in_memory else self.folder / "outbox.db") as outbox:
            async with qis.SynthesisLoop(
                self.identity,
                qis.MemoryTransport(self.network, self.identity),
                SCHEME,
                interest=SCHEME.interest(ABOUT, min_similarity=0.0),
                outbox=outbox,
                disclosure=qis.Disclosure.preset("none"),
                model="fixed",
                clock=lambda: NOW + 1,
                on_event=self._tell,
            ) as loop:
                yield loop


def run(scenario):
    asyncio.run(scenario())


def test_a_packet_that_another_machine_signed_is_told_once(tmp_path):
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        here, there = Site(network, tmp_path / "here"), qis.MemoryTransport(network, OTHER)
        async with here.loop() as loop, there:
            ours = await loop.publish(effect(1), about=ABOUT)
            for each in (ours, packet(2), packet(3), packet(2), packet(4, identity=OTHER)):
                await there.publish(each, SCHEME.routing_keys(ABOUT))
            await here.heard(loop, 3)
        assert [event.count for event in here.events] == [1, 2]
        assert {event.packet for event in here.events} == {packet(2), packet(3)}
        assert all("another machine" in event.reason for event in here.events)
        async with here.loop():  # and not again when the store, or the network, shows them again
            pass
        assert len(here.events) == 2

    run(scenario)


def test_what_came_out_of_this_outbox_is_no_news_however_it_comes_back(tmp_path):
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        here, there = Site(network, tmp_path / "here"), qis.MemoryTransport(network, OTHER)
        async with there:
            async with here.loop() as loop:
                sent = [await loop.publish(effect(n), about=ABOUT) for n in (1, 2)]
                sent.append(await loop.publish(effect(1), about=ABOUT))  # replaces the first
                sent.append(await loop.retract(effect(2).question))
                await loop.flush(5)
            async with here.loop() as loop:
                for each in sent:
                    await there.publish(each, SCHEME.routing_keys(ABOUT))
                await here.heard(loop, len(sent))
        assert here.events == []

    run(scenario)


def test_after_a_restored_backup_what_was_signed_since_is_told(tmp_path):
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        here, there = Site(network, tmp_path / "here"), qis.MemoryTransport(network, OTHER)
        async with there:
            async with here.loop() as loop:
                first = await loop.publish(effect(1), about=ABOUT)
            shutil.copytree(here.folder, tmp_path / "backup")
            async with here.loop() as loop:
                since = await loop.publish(effect(2), about=ABOUT)
            shutil.copytree(tmp_path / "backup", here.folder, dirs_exist_ok=True)
            async with here.loop() as loop:
                for each in (first, since):
                    await there.publish(each, SCHEME.routing_keys(ABOUT))
                await here.heard(loop, 1)  # the first it has handed over again itself
        assert [event.packet for event in here.events] == [since]

    run(scenario)


def test_an_outbox_in_memory_judges_what_is_signed_while_it_is_there(tmp_path):
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        here, there = Site(network, tmp_path / "here"), qis.MemoryTransport(network, OTHER)
        async with here.loop(in_memory=True) as loop, there:
            for number in (0, 7):  # signed a second before this process began, and six after
                await there.publish(packet(number), SCHEME.routing_keys(ABOUT))
            await here.heard(loop, 2)
        assert [event.packet for event in here.events] == [packet(7)]

    run(scenario)


def test_what_is_remembered_is_bounded_and_what_was_forgotten_is_not_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(_made, "MADE_LIMIT", 3)
    monkeypatch.setattr(_made, "FOREIGN_LIMIT", 2)
    keys = SCHEME.routing_keys(ABOUT)
    with Outbox(tmp_path / "outbox.db") as outbox:
        for number in range(1, 11, 2):
            outbox.put(packet(number), keys)
    with Outbox(tmp_path / "outbox.db") as outbox:
        made = outbox._execute("SELECT count(*) FROM made").fetchone()
        assert made == (3,)
        assert [outbox.noticed(packet(number)) for number in range(1, 11)] == [
            *([0] * 5),  # the one of 5 is the oldest that is known
            *(1, 0, 2, 0),
            0,  # the limit
        ]


def test_an_outbox_of_a_former_version_judges_only_what_comes_after(tmp_path):
    path, keys = tmp_path / "outbox.db", SCHEME.routing_keys(ABOUT)
    with Outbox(path) as outbox:
        outbox.put(packet(5), keys)
        for table in ("made", "unread", "unread_waiting", *ACCOUNT):
            outbox._execute(f"DROP TABLE {table}")
        outbox._execute("ALTER TABLE waiting DROP COLUMN reinstates")
        outbox._execute("DELETE FROM facts WHERE name IN ('counter', 'name')")
        outbox._execute("DELETE FROM facts WHERE name = 'unknown before'")
        outbox._execute("PRAGMA user_version = 3")
    with Outbox(path) as outbox:
        assert [outbox.noticed(packet(number)) for number in (4, 5, 6)] == [0, 0, 1]


@pytest.mark.parametrize("is_second_machine", [True, False])
def test_a_second_node_with_the_key_is_told(is_second_machine):
    identities = [qis.Identity.from_seed(bytes([n]) * 32) for n in range(10, 16)]
    second = SITE if is_second_machine else OTHER

    async def scenario():
        network, heard = qis.MemoryNetwork(now=NOW, overlay=True), []
        first = qis.MemoryTransport(network, SITE)
        first.notices.listen(heard.append)
        others = [qis.MemoryTransport(network, identity) for identity in identities]
        for transport in (first, *others):
            await transport.__aenter__()
        await network.advance(60.0)
        async with qis.MemoryTransport(network, second):
            interest = SCHEME.interest(ABOUT, min_similarity=0.0)
            async with first.subscribe(interest):  # which looks for those near its keys
                await first.publish(packet(1), SCHEME.routing_keys(ABOUT))
                await first.flush(60.0)
        for transport in (first, *others):
            await transport.aclose()
        return [notice.subject for notice in heard if notice.kind == "foreign_use"]

    told = asyncio.run(scenario())
    assert told == ["another node has this node's key"] * is_second_machine


def test_a_packet_of_this_key_that_no_store_admits_is_told_and_stands_above_nothing(tmp_path):
    """Numbered far ahead of its own date, it stands above nothing anywhere, so neither here."""

    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        here, there = Site(network, tmp_path / "here"), qis.MemoryTransport(network, OTHER)
        async with here.loop() as loop, there:
            first = await loop.publish(effect(1), about=ABOUT)
            for number, sequence in enumerate((2**64 - 1, first.sequence + 10 * 86_400 * 10**6)):
                wild = qis.Packet.sign(
                    SITE,
                    outcome=effect(1),
                    fingerprint=SCHEME.fingerprint(ABOUT),
                    issued_at=int(NOW),
                    lifetime_s=86_400,
                    sequence=sequence,
                    routing_keys=SCHEME.routing_keys(ABOUT),
                )
                await there.publish(wild, SCHEME.routing_keys(ABOUT))
                await here.heard(loop, number + 1)
            assert [event.count for event in here.events] == [1, 2]
            with pytest.raises(AccountError, match="unknown_packet"):
                await loop.publish(effect(1), about=ABOUT)
            assert await loop.settle("restored", approver="Dr Ada") == ()
            second = await loop.publish(effect(1), about=ABOUT)
            assert second.sequence == first.sequence + 1
            assert await loop.retract(effect(1).question)
        async with here.loop() as loop:
            assert await loop.publish(effect(2), about=ABOUT)

    run(scenario)

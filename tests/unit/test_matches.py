"""Records through the loop: read by an iterator of their own, and answered."""

import asyncio
import logging

import pytest

import qis
from qis.errors import InputError
from qis.health import Notices
from qis.loop import matches
from tests._builders import site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
QUESTION = "which sites have seen this variant"


def loop_on(network, number, **options):
    return qis.SynthesisLoop(
        site(number),
        qis.MemoryTransport(network, site(number)),
        SCHEME,
        interest=SCHEME.interest(ABOUT),
        disclosure=qis.Disclosure.preset("none"),
        **options,
    )


def record(content):
    return qis.Record(question=QUESTION, content=content)


async def first_of(loop):
    async with asyncio.timeout(20):
        async for match in loop.matches():
            return match
    raise AssertionError("the loop has ended")


def test_a_record_arrives_once_and_can_be_answered_while_syntheses_stay_apart():
    async def scenario():
        network = qis.MemoryNetwork(seed=3, duplicate=0.5, reorder=0.5)
        async with loop_on(network, 1) as asker, loop_on(network, 2) as other:
            asked = await asker.publish(record({"variant": "c.68A>G"}), about=ABOUT)
            match = await first_of(other)
            assert match.packet == asked
            assert dict(match.record.content) == {"variant": "c.68A>G"}
            answer = await other.publish(match.reply({"seen": 3}), about=ABOUT)
            back = await first_of(asker)
            assert back.packet == answer
            assert back.record.study_id == match.record.study_id
            assert dict(back.record.content) == {"seen": 3}
            with pytest.raises(InputError):
                match.reply({1: 2})
            latest = asker.latest(QUESTION)
            assert latest is None or not latest.sites

    asyncio.run(scenario())


def test_an_iterator_that_waits_ends_with_the_loop():
    async def scenario():
        network = qis.MemoryNetwork(seed=3)
        async with loop_on(network, 1) as loop:
            waiting = asyncio.create_task(anext(loop.matches(), None))
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            assert await waiting is None

    asyncio.run(scenario())


def test_what_is_dropped_unread_is_told_and_what_was_read_is_not(monkeypatch):
    monkeypatch.setattr(matches, "MAX_MATCHES", 3)
    told = []
    notices = Notices(logging.getLogger("qis.test"))
    notices.listen(told.append)
    kept = matches.Matches(notices)
    packets = [
        qis.Packet.sign(
            site(1),
            outcome=record({"number": number}),
            fingerprint=SCHEME.fingerprint(ABOUT),
            issued_at=1_800_000_000 + number,
            lifetime_s=86_400,
        )
        for number in range(6)
    ]
    for packet in packets[:3]:
        kept.add(packet)
    assert [match.packet for _, match in kept.since(0)] == packets[:3]
    for packet in packets[3:]:
        kept.add(packet)
    assert told == []  # the first three had been read
    kept.add(packets[0])
    assert [notice.kind for notice in told] == ["limit"]
    assert "dropped unread" in told[0].reason

"""Where nobody has a packet, nobody is told that it was sent; where somebody has it, they are."""

import asyncio
import contextlib

import pytest

import qis

NAMES = (
    "udp blocked",
    "bootstrap dead",
    "alone",
    "wrong clock",
    "not on the roster",
    "full holders",
    "behind a NAT",
    "all died",
    "partitioned",
    "folder away",
    "folder full",
)
FAULTS = {"folder away": "directory.poll: FileNotFoundError"}


@pytest.fixture
def broken(load_benchmark):
    return load_benchmark("_broken_networks")


def test_all_cases_are_here(broken):
    assert set(NAMES) == set(broken.CASES)


@pytest.mark.parametrize("name", NAMES)
def test_what_reaches_nobody_is_not_called_sent_and_says_why(broken, faults, name):
    if name in FAULTS:
        faults.expect(FAULTS[name])
    told = asyncio.run(broken.publish_in(name))
    _, code = broken.CASES[name]
    assert told.sent == 0
    assert not told.is_flushed
    assert told.unsent == 1
    assert [bool(each.reason) for each in told.undelivered] == [True]
    assert code in told.codes
    assert code in told.changes
    assert told.is_told(code)


@pytest.mark.parametrize("name", ["udp blocked", "full holders", "partitioned"])
def test_the_former_rule_is_seen_to_mislead(broken, name):
    told = asyncio.run(broken.publish_in(name, by_former_rule=True))
    _, code = broken.CASES[name]
    assert told.sent == 1
    assert told.is_flushed
    assert not told.is_told(code)


async def loop_of(broken, stack, transport):
    loop = qis.SynthesisLoop(
        broken.site(1),
        transport,
        broken.SCHEME,
        interest=broken.SCHEME.interest(broken.ABOUT),
        disclosure=qis.Disclosure.preset("none"),
    )
    return await stack.enter_async_context(loop)


def effect(question):
    return qis.Effect(question=question, measure="OR", estimate=-0.3, standard_error=0.1)


def test_after_deaths_it_is_sent_once_another_holds_it_under_every_key(broken):
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(broken.quick())
            first = await stack.enter_async_context(broken.udp(2))
            others = [
                await stack.enter_async_context(broken.udp(number, bootstrap=[first.address]))
                for number in (3, 4, 5, 6)
            ]
            node = broken.udp(1, bootstrap=[first.address])
            loop = await loop_of(broken, stack, node)
            await broken.until(lambda: node.peers == 5)
            await loop.publish(effect("before"), about=broken.ABOUT)
            assert await loop.flush(20)
            for dead in others[:3]:
                broken.silence(dead)
            await loop.publish(effect("after"), about=broken.ABOUT)
            assert await loop.flush(20)
            assert loop.undelivered() == ()
            assert loop.statistics.events["sent"] == 2
            for dead in (first, others[3]):
                broken.silence(dead)
            assert await loop.flush(20)  # what is held stays so
            await loop.publish(effect("too late"), about=broken.ABOUT)
            assert not await loop.flush(0.5)
            (missing,) = loop.undelivered()
            assert missing.packet.outcome.question == "too late"

    asyncio.run(scenario())


def test_the_first_node_is_told_sent_when_the_second_comes(broken):
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            first = broken.udp(1)
            loop = await loop_of(broken, stack, first)
            assert [reason.code for reason in loop.health.reasons][:1] == ["one_node"]
            await loop.publish(effect("early"), about=broken.ABOUT)
            assert not await loop.flush(0.3)
            await stack.enter_async_context(broken.udp(2, bootstrap=[first.address]))
            assert await loop.flush(20)
            assert "one_node" not in [reason.code for reason in loop.health.reasons]

    asyncio.run(scenario())


def test_another_node_of_the_same_site_is_no_other_site(broken):
    async def scenario():
        own = qis.Site(
            name="own",
            keys=tuple(qis.SiteKey(issuer=broken.site(n).issuer) for n in (1, 2)),
        )
        roster = qis.Roster((own, qis.Site.of("other", broken.site(3).issuer)))
        async with contextlib.AsyncExitStack() as stack:
            first = broken.udp(1, roster=roster)
            loop = await loop_of(broken, stack, first)
            second = broken.udp(2, roster=roster, bootstrap=[first.address])
            await stack.enter_async_context(second)
            await broken.until(lambda: first.peers == 1)
            await loop.publish(effect("q"), about=broken.ABOUT)
            assert not await loop.flush(0.5)
            assert loop.undelivered()[0].holders == 0
            other = broken.udp(3, roster=roster, bootstrap=[first.address])
            await stack.enter_async_context(other)
            assert await loop.flush(20)

    asyncio.run(scenario())

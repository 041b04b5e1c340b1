"""Somebody sets the date while nodes run: what is under way goes on, on real sockets."""

import asyncio
import contextlib
import socket
import time

import pytest

import qis
from qis._clock import SYSTEM, Clock
from qis.errors import ClockError
from qis.testing import VirtualClock
from tests._builders import effect, signed, site, until
from tests.integration.test_udp_network import NEAR, ROSTER, SCHEME, collect

HOUR_S = 3_600.0
KEYS = SCHEME.routing_keys(NEAR)


class SetDate:
    """The machine's date, plus what an administrator makes of it."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset_s


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        return reserved.getsockname()[1]


def test_a_clock_keeps_date_and_intervals_apart():
    virtual = VirtualClock()
    clock = Clock.of(virtual)
    before = clock.steady()
    virtual.set(virtual() - HOUR_S)
    assert clock.steady() == before
    assert clock.unix_s(before + 5.0) == virtual() + 5.0
    virtual.advance(3.0)
    assert clock.steady() == before + 3.0
    assert Clock.of(time.time).steady is SYSTEM.steady
    assert SYSTEM.steady() <= SYSTEM.steady()
    assert abs(SYSTEM.unix_s(SYSTEM.steady()) - time.time()) < 1.0


def packet_of(identity, issued_at):
    return signed(identity, effect(question="a vs b | e"), scheme=SCHEME, about=NEAR, at=issued_at)


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S])
def test_a_call_under_way_when_the_date_is_set_is_made_again_soon(step_s):
    async def scenario():
        date, port = SetDate(), free_port()
        name = f"{site(1).issuer}@127.0.0.1:{port}"
        async with contextlib.AsyncExitStack() as stack:
            enter = stack.enter_async_context
            early = await enter(
                qis.UDPTransport(site(2), roster=ROSTER, bootstrap=[name], clock=date)
            )
            deliveries = await enter(early.subscribe(SCHEME.interest(NEAR)))
            assert not await early.flush(0.05)  # nobody is there yet
            date.offset_s = step_s
            first = await enter(
                qis.UDPTransport(site(1), roster=ROSTER, bind=("127.0.0.1", port), clock=date)
            )
            packet = packet_of(site(1), date())
            await first.publish(packet, KEYS)
            assert await collect(deliveries, {packet.id}) == [packet.id]

    asyncio.run(scenario())


async def sessions_before_and_after(date, step_s):
    """The sessions of a node before and after its date is set while packets come in."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        first = await enter(qis.UDPTransport(site(1), roster=ROSTER, clock=date))
        second = await enter(
            qis.UDPTransport(site(2), roster=ROSTER, bootstrap=[first.address], clock=date)
        )
        deliveries = await enter(first.subscribe(SCHEME.interest(NEAR)))
        found = []
        for offset_s in (0.0, step_s):
            date.offset_s = offset_s
            packet = packet_of(site(2), date())
            await second.publish(packet, KEYS)
            await collect(deliveries, {packet.id})
            found.append(set(first._channels.sessions._in_use))
        return found


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S])
def test_sessions_outlive_a_set_date(step_s):
    before, after = asyncio.run(sessions_before_and_after(SetDate(), step_s))
    assert after == before


def test_with_timers_on_the_date_the_same_is_seen_to_repeat_the_handshake():
    date = SetDate()
    date.steady = date
    before, after = asyncio.run(sessions_before_and_after(date, HOUR_S))
    assert after != before


NAMES = ["north", "south", "east", "west"]
SITES = qis.Roster(
    tuple(qis.Site.of(name, site(number).issuer) for number, name in enumerate(NAMES, start=1))
)


async def hearing(stack, date, others):
    """A loop of north, whose date is `date`, that has sessions with nodes of these dates."""
    enter = stack.enter_async_context
    transport = qis.UDPTransport(site(1), roster=SITES, clock=date)
    loop = await enter(
        qis.SynthesisLoop(
            site(1),
            transport,
            SCHEME,
            interest=SCHEME.interest(NEAR),
            interest_people=0,
            roster=SITES,
            disclosure=qis.Disclosure.preset("none"),
            clock=date,
        )
    )
    for number, other in enumerate(others, start=2):
        await enter(
            qis.UDPTransport(site(number), roster=SITES, bootstrap=[transport.address], clock=other)
        )
    await until(lambda: len(transport._channels.sessions.clocks_s) == len(others))
    return loop


EFFECT = qis.Effect(question="a vs b | e", measure="OR", estimate=0.1, standard_error=1.0, n=300)
DAY_S = 86_400.0


@pytest.mark.parametrize("days", [-40.0, 2.0, 400.0])
def test_handshakes_show_that_the_own_clock_is_wrong(days):
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            date = SetDate()
            date.offset_s = days * DAY_S
            loop = await hearing(stack, date, [SetDate(), SetDate()])
            with pytest.raises(ClockError) as caught:
                await loop.publish(EFFECT, about=NEAR, people=0)
            assert caught.value.actual - caught.value.limit == pytest.approx(days * DAY_S, abs=5.0)
            assert [reason.code for reason in loop.health.reasons if "clock" in reason.code]
            date.offset_s = 0.0  # set right while it runs: no new handshake is needed to see it
            await loop.publish(EFFECT, about=NEAR, people=0)
            date.offset_s = -HOUR_S
            with pytest.raises(ClockError):
                await loop.publish(EFFECT, about=NEAR, people=0)

    asyncio.run(scenario())


def test_one_liar_of_three_stops_nobody():
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            liar = SetDate()
            liar.offset_s = 400 * DAY_S
            loop = await hearing(stack, SetDate(), [SetDate(), SetDate(), liar])
            await loop.publish(EFFECT, about=NEAR, people=0)
            assert "clock_disputed" in [reason.code for reason in loop.health.reasons]

    asyncio.run(scenario())


def test_a_job_that_publishes_as_soon_as_it_has_opened_is_told_too():
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            enter = stack.enter_async_context
            first = await enter(qis.UDPTransport(site(2), roster=SITES))
            await enter(qis.UDPTransport(site(3), roster=SITES, bootstrap=[first.address]))
            await until(lambda: first.peers == 1)
            date = SetDate()
            date.offset_s = 370 * DAY_S
            transport = qis.UDPTransport(
                site(1), roster=SITES, bootstrap=[first.address], clock=date
            )
            loop = qis.SynthesisLoop(
                site(1),
                transport,
                SCHEME,
                interest=SCHEME.interest(NEAR),
                interest_people=0,
                roster=SITES,
                disclosure=qis.Disclosure.preset("none"),
                clock=date,
            )
            await enter(loop)
            with pytest.raises(ClockError, match="2 of 2 sites heard are 370"):
                await loop.publish(EFFECT, about=NEAR, people=0)

    asyncio.run(scenario())

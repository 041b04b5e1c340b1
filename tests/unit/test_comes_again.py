"""What waits, fails or is early comes again; and whoever waits learns of it."""

import asyncio
from types import SimpleNamespace

import pytest

import qis
from qis._guard import FIRST_PAUSE_S, LAST_PAUSE_S, Guard
from qis.health import HealthState
from qis.loop._parts import Parts
from qis.testing import VirtualClock
from tests._builders import Watcher, signed
from tests.unit.test_undelivered import ABOUT, NOW, SCHEME, Network, effect, loop_on, sent

SITE = qis.Identity.from_seed(bytes([1]) * 32)
SECOND_KEY = qis.Identity.from_seed(bytes([2]) * 32)
OTHER = qis.Identity.from_seed(bytes([3]) * 32)
ROSTER = qis.Roster(
    is_keyed=True,
    sites=[
        qis.Site(
            name="A",
            keys=[qis.SiteKey(issuer=SITE.issuer), qis.SiteKey(issuer=SECOND_KEY.issuer)],
        ),
        qis.Site(name="B", keys=[qis.SiteKey(issuer=OTHER.issuer)]),
    ],
)
KEYS = tuple(SCHEME.routing_keys(ABOUT))


def packet(question="q", issued_at=NOW):
    return signed(SITE, effect(question), scheme=SCHEME, about=ABOUT, at=issued_at)


class BreakingClock(VirtualClock):
    """Both clocks fail as often as they are told to."""

    failures = 0

    def _break(self):
        if self.failures:
            self.failures -= 1
            raise OSError("no clock")

    def __call__(self):
        self._break()
        return super().__call__()

    def steady(self):
        self._break()
        return super().steady()


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_clock_that_fails_stops_no_alarm_of_udp(failures, faults):
    async def scenario():
        clock = BreakingClock(NOW)
        async with qis.UDPTransport(SITE, roster=ROSTER, clock=clock) as transport:
            transport._alarm.cancel()
            clock.failures = failures
            while clock.failures:
                transport._turn()  # as the alarm would
                assert not transport._alarm.cancelled()

    faults.expect("udp.alarm")
    asyncio.run(scenario())


def test_a_second_key_of_the_own_site_holds_nothing_for_it():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW, overlay=True)
        one, two, other = (
            qis.MemoryTransport(network, identity, roster=ROSTER)
            for identity in (SITE, SECOND_KEY, OTHER)
        )
        await other.aclose()
        await network.settle()
        published = packet()
        await one.publish(published, KEYS)
        assert not await one.flush(10.0)
        assert not one.holding(published.id).is_held
        async with qis.MemoryTransport(network, OTHER, roster=ROSTER):
            await network.advance(120.0)
            assert await one.flush(10.0)
            assert one.holding(published.id).holders == 1
        await two.aclose()

    asyncio.run(scenario())


def test_faults_that_are_rare_do_not_add_up_to_long_pauses(faults, monkeypatch):
    pauses, passed_s = [], 0.0

    async def scenario():
        loop = asyncio.get_running_loop()
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + passed_s)

        async def run():
            nonlocal passed_s
            if len(pauses) == 12:
                raise KeyboardInterrupt
            passed_s += LAST_PAUSE_S if len(pauses) >= 6 else 0.0
            raise KeyError

        async def pause(seconds):
            pauses.append(seconds)

        monkeypatch.setattr("qis.loop._parts.asyncio.sleep", pause)
        parts = SimpleNamespace(_guard=Guard())
        with pytest.raises(KeyboardInterrupt):
            await Parts._kept_going(parts, "loop.intake", run)

    faults.expect("loop.intake")
    asyncio.run(scenario())
    assert pauses == [FIRST_PAUSE_S * 2**n for n in range(6)] + [FIRST_PAUSE_S] * 6


def test_a_packet_that_the_transport_never_takes_keeps_no_other_back(monkeypatch):
    monkeypatch.setattr("qis.loop.sender.HAND_S", 0.02)

    class Stuck(Network):
        is_stuck = True

        async def publish(self, packet, routing_keys):
            while self.is_stuck and packet.outcome.question == "stuck":
                await asyncio.Event().wait()
            await super().publish(packet, routing_keys)

    async def scenario():
        watcher, transport = Watcher(), Stuck()
        async with loop_on(transport, watcher) as loop:
            for question in ("stuck", "after"):
                await loop.publish(effect(question), about=ABOUT)
            await watcher.until_holds(lambda: watcher.of("sent"))
            assert sent(watcher) == ["after"]
            (missing,) = loop.undelivered()
            assert "has not taken it" in missing.reason
            transport.is_stuck = False
            assert await loop.flush(20)

    asyncio.run(scenario())


def test_who_has_too_much_that_nobody_holds_learns_why_no_more_leaves(monkeypatch):
    monkeypatch.setattr("qis.overlay.publications.BACKLOG_LIMIT", 2)
    monkeypatch.setattr("qis.overlay.node.BACKLOG_LIMIT", 2)

    async def scenario():
        async with qis.UDPTransport(SITE, roster=ROSTER) as transport:
            told = []
            transport.notices.listen(told.append)
            for question in ("1", "2"):
                await transport.publish(packet(question), KEYS)
            assert transport.health.state is HealthState.DEGRADED
            assert "backlog" in [reason.code for reason in transport.health.reasons]
            waiting = asyncio.create_task(transport.publish(packet("3"), KEYS))
            await asyncio.sleep(0)
            assert "overlay.publications.BACKLOG_LIMIT" in [
                notice.subject for notice in told if notice.kind == "limit"
            ]
            waiting.cancel()

    asyncio.run(scenario())


async def received(transports, published, *, then):
    """What the second of them gets of it."""
    one, two = transports
    got = []

    async def read(deliveries):
        async for delivery in deliveries:  # as they come: it is cancelled at the end
            got.append(delivery.packet)  # noqa: PERF401

    async with two.subscribe(SCHEME.interest(ABOUT)) as deliveries:
        reader = asyncio.create_task(read(deliveries))
        await one.publish(published, KEYS)
        await then(two)
        for _ in range(5):
            await asyncio.sleep(0)
        reader.cancel()
    return got


@pytest.mark.parametrize("times", [1, 3, 10])
def test_an_arrival_on_which_a_node_fails_comes_again(times, faults, monkeypatch):
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        two = qis.MemoryTransport(network, OTHER)
        check, left = two._reception._check, times

        def failing(*args):
            nonlocal left
            if left:
                left -= 1
                raise KeyError
            return check(*args)

        monkeypatch.setattr(two._reception, "_check", failing)
        published = packet()

        async def then(_):
            await network.settle()
            await network.advance(600.0)

        one = qis.MemoryTransport(network, SITE)
        assert await received((one, two), published, then=then) == [published]

    faults.expect("reception.check")
    asyncio.run(scenario())


def test_an_arrival_of_a_later_date_comes_again_at_that_date():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        early = packet(issued_at=NOW + 3_600.0)

        async def then(transport):
            await network.settle()
            assert transport.statistics.refused["NotYetValidError"] == 1
            await network.advance(3_600.0)

        transports = [qis.MemoryTransport(network, each) for each in (SITE, OTHER)]
        assert await received(transports, early, then=then) == [early]

    asyncio.run(scenario())

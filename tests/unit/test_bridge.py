"""A bridge between two networks: both ways, once, by a roster, and without loops."""

import asyncio
from contextlib import AsyncExitStack

import pytest

import qis
from qis._clock import Clock
from qis.about import next_change
from qis.errors import InputError, TransportError
from qis.testing import VirtualClock
from qis.transport import bridge as bridge_module
from qis.transport.bridge import bridge
from tests._builders import effect, signed, until

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=4)
ABOUT = [1.0, 0.5, -0.2, 0.1]
INTEREST = SCHEME.interest(ABOUT)
KEYS = tuple(SCHEME.routing_keys(ABOUT))
SITES = [qis.Identity.from_seed(bytes([number]) * 32) for number in range(1, 7)]


def packet(question="q", identity=SITES[0], at=0, estimate=-0.3):
    outcome = effect(estimate, question=question)
    return signed(identity, outcome, scheme=SCHEME, about=ABOUT, at=NOW + at)


def folder(path, identity):
    return qis.DirectoryTransport(path, identity, poll_s=0.01, clock=VirtualClock(NOW + 100))


def run(scenario):
    async def limited():
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(limited())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(bridge_module, "CONFIRM_S", 0.01)


class Networks:
    """A folder and a network in memory, with a site and the bridge's node on each."""

    def __init__(self, tmp_path):
        self.network = qis.MemoryNetwork(now=NOW + 100)
        self.here = folder(tmp_path, SITES[0])
        self.there = qis.MemoryTransport(self.network, SITES[1])
        self.ends = folder(tmp_path, SITES[2]), qis.MemoryTransport(self.network, SITES[3])

    async def __aenter__(self):
        self.stack = AsyncExitStack()
        for each in (self.here, self.there, *self.ends):
            await self.stack.enter_async_context(each)
        return self

    async def __aexit__(self, *_):
        await self.stack.aclose()


def test_packets_cross_both_ways_and_none_comes_back(tmp_path):
    async def scenario():
        async with (
            Networks(tmp_path) as nets,
            bridge(*nets.ends, roster=qis.Roster.open(), interests=[INTEREST]) as made,
        ):
            async with (
                nets.here.subscribe(INTEREST) as mine,
                nets.there.subscribe(INTEREST) as theirs,
            ):
                await nets.here.publish(packet("from the folder"), KEYS)
                await nets.there.publish(packet("from memory", SITES[1]), KEYS)
                await until(lambda: made.carried == [1, 1] or nets.network.now < 0)
                await nets.network.settle()
                assert (await anext(theirs)).packet == packet("from the folder")
                assert (await anext(mine)).packet == packet("from memory", SITES[1])
                await nets.network.settle()
            assert made.carried == [1, 1]
            assert len(list(tmp_path.glob("*.qis"))) == 2

    run(scenario())


def test_two_bridges_between_the_same_networks_make_no_loop(tmp_path):
    async def scenario():
        async with Networks(tmp_path) as nets, AsyncExitStack() as stack:
            more = folder(tmp_path, SITES[4]), qis.MemoryTransport(nets.network, SITES[5])
            for each in more:
                await stack.enter_async_context(each)
            options = {"roster": qis.Roster.open(), "interests": [INTEREST]}
            first = await stack.enter_async_context(bridge(*nets.ends, **options))
            second = await stack.enter_async_context(bridge(*more, **options))
            theirs = await stack.enter_async_context(nets.there.subscribe(INTEREST))
            sent = [packet(f"{number}") for number in range(10)]
            for each in sent:
                await nets.here.publish(each, KEYS)
            got = {(await anext(theirs)).packet for _ in sent}
            assert got == set(sent)
            for _ in range(20):
                await nets.network.settle()
                await asyncio.sleep(0)
            published = sum(each.statistics.published for each in (*nets.ends, *more))
            assert published <= 2 * 2 * len(sent)
            assert max(first.carried[0], second.carried[0]) == len(sent)

    run(scenario())


def test_what_the_roster_does_not_list_stays_and_is_told(tmp_path):
    async def scenario():
        roster = qis.Roster((qis.Site.of("north", SITES[0].issuer),))
        async with (
            Networks(tmp_path) as nets,
            bridge(*nets.ends, roster=roster, interests=[INTEREST]) as made,
        ):
            told = []
            made.notices.listen(told.append)
            await nets.here.publish(packet("stranger", SITES[4]), KEYS)
            await until(lambda: made.refused)
            assert made.carried == [0, 0]
            assert str(SITES[4].issuer) in told[0].subject

    run(scenario())


def test_nothing_older_follows_something_newer(tmp_path):
    async def scenario():
        older, newer = packet(), packet(at=1, estimate=-0.5)
        async with (
            Networks(tmp_path) as nets,
            bridge(*nets.ends, roster=qis.Roster.open(), interests=[INTEREST]) as made,
        ):
            await nets.here.publish(newer, KEYS)
            await until(lambda: made.carried[0] == 1)
            await nets.here.publish(older, KEYS)
            last = packet("another")
            await nets.here.publish(last, KEYS)
            await until(lambda: made.carried[0] == 2)
            assert not nets.ends[1].statistics.published > 2

    run(scenario())


def test_a_delivery_is_done_when_the_other_side_holds_it(tmp_path):
    async def scenario():
        class Hesitant(qis.MemoryTransport):
            held, failures = False, 2

            async def publish(self, one, keys):
                if self.failures:
                    self.failures -= 1
                    raise TransportError("not now")
                await super().publish(one, keys)

            def holding(self, packet_id):
                return qis.Holding(is_held=self.held)

        class Durable(qis.DirectoryTransport):
            done = 0

            def subscribe(self, interest, *, name="", memory=b""):
                assert name == "interest-1"
                return super().subscribe(interest)

        calls = []
        real = qis.Delivery.done

        async def done(self):
            calls.append(self.packet)
            await real(self)

        source = Durable(tmp_path, SITES[2], poll_s=0.01, clock=VirtualClock(NOW + 100))
        target = Hesitant(qis.MemoryNetwork(now=NOW + 100), SITES[3])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(qis.Delivery, "done", done)
            async with (
                folder(tmp_path, SITES[0]) as site,
                source,
                target,
                bridge(source, target, roster=qis.Roster.open(), interests=[INTEREST]) as made,
            ):
                await site.publish(packet(), KEYS)
                await until(lambda: made.carried[0] == 1)
                assert calls == []
                target.held = True
                await until(lambda: calls)
                assert calls == [packet()]

    run(scenario())


def test_who_cannot_show_everything_is_asked_for_interests(tmp_path):
    async def scenario():
        async with Networks(tmp_path) as nets:
            udp = qis.UDPTransport(SITES[4], roster=qis.Roster.open())
            with pytest.raises(InputError, match="interests="):
                async with bridge(nets.ends[0], udp, roster=qis.Roster.open()):
                    pass
            with pytest.raises(InputError, match="one"):
                async with bridge(udp, udp, roster=qis.Roster.open(), interests=[INTEREST]):
                    pass

    run(scenario())


def test_everything_crosses_between_two_folders(tmp_path):
    async def scenario():
        one, two = tmp_path / "one", tmp_path / "two"
        other = qis.VectorScheme(dimensions=5)
        features = [1.0, 0.0, 0.3, 0.2, 0.1]
        foreign = qis.Packet.sign(
            SITES[0],
            outcome=qis.Effect(question="r", measure="OR", estimate=0.1, standard_error=0.1),
            fingerprint=other.fingerprint(features),
            issued_at=NOW,
            lifetime_s=86_400,
            routing_keys=other.routing_keys(features),
        )
        async with (
            folder(one, SITES[0]) as site,
            folder(one, SITES[2]) as a,
            folder(two, SITES[3]) as b,
            bridge(a, b, roster=qis.Roster.open()) as made,
        ):
            await site.publish(packet(), KEYS)
            await site.publish(foreign, other.routing_keys(features))
            await until(lambda: made.carried[0] == 2)
            assert {p.name for p in two.glob("*.qis")} == {p.name for p in one.glob("*.qis")}

    run(scenario())


def test_a_packet_on_which_the_bridge_fails_is_carried_later_and_holds_nothing_up(tmp_path, faults):
    faults.expect("bridge.carrying: RuntimeError")

    async def scenario():
        class Failing(qis.DirectoryTransport):
            is_bad = True

            async def publish(self, one, keys):
                if one == packet("bad") and self.is_bad:
                    raise RuntimeError("a defect")
                await super().publish(one, keys)

        one, two = tmp_path / "one", tmp_path / "two"
        async with (
            folder(one, SITES[0]) as site,
            folder(one, SITES[2]) as a,
            Failing(two, SITES[3], poll_s=0.01, clock=VirtualClock(NOW + 100)) as b,
            bridge(a, b, roster=qis.Roster.open()) as made,
        ):
            for question in ("bad", "good", "better"):
                await site.publish(packet(question), KEYS)
            await until(lambda: made.carried[0] == 2)
            b.is_bad = False
            await until(lambda: made.carried[0] == 3)
            assert {p.name for p in two.glob("*.qis")} == {p.name for p in one.glob("*.qis")}

    run(scenario())


def test_an_interest_whose_keys_follow_the_date_is_renewed(tmp_path, monkeypatch):
    """The edge comes a hundredth of a second after the bridge has opened."""
    edge = next_change(NOW)
    keyed = qis.VectorScheme(dimensions=4, secret=bytes(range(32)))
    dates = VirtualClock(edge - 0.01)
    monkeypatch.setattr(bridge_module, "SYSTEM", Clock.of(dates))

    async def renewed():
        network, other = (qis.MemoryNetwork(now=edge + 3_600) for _ in range(2))
        here, end = (qis.MemoryTransport(network, site) for site in SITES[:2])
        async with (
            here,
            end,
            qis.MemoryTransport(other, SITES[2]) as there,
            bridge(end, there, roster=qis.Roster.open(), interests=[keyed.interest(ABOUT)]),
        ):
            await until(lambda: end._reception.interests)
            first = end._reception.interests[0].routing_keys
            dates.set(edge + 1.0)
            await until(
                lambda: (
                    end._reception.interests and end._reception.interests[0].routing_keys != first
                )
            )
            keys = keyed.routing_keys(ABOUT, at=edge + 3_600)
            assert set(keys) <= set(end._reception.interests[0].routing_keys)

    run(renewed())

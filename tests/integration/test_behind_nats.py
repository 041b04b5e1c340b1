"""Real sites behind NATs and firewalls, each in a network namespace made by the test."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

import qis
from tests._builders import signed, until
from tests.integration._namespaces import NAT, Namespace, why_not

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
KEYS = [qis.Identity.from_seed(bytes([90 + n]) * 32) for n in range(4)]
ROSTER = qis.Roster(tuple(qis.Site.of(f"site {n}", key.issuer) for n, key in enumerate(KEYS)))
SCHEME = qis.VectorScheme(dimensions=2)


@pytest.fixture(autouse=True)
def scaled(monkeypatch):
    """Pauses of seconds instead of minutes."""
    monkeypatch.setattr("qis.relay.callability.CALLED_WITHIN_S", 0.6)
    monkeypatch.setattr("qis.direct.presence.RESERVED_S", 0.5)
    monkeypatch.setattr("qis.direct.presence.KEEP_ALIVE_S", 0.5)
    monkeypatch.setattr("qis.direct.presence.SILENT_AFTER_S", 1.0)
    monkeypatch.setattr("qis.direct.presence.PROBE_AFTER_S", (0.5,))
    monkeypatch.setattr("qis.channel.initiator.TRY_AFTER_S", (0.2, 0.3, 0.4))
    monkeypatch.setattr("qis.overlay.round_trips.FIRST_S", 0.3)


class Internet:
    """A public network, and sites in it or behind NATs."""

    def __init__(self, stack):
        self._stack = stack
        self.public = Namespace()
        stack.callback(self.public.close)
        self.sites, self.nats, self._callable = [], {}, []

    async def public_site(self):
        host = f"10.9.0.{len(self.sites) + 1}"
        self.public.address(host)
        site = await self._open(self.public, host)
        self._callable.append(site.address)
        return site

    async def hidden_site(self, *, is_firewall=False):
        number = len(self.sites) + 1
        host = f"10.9.0.{100 + number}" if is_firewall else "192.168.7.2"
        inner = Namespace()
        self._stack.callback(inner.close)
        nat = NAT(inner, host, self.public, f"10.9.0.{100 + number}")
        self._stack.callback(nat.close)
        site = await self._open(inner, host)
        self.nats[site] = nat
        return site

    async def _open(self, namespace, host):
        site = qis.UDPTransport(
            KEYS[len(self.sites)], roster=ROSTER, bind=(host, 4_000), bootstrap=self._callable
        )
        with namespace.inside():  # its socket is made before anything is waited for
            entering = site.__aenter__()
            with pytest.raises(StopIteration):
                entering.send(None)
        self._stack.push_async_callback(site.aclose)
        self.sites.append(site)
        return site

    async def each_publishes(self):
        """One packet of each site, until every other site has it."""
        before = [site.statistics.unmatched for site in self.sites]
        for site, key in zip(self.sites, KEYS, strict=False):
            number = sum(before)
            outcome = qis.Counts(question=f"q{number}", events=30, total=200)
            packet = signed(key, outcome, scheme=SCHEME, about=[1.0, 0.5], at=int(time.time()))
            await site.publish(packet, SCHEME.routing_keys([1.0, 0.5]))
        others = len(self.sites) - 1
        await until(
            lambda: (
                [site.statistics.unmatched for site in self.sites]
                == [count + others for count in before]
            )
        )


def codes(site):
    return {reason.code for reason in site.health.reasons}


def in_namespaces(scenario):
    async def run():
        async with AsyncExitStack() as stack:
            await scenario(Internet(stack))

    asyncio.run(run())


@pytest.mark.parametrize("is_firewall", [False, True])
def test_sites_that_cannot_be_called_get_and_give_everything(is_firewall):
    """Their own address is private, or nothing comes in but answers; and the NAT forgets."""

    async def scenario(internet):
        first, second = await internet.public_site(), await internet.public_site()
        hidden = [await internet.hidden_site(is_firewall=is_firewall) for _ in range(2)]
        await until(lambda: all(site.peers == 3 for site in internet.sites))
        await internet.each_publishes()
        for site in hidden:
            await until(lambda site=site: "client" in codes(site))
        assert not {"client", "client_of_one"} & (codes(first) | codes(second))
        for nat in internet.nats.values():
            nat.forget()
        await internet.each_publishes()

    in_namespaces(scenario)


def test_with_udp_blocked_health_says_so_and_what_to_do():
    async def scenario(internet):
        await internet.public_site()
        site = await internet.hidden_site()
        await until(lambda: site.peers == 1)
        internet.nats[site].is_blocked = True
        await until(lambda: site.health.state is qis.HealthState.CUT_OFF)
        assert "take NATS" in str(site.health)
        internet.nats[site].is_blocked = False
        await until(lambda: site.health.state is not qis.HealthState.CUT_OFF)

    in_namespaces(scenario)


def test_before_a_first_publication_behind_a_nat_two_clocks_are_known():
    """One of two known members is called late, as it may show whether this site can be called."""

    async def scenario(internet):
        await internet.public_site()
        await internet.public_site()
        site = await internet.hidden_site()
        await site.hear_clocks(0.2)
        assert site._channels.sessions.peers == 2

    in_namespaces(scenario)

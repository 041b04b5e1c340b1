"""Sites behind real NATs that are silent for ten real minutes, and then publish: both ways.

Two sites in a public network, two behind NATs of their own, each in a network namespace; the NATs
forget after 110 s without anything going out. Every timer is the one that ships. Needs root.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import _small_networks as small

import qis

sys.path.append(str(Path(__file__).parents[1]))
from tests.integration._namespaces import NAT, Namespace

SILENCE_S = 600.0
WITHIN_S = 60.0


async def _open(site: qis.UDPTransport, namespace: Namespace, stack: AsyncExitStack) -> None:
    with namespace.inside():  # its socket is made before anything is waited for
        entering = site.__aenter__()
        try:
            entering.send(None)
        except StopIteration:
            stack.push_async_callback(site.aclose)


async def delivered_after_silence(silence_s: float = SILENCE_S) -> float:
    """Share of the packets of all four that come to each of the others within a minute."""
    keys = small.identities(4)
    roster = small.roster_of(keys)
    async with AsyncExitStack() as stack:
        public = Namespace()
        stack.callback(public.close)
        sites: list[qis.UDPTransport] = []
        for number, key in enumerate(keys):
            host, namespace = f"10.9.0.{number + 1}", public
            if number < 2:
                public.address(host)
            else:
                namespace = Namespace()
                stack.callback(namespace.close)
                nat = NAT(namespace, "192.168.7.2", public, host, forgets_after_s=small.MAPPING_S)
                stack.callback(nat.close)
                host = "192.168.7.2"
            site = qis.UDPTransport(
                key,
                roster=roster,
                bind=(host, 4_000),
                bootstrap=[each.address for each in sites[:2]],
            )
            await _open(site, namespace, stack)
            sites.append(site)
        async with asyncio.timeout(WITHIN_S):
            while any(site.peers < 3 for site in sites):  # noqa: ASYNC110  counters tell nobody
                await asyncio.sleep(0.1)
        await asyncio.sleep(silence_s)
        before = [site.statistics.unmatched for site in sites]
        for site, key in zip(sites, keys, strict=True):
            packet = small.packet_of(key, "after the silence", at=int(time.time()))
            await site.publish(packet, small.SCHEME.routing_keys(small.NEAR))
        until = time.monotonic() + WITHIN_S
        while (  # noqa: ASYNC110  as above
            came := [site.statistics.unmatched - n for site, n in zip(sites, before, strict=True)]
        ) != [3] * 4 and time.monotonic() < until:
            await asyncio.sleep(0.1)
        return sum(came) / 12

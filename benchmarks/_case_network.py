"""Which node may die; who can synthesise with whom, at what traffic; how soon a new case counts."""

import asyncio
import contextlib
import random
import statistics
import time
from typing import Any

import _small_networks as small
import routing
from _case_asked import Asked
from _interests import vector_interests

import qis
from qis.simulation import Simulation

TOPIC = 0.999
WAITED_S = 30.0
PUBLISHED_S = 2.0


def aggregator(asked: Asked) -> dict[str, Any]:
    """Kill each node in turn, the first (everybody's bootstrap) included; recall of the living."""
    nodes = asked.of(5, 16, 24)
    keyed, direct = [], []
    for victim in range(nodes):
        keyed.append(_keyed_without(nodes, victim))
        direct.append(small.run(_direct_without(nodes, victim)))
        asked.said(f"killed node {victim}: recall {keyed[-1]:.3f} keyed, {direct[-1]:.3f} direct")
    return {
        "nodes": nodes,
        "keyed_recall_min": min(keyed),
        "direct_recall_min": min(direct),
        "survives_any_node_loss": int(min(keyed + direct) == 1.0),
    }


def _keyed_without(nodes: int, victim: int) -> float:
    """Recall of what all others publish after one of them has died, interests alike."""
    wanted = vector_interests(nodes, random.Random(7), hot=nodes)
    network = Simulation.build(wanted, seed=victim)
    network.run(routing.REFRESHED_S)
    network.kill([victim])
    network.reset()
    for number, node in enumerate(network.alive()):
        network.at(number * PUBLISHED_S / nodes, network.publish, node)
    network.run(routing.REPEATED_S)
    return float(network.report().recall)


async def _direct_without(nodes: int, victim: int) -> float:
    network = small.SmallNetwork(seed=victim)
    transports = await small.opened(network, nodes)
    network.kill(transports[victim])
    packets = []
    living = [each for number, each in enumerate(transports) if number != victim]
    for identity, each in zip(small.identities(nodes), transports, strict=True):
        if each is not transports[victim]:
            packets.append(small.packet_of(identity, f"q{len(packets)}"))
            await each.publish(packets[-1], small.SCHEME.routing_keys(small.NEAR))
    await network.advance(60.0)
    return small.recall(living, packets)


def pairs(asked: Asked) -> dict[str, Any]:
    """By the number of sites: pairs with a delivery, hops, and datagrams beside broadcast's."""
    found = []
    for nodes in (10, 100, 1_000, 10_000)[: asked.of(2, 3, 4)]:
        everybody = nodes <= 1_000
        words = ["--nodes", str(nodes), "--json", "--lookups", "200"]
        words += ["--publications", str(nodes if everybody else 200)]
        words += [] if everybody else ["--audience"]
        if 100 <= nodes <= 1_000:
            words += ["--joins", "placed"]
        given = routing.parser().parse_args(words)
        network, rng, _ = routing.settled(given, 0)
        network.reset()
        publishers = routing.publish(network, given, rng)
        network.run(routing.JUDGED_S)
        report = network.report()
        taken = [len(each.delivered) for each in network.publications.values()]
        found.append(
            {
                "nodes": nodes,
                "publications": len(publishers),
                "recall": report.recall,
                "pairs_reached": report.pairs_reached,
                "pairs_possible": report.pairs_possible,
                "hops_p50": report.hops_p50,
                "hops_p99": report.hops_p99,
                "receivers": statistics.fmean(taken),
                "packets_sent_on": statistics.fmean(
                    len(each.copies) for each in network.publications.values()
                ),
                "datagrams": report.datagrams / len(publishers),
                "broadcast": nodes - 1,
                "broker": 1 + statistics.fmean(taken),
            }
        )
        asked.said(f"{nodes} sites: {report.pairs_reached} pairs of {report.pairs_possible}")
    return {"by_number": found}


def continuous(asked: Asked) -> dict[str, Any]:
    """Seconds from publishing an outcome to changed answers at all others; UDP on loopback."""
    waited = asyncio.run(_waited(asked.of(3, 20, 100)))
    asked.said(f"a new outcome counts elsewhere after {statistics.median(waited):.3f} s")
    return {
        "sites": 4,
        "outcomes": len(waited),
        "median_s": statistics.median(waited),
        "worst_s": max(waited),
        "mean_wait_for_a_weekly_round_s": 7 * 86_400 / 2,
        "mean_wait_for_an_hourly_round_s": 3_600 / 2,
    }


async def _waited(count: int) -> list[float]:
    keys = small.identities(4)
    roster = qis.Roster(tuple(qis.Site.of(f"site {n}", k.issuer) for n, k in enumerate(keys)))
    study = qis.Study(question="a vs b | death", measure="OR", model="fixed")
    interest = small.SCHEME.interest(small.NEAR, studies=[study.id])
    waited: list[float] = []
    async with asyncio.timeout(600), contextlib.AsyncExitStack() as stack:
        transports: list[qis.UDPTransport] = []
        for key in keys:
            known = [transports[0].address] if transports else []
            transport = qis.UDPTransport(key, roster=roster, bootstrap=known)
            transports.append(await stack.enter_async_context(transport))
        while min(each.peers for each in transports) < len(keys) - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        loops = [
            await stack.enter_async_context(
                qis.SynthesisLoop(
                    key,
                    transport,
                    small.SCHEME,
                    interest=interest,
                    store=qis.MemoryStore(roster=roster),
                    disclosure=qis.Disclosure.preset("none"),
                )
            )
            for key, transport in zip(keys, transports, strict=True)
        ]
        followers = [asyncio.create_task(_follow(loop)) for loop in loops]
        for number in range(count):
            publisher = loops[number % len(loops)]
            begun = time.monotonic()
            packet = await publisher.publish(
                qis.Effect(
                    study=study, measure="OR", estimate=0.01 * number, standard_error=0.2, n=200
                ),
                about=small.NEAR,
            )
            others = [loop for loop in loops if loop is not publisher]
            while not all(_counts(loop, study, packet) for loop in others):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            waited.append(time.monotonic() - begun)
        for follower in followers:
            follower.cancel()
    return waited


async def _follow(loop: qis.SynthesisLoop) -> None:
    async for _ in loop:
        pass


def _counts(loop: qis.SynthesisLoop, study: qis.Study, packet: qis.Packet) -> bool:
    """Whether a site's answer rests on this packet."""
    latest = loop.latest(study)
    return latest is not None and any(packet in site.packets for site in latest.sites)

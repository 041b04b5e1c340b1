"""A bridge between a NATS server and a folder, or UDP: both ways, and through an outage."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import nats
import pytest

import qis
from qis.testing import NATSServer
from qis.transport import bridge as bridge_module
from qis.transport.bridge import bridge
from qis.transport.nats import NATSTransport
from tests._builders import until

SECRET = bytes(range(32))
SCHEME = qis.VectorScheme(dimensions=4)
ABOUT = [1.0, 0.5, -0.2, 0.1]
INTEREST = SCHEME.interest(ABOUT)
SITES = [qis.Identity.from_seed(bytes([number]) * 32) for number in range(1, 5)]
HERE, THERE, END, OTHER_END = SITES
WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(bridge_module, "CONFIRM_S", 0.01)


def on_server(server, identity, domain):
    return NATSTransport(
        server.url, identity, roster=qis.Roster.open(), secret=SECRET, domain=domain
    )


@asynccontextmanager
async def in_folder(tmp_path):
    """A site and the bridge's end on a folder."""
    made = [qis.DirectoryTransport(tmp_path / "shared", each, poll_s=0.01) for each in (HERE, END)]
    async with made[0], made[1]:
        yield made


@asynccontextmanager
async def over_udp(_):
    """A site and the bridge's end, which call each other."""
    roster = qis.Roster.open()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(qis.UDPTransport(HERE, roster=roster))
        second = qis.UDPTransport(END, roster=roster, bootstrap=[first.address])
        yield [first, await stack.enter_async_context(second)]


def loop_on(identity, transport):
    return qis.SynthesisLoop(
        identity,
        transport,
        SCHEME,
        interest=INTEREST,
        disclosure=qis.Disclosure.preset("none"),
        interest_people=0,
        model="fixed",
    )


async def publish(loop, question):
    outcome = qis.Effect(question=question, measure="OR", estimate=-0.3, standard_error=0.1)
    return await loop.publish(outcome, about=ABOUT)


def has(loop, packet):
    return lambda: packet in loop.store


@pytest.mark.parametrize("network", [in_folder, over_udp])
def test_two_sites_hear_each_other_through_a_bridge_even_if_the_server_was_away(
    network, tmp_path, faults, request
):
    faults.allow("nats.")
    domain = request.node.callspec.id

    async def scenario(server):
        client = await nats.connect(server.url)
        subjects = [f"{domain}.>"]
        await client.jetstream().add_stream(name=domain, subjects=subjects, max_msgs_per_subject=1)
        await client.close()
        async with asyncio.timeout(WITHIN_S), AsyncExitStack() as stack:
            site, end = await stack.enter_async_context(network(tmp_path))
            far = on_server(server, THERE, domain)
            other_end = await stack.enter_async_context(on_server(server, OTHER_END, domain))
            here = await stack.enter_async_context(loop_on(HERE, site))
            there = await stack.enter_async_context(loop_on(THERE, far))
            made = await stack.enter_async_context(
                bridge(end, other_end, roster=qis.Roster.open(), interests=[INTEREST])
            )
            first = await publish(here, "to the server"), await publish(there, "from the server")
            await until(has(there, first[0]))
            await until(has(here, first[1]))
            server.kill()
            await until(lambda: other_end.health.reasons and far.health.reasons)
            second = await publish(here, "meanwhile, to"), await publish(there, "meanwhile, from")
            server.start()
            await until(has(there, second[0]))
            await until(has(here, second[1]))
            assert made.carried == [2, 2]
            assert await here.flush(20.0)
            assert await there.flush(20.0)

    with NATSServer(tmp_path) as own:
        asyncio.run(scenario(own))

"""The doctor in a network: who answers, and who does not and why (benchmarks/doctor.py: all)."""

import asyncio
import socket
import time

import pytest

import qis
from benchmarks import _doctor_network as networks
from benchmarks._doctor_cases import HEALTHY, changed, make
from qis.refusals import RefusalCode
from qis.site import examine_network
from qis.transport._peer_names import parse_peer
from qis.transport.calling import call

KEYS = {number: qis.Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3)}
ROSTER = qis.Roster(tuple(qis.Site.of(str(n), key.issuer) for n, key in KEYS.items()))
WITHIN_S = 0.4


def calling(*peers, **options):
    return call(KEYS[1], [parse_peer(each) for each in peers], within_s=WITHIN_S, **options)


def test_a_call_tells_who_answers_who_is_down_and_who_is_silent():
    async def scenario():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            async with qis.UDPTransport(KEYS[2], roster=ROSTER) as node:
                address = node.address.partition("@")[2]
                return await calling(
                    node.address,
                    f"{KEYS[3].issuer}@{address}",
                    f"{KEYS[3].issuer}@127.0.0.1:{networks.free_port()}",
                    f"{KEYS[3].issuer}@127.0.0.1:{deaf.getsockname()[1]}",
                    others=[key.issuer for key in KEYS.values()],
                )

    there, other, down, silent = asyncio.run(scenario())
    assert there.answered_by == KEYS[2].issuer.key
    assert abs(there.clock_ahead_s) < 60
    assert other.answered_by == KEYS[2].issuer.key  # not the key that was expected
    assert (down.answered_by, down.is_closed) == (None, True)
    assert (silent.answered_by, silent.is_closed) == (None, False)


def test_a_call_tells_whose_clock_differs_and_who_refuses():
    async def scenario():
        alone = qis.Roster((qis.Site.of("2", KEYS[2].issuer),))
        async with (
            qis.UDPTransport(KEYS[2], roster=alone) as strict,
            qis.UDPTransport(KEYS[3], roster=ROSTER) as node,
        ):
            return await calling(
                strict.address, node.address, clock=lambda: time.time() + 2 * 86_400
            )

    refused, differs = asyncio.run(scenario())
    assert refused.refused == RefusalCode.ROSTER
    assert differs.clock_ahead_s == pytest.approx(-2 * 86_400, abs=60)


@pytest.mark.parametrize(
    "name", ["a peer that is on no roster here", "a broker that refuses permission"]
)
def test_faults_of_a_network_are_named(tmp_path, name, faults):
    faults.allow("nats.")
    code, around = networks.FAULTS[name]
    assert code in asyncio.run(networks.wrong(tmp_path, around))


def test_a_healthy_network_raises_no_alarm(tmp_path):
    assert asyncio.run(networks.wrong(tmp_path, networks.HEALTHY["a network on UDP"])) == set()


def test_a_site_that_is_open_is_not_disturbed(tmp_path):
    make(tmp_path)

    async def scenario():
        async with networks.network(tmp_path):
            with changed(tmp_path, HEALTHY["open in another process"]):
                return await examine_network(tmp_path / "site.toml")

    (said,) = asyncio.run(scenario())
    assert (said.code, said.is_wrong) == ("network", False)
    assert "a process has this site open" in said.text


def test_a_folder_has_no_network(tmp_path):
    make(tmp_path)
    assert asyncio.run(examine_network(tmp_path / "site.toml")) == ()

"""Where a node lies in a keyed network is nobody's choice who makes keys."""

import asyncio

import pytest

import qis
from qis.evidence import RosterFile
from qis.overlay.ids import node_id
from tests._builders import signed

NOW = 1_800_000_000
KEYS = [qis.Identity.from_seed(bytes([70 + n]) * 32) for n in range(5)]
SCHEME = qis.VectorScheme(dimensions=2)
ABOUT = [1.0, 0.5]


def roster_of(count, *, salts=True):
    return qis.Roster(
        tuple(
            qis.Site(
                name=f"site {n}",
                keys=(
                    qis.SiteKey(issuer=key.issuer, node_salt=bytes([n + 1]) * 8 if salts else b""),
                ),
            )
            for n, key in enumerate(KEYS[:count])
        ),
        is_keyed=True,
    )


def test_a_network_whose_roster_has_them_delivers_and_lies_elsewhere():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW, overlay=True, seed=1)
        transports = [qis.MemoryTransport(network, key, roster=roster_of(4)) for key in KEYS[:4]]
        await network.settle()
        async with transports[3].subscribe(SCHEME.interest(ABOUT)) as deliveries:
            await network.settle()
            outcome = qis.Counts(question="q", events=30, total=200)
            packet = signed(KEYS[0], outcome, scheme=SCHEME, about=ABOUT, at=NOW)
            await transports[0].publish(packet, SCHEME.routing_keys(ABOUT))
            await network.settle()
            assert (await anext(deliveries)).packet == packet
        for transport, key in zip(transports, KEYS, strict=False):
            node = transport._carrier.node
            salt = roster_of(4).node_salt(key.issuer.key)
            assert node.contact.id == node_id(key.issuer.key, salt) != node_id(key.issuer.key)
            assert len(node.table) == 3
        before = [transport._carrier.node.contact.id for transport in transports]
        for transport in transports:
            transport.believe(roster_of(5))
        assert [transport._carrier.node.contact.id for transport in transports] == before

    asyncio.run(scenario())


def test_they_are_in_the_file_and_in_the_digest(tmp_path):
    path = tmp_path / "roster.toml"
    lines = ["keyed = true"]
    for n, key in enumerate(KEYS[:2]):
        salt = (bytes([n + 1]) * 8).hex()
        lines += ["[[site]]", f'name = "site {n}"', "[[site.key]]"]
        lines += [f'issuer = "{key.issuer}"', f'node_salt = "{salt}"']
    path.write_text("\n".join(lines))
    roster = RosterFile(path, memory=False).roster
    assert roster == roster_of(2)
    assert roster.digest == roster_of(2).digest != roster_of(2, salts=False).digest
    assert roster.node_salt(KEYS[0].issuer.key) == b"\x01" * 8
    assert roster.node_salt(KEYS[4].issuer.key) == b""


@pytest.mark.parametrize("salt", [b"short", "5d0f9c3a7be21846", bytes(9), None])
def test_what_is_not_8_bytes_is_refused(salt):
    with pytest.raises(qis.errors.InputError, match="node_salt"):
        qis.SiteKey(issuer=KEYS[0].issuer, node_salt=salt)

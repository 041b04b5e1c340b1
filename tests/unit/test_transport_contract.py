"""Every transport keeps the contract, and each way to be refused has its name and is counted."""

import ast
import asyncio
import dataclasses
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import qis
from qis.testing import check_transport
from qis.transport.base import Statistics
from qis.transport.reception import Reception, Verdict

NOW = 1_800_000_000
SCHEME, OTHER_SCHEME = qis.VectorScheme(dimensions=4), qis.VectorScheme(dimensions=5)
NEAR = [1.0, 0.5, -0.2, 0.1]


@asynccontextmanager
async def memory(identities):
    network = qis.MemoryNetwork(seed=1, duplicate=0.3, reorder=0.3)
    yield [qis.MemoryTransport(network, identity) for identity in identities]


@asynccontextmanager
async def overlaid_memory(identities):
    network = qis.MemoryNetwork(seed=2, overlay=True, loss=0.05, duplicate=0.3, reorder=0.3)
    yield [qis.MemoryTransport(network, identity) for identity in identities]


@asynccontextmanager
async def udp(identities):
    roster = qis.Roster.open()
    async with qis.UDPTransport(identities[0], roster=roster) as first:
        others = [
            qis.UDPTransport(identity, roster=roster, bootstrap=[first.address])
            for identity in identities[1:]
        ]
        async with others[0], others[1]:
            yield [first, *others]


@pytest.mark.parametrize("network", [memory, overlaid_memory, udp])
def test_our_transports_keep_the_contract(network, faults):
    faults.allow("reception.", "overlay.")
    asyncio.run(check_transport(network))


class Repeating(qis.MemoryTransport):
    """Delivers everything twice."""

    def subscribe(self, interest):
        return self._twice(interest)

    @asynccontextmanager
    async def _twice(self, interest):
        async with super().subscribe(interest) as deliveries:

            async def doubled():
                async for delivery in deliveries:
                    yield delivery
                    yield delivery

            yield doubled()


class Leaking(qis.MemoryTransport):
    """Delivers whatever comes, wanted or not."""

    def subscribe(self, interest):
        wide = dataclasses.replace(interest, min_similarity=0.0)
        everything = dataclasses.replace(wide, relevance=lambda fingerprint: 1.0)
        return super().subscribe(
            dataclasses.replace(everything, routing_keys=_all_keys(interest.routing_keys))
        )


def _all_keys(own):
    far = SCHEME.routing_keys([-1.0, -0.5, 0.2, -0.1])
    return (*own[:24], *far[:16])


@pytest.mark.parametrize(("broken", "words"), [(Repeating, "once"), (Leaking, "nothing")])
def test_the_suite_finds_a_broken_transport(broken, words):
    @asynccontextmanager
    async def network(identities):
        shared = qis.MemoryNetwork()
        yield [broken(shared, identity) for identity in identities]

    with pytest.raises(AssertionError, match=words):
        asyncio.run(check_transport(network))


def signed(number=1, scheme=SCHEME, features=NEAR, **changes):
    identity = qis.Identity.from_seed(bytes([number]) * 32)
    keys = scheme.routing_keys(features)
    arguments = {"issued_at": NOW, "lifetime_s": 3600, "routing_keys": keys, **changes}
    effect = qis.Effect(question="a vs b", measure="OR", estimate=-0.3, standard_error=0.1)
    packet = qis.Packet.sign(
        identity, outcome=effect, fingerprint=scheme.fingerprint(features), **arguments
    )
    return bytes(packet), (*keys, effect.study_id)


def tampered(offset):
    raw, keys = signed()
    changed = bytearray(raw)
    changed[offset] ^= 1
    return bytes(changed), keys


ROSTER = qis.Roster((qis.Site.of("one", qis.Identity.from_seed(bytes([1]) * 32).issuer),))
REFUSALS = {
    "signature": (tampered(500), "SignatureError"),
    "content": (tampered(200), "SignatureError"),
    "issuer": (tampered(20), "UntrustedIssuerError"),
    "constant bytes": (tampered(0), "MalformedPacketError"),
    "too short": ((signed()[0][:-1], signed()[1]), "PacketSizeError"),
    "too long": ((signed()[0] + b"\0", signed()[1]), "PacketSizeError"),
    "expired": (signed(issued_at=NOW - 3600), "ExpiredError"),
    "from the future": (signed(issued_at=NOW + 301), "NotYetValidError"),
    "not on the roster": (signed(2), "UntrustedIssuerError"),
    "other keys": ((signed()[0], SCHEME.routing_keys([0.0, 0.0, 1.0, 0.0])), "RoutingKeysError"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_each_refusal_has_its_class_is_counted_and_delivers_nothing(name):
    (data, keys), error = REFUSALS[name]
    statistics = Statistics()
    reception = Reception(ROSTER, statistics)
    with reception.inbox(SCHEME.interest(NEAR), now=NOW):
        assert reception.receive(data, keys, hops=1, now=NOW) in {Verdict.REFUSED, Verdict.EARLY}
        assert statistics.refused == {error: 1}
        assert statistics.delivered == 0
        # What was refused leaves no trace that could shut out the genuine packet.
        genuine, its_keys = signed()
        assert reception.receive(genuine, its_keys, hops=1, now=NOW) is Verdict.ACCEPTED
        assert statistics.delivered == 1


@pytest.mark.parametrize("tells", ["nothing", "hold", "own"])
def test_what_this_node_has_published_does_not_come_back(tells):
    """However an adapter says what is its own: it needs no check besides the gate's."""
    data, keys = signed()
    packet = qis.Packet.parse(data)
    own = {packet.id} if tells == "own" else ()
    reception = Reception(ROSTER, Statistics(), own=own)
    if tells == "hold":
        reception.hold(packet, keys)
    done = []
    with reception.inbox(SCHEME.interest(NEAR), now=NOW):
        verdict = reception.receive(data, keys, hops=1, now=NOW, done=lambda: done.append(1))
    is_own = tells != "nothing"
    assert reception.is_own(packet.id) is is_own
    assert verdict is (Verdict.DUPLICATE if is_own else Verdict.ACCEPTED)
    assert bool(done) is is_own  # a network that waits for an acknowledgement gets it


def test_all_transports_stand_on_one_gate():
    """Deliveries and inboxes are made in one module, and no transport verifies by itself."""
    gate = "qis/transport/reception.py"
    made = {"Delivery": {gate}, "Inbox": {gate}, "HeldPackets": {gate}, "matches": {gate}}
    made |= {"verify_screened": {gate}, "screen": {gate}}
    found = {name: set() for name in made}
    root = Path(qis.__file__).parent.parent
    for path in sorted((root / "qis" / "transport").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in found:
                    found[name].add(path.relative_to(root).as_posix())
    assert found == made


def test_a_foreign_scheme_is_counted_and_delivered_to_nobody():
    statistics = Statistics()
    reception = Reception(ROSTER, statistics)
    data, keys = signed(scheme=OTHER_SCHEME, features=[*NEAR, 0.3])
    with reception.inbox(SCHEME.interest(NEAR), now=NOW):
        assert reception.receive(data, keys, hops=1, now=NOW) is Verdict.ACCEPTED
    assert statistics.refused == {"SchemeMismatchError": 1}
    assert (statistics.delivered, statistics.unmatched) == (0, 1)

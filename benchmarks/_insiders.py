"""What a member of the roster may try, against each claim of docs/direct.md and docs/overlay.md.

Each case tries one attack on the real parts in virtual time, and says whether the claim held. It is
tried once more with the check off that stands against it: an attack that then finds nothing has
tried nothing.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest import mock

import _small_networks as small

import qis
from qis._guard import Guard
from qis._seldom import Bucket, Seldom
from qis.about import Fingerprint
from qis.channel import Channels
from qis.channel.replay_window import ReplayWindow
from qis.direct.catching_up import CatchingUp
from qis.direct.frames import PacketFrame, Summary, datagrams_of, encode
from qis.direct.store import PacketStore
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import messages_of
from qis.overlay.ids import node_id, rendezvous_id
from qis.overlay.message_store import MessageStore
from qis.overlay.messages import Deliver, Publish, decode
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.record import NodeAdmission
from qis.overlay.rendezvous import RendezvousNode
from qis.overlay.shares import Shares
from qis.overlay.subscription import Subscription, all_under
from qis.overlay.subscription_table import LIFETIME_S, SubscriptionTable
from qis.overlay.turn_queue import TurnQueue
from qis.relay import Relays
from qis.relay.callability import Callability
from qis.relay.frames import Call, Forward, encode as encode_relay
from qis.simulation import letters, seals

NOW = 1_000.0
KEYS = small.identities(5)
AT = [pack_address(f"10.0.0.{number}", 4_000) for number in range(1, 6)]
HOT = b"hot key!"


def member(transport: qis.MemoryTransport) -> Any:
    """The node of a transport in direct mode."""
    return transport._carrier.node  # type: ignore[attr-defined]  # noqa: SLF001  an attack's view


async def three() -> tuple[small.SmallNetwork, list[qis.MemoryTransport]]:
    """Three members in direct mode: the target, an honest one, and the insider."""
    network = small.SmallNetwork(seed=4)
    return network, await small.opened(network, 3)


# --- direct mode ----------------------------------------------------------------------------------


def a_flood_takes_no_more_than_its_share() -> bool:
    """One member publishes ten times its quota: no other's packet goes, and memory is bounded."""

    async def run() -> bool:
        network, (target, honest, insider) = await three()
        member(target).node.store.share_among(3)
        packet = small.packet_of(KEYS[1], "honest")
        await honest.publish(packet, small.SCHEME.routing_keys(small.NEAR))
        for number in range(100):
            flood = small.packet_of(KEYS[2], f"flood {number}")
            await insider.publish(flood, small.SCHEME.routing_keys(small.NEAR))
        await network.advance(30.0)
        kept = small.kept(target)
        return packet.id in kept and len(kept) <= 30

    with mock.patch("qis.direct.store.RETAINED_LIMIT", 30):
        return asyncio.run(run())


def nothing_made_up_is_kept() -> bool:
    """A member sends packets in another's name, whose signatures are wrong."""

    async def run() -> bool:
        network, (target, _, _) = await three()
        data = bytearray(bytes(small.packet_of(KEYS[1], "made up")))
        data[-1] ^= 1
        for datagram in datagrams_of([encode(PacketFrame(1, bytes(data)), 1)]):
            member(target).receive_datagrams([(datagram, AT[2], KEYS[2].issuer.key)], network.now)
        return not small.kept(target)

    return asyncio.run(run())


def a_dropper_keeps_nothing_from_newcomers() -> bool:
    """A member acknowledges, drops, and is the first whom a newcomer asks."""

    async def run() -> bool:
        network = small.SmallNetwork(seed=6)
        transports = await small.opened(network, 5)
        roster = member(transports[1])._reception.roster  # noqa: SLF001
        await transports[4].aclose()
        packet = small.packet_of(KEYS[0], "wanted")
        await transports[0].publish(packet, small.SCHEME.routing_keys(small.NEAR))
        await network.advance(30.0)
        store = member(transports[1]).node.store
        store.withdraw(packet.id)
        network.kill(transports[0])
        peer = transports[1]._carrier.peer  # type: ignore[attr-defined]  # noqa: SLF001
        with mock.patch.object(network, "_entries", return_value=[peer]):
            newcomer = qis.MemoryTransport(network, KEYS[4], roster=roster)
        with mock.patch.object(store, "put", return_value=True):
            await network.advance(60.0)
        return packet.id in small.kept(newcomer)

    return asyncio.run(run())


def nothing_counts_twice_that_is_sent_again() -> bool:
    """What a channel has opened once it does not open again."""
    a, b = (
        Channels(KEYS[n], accepts=lambda _: True, rng=random.Random(n), secret=bytes(32))
        for n in (0, 1)
    )
    a.send(b"qi once", AT[1], KEYS[1].issuer.key, NOW)
    got, last = 0, b""
    for _ in range(4):
        for data, _ in a.datagrams():
            got, last = got + len(b.receive(data, AT[0], NOW)), data
        for data, _ in b.datagrams():
            a.receive(data, AT[1], NOW)
    return got == 1 and not b.receive(last, AT[0], NOW)


def comparing_costs_a_bounded_number_of_bytes() -> bool:
    """A member asks again and again to compare sets, each time as if it held nothing."""

    async def run() -> bool:
        network, (target, honest, _) = await three()
        for number in range(8):
            packet = small.packet_of(KEYS[1], f"q{number}")
            await honest.publish(packet, small.SCHEME.routing_keys(small.NEAR))
        await network.advance(30.0)
        before = network.sent_bytes
        for number in range(200):
            frame = encode(Summary(number.to_bytes(8), bytes(8), bytes(8)), number + 1)
            for data in datagrams_of([frame]):
                member(target).receive_datagrams([(data, AT[2], KEYS[2].issuer.key)], network.now)
        target._carrier._flush()  # type: ignore[attr-defined]  # noqa: SLF001
        await network.advance(20.0)
        return network.sent_bytes - before < 60_000

    with mock.patch("qis.direct.catching_up.ANSWERS_AN_HOUR", 30_000.0):
        return asyncio.run(run())


class _Ways:
    """A member that reaches the others."""

    own_address = AT[0]

    def __init__(self) -> None:
        self.callability = Callability(random.Random(1))
        self.callability.was_called()

    def is_member(self, tag: bytes) -> bool:
        return any(key.issuer.key.startswith(tag) for key in KEYS)

    def paths(self) -> list[tuple[bytes, bytes]]:
        return [(key.issuer.key, at) for key, at in zip(KEYS[1:], AT[1:], strict=True)]

    def path_to(self, tag: bytes) -> tuple[bytes, bytes] | None:
        return next((path for path in self.paths() if path[0].startswith(tag)), None)

    def contacted(self) -> tuple[bytes, ...]:
        return ()

    def note_contact(self, tag: bytes) -> None:
        """Nothing to note."""

    def not_forwarded(self, tag: bytes, relay: bytes, now: float) -> None:
        """Nothing to note."""


def _relays() -> Relays:
    ways = _Ways()
    return Relays(lambda: ways, rng=random.Random(1), refused=Counter(), guard=Guard())


def forwarding_is_bounded() -> bool:
    """A member has more forwarded than an hour allows; and nothing grows on the way."""
    relays, sent, got = _relays(), 0, 0
    frame = encode_relay(Forward(KEYS[2].issuer.key[:8], bytes([4]) * 1_000))
    with mock.patch("qis.relay.relays.BYTES_AN_HOUR", 100_000.0):
        for _ in range(200):
            relays.receive(frame, AT[1], KEYS[1].issuer.key, NOW)
            sent += len(frame)
            said = relays.datagrams()
            got += sum(len(data) for data, _, key in said if key == KEYS[2].issuer.key)
    return got <= min(sent, 102_000)


def nobody_is_called_often_on_behalf_of_another() -> bool:
    """A member names a victim's address as another's, again and again."""
    relays, calls = _relays(), 0
    for number in range(100):
        call = Call(number.to_bytes(8), pack_address("203.0.113.9", 53), KEYS[2].issuer.key)
        relays.receive(encode_relay(call), AT[1], KEYS[1].issuer.key, NOW + number / 10.0)
        calls += len(relays.datagrams())
    return calls == 1


# --- keyed mode -----------------------------------------------------------------------------------


def _holder(subscribers: int) -> OverlayNode:
    made = Settings(
        credentials=seals.credentials(b"holder".ljust(32)),
        address=AT[0],
        inspect=letters.carried,
        receive=lambda arrivals, _: [True] * len(arrivals),
        accepts=lambda _: True,
    )
    node = OverlayNode(made, rng=random.Random(0), secret=bytes(32), now=NOW)
    for number in range(1, subscribers + 1):
        credentials = seals.credentials(number.to_bytes(32))
        record = credentials.record(pack_address(f"10.1.0.{number}", 4_000), 1).encode()
        signed = Subscription.signed(
            credentials, record=record, sequence=1, lifetime_s=LIFETIME_S, wanted=all_under((HOT,))
        )
        node.rendezvous.subscription_table.put(signed, 1, NOW)
    return node


def _publish(issuer: bytes, number: int, attempt: int = 0) -> Publish:
    return Publish(
        request=bytes(8),
        token=bytes(16),
        attempt=attempt,
        hops=1,
        key_bits=1,
        keys=(HOT,),
        packet=letters.write(issuer, number, Fingerprint(bytes(32), b"a scheme"), b""),
    )


def _delivered(node: OverlayNode) -> Iterator[bytes]:
    for data, _, _ in node.datagrams():
        for message in map(decode, messages_of(data) or ()):
            if isinstance(message, Deliver):
                yield message.packet


def a_third_party_multiplies_nothing() -> bool:
    """A member sends another's packet under 200 numbers of repetition."""
    node, sent = _holder(2), 0
    for attempt in range(200):
        node.rendezvous.publish(_publish(b"i" * 32, 1, attempt), NOW, asked_by=b"o" * 32)
        sent += len(list(_delivered(node)))
    return sent <= 2


def ids_ground_before_enrolment_hold_no_key() -> bool:
    """Somebody makes keys until three lie next to a study's key, and has them enrolled."""
    rng, goal = random.Random(7), rendezvous_id(HOT)
    made = [rng.randbytes(32) for _ in range(6_000)]
    ground = sorted(made, key=lambda key: node_id(key) ^ goal)[:3]
    others = [rng.randbytes(32) for _ in range(21)]
    drawn = {key: rng.randbytes(8) for key in (*ground, *others)}
    entries = [qis.SiteKey(issuer=qis.Issuer(key), node_salt=drawn[key]) for key in drawn]
    sites = (qis.Site(name=str(entry.issuer)[:16], keys=(entry,)) for entry in entries)
    roster = qis.Roster(tuple(sites), is_keyed=True)
    admission = NodeAdmission(lambda *_: True, roster.accepts, roster.node_salt)
    holders = sorted(drawn, key=lambda key: admission.id_of(key) ^ goal)[:3]
    return len(set(holders) & set(ground)) < 2


def a_publisher_cannot_tell_who_subscribes() -> bool:
    """A member publishes, and compares what holders with other subscribers answer."""
    answers = set()
    for subscribers in (1, 2, 30):
        answer = _holder(subscribers).rendezvous.publish(_publish(b"i" * 32, 1), NOW)
        answers.add(b"" if answer is None else answer.encode())
    return len(answers) == 1


def a_flood_under_a_key_holds_up_nobody_else() -> bool:
    """A member publishes hundreds of packets under a key, and then another one."""
    node = _holder(1)
    with mock.patch("qis.overlay.send_window.LINE_WINDOW", 8):
        for number in range(300):
            node.rendezvous.publish(_publish(b"f" * 32, number), NOW)
        node.rendezvous.publish(_publish(b"h" * 32, 1), NOW)
        flow = next(iter(node.rendezvous.send_window._flows.values()))  # noqa: SLF001
        waiting = flow.waiting
        for place in range(len(waiting)):
            if waiting.take().carried.issuer == b"h" * 32:
                return place < 2
    return False


def a_flood_displaces_nobody_s_packets() -> bool:
    """A member fills a holder's store with its own."""
    store = MessageStore(limit=50)
    honest = letters.carried(_publish(b"h" * 32, 1).packet, (HOT,), NOW)
    store.put(honest, (HOT,), NOW)
    for number in range(500):
        flood = letters.carried(_publish(b"f" * 32, number).packet, (HOT,), NOW)
        store.put(flood, (HOT,), NOW)
    return any(each.issuer == b"h" * 32 for each in store.under(HOT, NOW))


def an_older_subscription_brings_nothing_back() -> bool:
    """A member sends again what another had subscribed to, and has withdrawn."""
    node = _holder(0)
    credentials = seals.credentials(b"s" * 32)
    record = credentials.record(AT[1], 1).encode()

    def signed(sequence: int, lifetime_s: int) -> Subscription:
        return Subscription.signed(
            credentials,
            record=record,
            sequence=sequence,
            lifetime_s=lifetime_s,
            wanted=all_under((HOT,)),
        )

    table = node.rendezvous.subscription_table
    table.put(signed(1, LIFETIME_S), 1, NOW)
    table.put(signed(2, 0), 1, NOW)
    table.put(signed(1, LIFETIME_S), 1, NOW)
    return not table.under(HOT, NOW)


_PUBLISH, _PUT, _ADD, _REMOVE = RendezvousNode.publish, TurnQueue.put, Shares.add, Shares.remove


def _patches(*patches: tuple[object, str, object]) -> AbstractContextManager[object]:
    stack = ExitStack()
    for owner, name, value in patches:
        stack.enter_context(mock.patch.object(owner, name, value))
    return stack


def _always(value: object) -> Callable[..., Any]:
    return lambda *_, **__: value


def _one_owner(genuine: Callable[..., Any]) -> Callable[..., Any]:
    return lambda own, _owner, item: genuine(own, b"", item)


CASES: dict[Callable[[], bool], Callable[[], AbstractContextManager[object]] | None] = {
    a_flood_takes_no_more_than_its_share: lambda: _patches(
        (PacketStore, "_keep_quota", _always(None))
    ),
    nothing_made_up_is_kept: lambda: mock.patch("qis.packet.packet.verify", _always(None)),
    a_dropper_keeps_nothing_from_newcomers: lambda: mock.patch(
        "qis.direct.catching_up.COMPARED_AT_FIRST", 1
    ),
    nothing_counts_twice_that_is_sent_again: lambda: _patches(
        (ReplayWindow, "has_room", _always(value=True))
    ),
    comparing_costs_a_bounded_number_of_bytes: lambda: _patches(
        (CatchingUp, "_may_answer", _always(value=True))
    ),
    forwarding_is_bounded: lambda: _patches((Relays, "_may_spend", _always(value=True))),
    nobody_is_called_often_on_behalf_of_another: lambda: _patches(
        (Seldom, "would_allow", _always(value=True)), (Bucket, "is_full", _always(value=False))
    ),
    a_third_party_multiplies_nothing: lambda: _patches(
        (RendezvousNode, "publish", lambda own, message, now, **_: _PUBLISH(own, message, now))
    ),
    ids_ground_before_enrolment_hold_no_key: lambda: _patches(
        (NodeAdmission, "id_of", lambda _, key: node_id(key))
    ),
    a_publisher_cannot_tell_who_subscribes: None,  # nothing of it is in the message any more
    a_flood_under_a_key_holds_up_nobody_else: lambda: _patches(
        (TurnQueue, "put", _one_owner(_PUT))
    ),
    a_flood_displaces_nobody_s_packets: lambda: _patches(
        (Shares, "add", _one_owner(_ADD)), (Shares, "remove", _one_owner(_REMOVE))
    ),
    an_older_subscription_brings_nothing_back: lambda: _patches(
        (SubscriptionTable, "is_stale", _always(value=False))
    ),
}
"""Each claim, and what takes away the check that stands for it."""


def figures() -> dict[str, float]:
    """How many claims there are, and hold; and how many attacks are seen to work unchecked."""
    held = {case.__name__: case() for case in CASES}
    found = {}
    for case, unchecked in CASES.items():
        if unchecked is not None:
            with unchecked():
                found[case.__name__] = not case()
    for name in (name for results in (held, found) for name, good in results.items() if not good):
        print(f"insiders: {name}: {'unchecked' if held[name] else 'does not hold'}")
    return {
        "insider_claims": len(held),
        "insider_claims_held": sum(held.values()),
        "insider_attacks_tried_unchecked": len(found),
        "insider_attacks_found_unchecked": sum(found.values()),
    }


if __name__ == "__main__":
    import json

    print(json.dumps(figures()))

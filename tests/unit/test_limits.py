"""The Limits table of docs/overlay.md: complete, equal to the code, and no silent loss in it."""

import asyncio
import logging
import random
import re
import socket
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from unittest import mock

import pytest

import qis
from qis._clock import Clock
from qis._guard import Guard
from qis.channel import Channels
from qis.direct.events import Received
from qis.health import Condition, Notices
from qis.overlay.addresses import pack_address
from qis.overlay.delivering import Delivering
from qis.overlay.handover import Handover
from qis.overlay.message_store import Carried, MessageStore
from qis.overlay.messages import Delivered, Published
from qis.overlay.rate_limiter import RateLimiter
from qis.overlay.record import Contact, Credentials
from qis.overlay.rpc import Rpc
from qis.overlay.send_window import SendWindow
from qis.overlay.subscription import Subscription
from qis.overlay.subscription_table import LIFETIME_S, SubscriptionTable
from qis.overlay.timers import Timers
from qis.testing import VirtualClock
from qis.transport._direct import DirectMember, _Offered
from qis.transport._held import HeldPackets
from qis.transport._socket import DatagramSocket
from qis.transport.base import Statistics
from qis.transport.nats.reader import Reader, _Message
from qis.transport.reception import Reception, Verdict
from tests._builders import effect, signed, site

PAGE = Path(__file__).parents[2] / "docs" / "overlay.md"
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| `(?P<constant>[\w.]+)` \| (?P<value>[\d,]+) \| (?P<full>[^|]+) "
    r"\| (?P<loser>[^|]+) \|$",
    re.MULTILINE,
)
SECTION = PAGE.read_text(encoding="utf-8").split("## Limits\n")[1].split("\n## ")[0]
ROWS = {row["constant"]: row for row in ROW.finditer(SECTION)}
LOSING = sorted(name for name, row in ROWS.items() if not row["loser"].startswith("nobody"))
SCHEME = qis.VectorScheme(dimensions=2)
ABOUT = [1.0, 0.5]
NOW = 1_800_000_000


def constant(name):
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(f"qis.{module}"), attribute)


def test_the_page_has_every_row_of_the_table():
    lines = [line for line in SECTION.splitlines() if line.startswith("| ")]
    assert len(lines) - 2 == len(ROWS) > 50


@pytest.mark.parametrize("name", ROWS)
def test_the_page_says_what_the_code_does(name):
    assert int(ROWS[name]["value"].replace(",", "")) == constant(name)


def test_every_limit_of_the_code_is_on_the_page():
    found = set()
    for package in ("overlay", "channel", "transport"):
        root = import_module(f"qis.{package}")
        for module in walk_packages(root.__path__, f"qis.{package}."):
            source = Path(import_module(module.name).__file__).read_text(encoding="utf-8")
            defined = re.findall(r"^(\w+_LIMIT)\b.*? = ", source, re.MULTILINE)
            found |= {f"{module.name.removeprefix('qis.')}.{name}" for name in defined}
    assert len(found) > 50
    assert found <= set(ROWS)


class Told:
    """A guard, and what it has told."""

    def __init__(self):
        notices = Notices(logging.getLogger("test"))
        self.heard = []
        notices.listen(self.heard.append)
        self.guard = Guard(notices)


def key(number):
    return site(number).issuer.key


def packet(number, second=0):
    return signed(number, effect(), scheme=SCHEME, about=ABOUT, at=NOW + second)


def carried(number):
    return Carried(
        id=number.to_bytes(32, "big"),
        issuer=key(number),
        expires_at=1e12,
        keys=(b"a key 00",),
        packet=bytes(512),
    )


def record(number):
    address = pack_address("127.0.0.1", 1_000 + number)
    return Credentials.of(site(number)).record(address, 1)


def subscription(number):
    return Subscription(
        record=record(number).encode(),
        sequence=1,
        lifetime_s=LIFETIME_S,
        keys=(b"a key 00",),
        is_open=1,
        signature=bytes(64),
    )


def subscribers(told):
    held = SubscriptionTable(told.guard)
    assert [held.put(subscription(number), 1, now=0.0) for number in (1, 2)] == [True, False]
    return key(2)


def message_store(told):
    kept = MessageStore(2, guard=told.guard)
    for number in (1, 2, 3):
        kept.put(carried(number), (b"a key 00",), 0.0)
    assert len(kept) == 2


def waiting(told):
    rpc = Rpc(Timers(told.guard), random.Random(0), key=key(9))
    send_window = SendWindow(rpc, key(9))
    for number in range(8):
        send_window.deliver(carried(number), record(1), 0, 0.0)
    assert send_window.dropped
    return key(1)


def undelivered(told):
    delivering = Delivering(
        lambda arrived, _: [False] * len(arrived), Timers(told.guard), Counter()
    )
    for number in range(3):
        delivering.deliver(carried(number), 1, 0.0)
    return b""


def under_way(told):
    rpc = Rpc(Timers(told.guard), random.Random(0), key=key(9))
    for _ in range(2):
        rpc.ask(
            lambda request, _: Delivered(request=request),
            record(1),
            0.0,
            expects=Delivered,
            on_answer=lambda *_: None,
            on_silence=lambda _: None,
        )
    return key(1)


def budget(told):
    rate_limiter = RateLimiter(told.guard)
    allowed = [rate_limiter.allows(bytes(18), 0.0, sender=key(1)) for _ in range(3)]
    assert allowed == [True, False, False]
    return key(1)


def handed(told):
    class Asking:
        """Keeps what follows from an answer."""

        def send(self, *_, on_answer, **__):
            self.on_answer = on_answer

    class Knowing:
        own = Contact(1, record(1))

        def contact(self, _):
            return Contact(3, record(3))

        def closest(self, _):
            return [self.own]

    send_window, timers = Asking(), Timers(told.guard)
    handover = Handover(
        lookup_driver=Knowing(),
        rpc=Rpc(timers, random.Random(0), key=key(9)),
        send_window=send_window,
        timers=timers,
        rng=random.Random(0),
        subscription_table=SubscriptionTable(),
        message_store=MessageStore(),
        salt=b"",
        holders=3,
        tell_here=lambda *_: None,
    )
    handover._hand(carried(5), Contact(2, record(2)), [b"a key 00"], {(2, b"a key 00")}, 0.0)
    send_window.on_answer(
        Published(request=bytes(8), young_bits=0, news=(record(3).encode(),)), 0.0
    )
    return key(5)


def held(told):
    store = HeldPackets(told.guard)
    for number in range(6):
        found = packet(1, number)
        store.put(found.id, (bytes(found), (), 1))
    return key(1)


def known(told):
    held(told)
    return b""


def between(told, talk):
    """Some nodes' channels on a wire; the first is told of."""
    addresses = [bytes([number]) * 18 for number in range(4)]
    nodes = [
        Channels(
            site(number),
            accepts=lambda _: True,
            rng=random.Random(number),
            secret=bytes([number]) * 32,
            guard=told.guard if not number else None,
        )
        for number in range(4)
    ]

    def carry():
        moved = True
        while moved:
            moved = False
            for number, node in enumerate(nodes):
                for data, to in node.datagrams():
                    moved = True
                    nodes[addresses.index(to)].receive(data, addresses[number], 0.0)

    talk(nodes, addresses, carry)


def unconfirmed(told):
    def talk(nodes, addresses, _carry):
        for number in (1, 2):
            nodes[number].send(b"hello", addresses[0], key(0), 0.0)
            for data, _ in nodes[number].datagrams():
                nodes[0].receive(data, addresses[number], 0.0)

    between(told, talk)
    return key(1)


def sessions(told):
    def talk(nodes, addresses, carry):
        for number in (1, 2):
            nodes[number].send(b"hello", addresses[0], key(0), 0.0)
            carry()

    between(told, talk)
    return key(1)


def calls(told):
    between(
        told,
        lambda nodes, addresses, _: [
            nodes[0].send(b"hello", addresses[number], key(number), 0.0) for number in (1, 2)
        ],
    )
    return key(2)


def calling(told):
    between(
        told,
        lambda nodes, addresses, _: [
            nodes[0].send(text, addresses[1], key(1), 0.0) for text in (b"one", b"two")
        ],
    )
    return key(1)


def network(told, *, overlay, count=3):
    async def scenario():
        net = qis.MemoryNetwork(now=NOW, overlay=overlay)
        nodes = [qis.MemoryTransport(net, site(number)) for number in range(1, 12)]
        for node in nodes:
            node.notices.listen(told.heard.append)
        await net.settle()
        async with nodes[1].subscribe(SCHEME.interest(ABOUT)):
            for number in range(count):
                await nodes[0].publish(packet(20 + number), SCHEME.routing_keys(ABOUT))
            await net.advance(5.0)

    asyncio.run(scenario())


def direct(told):
    network(told, overlay=False)
    return b""


def direct_retained(told):
    network(told, overlay=False)
    return key(20)


def overlaid(told):
    network(told, overlay=True)
    return b""


def on_socket(told, use, *, is_known=True):
    async def scenario():
        reached = asyncio.Event()
        told.guard._notices.listen(lambda _: reached.set())
        opened = DatagramSocket(
            "127.0.0.1",
            0,
            Statistics(),
            guard=told.guard,
            received=lambda _: None,
            drained=lambda: None,
            is_known=lambda _: is_known,
        )
        use(opened)
        async with asyncio.timeout(20):
            await reached.wait()
        opened.close()

    asyncio.run(scenario())


def arrived(told, **options):
    def use(opened):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(b"hello", opened.bound_to)

    on_socket(told, use, **options)
    return b""


def strangers(told):
    return arrived(told, is_known=False)


def unsent(told):
    def use(opened):
        opened._send_now = lambda *_: False  # as a system that takes none
        for _ in range(2):
            opened.send(b"hello", pack_address("127.0.0.1", 9))

    on_socket(told, use)
    return b""


def forged(told):
    """Two packets of a roster's site, dated in the future, that it has not signed."""
    clock = Clock.of(VirtualClock(now=NOW))
    roster = qis.Roster((qis.Site.of("north", site(1).issuer),))
    notices = told.guard._notices
    reception = Reception(roster, Statistics(), notices=notices, clock=clock)
    for second in range(2):
        data = bytes(packet(1, 86_400 + second))[:-64] + bytes(64)
        reception.receive(data, (), hops=1, now=NOW)
    return b""


def nats_reader(told):
    """A reader that is not connected, and a message that it has read."""
    notices, clock = told.guard._notices, Clock.of(VirtualClock(now=NOW))
    condition = Condition(notices, now=NOW)
    found = Reader(
        None,
        None,
        None,
        None,
        reception=Reception(qis.Roster.open(), Statistics(), notices=notices, clock=clock),
        statistics=Statistics(),
        notices=notices,
        condition=condition,
        guard=told.guard,
        clock=clock,
    )
    sent = packet(1, 86_400)
    for number in (1, 2):
        found._unanswered.put(number, "$JS.ACK.a")
    return found, [_Message(found._unanswered, number, bytes(sent), ()) for number in (1, 2)]


def poisoned(told):
    found, messages = nats_reader(told)
    found._settle(messages[0], Verdict.FAULT)
    return site(1).issuer.key


def future_ones(told):
    found, messages = nats_reader(told)
    for message in messages:
        found._settle(message, Verdict.EARLY)
    return site(1).issuer.key


def backlog(told):
    site = qis.Identity.from_seed(bytes(32))
    keys = tuple(SCHEME.routing_keys(ABOUT))
    packets = [
        qis.Packet.sign(
            site,
            outcome=qis.Record(question="q", cohort=f"{number}", content={"a": 1}),
            fingerprint=SCHEME.fingerprint(ABOUT),
            issued_at=int(time.time()),
            lifetime_s=86_400,
            routing_keys=keys,
        )
        for number in range(2)
    ]

    async def scenario():
        async with qis.UDPTransport(site, roster=qis.Roster.open()) as transport:
            transport.notices.listen(told.heard.append)
            for packet in packets:
                handing = asyncio.create_task(transport.publish(packet, keys))
                await asyncio.sleep(0)
            handing.cancel()

    asyncio.run(scenario())
    return b""


def offered(told):
    """What waits in direct mode for the application, and on which the node fails."""
    roster = qis.Roster(tuple(qis.Site.of(str(n), site(n).issuer) for n in (1, 2)))
    reception = Reception(roster, Statistics())
    member = DirectMember(
        site(1),
        pack_address("127.0.0.1", 1),
        reception,
        Statistics(),
        guard=told.guard,
        rng=random.Random(0),
        clock=Clock(lambda: NOW, lambda: NOW),
        now=NOW,
    )
    member._full.append(_Offered(Received(key(2), 1, bytes(packet(2)), 1)))
    member._again_at = NOW
    with mock.patch.object(reception, "receive", return_value=Verdict.FAULT):
        member.handle_timer(NOW)
    return key(2)


DRIVEN = {
    "overlay.subscription_table.SUBSCRIBERS_LIMIT": (1, subscribers),
    "overlay.message_store.RETAINED_LIMIT": (2, message_store),
    "overlay.send_window.WAITING_LIMIT": (4, waiting),
    "overlay.send_window.WAITING_FOR_ONE_LIMIT": (2, waiting),
    "overlay.delivering.UNDELIVERED_LIMIT": (1, undelivered),
    "overlay.publications.BACKLOG_LIMIT": (1, backlog),
    "overlay.publications.PUBLICATIONS_LIMIT": (1, overlaid),
    "overlay.rpc.UNDER_WAY_LIMIT": (1, under_way),
    "overlay.handover.HANDED_LIMIT": (1, handed),
    "overlay.lookup.REQUESTS_LIMIT": (1, overlaid),
    "overlay.rate_limiter.BURST": (1.0, budget),
    "channel.sessions.SESSIONS_LIMIT": (1, sessions),
    "channel.sessions.UNCONFIRMED_LIMIT": (1, unconfirmed),
    "channel.initiator.CALLS_LIMIT": (1, calls),
    "channel.initiator.WAITING_LIMIT": (1, calling),
    "transport._held.HELD_LIMIT": (4, held),
    "transport._held.KNOWN_LIMIT": (1, known),
    "transport.inbox.INBOX_LIMIT": (1, direct),
    "transport._direct.OFFERS_LIMIT": (1, offered),
    "transport._carriers.RETAIN_LIMIT": (1, direct_retained),
    "transport._socket.ARRIVED_LIMIT": (0, arrived),
    "transport._socket.STRANGERS_LIMIT": (0, strangers),
    "transport._socket.WAITING_LIMIT": (1, unsent),
    "transport.site_clocks.FORGED_RATE": (1, forged),
    "transport.nats.unanswered.TRIES": (1, poisoned),
    "transport.nats.unanswered.EARLY_LIMIT": (1, future_ones),
}


def test_every_row_where_somebody_loses_is_driven():
    assert sorted(DRIVEN) == LOSING


@pytest.mark.parametrize("name", DRIVEN)
def test_who_loses_at_a_limit_is_told(name, monkeypatch):
    small, drive = DRIVEN[name]
    monkeypatch.setattr(f"qis.{name}", small)
    if drive is waiting:
        monkeypatch.setattr("qis.overlay.send_window.WINDOW", 1)
    if drive is strangers:
        monkeypatch.setattr("qis.transport._socket.FLOOD", 0)
    if drive is known:
        monkeypatch.setattr("qis.transport._held.HELD_LIMIT", 4)
    told = Told()
    who = drive(told)
    found = [each for each in told.heard if each.kind == "limit"]
    subjects = [each.subject for each in found]
    assert subjects
    if who is None:
        assert subjects[0].startswith(f"{name}: ")
    else:
        assert f"{name}: {who.hex()}".removesuffix(": ") in subjects
    assert all(len(each.reason) > 40 for each in found)


REFUSING = (subscribers, message_store, waiting, budget, arrived, strangers, unsent)
"""These assert or await the refusal itself."""


@pytest.mark.parametrize("name", [n for n in DRIVEN if DRIVEN[n][1] not in REFUSING])
def test_nothing_is_told_below_the_limit(name):
    told = Told()
    DRIVEN[name][1](told)
    assert not [each for each in told.heard if each.kind == "limit"]


def test_the_loop_gives_the_event(monkeypatch):
    monkeypatch.setattr("qis.transport._held.HELD_LIMIT", 4)

    async def scenario():
        net, events, came = qis.MemoryNetwork(now=NOW), [], asyncio.Event()

        def listen(event):
            events.append(event)
            if event.kind == "limit":
                came.set()

        one, other = (qis.MemoryTransport(net, site(number)) for number in (1, 2))
        options = {"interest": SCHEME.interest(ABOUT), "clock": lambda: NOW + 1.0}
        async with (
            qis.SynthesisLoop(site(2), other, SCHEME, on_event=listen, **options),
            asyncio.timeout(20),
        ):
            for number in range(8):
                await one.publish(packet(30 + number), SCHEME.routing_keys(ABOUT))
            await net.settle()
            await came.wait()
        (event, *_) = [event for event in events if event.kind == "limit"]
        assert event.subject.startswith("transport._held.HELD_LIMIT: ")
        assert event.count == 1
        assert "published again" in event.reason

    asyncio.run(scenario())

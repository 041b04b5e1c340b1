"""The conformance suite passes a plain transport, and finds each way to break it."""

import asyncio
import dataclasses
import time
from contextlib import aclosing, asynccontextmanager

import pytest

import qis
from qis.testing import _transport_promises, check_transport
from qis.transport import Delivery, Statistics


class Board:
    """What has been published, and who waits for more."""

    def __init__(self):
        self.posts = []
        self.news = asyncio.Event()

    def wake(self):
        self.news.set()
        self.news = asyncio.Event()


class Reading:
    """One subscription of a `Plain`; a wait for its next delivery may be cancelled."""

    def __init__(self, owner, interest):
        self.owner, self.interest, self.is_left = owner, interest, False
        self.position, self.seen = owner.start(), set()

    def __aiter__(self):
        return self

    async def __anext__(self):
        owner = self.owner
        while owner.open and not self.is_left:
            while self.position < len(owner.board.posts):
                packet, keys = owner.board.posts[self.position]
                self.position += 1
                if packet.id in self.seen or owner.is_own(packet) or not owner.is_valid(packet):
                    continue
                if owner.wants(self.interest, packet, keys):
                    owner.note(self.seen, packet)
                    owner.counts.delivered += 1
                    return owner.delivery(packet)
            await owner.wait()
        raise StopAsyncIteration


class Plain(qis.Transport):
    """Keeps every promise; each of its steps can be broken by itself."""

    def __init__(self, board):
        self.board, self.counts, self.open = board, Statistics(), True
        self.mine = set()

    @property
    def statistics(self):
        return self.counts

    async def publish(self, packet, routing_keys):
        keys = self.checked(packet, routing_keys)
        if not self.open:
            self.refuse_closed()
        else:
            self.board.posts.append((packet, keys))
            self.mine.add(packet.id)
        self.counts.published += 1
        self.board.wake()

    def checked(self, packet, routing_keys):
        keys = {*routing_keys, packet.outcome.study_id}
        if not packet.travels_under(keys):
            raise qis.InputError("signed for other keys")
        return keys

    def refuse_closed(self):
        raise qis.TransportError("the transport is closed")

    @asynccontextmanager
    async def subscribe(self, interest, *, name="", memory=b""):
        reading = Reading(self, interest)
        try:
            yield reading
        finally:
            self.leave(reading)

    def leave(self, reading):
        reading.is_left = True
        self.board.wake()

    def delivery(self, packet):
        return Delivery(packet=packet, hops=1, received_at=time.time())

    def start(self):
        return 0

    def is_own(self, packet):
        return packet.id in self.mine

    async def wait(self):
        await self.board.news.wait()

    def is_valid(self, packet):
        try:
            qis.Packet.parse(bytes(packet), now=time.time())
        except qis.QISError:
            return False
        return True

    def wants(self, interest, packet, keys):
        return interest.matches(packet.fingerprint, packet.outcome.study_id, keys)

    def note(self, seen, packet):
        seen.add(packet.id)

    async def aclose(self):
        self.open = False
        self.board.wake()


class DiesOfAFault(Plain):
    """What its roster raises ends a subscription."""

    roster = qis.Roster.open()

    def believe(self, roster):
        self.roster = roster

    def is_valid(self, packet):
        return self.roster.accepts(packet.issuer) and super().is_valid(packet)


class HidesFaults(DiesOfAFault):
    """What its roster raises is swallowed, and nobody is told."""

    def is_valid(self, packet):
        try:
            return super().is_valid(packet)
        except Exception:  # noqa: BLE001  which is what it is here to do
            return False


class Repeats(Plain):
    def note(self, seen, packet):
        """Forget at once."""


class RemembersFew(Plain):
    def note(self, seen, packet):
        if len(seen) < 5:
            seen.add(packet.id)


class Alters(Plain):
    """Delivers what it has signed itself."""

    def delivery(self, packet):
        other = qis.Packet.sign(
            qis.Identity.generate(),
            outcome=packet.outcome,
            fingerprint=packet.fingerprint,
            issued_at=packet.issued_at,
            lifetime_s=3600,
        )
        return super().delivery(other)


class DeliversAll(Plain):
    def wants(self, interest, packet, keys):
        return True


class IgnoresSimilarity(Plain):
    def wants(self, interest, packet, keys):
        return (
            packet.outcome.study_id in interest.studies
            or interest.relevance(packet.fingerprint) > 0.0
        )


class IgnoresStudies(Plain):
    def wants(self, interest, packet, keys):
        return super().wants(interest, packet, keys) and not interest.studies


class OneInterest(Plain):
    """The last subscription decides what all get."""

    def subscribe(self, interest, *, name="", memory=b""):
        self.last = interest
        return super().subscribe(interest)

    def wants(self, interest, packet, keys):
        return super().wants(self.last, packet, keys)


class OneReader(Plain):
    """Gives what two subscriptions want to the first of them."""

    def __init__(self, board):
        super().__init__(board)
        self.all_seen = set()

    def wants(self, interest, packet, keys):
        if packet.id in self.all_seen or not super().wants(interest, packet, keys):
            return False
        self.all_seen.add(packet.id)
        return True


class Lingers(Plain):
    """Goes on delivering to who has left."""

    def leave(self, reading):
        """Leave it as it is."""


class LeavesAll(Plain):
    """Ends all subscriptions with one."""

    @asynccontextmanager
    async def subscribe(self, interest, *, name="", memory=b""):
        async with super().subscribe(interest) as deliveries:
            yield deliveries
        await self.aclose()


class Swallows(Plain):
    """Takes being cancelled for the end."""

    async def wait(self):
        try:
            await super().wait()
        except asyncio.CancelledError:
            self.open = False


class BreaksWhenCancelled(Plain):
    async def wait(self):
        try:
            await super().wait()
        except asyncio.CancelledError:
            self.open = False
            raise


class RemembersReaders(Plain):
    """Gives nothing again to a subscription that comes after one that was cancelled."""

    def __init__(self, board):
        super().__init__(board)
        self.position = 0

    def start(self):
        return self.position

    async def wait(self):
        self.position = len(self.board.posts)
        await super().wait()


class ForgetsTheEarly(Plain):
    def start(self):
        return len(self.board.posts)


class TakesAnyKeys(Plain):
    def checked(self, packet, routing_keys):
        return {*routing_keys, packet.outcome.study_id}


class TakesBytes(Plain):
    async def publish(self, packet, routing_keys):
        if isinstance(packet, qis.Packet):
            await super().publish(packet, routing_keys)


class CountsRefusals(Plain):
    async def publish(self, packet, routing_keys):
        self.counts.published += 1
        await super().publish(packet, routing_keys)
        self.counts.published -= 1


class DeliversNothing(Plain):
    def wants(self, interest, packet, keys):
        return False


class CountsNothing(Plain):
    @property
    def statistics(self):
        return Statistics()


class DeliversTheDead(Plain):
    def is_valid(self, packet):
        return True


class PublishesWhenClosed(Plain):
    def refuse_closed(self):
        """Say nothing."""


class NeverEnds(Plain):
    async def aclose(self):
        """Leave the readers waiting."""


class HoldsForItself(Plain):
    """What only the publisher has goes with it, and is called held all the same."""

    async def aclose(self):
        self.board.posts.clear()
        await super().aclose()


class NeverHeld(Plain):
    """Says of nothing that it is held, even where everybody has it."""

    def holding(self, packet_id):
        return qis.Holding(is_held=False, reason="who knows")

    async def flush(self, timeout_s):
        return False


class FlushesWhatIsNotHeld(NeverHeld):
    async def flush(self, timeout_s):
        return True


class GivesBackItsOwn(Plain):
    def is_own(self, packet):
        return False


class DiesOfACancelledWait(Plain):
    """Reads through an async generator, which a cancelled wait ends."""

    @asynccontextmanager
    async def subscribe(self, interest, *, name="", memory=b""):
        async with super().subscribe(interest) as reading, aclosing(self.each_of(reading)) as each:
            yield each

    async def each_of(self, reading):
        async for delivery in reading:
            yield delivery


class LosesInACancelledWait(Plain):
    """Takes a delivery out before it waits, and loses it when the wait is cancelled."""

    @asynccontextmanager
    async def subscribe(self, interest, *, name="", memory=b""):
        async with super().subscribe(interest) as reading:
            yield SlowReading(reading)


class SlowReading:
    def __init__(self, reading):
        self.reading = reading

    def __aiter__(self):
        return self

    async def __anext__(self):
        found = await anext(self.reading)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return found


class KnowsNoNames(Plain):
    """Calls itself durable, and begins anew each time."""

    is_durable = True


class Durable(Plain):
    """Keeps for each name, store and interest what was done."""

    is_durable = True

    def __init__(self, board):
        super().__init__(board)
        self.progress, self.reading_as = {}, set()

    @asynccontextmanager
    async def subscribe(self, interest, *, name="", memory=b""):
        if name and name in self.reading_as:
            raise qis.TransportError("somebody reads under this name")
        self.reading_as.add(name)
        done = self.progress.setdefault(self.place(name, memory), set()) if name else set()
        try:
            async with super().subscribe(interest) as reading:
                reading.seen |= done
                yield Doing(reading, done)
        finally:
            self.reading_as.discard(name)

    def place(self, name, memory):
        return (name, memory)


class Doing:
    """Notes what is done."""

    def __init__(self, reading, done):
        self.reading, self.done = reading, done

    def __aiter__(self):
        return self

    async def __anext__(self):
        found = await anext(self.reading)
        return dataclasses.replace(found, on_done=lambda: self.note(found.packet))

    def note(self, packet):
        self.done.add(packet.id)


class IgnoresTheStore(Durable):
    """Goes on where it was, although the store is another."""

    def place(self, name, memory):
        return name


class TwoOfAName(Durable):
    """Lets two read under one name, each of which then misses what the other gets."""

    @asynccontextmanager
    async def subscribe(self, interest, *, name="", memory=b""):
        self.reading_as.clear()
        async with super().subscribe(interest, name=name, memory=memory) as deliveries:
            yield deliveries


BROKEN = {
    HoldsForItself: "when its publisher is gone",
    NeverHeld: "is held",
    FlushesWhatIsNotHeld: "flush is true",
    Repeats: "once",
    RemembersFew: "once",
    Alters: "once|nothing",
    DeliversAll: "nothing",
    IgnoresSimilarity: "nothing",
    IgnoresStudies: "study's packets",
    OneInterest: "its own interest",
    OneReader: "its own interest",
    Lingers: "left",
    LeavesAll: "leaves the others",
    Swallows: "cancelled",
    BreaksWhenCancelled: "cancelled",
    RemembersReaders: "cancelled reader",
    ForgetsTheEarly: ".",
    TakesAnyKeys: "signed",
    TakesBytes: "nothing but a packet",
    CountsRefusals: "counted",
    CountsNothing: "counted",
    DeliversNothing: "broken promise: What matches an interest is delivered, .* does not come",
    DeliversTheDead: "expired",
    PublishesWhenClosed: "closed",
    DiesOfAFault: "keeps no other back",
    HidesFaults: "is told",
    NeverEnds: "Closing ends the subscriptions",
    GivesBackItsOwn: "itself",
    DiesOfACancelledWait: "cancelled",
    LosesInACancelledWait: "cancelled",
    KnowsNoNames: "of one name",
    IgnoresTheStore: "durable name",
    TwoOfAName: "of one name",
}
"""What the suite has to say."""


def network_of(transport):
    @asynccontextmanager
    async def network(identities):
        board = Board()
        yield [transport(board) for _ in identities]

    return network


@pytest.mark.parametrize("transport", [Plain, Durable])
def test_the_plain_transports_keep_every_promise(transport):
    asyncio.run(check_transport(network_of(transport)))


@pytest.mark.parametrize("broken", BROKEN)
def test_the_suite_finds_what_is_broken(broken, monkeypatch):
    monkeypatch.setattr(_transport_promises, "WITHIN_S", 0.2)
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        asyncio.run(check_transport(network_of(broken)))


def test_each_promise_is_broken_by_somebody(monkeypatch):
    """No check is there in vain."""
    monkeypatch.setattr(_transport_promises, "WITHIN_S", 0.2)
    finders = set()
    for broken in BROKEN:
        for check in _transport_promises.PROMISES:
            try:
                asyncio.run(run_alone(check, broken))
            except (AssertionError, TimeoutError, StopAsyncIteration):
                finders.add(check)
    assert finders == set(_transport_promises.PROMISES)


async def run_alone(check, transport):
    identities = [qis.Identity.from_seed(bytes([number]) * 32) for number in range(1, 4)]
    async with network_of(transport)(identities) as transports:
        await check(identities, transports)

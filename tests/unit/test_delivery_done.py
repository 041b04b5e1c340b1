"""A delivery is acknowledged once it is in the store and in the audit log, and not before."""

import asyncio
from contextlib import asynccontextmanager, closing

import pytest

import qis
from qis.evidence import Roster
from qis.transport import Delivery, Reception, Statistics, Verdict
from qis.transport.carried import LARGEST, decode_carried, encode_carried
from tests._builders import signed
from tests.unit.test_undelivered import ABOUT, NOW, SCHEME, effect

SITE, OTHER = (qis.Identity.from_seed(bytes([number]) * 32) for number in (1, 2))
KEYS = tuple(SCHEME.routing_keys(ABOUT))


def packet(question="q", lifetime_s=86_400):
    return signed(
        OTHER, effect(question), scheme=SCHEME, about=ABOUT, at=NOW, lifetime_s=lifetime_s
    )


class Durable(qis.MemoryTransport):
    """Gives each packet with a call back, and notes what the loop asks for."""

    is_durable = True

    def __init__(self, packets):
        super().__init__(qis.MemoryNetwork(now=NOW), SITE)
        self.packets, self.asked, self.done = packets, [], asyncio.Event()
        self.calls = []

    @asynccontextmanager
    async def subscribe(self, interest, *, name="", memory=b""):
        self.asked.append((name, memory))

        async def each():
            for one in self.packets:
                yield Delivery(packet=one, hops=1, received_at=NOW, on_done=self.called)
            await asyncio.Event().wait()

        yield each()

    def called(self):
        self.calls.append(self.state())
        self.done.set()


def loop_on(transport, **options):
    return qis.SynthesisLoop(
        SITE,
        transport,
        SCHEME,
        interest=options.pop("interest", SCHEME.interest(ABOUT)),
        disclosure=qis.Disclosure.preset("none"),
        clock=lambda: NOW,
        **options,
    )


async def opened(loop, event):
    async with loop, asyncio.timeout(10.0):
        await event.wait()


def test_done_comes_after_the_store_and_after_the_audit_log(tmp_path):
    one = packet()

    async def scenario():
        transport = Durable([one])
        with (
            qis.AuditLog.open(tmp_path / "audit.jsonl", now=NOW) as audit,
            closing(qis.SQLiteStore(tmp_path / "store", roster=Roster.open())) as store,
        ):
            transport.state = lambda: (
                one in store,
                any(entry.event == "received" for entry in audit.entries()),
            )
            await opened(loop_on(transport, store=store, audit=audit), transport.done)
            assert transport.calls == [(True, True)]
            assert transport.asked == [("interest-1", store.memory)]
            memory = store.memory
        with closing(qis.SQLiteStore(tmp_path / "store", roster=Roster.open())) as again:
            assert again.memory == memory
        with closing(qis.SQLiteStore(tmp_path / "other", roster=Roster.open())) as other:
            assert other.memory != memory

    asyncio.run(scenario())


def test_what_the_store_cannot_take_is_not_done(tmp_path, faults):
    faults.expect("loop.store: OSError")
    one = packet()

    class Full(qis.MemoryStore):
        tries = 0

        def add_many(self, packets, *, now):
            self.tries += 1
            if self.tries < 3:
                assert not transport.calls
                raise OSError("no space left")
            return super().add_many(packets, now=now)

    async def scenario():
        nonlocal transport
        transport = Durable([one])
        store = Full(roster=Roster.open())
        transport.state = lambda: one in store
        await opened(loop_on(transport, store=store), transport.done)
        assert transport.calls == [True]

    transport = None
    asyncio.run(scenario())


def test_a_fault_in_done_is_told_and_harms_no_other(faults):
    faults.expect("loop.done")

    async def scenario():
        transport = Durable([packet("bad"), packet("good")])
        said = []

        def state():
            said.append(1)
            if len(said) == 1:
                raise RuntimeError("a client that has gone")
            return True

        transport.state = state
        await opened(loop_on(transport), transport.done)
        assert transport.calls == [True]

    asyncio.run(scenario())


def test_two_interests_have_two_names():
    async def scenario():
        transport = Durable([packet()])
        transport.state = lambda: True
        interests = [SCHEME.interest(ABOUT), SCHEME.interest(ABOUT, min_similarity=0.1)]
        await opened(loop_on(transport, interest=interests), transport.done)
        assert {name for name, _ in transport.asked} == {"interest-1", "interest-2"}

    asyncio.run(scenario())


# --- the reception's receipts -----------------------------------------------------------------


def received(reception, one, called, keys=None):
    keys = (*KEYS, one.outcome.study_id) if keys is None else keys
    note = called.append
    return reception.receive(bytes(one), keys, hops=1, now=NOW, done=lambda: note(len(called)))


async def drained(inbox, number):
    return [await anext(inbox) for _ in range(number)]


def test_an_arrival_is_done_when_all_who_got_it_have_stored_it():
    async def scenario():
        called, one = [], packet()
        reception = Reception(Roster.open(), Statistics())
        interest = SCHEME.interest(ABOUT)
        with reception.inbox(interest, now=NOW) as first, reception.inbox(interest, now=NOW) as two:
            assert received(reception, one, called) is Verdict.ACCEPTED
            assert received(reception, one, called) is Verdict.DUPLICATE
            (a,), (b,) = await drained(first, 1), await drained(two, 1)
            await a.done()
            await a.done()
            assert not called, "one of two has stored it"
            await b.done()
            assert len(called) == 2, "both copies are done"
            assert received(reception, one, called) is Verdict.DUPLICATE
            assert len(called) == 3, "what is stored is done at once when it comes again"

    asyncio.run(scenario())


def test_what_nobody_wants_or_is_refused_is_done_at_once():
    called = []
    reception = Reception(Roster.open(), Statistics())
    assert received(reception, packet(), called) is Verdict.ACCEPTED
    assert received(reception, packet("r"), called, keys=()) is Verdict.REFUSED
    assert len(called) == 2


def test_what_has_to_come_again_is_not_done():
    called = []
    reception = Reception(Roster.open(), Statistics())
    early = packet()
    verdict = reception.receive(
        bytes(early), KEYS, hops=1, now=NOW - 3600, done=lambda: called.append(1)
    )
    assert verdict is Verdict.EARLY
    assert not called


# --- the codec --------------------------------------------------------------------------------


def test_a_packet_and_its_keys_come_back_as_they_were():
    one = packet()
    data = encode_carried(one, KEYS)
    assert decode_carried(data) == (bytes(one), tuple(sorted({*KEYS, one.outcome.study_id})))
    with pytest.raises(qis.InputError, match="other routing keys"):
        encode_carried(one, KEYS[1:])


@pytest.mark.parametrize("size", [0, 511, 513, 519, 521, LARGEST + 1, LARGEST + 8])
def test_other_sizes_are_no_packet_with_keys(size):
    assert decode_carried(bytes(size)) is None


@pytest.mark.parametrize("size", [512, 520, LARGEST])
def test_sizes_between_are_split(size):
    data, keys = decode_carried(bytes(size))
    assert len(data) + 8 * len(keys) == size

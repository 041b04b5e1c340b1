"""NATSTransport against a server of its own on loopback: the contract, permissions and faults."""

import asyncio
import itertools
import json
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress

import nats
import pytest

import qis
from qis._guard import Guard
from qis.errors import InputError, TransportError
from qis.health import HealthState
from qis.loop.outbox import Outbox
from qis.loop.own_packets import OwnPackets
from qis.testing import VirtualClock, check_transport
from qis.testing.nats_server import NATSServer
from qis.transport.nats import (
    Names,
    NATSTransport,
    connection as connection_module,
    consumer as consumer_module,
    pulling as pulling_module,
    reader as reader_module,
    unanswered as unanswered_module,
)
from qis.transport.nats.questions import DeniedError
from tests._builders import effect, signed, until

SECRET = bytes(range(32))
SCHEME = qis.VectorScheme(dimensions=4)
ABOUT = [1.0, 0.5, -0.2, 0.1]
INTEREST = SCHEME.interest(ABOUT)
KEYS = tuple(SCHEME.routing_keys(ABOUT))
NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([number]) * 32) for number in range(1, 5)]
DOMAINS = (f"domain-{number}" for number in itertools.count())
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NATSServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


def run(scenario):
    async def limited():
        async with asyncio.timeout(WITHIN_S):
            await scenario

    asyncio.run(limited())


async def make_stream(server, domain, **options):
    client = await nats.connect(server.url)
    options = {"max_msgs_per_subject": 1, **options}
    await client.jetstream().add_stream(name=domain, subjects=[f"{domain}.>"], **options)
    await client.close()
    return domain


async def new_domain(server, **options):
    return await make_stream(server, next(DOMAINS), **options)


def transport(server, identity, domain, **options):
    options = {"roster": qis.Roster.open(), "secret": SECRET, **options}
    return NATSTransport(server.url, identity, domain=domain, **options)


def packet(question="q", identity=SITES[0], estimate=-0.3, issued_at=NOW, sequence=None):
    outcome, options = effect(estimate, question=question), {"at": issued_at, "sequence": sequence}
    return signed(identity, outcome, scheme=SCHEME, about=ABOUT, **options)


@asynccontextmanager
async def opened(server, domain, *identities, clock=None, **options):
    options["clock"] = clock or VirtualClock(NOW)
    async with AsyncExitStack() as stack:
        made = [transport(server, each, domain, **options) for each in identities]
        yield [await stack.enter_async_context(each) for each in made]


async def taken(deliveries, number):
    """So many deliveries, each of them done."""
    found = []
    for _ in range(number):
        delivery = await anext(deliveries)
        await delivery.done()
        found.append(delivery.packet)
    return found


def test_it_keeps_the_contract(server, faults):
    faults.allow("reception.")

    @asynccontextmanager
    async def network(identities):
        domain = await new_domain(server)
        async with AsyncExitStack() as stack:
            made = [transport(server, each, domain) for each in identities]
            yield [await stack.enter_async_context(each) for each in made]

    run(check_transport(network))


def test_the_server_sees_no_packet_key_or_question(server, tmp_path):
    async def scenario():
        hidden, shown = await new_domain(server), await new_domain(server)
        async with opened(server, hidden, SITES[0]) as (sealed,):
            await sealed.publish(packet(), KEYS)
        async with opened(server, shown, SITES[0], secret=None, clear=True) as (clear,):
            await clear.publish(packet(), KEYS)
        return hidden, shown

    hidden, shown = asyncio.run(scenario())
    sent = packet()
    secrets = (bytes(sent)[:64], bytes(sent)[-64:], sent.fingerprint.sketch, *KEYS)

    def found_in(domain):
        folders = [path for path in server.folder.rglob(domain) if path.is_dir()]
        stored = b"".join(p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file())
        assert stored
        return [secret for secret in secrets if secret in stored]

    assert found_in(hidden) == []
    assert len(found_in(shown)) == len(secrets)


def test_another_secret_opens_nothing_and_that_is_told(server):
    async def scenario():
        domain = await new_domain(server)
        async with (
            opened(server, domain, SITES[0]) as (writer,),
            opened(server, domain, SITES[1], secret=bytes(32)) as (other,),
            opened(server, domain, SITES[2], secret=None, clear=True) as (clear,),
        ):
            told = []
            other.notices.listen(told.append)
            async with other.subscribe(INTEREST), clear.subscribe(INTEREST):
                await writer.publish(packet(), KEYS)
                await until(lambda: other.statistics.refused and clear.statistics.refused)
            assert other.statistics.refused == {"unopened": 1}
            assert sum(clear.statistics.refused.values()) == 1
            assert any("another secret" in each.reason for each in told)

    run(scenario())


def test_it_has_to_be_said_that_packets_go_in_the_clear():
    with pytest.raises(InputError, match="clear=True"):
        NATSTransport("nats://127.0.0.1:1", SITES[0], roster=qis.Roster.open())
    with pytest.raises(InputError, match="secret"):
        NATSTransport("nats://h:1", SITES[0], roster=qis.Roster.open(), secret=SECRET, clear=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"servers": "http://h:1"},
        {"servers": []},
        {"domain": "a.b"},
        {"domain": ">"},
        {"secret": b"short"},
        {"proxy": "socks://h:1"},
        {"jetstream_domain": "a b"},
    ],
    ids=str,
)
def test_wrong_arguments_are_named(wrong):
    options = {"servers": "tls://h:1", "roster": qis.Roster.open(), "secret": SECRET, **wrong}
    (field,) = wrong
    with pytest.raises(InputError, match=field.partition("_")[2] or field[:6]):
        NATSTransport(identity=SITES[0], **options)


# --- durable subscriptions -----------------------------------------------------------------------


def test_a_site_that_was_away_gets_what_it_missed_and_nothing_twice(server):
    async def scenario():
        domain = await new_domain(server)
        before = [packet(f"before {number}") for number in range(20)]
        missed = [packet(f"missed {number}") for number in range(1_000)]
        async with opened(server, domain, SITES[0]) as (writer,):
            for each in before:
                await writer.publish(each, KEYS)
            async with (
                opened(server, domain, SITES[1]) as (reader,),
                reader.subscribe(INTEREST, name="interest-1", memory=b"store") as deliveries,
            ):
                assert set(await taken(deliveries, 20)) == set(before)
            await asyncio.gather(*(writer.publish(each, KEYS) for each in missed))
            async with (
                opened(server, domain, SITES[1]) as (reader,),
                reader.subscribe(INTEREST, name="interest-1", memory=b"store") as deliveries,
            ):
                assert set(await taken(deliveries, 1_000)) == set(missed)
                assert reader.statistics.delivered == 1_000

    run(scenario())


@pytest.mark.parametrize("change", ["interest", "roster", "store", "secret", "nothing"])
def test_a_name_begins_anew_when_it_might_have_missed_something(server, change):
    async def scenario():
        domain = await new_domain(server)
        changed = {
            "interest": {"interest": SCHEME.interest(ABOUT, min_similarity=0.1)},
            "roster": {"roster": qis.Roster((qis.Site.of("north", SITES[0].issuer),))},
            "store": {"memory": b"another store"},
        }.get(change, {})
        async with opened(server, domain, SITES[0]) as (writer,):
            await writer.publish(packet("first"), KEYS)
            async with (
                opened(server, domain, SITES[1]) as (reader,),
                reader.subscribe(INTEREST, name="interest-1", memory=b"store") as deliveries,
            ):
                await taken(deliveries, 1)
            await writer.publish(packet("second"), KEYS)
            options = {"roster": changed["roster"]} if "roster" in changed else {}
            interest = changed.get("interest", INTEREST)
            memory = changed.get("memory", b"store")
            async with (
                opened(server, domain, SITES[1], **options) as (reader,),
                reader.subscribe(interest, name="interest-1", memory=memory) as deliveries,
            ):
                got = await taken(deliveries, 1 if change in {"nothing", "secret"} else 2)
            assert packet("second") in got

    run(scenario())


def test_a_new_roster_lets_in_what_the_old_one_refused(server):
    async def scenario():
        domain = await new_domain(server)
        only_other = qis.Roster((qis.Site.of("south", SITES[2].issuer),))
        async with (
            opened(server, domain, SITES[0]) as (writer,),
            opened(server, domain, SITES[1], roster=only_other) as (reader,),
            reader.subscribe(INTEREST, name="interest-1", memory=b"store") as deliveries,
        ):
            await writer.publish(packet(), KEYS)
            await until(lambda: reader.statistics.refused["UntrustedIssuerError"])
            reader.believe(qis.Roster.open())
            assert await taken(deliveries, 1) == [packet()]

    run(scenario())


def test_what_a_wrong_clock_refused_comes_again_when_it_is_set_back(server, monkeypatch):
    monkeypatch.setattr(reader_module, "HEARTBEAT_S", 0.1)

    async def scenario():
        domain = await new_domain(server)
        ahead = VirtualClock(NOW + 10 * 86_400)
        async with (
            opened(server, domain, SITES[0]) as (writer,),
            opened(server, domain, SITES[1], clock=ahead) as (reader,),
        ):
            await writer.publish(packet(), KEYS)
            async with reader.subscribe(INTEREST, name="interest-1", memory=b"m") as deliveries:
                await until(lambda: reader.statistics.refused["ExpiredError"])
                ahead.now = NOW
                assert await taken(deliveries, 1) == [packet()]
        late = VirtualClock(NOW + 10 * 86_400)
        async with (
            opened(server, domain, SITES[2], clock=late) as (reader,),
            reader.subscribe(INTEREST, name="interest-1", memory=b"m"),
        ):
            await until(lambda: reader.statistics.refused["ExpiredError"])
        async with (  # repaired between two runs
            opened(server, domain, SITES[2]) as (reader,),
            reader.subscribe(INTEREST, name="interest-1", memory=b"m") as deliveries,
        ):
            assert await taken(deliveries, 1) == [packet()]

    run(scenario())


def test_two_loops_with_one_name_are_told(server, monkeypatch, faults):
    """Whichever of the two the server favours, neither goes on without a word."""
    faults.expect("nats.reading: NameTakenError")
    monkeypatch.setattr(consumer_module, "EXPIRES_S", 0.3)
    monkeypatch.setattr(consumer_module, "LOOK_S", 0.1)
    monkeypatch.setattr(reader_module, "CHECK_S", 0.1)
    monkeypatch.setattr(reader_module, "HEARTBEAT_S", 0.1)

    asked, ask = [], pulling_module.Pulling.ask

    async def asking(self, room, now_s):
        await ask(self, room, now_s)
        asked.append(room)

    monkeypatch.setattr(pulling_module.Pulling, "ask", asking)

    async def scenario():
        domain = await new_domain(server)
        async with (
            opened(server, domain, SITES[1]) as (first,),
            opened(server, domain, SITES[1]) as (second,),
            first.subscribe(INTEREST, name="interest-1", memory=b"a") as deliveries,
        ):
            await until(lambda: asked)
            with pytest.raises(TransportError, match="another loop reads"):
                async with second.subscribe(INTEREST, name="interest-1", memory=b"b"):
                    pass
            # One that does not ask, or came while the first did not.
            told = []
            first.notices.listen(told.append)
            monkeypatch.setattr(consumer_module.Consumer, "_require_free", nothing)
            async with second.subscribe(INTEREST, name="interest-1", memory=b"a"):
                assert [each async for each in deliveries] == []
            assert any(each.kind == "foreign_use" for each in told)
            assert "name_taken" in {reason.code for reason in first.health.reasons}

    run(scenario())


async def nothing(*_):
    pass


# --- faults --------------------------------------------------------------------------------------


def test_nothing_is_lost_when_the_server_is_killed_while_sites_publish(tmp_path, faults):
    faults.allow("nats.")
    folder = tmp_path / "server"
    folder.mkdir()
    with NATSServer(folder) as server:
        run(_killed(server, tmp_path))


async def _killed(server, tmp_path):
    domain = await new_domain(server)
    number = 60
    with (
        Outbox(tmp_path / "outbox") as outbox,
        closing(qis.SQLiteStore(tmp_path / "store", roster=qis.Roster.open())) as store,
    ):
        events = []
        writer = loop_on(server, domain, SITES[0], outbox=outbox, on_event=events.append)
        reader = loop_on(server, domain, SITES[1], store=store)
        async with writer, reader:
            sent = []
            for each in range(number):
                if each in {20, 40}:
                    await asyncio.to_thread(server.kill)
                    sent.append(await published(writer, each))
                    await asyncio.to_thread(server.start)
                else:
                    sent.append(await published(writer, each))
            assert await writer.flush(40.0)
            await until(lambda: len(store) >= number)
        assert all(each in store for each in sent)
        codes = {event.subject for event in events if event.kind == "health"}
        assert "server_away" in codes


def test_a_connection_that_breaks_while_something_is_sent_is_made_anew(tmp_path, faults):
    faults.allow("nats.")
    folder = tmp_path / "server"
    folder.mkdir()
    with NATSServer(folder) as server:
        run(_broken_while_sending(server))


async def _broken_while_sending(server):
    domain = await new_domain(server)
    async with opened(server, domain, SITES[0]) as (writer,):
        for number in range(8):
            packets = [packet(f"{number}, {each}") for each in range(64)]
            await asyncio.to_thread(server.kill) if number % 2 else server.kill()
            began_s = asyncio.get_running_loop().time()
            asking = []
            for each in packets:  # one a turn, so that something is to be sent as the end is seen
                asking.append(asyncio.create_task(writer.publish(each, KEYS)))
                await asyncio.sleep(0)
            results = await asyncio.gather(*asking, return_exceptions=True)
            # All fail at once, instead of waiting for an answer that cannot come.
            assert all(isinstance(each, TransportError) for each in results)
            assert asyncio.get_running_loop().time() - began_s < connection_module.ANSWER_S / 2
            await until(lambda: writer.health.state is HealthState.CUT_OFF)
            server.start()
            await until(lambda: writer.health.state is HealthState.OK)
            again = packet(f"{number}, again")
            await writer.publish(again, KEYS)
            assert writer.holding(again.id).is_held


def test_own_packets_are_asked_for_once_the_server_is_there(tmp_path, faults):
    faults.allow("nats.")
    folder = tmp_path / "server"
    folder.mkdir()
    with NATSServer(folder) as server:
        run(_asked_later(server))


async def _asked_later(server):
    domain = await new_domain(server)
    async with opened(server, domain, SITES[0], SITES[1]) as (lost, writer):
        known = packet()
        await lost.publish(known, KEYS)
        for number in range(300):  # more than one request of a reader brings
            await lost.publish(packet(f"another {number}"), KEYS)
        came = []
        own = OwnPackets(writer, SITES[0].issuer, came.append, guard=Guard(writer.notices))
        server.kill()
        await until(lambda: writer.health.state is HealthState.CUT_OFF)
        await own.ask([known.outcome.study_id])
        assert not own.has_asked
        server.start()
        await until(lambda: writer.health.state is HealthState.OK)
        await own.ask([known.outcome.study_id])
        assert own.has_asked
        assert [each.id for each in came] == [known.id]


class SilentNetwork:
    """Between a site and the server: while it is silent nothing comes through."""

    def __init__(self, port):
        self.port, self.server_port = 0, port
        self.passes = asyncio.Event()
        self.passes.set()
        self.refused, self.writers, self.serving = 0, [], set()

    @asynccontextmanager
    async def running(self):
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield f"nats://127.0.0.1:{self.port}"
            server.close()
            for each in self.serving:
                each.cancel()
            if self.serving:
                await asyncio.wait(self.serving)

    async def serve(self, reader, writer):
        self.serving.add(asyncio.current_task())
        self.refused += not self.passes.is_set()
        away = None
        try:
            await self.passes.wait()  # it is connected, and that is all
            there, away = await asyncio.open_connection("127.0.0.1", self.server_port)
            await asyncio.gather(self.pipe(reader, away), self.pipe(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        for each in (writer, away):
            if each is not None:
                each.close()
                with suppress(OSError):
                    await each.wait_closed()

    async def pipe(self, reader, writer):
        while data := await reader.read(65_536):
            await self.passes.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


def test_ten_minutes_without_network_lose_nothing(server, tmp_path, monkeypatch, faults):
    """Timers run a hundred times as fast; it lasts until the site has tried six times in vain."""
    faults.allow("nats.")
    for module, timers in (
        (
            connection_module,
            {"CONNECT_S": 1.0, "ANSWER_S": 1.0, "PING_S": 0.2, "LAST_PAUSE_S": 0.15},
        ),
        (consumer_module, {"ACK_WAIT_S": 0.6}),
        (reader_module, {"ACK_WAIT_S": 0.6, "HEARTBEAT_S": 0.3, "CHECK_S": 0.3}),
        (pulling_module, {"HEARTBEAT_S": 0.3, "EXPIRES_S": 1.0}),
    ):
        for name, seconds in timers.items():
            monkeypatch.setattr(module, name, seconds)

    async def scenario():
        domain = await new_domain(server)
        network = SilentNetwork(server.port)
        with (
            Outbox(tmp_path / "outbox") as outbox,
            closing(qis.SQLiteStore(tmp_path / "store", roster=qis.Roster.open())) as store,
        ):
            async with network.running() as url:
                far = NATSTransport(
                    url, SITES[0], domain=domain, roster=qis.Roster.open(), secret=SECRET
                )
                events = []
                here = loop_on(
                    server,
                    domain,
                    SITES[0],
                    outbox=outbox,
                    store=store,
                    transport=far,
                    on_event=events.append,
                )
                there = loop_on(server, domain, SITES[1])
                async with here, there:
                    sent = [await published(here, 0)]
                    await until(lambda: sent[0] in there.store)
                    network.passes.clear()
                    await until(lambda: here.health.state is HealthState.CUT_OFF)
                    sent += [await published(here, number) for number in range(1, 20)]
                    missed = [await published(there, number) for number in range(100, 120)]
                    assert not await here.flush(0.1)
                    assert here.undelivered()
                    await until(lambda: network.refused >= 6)
                    assert not any(each in store for each in missed)
                    network.passes.set()
                    assert await here.flush(40.0)
                    await until(lambda: all(each in there.store for each in sent))
                    await until(lambda: all(each in store for each in missed))
                    await until(lambda: far.health.state is HealthState.OK)
                assert "server_away" in {e.subject for e in events if e.kind == "health"}

    run(scenario())


def loop_on(server, domain, identity, **options):
    return qis.SynthesisLoop(
        identity,
        options.pop("transport", None) or transport(server, identity, domain),
        SCHEME,
        interest=INTEREST,
        disclosure=qis.Disclosure.preset("none"),
        interest_people=0,
        **options,
    )


async def published(loop, number):
    outcome = qis.Effect(
        question=f"number {number}", measure="OR", estimate=-0.3, standard_error=0.1
    )
    return await loop.publish(outcome, about=ABOUT)


def test_a_domain_that_is_not_there_is_named(server):
    async def scenario():
        with pytest.raises(TransportError, match="no stream 'nowhere'"):
            async with transport(server, SITES[0], "nowhere"):
                pass

    run(scenario())


def test_a_server_without_jetstream_is_named(tmp_path):
    with NATSServer(tmp_path, "listen: 127.0.0.1:{port}") as server:

        async def scenario():
            with pytest.raises(TransportError, match="JetStream"):
                async with transport(server, SITES[0], "qis"):
                    pass

        run(scenario())


def test_a_server_that_is_not_there_is_named(tmp_path):
    with NATSServer(tmp_path) as server:
        url = server.url

    async def scenario():
        made = NATSTransport(url, SITES[0], roster=qis.Roster.open(), secret=SECRET)
        with pytest.raises(TransportError, match=r"127\.0\.0\.1.*no connection"):
            async with made:
                pass

    run(scenario())


def test_a_full_stream_refuses_and_says_so(server):
    async def scenario():
        domain = await new_domain(server, max_msgs=2, discard="new")
        async with opened(server, domain, SITES[0]) as (writer,):
            for number in range(2):
                await writer.publish(packet(f"{number}"), KEYS)
            with pytest.raises(TransportError, match="maximum messages"):
                await writer.publish(packet("too much"), KEYS)
            assert not writer.holding(packet("too much").id).is_held
            assert "maximum messages" in writer.holding(packet("too much").id).reason
            assert {reason.code for reason in writer.health.reasons} == {"full"}
            assert not await writer.flush(1.0)

    run(scenario())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"storage": "memory"}, "memory"),
        ({"retention": "interest"}, "retention"),
        ({"max_msgs": 10}, "discard"),
        ({"max_age": 3600}, "days"),
    ],
)
def test_a_stream_that_may_lose_packets_is_told(server, options, word):
    async def scenario():
        domain = await new_domain(server, **options)
        async with opened(server, domain, SITES[0]) as (writer,):
            (reason,) = writer.health.reasons
            assert reason.code == "stream"
            assert word in reason.text
            assert writer.health.state is HealthState.DEGRADED

    run(scenario())


def test_a_message_on_which_a_node_fails_ends_and_keeps_no_other_back(server, faults, monkeypatch):
    faults.expect("reception.verify")
    monkeypatch.setattr(unanswered_module, "TRIES", 2)
    bad, good = packet("bad"), packet("good")
    module = __import__("qis.transport.reception", fromlist=["x"])
    verify = module.verify_screened

    def failing(screened, ids):
        if bytes(bad) in screened:
            raise RuntimeError("a defect")
        return verify(screened, ids)

    monkeypatch.setattr(module, "verify_screened", failing)

    async def scenario():
        domain = await new_domain(server)
        async with (
            opened(server, domain, SITES[0]) as (writer,),
            opened(server, domain, SITES[1]) as (reader,),
            reader.subscribe(INTEREST, name="interest-1", memory=b"m") as deliveries,
        ):
            told, ended = [], asyncio.Event()

            def listen(notice):
                told.append(notice)
                if notice.kind == "limit":
                    ended.set()

            reader.notices.listen(listen)
            await writer.publish(bad, KEYS)
            await writer.publish(good, KEYS)
            assert await taken(deliveries, 1) == [good]
            await ended.wait()
            (limit,) = [each for each in told if each.kind == "limit"]
            assert limit.subject == f"transport.nats.unanswered.TRIES: {SITES[0].issuer}"

    run(scenario())


def test_a_server_that_refuses_to_be_read_is_told(server, faults, monkeypatch):
    faults.allow("nats.reading")
    monkeypatch.setattr(pulling_module, "EXPIRES_S", 0.0001)  # shorter than a heartbeat may be

    async def scenario():
        domain = await new_domain(server)
        async with opened(server, domain, SITES[1]) as (reader,), reader.subscribe(INTEREST):
            await until(lambda: reader.health.reasons)
            (reason,) = reader.health.reasons
            assert reason.code == "unread"
            assert "refuses to be read: Bad Request" in reason.text
            monkeypatch.setattr(pulling_module, "EXPIRES_S", 10.0)
            await until(lambda: not reader.health.reasons)

    run(scenario())


def test_a_subscriber_that_reads_slowly_loses_nothing(server, monkeypatch):
    monkeypatch.setattr("qis.transport.inbox.INBOX_LIMIT", 8)
    monkeypatch.setattr(reader_module, "OPEN_LIMIT", 512)

    async def scenario():
        domain = await new_domain(server)
        sent = [packet(f"{number}") for number in range(400)]
        async with (
            opened(server, domain, SITES[0]) as (writer,),
            opened(server, domain, SITES[1]) as (reader,),
            reader.subscribe(INTEREST, name="interest-1", memory=b"m") as deliveries,
        ):
            await asyncio.gather(*(writer.publish(each, KEYS) for each in sent))
            await until(lambda: reader.statistics.dropped)
            assert set(await taken(deliveries, 400)) == set(sent)
            assert reader.statistics.delivered == 400

    run(scenario())


def test_a_packet_from_the_future_comes_at_its_time(server, monkeypatch):
    clock = VirtualClock(NOW)
    pauses = []
    real = unanswered_module.Unanswered.later

    def later(self, number, pause_s):
        pauses.append(pause_s)
        real(self, number, 0.05)

    monkeypatch.setattr(unanswered_module.Unanswered, "later", later)

    async def scenario():
        domain = await new_domain(server)
        early = packet(issued_at=NOW + 1_000)
        async with (
            opened(server, domain, SITES[0]) as (writer,),
            opened(server, domain, SITES[1], clock=clock) as (reader,),
            reader.subscribe(INTEREST, name="interest-1", memory=b"m") as deliveries,
        ):
            await writer.publish(early, KEYS)
            await until(lambda: pauses)
            assert pauses[0] == pytest.approx(700.0)
            clock.now = NOW + 1_000
            assert await taken(deliveries, 1) == [early]

    run(scenario())


# --- permissions ---------------------------------------------------------------------------------

PASSWORDS = {0: "north", 1: "south"}


def guarded(domain, *, names=None):
    """A server's configuration: an account's user for each site, with what it may do."""
    names = names or Names(domain, SECRET)
    users = [{"user": "operator", "password": "operator"}]
    for number, password in PASSWORDS.items():
        allowed = names.permissions(SITES[number].issuer, readers=["interest-1", "unnamed-1"])
        users.append({"user": password, "password": password, "permissions": allowed})
    listed = json.dumps({"users": users})
    return (
        "listen: 127.0.0.1:{port}\n"
        'jetstream { store_dir: "{store}", sync_interval: always }\n'
        f"authorization: {listed}\n"
    )


def as_user(name):
    return {"user": name, "password": name}


async def stream_of(server, domain):
    client = await nats.connect(server.url, **as_user("operator"))
    manager = client.jetstream()
    await manager.add_stream(name=domain, subjects=[f"{domain}.>"], max_msgs_per_subject=1)
    return client, manager


def test_a_site_works_with_its_permissions_and_harms_no_other(tmp_path, faults):
    faults.allow("nats.")
    with NATSServer(tmp_path, guarded("qis")) as server:
        run(_guarded(server))


async def _guarded(server):
    operator, manager = await stream_of(server, "qis")
    options = {"domain": "qis", "roster": qis.Roster.open(), "secret": SECRET}
    clock = VirtualClock(NOW)
    north, south = (
        NATSTransport(server.url, SITES[n], options=as_user(PASSWORDS[n]), clock=clock, **options)
        for n in (0, 1)
    )
    async with north, south:
        async with (
            north.subscribe(INTEREST, name="interest-1", memory=b"m") as mine,
            south.subscribe(INTEREST, name="interest-1", memory=b"m"),
            south.subscribe(INTEREST) as unnamed,
        ):
            await south.publish(packet(identity=SITES[1]), KEYS)
            assert await taken(mine, 1) == [packet(identity=SITES[1])]
            await north.publish(packet(), KEYS)
            assert packet() in await taken(unnamed, 1)
            # Under another's issuer: refused at once, with the reason, not by a time-out.
            with pytest.raises(DeniedError, match="does not allow"):
                await south.publish(packet("forged place"), KEYS)
            assert "does not allow" in south.holding(packet("forged place").id).reason
            assert "denied" in {reason.code for reason in south.health.reasons}
        before = await manager.stream_info("qis")
        assert await harm(server, as_user("south"), north.names) == []
        after = await manager.stream_info("qis")
        assert after.state.messages == before.state.messages == 2
        assert after.state.consumer_count == before.state.consumer_count
        # The same attempts succeed where the permissions are not set.
        assert await harm(server, as_user("operator"), north.names) == list(HARM)
    await operator.close()


HARM = ("publish", "consumer", "ack", "inbox", "message", "purge", "delete")


async def harm(server, account, names):
    """Try everything that would cost the site SITES[0] something; what has worked."""
    client = await nats.connect(server.url, error_cb=nothing, **account)
    victim = SITES[0].issuer.key
    reader = names.reader(victim, "interest-1")
    attempts = {
        "publish": names.subject(packet("another's")),
        "consumer": f"$JS.API.CONSUMER.DELETE.qis.{reader}",
        "ack": f"$JS.ACK.qis.{reader}.1.1.1.1.1",
        "inbox": f"{names.inbox(victim)}.>",
        "message": "$JS.API.STREAM.MSG.GET.qis",
        "purge": "$JS.API.STREAM.PURGE.qis",
        "delete": "$JS.API.STREAM.DELETE.qis",
    }
    worked = []
    for name, subject in attempts.items():
        errors = []

        async def note(error, errors=errors):
            errors.append(error)

        client._error_cb = note
        if name == "inbox":
            await client.subscribe(subject)
        elif name == "ack":
            await client.publish(subject, b"+ACK")
        else:
            inbox = names.inbox(SITES[1].issuer.key) + ".attack"
            await client.publish(subject, b"{}" if name != "message" else b'{"seq":1}', inbox)
        for _ in range(2):  # the first PING overtakes what is still in nats-py's buffer
            await client.flush()
        if not errors:
            worked.append(name)
    await client.close()
    return worked


def test_tls_is_not_talked_away(server):
    """A server (or somebody in between) that offers no TLS gets no account's password."""

    async def scenario():
        url = server.url.replace("nats://", "tls://")
        options = {"user": "north", "password": "north", "tls": ssl.create_default_context()}
        made = NATSTransport(
            url, SITES[0], roster=qis.Roster.open(), secret=SECRET, options=options
        )
        with pytest.raises(TransportError, match="TLS"):
            async with made:
                pass

    run(scenario())

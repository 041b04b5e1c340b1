"""What a site reads, of which streams and over which connections; accounts with credentials."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from contextlib import asynccontextmanager, suppress

import nats
import nkeys
import pytest

import qis
from qis.health import HealthState
from qis.testing import NATSServer, VirtualClock
from qis.transport.nats import NATSTransport
from qis.transport.nats.options import options_of
from tests._builders import NOW, effect, loop_of, signed, site, until

SECRET = bytes(range(32))
SCHEME = qis.VectorScheme(dimensions=4)
NEAR, FAR = [1.0, 0.5, -0.2, 0.1], [-1.0, -0.5, 0.2, -0.1]
WITHIN_S = 60.0
A_YEAR_AND_MORE_S = 400 * 86_400


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NATSServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


def run(scenario):
    async def limited():
        async with asyncio.timeout(WITHIN_S):
            await scenario

    asyncio.run(limited())


@asynccontextmanager
async def stream(server, name, **options):
    """A stream, and its operator's view of it."""
    client = await nats.connect(server.url)
    manager = client.jetstream()
    options = {"max_msgs_per_subject": 1, **options}
    await manager.add_stream(name=name, subjects=[f"{name}.>"], **options)
    try:
        yield manager
    finally:
        await client.close()


def on(server, number, domain, **options):
    options = {"roster": qis.Roster.open(), "secret": SECRET, "domain": domain, **options}
    return NATSTransport(server.url, site(number), clock=VirtualClock(float(NOW)), **options)


def packet(question="q", about=NEAR, **options):
    return signed(1, effect(-0.3, question=question), scheme=SCHEME, about=about, **options)


def keys(about=NEAR):
    return tuple(SCHEME.routing_keys(about))


async def taken(deliveries, number):
    found = []
    for _ in range(number):
        delivery = await anext(deliveries)
        await delivery.done()
        found.append(delivery.packet)
    return found


def test_who_takes_the_whole_domain_filters_and_who_reads_by_study_receives_its_studies(server):
    """Small networks and big ones: what is not of the study does not cross the network there."""
    unlike = packet("the study", FAR)
    study = unlike.outcome.study_id
    others = [packet(f"another {number}", FAR) for number in range(5)]
    near = packet("similar, of no study")
    interest = SCHEME.interest(NEAR, studies=[study])

    async def scenario():
        async with (
            stream(server, "take"),
            on(server, 1, "take") as writer,
            on(server, 2, "take") as whole,
            on(server, 3, "take", by_study=True) as by_study,
            whole.subscribe(interest, name="interest-1", memory=b"m") as of_all,
            by_study.subscribe(interest, name="interest-1", memory=b"m") as of_study,
        ):
            for each in others:
                await writer.publish(each, keys(FAR))
            await writer.publish(near, keys())
            await writer.publish(unlike, keys(FAR))
            assert set(await taken(of_all, 2)) == {near, unlike}
            assert await taken(of_study, 1) == [unlike]
            await whole.catch_up(WITHIN_S)
            await by_study.catch_up(WITHIN_S)
            assert whole.statistics.datagrams_received == 7
            assert (whole.statistics.delivered, whole.statistics.unmatched) == (2, 5)
            assert by_study.statistics.datagrams_received == 1  # the others stay at the server
            assert by_study.statistics.delivered == 1
            with pytest.raises(qis.InputError, match="names its studies"):
                async with by_study.subscribe(SCHEME.interest(NEAR)):
                    pass

    run(scenario())


def test_where_everything_is_kept_by_age_nobody_displaces_anything(server):
    """For a server whose operator cannot set permissions: an intruder's message hides nothing."""

    async def scenario():
        options = {"max_msgs_per_subject": -1, "max_age": A_YEAR_AND_MORE_S}
        async with (
            stream(server, "kept", **options) as manager,
            on(server, 1, "kept") as writer,
            on(server, 2, "kept") as reader,
        ):
            assert writer.health.reasons == ()
            await writer.publish(packet(), keys())
            await manager.publish(writer.names.subject(packet()), b"an intruder's")
            async with reader.subscribe(SCHEME.interest(NEAR)) as deliveries:
                assert await taken(deliveries, 1) == [packet()]
                await reader.catch_up(WITHIN_S)
            assert reader.statistics.refused == {"unopened": 1}

    run(scenario())


def test_a_message_that_displaced_the_newest_is_displaced_at_the_next_opening(server, tmp_path):
    """The stream keeps what arrived last: an old version here, as a second process would send."""

    async def scenario(outbox):
        def loop_of_the_site():
            return loop_of(on(server, 1, "heals"), site(1), SCHEME, NEAR, outbox=outbox)

        async with stream(server, "heals") as manager:
            async with loop_of_the_site() as loop:
                old = await loop.publish(effect(0.1), about=NEAR)
                new = await loop.publish(effect(0.2), about=NEAR)
                assert await loop.flush(WITHIN_S)
            async with on(server, 1, "heals") as another:
                await another.publish(old, keys())
            async with loop_of_the_site() as loop:
                assert await loop.flush(WITHIN_S)
            assert (await manager.stream_info("heals")).state.messages == 1
            async with (
                on(server, 2, "heals") as reader,
                reader.subscribe(SCHEME.interest(NEAR)) as deliveries,
            ):
                assert await taken(deliveries, 1) == [new]

    with qis.Outbox(tmp_path / "outbox") as outbox:
        run(scenario(outbox))


# --- a client that the server calls too slow ------------------------------------------------------


class Narrow:
    """Between a site and the server: what the server sends passes only while it is open."""

    def __init__(self, port):
        self.server_port, self.serving = port, set()
        self.is_open = asyncio.Event()
        self.is_open.set()

    @asynccontextmanager
    async def running(self):
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            server.close()
            for each in self.serving:
                each.cancel()
            if self.serving:
                await asyncio.wait(self.serving)

    async def serve(self, reader, writer):
        self.serving.add(asyncio.current_task())
        there, away = await asyncio.open_connection("127.0.0.1", self.server_port, limit=4_096)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self.pipe(reader, away, None), self.pipe(there, writer, self))
        for each in (writer, away):
            each.close()
            with suppress(OSError):
                await each.wait_closed()

    async def pipe(self, reader, writer, narrow):
        while data := await reader.read(4_096):
            if narrow is not None:
                await self.is_open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


def test_a_site_that_the_server_drops_as_a_slow_consumer_misses_nothing(tmp_path, faults):
    faults.allow("nats.")
    config = (
        'listen: "127.0.0.1:{port}"\njetstream { store_dir: "{store}" }\n'
        'write_deadline: "100ms"\nmax_payload: 8192\nmax_pending: 65536\n'
    )
    sent = [packet(f"number {number}") for number in range(100)]

    async def scenario():
        network = Narrow(server.port)
        async with (
            network.running() as url,
            stream(server, "slow"),
            on(server, 1, "slow") as writer,
        ):
            far = NATSTransport(
                url,
                site(2),
                roster=qis.Roster.open(),
                secret=SECRET,
                domain="slow",
                clock=VirtualClock(float(NOW)),
            )
            async with (
                far,
                far.subscribe(SCHEME.interest(NEAR), name="interest-1", memory=b"m") as deliveries,
            ):
                flooding = await nats.connect(server.url)
                network.is_open.clear()
                for each in sent:
                    await writer.publish(each, keys())
                answers = far.names.inbox(site(2).issuer.key) + ".a.more"
                while not any("Slow Consumer" in line for line in server.said):
                    await flooding.publish(answers, bytes(8_000))
                    await flooding.flush()
                network.is_open.set()
                await until(lambda: far.health.state is HealthState.CUT_OFF)
                assert set(await taken(deliveries, len(sent))) == set(sent)
                await until(lambda: far.health.state is HealthState.OK)
                await flooding.close()

    with NATSServer(tmp_path, config) as server:
        run(scenario())


# --- a credentials file ---------------------------------------------------------------------------


def signer(prefix):
    return nkeys.from_seed(bytearray(nkeys.encode_seed(secrets.token_bytes(32), prefix)))


def token(issuer, subject, name, claims):
    """A JWT as NATS has it (its specification is ADR-14 of nats-architecture-and-design)."""

    def encoded(content):
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")

    body = {
        "iat": int(time.time()),
        "iss": issuer.public_key.decode("ascii"),
        "sub": subject.public_key.decode("ascii"),
        "name": name,
        "nats": {"version": 2, **claims},
    }
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode()
    head = encoded(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    signed_part = f"{head}.{encoded(json.dumps(body).encode())}"
    return f"{signed_part}.{encoded(issuer.sign(signed_part.encode()))}"


def test_an_account_with_a_credentials_file_is_let_in_and_no_other(tmp_path):
    no_limit = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    jetstream = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    operator, system, account = (
        signer(prefix) for prefix in (nkeys.PREFIX_BYTE_OPERATOR, *2 * (nkeys.PREFIX_BYTE_ACCOUNT,))
    )
    jwts = {
        each.public_key.decode(): token(
            operator, each, name, {"type": "account", "limits": {**no_limit, **more}}
        )
        for each, name, more in ((system, "SYS", {}), (account, "consortium", jetstream))
    }
    (tmp_path / "operator.jwt").write_text(token(operator, operator, "op", {"type": "operator"}))
    config = (
        'listen: "127.0.0.1:{port}"\njetstream { store_dir: "{store}" }\n'
        f'operator: "{tmp_path / "operator.jwt"}"\n'
        f"system_account: {system.public_key.decode()}\n"
        f"resolver: MEMORY\nresolver_preload: {json.dumps(jwts)}\n"
    )

    def credentials(name, by):
        user = signer(nkeys.PREFIX_BYTE_USER)
        jwt = token(
            by, user, name, {"type": "user", **dict.fromkeys(("subs", "data", "payload"), -1)}
        )
        path = tmp_path / f"{name}.creds"
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            "-----BEGIN USER NKEY SEED-----\n"
            f"{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
        return options_of(credentials=path)

    north, stranger = (
        credentials("north", account),
        credentials("stranger", signer(nkeys.PREFIX_BYTE_ACCOUNT)),
    )

    async def scenario(server):
        client = await nats.connect(server.url, **north)
        await client.jetstream().add_stream(name="qis", subjects=["qis.>"])
        await client.close()
        async with (
            on(server, 1, "qis", options=north) as writer,
            on(server, 2, "qis", options=north) as reader,
            reader.subscribe(SCHEME.interest(NEAR)) as deliveries,
        ):
            await writer.publish(packet(), keys())
            assert await taken(deliveries, 1) == [packet()]
        with pytest.raises(qis.TransportError, match=r"(?i)authorization|refuses an account"):
            async with on(server, 1, "qis", options=stranger):
                pass

    with NATSServer(tmp_path, config) as server:
        run(scenario(server))

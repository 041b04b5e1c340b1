"""CloudTransport on the S3 protocol (moto's server) and on SFTP (asyncssh's server)."""

import asyncio
import itertools
import socket
import threading
from contextlib import AsyncExitStack, asynccontextmanager

import asyncssh
import pytest
from moto.server import ThreadedMotoServer

import qis
from qis.errors import InputError, TransportError
from qis.testing import VirtualClock, check_transport
from qis.transport.cloud import CloudTransport

SECRET = bytes(range(32))
SCHEME = qis.VectorScheme(dimensions=4)
ABOUT = [1.0, 0.5, -0.2, 0.1]
INTEREST = SCHEME.interest(ABOUT)
KEYS = tuple(SCHEME.routing_keys(ABOUT))
NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([number]) * 32) for number in range(1, 4)]
RETRIES = {"retries": {"max_attempts": 0}}
FOLDERS = (f"folder-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def bucket():
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "key": "test",
        "secret": "test",
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "eu-west-1"},
    }
    import s3fs  # noqa: PLC0415

    s3fs.S3FileSystem(**options).mkdir("consortium")
    yield "s3://consortium", options
    server.stop()


@pytest.fixture(scope="module")
def sftp(tmp_path_factory):
    """An SFTP server in a thread, with an event loop of its own."""
    root = tmp_path_factory.mktemp("sftp")
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop, ready, found = asyncio.new_event_loop(), threading.Event(), []

    connections = []

    class Anybody(asyncssh.SSHServer):
        def connection_made(self, conn):
            connections.append(conn)

        def begin_auth(self, username):
            return False

    async def start():
        server = await asyncssh.create_server(
            Anybody,
            "127.0.0.1",
            0,
            server_host_keys=[key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root)),
        )
        found.append(server)
        ready.set()

    def serve():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(20)
    port = found[0].get_port()
    yield f"sftp://127.0.0.1:{port}", {"port": port, "username": "x", "known_hosts": None}

    async def end():
        found[0].close()
        await found[0].wait_closed()
        for each in connections:
            each.abort()
            await each.wait_closed()
        await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(end(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


@pytest.fixture(params=["bucket", "sftp"])
def store(request):
    return request.getfixturevalue(request.param)


def node(store, folder, identity, **options):
    url, fs = store
    options = {"roster": qis.Roster.open(), "secret": SECRET, "poll_s": 0.05, **options}
    return CloudTransport(f"{url}/{folder}", identity, options=fs, **options)


def packet(question="q", identity=SITES[0]):
    return qis.Packet.sign(
        identity,
        outcome=qis.Effect(question=question, measure="OR", estimate=-0.3, standard_error=0.1),
        fingerprint=SCHEME.fingerprint(ABOUT),
        issued_at=NOW,
        lifetime_s=86_400,
        routing_keys=KEYS,
    )


def run(scenario):
    async def limited():
        async with asyncio.timeout(120):
            await scenario

    asyncio.run(limited())


def test_it_keeps_the_contract(store, tmp_path, faults):
    faults.allow("reception.", "cloud.")

    @asynccontextmanager
    async def network(identities):
        folder = next(FOLDERS)
        async with AsyncExitStack() as stack:
            made = [
                node(store, folder, each, seen=tmp_path / f"{folder}-{number}")
                for number, each in enumerate(identities)
            ]
            yield [await stack.enter_async_context(each) for each in made]

    run(check_transport(network))


async def night(store, folder, seen, number, day):
    """One night of a site: how many packets came, and how many objects were read."""
    clock = VirtualClock(NOW + day * 3_600)
    got = []
    async with node(store, folder, SITES[1], seen=seen, clock=clock) as reader:
        async with reader.subscribe(INTEREST, name="interest-1", memory=b"m") as deliveries:
            for _ in range(number):
                delivery = await anext(deliveries)
                await delivery.done()
                got.append(delivery.packet)
        return set(got), reader.files_read


def test_a_night_reads_only_what_is_new(store, tmp_path):
    async def scenario():
        folder, clock = next(FOLDERS), VirtualClock(NOW)
        first = {packet(f"first {number}") for number in range(8)}
        second = {packet(f"second {number}") for number in range(3)}
        async with node(store, folder, SITES[0], clock=clock) as writer:
            for each in first:
                await writer.publish(each, KEYS)
            assert await night(store, folder, tmp_path / "seen", 8, 0) == (first, 8)
            for each in second:
                await writer.publish(each, KEYS)
            assert await night(store, folder, tmp_path / "seen", 3, 1) == (second, 3)
            # Without the memory everything is read again.
            assert await night(store, folder, tmp_path / "other", 11, 1) == (first | second, 11)

    run(scenario())


def test_what_a_wrong_clock_refused_is_read_again_when_it_is_right(bucket, tmp_path):
    async def scenario():
        folder, clock = next(FOLDERS), VirtualClock(NOW)
        ahead, seen = VirtualClock(NOW + 30 * 86_400), tmp_path / "seen"
        async with node(bucket, folder, SITES[0], clock=clock) as writer:
            await writer.publish(packet(), KEYS)
            async with (
                node(bucket, folder, SITES[1], seen=seen, clock=ahead) as reader,
                reader.subscribe(INTEREST, name="interest-1", memory=b"m"),
            ):
                while not reader.statistics.refused["ExpiredError"]:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                for _ in range(100):  # until the listing is noted
                    await asyncio.sleep(0)
            assert await night(bucket, folder, seen, 1, 0) == ({packet()}, 1)

    run(scenario())


def test_another_secret_opens_nothing(bucket):
    async def scenario():
        folder, told = next(FOLDERS), asyncio.Event()
        clock = VirtualClock(NOW)
        async with (
            node(bucket, folder, SITES[0], clock=clock) as writer,
            node(bucket, folder, SITES[1], secret=bytes(32), clock=clock) as reader,
        ):
            reader.notices.listen(lambda notice: told.set() if notice.kind == "refusal" else None)
            await writer.publish(packet(), KEYS)
            async with reader.subscribe(INTEREST):
                await told.wait()
            assert reader.statistics.delivered == 0

    run(scenario())


def test_a_store_that_is_away_is_told(bucket):
    url, options = bucket
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gone = {**options["client_kwargs"], "endpoint_url": f"http://127.0.0.1:{port}"}

    async def scenario():
        away = CloudTransport(
            f"{url}/x",
            SITES[0],
            roster=qis.Roster.open(),
            clear=True,
            options={
                **options,
                "client_kwargs": gone,
                "config_kwargs": {"retries": {"max_attempts": 0}},
            },
        )
        with pytest.raises(TransportError, match="cannot be used"):
            async with away:
                await away.publish(packet(), KEYS)

    run(scenario())


def test_a_plain_folder_is_not_made_of_an_address(tmp_path):
    with pytest.raises(InputError, match="CloudTransport"):
        qis.DirectoryTransport("s3://bucket/folder", SITES[0])


def test_wrong_arguments_are_named():
    for options, said in (({}, "clear=True"), ({"clear": True, "poll_s": 0.0}, "poll_s")):
        with pytest.raises(InputError, match=said):
            CloudTransport("memory://x", SITES[0], roster=qis.Roster.open(), **options)
    with pytest.raises(InputError, match="url"):
        CloudTransport("plain", SITES[0], roster=qis.Roster.open(), clear=True)

"""CloudTransport on the S3 protocol (moto's server) and on SFTP (asyncssh's server)."""

import asyncio
import itertools
import socket
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
from moto.server import ThreadedMotoServer

import qis
from qis.errors import InputError, TransportError
from qis.testing import VirtualClock, check_transport
from qis.transport.cloud import CloudTransport
from tests._builders import effect, signed

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
def sftp(sftp_server):
    return sftp_server[:2]


@pytest.fixture(scope="module")
def sftp_server(tmp_path_factory):
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

    async def drop():
        for each in connections:
            each.abort()

    def broken():
        """Break all connections, as a firewall does."""
        asyncio.run_coroutine_threadsafe(drop(), loop).result(20)

    yield f"sftp://127.0.0.1:{port}", {"port": port, "username": "x", "known_hosts": None}, broken

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


def packet(question="q", identity=SITES[0], lifetime_s=86_400):
    outcome = effect(-0.3, question=question)
    return signed(identity, outcome, scheme=SCHEME, about=ABOUT, at=NOW, lifetime_s=lifetime_s)


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


def test_a_connection_that_breaks_is_made_anew(sftp_server, faults):
    faults.allow("cloud.poll: TransportError", "cloud.file: TransportError")
    *store, broken = sftp_server

    async def scenario():
        folder, clock = next(FOLDERS), VirtualClock(NOW)
        async with (
            node(store, folder, SITES[0], clock=clock) as writer,
            node(store, folder, SITES[1], clock=clock) as reader,
            reader.subscribe(INTEREST) as deliveries,
        ):
            for number in range(3):
                sent = packet(f"number {number}")
                try:
                    await writer.publish(sent, KEYS)
                except TransportError:
                    assert {each.code for each in writer.health.reasons} == {"store_away"}
                    assert not writer.holding(sent.id).is_held
                    assert not await writer.flush(1.0)
                    await writer.publish(sent, KEYS)
                assert writer.health.reasons == ()
                assert writer.holding(sent.id).is_held
                assert await writer.flush(1.0)
                assert (await anext(deliveries)).packet == sent
                broken()

    run(scenario())


def test_a_server_whose_key_nobody_knows_is_refused(sftp, tmp_path, monkeypatch):
    """By default sshfs takes every server for the right one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    url, options = sftp
    options = {name: value for name, value in options.items() if name != "known_hosts"}

    async def scenario():
        with pytest.raises(TransportError, match=r"not trusted|HostKey"):
            async with node((url, options), next(FOLDERS), SITES[0]):
                pass

    run(scenario())


@pytest.fixture
def local(tmp_path):
    """A folder of this machine, by fsspec: what is the same for all stores is seen here."""
    return f"file://{tmp_path}", {}


def names_in(local, folder):
    return sorted(path.name for path in objects_in(local, folder))


def objects_in(local, folder):
    return Path(local[0].removeprefix("file://"), folder).rglob("*.qis")


def test_it_waits_until_what_the_store_holds_has_come(local, monkeypatch):
    monkeypatch.setattr("qis.transport.inbox.INBOX_LIMIT", 4)  # it has to wait for room, too

    async def scenario():
        clock, sent = VirtualClock(NOW), {packet(f"{number}") for number in range(20)}
        async with (
            node(local, "x", SITES[0], clock=clock) as writer,
            node(local, "x", SITES[1], clock=clock, poll_s=1_000.0) as reader,
            reader.subscribe(INTEREST) as deliveries,
        ):
            await reader.catch_up(10.0)
            for each in sent:
                await writer.publish(each, KEYS)
            got = set()

            async def take():
                async for delivery in deliveries:
                    got.add(delivery.packet)

            taking = asyncio.create_task(take())
            await reader.catch_up(60.0)
            for _ in range(20):
                await asyncio.sleep(0)
            taking.cancel()
            assert got == sent
            assert reader.files_read == 20  # what had no room was not read twice

    run(scenario())


def test_own_packets_that_have_expired_or_are_withdrawn_are_deleted(local, tmp_path):
    async def scenario():
        clock = VirtualClock(NOW)
        mine, other = packet("mine"), packet("other", SITES[1])
        withdrawn = packet("withdrawn")

        async def opened(at, **options):
            clock.now = at
            async with node(
                local, "x", SITES[0], clock=clock, seen=tmp_path / "seen", **options
            ) as made:
                made._store.time = lambda: store_time(made)
                await settled(made)
                return made.statistics.tidied

        theirs = NOW

        async def store_time(_):
            return theirs

        async with (
            node(local, "x", SITES[0], clock=clock, seen=tmp_path / "seen") as writer,
            node(local, "x", SITES[1], clock=clock) as second,
        ):
            await writer.publish(mine, KEYS)
            await writer.publish(withdrawn, KEYS)
            await second.publish(other, KEYS)
            second.withdraw([withdrawn])  # not its own
            await settled(second)
            assert len(names_in(local, "x")) == 3
            writer.withdraw([withdrawn, other])
            await settled(writer)
        kept = sorted(f"{each.id.hex()}.qis" for each in (mine, other))
        assert names_in(local, "x") == kept
        assert await opened(NOW + 100) == 0
        assert await opened(NOW + 2 * 86_400) == 0  # the store's clock does not say so
        assert names_in(local, "x") == kept
        theirs = NOW + 2 * 86_400
        assert await opened(NOW + 2 * 86_400) == 1
        assert names_in(local, "x") == [f"{other.id.hex()}.qis"]

    run(scenario())


async def settled(made):
    """Until the transport has tidied once more."""
    tidied, tidy = asyncio.Event(), made._tidy

    async def told():
        await tidy()
        tidied.set()

    made._tidy = told
    made._untidy.set()
    await tidied.wait()


def test_the_clock_of_a_store_is_read(store):
    async def scenario():
        async with node(store, next(FOLDERS), SITES[0]) as made:
            assert abs(await made._store.time() - time.time()) < 60.0

    run(scenario())


def test_what_is_published_again_is_written_once(local, tmp_path):
    async def scenario():
        clock, seen = VirtualClock(NOW), tmp_path / "seen"
        for day in range(3):
            clock.now = NOW + day * 20_000
            async with node(local, "x", SITES[0], clock=clock, seen=seen) as writer:
                await writer.publish(packet(), KEYS)
                assert writer.holding(packet().id).is_held
        (only,) = objects_in(local, "x")
        only.unlink()  # somebody else has deleted it
        async with node(local, "x", SITES[0], clock=clock, seen=seen) as writer:
            await writer.publish(packet(), KEYS)
        assert len(names_in(local, "x")) == 1

    run(scenario())


def test_a_draft_that_vanishes_while_a_folder_is_listed_hides_nothing(local, monkeypatch):
    """Some file systems look at each entry, and the whole listing fails where one is gone."""
    from fsspec.implementations.local import LocalFileSystem  # noqa: PLC0415

    failures = [FileNotFoundError("a draft")] * 5
    listed = LocalFileSystem.ls

    def failing(self, path, **options):
        if failures and path.endswith("-15"):
            raise failures.pop()
        return listed(self, path, **options)

    monkeypatch.setattr(LocalFileSystem, "ls", failing)

    async def scenario():
        clock = VirtualClock(NOW)
        async with (
            node(local, "x", SITES[0], clock=clock) as writer,
            node(local, "x", SITES[1], clock=clock, poll_s=1_000.0) as reader,
        ):
            await writer.publish(packet(), KEYS)
            async with reader.subscribe(INTEREST) as deliveries:
                assert (await anext(deliveries)).packet == packet()
        assert not failures

    run(scenario())


@pytest.mark.parametrize(
    ("where", "days_later", "comes"),
    [("", 0, True), ("2020-01-01", 8, True), ("2020-01-01", 1, False)],
    ids=["flat", "old, once a week", "old, the next day"],
)
def test_flat_and_old_objects_are_read(local, tmp_path, where, days_later, comes):
    """What lies in no folder of a date always, in those of long ago once a week."""

    async def scenario():
        clock, seen = VirtualClock(NOW), tmp_path / "seen"
        first, second = packet("first"), packet("second", lifetime_s=30 * 86_400)
        last = packet("last", lifetime_s=30 * 86_400)
        async with node(local, "x", SITES[0], clock=clock) as writer:
            await writer.publish(first, KEYS)
            assert await night(local, "x", seen, 1, 0) == ({first}, 1)
            await writer.publish(second, KEYS)
            (made,) = [each for each in objects_in(local, "x") if second.id.hex() in each.name]
            root = Path(local[0].removeprefix("file://"), "x", where)
            await asyncio.to_thread(root.mkdir, exist_ok=True)
            await asyncio.to_thread(made.rename, root / made.name)
            await writer.publish(last, KEYS)
            wanted = {last, second} if comes else {last}
            got, _ = await night(local, "x", seen, len(wanted), 24 * days_later)
            assert got == wanted

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

"""DirectoryTransport: the contract of all transports, and what a folder does to files."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from blake3 import blake3

import qis
from qis.errors import InputError, TransportError
from qis.testing import check_transport
from qis.transport import DirectoryTransport

NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = (0.2, -1.0, 0.7)
POLL_S = 0.005


def signed(site=0, second=0, lifetime_s=3600):
    return qis.Packet.sign(
        SITES[site],
        outcome=qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=1.0),
        fingerprint=SCHEME.fingerprint(ABOUT),
        routing_keys=SCHEME.routing_keys(ABOUT),
        issued_at=NOW + second,
        lifetime_s=lifetime_s,
    )


def opened(path, site, **options):
    return DirectoryTransport(path, SITES[site], poll_s=POLL_S, clock=lambda: NOW + 10, **options)


async def published(path, packet, site=0):
    async with opened(path, site) as transport:
        await transport.publish(packet, SCHEME.routing_keys(ABOUT))
    return path / f"{packet.id.hex()}.qis"


async def received(transport, number):
    got = []
    async with transport.subscribe(SCHEME.interest(ABOUT, min_similarity=0.9)) as deliveries:
        async with asyncio.timeout(20):
            async for delivery in deliveries:
                got.append(delivery.packet)
                if len(got) == number:
                    return got
    return got


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  the reader runs between
            await asyncio.sleep(0)


def run(coroutine):
    return asyncio.run(coroutine)


def test_the_contract_of_all_transports(tmp_path):
    folders = iter(range(100))

    @asynccontextmanager
    async def network(identities):
        folder = tmp_path / f"{next(folders)}"
        folder.mkdir()
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(DirectoryTransport(folder, identity, poll_s=POLL_S))
                for identity in identities
            ]

    run(check_transport(network))


def test_who_comes_later_resumes(tmp_path):
    async def scenario():
        packets = [signed(second=n) for n in range(3)]
        for packet in packets:
            await published(tmp_path, packet)
        async with opened(tmp_path, 1) as transport:
            assert set(await received(transport, 3)) == set(packets)
        async with opened(tmp_path, 1) as transport:
            assert set(await received(transport, 3)) == set(packets)

    run(scenario())


@pytest.mark.parametrize("cut", [0, 100, 512, 550, -1])
def test_a_copy_under_way_is_read_when_it_is_whole(tmp_path, cut):
    async def scenario():
        file = await published(tmp_path, signed())
        whole = file.read_bytes()
        file.write_bytes(whole[:cut])
        async with opened(tmp_path, 1) as transport:
            await until(lambda: transport.statistics.refused["IncompleteFile"])
            assert transport.statistics.delivered == 0
            file.write_bytes(whole)
            assert await received(transport, 1) == [signed()]

    run(scenario())


def test_foreign_files_are_ignored_and_stay(tmp_path):
    async def scenario():
        for name in ("notes.txt", "x.qis", ".hidden", f"{'0' * 64}.qis.tmp", ".qis-other-1.part"):
            (tmp_path / name).write_bytes(b"mine")
        (tmp_path / f"{'a' * 64}.qis").mkdir()
        (tmp_path / f"{'b' * 64}.qis").symlink_to(tmp_path / "notes.txt")
        (tmp_path / f"{'c' * 64}.qis").write_bytes(b"x" * 5000)
        before = sorted(path.name for path in tmp_path.iterdir())
        file = await published(tmp_path, signed())
        async with opened(tmp_path, 1) as transport:
            assert await received(transport, 1) == [signed()]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, file.name])

    run(scenario())


def test_only_own_expired_and_own_unfinished_files_are_deleted(tmp_path):
    async def scenario():
        mine, theirs = signed(0, lifetime_s=5), signed(1, lifetime_s=5)
        alive = signed(0, second=1)
        files = [await published(tmp_path, p, s) for p, s in ((mine, 0), (theirs, 1), (alive, 0))]
        part = tmp_path / f".qis-{str(SITES[0].issuer)[:16]}-77.part"
        part.write_bytes(b"half")
        async with opened(tmp_path, 0):
            pass
        assert [file.exists() for file in files] == [False, True, True]
        assert not part.exists()

    run(scenario())


def test_a_changed_file_is_refused_and_counted(tmp_path):
    async def scenario():
        file = await published(tmp_path, signed())
        forged = bytearray(file.read_bytes())
        forged[200] ^= 1
        file.write_bytes(forged[:-32] + blake3(bytes(forged[:-32])).digest())
        async with opened(tmp_path, 1) as transport:
            await until(transport.statistics.refused.total)
            assert transport.statistics.refused["SignatureError"] == 1

    run(scenario())


def test_many_writers_at_once_lose_nothing(tmp_path):
    async def scenario():
        packets = [signed(n % 3, second=n) for n in range(60)]
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(opened(tmp_path, n)) for n in range(3)]
            reader = await stack.enter_async_context(
                DirectoryTransport(
                    tmp_path,
                    qis.Identity.from_seed(bytes(32)),
                    poll_s=POLL_S,
                    clock=lambda: NOW + 100,
                )
            )
            keys = SCHEME.routing_keys(ABOUT)
            waiting = asyncio.create_task(received(reader, len(packets)))
            await asyncio.gather(
                *(nodes[n % 3].publish(packet, keys) for n, packet in enumerate(packets)),
                *(nodes[n % 3].publish(packet, keys) for n, packet in enumerate(packets)),
            )
            assert set(await waiting) == set(packets)
        assert len(list(tmp_path.iterdir())) == len(packets)

    run(scenario())


def test_a_folder_that_is_away_is_an_error_when_opened_and_waited_for_later(tmp_path):
    async def scenario():
        with pytest.raises(TransportError, match="mount"):
            await opened(tmp_path / "away", 0).__aenter__()
        folder = tmp_path / "share"
        folder.mkdir()
        async with opened(folder, 1) as transport:
            folder.rename(tmp_path / "gone")
            with pytest.raises(TransportError, match="not published"):
                await transport.publish(signed(1), SCHEME.routing_keys(ABOUT))
            await until(lambda: transport.statistics.refused["FileNotFoundError"])
            await published(tmp_path / "gone", signed())
            (tmp_path / "gone").rename(folder)
            assert await received(transport, 1) == [signed()]

    run(scenario())


def test_wrong_arguments(tmp_path):
    with pytest.raises(InputError):
        DirectoryTransport(tmp_path, SITES[0], poll_s=0.0)

    async def closed():
        await DirectoryTransport(tmp_path, SITES[0]).publish(signed(), ())

    with pytest.raises(TransportError, match="closed"):
        run(closed())

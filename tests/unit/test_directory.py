"""A shared folder as a network: the contract, partial copies, foreign files, and nobody's loss."""

import asyncio
import errno
import os
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

import qis
from qis.errors import InputError, TransportError
from qis.health import HealthState
from qis.packet import content_id
from qis.testing import VirtualClock, check_transport
from qis.transport._folder_watch import FolderMark
from qis.transport._shared_file import read_regular
from qis.transport.directory import DirectoryTransport
from tests._builders import effect, signed, site

NOW = 1_800_000_000
PAST = 1_700_000_000
SCHEME = qis.VectorScheme(dimensions=4)
NEAR = [1.0, 0.5, -0.2, 0.1]
CLOCK = VirtualClock(NOW)


def packet_of(number, question="a vs b", **changes):
    outcome = effect(-0.3, question=question)
    return signed(number, outcome, scheme=SCHEME, about=NEAR, **{"at": NOW, **changes})


def open_in(folder, number, **options):
    return DirectoryTransport(folder, site(number), **{"poll_s": 0.005, "clock": CLOCK, **options})


async def first(deliveries):
    async with asyncio.timeout(20):
        return (await anext(aiter(deliveries))).packet


def test_a_folder_keeps_the_contract_of_transports(tmp_path, faults):
    faults.allow("reception.", "directory.file")
    count = 0

    @asynccontextmanager
    async def network(identities):
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        made = [DirectoryTransport(folder, one, poll_s=0.005) for one in identities]
        async with made[0], made[1], made[2]:
            yield made

    asyncio.run(check_transport(network))


def test_a_partial_copy_is_taken_once_it_is_whole(tmp_path):
    packet = packet_of(1)
    keys = b"".join(sorted({*SCHEME.routing_keys(NEAR), packet.outcome.study_id}))
    content = bytes(packet) + keys
    path = tmp_path / f"{packet.id.hex()}.qis"

    async def scenario():
        reader = open_in(tmp_path, 2, poll_s=9999.0)
        async with reader, reader.subscribe(SCHEME.interest(NEAR)) as deliveries:
            for size in (0, 100, 512, 515, len(content) - 8):
                path.write_bytes(content[:size])
                await reader._take_in()
            assert reader.statistics.delivered == 0
            path.write_bytes(content)
            await reader._take_in()
            assert await first(deliveries) == packet
        assert reader.statistics.refused == {"foreign_file": 3, "RoutingKeysError": 2}

    asyncio.run(scenario())


def test_foreign_files_are_ignored_and_left_alone(tmp_path):
    packet = packet_of(1)
    foreign = {
        "notes.txt": b"hello",
        f"{'0' * 64}.qis": bytes(packet),
        f"{'1' * 64}.qis": bytes(10**6),
        f"{'A' * 64}.qis": bytes(packet),
        ".hidden.tmp": b"x",
        f".{site(2).issuer}.0011.tmp": b"ours, but fresh",
    }
    for name, content in foreign.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / f"{'2' * 64}.qis").mkdir()
    (tmp_path / f"{'3' * 64}.qis").symlink_to(tmp_path / "notes.txt")

    async def scenario():
        reader, writer = open_in(tmp_path, 2), open_in(tmp_path, 1)
        async with reader, writer, reader.subscribe(SCHEME.interest(NEAR)) as deliveries:
            await writer.publish(packet, SCHEME.routing_keys(NEAR))
            assert await first(deliveries) == packet
            assert reader.statistics.delivered == 1

    asyncio.run(scenario())
    for name, content in foreign.items():
        assert (tmp_path / name).read_bytes() == content


def test_only_own_expired_packets_and_own_old_drafts_are_deleted(tmp_path):
    past = {"at": PAST}  # by the file server's time too, which is this machine's real one
    mine, theirs = packet_of(1, **past), packet_of(2, **past)
    alive = packet_of(1, lifetime_s=90_000)
    draft = tmp_path / f".{site(1).issuer}.0011.tmp"

    async def scenario():
        for number, packets in ((1, [mine, alive]), (2, [theirs])):
            async with open_in(tmp_path, number) as transport:
                for packet in packets:
                    await transport.publish(packet, SCHEME.routing_keys(NEAR))
        draft.write_bytes(b"left behind")
        os.utime(draft, (0, 0))
        transport = open_in(tmp_path, 1, clock=VirtualClock(NOW + 7200))
        told = []
        transport.notices.listen(told.append)
        async with transport:
            return told, transport.statistics.tidied

    told, tidied = asyncio.run(scenario())
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{packet.id.hex()}.qis" for packet in (theirs, alive)}
    assert ([notice.subject for notice in told], tidied) == (["folder_tidied"], 1)


def test_a_clock_that_is_ahead_deletes_nothing_that_the_file_server_calls_valid(tmp_path):
    packets = [packet_of(1, question=f"{number}", lifetime_s=90_000) for number in range(3)]

    async def scenario():
        async with open_in(tmp_path, 1) as transport:
            for packet in packets:
                await transport.publish(packet, SCHEME.routing_keys(NEAR))
        ahead = open_in(tmp_path, 1, clock=VirtualClock(NOW + 400 * 86_400))
        told = []
        ahead.notices.listen(told.append)
        async with ahead:
            assert ahead.statistics.tidied == 0
        return told

    told = [notice for notice in asyncio.run(scenario()) if notice.subject == "clock_files"]
    assert [notice.reason.split(" of ")[0] for notice in told] == ["3 packets"]
    assert {path.name for path in tmp_path.iterdir()} == {f"{p.id.hex()}.qis" for p in packets}


@pytest.fixture
def mount(tmp_path, monkeypatch):
    """A folder that can be unmounted: moved away, an empty one of another device in its place."""

    class Mount:
        path = tmp_path / "share"
        hidden = tmp_path / "hidden"
        devices = iter(range(2**40, 2**41))

        def __init__(self):
            self.device = next(self.devices)
            monkeypatch.setattr("qis.transport.directory._mark_of", self.mark)

        def mark(self, folder):
            return FolderMark(self.device, folder.stat().st_ino)

        def unmount(self):
            self.path.rename(self.hidden)
            self.path.mkdir()
            self.device = next(self.devices)

        def mount(self):
            self.path.rmdir()  # which fails if anything was written into the mount point
            self.hidden.rename(self.path)
            self.device = next(self.devices)

    return Mount()


def test_an_empty_mount_point_in_place_of_the_share_is_told_and_takes_nothing_back(mount):
    early = [packet_of(number, at=NOW + 86_400) for number in (2, 3)]

    async def scenario():
        async with open_in(mount.path, 2) as one, open_in(mount.path, 3) as other:
            for transport, packet in ((one, early[0]), (other, early[1])):
                await transport.publish(packet, SCHEME.routing_keys(NEAR))
        reader = open_in(mount.path, 1, poll_s=9999.0)
        keys = SCHEME.routing_keys(NEAR)
        async with reader, reader.subscribe(SCHEME.interest(NEAR)):
            await reader._take_in()
            assert reader._reading.waiting == 2
            mount.unmount()
            await reader._take_in()
            assert reader._reading.waiting == 2
            assert reader.health.state is HealthState.CUT_OFF
            assert [reason.code for reason in reader.health.reasons] == ["folder_replaced"]
            packet = packet_of(1)
            with pytest.raises(TransportError, match="share mounted"):
                await reader.publish(packet, keys)
            assert not list(mount.path.iterdir())
            assert not reader.holding(packet.id).is_held
            mount.mount()
            await reader.publish(packet, keys)
            assert reader.holding(packet.id).is_held
            await reader._take_in()
            assert reader.health.state is HealthState.OK
            assert reader._reading.waiting == 2

    asyncio.run(scenario())


def test_who_only_publishes_learns_of_the_mount_point_too(mount):
    async def scenario():
        async with open_in(mount.path, 1) as writer:
            await writer.publish(packet_of(1), SCHEME.routing_keys(NEAR))
            mount.unmount()
            with pytest.raises(TransportError, match="share mounted"):
                await writer.publish(packet_of(1, question="c"), SCHEME.routing_keys(NEAR))
            codes = [reason.code for reason in writer.health.reasons]
            assert codes[0] == "folder_replaced"
            mount.mount()  # under another device number
            await writer.publish(packet_of(1, question="c"), SCHEME.routing_keys(NEAR))
            assert writer.health.state is HealthState.OK

    asyncio.run(scenario())


def test_a_folder_that_loses_all_its_packets_at_once_is_told(tmp_path):
    async def scenario():
        async with open_in(tmp_path, 2) as writer:
            for question in "ab":
                await writer.publish(
                    packet_of(2, question=question, at=NOW + 86_400),
                    SCHEME.routing_keys(NEAR),
                )
        reader = open_in(tmp_path, 1, poll_s=9999.0)
        async with reader, reader.subscribe(SCHEME.interest(NEAR)):
            await reader._take_in()
            for path in tmp_path.iterdir():
                path.unlink()
            await reader._take_in()
            assert reader.health.state is HealthState.DEGRADED
            assert [reason.code for reason in reader.health.reasons] == ["folder_replaced"]
            assert reader._reading.waiting == 2
            await reader.publish(packet_of(1), SCHEME.routing_keys(NEAR))  # goes on, and says so
            await reader._take_in()
            assert reader.health.state is HealthState.OK
            assert not reader._reading.waiting

    asyncio.run(scenario())


def test_taking_back_the_own_packets_is_no_loss(tmp_path):
    packets = [packet_of(1, question=question) for question in "ab"]

    async def scenario():
        node = open_in(tmp_path, 1, poll_s=9999.0)
        async with node, node.subscribe(SCHEME.interest(NEAR)):
            for packet in packets:
                await node.publish(packet, SCHEME.routing_keys(NEAR))
            await node._take_in()
            node.withdraw(packets)
            await node._take_in()
            assert node.health.state is HealthState.OK

    asyncio.run(scenario())


def test_publishing_twice_writes_once_and_a_damaged_copy_is_mended(tmp_path):
    packet, keys = packet_of(1), SCHEME.routing_keys(NEAR)
    path = tmp_path / f"{packet.id.hex()}.qis"

    async def scenario():
        async with open_in(tmp_path, 1) as writer:
            await writer.publish(packet, keys)
            before = path.stat().st_mtime_ns
            sent = writer.statistics.bytes_sent
            await writer.publish(packet, keys)
            assert (path.stat().st_mtime_ns, writer.statistics.bytes_sent) == (before, sent)
            path.write_bytes(b"damaged")
            await writer.publish(packet, keys)
            assert path.read_bytes()[:512] == bytes(packet)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

    asyncio.run(scenario())


def test_tampered_and_expired_files_are_refused_by_name(tmp_path):
    packet = packet_of(1)
    keys = b"".join(sorted({*SCHEME.routing_keys(NEAR), packet.outcome.study_id}))
    raw = bytearray(bytes(packet))
    raw[500] ^= 1  # the id does not cover the signature, so the name still fits
    (tmp_path / f"{packet.id.hex()}.qis").write_bytes(bytes(raw) + keys)
    old = packet_of(1, at=NOW - 7200, lifetime_s=3600)
    (tmp_path / f"{old.id.hex()}.qis").write_bytes(bytes(old) + keys)
    wrong = packet_of(1, question="other")
    (tmp_path / f"{wrong.id.hex()}.qis").write_bytes(bytes(wrong) + bytes(8))

    async def scenario():
        reader = open_in(tmp_path, 2, poll_s=9999.0)
        async with reader, reader.subscribe(SCHEME.interest(NEAR)):
            for _ in range(3):  # files that have not changed are not looked at again
                await reader._take_in()
            return reader.statistics

    statistics = asyncio.run(scenario())
    assert statistics.refused == {"SignatureError": 1, "ExpiredError": 1, "RoutingKeysError": 1}
    assert statistics.delivered == 0


def test_a_reader_that_was_away_resumes(tmp_path):
    async def scenario():
        async with open_in(tmp_path, 1) as writer:
            sent = [packet_of(1, question=f"question {n}") for n in range(20)]
            for packet in sent:
                await writer.publish(packet, SCHEME.routing_keys(NEAR))
        for _ in range(2):
            reader = open_in(tmp_path, 2)
            async with reader, reader.subscribe(SCHEME.interest(NEAR)) as deliveries:
                got = {(await first(deliveries)).id for _ in sent}
                assert got == {packet.id for packet in sent}

    asyncio.run(scenario())


WRITER = """
import asyncio, sys, qis
from qis.transport.directory import DirectoryTransport
scheme = qis.VectorScheme(dimensions=4)
about = [1.0, 0.5, -0.2, 0.1]
async def main():
    site = qis.Identity.from_seed(bytes([int(sys.argv[2])]) * 32)
    async with DirectoryTransport(sys.argv[1], site) as transport:
        for number in range(100):
            effect = qis.Effect(question=f"q {number}", measure="OR", estimate=0.1,
                                standard_error=0.2)
            packet = qis.Packet.sign(site, outcome=effect, fingerprint=scheme.fingerprint(about),
                                     issued_at=1_800_000_000, lifetime_s=3600,
                                     sequence=1_800_000_000_000_000 + number,
                                     routing_keys=scheme.routing_keys(about))
            await transport.publish(packet, scheme.routing_keys(about))
asyncio.run(main())
"""


def test_several_processes_write_at_once_and_nothing_is_lost(tmp_path):
    # Two of the three are the same site writing the same packets.
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), number])  # noqa: S603
        for number in ("1", "1", "3")
    ]

    async def scenario():
        reader = open_in(tmp_path, 2)
        async with reader, reader.subscribe(SCHEME.interest(NEAR)) as deliveries:
            got = {(await first(deliveries)).id for _ in range(200)}
            return got, reader.statistics

    got, statistics = asyncio.run(scenario())
    assert [writer.wait(timeout=30) for writer in writers] == [0, 0, 0]
    assert len(got) == 200
    assert statistics.refused == {}
    assert len(list(tmp_path.glob("*.qis"))) == 200


def test_a_full_disk_says_so_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario():
        async with open_in(tmp_path, 1) as writer:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", full)
                with pytest.raises(TransportError, match=r"No space left.*nothing was published"):
                    await writer.publish(packet_of(1), SCHEME.routing_keys(NEAR))
            assert list(tmp_path.iterdir()) == []
            assert writer.statistics.published == 0
            await writer.publish(packet_of(1), SCHEME.routing_keys(NEAR))

    asyncio.run(scenario())
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_or_written_says_so(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")

    async def scenario():
        with pytest.raises(TransportError, match="file"):
            async with open_in(blocked, 1):
                pass
        with pytest.raises(TransportError, match="missing"):
            async with open_in(tmp_path / "missing" / "folder", 1):
                pass
        with pytest.raises(TransportError, match="not open"):
            await open_in(tmp_path, 1).publish(packet_of(1), SCHEME.routing_keys(NEAR))

    asyncio.run(scenario())
    with pytest.raises(InputError, match="poll_s"):
        open_in(tmp_path, 1, poll_s=0.0)


def test_a_forged_packet_under_our_own_key_does_not_keep_us_out(tmp_path):
    forged = bytearray(bytes(packet_of(0)))
    forged[-1] ^= 1
    name = f"{content_id(bytes(forged)).hex()}.qis"
    (tmp_path / name).write_bytes(forged)

    async def scenario():
        async with open_in(tmp_path, 0):
            assert (tmp_path / name).exists()

    asyncio.run(scenario())


def test_one_unreadable_file_does_not_hide_the_others(tmp_path, monkeypatch):
    locked = tmp_path / f"{'0' * 64}.qis"
    locked.write_bytes(bytes(512))

    def refuse(path, largest):
        if str(path) == str(locked):
            raise PermissionError(13, "Permission denied")  # root reads all, so by hand
        return read_regular(path, largest)

    monkeypatch.setattr("qis.transport._folder_reading.read_regular", refuse)
    packet = packet_of(0)

    async def scenario():
        async with open_in(tmp_path, 0) as sender, open_in(tmp_path, 1) as reader:
            await sender.publish(packet, SCHEME.routing_keys(NEAR))
            async with reader.subscribe(SCHEME.interest(NEAR)) as deliveries:
                assert await first(deliveries) == packet
            assert reader.statistics.refused["unreadable_file"] == 1

    asyncio.run(scenario())


def test_held_is_what_lies_in_the_folder_and_health_says_when_it_cannot_be_used(tmp_path, faults):
    faults.expect("directory.poll: FileNotFoundError")

    async def scenario():
        folder = tmp_path / "shared"
        node, told, changed = open_in(folder, 1), [], asyncio.Event()

        def hear(notice):
            told.append(notice.subject)
            changed.set()

        async def until(state):
            async with asyncio.timeout(20):
                while node.health.state is not state:
                    changed.clear()
                    await changed.wait()

        node.notices.listen(hear)
        assert node.health.state is HealthState.CLOSED
        async with node:
            packet, keys = packet_of(1), SCHEME.routing_keys(NEAR)
            assert not node.holding(packet.id).is_held
            await node.publish(packet, keys)
            assert node.holding(packet.id).is_held
            assert node.health.state is HealthState.OK
            (folder / f"{packet.id.hex()}.qis").unlink()
            assert "is not in" in node.holding(packet.id).reason
            folder.rmdir()
            with pytest.raises(TransportError):
                await node.publish(packet, keys)
            assert [reason.code for reason in node.health.reasons] == ["folder_not_writable"]
            async with node.subscribe(SCHEME.interest(NEAR)):
                await until(HealthState.CUT_OFF)
                folder.mkdir()
                await node.publish(packet, keys)
                await until(HealthState.OK)
        assert node.health.state is HealthState.CLOSED
        assert told.count("folder_not_writable") == told.count("folder_away") == 2

    asyncio.run(scenario())

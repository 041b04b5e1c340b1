"""One thing that fails takes nothing else along: alarms, timers, rounds, files, arrivals."""

import asyncio
import logging
import os
import socket
from contextlib import asynccontextmanager, closing

import pytest

import qis
from qis._guard import Backoff, Guard
from qis.errors import PeerError
from qis.evidence import Roster
from qis.health import Notices
from qis.overlay.timers import Timers
from qis.packet import packet as packet_module
from qis.packet.file import read_packets, write_packets
from qis.testing import VirtualClock
from qis.transport import _socket, reception as reception_module, udp
from qis.transport._folder_reading import FolderReading
from qis.transport._shared_file import ForeignFileError, read_regular
from qis.transport.base import Statistics
from qis.transport.directory import DirectoryTransport
from qis.transport.reception import Reception, Verdict
from tests._builders import effect, signed, site

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=4)
NEAR = [1.0, 0.5, -0.2, 0.1]
KEYS = SCHEME.routing_keys(NEAR)
RAISED = (RuntimeError("any"), RecursionError("deep"), MemoryError(), OSError("disk"))


def packet_of(number, question="a vs b"):
    return signed(number, effect(-0.3, question=question), scheme=SCHEME, about=NEAR, at=NOW)


def once(error):
    """Raises an error at the first call, and nothing later."""
    raised = []

    def call(*_):
        if not raised:
            raised.append(error)
            raise error

    return call


def test_a_guard_lets_the_end_of_a_program_pass():
    guard = Guard()
    for error in (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
        with pytest.raises(error), guard.item("tests"):
            raise error
    assert guard.faults == 0


def test_a_guard_says_where_and_shows_nobody_s_data(faults):
    faults.expect("tests: ValueError")
    heard, notices = [], Notices(logging.getLogger("qis.test"))
    notices.listen(heard.append)
    with Guard(notices).item("tests") as item:
        raise ValueError("patient 4711")
    assert item.failed
    assert "4711" not in heard[0].reason
    assert __name__ in heard[0].reason


def test_pauses_double_up_to_a_limit_and_begin_anew():
    backoff = Backoff(first_s=1.0, last_s=5.0)
    assert [backoff.failed() for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    backoff.succeeded()
    assert backoff.failed() == 1.0


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_a_timer_that_raises_loses_no_other(error, faults):
    faults.expect("overlay.timer")
    timers, done = Timers(), []
    timers.start(1.0, once(error))
    timers.start(1.0, done.append)
    timers.start(2.0, done.append)
    timers.run(3.0)
    assert done == [3.0, 3.0]


async def _socket_pair(received, drained, heard):
    notices = Notices(logging.getLogger("qis.test"))
    notices.listen(heard.append)
    return _socket.DatagramSocket(
        "127.0.0.1", 0, Statistics(), guard=Guard(notices), received=received, drained=drained
    )


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["reading", "handling"])
def test_a_socket_that_failed_once_still_hears(where, error, faults, monkeypatch):
    """Else one bad datagram makes a node deaf for ever, while it says that it is open."""
    faults.expect(f"udp.{where}")
    fails = once(error)
    if where == "reading":
        read = _socket.DatagramSocket._read
        monkeypatch.setattr(_socket.DatagramSocket, "_read", lambda self: (fails(), read(self))[1])

    async def hears():
        second, got, heard = asyncio.Event(), [], []

        def received(datagrams):
            got.extend(data for data, _ in datagrams)
            if b"second" in got:
                second.set()
            if where == "handling":
                fails()

        listening = await _socket_pair(received, lambda: None, heard)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"first", listening.bound_to)
                async with asyncio.timeout(20):
                    while not heard:  # noqa: ASYNC110  each turn of the loop does one thing
                        await asyncio.sleep(0)
                    sender.sendto(b"second", listening.bound_to)
                    await second.wait()
        finally:
            listening.close()

    asyncio.run(hears())


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_a_reception_never_raises_and_refuses_no_other_arrival(error, faults, monkeypatch):
    """Whatever reading one packet raises, the others of the same batch are taken."""
    faults.expect("reception.verify")
    bad, good = packet_of(1), packet_of(2)
    verify = reception_module.verify_screened

    def failing(screened, ids):
        if bytes(bad) in screened:
            raise error
        return verify(screened, ids)

    monkeypatch.setattr(reception_module, "verify_screened", failing)
    reception = Reception(Roster.open(), Statistics())
    keys = tuple(sorted({*KEYS, bad.outcome.study_id}))
    arrivals = [(bytes(each), keys, 1) for each in (bad, good)]
    assert reception.receive_many(arrivals, now=NOW) == [Verdict.FAULT, Verdict.ACCEPTED]
    assert reception.takes(arrivals[:1], NOW) == [False]  # so that it comes again
    monkeypatch.setattr(reception_module, "verify_screened", verify)
    assert reception.receive(bytes(bad), keys, hops=1, now=NOW) is Verdict.ACCEPTED


# --- files that anybody may have put into a shared folder ------------------------------------


def _fifo(path):
    os.mkfifo(path)


def _sparse(path):
    with path.open("wb") as file:
        file.truncate(600 * 2**20)


def _link(path):
    target = path.parent / "elsewhere"
    target.write_bytes(bytes(512))
    path.symlink_to(target)


def _device(path):
    path.symlink_to("/dev/zero")


def _folder(path):
    path.mkdir()


def _listening(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


FOREIGN = {
    "FIFO": _fifo,
    "sparse file": _sparse,
    "link": _link,
    "link to a device": _device,
    "folder": _folder,
    "socket": _listening,
}
needs_unix = pytest.mark.skipif(os.name != "posix", reason="FIFOs and devices are POSIX's")


@needs_unix
@pytest.mark.parametrize("kind", FOREIGN)
def test_only_regular_files_of_the_right_size_are_read(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FOREIGN[kind](tmp_path / "file")
    with pytest.raises(ForeignFileError):
        read_regular(tmp_path / "file", 768)


@needs_unix
@pytest.mark.parametrize("kind", ["FIFO", "sparse file", "link to a device"])
def test_a_file_that_changes_while_it_is_opened_is_not_read(kind, tmp_path, monkeypatch):
    """Looking first is not enough: what is opened is looked at again."""
    path, decoy = tmp_path / "file", tmp_path / "decoy"
    FOREIGN[kind](path)
    decoy.write_bytes(bytes(512))
    looks_right = os.lstat(decoy)
    monkeypatch.setattr(os, "lstat", lambda _: looks_right)
    with pytest.raises(ForeignFileError):
        read_regular(path, 768)


@asynccontextmanager
async def _reader(folder, number, question="a vs b"):
    clock = VirtualClock(NOW)
    interest = SCHEME.interest(NEAR)
    opened = DirectoryTransport(folder, site(number), poll_s=0.005, clock=clock)
    async with opened as transport, transport.subscribe(interest) as deliveries:
        yield transport, aiter(deliveries)


@needs_unix
@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_hold_nobody_up_and_are_told(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FOREIGN[kind](tmp_path / f"{'0' * 64}.qis")
    packet = packet_of(1)

    async def reads():
        async with _reader(tmp_path, 2) as (transport, deliveries):
            heard = []
            transport.notices.listen(heard.append)
            async with DirectoryTransport(tmp_path, site(1), clock=lambda: NOW) as writer:
                await writer.publish(packet, KEYS)
            async with asyncio.timeout(20):
                assert (await anext(deliveries)).packet == packet
            assert transport.statistics.refused["foreign_file"] == 1
            assert [each.kind for each in heard] == ["refusal"]
            assert "0000.qis" in heard[0].reason

    asyncio.run(reads())


@needs_unix
@pytest.mark.parametrize("kind", ["FIFO", "sparse file", "link to a device"])
def test_a_foreign_file_under_a_packet_s_name_is_replaced(kind, tmp_path):
    packet = packet_of(1)
    target = tmp_path / f"{packet.id.hex()}.qis"
    FOREIGN[kind](target)

    async def publishes():
        async with DirectoryTransport(tmp_path, site(1), clock=lambda: NOW) as writer:
            await writer.publish(packet, KEYS)

    asyncio.run(publishes())
    assert target.read_bytes().startswith(bytes(packet))
    assert not target.is_symlink()


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_a_file_that_fails_hides_no_other_and_is_tried_again(error, tmp_path, faults, monkeypatch):
    faults.expect("directory.file")
    bad, good = packet_of(1), packet_of(3)
    receive = FolderReading._receive
    fails = once(error)

    def failing(self, entry):
        if entry.name.startswith(bad.id.hex()):
            fails()
        return receive(self, entry)

    monkeypatch.setattr(FolderReading, "_receive", failing)

    async def reads():
        async with DirectoryTransport(tmp_path, site(1), clock=lambda: NOW) as writer:
            await writer.publish(bad, KEYS)
            await writer.publish(good, KEYS)
        async with _reader(tmp_path, 2) as (_, deliveries):
            async with asyncio.timeout(20):
                return [(await anext(deliveries)).packet for _ in range(2)]

    assert set(asyncio.run(reads())) == {bad, good}


def test_a_folder_that_is_away_is_told_and_looked_for_again(tmp_path, faults):
    faults.expect("directory.poll: FileNotFoundError")
    folder, away = tmp_path / "folder", tmp_path / "away"
    packet = packet_of(1)

    async def reads():
        async with _reader(folder, 2) as (transport, deliveries):
            heard = []
            transport.notices.listen(heard.append)
            folder.rename(away)
            async with asyncio.timeout(20):
                while not heard:  # noqa: ASYNC110  each turn of the loop does one thing
                    await asyncio.sleep(0)
                away.rename(folder)
                async with DirectoryTransport(folder, site(1), clock=lambda: NOW) as writer:
                    await writer.publish(packet, KEYS)
                return (await anext(deliveries)).packet

    assert asyncio.run(reads()) == packet


# --- many packets, of which reading one raises ------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, OSError])
def test_one_packet_that_cannot_be_read_takes_no_other_along(error, tmp_path, monkeypatch):
    bad, good = packet_of(1, "bad vs b"), packet_of(2)
    write_packets(tmp_path / "packets", [bad, good])
    with closing(qis.SQLiteStore(tmp_path / "store.db", roster=Roster.open())) as store:
        store.add_many([bad, good], now=NOW)
    read = packet_module.outcome_from_body

    def failing(kind, body):
        if "bad vs b" in str(body):
            raise error
        return read(kind, body)

    monkeypatch.setattr(packet_module, "outcome_from_body", failing)
    for workers in (1, 2):
        data = [bytes(bad), bytes(good)] * 40
        found = qis.Packet.verify_many(data, workers=workers)
        assert [isinstance(each, PeerError) for each in found] == [True, False] * 40
    packets = read_packets(tmp_path / "packets")
    with pytest.raises(PeerError):
        packets[0]
    assert packets[1] == good
    recovered = qis.SQLiteStore.recover(
        tmp_path / "store.db", into=tmp_path / "new.db", roster=Roster.open()
    )
    with closing(recovered) as store:
        assert store.packets() == [good]


def test_a_machine_without_memory_blames_no_peer(monkeypatch):
    """Nothing is known of the packet then: it may come again, and is not called malformed."""

    def failing(kind, body):
        raise MemoryError

    packet = packet_of(1)
    monkeypatch.setattr(packet_module, "outcome_from_body", failing)
    with pytest.raises(MemoryError):
        qis.Packet.parse(bytes(packet))


def test_a_node_that_cannot_be_opened_leaves_no_socket_and_can_be_opened_later(
    monkeypatch, tmp_path
):
    def fails(_):
        raise RuntimeError("no cache")

    async def main():
        node = qis.UDPTransport(
            qis.Identity.generate(), roster=Roster.open(), cache=tmp_path / "peers"
        )
        with monkeypatch.context() as broken:
            broken.setattr(udp, "read_cache", fails)
            with pytest.raises(RuntimeError, match="no cache"):
                async with node:
                    pass
        assert node._socket is None  # else nobody would close it
        assert not node.is_open
        async with node:
            assert node.is_open

    asyncio.run(main())

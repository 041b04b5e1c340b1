"""In a flood, what belongs to a session is handled before what strangers send, and both are."""

import asyncio
import socket

from qis._guard import Guard
from qis.transport._socket import FLOOD, STRANGERS_LIMIT, DatagramSocket
from qis.transport.base import Statistics
from tests._builders import until

JUNK, KNOWN = b"junk", b"known"


def handled(sent, is_known):
    """The datagrams in the order in which they are handled; all are there before any is read."""

    async def run():
        got, statistics = [], Statistics()
        receiving = DatagramSocket(
            "127.0.0.1",
            0,
            statistics,
            guard=Guard(),
            received=lambda batch: got.extend(data for data, _ in batch),
            drained=lambda: None,
            is_known=is_known,
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in sent:
                sender.sendto(data, receiving.bound_to)
        refused = lambda: statistics.refused["queue_full"]  # noqa: E731
        await until(lambda: len(got) + refused() == len(sent))
        receiving.close()
        return got, refused()

    return asyncio.run(run())


def test_a_flood_of_strangers_does_not_keep_a_session_waiting():
    sent = [JUNK] * 400 + [KNOWN]
    got, refused = handled(sent, lambda data: data == KNOWN)
    assert refused == 0
    assert got.index(KNOWN) <= FLOOD + FLOOD  # strangers that came first, and some in between
    assert got.count(JUNK) == 400  # but all are heard
    assert handled(sent, lambda _: True)[0].index(KNOWN) == 400  # as it was


def test_strangers_are_heard_while_sessions_flood():
    got, _ = handled([KNOWN] * 300 + [JUNK] + [KNOWN] * 100, lambda data: data == KNOWN)
    assert got.index(JUNK) < 40


def test_what_strangers_may_queue_is_bounded(monkeypatch):
    monkeypatch.setattr("qis.transport._socket.STRANGERS_LIMIT", 10)
    got, refused = handled([JUNK] * 300, lambda _: False)
    assert refused == 300 - FLOOD - 10
    assert len(got) == FLOOD + 10
    assert STRANGERS_LIMIT > 10

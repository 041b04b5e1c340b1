"""More than a receiver can take: datagrams without end, and publications without pause."""

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from _processes import ask
from _udp_giver import flooder
from _udp_nodes import burster, receiver
from _udp_roles import settled, started

from qis.transport._socket import RECEIVE_BUFFER

SENDERS = 4


def flood(packets: int) -> dict[str, Any]:
    """What of a flood is drained, and what is delivered in the end."""
    with ExitStack() as stack:
        taking, giving = started(stack, receiver, flooder, 1, packets)
        before = ask(taking, "")
        port = before["port"]
        dropped_before = drops_at(port)
        start = time.time() + 0.2
        for pipe in giving:
            pipe.send(start)
        blasts = [pipe.recv() for pipe in giving]
        dropped_at_first = drops_at(port) - dropped_before
        for pipe in giving:
            pipe.send("go on")
        ends = [pipe.recv() for pipe in giving]
        after = settled(taking, "taken")
        dropped = drops_at(port) - dropped_before
        ask(taking, "stop")
    sent = sum(blast["sent"] for blast in blasts)
    resent = sum(end["resent"] for end in ends)
    began = min(blast["began"] for blast in blasts)
    return {
        "flood_delivered": 1.0 - dropped_at_first / sent,
        "receive_buffer": receive_buffer(),
        "packets": packets,
        "datagrams_at_first": sent,
        "seconds_at_first": max(blast["ended"] for blast in blasts) - began,
        "datagrams_again": resent,
        "datagrams_received": after["datagrams_received"] - before["datagrams_received"],
        "dropped_by_the_kernel": dropped,
        "duplicates": after["duplicates"] - before["duplicates"],
        "dropped_by_a_full_inbox": after["dropped"] - before["dropped"],
        "refused": after["refused"],
        "given_up_by_the_senders": sum(end["silent"] for end in ends),
        "delivered_in_the_end": (after["taken"] - before["taken"]) / packets,
        "seconds_in_all": max(end["ended"] for end in ends) - began,
    }


def burst(packets: int) -> dict[str, Any]:
    """What of a burst is delivered that four nodes publish without waiting for each other."""
    with ExitStack() as stack:
        taking, giving = started(stack, receiver, burster, SENDERS, packets)
        time.sleep(1.0)
        began, before = time.monotonic(), ask(taking, "")
        for pipe in giving:
            pipe.send("go")
        flushed = [pipe.recv() for pipe in giving]
        seconds = time.monotonic() - began
        after = settled(taking, "taken")
        dropped = drops_at(after["port"])
        for pipe in giving:
            pipe.send("stop")
        ask(taking, "stop")
    return {
        "packets": packets,
        "delivered": after["taken"] / packets,
        "publishers_flushed_in_time": sum(flushed),
        "seconds": seconds,
        "datagrams_received": after["datagrams_received"] - before["datagrams_received"],
        "dropped_by_the_kernel": dropped,
        "duplicates": after["duplicates"],
    }


def receive_buffer() -> int:
    """Bytes that the system grants a socket which asks for as many as the transport; Linux: twice.

    Where it grants less the transport logs a warning, which comes out on stderr.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        return asking.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def drops_at(port: int) -> int:
    """Datagrams that the kernel has dropped for want of room at a socket, in all; Linux only."""
    for line in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            return int(fields[-1])
    raise LookupError(port)

"""A non-blocking UDP socket under asyncio, read in batches.

Reading a datagram takes a few microseconds, verifying its packet ten times as long. So everything
that has arrived is read at once, before the system's buffer overflows, and queued here. asyncio's
own datagram protocol reads one datagram a turn and loses most of a burst.
"""

import asyncio
import ipaddress
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from qis._guard import Backoff, Guard
from qis.errors import TransportError
from qis.overlay.addresses import pack_address, unpack_address
from qis.transport.base import Statistics

RECEIVE_BUFFER: Final = 4 * 2**20
"""Bytes asked of the system for the socket's receive buffer."""
READ_LIMIT: Final = 4_096
"""Most datagrams that are read before any is handled."""
BATCH: Final = 32
"""Datagrams that are handled together, before the socket is read again."""
FLOOD: Final = 128
"""From so many queued datagrams on the batches are smaller, so that the system's buffer, which may
fill within milliseconds, is read more often."""
BATCH_IN_FLOOD: Final = 4
BEFORE_A_PAUSE: Final = 64
"""Datagrams that are handled before other tasks of the event loop run."""
ARRIVED_LIMIT: Final = 32_768
"""Most datagrams that are queued, some 40 MiB. A further one is refused and counted; its sender
tries again."""
STRANGERS_LIMIT: Final = 4_096
"""Most datagrams without a session that are queued once `FLOOD` others are: they wait apart, and
some of them are handled after each batch."""
WAITING_LIMIT: Final = 16_384
"""Most datagrams that wait to be sent. The oldest are dropped first, as if lost in the network."""
_LARGEST: Final = 2_048
"""Bytes read of a datagram. A longer one is not of this protocol, and is refused as malformed."""

_log = logging.getLogger("qis.transport.udp")


class DatagramSocket:
    """Sends and receives between the overlay's addresses.

    Parameters
    ----------
    host, port
        Numeric address to listen on; "::" takes IPv4 too where the system allows it.
    guard
        Contains exceptions of reading and handling.
    statistics
        Where datagrams and bytes are counted.
    received
        Called with a list of (datagram, address of 18 bytes).
    drained
        Called once after several calls of `received`.
    is_known
        True of a datagram that belongs to a session: in a flood these are handled before others.

    Raises
    ------
    TransportError
        If the system refuses.

    """

    def __init__(
        self,
        host: str,
        port: int,
        statistics: Statistics,
        *,
        guard: Guard,
        received: Callable[[list[tuple[bytes, bytes]]], None],
        drained: Callable[[], None],
        is_known: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._statistics = statistics
        self._guard = guard
        self._backoff = Backoff()
        self._received = received
        self._drained = drained
        self._is_known = is_known
        self._strangers: deque[tuple[bytes, tuple[Any, ...]]] = deque()
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._arrived: deque[tuple[bytes, tuple[Any, ...]]] = deque()
        self._is_handling = False
        self._is_open = True
        self._is_ipv6 = ipaddress.ip_address(host).version == 6
        self._socket = self._listen(host, port)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    @property
    def bound_to(self) -> tuple[str, int]:
        """Host and port that the socket is bound to."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def receive_buffer(self) -> int:
        """Bytes of receive buffer that the system grants, perhaps less than `RECEIVE_BUFFER`."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def send(self, data: bytes, address: bytes) -> None:
        """Send a datagram, or queue it until the system has room."""
        if self._waiting or not self._send_now(data, address):
            if len(self._waiting) >= WAITING_LIMIT:
                self._waiting.popleft()
                self._statistics.refused["unsent"] += 1
                self._guard.at_limit(
                    "transport._socket.WAITING_LIMIT",
                    "",
                    "a datagram was dropped: the system does not take them; what has to be "
                    "acknowledged is sent again",
                )
            self._waiting.append((data, address))
            self._loop.add_writer(self._socket.fileno(), self._send_waiting)

    def close(self) -> None:
        """Send what is queued, as far as the system takes it now, and close."""
        self._is_open = False
        while self._waiting and self._send_now(*self._waiting[0]):
            self._waiting.popleft()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def _listen(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if self._is_ipv6 else socket.AF_INET
        try:
            listening = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            raise TransportError(f"cannot listen on {host}: {error.strerror}") from error
        try:
            listening.setblocking(False)  # noqa: FBT003  the socket's own signature
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if self._is_ipv6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.bind((host, port))
        except OSError as error:
            listening.close()
            raise TransportError(
                f"cannot listen on {host} port {port}: {error.strerror}"
            ) from error
        return listening

    def _on_readable(self) -> None:
        with self._guard.item("udp.reading") as item:
            self._read()
        if not item.failed:
            self._backoff.succeeded()
        elif self._is_open:  # the socket stays readable: without a pause this would never end
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(self._backoff.failed(), self._read_again)
        if not self._is_handling:
            self._is_handling = True
            self._handle()

    def _read_again(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def _read(self) -> int:
        """Read what the system has, at most `READ_LIMIT`; returns the number of datagrams."""
        receive, arrived = self._socket.recvfrom, self._arrived
        count = size = 0
        refused = dict[str, int]()
        try:
            for _ in range(READ_LIMIT):
                try:
                    datagram = receive(_LARGEST)
                except (BlockingIOError, InterruptedError):
                    break
                except ConnectionError as error:  # a peer's closed port answers our last datagram
                    _log.debug("receiving: %s", error)
                    continue
                count += 1
                size += len(datagram[0])
                if len(arrived) < FLOOD or self._is_known(datagram[0]):
                    queue, limit, name = arrived, ARRIVED_LIMIT, "ARRIVED_LIMIT"
                else:
                    queue, limit, name = self._strangers, STRANGERS_LIMIT, "STRANGERS_LIMIT"
                if len(queue) < limit:
                    queue.append(datagram)
                else:
                    refused[name] = refused.get(name, 0) + 1
        finally:
            self._statistics.datagrams_received += count
            self._statistics.bytes_received += size
            for name, times in refused.items():
                self._statistics.refused["queue_full"] += times
                self._guard.at_limit(
                    f"transport._socket.{name}",
                    "",
                    "datagrams were dropped: more come than this machine handles; whoever sent "
                    "them tries again",
                    times=times,
                )
        return count

    def _handle(self) -> None:
        try:
            with self._guard.item("udp.handling"):
                self._handle_some()
            self._drained()
        finally:  # also after an error, or what is queued would never be handled
            self._is_handling = bool(self._arrived or self._strangers) and self._is_open
            if self._is_handling:
                self._loop.call_soon(self._handle)

    def _handle_some(self) -> None:
        arrived = self._arrived
        handled = 0
        strangers = self._strangers
        while (arrived or strangers) and handled < BEFORE_A_PAUSE:
            size = BATCH_IN_FLOOD if len(arrived) > FLOOD else BATCH
            batch = [arrived.popleft() for _ in range(min(size, len(arrived)))]
            # A few at a time, so that neither keeps the other out.
            batch += [strangers.popleft() for _ in range(min(BATCH_IN_FLOOD, len(strangers)))]
            handled += len(batch)
            # Port 0 can only be forged, and nothing can be sent to it.
            self._received([(data, _address_of(source)) for data, source in batch if source[1]])
            while self._is_open and self._read() > FLOOD and len(arrived) < ARRIVED_LIMIT // 2:
                pass
            if not self._is_open:
                break

    def _send_now(self, data: bytes, address: bytes) -> bool:
        """True if the datagram is dealt with: sent, or impossible to send; false if to be kept."""
        host, port = unpack_address(address)
        if self._is_ipv6 and "." in host and ":" not in host:
            host = f"::ffff:{host}"
        try:
            self._socket.sendto(data, (host, port))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:  # an unreachable peer is retried like a lost datagram
            _log.debug("sending to %s: %s", host, error)
            return True
        self._statistics.datagrams_sent += 1
        self._statistics.bytes_sent += len(data)
        return True

    def _send_waiting(self) -> None:
        while self._waiting:
            # Contained, so that a datagram that cannot be sent is dropped and not tried for ever.
            with self._guard.item("udp.writing"):
                if not self._send_now(*self._waiting[0]):
                    return
            self._waiting.popleft()
        self._loop.remove_writer(self._socket.fileno())


def _address_of(source: tuple[Any, ...]) -> bytes:
    return pack_address(source[0].partition("%")[0], source[1])

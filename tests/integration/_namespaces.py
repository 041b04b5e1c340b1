"""Networks of their own inside this machine, and a NAT between them, as a test needs them.

A namespace has no name and no connection to the machine's interfaces, and is gone when its file
is closed. A socket belongs to the namespace that its thread was in when it was made, so one process
can have sites in several. The NAT reads what a site sends from a TUN device and sends it on from a
socket of its own in the public namespace, so no firewall program and no kernel module is needed.
"""

import asyncio
import ctypes
import math
import os
import socket
import struct
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

CLONE_NEWNET = 0x4000_0000
TUNSETIFF = 0x4004_54CA
IFF_TUN_NO_PI = 0x1001
_HEAD = struct.Struct(">BBHHHBBH4s4s")
_UDP = struct.Struct(">HHHH")


def why_not():
    """Why there can be no namespaces here, or `None`."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    try:
        Namespace().close()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"this system gives no namespaces: {error}"
    return None


def _libc(name, *given):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*given):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


class Namespace:
    """A network without interfaces but its loopback."""

    def __init__(self):
        home = _here()
        try:
            _libc("unshare", CLONE_NEWNET)
            self._file = _here()
            self._ip("link", "set", "lo", "up")
        finally:
            _libc("setns", home, CLONE_NEWNET)
            os.close(home)

    @contextmanager
    def inside(self):
        """Make sockets in it, and run programs."""
        home = _here()
        _libc("setns", self._file, CLONE_NEWNET)
        try:
            yield
        finally:
            _libc("setns", home, CLONE_NEWNET)
            os.close(home)

    def address(self, host):
        """Give it an address."""
        with self.inside():
            self._ip("address", "add", f"{host}/32", "dev", "lo")

    def tun(self, host):
        """A TUN device with an address, by which all else is reached; its file."""
        with self.inside():
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            _ioctl(device, struct.pack("16sH22s", b"tun0", IFF_TUN_NO_PI, b""))
            self._ip("address", "add", f"{host}/24", "dev", "tun0")
            self._ip("link", "set", "tun0", "up")
            self._ip("route", "add", "default", "dev", "tun0")
        return device

    def close(self):
        """Let it go, with all that is in it."""
        os.close(self._file)

    def _ip(self, *words):
        subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: S603, S607


def _here():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _ioctl(device, request):
    import fcntl  # noqa: PLC0415  not on every system on which this is imported

    fcntl.ioctl(device, TUNSETIFF, request)


class NAT:
    """Lets out what one site sends, and in what answers it (RFC 4787: address and port dependent).

    Parameters
    ----------
    inner, host
        The site's namespace, and its address there.
    outer, outer_host
        The public namespace, and the NAT's address there, which may be the site's own: then this is
        a firewall that lets nothing in but answers.
    forgets_after_s
        Seconds without anything going out after which it forgets who was spoken to.

    """

    def __init__(self, inner, host, outer, outer_host, *, forgets_after_s=math.inf):
        self.is_blocked = False
        self._forgets_after_s = forgets_after_s
        self._out_at = {}
        self._host = host
        self._outer, self._outer_host = outer, outer_host
        self._device = inner.tun(host)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._device, self._from_inside)
        self._mappings = {}
        outer.address(outer_host)

    def forget(self):
        """Forget who was spoken to, as after a silence: what is said next comes from a new port."""
        for port in list(self._mappings):
            self._forget(port)

    def _is_remembered(self, port):
        quiet_s = self._loop.time() - self._out_at.get(port, -math.inf)
        return quiet_s <= self._forgets_after_s

    def _forget(self, port):
        if port in self._mappings:
            outside, _ = self._mappings.pop(port)
            self._loop.remove_reader(outside)
            outside.close()

    def close(self):
        """End it."""
        self.forget()
        self._loop.remove_reader(self._device)
        os.close(self._device)

    def _from_inside(self):
        with suppress(BlockingIOError):
            while True:
                packet = os.read(self._device, 65_536)
                if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_UDP and not self.is_blocked:
                    self._out(packet)

    def _out(self, packet):
        start = (packet[0] & 15) * 4
        port, to_port, _, _ = _UDP.unpack_from(packet, start)
        to = (socket.inet_ntoa(packet[16:20]), to_port)
        if not self._is_remembered(port):
            self._forget(port)
        self._out_at[port] = self._loop.time()
        if port not in self._mappings:
            with self._outer.inside():
                outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            outside.setblocking(False)  # noqa: FBT003
            outside.bind((self._outer_host, port if self._outer_host == self._host else 0))
            self._mappings[port] = (outside, set())
            self._loop.add_reader(outside, self._from_outside, port)
        outside, spoken_to = self._mappings[port]
        spoken_to.add(to)
        with suppress(OSError):  # nobody has that address
            outside.sendto(packet[start + _UDP.size :], to)

    def _from_outside(self, port):
        outside, spoken_to = self._mappings[port]
        with suppress(BlockingIOError, ConnectionError):
            while True:
                data, origin = outside.recvfrom(65_536)
                is_answer = origin in spoken_to and self._is_remembered(port)
                if is_answer and not self.is_blocked:
                    os.write(self._device, _packet(data, origin, (self._host, port)))


def _packet(data, origin, to):
    """An IPv4 packet with UDP in it; its UDP checksum 0: none (RFC 768)."""
    addresses = socket.inet_aton(origin[0]), socket.inet_aton(to[0])
    size = _HEAD.size + _UDP.size + len(data)
    head = _HEAD.pack(0x45, 0, size, 0, 0, 64, socket.IPPROTO_UDP, 0, *addresses)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    head = head[:10] + checksum.to_bytes(2) + head[12:]
    return head + _UDP.pack(origin[1], to[1], _UDP.size + len(data), 0) + data

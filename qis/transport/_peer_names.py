"""Addresses as people write them, peers as ``key@host:port``, and the file that remembers those."""

import ipaddress
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from qis import _files
from qis._given import shown
from qis.errors import InputError
from qis.overlay.addresses import pack_address, unpack_address

CACHE_LIMIT: Final = 64
"""Peers remembered in a file."""
_LONGEST_LINE: Final = 128

Address = tuple[str, int]
"""Host, in digits, and port."""
Peer = tuple[bytes, bytes]
"""A node's key, and its address as the overlay's 18 bytes."""

_log = logging.getLogger("qis.transport.udp")


def parse_peer(text: str) -> Peer:
    """Return key and address of a peer that is written ``key@host:port``.

    Raises
    ------
    InputError
        If it is not of that form. Host names are not looked up: an address that somebody else's
        name server gives is one more to trust.

    """
    key, at, host_port = text.partition("@")
    host, colon, port = host_port.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_key = len(key) == 64 and all(c in "0123456789abcdef" for c in key)
    if not at or not colon or not is_key or not (port.isascii() and port.isdecimal()):
        raise InputError(
            f"{text!r:.120} is no peer; write key@host:port with a key of 64 hexadecimal digits",
            field="bootstrap",
            actual=text,
        )
    return bytes.fromhex(key), pack_address(host, int(port))


def peer_name(peer: Peer) -> str:
    """Write a peer as ``key@host:port``; an IPv6 address stands in brackets."""
    host, port = unpack_address(peer[1])
    return f"{peer[0].hex()}@{f'[{host}]' if ':' in host else host}:{port}"


def require_reachable(bind: Address, advertise: Address | None) -> None:
    """Raise `InputError` unless others can reach the node at the address it will tell them."""
    for name, address in (("bind", bind), ("advertise", advertise)):
        given: object = address
        if given is not None and not (isinstance(given, (tuple, list)) and len(given) == 2):
            raise InputError(
                f"{name} is {shown(given)}; it must be host and port: ('127.0.0.1', 0)",
                field=name,
                actual=address,
            )
        if address is not None:
            pack_address(address[0], address[1] or (1 if name == "bind" else 0))
    if ipaddress.ip_address((advertise or bind)[0]).is_unspecified:
        raise InputError(
            f"bind to {bind[0]} is every address of this machine: say with advertise= which of "
            "them, and which port, others reach it at",
            field="advertise",
            actual=bind[0],
        )


def read_cache(path: Path) -> list[Peer]:
    """Read remembered peers from a file; lines that cannot be read are logged and left out."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line for line, _ in zip(file, range(CACHE_LIMIT), strict=False)]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("the peer cache %s cannot be read and is not used: %s", path, error)
        return []
    peers = []
    for line in lines:
        try:
            peers.append(parse_peer(line[:_LONGEST_LINE].strip()))
        except InputError as error:
            _log.warning("the peer cache %s holds a line that is left out: %s", path, error)
    return peers


def write_cache(path: Path, peers: Iterable[Peer]) -> None:
    """Replace the file of remembered peers atomically. A failure is logged and not raised."""
    names = [peer_name(peer) for peer, _ in zip(peers, range(CACHE_LIMIT), strict=False)]
    try:
        _files.replace(path, "".join(f"{name}\n" for name in names).encode())
    except OSError as error:
        _log.warning("the peer cache %s cannot be written: %s", path, error)

"""Addresses as 18 bytes, so that the core compares, signs and hashes them without any parsing."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from qis.errors import InputError

ADDRESS_SIZE: Final = 18
"""16 bytes of IPv6 (IPv4 mapped, RFC 4291 section 2.5.5.2) and two of port, big endian."""
_MAPPED = bytes(10) + b"\xff\xff"


@lru_cache(maxsize=65_536)
def pack_address(host: str, port: int) -> bytes:
    """The 18 bytes of a numeric host and a port.

    Raises
    ------
    InputError
        If the host is not a numeric IPv4 or IPv6 address, or the port not in [1, 65535].

    """
    if not 0 < port < 65_536:
        raise InputError(f"port is {port}; it must be in [1, 65535]", field="port", actual=port)
    try:
        address = ip_address(host)
    except ValueError:
        raise InputError(
            f"{host!r:.60} is no numeric address: resolve names first", field="host", actual=host
        ) from None
    packed = _MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed
    return packed + port.to_bytes(2)


@lru_cache(maxsize=65_536)
def unpack_address(address: bytes) -> tuple[str, int]:
    """The numeric host and the port of 18 bytes."""
    ip = IPv6Address(address[:16])
    return str(ip.ipv4_mapped or ip), int.from_bytes(address[16:])


def subnet_of(address: bytes) -> bytes:
    """What one operator usually holds whole: the /24 of IPv4, the /48 of IPv6."""
    return address[:15] if address.startswith(_MAPPED) else address[:6]

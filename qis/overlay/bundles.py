"""Several messages for one node in one datagram: what a burst is answered with costs one send.

A bundle starts as a message does, with a kind of its own, and then has each message after its
length. A message that goes alone travels as it is.
"""

import struct
from typing import Final

from qis.overlay.messages import DATAGRAM_SIZE, MAGIC

Datagram = tuple[bytes, bytes, bytes | None]
"""Bytes, the address they go to, and the key expected there if it is known."""

BUNDLE_HEAD: Final = MAGIC + b"\x00"
_LENGTH: Final = struct.Struct(">H")


def bundled(datagrams: list[Datagram]) -> list[Datagram]:
    """The same messages in as few datagrams as they fit; for each node in their order."""
    if len(datagrams) < 2:
        return datagrams
    groups: dict[tuple[bytes, bytes | None], list[list[bytes]]] = {}
    sizes: dict[tuple[bytes, bytes | None], int] = {}
    for data, address, key in datagrams:
        endpoint = address, key
        size = _LENGTH.size + len(data)
        if endpoint in groups and sizes[endpoint] + size <= DATAGRAM_SIZE:
            groups[endpoint][-1].append(data)
            sizes[endpoint] += size
        else:
            groups.setdefault(endpoint, []).append([data])
            sizes[endpoint] = len(BUNDLE_HEAD) + size
    return [
        (_bundle(messages), address, key)
        for (address, key), bundles in groups.items()
        for messages in bundles
    ]


def messages_of(data: bytes) -> list[bytes] | None:
    """The messages, at least one, that a datagram is or bundles; `None` if it is no bundle.

    Whether each is a message is for `decode` to say, to which a bundle within a bundle is none.
    """
    if not data.startswith(BUNDLE_HEAD):
        return [data]
    if len(data) > DATAGRAM_SIZE:
        return None
    found = []
    start, size = len(BUNDLE_HEAD), len(data)
    while start + _LENGTH.size <= size:
        begin = start + _LENGTH.size
        start = begin + _LENGTH.unpack_from(data, start)[0]
        found.append(data[begin:start])
    return found if start == size and len(found) > 1 else None


def _bundle(messages: list[bytes]) -> bytes:
    if len(messages) == 1:
        return messages[0]
    parts = [BUNDLE_HEAD]
    for message in messages:
        parts += (_LENGTH.pack(len(message)), message)
    return b"".join(parts)

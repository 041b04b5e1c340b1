"""Packets in any bytes: each proves itself, so it can be found without knowing what lies around."""

from collections.abc import Iterator

from qis import _layout
from qis.errors import PeerError
from qis.packet import Packet


def carved(data: bytes) -> Iterator[Packet]:
    """Every packet in these bytes that verifies; rows never cross a page, so each is in a piece."""
    offset = data.find(_layout.PREFIX)
    while offset >= 0:
        try:
            yield Packet.parse(data[offset : offset + _layout.PACKET_SIZE])
        except PeerError:
            offset += 1
        else:
            offset += _layout.PACKET_SIZE
        offset = data.find(_layout.PREFIX, offset)

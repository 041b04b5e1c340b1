"""Packets in any bytes: each proves itself, so it can be found without knowing what lies around."""

from collections.abc import Iterator

from qis import _layout
from qis.errors import PeerError
from qis.packet import Packet


def carved(data: bytes) -> Iterator[Packet]:
    """Every packet in these bytes that verifies; rows never cross a page, so each is in a piece."""
    place = data.find(_layout.PREFIX)
    while place >= 0:
        try:
            yield Packet.parse(data[place : place + _layout.PACKET_SIZE])
        except PeerError:
            place += 1
        else:
            place += _layout.PACKET_SIZE
        place = data.find(_layout.PREFIX, place)

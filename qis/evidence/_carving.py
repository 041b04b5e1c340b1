"""Packets in any bytes: each proves itself, so it can be found without knowing what lies around."""

from collections.abc import Iterator

from qis import _layout
from qis.errors import PeerError
from qis.packet import Packet


def carved(data: bytes) -> Iterator[Packet]:
    """Yield every packet in these bytes that verifies.

    SQLite keeps rows of this size within one page, so each packet is contiguous in the file.
    """
    offset = data.find(_layout.PREFIX)
    while offset >= 0:
        try:
            yield Packet.parse(data[offset : offset + _layout.PACKET_SIZE])
        except PeerError:
            offset += 1
        else:
            offset += _layout.PACKET_SIZE
        offset = data.find(_layout.PREFIX, offset)

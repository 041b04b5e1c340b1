"""Transports: getting a packet to whom it concerns."""

from typing import TYPE_CHECKING

from qis._lazy import attach
from qis.transport.base import (
    Delivery as Delivery,
    Holding as Holding,
    Statistics as Statistics,
    Transport as Transport,
    require_signed_keys as require_signed_keys,
)

if TYPE_CHECKING:
    from qis.transport.carried import (
        decode_carried as decode_carried,
        encode_carried as encode_carried,
    )
    from qis.transport.directory import (
        DirectoryTransport as DirectoryTransport,
    )
    from qis.transport.inbox import (
        Inbox as Inbox,
    )
    from qis.transport.memory import (
        MemoryNetwork as MemoryNetwork,
        MemoryTransport as MemoryTransport,
    )
    from qis.transport.reception import (
        Reception as Reception,
        Verdict as Verdict,
    )
    from qis.transport.udp import (
        UDPTransport as UDPTransport,
    )

# numpy, asyncio and sockets are loaded by those who use them.
__all__, __dir__, __getattr__ = attach(
    globals(),
    {
        "qis.transport.carried": ("decode_carried", "encode_carried"),
        "qis.transport.directory": ("DirectoryTransport",),
        "qis.transport.inbox": ("Inbox",),
        "qis.transport.memory": ("MemoryNetwork", "MemoryTransport"),
        "qis.transport.reception": ("Reception", "Verdict"),
        "qis.transport.udp": ("UDPTransport",),
    },
)

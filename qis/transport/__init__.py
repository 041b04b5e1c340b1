"""Transports: getting a packet to whom it concerns."""

from typing import TYPE_CHECKING, Any

from qis.transport.base import Delivery, Holding, Statistics, Transport, require_signed_keys

if TYPE_CHECKING:
    from qis.transport.carried import decode_carried, encode_carried
    from qis.transport.directory import DirectoryTransport
    from qis.transport.inbox import Inbox
    from qis.transport.memory import MemoryNetwork, MemoryTransport
    from qis.transport.reception import Reception, Verdict
    from qis.transport.udp import UDPTransport

__all__ = [
    "Delivery",
    "DirectoryTransport",
    "Holding",
    "Inbox",
    "MemoryNetwork",
    "MemoryTransport",
    "Reception",
    "Statistics",
    "Transport",
    "UDPTransport",
    "Verdict",
    "decode_carried",
    "encode_carried",
    "require_signed_keys",
]

_LAZY = {
    "DirectoryTransport": "qis.transport.directory",
    "MemoryNetwork": "qis.transport.memory",
    "MemoryTransport": "qis.transport.memory",
    "Reception": "qis.transport.reception",
    "UDPTransport": "qis.transport.udp",
    "Inbox": "qis.transport.inbox",
    "Verdict": "qis.transport.reception",
    "decode_carried": "qis.transport.carried",
    "encode_carried": "qis.transport.carried",
}


def __getattr__(name: str) -> Any:
    # asyncio and sockets are loaded only by those who open a network (PEP 562).
    if name in _LAZY:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

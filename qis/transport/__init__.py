"""Transports: getting a packet to whom it concerns."""

from typing import TYPE_CHECKING, Any

from qis.transport.base import Delivery, Holding, Statistics, Transport

if TYPE_CHECKING:
    from qis.transport.directory import DirectoryTransport
    from qis.transport.memory import MemoryNetwork, MemoryTransport
    from qis.transport.udp import UDPTransport

__all__ = [
    "Delivery",
    "DirectoryTransport",
    "Holding",
    "MemoryNetwork",
    "MemoryTransport",
    "Statistics",
    "Transport",
    "UDPTransport",
]

_LAZY = {
    "DirectoryTransport": "qis.transport.directory",
    "MemoryNetwork": "qis.transport.memory",
    "MemoryTransport": "qis.transport.memory",
    "UDPTransport": "qis.transport.udp",
}


def __getattr__(name: str) -> Any:
    # asyncio and sockets are loaded only by those who open a network (PEP 562).
    if name in _LAZY:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

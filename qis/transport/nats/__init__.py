"""Packets through a NATS server with JetStream, for sites that may only call out (``[nats]``)."""

from qis.transport.nats.names import Names
from qis.transport.nats.transport import NATSTransport

__all__ = ["NATSTransport", "Names"]

"""Packets through an object store or an SFTP server, for sites that only call out (``[cloud]``)."""

from qis.transport.cloud.transport import CloudTransport

__all__ = ["CloudTransport"]

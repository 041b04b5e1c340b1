"""The topic of a packet: at nodes that keep packets, a newer one replaces an older of its topic."""

from blake3 import blake3

from qis.evidence.rules import evidence_key
from qis.packet import Packet


def topic_of(packet: Packet) -> bytes:
    """Return 16 bytes that are equal for packets of the same evidence key."""
    key = evidence_key(packet)
    parts = (key.study_id, key.issuer, bytes((key.role,)), key.cohort.encode())
    return blake3(b"".join(parts)).digest(16)

"""What makes one packet replace another at the nodes that keep it: that it speaks for the same."""

from blake3 import blake3

from qis.evidence.rules import evidence_key
from qis.packet import Packet


def topic_of(packet: Packet) -> bytes:
    """What a packet speaks for: its issuer's word on a question and cohort, until a newer one."""
    key = evidence_key(packet)
    parts = (key.study_id, key.issuer, bytes((key.role,)), key.cohort.encode())
    return blake3(b"".join(parts)).digest(16)

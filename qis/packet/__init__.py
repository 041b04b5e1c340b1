"""Packets: signed, verified, in words, many at once, in files."""

from qis.packet.claims import LEAF_SIZE, MAX_LIFETIME_S
from qis.packet.packet import Packet, reread, verify_screened
from qis.packet.screening import (
    CLOCK_TOLERANCE_S,
    check_numbered,
    check_valid_at,
    content_id,
    is_numbered_ahead,
    issuer_key,
    screen,
)

__all__ = [
    "CLOCK_TOLERANCE_S",
    "LEAF_SIZE",
    "MAX_LIFETIME_S",
    "Packet",
    "check_numbered",
    "check_valid_at",
    "content_id",
    "is_numbered_ahead",
    "issuer_key",
    "reread",
    "screen",
    "verify_screened",
]

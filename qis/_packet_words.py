"""A packet in words: every field, in text and in HTML, whatever a stranger has put into it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qis.outcomes._words import rows_of, table_of

if TYPE_CHECKING:
    from qis.packet import Packet


def text_of(packet: "Packet") -> str:
    """One line a field."""
    return "\n".join(f"{name}: {value}" for name, value in _rows(packet))


def html_of(packet: "Packet") -> str:
    """A table without markup of the packet's own."""
    return table_of(_rows(packet))


def _rows(packet: "Packet") -> Iterator[tuple[str, str]]:
    yield "packet", packet.id.hex()
    yield "issuer", str(packet.issuer)
    yield "sequence", f"{packet.sequence} ({_time(packet.sequence / 1e6)})"
    yield "valid", f"from {_time(packet.issued_at)} until {_time(packet.expires_at)}"
    yield "fingerprint", packet.fingerprint.sketch.hex()
    yield "scheme", packet.fingerprint.scheme_id.hex()
    yield "routing keys", f"signed as {packet.routing_commitment.hex()}"
    yield from rows_of(packet.outcome)
    if packet.leaves:
        yield "leaves", f"{len(packet.leaves)}: " + ", ".join(leaf.hex() for leaf in packet.leaves)


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "beyond the calendar"

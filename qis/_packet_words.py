"""A packet in words: every field, in text and in HTML, whatever a stranger has put into it."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from qis.outcomes import MEASURES

if TYPE_CHECKING:
    from qis.packet import Packet

_LONGEST: Final = 120
"""Letters of one value that are shown; the rest is an ellipsis."""
_COMMON: Final = frozenset({"study", "question", "cohort", "study_id"})


def text_of(packet: "Packet") -> str:
    """One line a field."""
    return "\n".join(f"{name}: {value}" for name, value in _rows(packet))


def html_of(packet: "Packet") -> str:
    """A table without markup of the packet's own."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in _rows(packet)
    )
    return f"<table>{rows}</table>"


def _rows(packet: "Packet") -> Iterator[tuple[str, str]]:
    outcome = packet.outcome
    yield "packet", packet.id.hex()
    yield "issuer", str(packet.issuer)
    yield "sequence", f"{packet.sequence} ({_time(packet.sequence / 1e6)})"
    yield "valid", f"from {_time(packet.issued_at)} until {_time(packet.expires_at)}"
    yield "fingerprint", packet.fingerprint.sketch.hex()
    yield "scheme", packet.fingerprint.scheme_id.hex()
    yield "routing keys", f"signed as {packet.routing_commitment.hex()}"
    yield "kind", f"{outcome.kind}, {type(outcome).__name__}"
    yield "question", outcome.question
    yield "study", outcome.study_id.hex()
    if outcome.cohort:
        yield "cohort", outcome.cohort
    for field in fields(outcome):
        if field.name not in _COMMON:
            yield field.name.replace("_", " "), _shown(field.name, getattr(outcome, field.name))
    if packet.leaves:
        yield "leaves", f"{len(packet.leaves)}: " + ", ".join(leaf.hex() for leaf in packet.leaves)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "not said"
    if name == "measure":
        measure = MEASURES[value]
        scale = ", on the natural log scale" if measure.is_ratio else ""
        return f"{value}, {measure.label}{scale}"
    if isinstance(value, bytes):
        shown = value.hex()
    elif isinstance(value, tuple):
        shown = ", ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value)
    else:
        shown = f"{value:.10g}" if isinstance(value, float) else str(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "beyond the calendar"

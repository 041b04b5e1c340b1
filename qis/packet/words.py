"""A packet in words: every field, whatever a stranger has put into it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from qis.about import Fingerprint
from qis.identity import Issuer
from qis.outcomes import Outcome
from qis.outcomes._words import rows_of


def rows(
    *,
    id: bytes,  # noqa: A002  the field's name
    issuer: Issuer,
    outcome: Outcome,
    fingerprint: Fingerprint,
    times: tuple[int, int],
    sequence: int,
    commitment: bytes,
    leaves: Sequence[bytes],
) -> Iterator[tuple[str, str]]:
    """Yield name and value of each field; `times` are issue and expiry in Unix seconds."""
    yield "packet", id.hex()
    yield "issuer", str(issuer)
    yield "sequence", f"{sequence} ({_time(sequence / 1e6)})"
    yield "valid", f"from {_time(times[0])} until {_time(times[1])}"
    yield "fingerprint", fingerprint.sketch.hex()
    yield "scheme", fingerprint.scheme_id.hex()
    yield "routing keys", f"signed as {commitment.hex()}"
    yield from rows_of(outcome)
    if leaves:
        yield "leaves", f"{len(leaves)}: " + ", ".join(leaf.hex() for leaf in leaves)


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "beyond the calendar"

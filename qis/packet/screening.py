"""The cheap checks on bytes from anywhere, before any signature: nothing here is verified yet."""

from typing import Final, NoReturn

from blake3 import blake3

from qis import _layout
from qis._layout import PACKET_SIZE
from qis.errors import (
    ExpiredError,
    MalformedPacketError,
    NotYetValidError,
    PacketSizeError,
    SequenceAheadError,
)

CLOCK_TOLERANCE_S: Final = 300
"""How far in the future a packet may say it was issued."""


def screen(data: bytes, *, now: float | None = None) -> bytes:
    """Check length, constant bytes and, with `now`, times.

    Parameters
    ----------
    data
        Bytes from anywhere.
    now
        Unix seconds; `None`: the times are not checked.

    Returns
    -------
    bytes
        The data.

    Raises
    ------
    PacketSizeError
        If it is not 512 bytes.
    MalformedPacketError
        If a constant byte is not that of a packet.
    ExpiredError, NotYetValidError
        If `now` is outside the packet's validity.

    """
    if len(data) != PACKET_SIZE:
        hint = ", and these look like its hexadecimal digits" if _is_hex(data) else ""
        raise PacketSizeError(
            f"{len(data)} bytes; a packet has exactly {PACKET_SIZE}{hint}",
            field="length",
            actual=len(data),
            limit=PACKET_SIZE,
        )
    if type(data) is not bytes:
        data = bytes(data)
    if _layout.FRAME.unpack(data) != _layout.FRAME_CONTENT:
        _refuse_layout(data)
    if now is not None:
        expires_at, issued_at = _layout.TIMES.unpack(data)
        check_valid_at(now, issued_at, expires_at)
    return data


def check_valid_at(now: float, issued_at: int, expires_at: int) -> None:
    """Raise `ExpiredError` or `NotYetValidError` outside the time from issue to expiry."""
    if not now < expires_at:  # also where `now` is not a number
        raise ExpiredError(
            f"expired at {expires_at}, now is {now}",
            field="expires_at",
            actual=expires_at,
            limit=now,
        )
    if not issued_at <= now + CLOCK_TOLERANCE_S:
        raise NotYetValidError(
            f"issued at {issued_at}, {issued_at - now:.0f} s from now; "
            f"clocks may differ by {CLOCK_TOLERANCE_S} s",
            field="issued_at",
            actual=issued_at,
            limit=now + CLOCK_TOLERANCE_S,
        )


def is_numbered_ahead(sequence: int, issued_at: int) -> bool:
    """True if a sequence (Unix µs) is over `CLOCK_TOLERANCE_S` ahead of the issue time (Unix s).

    Stores and rendezvous nodes admit no such packet, since it would stand above all that its issuer
    signs until that time comes. Both numbers are in the packet, so everybody judges alike.
    """
    return sequence > (issued_at + CLOCK_TOLERANCE_S) * 1_000_000


def check_numbered(sequence: int, issued_at: int) -> None:
    """Raise `SequenceAheadError` if stores and rendezvous nodes do not admit this sequence."""
    if is_numbered_ahead(sequence, issued_at):
        raise SequenceAheadError(
            f"its sequence {sequence} is {sequence / 1e6 - issued_at:.0f} s ahead of its issue "
            f"time {issued_at}; at most {CLOCK_TOLERANCE_S} s are admitted",
            field="sequence",
            actual=sequence,
            limit=(issued_at + CLOCK_TOLERANCE_S) * 1_000_000,
        )


def _refuse_layout(data: bytes) -> NoReturn:
    for span, constant in _layout.BETWEEN:
        if data[span] != constant:
            raise MalformedPacketError(
                f"bytes {span.start}–{span.stop - 1} are not those of a packet",
                field="layout",
                actual=data[span],
                limit=constant,
            )
    # Only called when the frame differs, and BETWEEN and FRAME cover the same bytes.
    raise AssertionError("the frame is that of a packet")


def issuer_key(data: bytes) -> bytes:
    """The 32-byte issuer key of bytes that passed `screen`; nothing is verified yet."""
    return data[_layout.ISSUER]


def content_id(data: bytes) -> bytes:
    """The id that these 512 bytes have if they are a packet. Store it only once they verified."""
    return blake3(data[_layout.CONTENT]).digest()


def _is_hex(data: bytes) -> bool:
    """True if somebody has stored a packet as text; it looks at one length only."""
    return len(data) == 2 * PACKET_SIZE and not bytes(data).strip(b"0123456789abcdefABCDEF")

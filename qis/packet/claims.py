"""The claims that a packet signs: 400 bytes for each content, and what each may be."""

import struct
from collections.abc import Iterable
from typing import Final

from qis import _canonical, _layout
from qis._given import several
from qis.about import Fingerprint
from qis.errors import InputError, OutcomeTooLargeError
from qis.outcomes import Outcome

MAX_LIFETIME_S: Final = 400 * 86_400
"""Longest validity of a packet."""
LEAF_SIZE: Final = 12
"""Bytes of a leaf: the issuer's first 8, and the sequence in whole seconds."""
FIRST_TIME: Final = 2**16
"""Earliest issue, Unix seconds: below, CBOR would need fewer bytes and the offsets would move."""
_END_TIME: Final = 2**32
_FIRST_SEQUENCE: Final = 2**32  # for the same reason: below, the head would be shorter
_END_SEQUENCE: Final = 2**64

_CLAIMS = struct.Struct(">3sI2sI5sB3s32s2s8sBB2sQ")
_DERIVED_KIND: Final = 8


def payload_of(  # noqa: PLR0917  keywords would cost more than the checks on this path
    outcome: Outcome,
    fingerprint: Fingerprint,
    issued_at: int,
    expires_at: int,
    sequence: int,
    commitment: bytes,
    leaves: tuple[bytes, ...],
) -> bytes:
    """The 400 bytes of claims for this content.

    Raises
    ------
    OutcomeTooLargeError
        If body and leaves do not fit.

    """
    head = _CLAIMS.pack(
        b"\xa3\x04\x1a",
        expires_at,
        b"\x06\x1a",
        issued_at,
        b"\x3a\x00\x01\x00\x00",
        _layout.ENTRIES_WITHOUT_LINEAGE + bool(leaves),
        b"\x00\x58\x20",
        fingerprint.sketch,
        b"\x01\x48",
        fingerprint.scheme_id,
        2,
        outcome.kind,
        b"\x03\x1b",
        sequence,
    )
    body = outcome.encoded()
    return b"".join((head, b"\x04", body, after_body(len(body), commitment, leaves)))


def after_body(size: int, commitment: bytes, leaves: tuple[bytes, ...]) -> bytes:
    """The claims that follow a body of `size` bytes: lineage, commitment and padding.

    Raises
    ------
    OutcomeTooLargeError
        If body and leaves do not fit.

    """
    # Without the head of the map: key 5 and the byte string continue the map of the claims.
    lineage = _canonical.encode({5: b"".join(leaves)})[1:] if leaves else b""
    room = _layout.BODY_ROOM - size - len(lineage)
    if room < 0:
        raise OutcomeTooLargeError(
            f"the body takes {size} bytes and the lineage {len(lineage)}, together "
            f"{size + len(lineage)}; a packet has room for {_layout.BODY_ROOM}: "
            "shorten question or cohort, or carry fewer numbers or leaves",
            field="body",
            actual=size + len(lineage),
            limit=_layout.BODY_ROOM,
        )
    # BODY_ROOM leaves two bytes for the smallest padding entry: a key and an empty byte string.
    padding = _layout.PADDINGS[room + 2]
    return b"".join((lineage, b"\x06\x48", commitment, padding))


SEQUENCES: Final = (_FIRST_SEQUENCE, _END_SEQUENCE - 1)
"""Lowest and highest sequence."""


def check_sequence(sequence: int) -> None:
    """Raise `InputError` unless it is in [2³², 2⁶⁴)."""
    if not _FIRST_SEQUENCE <= sequence < _END_SEQUENCE:
        raise InputError(
            f"sequence is {sequence}; it must be in [2**32, 2**64): Unix microseconds",
            field="sequence",
            actual=sequence,
            limit=(_FIRST_SEQUENCE, _END_SEQUENCE - 1),
        )


def check_times(issued_at: int, expires_at: int) -> None:
    """Raise `InputError` unless both are whole seconds in range, at most 400 days apart."""
    if type(issued_at) is not int or type(expires_at) is not int:
        raise InputError("times are whole Unix seconds (int)", field="issued_at")
    if not FIRST_TIME <= issued_at < expires_at < _END_TIME:
        raise InputError(
            f"issued at {issued_at}, expires at {expires_at}: both must lie in [2**16, 2**32), "
            "expiry after issue (lifetime_s is positive)",
            field="issued_at",
            actual=(issued_at, expires_at),
            limit=(FIRST_TIME, _END_TIME - 1),
        )
    if expires_at - issued_at > MAX_LIFETIME_S:
        raise InputError(
            f"valid for {expires_at - issued_at} s; at most {MAX_LIFETIME_S} (400 days)",
            field="lifetime_s",
            actual=expires_at - issued_at,
            limit=MAX_LIFETIME_S,
        )


def checked_leaves(outcome: Outcome, leaves: Iterable[bytes]) -> tuple[bytes, ...]:
    """The leaves sorted, each once. Raises `InputError` if one is malformed or not allowed."""
    found = leaves if type(leaves) is tuple else tuple(several(leaves, "leaves", "bytes"))
    if not found:
        return ()
    if outcome.kind != _DERIVED_KIND:
        raise InputError("only a Derived outcome has leaves", field="leaves", actual=len(found))
    for leaf in found:
        if type(leaf) is not bytes or len(leaf) != LEAF_SIZE:
            raise InputError(f"a leaf is {LEAF_SIZE} bytes", field="leaves", limit=LEAF_SIZE)
    return tuple(sorted(set(found)))


def leaves_of(lineage: bytes) -> list[bytes]:
    """Split a lineage into leaves of 12 bytes; the last is shorter if the length is no multiple."""
    return [lineage[i : i + LEAF_SIZE] for i in range(0, len(lineage), LEAF_SIZE)]

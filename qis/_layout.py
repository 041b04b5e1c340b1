"""Where everything lies in a packet's 512 bytes (docs/packet-format.md; RFC 9052, RFC 8392).

Heads are fixed, so that a router reads issuer, times, sketch and scheme by slicing, and checks a
signature without parsing anything.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

PACKET_SIZE: Final = 512
"""Size of every packet in bytes, whatever it carries."""

PREFIX: Final = bytes.fromhex("d284 5826 a2 01 27 04 5820")  # tag 18, array, {alg: EdDSA, kid: …
ISSUER: Final = slice(10, 42)
PAYLOAD: Final = slice(46, 446)
EXPIRES_AT: Final = slice(49, 53)
ISSUED_AT: Final = slice(55, 59)
SKETCH: Final = slice(68, 100)
SCHEME_ID: Final = slice(102, 110)
KIND: Final = 111
SEQUENCE: Final = slice(114, 122)
BODY_START: Final = 122
VARIABLE: Final = slice(BODY_START + 1, 446)
"""From the body on, after its key, where heads and lengths depend on the content."""
ENTRIES: Final = 64
"""The head of the map that holds the outcome: of 7 entries, or 8 with a lineage."""
ENTRIES_WITHOUT_LINEAGE: Final = 0xA7
STUDY_ID: Final = slice(126, 134)  # first in every body, after three head bytes
CONTENT: Final = slice(0, 446)  # what the packet id covers
SIGNATURE: Final = slice(448, 512)

# Constant bytes between the fields; the first is in the envelope, the others in the claims.
BETWEEN: Final = (
    (slice(0, 10), PREFIX),
    (slice(42, 49), bytes.fromhex("a0 590190 a3 04 1a")),
    (slice(53, 55), bytes.fromhex("06 1a")),
    (slice(59, 64), bytes.fromhex("3a 00010000")),
    (slice(65, 68), bytes.fromhex("00 5820")),
    (slice(100, 102), bytes.fromhex("01 48")),
    (slice(110, 111), bytes.fromhex("02")),
    (slice(112, 114), bytes.fromhex("03 1b")),
    (slice(122, 123), bytes.fromhex("04")),
    (slice(446, 448), bytes.fromhex("58 40")),
)

FRAME: Final = struct.Struct("10s32x7s4x2s4x5s1x3s32x2s8x1s1x2s8x1s323x2s64x")
"""Unpacks the constant bytes of a packet, and nothing else, in one call."""
FIELDS: Final = struct.Struct(">49xI2xI5xB46xB2xQ390x")
"""Unpacks expiry, issue, entries, kind and sequence in one call."""
FRAME_CONTENT: Final = tuple(constant for _, constant in BETWEEN)

TIMES: Final = struct.Struct(">49xI2xI453x")
"""Unpacks expiry and issue in one call."""

SIGNED_HEAD: Final = b"\x84\x6aSignature1"  # Sig_structure, RFC 9052 section 4.4
SIGNED_MIDDLE: Final = b"\x40"  # empty external_aad


def signed_bytes(packet: bytes) -> bytes:
    """The 456 bytes that the signature of a packet covers: the Sig_structure of RFC 9052."""
    return SIGNED_HEAD + packet[2:42] + SIGNED_MIDDLE + packet[43:446]


PAYLOAD_SIZE: Final = 400
BODY_ROOM: Final = 311
"""Bytes left for the body and, in derived packets, key and byte string of the lineage."""


def padding(size: int) -> bytes:
    """The one padding entry of exactly `size` bytes, 2 ≤ size ≤ 400: a map key and zero bytes.

    Key -1 wherever the head sizes of CBOR byte strings allow, else key -25, which is a byte longer.
    """
    for key in (b"\x20", b"\x38\x18"):
        for head in (1, 2, 3):
            zeros = size - len(key) - head
            if zeros >= 0 and _head_size(zeros) == head:
                return key + _byte_string_head(zeros) + bytes(zeros)
    raise ValueError(f"no padding of {size} bytes")


def padding_read(claims: Mapping[int, Any]) -> bytes:
    """The padding entry of as many zeros as the claims of a packet hold.

    Raises
    ------
    LookupError, ValueError
        If they hold none, or something else than bytes under its key.

    """
    key, read = (b"\x20", claims[-1]) if -1 in claims else (b"\x38\x18", claims[-25])
    if type(read) is not bytes:
        raise ValueError("the padding is no byte string")
    return key + _byte_string_head(len(read)) + bytes(len(read))


def _head_size(length: int) -> int:
    return 1 if length < 24 else 2 if length < 256 else 3


def _byte_string_head(length: int) -> bytes:
    if length < 24:
        return bytes([0x40 + length])
    if length < 256:
        return bytes([0x58, length])
    return b"\x59" + length.to_bytes(2, "big")


PADDINGS: Final = tuple(padding(size) if size >= 2 else b"" for size in range(PAYLOAD_SIZE))

"""The messages of a handshake: encode beside decode, and what each signature covers.

Each side signs both keys, both ephemeral keys and its role, so that neither a message of one
handshake nor one's own message sent back fits another (SIGMA's lesson: who signs only ephemeral
keys can be talked into speaking with somebody else).
"""

import struct
from dataclasses import dataclass
from typing import Final, Self

from blake3 import blake3

from qis.channel.cookies import COOKIE_SIZE

INITIATION: Final = 1
RESPONSE: Final = 2
COOKIE: Final = 3
DATA: Final = 4
REFUSAL: Final = 5

_INITIATION = struct.Struct(">BI32s32sQ64s16s")
_RESPONSE = struct.Struct(">BII32sQ64s")
_COOKIE = struct.Struct(f">BI{COOKIE_SIZE}s")
_REFUSAL = struct.Struct(">BIB64s")
_INITIATOR: Final = b"qis channel 1 initiator\x00"
_RESPONDER: Final = b"qis channel 1 responder\x00"
_REFUSER: Final = b"qis channel 1 refuser\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiation:
    """Who calls, with which ephemeral key, at which time (Unix milliseconds).

    `session` is the number under which the caller will know the session.
    """

    session: int
    ephemeral: bytes
    key: bytes
    time_ms: int
    signature: bytes = bytes(64)
    cookie: bytes = bytes(COOKIE_SIZE)

    def signed_part(self, responder: bytes) -> bytes:
        """What the caller signs, for one responder only."""
        return _INITIATOR + self._content() + responder

    def transcript(self, responder: bytes) -> bytes:
        """What the responder's signature covers of this."""
        return blake3(self.signed_part(responder) + self.signature).digest()

    def _content(self) -> bytes:
        return struct.pack(">I32s32sQ", self.session, self.ephemeral, self.key, self.time_ms)

    def encode(self) -> bytes:
        """157 bytes, more than any answer to it."""
        return _INITIATION.pack(
            INITIATION,
            self.session,
            self.ephemeral,
            self.key,
            self.time_ms,
            self.signature,
            self.cookie,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """The inverse of `encode`; `None` for anything else."""
        if len(data) != _INITIATION.size:
            return None
        _, session, ephemeral, key, time_ms, signature, cookie = _INITIATION.unpack(data)
        return cls(
            session=session,
            ephemeral=ephemeral,
            key=key,
            time_ms=time_ms,
            signature=signature,
            cookie=cookie,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The responder's ephemeral key and time; `to` is the caller's number of the session."""

    to: int
    session: int
    ephemeral: bytes
    time_ms: int
    signature: bytes = bytes(64)

    def signed_part(self, transcript: bytes) -> bytes:
        """What the responder signs."""
        content = struct.pack(">II32sQ", self.to, self.session, self.ephemeral, self.time_ms)
        return _RESPONDER + transcript + content

    def encode(self) -> bytes:
        """113 bytes."""
        return _RESPONSE.pack(
            RESPONSE, self.to, self.session, self.ephemeral, self.time_ms, self.signature
        )

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """The inverse of `encode`; `None` for anything else."""
        if len(data) != _RESPONSE.size:
            return None
        _, to, session, ephemeral, time_ms, signature = _RESPONSE.unpack(data)
        return cls(
            to=to, session=session, ephemeral=ephemeral, time_ms=time_ms, signature=signature
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRefused:
    """Why a call is not answered: one byte (`qis.refusals.RefusalCode`), and nothing else.

    Signed, since on a network anybody can write in anybody's name.
    """

    to: int
    code: int
    signature: bytes = bytes(64)

    def signed_part(self, transcript: bytes) -> bytes:
        """What the responder signs."""
        return _REFUSER + transcript + struct.pack(">IB", self.to, self.code)

    def encode(self) -> bytes:
        """70 bytes, less than half of the call."""
        return _REFUSAL.pack(REFUSAL, self.to, self.code, self.signature)

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """The inverse of `encode`; `None` for anything else."""
        if len(data) != _REFUSAL.size:
            return None
        _, to, code, signature = _REFUSAL.unpack(data)
        return cls(to=to, code=code, signature=signature) if code else None


def encode_cookie(to: int, cookie: bytes) -> bytes:
    """21 bytes: call again with this cookie."""
    return _COOKIE.pack(COOKIE, to, cookie)


def decode_cookie(data: bytes) -> tuple[int, bytes] | None:
    """The caller's number and the cookie."""
    if len(data) != _COOKIE.size:
        return None
    _, to, cookie = _COOKIE.unpack(data)
    return to, cookie

"""The packet: 512 bytes that anyone can verify and nobody can change.

A packet is a COSE_Sign1 (RFC 9052) over a CWT claims set (RFC 8392) in deterministic CBOR
(RFC 8949, section 4.2.1). Checks run cheapest first, and the signature before anything is parsed.
Whatever content was understood is then encoded again: only the bytes that come out are accepted,
so each content has exactly one encoding.
"""

import struct
from collections.abc import Iterable
from typing import Final, NoReturn, Self

from blake3 import blake3

from qis import _canonical, _layout
from qis._layout import PACKET_SIZE
from qis.about import Fingerprint, checked_commitment, routing_commitment
from qis.errors import (
    ExpiredError,
    InputError,
    MalformedPacketError,
    NotYetValidError,
    OutcomeTooLargeError,
    PacketSizeError,
    PeerError,
    QISError,
)
from qis.identity import Identity, Issuer, verify
from qis.outcomes import Outcome, outcome_from_body

CLOCK_TOLERANCE_S: Final = 300
"""How far in the future a packet may say it was issued."""
MAX_LIFETIME_S: Final = 400 * 86_400
"""Longest validity of a packet."""
LEAF_SIZE: Final = 12
"""Bytes of a leaf: the issuer's first 8, and the sequence in whole seconds."""
_FIRST_TIME: Final = 2**16  # below, CBOR would need fewer bytes and the offsets would move
_END_TIME: Final = 2**32
_FIRST_SEQUENCE: Final = 2**32
_END_SEQUENCE: Final = 2**64

_CLAIMS = struct.Struct(">3sI2sI6s3s32s2s8sBB2sQB")
_DERIVED_KIND: Final = 8


class Packet:
    """A signed outcome. One that exists is valid: it was signed here, or it was verified.

    Made by `sign` or `parse`. Equality and hash go by `id`; `bytes(packet)` is what travels.
    """

    __slots__ = (
        "_id",
        "_raw",
        "expires_at",
        "fingerprint",
        "issued_at",
        "leaves",
        "outcome",
        "routing_commitment",
        "sequence",
    )

    _id: bytes | None
    _raw: bytes
    expires_at: int
    fingerprint: Fingerprint
    issued_at: int
    leaves: tuple[bytes, ...]
    outcome: Outcome
    routing_commitment: bytes
    sequence: int

    def __init__(self) -> None:
        raise TypeError("use Packet.sign to make a packet, Packet.parse to read one")

    @classmethod
    def sign(
        cls,
        identity: Identity,
        *,
        outcome: Outcome,
        fingerprint: Fingerprint,
        issued_at: int,
        lifetime_s: int,
        sequence: int | None = None,
        routing_keys: Iterable[bytes] = (),
        leaves: Iterable[bytes] = (),
    ) -> Self:
        """Sign an outcome.

        Parameters
        ----------
        identity
            The site's key.
        outcome, fingerprint
            What was found, and what it is about.
        issued_at
            Unix seconds, in [2¹⁶, 2³²).
        lifetime_s
            Validity in seconds, at most 400 days.
        sequence
            Names the packet among all of its issuer's; Unix microseconds, in [2³², 2⁶⁴). A higher
            one supersedes a lower one of the same evidence key. Default: ``issued_at * 10**6``.
        routing_keys
            The keys that the packet travels under, 8 bytes each; the study's id always is one too.
            The packet commits to them, so that nobody can replay it under others.
        leaves
            For a derived outcome, what it was made from: 12 bytes each, see `leaf`.

        Raises
        ------
        InputError
            If a time, sequence, key or leaf is out of range.
        OutcomeTooLargeError
            If body and leaves do not fit.

        """
        if sequence is None:
            sequence = issued_at * 1_000_000
        expires_at = issued_at + lifetime_s
        _check_times(issued_at, expires_at)
        if not _FIRST_SEQUENCE <= sequence < _END_SEQUENCE:
            raise InputError(
                f"sequence is {sequence}; it must be in [2**32, 2**64): Unix microseconds",
                field="sequence",
                actual=sequence,
                limit=(_FIRST_SEQUENCE, _END_SEQUENCE - 1),
            )
        self = cls.__new__(cls)
        self.outcome = outcome
        self.fingerprint = fingerprint
        self.issued_at = issued_at
        self.expires_at = expires_at
        self.sequence = sequence
        self.leaves = _checked_leaves(outcome, leaves)
        self.routing_commitment = checked_commitment((*routing_keys, outcome.study_id))
        content = b"".join(
            (_layout.PREFIX, identity.issuer.key, b"\xa0\x59\x01\x90", self._payload())
        )
        signature = identity.sign(_layout.signed_bytes(content))
        self._raw = content + b"\x58\x40" + signature
        self._id = None
        return self

    @classmethod
    def parse(cls, data: bytes, *, now: float | None = None) -> Self:
        """Read and verify a packet.

        Parameters
        ----------
        data
            Bytes from anywhere.
        now
            Unix seconds; if given, the time window is checked too.

        Raises
        ------
        PacketSizeError
            If it is not 512 bytes.
        MalformedPacketError
            If it is not the one encoding of a packet.
        SignatureError
            If the signature does not verify.
        ExpiredError, NotYetValidError
            If `now` is outside the packet's validity.

        """
        data = screen(data, now=now)
        verify(data[_layout.ISSUER], _layout.signed_bytes(data), data[_layout.SIGNATURE])
        self = cls.__new__(cls)
        self._raw = data
        self._id = None
        self.expires_at = int.from_bytes(data[_layout.EXPIRES_AT], "big")
        self.issued_at = int.from_bytes(data[_layout.ISSUED_AT], "big")
        self.sequence = int.from_bytes(data[_layout.SEQUENCE], "big")
        self.fingerprint = Fingerprint(data[_layout.SKETCH], data[_layout.SCHEME_ID])
        payload = data[_layout.PAYLOAD]
        try:
            _check_times(self.issued_at, self.expires_at)
            claims = _canonical.decode(payload)[-65537]
            self.outcome = outcome_from_body(data[_layout.KIND], claims[4])
            lineage = claims.get(5, b"")
            leaves = [lineage[i : i + LEAF_SIZE] for i in range(0, len(lineage), LEAF_SIZE)]
            self.leaves = _checked_leaves(self.outcome, leaves)
            self.routing_commitment = claims[6]
            if type(self.routing_commitment) is bytes and self._payload() == payload:
                return self
        except (
            QISError,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            struct.error,
        ) as error:
            raise MalformedPacketError(f"the content is not valid: {error!s:.200}") from None
        raise MalformedPacketError("the content is not in its one deterministic encoding")

    @classmethod
    def verify_many(
        cls, buffers: Iterable[bytes], *, now: float | None = None, workers: int | None = None
    ) -> "list[Packet | PeerError]":
        """Read and verify many packets over threads.

        Parameters
        ----------
        buffers
            Bytes from anywhere.
        now
            As for `parse`.
        workers
            Threads; default: as many as the process may use processors.

        Returns
        -------
        list
            In the order of the buffers: the packet, or the error that refuses it (not raised).

        """
        from qis._batch import verify_many  # noqa: PLC0415  threads are for those who use them

        return verify_many(buffers, now=now, workers=workers)

    def _payload(self) -> bytes:
        """The 400 bytes of claims for this content."""
        body = self.outcome.encoded()
        lineage = _canonical.encode({5: b"".join(self.leaves)})[1:] if self.leaves else b""
        room = _layout.BODY_ROOM - len(body) - len(lineage)
        if room < 0:
            raise OutcomeTooLargeError(
                f"the body takes {len(body)} bytes and the lineage {len(lineage)}, together "
                f"{len(body) + len(lineage)}; a packet has room for {_layout.BODY_ROOM}: "
                "shorten question or cohort, or carry fewer numbers or leaves",
                field="body",
                actual=len(body) + len(lineage),
                limit=_layout.BODY_ROOM,
            )
        head = _CLAIMS.pack(
            b"\xa3\x04\x1a",
            self.expires_at,
            b"\x06\x1a",
            self.issued_at,
            b"\x3a\x00\x01\x00\x00\xa8" if lineage else b"\x3a\x00\x01\x00\x00\xa7",
            b"\x00\x58\x20",
            self.fingerprint.sketch,
            b"\x01\x48",
            self.fingerprint.scheme_id,
            2,
            self.outcome.kind,
            b"\x03\x1b",
            self.sequence,
            4,
        )
        return b"".join(
            (head, body, lineage, b"\x06\x48", self.routing_commitment, _layout.PADDINGS[room + 2])
        )

    @property
    def id(self) -> bytes:
        """BLAKE3-256 of all bytes but the signature: one content, one id."""
        if self._id is None:
            self._id = content_id(self._raw)
        return self._id

    @property
    def issuer(self) -> Issuer:
        """Whose signature this is."""
        return Issuer(self._raw[_layout.ISSUER])

    @property
    def leaf(self) -> bytes:
        """The 12 bytes that name this packet among the leaves of a derived one."""
        seconds = min(self.sequence // 1_000_000, 2**32 - 1)
        return self._raw[10:18] + seconds.to_bytes(4, "big")

    def travels_under(self, routing_keys: Iterable[bytes]) -> bool:
        """Whether these, with the study's id, are the routing keys that the issuer signed."""
        return routing_commitment((*routing_keys, self.outcome.study_id)) == self.routing_commitment

    def explain(self) -> str:
        """Every field in words, one a line."""
        from qis._packet_words import text_of  # noqa: PLC0415  for people, not for the hot path

        return text_of(self)

    def _repr_html_(self) -> str:
        from qis._packet_words import html_of  # noqa: PLC0415  for people, not for the hot path

        return html_of(self)

    def __bytes__(self) -> bytes:
        return self._raw

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Packet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return (
            f"<Packet {self.id.hex()[:16]} by {str(self.issuer)[:16]}: "
            f"{type(self.outcome).__name__} {self.outcome.question!r}>"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self).parse, (self._raw,))


def screen(data: bytes, *, now: float | None = None) -> bytes:
    """The cheap checks, before any signature: length, constant bytes and, with `now`, times.

    Returns the data as `bytes`. Raises as `Packet.parse` does.
    """
    if len(data) != PACKET_SIZE:
        raise PacketSizeError(
            f"{len(data)} bytes; a packet has exactly {PACKET_SIZE}",
            field="length",
            actual=len(data),
            limit=PACKET_SIZE,
        )
    data = bytes(data)
    if _layout.FRAME.unpack(data) != _layout.FRAME_CONTENT:
        _refuse_layout(data)
    if now is not None:
        expires_at = int.from_bytes(data[_layout.EXPIRES_AT], "big")
        issued_at = int.from_bytes(data[_layout.ISSUED_AT], "big")
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
    return data


def _refuse_layout(data: bytes) -> NoReturn:
    for place, constant in _layout.BETWEEN:
        if data[place] != constant:
            raise MalformedPacketError(
                f"bytes {place.start}–{place.stop - 1} are not those of a packet",
                field="layout",
                actual=data[place],
                limit=constant,
            )
    raise AssertionError("the frame is that of a packet")


def issuer_key(data: bytes) -> bytes:
    """The 32-byte issuer key of bytes that passed `screen`; nothing is verified yet."""
    return data[_layout.ISSUER]


def content_id(data: bytes) -> bytes:
    """The id that these 512 bytes have if they are a packet. Store it only once they verified."""
    return blake3(data[_layout.CONTENT]).digest()


def _check_times(issued_at: int, expires_at: int) -> None:
    if type(issued_at) is not int or type(expires_at) is not int:
        raise InputError("times are whole Unix seconds (int)", field="issued_at")
    if not _FIRST_TIME <= issued_at < expires_at < _END_TIME:
        raise InputError(
            f"issued at {issued_at}, expires at {expires_at}: both must lie in [2**16, 2**32), "
            "expiry after issue",
            field="issued_at",
            actual=(issued_at, expires_at),
            limit=(_FIRST_TIME, _END_TIME - 1),
        )
    if expires_at - issued_at > MAX_LIFETIME_S:
        raise InputError(
            f"valid for {expires_at - issued_at} s; at most {MAX_LIFETIME_S} (400 days)",
            field="lifetime_s",
            actual=expires_at - issued_at,
            limit=MAX_LIFETIME_S,
        )


def _checked_leaves(outcome: Outcome, leaves: Iterable[bytes]) -> tuple[bytes, ...]:
    found = tuple(leaves)
    if not found:
        return ()
    if outcome.kind != _DERIVED_KIND:
        raise InputError("only a Derived outcome has leaves", field="leaves", actual=len(found))
    for leaf in found:
        if type(leaf) is not bytes or len(leaf) != LEAF_SIZE:
            raise InputError(f"a leaf is {LEAF_SIZE} bytes", field="leaves", limit=LEAF_SIZE)
    return tuple(sorted(set(found)))

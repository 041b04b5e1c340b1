"""The packet: 512 bytes that anyone can verify and nobody can change.

A packet is a COSE_Sign1 (RFC 9052) over a CWT claims set (RFC 8392) in deterministic CBOR
(RFC 8949, section 4.2.1). Checks run cheapest first, and the signature before anything is parsed.
Whatever content was understood is then encoded again (a record's is measured): only the bytes that
come out are accepted, so each content has exactly one encoding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Self

from qis import _canonical, _layout
from qis._gate import checked
from qis._given import (
    byte_string,
    instance,
    iterable,
    point_in_time,
    shown,
    whole_number,
    whole_second,
    whole_seconds,
)
from qis.about import (
    Fingerprint,
    carried_fingerprint,
    checked_commitment,
    routing_commitment,
)
from qis.errors import InputError, MalformedPacketError, PeerError, QISError
from qis.identity import Identity, Issuer, issuer_of, verify
from qis.outcomes import Outcome, outcome_from_body
from qis.packet.claims import (
    FIRST_TIME,
    MAX_LIFETIME_S,
    SEQUENCES,
    after_body,
    check_sequence,
    check_times,
    checked_leaves,
    leaves_of,
    payload_of,
)
from qis.packet.screening import content_id, screen

_VARIABLE_HEADS = {
    _layout.ENTRIES_WITHOUT_LINEAGE: b"\xa3\x04",
    _layout.ENTRIES_WITHOUT_LINEAGE + 1: b"\xa4\x04",
}
"""The head of a map of what is left after the first four entries, and the key of the body."""
_RECORD: Final = 6
_DEPTH: Final = 3
"""Claims, body, and the lists of numbers in it."""
_DEPTH_OF_RECORDS: Final = 2 + 4
"""Claims, body, and the four levels of a record."""


class Packet:
    """A signed outcome. One that exists is valid: it was signed here, or it was verified.

    Made by `sign` or `parse`. Equality and hash go by `id`; `bytes(packet)` is what travels.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> packet = qis.Packet.sign(
    ...     key,
    ...     outcome=qis.Counts(question="a vs b | death", events=3, total=20),
    ...     fingerprint=qis.VectorScheme(dimensions=2).fingerprint([0.5, -1.0]),
    ...     issued_at=1_800_000_000,
    ...     lifetime_s=86_400,
    ... )
    >>> len(bytes(packet)), qis.Packet.parse(bytes(packet)) == packet
    (512, True)
    >>> qis.Packet.parse(bytes(packet)[:-1] + b"x")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    qis.errors.SignatureError: the signature is not the issuer's over these bytes: ...

    """

    __slots__ = (
        "_id",
        "_issuer",
        "_raw",
        "expires_at",
        "issued_at",
        "leaves",
        "outcome",
        "routing_commitment",
        "sequence",
    )

    _id: bytes | None
    _issuer: Issuer
    _raw: bytes
    expires_at: int
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
        issued_at: float | datetime,
        lifetime_s: float | timedelta,
        sequence: int | None = None,
        routing_keys: Iterable[bytes] = (),
        leaves: Iterable[bytes] = (),
        seal: Callable[[Fingerprint, bytes, int], Fingerprint] | None = None,
    ) -> Self:
        """Sign an outcome.

        Parameters
        ----------
        identity
            The site's key.
        outcome, fingerprint
            What was found, and what it is about.
        issued_at
            Unix seconds, in [2¹⁶, 2³²), or a `datetime` with a zone; rounded down to a second.
        lifetime_s
            Validity in seconds, or as a `timedelta`; at most 400 days.
        sequence
            Names the packet among all of its issuer's; Unix microseconds, in [2³², 2⁶⁴). A higher
            one supersedes a lower one of the same evidence key. Default: ``issued_at * 10**6``.
        routing_keys
            The keys that the packet travels under, 8 bytes each; the study's id always is one too.
            The packet commits to them, so that nobody can replay it under others.
        leaves
            For a derived outcome, what it was made from: 12 bytes each, see `leaf`.
        seal
            ``scheme.seal``, which hides the sketch from all who do not have the scheme's secret.
            Needed for fingerprints that were made with one. Two packets with one sequence would be
            sealed alike, so that whoever compares them learns in what their sketches differ.

        Raises
        ------
        InputError
            If a time, sequence, key or leaf is out of range, or the fingerprint was made with a
            secret and there is no `seal`.
        OutcomeTooLargeError
            If body and leaves do not fit.

        """
        instance(identity, "identity", Identity, "Identity.load(path)")
        instance(outcome, "outcome", Outcome, "qis.Effect(…), qis.Counts(…) …")
        instance(fingerprint, "fingerprint", Fingerprint, "scheme.fingerprint(features)")
        issued_at = whole_second(issued_at, "issued_at")
        if sequence is None:
            sequence = issued_at * 1_000_000
        elif type(sequence) is not int:
            sequence = whole_number(sequence, "sequence", *SEQUENCES)
        expires_at = issued_at + whole_seconds(lifetime_s, "lifetime_s")
        check_times(issued_at, expires_at)
        check_sequence(sequence)
        if seal is not None:
            fingerprint = _sealed(seal, fingerprint, identity.issuer.key, sequence)
        if fingerprint.is_open:
            raise InputError(
                "the fingerprint was made with a secret, and would leave unsealed: give "
                "seal=scheme.seal",
                field="seal",
            )
        self = cls.__new__(cls)
        self.outcome = outcome
        self.issued_at = issued_at
        self.expires_at = expires_at
        self.sequence = sequence
        self.leaves = checked_leaves(outcome, leaves)
        self.routing_commitment = checked_commitment(
            (*iterable(routing_keys, "routing_keys", "keys of 8 bytes"), outcome.study_id)
        )
        payload = payload_of(
            outcome,
            fingerprint,
            issued_at,
            expires_at,
            sequence,
            self.routing_commitment,
            self.leaves,
        )
        # a0: the empty unprotected header; 59 0190: the head of a byte string of 400.
        content = b"".join((_layout.PREFIX, identity.issuer.key, b"\xa0\x59\x01\x90", payload))
        signature = identity.sign(_layout.signed_bytes(content))
        self._raw = content + b"\x58\x40" + signature  # CBOR head of a byte string of 64
        self._id = None
        self._issuer = identity.issuer
        return self

    @classmethod
    def parse(cls, data: bytes, *, now: float | datetime | None = None) -> Self:
        """Read and verify a packet.

        Parameters
        ----------
        data
            Bytes from anywhere.
        now
            Unix seconds, or a `datetime` with a zone; if given, the time window is checked too.

        Raises
        ------
        InputError
            If `data` is no bytes, or `now` no time.
        PacketSizeError
            If it is not 512 bytes.
        MalformedPacketError
            If it is not the one encoding of a packet.
        SignatureError
            If the signature does not verify.
        ExpiredError, NotYetValidError
            If `now` is outside the packet's validity.

        """
        if type(data) is not bytes:
            data = _bytes_of(data)
        if now is not None and type(now) is not float:
            now = point_in_time(now, "now")
        data = screen(data, now=now)
        verify(data[_layout.ISSUER], _layout.signed_bytes(data), data[_layout.SIGNATURE])
        return cls._read(data)

    @classmethod
    @checked
    def verify_many(
        cls,
        buffers: Iterable[bytes],
        *,
        now: float | datetime | None = None,
        workers: int | None = None,
    ) -> "list[Packet | PeerError]":
        """Read and verify many packets over threads.

        Parameters
        ----------
        buffers
            Bytes from anywhere.
        now
            Unix seconds; if given, each packet's time window is checked too.
        workers
            Number of threads; default: as many as the process may use processors.

        Returns
        -------
        list
            In the order of the buffers: the packet, or the error that refuses it (not raised).

        """
        from qis.packet.batch import over_threads  # noqa: PLC0415  threads are for who uses them

        now = None if now is None else point_in_time(now, "now")

        def alone(raw: bytes) -> Packet | PeerError:
            try:
                return cls.parse(raw, now=now)
            except PeerError as error:
                return error

        def together(batch: list[bytes]) -> list[Packet | PeerError]:
            return cls._parse_all(batch, now)

        return over_threads(alone, together, buffers, workers=workers)

    @classmethod
    def _parse_all(cls, buffers: "list[bytes]", now: float | None) -> "list[Packet | PeerError]":
        """Parse each buffer; give the packet or the error that refuses it, in order."""
        found: list[bytes | PeerError] = []
        for buffer in buffers:
            try:
                found.append(screen(buffer, now=now))
            except PeerError as error:
                found.append(error)
        packets = iter(verify_screened([each for each in found if isinstance(each, bytes)]))
        return [next(packets) if isinstance(each, bytes) else each for each in found]

    @classmethod
    def _read(cls, data: bytes, packet_id: bytes | None = None) -> Self:
        """The packet of bytes whose frame and signature are right.

        Up to the body the frame and the ranges leave one encoding; the rest is encoded again, but
        for a record's content, whose size proves the same.
        """
        self = cls.__new__(cls)
        self._raw = data
        self._id = packet_id
        self._issuer = issuer_of(data[_layout.ISSUER])
        expires_at, issued_at, entries, kind, sequence = _layout.FIELDS.unpack(data)
        variable = data[_layout.VARIABLE]
        try:
            # Asked here, so that a packet in order costs no call: what a verification leaves of the
            # processor's caches makes each call after it dear.
            if not (
                FIRST_TIME <= issued_at < expires_at <= issued_at + MAX_LIFETIME_S
                and sequence >= SEQUENCES[0]
            ):
                check_times(issued_at, expires_at)
                check_sequence(sequence)
            self.expires_at = expires_at
            self.issued_at = issued_at
            self.sequence = sequence
            claims = _canonical.loads(
                _VARIABLE_HEADS[entries] + variable,
                max_depth=_DEPTH_OF_RECORDS if kind == _RECORD else _DEPTH,
            )
            body, commitment = claims[4], claims[6]
            self.outcome = outcome = outcome_from_body(kind, body)
            leaves: tuple[bytes, ...] = ()
            if 5 in claims:
                leaves = checked_leaves(outcome, leaves_of(claims[5]))
            self.leaves = leaves
            self.routing_commitment = commitment
            size = outcome.encoded_at(variable)
            rest = variable[size:]
            if (
                size
                and type(commitment) is bytes
                and rest == after_body(size, commitment, leaves)
                # A record is not encoded again. That what was read of it ends there too is seen by
                # the padding: had it taken more bytes than its one encoding, fewer would be left.
                and (kind != _RECORD or rest.endswith(_layout.padding_read(claims)))
                and entries == _layout.ENTRIES_WITHOUT_LINEAGE + bool(leaves)
            ):
                return self
        except QISError as error:
            raise MalformedPacketError(f"the content is not valid: {error!s:.200}") from None
        except MemoryError:
            raise  # this machine's want: nothing is known of the packet, which may come again
        except Exception as error:  # noqa: BLE001  a body may make its kind raise anything
            raise MalformedPacketError(
                f"the content is not valid: {type(error).__name__}: {error!s:.200}"
            ) from None
        raise MalformedPacketError("the content is not in its one deterministic encoding")

    @property
    def id(self) -> bytes:
        """BLAKE3-256 of all bytes but the signature: one content, one id."""
        if self._id is None:
            self._id = content_id(self._raw)
        return self._id

    @property
    def issuer(self) -> Issuer:
        """The issuer: the public key that verified the signature."""
        return self._issuer

    @property
    def fingerprint(self) -> Fingerprint:
        """What the outcome is about, as it travels: sealed, if the scheme has a secret."""
        return carried_fingerprint(
            self._raw[_layout.SKETCH], self._raw[_layout.SCHEME_ID], self._issuer.key, self.sequence
        )

    @property
    def leaf(self) -> bytes:
        """The 12 bytes that name this packet among the leaves of a derived one."""
        # A sequence may name a time after 2106, which four bytes of seconds cannot hold.
        seconds = min(self.sequence // 1_000_000, 2**32 - 1)
        return self._raw[10:18] + seconds.to_bytes(4, "big")

    @checked
    def travels_under(self, routing_keys: Iterable[bytes]) -> bool:
        """True if these keys, with the study's id, are the routing keys that the issuer signed."""
        return routing_commitment((*routing_keys, self.outcome.study_id)) == self.routing_commitment

    def explain(self) -> str:
        """Every field in words, one a line.

        Examples
        --------
        >>> import qis
        >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=1)
        >>> named = {"question": "a vs b | c", "measure": "OR"}
        >>> effect = qis.Effect(**named, estimate=0.1, standard_error=0.2)
        >>> mark, month = scheme.fingerprint([1.0]), 30 * 86_400
        >>> packet = qis.Packet.sign(
        ...     key, outcome=effect, fingerprint=mark, issued_at=1_800_000_000, lifetime_s=month
        ... )
        >>> "a vs b | c" in packet.explain()
        True

        """
        return "\n".join(f"{name}: {value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        from qis.outcomes._words import table_of  # noqa: PLC0415  for people, not for the hot path

        return table_of(self._rows())

    def _rows(self) -> Iterator[tuple[str, str]]:
        from qis.packet.words import rows  # noqa: PLC0415  for people, not for the hot path

        return rows(
            id=self.id,
            issuer=self.issuer,
            outcome=self.outcome,
            fingerprint=self.fingerprint,
            times=(self.issued_at, self.expires_at),
            sequence=self.sequence,
            commitment=self.routing_commitment,
            leaves=self.leaves,
        )

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


def _sealed(
    seal: Callable[[Fingerprint, bytes, int], Fingerprint],
    fingerprint: Fingerprint,
    issuer: bytes,
    sequence: int,
) -> Fingerprint:
    """What the application's `seal` gives, whose failures and odd answers become errors of ours."""
    try:
        found = seal(fingerprint, issuer, sequence)
    except QISError:
        raise
    except Exception as error:
        raise InputError(
            f"seal is {shown(seal)} and raised {type(error).__name__}: {error!s:.100}; "
            "give seal=scheme.seal",
            field="seal",
            actual=seal,
        ) from error
    return instance(found, "seal", Fingerprint, "scheme.seal")


def _bytes_of(data: object) -> bytes:
    """The bytes of a packet that is given otherwise than as `bytes`, or an error that helps."""
    if isinstance(data, Packet):
        raise InputError("data is a Packet already, which is verified", field="data")
    if isinstance(data, str):
        hexadecimal = len(data) == 2 * _layout.PACKET_SIZE
        raise InputError(
            "data is a text; it must be bytes"
            + (": if it is hexadecimal, bytes.fromhex(data)" if hexadecimal else ""),
            field="data",
        )
    return byte_string(data, "data")


def verify_screened(
    screened: Sequence[bytes], ids: Sequence[bytes | None] | None = None
) -> list[Packet | PeerError]:
    """`Packet.verify_many`, in this thread, of bytes that have passed `screen`.

    All signatures are verified before the first content is read. A verification takes so much of
    the processor's cache that what runs between two starts with an empty one. That nearly doubles
    the time of everything else, as measured in a receiver (docs/udp.md).

    Parameters
    ----------
    screened
        What `screen` has returned.
    ids
        Their `content_id`, where it is known already.

    """
    errors: list[PeerError | None] = []
    for data in screened:
        try:
            verify(data[_layout.ISSUER], _layout.signed_bytes(data), data[_layout.SIGNATURE])
            errors.append(None)
        except PeerError as error:
            errors.append(error)
    found: list[Packet | PeerError] = []
    for data, refused, packet_id in zip(
        screened, errors, ids or (None,) * len(screened), strict=True
    ):
        try:
            found.append(refused or reread(data, packet_id))
        except PeerError as error:
            found.append(error)
    return found


def reread(data: bytes, packet_id: bytes | None = None) -> Packet:
    """The packet of bytes that this process has verified and kept: the signature is not checked.

    For bytes from anywhere else take `Packet.parse`.
    """
    return Packet._read(data, packet_id)  # noqa: SLF001  a packet of an application is verified

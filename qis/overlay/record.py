"""Node records: a node's own signed word for its key and address, and who may be believed.

Records are passed on by others, so each is signed by the node that it describes and carries a
sequence: a newer one replaces an older one, and nobody can announce another node's address.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from qis.errors import SignatureError
from qis.identity import Identity, Issuer, verify
from qis.overlay.addresses import ADDRESS_SIZE
from qis.overlay.ids import node_id
from qis.overlay.lru_cache import LruCache

_CONTENT = struct.Struct(f">32sQ{ADDRESS_SIZE}s")
_CONTEXT = b"qis node record 1\x00"
SIGNATURE_SIZE: Final = 64
RECORD_SIZE: Final = _CONTENT.size + SIGNATURE_SIZE
KNOWN_RECORDS_LIMIT: Final = 16_384
"""Verified records remembered, so that none is verified twice; the oldest goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node's key, the sequence of this statement, and its address; port 0 says it leaves."""

    key: bytes
    sequence: int
    address: bytes
    signature: bytes
    _encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Encoded once: a record is passed on some hundred times as often as it is made.
        encoded = _CONTENT.pack(self.key, self.sequence, self.address) + self.signature
        object.__setattr__(self, "_encoded", encoded)

    @property
    def is_leaving(self) -> bool:
        """True if the node says that it has left the network."""
        return self.address[16:] == b"\x00\x00"

    def signed_part(self) -> bytes:
        """The bytes that the signature covers."""
        return _CONTEXT + _CONTENT.pack(self.key, self.sequence, self.address)

    def encode(self) -> bytes:
        """The 122 bytes that travel."""
        return self._encoded

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The record in 122 bytes; its signature is not checked here."""
        key, sequence, address = _CONTENT.unpack_from(data)
        return cls(
            key=key, sequence=sequence, address=address, signature=bytes(data[_CONTENT.size :])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How a node signs and how it checks the signatures of others.

    Parameters
    ----------
    key
        The node's 32-byte public key.
    sign
        Gives the node's 64-byte signature of a message.
    verify
        True if (key, message, signature) belong together.

    """

    key: bytes
    sign: Callable[[bytes], bytes]
    verify: Callable[[bytes, bytes, bytes], bool]

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """Ed25519, by the site's key."""
        return cls(key=identity.issuer.key, sign=identity.sign, verify=_is_signature)

    def record(self, address: bytes, sequence: int) -> NodeRecord:
        """The signed record of this node."""
        unsigned = NodeRecord(key=self.key, sequence=sequence, address=address, signature=b"")
        signature = self.sign(unsigned.signed_part())
        return NodeRecord(key=self.key, sequence=sequence, address=address, signature=signature)


def _is_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify(key, message, signature)
    except SignatureError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Contact:
    """A node whose record has been verified, and its id, an integer in [0, 2²⁵⁶)."""

    id: int
    record: NodeRecord

    def __hash__(self) -> int:
        return hash(self.id)  # as good as that of the whole record, and quick


class NodeAdmission:
    """Decides which records are believed: signed by their node, which the roster accepts.

    Parameters
    ----------
    verify
        True if (key, message, signature) belong together.
    accepts
        True if an issuer may take part; a roster's `accepts`.
    salt_of
        Gives the random bytes with which a key was enrolled, see `node_id`.

    """

    def __init__(
        self,
        verify: Callable[[bytes, bytes, bytes], bool],
        accepts: Callable[[Issuer], bool],
        salt_of: Callable[[bytes], bytes] = lambda _: b"",
    ) -> None:
        self._verify = verify
        self._accepts = accepts
        self._salt_of = salt_of
        self._known: LruCache[bytes, Contact] = LruCache(KNOWN_RECORDS_LIMIT)

    def id_of(self, key: bytes) -> int:
        """The id of the node of a key."""
        return node_id(key, self._salt_of(key))

    def forget(self) -> None:
        """Ask again of everybody whether they are accepted."""
        self._known.clear()

    def contact(self, data: bytes) -> Contact | None:
        """The contact that 122 bytes of record describe, or `None` if they are not to be used."""
        known = self._known.get(data)
        if known is not None:
            return known
        record = NodeRecord.decode(data)
        if not self._accepts(Issuer(record.key)):
            return None
        if not self._verify(record.key, record.signed_part(), record.signature):
            return None
        contact = Contact(self.id_of(record.key), record)
        self._known.put(data, contact)
        return contact

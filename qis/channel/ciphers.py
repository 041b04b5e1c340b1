"""The channel's gate to libsodium: key agreement and authenticated encryption."""

from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from qis.errors import PeerError

PUBLIC_SIZE: Final = 32
TAG_SIZE: Final = 16
_NONCE_SIZE: Final = 12

KeyPair = tuple[bytes, bytes]
"""Public and secret X25519 key."""
Keys = tuple[bytes, bytes]
"""Keys to open and to seal with, different ones each way."""


class AgreementError(PeerError):
    """The other's public key has small order, so that anybody would know the outcome."""


def new_key_pair() -> KeyPair:
    """A key pair from the system's randomness, for one handshake."""
    return bindings.crypto_kx_keypair()


def initiator_keys(own: KeyPair, other: bytes) -> Keys:
    """The initiator's session keys (crypto_kx: BLAKE2b over the X25519 secret and both keys).

    Raises
    ------
    AgreementError
        If the other's key is no key to agree with.

    """
    try:
        return bindings.crypto_kx_client_session_keys(*own, other)
    except (CryptoError, TypeError, ValueError) as error:
        raise AgreementError("a public key of small order", field="key") from error


def responder_keys(own: KeyPair, other: bytes) -> Keys:
    """The responder's session keys; raises as `initiator_keys`."""
    try:
        return bindings.crypto_kx_server_session_keys(*own, other)
    except (CryptoError, TypeError, ValueError) as error:
        raise AgreementError("a public key of small order", field="key") from error


def seal(plain: bytes, head: bytes, number: int, key: bytes) -> bytes:
    """Encrypt (ChaCha20-Poly1305, RFC 8439), `head` authenticated too; 16 bytes longer.

    A number is used once with a key.
    """
    return bindings.crypto_aead_chacha20poly1305_ietf_encrypt(plain, head, _nonce(number), key)


def unseal(sealed: bytes, head: bytes, number: int, key: bytes) -> bytes | None:
    """The plain text, or `None` if any bit of text, head or number is not the sealed one."""
    if len(sealed) < TAG_SIZE:
        return None
    try:
        return bindings.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, head, _nonce(number), key)
    except CryptoError:
        return None


def _nonce(number: int) -> bytes:
    # A counter is a safe nonce here: each direction of each session has a key of its own.
    return number.to_bytes(_NONCE_SIZE, "little")

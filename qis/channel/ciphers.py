"""The channel's gate to libsodium: key agreement and authenticated encryption."""

from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from qis.errors import InputError, PeerError

try:  # what `bindings` calls too, after checks that take twice as long as it does
    from nacl._sodium import ffi, lib  # type: ignore[import-not-found]
except ImportError:  # a version of PyNaCl that keeps them elsewhere
    ffi = lib = None

PUBLIC_SIZE: Final = 32
TAG_SIZE: Final = 16
KEY_SIZE: Final = 32
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

    A number is used once with a key, of 32 bytes.
    """
    if lib is None:
        return bindings.crypto_aead_chacha20poly1305_ietf_encrypt(plain, head, _nonce(number), key)
    sealed = ffi.new("unsigned char[]", len(plain) + TAG_SIZE)
    lib.crypto_aead_chacha20poly1305_ietf_encrypt(
        sealed,
        ffi.NULL,
        plain,
        len(plain),
        head,
        len(head),
        ffi.NULL,
        _nonce(number),
        _checked(key),
    )
    return bytes(ffi.buffer(sealed))


def unseal(sealed: bytes, head: bytes, number: int, key: bytes) -> bytes | None:
    """The plain text, or `None` if any bit of text, head or number is not the sealed one."""
    size = len(sealed) - TAG_SIZE
    if size < 0:
        return None
    if lib is None:
        return _unsealed_slowly(sealed, head, number, key)
    plain = ffi.new("unsigned char[]", size)
    failed = lib.crypto_aead_chacha20poly1305_ietf_decrypt(
        plain,
        ffi.NULL,
        ffi.NULL,
        sealed,
        len(sealed),
        head,
        len(head),
        _nonce(number),
        _checked(key),
    )
    return None if failed else bytes(ffi.buffer(plain, size))


def _nonce(number: int) -> bytes:
    # A counter is a safe nonce here: each direction of each session has a key of its own.
    return number.to_bytes(_NONCE_SIZE, "little")


def _unsealed_slowly(sealed: bytes, head: bytes, number: int, key: bytes) -> bytes | None:
    try:
        return bindings.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, head, _nonce(number), key)
    except CryptoError:
        return None


def _checked(key: bytes) -> bytes:
    # libsodium reads 32 bytes from wherever it is pointed to.
    if len(key) != KEY_SIZE:
        raise InputError("a key has 32 bytes", field="key", actual=len(key), limit=KEY_SIZE)
    return key

"""What members of a consortium share with each other, and hide from whoever carries it.

XChaCha20-Poly1305: its nonces of 24 bytes are long enough to be drawn at random by many writers who
share one key. 40 bytes are added. Whoever holds the secret, a former member too, can read and make
sealed data for ever; who has *signed* a packet is another question, which its signature answers.
"""

import os
from typing import Final

from blake3 import blake3
from nacl import bindings
from nacl.exceptions import CryptoError

from qis.errors import InputError

SECRET_SIZE: Final = 32
"""Size of a consortium's secret in bytes."""
OVERHEAD: Final = 40
"""Bytes that sealing adds: a nonce of 24 and a tag of 16."""
_NONCE_SIZE: Final = 24
_CONTEXT: Final = "qis 2026 sealed packets of a consortium"


class Seal:
    """Seals and opens data with a secret that all members share.

    Parameters
    ----------
    secret
        32 bytes; the one of the fingerprint scheme may be used here too, since another key is
        derived from it.

    Raises
    ------
    InputError
        If it is not 32 bytes.

    """

    def __init__(self, secret: bytes) -> None:
        given: object = secret
        if not isinstance(given, bytes) or len(given) != SECRET_SIZE:
            raise InputError(
                f"a consortium's secret is {SECRET_SIZE} bytes: secrets.token_bytes({SECRET_SIZE})",
                field="secret",
                limit=SECRET_SIZE,
            )
        self._key = blake3(secret, derive_key_context=_CONTEXT).digest(32)

    def __repr__(self) -> str:
        return "<Seal>"

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Seal data, bound to associated data that stays visible, such as its subject."""
        nonce = os.urandom(_NONCE_SIZE)
        encrypt = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt
        return nonce + encrypt(plain, associated, nonce, self._key)

    def unseal(self, sealed: bytes, associated: bytes) -> bytes | None:
        """Open sealed data; `None` if the secret or the associated data was another."""
        if len(sealed) < OVERHEAD:
            return None
        nonce, rest = sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:]
        try:
            return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                rest, associated, nonce, self._key
            )
        except CryptoError:
            return None

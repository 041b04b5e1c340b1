"""Who signs: Ed25519 keys (RFC 8032), and the only gate to libsodium.

A site's key is its name. Whoever reads the key file can sign as the site, so it is written with
mode 0600, never overwritten, and not read when others could have read or changed it.
"""

import base64
import binascii
import os
import stat
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

from nacl import bindings
from nacl.exceptions import CryptoError

from qis.errors import InputError, KeyFileError, SignatureError

KEY_SIZE = 32
# PrivateKeyInfo of RFC 8410 up to the 32 bytes of the seed: what `openssl genpkey` writes.
_PKCS8_HEAD = bytes.fromhex("302e020100300506032b657004220420")
_PEM_BEGIN = "-----BEGIN PRIVATE KEY-----"
_PEM_END = "-----END PRIVATE KEY-----"


@dataclass(frozen=True, slots=True, order=True)
class Issuer:
    """The public key that packets are signed with, and thereby the signer's name.

    Parameters
    ----------
    key
        32 bytes.

    Raises
    ------
    InputError
        If it is not 32 bytes.

    """

    key: bytes

    def __post_init__(self) -> None:
        if type(self.key) is not bytes or len(self.key) != KEY_SIZE:
            raise InputError(f"an issuer is a key of {KEY_SIZE} bytes", field="key", limit=KEY_SIZE)

    def __bytes__(self) -> bytes:
        return self.key

    def __str__(self) -> str:
        return self.key.hex()

    def __repr__(self) -> str:
        return f"Issuer({self.key.hex()})"


class Identity:
    """A site's signing key. Keep it secret, back it up, and use it on one machine at a time."""

    __slots__ = ("_secret", "issuer")

    issuer: Issuer

    def __init__(self, seed: bytes) -> None:
        if type(seed) is not bytes or len(seed) != KEY_SIZE:
            raise InputError(f"a seed is {KEY_SIZE} bytes", field="seed", limit=KEY_SIZE)
        public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.issuer = Issuer(public)

    @classmethod
    def generate(cls) -> Self:
        """A new key from the operating system's random source."""
        return cls(os.urandom(KEY_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The key of a 32-byte seed (RFC 8032's private key).

        Raises
        ------
        InputError
            If the seed is not 32 bytes.

        """
        return cls(seed)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read the key that `save` or ``openssl genpkey -algorithm ed25519`` wrote.

        Raises
        ------
        KeyFileError
            If the file is missing, readable or writable by others, or not such a key.

        """
        try:
            with Path(path).open(encoding="ascii") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if os.name == "posix" and mode & 0o077:
                    raise KeyFileError(
                        f"{path} has mode {mode:04o}, so others can read the key: "
                        f"if nobody did, run chmod 600 {path}; else make a new key",
                        field="mode",
                        actual=mode,
                        limit=0o600,
                    )
                text = file.read(4096)
        except OSError as error:
            raise KeyFileError(f"{path} cannot be read: {error.strerror}", field="path") from error
        except UnicodeDecodeError:
            raise KeyFileError(f"{path} is no key file: it is not text", field="path") from None
        return cls(_seed_from_pem(text, path))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the key as PKCS #8 PEM (RFC 8410) with mode 0600; never overwrites.

        Raises
        ------
        KeyFileError
            If the file exists or cannot be written.

        """
        der = _PKCS8_HEAD + self._secret[:KEY_SIZE]
        text = f"{_PEM_BEGIN}\n{base64.b64encode(der).decode()}\n{_PEM_END}\n"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except OSError as error:
            raise KeyFileError(f"{path} is not written: {error.strerror}", field="path") from error
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of a message."""
        return bindings.crypto_sign(message, self._secret)[:64]

    def __repr__(self) -> str:
        return f"<Identity of issuer {self.issuer}>"

    def __reduce__(self) -> str:
        raise TypeError("an Identity is not pickled or copied: it would spread the secret key")


def verify(issuer: bytes, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature as libsodium does: strictly, small-order keys refused.

    Raises
    ------
    SignatureError
        If it is not the issuer's signature of the message.

    """
    try:
        bindings.crypto_sign_open(signature + message, issuer)
    except (CryptoError, ValueError, TypeError):
        raise SignatureError(
            "the signature is not the issuer's over these bytes: they were changed, "
            "or somebody else signed them",
            field="signature",
        ) from None


def _seed_from_pem(text: str, path: str | PathLike[str]) -> bytes:
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _PEM_BEGIN or lines[-1] != _PEM_END:
        raise KeyFileError(f"{path} is no PKCS #8 key in PEM form", field="path")
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error:
        raise KeyFileError(f"{path} is damaged: its base64 does not decode", field="path") from None
    if len(der) != len(_PKCS8_HEAD) + KEY_SIZE or not der.startswith(_PKCS8_HEAD):
        raise KeyFileError(f"{path} holds a key of another kind than Ed25519", field="path")
    return der[len(_PKCS8_HEAD) :]

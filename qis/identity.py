"""Who signs: Ed25519 keys (RFC 8032), and the only gate to libsodium.

A site's key is its name. Whoever reads the key file can sign as the site, so it is written with
mode 0600, never overwritten, and not read when others could have read or changed it.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Self

from nacl import bindings
from nacl.exceptions import CryptoError

from qis import _key_file
from qis._gate import checked
from qis._given import byte_string
from qis.errors import InputError, SignatureError

KEY_SIZE = 32
ISSUERS_MET = 4_096
"""Issuers met lately of which a second object is not made."""


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

    Examples
    --------
    >>> import qis
    >>> issuer = qis.Identity.from_seed(bytes(32)).issuer
    >>> qis.Issuer(bytes(issuer)) == issuer
    True
    >>> str(issuer)[:16]
    '3b6a27bcceb6a42d'

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


@lru_cache(maxsize=ISSUERS_MET)
def issuer_of(key: bytes) -> Issuer:
    """Return the issuer of a key; cached, so that its packets share one object."""
    return Issuer(key)


class Identity:
    """A site's signing key. Keep it secret, back it up, and use it on one machine at a time.

    Examples
    --------
    >>> import qis
    >>> site = qis.Identity.generate()  # from_seed() makes the same key each time, for tests
    >>> len(site.issuer.key)
    32

    """

    __slots__ = ("_secret", "issuer", "path")

    issuer: Issuer
    path: Path | None
    """The file that it was loaded from or saved to, if there is one."""

    def __init__(self, seed: bytes) -> None:
        if type(seed) is not bytes or len(seed) != KEY_SIZE:
            raise InputError(f"a seed is {KEY_SIZE} bytes", field="seed", limit=KEY_SIZE)
        public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.issuer = Issuer(public)
        self.path = None

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the operating system's random source."""
        return cls(os.urandom(KEY_SIZE))

    @classmethod
    @checked
    def from_seed(cls, seed: bytes) -> Self:
        """The key of a 32-byte seed (RFC 8032's private key).

        Raises
        ------
        InputError
            If the seed is not 32 bytes.

        """
        return cls(seed)

    @classmethod
    @checked
    def load(cls, path: str | PathLike[str], *, passphrase: str | None = None) -> Self:
        """Read the key that `save` or ``openssl genpkey -algorithm ed25519`` wrote.

        Parameters
        ----------
        path
            The key file.
        passphrase
            What the file was encrypted with, if it was; tried in composed form (NFC), then as it
            is given.

        Raises
        ------
        KeyFileError
            If the file is missing, readable or writable by others, damaged (its key is not that of
            the issuer it names), or not such a key; or the passphrase is missing, wrong or not
            asked for.
        MissingExtraError
            If the file is encrypted PKCS #8 and the extra ``[keys]`` is not installed.

        Examples
        --------
        >>> import tempfile
        >>> import qis
        >>> key = qis.Identity.generate()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     key.save(f"{folder}/site.key")
        ...     qis.Identity.load(f"{folder}/site.key").issuer == key.issuer
        True

        """
        identity = cls(_key_file.read_seed(path, passphrase))
        identity.path = Path(path)
        return identity

    @checked
    def save(self, path: str | PathLike[str], *, passphrase: str | None = None) -> None:
        """Write the key with mode 0600; never overwrites.

        Parameters
        ----------
        path
            The file to make.
        passphrase
            Encrypt the key with it: as PKCS #8 PEM (PBES2 with scrypt and AES-256), which openssl
            reads, where the extra ``[keys]`` is installed; else in a form of our own (Argon2id,
            then XSalsa20-Poly1305). Without one the file is plain PKCS #8 PEM (RFC 8410).
            A line before the key names the issuer, so that a damaged file is refused.

        Raises
        ------
        KeyFileError
            If the file exists or cannot be written, or the passphrase is empty.

        """
        _key_file.write_seed(path, self._secret[:KEY_SIZE], passphrase)
        self.path = self.path or Path(path)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of a message.

        Examples
        --------
        >>> import qis
        >>> qis.Identity.from_seed(bytes(32)).sign(b"m").hex()[:16]
        'a7d2b316acb308e4'

        """
        return bindings.crypto_sign(byte_string(message, "message"), self._secret)[:64]

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

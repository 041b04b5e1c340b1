"""Encrypted PKCS #8 (RFC 5958) under PBES2 (RFC 8018), as openssl reads and writes it.

Written with scrypt (RFC 7914) at the largest memory that openssl grants when it reads, 16 MiB, and
some 0.3 s a guess; what others wrote is read with scrypt or PBKDF2. AES is not among what we have
without the extra `[keys]`; this module alone imports it.
"""

import hashlib
import os
from typing import Any, Final

from qis.errors import KeyFileError, MissingExtraError

_PBES2: Final = bytes.fromhex("2a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
_SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
_HMAC: Final = {
    bytes.fromhex("2a864886f70d0207"): "sha1",
    bytes.fromhex("2a864886f70d0208"): "sha224",
    bytes.fromhex("2a864886f70d0209"): "sha256",
    bytes.fromhex("2a864886f70d020a"): "sha384",
    bytes.fromhex("2a864886f70d020b"): "sha512",
}
_AES: Final = {
    bytes.fromhex("60864801650304012a"): 32,
    bytes.fromhex("608648016503040116"): 24,
    bytes.fromhex("608648016503040102"): 16,
}
"""Bytes of the key, by the cipher: AES in CBC mode."""
_N, _R, _P = 16_384, 8, 8
_MOST_ITERATIONS: Final = 10_000_000
_MOST_MEMORY: Final = 2**30
_MOST_WORK: Final = 2**27
"""What a file may ask for; the last is N·r·p of scrypt, some 1,000 times what openssl writes."""
_INTEGER, _OCTETS, _NAME, _SEQUENCE = 2, 4, 6, 0x30

_CONVERT: Final = (
    "is encrypted in another way than PBES2 with AES-CBC: convert it with "
    "openssl pkcs8 -topk8 -v2 aes-256-cbc"
)
_TOO_MUCH: Final = "is damaged, or asks for too much work"


class _UnusableError(Exception):
    """The file was read correctly but cannot be used; the message says why."""


def is_available() -> bool:
    """True if the extra `[keys]` is installed."""
    try:
        import cryptography.hazmat.primitives.ciphers  # noqa: F401, PLC0415  an extra
    except ImportError:
        return False
    return True


def encrypted(plain: bytes, passphrase: str) -> bytes:
    """A PrivateKeyInfo as an EncryptedPrivateKeyInfo, both in DER."""
    salt, start = os.urandom(16), os.urandom(16)
    key = _scrypt(passphrase, salt, (_N, _R, _P), 32)
    kdf = _sequence(
        _put(_NAME, _SCRYPT),
        _sequence(_put(_OCTETS, salt), *(_integer(number) for number in (_N, _R, _P))),
    )
    aes256 = next(name for name, size in _AES.items() if size == 32)
    cipher = _sequence(_put(_NAME, aes256), _put(_OCTETS, start))
    algorithm = _sequence(_put(_NAME, _PBES2), _sequence(kdf, cipher))
    padding = 16 - len(plain) % 16
    sealed = _crypted(key, start, plain + bytes([padding]) * padding, is_sealing=True)
    return _sequence(algorithm, _put(_OCTETS, sealed))


def decrypted(content: bytes, passphrase: str, path: object) -> bytes | None:
    """Return the PrivateKeyInfo; `None` if the passphrase is wrong.

    Raises
    ------
    KeyFileError
        If the bytes are no such key, or ask for too much work.
    MissingExtraError
        If the extra is not installed.

    """
    if not is_available():
        raise MissingExtraError(
            f"{path} is encrypted PKCS #8, which needs the package cryptography: "
            "pip install 'qis-protocol[keys]'",
            field="cryptography",
        )
    try:
        key, start, sealed = _parts(content, passphrase)
    except _UnusableError as error:
        raise KeyFileError(f"{path} {error}", field="path") from None
    except (ValueError, TypeError, RecursionError):  # DER of another structure
        raise KeyFileError(
            f"{path} is no encrypted PKCS #8 key, or damaged", field="path"
        ) from None
    plain = _crypted(key, start, sealed, is_sealing=False)
    padding = plain[-1]
    if not 1 <= padding <= 16 or plain[-padding:] != bytes([padding]) * padding:
        return None
    return plain[:-padding]


def _parts(content: bytes, passphrase: str) -> tuple[bytes, bytes, bytes]:
    """Return the cipher's key, its initialisation vector, and the ciphertext."""
    (name, rest), sealed = _read(content)
    if name != _PBES2:
        raise _UnusableError(_CONVERT)
    kdf, (cipher, start) = rest
    size = _AES.get(cipher)
    if size is None:
        raise _UnusableError(_CONVERT)
    if len(start) != 16 or not sealed or len(sealed) % 16:
        raise ValueError
    return _derived(passphrase, kdf, size), start, sealed


def _derived(passphrase: str, kdf: list[Any], size: int) -> bytes:
    name, parameters = kdf
    salt, *rest = parameters
    if not isinstance(salt, bytes):
        raise _UnusableError(_CONVERT)
    if name == _SCRYPT:
        n, r, p = rest[:3]
        if 128 * n * r > _MOST_MEMORY or n * r * p > _MOST_WORK:
            raise _UnusableError(_TOO_MUCH)
        return _scrypt(passphrase, salt, (n, r, p), size)
    if name != _PBKDF2:
        raise _UnusableError(_CONVERT)
    iterations, *rest = rest
    functions = [item[0] for item in rest if isinstance(item, list)]  # a length may stand before
    function = "sha1" if not functions else _HMAC.get(functions[0])
    if function is None:
        raise _UnusableError(_CONVERT)
    if iterations > _MOST_ITERATIONS:
        raise _UnusableError(_TOO_MUCH)
    return hashlib.pbkdf2_hmac(function, passphrase.encode(), salt, iterations, size)


def _scrypt(passphrase: str, salt: bytes, cost: tuple[int, int, int], size: int) -> bytes:
    n, r, p = cost
    most = 128 * r * (n + p + 2) + 2**16
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=n, r=r, p=p, dklen=size, maxmem=most)


def _crypted(key: bytes, start: bytes, text: bytes, *, is_sealing: bool) -> bytes:
    from cryptography.hazmat.primitives.ciphers import (  # noqa: PLC0415  an extra
        Cipher,
        algorithms,
        modes,
    )

    cipher = Cipher(algorithms.AES(key), modes.CBC(start))
    step = cipher.encryptor() if is_sealing else cipher.decryptor()
    return bytes(step.update(text) + step.finalize())


def _read(der: bytes) -> Any:
    """One value: a sequence as a list, an integer as such, all else as bytes."""
    value, end = _value(der, 0)
    if end != len(der):
        raise ValueError
    return value


def _value(der: bytes, at: int) -> tuple[Any, int]:
    if len(der) < at + 2:
        raise ValueError
    tag, size, at = der[at], der[at + 1], at + 2
    if size & 0x80:  # the size in so many bytes; two are enough for a file of 4 kB
        count = size & 0x7F
        if not 1 <= count <= 2:
            raise ValueError
        size, at = int.from_bytes(der[at : at + count]), at + count
    content, end = der[at : at + size], at + size
    if len(content) != size:
        raise ValueError
    if tag == _INTEGER:
        number = int.from_bytes(content, signed=True)
        if not 0 < number < 2**63:
            raise ValueError
        return number, end
    if tag != _SEQUENCE:
        return content, end
    items, inner = [], 0
    while inner < len(content):
        item, inner = _value(content, inner)
        items.append(item)
    return items, end


def _put(tag: int, content: bytes) -> bytes:
    size = len(content)
    head = bytes([size]) if size < 0x80 else bytes([0x81, size])  # nothing here has 256 bytes
    return bytes([tag]) + head + content


def _integer(number: int) -> bytes:
    return _put(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def _sequence(*items: bytes) -> bytes:
    return _put(_SEQUENCE, b"".join(items))

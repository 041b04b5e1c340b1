"""Key files: PKCS #8 in PEM form as openssl writes it, encrypted or not, or sealed in our own way.

A passphrase encrypts as PKCS #8 where the extra `[keys]` is installed, so that other programs can
read the file, and seals as ours where it is not. Both are read for ever.

Any 32 bytes are a seed, so a damaged file would load as another site. Each file that is written
here therefore names its issuer in a line before the key (RFC 7468 lets text stand there, and
openssl skips it). The form with the public key inside (version 2, RFC 5958) is read and checked,
not written: openssl 3.0 and what builds on it refuse it.
"""

import base64
import binascii
import re
import unicodedata
from os import PathLike
from typing import Final

from nacl import bindings, pwhash, secret, utils
from nacl.exceptions import CryptoError

from qis import _pkcs8
from qis._files import create, read_private
from qis._paths import file_path
from qis.errors import KeyFileError

SEED_SIZE: Final = 32
# PrivateKeyInfo of RFC 8410 up to the 32 bytes of the seed: what `openssl genpkey` writes.
_PKCS8_HEAD: Final = bytes.fromhex("302e020100300506032b657004220420")
# The same in version 2 after the length, and what stands before its public key.
_PKCS8_V2_HEAD: Final = bytes.fromhex("020101300506032b657004220420")
_PUBLIC_HEAD: Final = bytes.fromhex("812100")
_ATTRIBUTES: Final = 0xA0
_ISSUER_LINE: Final = "qis issuer: "
_PLAIN: Final = "PRIVATE KEY"
_ENCRYPTED: Final = "ENCRYPTED PRIVATE KEY"
_SEALED: Final = "QIS SEALED PRIVATE KEY"
_LARGEST: Final = 4096
# Argon2id (RFC 9106) with libsodium's moderate limits: some 0.7 s and 256 MiB for each guess. They
# are in the file, so that later versions may raise them; a file may not ask for more than this.
_OPERATIONS: Final = pwhash.argon2id.OPSLIMIT_MODERATE
_MEMORY: Final = pwhash.argon2id.MEMLIMIT_MODERATE
_MOST_OPERATIONS: Final = 16
_MOST_MEMORY: Final = 2**30
_SALT_SIZE: Final = pwhash.argon2id.SALTBYTES


def write_seed(path: str | PathLike[str], seed: bytes, passphrase: str | None) -> None:
    """Write a seed with mode 0600; never overwrites, and leaves nothing behind if it fails.

    Raises
    ------
    KeyFileError
        If the file exists or cannot be written whole, or the passphrase is empty.

    """
    _require_encodable(passphrase)
    if passphrase is None:
        text = _pem(_PLAIN, _PKCS8_HEAD + seed)
    elif _pkcs8.is_available():
        words = unicodedata.normalize("NFC", passphrase)
        text = _pem(_ENCRYPTED, _pkcs8.encrypted(_PKCS8_HEAD + seed, words))
    else:
        text = _pem(_SEALED, _sealed(seed, passphrase))
    text = f"{_ISSUER_LINE}{_public(seed).hex()}\n{text}"
    try:
        create(file_path(path), text.encode("ascii"))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise KeyFileError(
            f"{path} is not written: {reason}; nothing was left behind",
            field="path",
            actual=path,
        ) from error


def read_seed(path: str | PathLike[str], passphrase: str | None) -> bytes:
    """Read a seed.

    Raises
    ------
    KeyFileError
        If the file is missing, readable or writable by others, damaged, or not such a key; or the
        passphrase is missing, wrong or not asked for.

    """
    _require_encodable(passphrase)
    named, text = _split(_text_of(path), path)
    label, content = _unpem(text, path)
    seed, inner = _seed_in(label, content, passphrase, path)
    for public in (named, inner):
        if public is not None and public != _public(seed):
            raise KeyFileError(
                f"{path} is damaged: it is the key file of issuer {public.hex()}, and its private "
                f"key is that of {_public(seed).hex()}; take a copy of the file from a backup",
                field="path",
            )
    return seed


def _seed_in(
    label: str, content: bytes, passphrase: str | None, path: str | PathLike[str]
) -> tuple[bytes, bytes | None]:
    """The seed, and the public key that is beside it where there is one."""
    if label != _PLAIN:
        if passphrase is None:
            raise KeyFileError(f"{path} is encrypted: give its passphrase=", field="passphrase")
        if label == _SEALED:
            return _unsealed(content, passphrase, path), None
        content = _decrypted(content, passphrase, path)
    elif passphrase is not None:
        raise KeyFileError(
            f"{path} is not encrypted, so a passphrase protects nothing: leave it out, or save the "
            "key anew with one",
            field="passphrase",
        )
    if len(content) == len(_PKCS8_HEAD) + SEED_SIZE and content.startswith(_PKCS8_HEAD):
        return content[len(_PKCS8_HEAD) :], None
    found = _version_2(content)
    if found is None:
        raise KeyFileError(
            f"{path} holds a key of another kind than Ed25519, or is damaged", field="path"
        )
    return found


def _version_2(content: bytes) -> tuple[bytes, bytes] | None:
    """Seed and public key of a OneAsymmetricKey with both, attributes between them or not."""
    if len(content) < 2 or content[0] != 0x30 or content[1] != len(content) - 2 or content[1] > 127:
        return None  # nothing that holds one Ed25519 key and a name needs a longer length
    body = content[2:]
    seed_ends = len(_PKCS8_V2_HEAD) + SEED_SIZE
    seed, rest = body[len(_PKCS8_V2_HEAD) : seed_ends], body[seed_ends:]
    if rest[:1] == bytes([_ATTRIBUTES]) and len(rest) > 1:
        rest = rest[2 + rest[1] :]
    is_whole = len(rest) == len(_PUBLIC_HEAD) + SEED_SIZE and rest.startswith(_PUBLIC_HEAD)
    if not body.startswith(_PKCS8_V2_HEAD) or not is_whole:
        return None
    return seed, rest[len(_PUBLIC_HEAD) :]


def _public(seed: bytes) -> bytes:
    return bindings.crypto_sign_seed_keypair(seed)[0]


def _split(text: str, path: str | PathLike[str]) -> tuple[bytes | None, str]:
    """The issuer that the first line names, if the key does not begin there; and the rest."""
    text = text.lstrip()
    first, _, rest = text.partition("\n")
    if first.startswith("-----BEGIN "):
        return None, text
    named = first.strip().removeprefix(_ISSUER_LINE)
    # A line that is damaged protects nothing, so it is not skipped.
    if not first.startswith(_ISSUER_LINE) or not re.fullmatch("[0-9a-f]{64}", named):
        raise KeyFileError(
            f"{path} is no PKCS #8 key in PEM form, or damaged: it begins neither with "
            f"-----BEGIN nor with '{_ISSUER_LINE}' and 64 digits",
            field="path",
        )
    return bytes.fromhex(named), rest


def _require_encodable(passphrase: str | None) -> None:
    """Refuse a passphrase that is empty, or that is half of a character (from a wrong locale)."""
    if passphrase is None:
        return
    if not passphrase:
        raise KeyFileError("the passphrase is empty", field="passphrase")
    try:
        passphrase.encode()
    except UnicodeEncodeError:
        raise KeyFileError(
            "the passphrase is not valid Unicode: if it comes from the environment, that has "
            "another encoding than UTF-8",
            field="passphrase",
        ) from None


def _text_of(path: str | PathLike[str]) -> str:
    content = read_private(path, _LARGEST)
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} is no key file: it is not text", field="path") from None


def _pem(label: str, content: bytes) -> str:
    encoded = base64.b64encode(content).decode()
    lines = [encoded[start : start + 64] for start in range(0, len(encoded), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def _unpem(text: str, path: str | PathLike[str]) -> tuple[str, bytes]:
    lines = [line.strip() for line in text.strip().splitlines()]
    for label in (_PLAIN, _ENCRYPTED, _SEALED):
        ends = (f"-----BEGIN {label}-----", f"-----END {label}-----")
        if len(lines) >= 3 and (lines[0], lines[-1]) == ends:
            try:
                return label, base64.b64decode("".join(lines[1:-1]), validate=True)
            except binascii.Error:
                raise KeyFileError(
                    f"{path} is damaged: its base64 does not decode", field="path"
                ) from None
    raise KeyFileError(f"{path} is no PKCS #8 key in PEM form", field="path")


def _decrypted(content: bytes, passphrase: str, path: str | PathLike[str]) -> bytes:
    for words in spellings(passphrase):
        plain = _pkcs8.decrypted(content, words, path)
        # One wrong passphrase in 256 leaves what looks like padding, but not a key's structure.
        if plain is not None and plain.startswith(b"\x30"):
            return plain
    raise _does_not_open(path)


def _does_not_open(path: str | PathLike[str]) -> KeyFileError:
    return KeyFileError(
        f"{path} does not open: the passphrase is another, or the file was changed",
        field="passphrase",
    )


def _sealed(seed: bytes, passphrase: str) -> bytes:
    salt = utils.random(_SALT_SIZE)
    box = _box(unicodedata.normalize("NFC", passphrase), salt, _OPERATIONS, _MEMORY)
    head = bytes([_OPERATIONS]) + _MEMORY.to_bytes(4, "big") + salt
    return head + bytes(box.encrypt(seed))


def _unsealed(content: bytes, passphrase: str, path: str | PathLike[str]) -> bytes:
    operations, memory = content[0] if content else 0, int.from_bytes(content[1:5], "big")
    salt, box = content[5 : 5 + _SALT_SIZE], content[5 + _SALT_SIZE :]
    size = SEED_SIZE + secret.SecretBox.NONCE_SIZE + secret.SecretBox.MACBYTES
    least = pwhash.argon2id.MEMLIMIT_MIN
    if not 1 <= operations <= _MOST_OPERATIONS or not least <= memory <= _MOST_MEMORY:
        raise KeyFileError(f"{path} is damaged, or asks for too much work", field="path")
    if len(box) != size:
        raise KeyFileError(f"{path} is damaged: it has another length", field="path")
    for words in spellings(passphrase):
        try:
            return bytes(_box(words, salt, operations, memory).decrypt(box))
        except CryptoError:
            continue
    raise _does_not_open(path)


def spellings(passphrase: str) -> tuple[str, ...]:
    """Return the forms of a passphrase to try: composed (NFC), then as it was typed.

    Keyboards differ in whether an accented letter is one character or two, and people cannot see
    it. New files are sealed with the first; files of former versions with what was typed.
    """
    return tuple(dict.fromkeys((unicodedata.normalize("NFC", passphrase), passphrase)))


def _box(passphrase: str, salt: bytes, operations: int, memory: int) -> secret.SecretBox:
    key = pwhash.argon2id.kdf(
        secret.SecretBox.KEY_SIZE,
        passphrase.encode(),
        salt,
        opslimit=operations,
        memlimit=memory,
    )
    return secret.SecretBox(key)

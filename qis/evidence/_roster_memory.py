"""The newest roster ever believed, on disk: a restart must not let an old one come back.

One line: the version, the BLAKE3 digest of the roster's file, and a checksum of both, since half
a line, or a digit changed, would lower the version that is asked for.
"""

import re
from pathlib import Path
from typing import Final

from blake3 import blake3

from qis import _files
from qis._toml import read_bytes
from qis.errors import ConfigurationError, StorageDamagedError, StorageError

_HEAD: Final = "qis roster memory 1"
_LINE: Final = re.compile(rf"{_HEAD} ([0-9]{{1,20}}) ([0-9a-f]{{64}}) ([0-9a-f]{{16}})\n?")

Seen = tuple[int, bytes]
"""A version, and the digest of the file that had it."""


def require_no_older(path: Path, newest: Seen, found: Seen) -> None:
    """Raise unless what was found may follow what was seen: a higher version, or the same file.

    Raises
    ------
    ConfigurationError
        If it has a lower version, or the same one and another content.

    """
    (version, digest), (seen, seen_digest) = found, newest
    if version < seen:
        raise ConfigurationError(
            f"{path} has version {version}, and {seen} was read before: an old roster could bring "
            "back a revoked key",
            field="version",
            actual=version,
            limit=seen,
        )
    if version == seen and digest != seen_digest:
        raise ConfigurationError(
            f"{path} has version {version}, and so had another file that was read before: of two "
            f"files of one version one could bring back a revoked key, so a change needs "
            f"version = {version + 1} or more",
            field="version",
            actual=version,
            limit=seen,
        )


def recall(path: Path) -> Seen | None:
    """Read the newest version that was believed before; `None` if there is no file.

    Raises
    ------
    StorageDamagedError
        If the file is there and is not what `remember` wrote.
    StorageError
        If it cannot be read.

    """
    if not path.exists():
        return None
    try:
        line = _LINE.fullmatch(read_bytes(path).decode("ascii"))
    except (ConfigurationError, UnicodeDecodeError):
        line = None
    if line is None or _check(line[1], line[2]) != line[3]:
        raise StorageDamagedError(
            f"{path} should hold the newest roster's version and does not, so an old roster cannot "
            "be told from a new one: make sure by other means that the roster is the newest, then "
            "remove this file",
            field="memory",
        )
    return int(line[1]), bytes.fromhex(line[2])


def remember(path: Path, seen: Seen) -> None:
    """Write the version that is believed from now on, durable when this returns.

    Raises
    ------
    StorageError
        If it cannot be written.

    """
    version, digest = str(seen[0]), seen[1].hex()
    line = f"{_HEAD} {version} {digest} {_check(version, digest)}\n"
    try:
        _files.replace(path, line.encode("ascii"))
    except OSError as error:
        raise StorageError(
            f"{path}: {error.strerror}; the newest roster's version has to be kept, or a restart "
            "could believe an old one: let this be written, name another file with memory=, or say "
            "memory=False to do without",
            field="memory",
        ) from error


def _check(version: str, digest: str) -> str:
    return blake3(f"{_HEAD} {version} {digest}".encode()).digest(8).hex()

"""The file that a fingerprint index is saved to: written whole or not at all, checked when read.

Layout: 8 bytes of format, 8 of scheme id, next position and number of rows as little-endian u64;
then the rows' positions (u64 each) and sketches (32 bytes each); last BLAKE3 of all before it.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from qis import _files
from qis.about import SKETCH_SIZE, OfScheme, require_same_scheme
from qis.errors import InputError

_FORMAT = b"qisindx1"
_HEAD = struct.Struct("<8s8sQQ")
_DIGEST_SIZE = 32


class Contents(NamedTuple):
    """What an index holds: the next free position, positions (n,), and sketches (n, 32)."""

    next_position: int
    positions: npt.NDArray[np.int64]
    sketches: npt.NDArray[np.uint8]


def write(path: Path, scheme_id: bytes, contents: Contents) -> None:
    """Replace the file in one step; after a crash it is the old one or the new one."""
    head = _HEAD.pack(_FORMAT, scheme_id, contents.next_position, len(contents.positions))
    body = head + contents.positions.astype("<u8").tobytes() + contents.sketches.tobytes()
    _files.replace(path, body + blake3(body).digest())


def read(path: Path, scheme: OfScheme) -> Contents:
    """The contents of a file that `write` made under this scheme.

    Raises
    ------
    InputError
        If it is not such a file, or is damaged or cut short.
    SchemeMismatchError
        If it belongs to another scheme.

    """
    data = path.read_bytes()
    if data[: len(_FORMAT)] != _FORMAT:
        raise InputError(f"{path} is no fingerprint index of this format", field="path")
    body, digest = data[:-_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    if len(data) < _HEAD.size + _DIGEST_SIZE or blake3(body).digest() != digest:
        raise InputError(
            f"{path} is damaged or cut short: build the index again", field="path", actual=len(data)
        )
    _, stored_id, next_position, count = _HEAD.unpack_from(body)
    require_same_scheme(scheme, OfScheme(stored_id))
    if len(body) != _HEAD.size + count * (8 + SKETCH_SIZE):
        raise InputError(f"{path} is damaged: {count} rows do not fill it", field="path")
    positions = np.frombuffer(body, "<u8", count, _HEAD.size).astype(np.int64)
    sketches = np.frombuffer(body, np.uint8, offset=_HEAD.size + 8 * count)
    return Contents(next_position, positions, sketches.reshape(count, SKETCH_SIZE))

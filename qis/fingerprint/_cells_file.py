"""The file that cells are saved to: written whole or not at all, checked when read.

Layout: 8 bytes of format, the size of the head as little-endian u32, and the head, a JSON object of
the source, the terms and the number of cells; then the table as zlib-compressed little-endian
64-bit integers, a row of all cells for each term; last BLAKE3 of all before it.
"""

import json
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from qis import _files
from qis.errors import InputError

_FORMAT: Final = b"qiscell1"
_SIZE: Final = struct.Struct("<I")
_DIGEST_SIZE: Final = 32
_MOST_NUMBERS: Final = 1 << 27
"""Largest table that is read, 1 GiB: a file of a few bytes must not ask for more."""


class SavedCells(NamedTuple):
    """What cells are made of; see `qis.fingerprint.Cells`."""

    source: str
    terms: tuple[str, ...]
    table: npt.NDArray[np.int64]


def write(path: Path, contents: SavedCells) -> None:
    """Replace the file in one step; after a crash it is the old one or the new one."""
    source, terms, table = contents
    told = {"source": source, "cells": int(table.shape[1]), "terms": list(terms)}
    head = json.dumps(told).encode()
    packed = zlib.compress(table.astype("<i8").tobytes())
    body = _FORMAT + _SIZE.pack(len(head)) + head + packed
    _files.replace(path, body + blake3(body).digest())


def read(path: Path) -> SavedCells:
    """The contents of a file that `write` made.

    Raises
    ------
    InputError
        If it is not such a file, or is damaged or cut short.

    """
    data = path.read_bytes()
    if data[: len(_FORMAT)] != _FORMAT:
        raise InputError(f"{path} is no file of cells of this format", field="path")
    body, digest = data[:-_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    if blake3(body).digest() != digest:
        raise InputError(
            f"{path} is damaged or cut short: build the cells again", field="path", actual=len(data)
        )
    try:
        return _unpacked(body)
    except (ValueError, KeyError, TypeError, struct.error, zlib.error):
        raise InputError(f"{path} holds no cells: build them again", field="path") from None


def _unpacked(body: bytes) -> SavedCells:
    start = len(_FORMAT) + _SIZE.size
    (size,) = _SIZE.unpack_from(body, len(_FORMAT))
    told = json.loads(body[start : start + size])
    source, terms, cells = str(told["source"]), tuple(map(str, told["terms"])), told["cells"]
    if type(cells) is not int or not 0 < cells * len(terms) <= _MOST_NUMBERS:
        raise ValueError
    # One byte more than it says, so that a table that unpacks to more does not fit either.
    numbers = zlib.decompressobj().decompress(body[start + size :], 8 * cells * len(terms) + 1)
    table = np.frombuffer(numbers, "<i8").astype(np.int64)
    return SavedCells(source, terms, table.reshape(len(terms), cells))

"""Codes of terms: what a sketch holds of each, the same in every release of an ontology.

An id of the Human Phenotype Ontology lies in one of a few blocks of a thousand, so that the row
of its block in a table and its row there are 16 bits, without collision. Ids of everything else
are hashed to 20 bits; two terms of one ontology may then have the same code.
"""

import re
from typing import Final, Protocol

from blake3 import blake3

_BLOCK: Final = 1_000
HPO_BLOCKS: Final = (
    *range(13), 20, 25, *range(30, 36), 40, 41, 45, 46, 100, 200, 400, 410, 430, 500, 550, 3000,
    4000, 5000, 5200, 5201, 6000, 6001,
)  # fmt: skip
"""Thousands in which HPO ids lie (releases up to 2025-01-16). Append only: places are codes."""
_ROW: Final = {block: row for row, block in enumerate(HPO_BLOCKS)}
_HPO: Final = re.compile(r"HP:(\d{7})").fullmatch


class Codes(Protocol):
    """How the terms of a vocabulary are written in a sketch."""

    bits: int
    """Width of a code; code 0 is no term."""
    name: str
    """Says in a scheme's id which coding it is."""

    def code(self, term: str) -> int | None:
        """The code of an id, at least 1 and below ``2**bits``; `None` if it has none."""


class BlockCodes:
    """Codes of HPO ids, 16 bits, one to one."""

    bits = 16
    name = "blocks of 1000"

    def code(self, term: str) -> int | None:
        """The code of an id; `None` where its block is newer than the table."""
        found = _HPO(term)
        if found is None:
            return None
        block, rest = divmod(int(found[1]), _BLOCK)
        row = _ROW.get(block)
        return None if row is None else row * _BLOCK + rest + 1


class HashCodes:
    """Codes of any ids, 20 bits of BLAKE3."""

    bits = 20
    name = "hashes"

    def __init__(self, vocabulary: str) -> None:
        self._start = f"qis term {len(vocabulary)} {vocabulary} ".encode()

    def code(self, term: str) -> int | None:
        """The code of an id; of a million others one has the same."""
        number = int.from_bytes(blake3(self._start + term.encode()).digest(8), "big")
        return number % ((1 << self.bits) - 1) + 1


def codes_of(vocabulary: str) -> Codes:
    """The coding of a vocabulary: blocks for HPO's ids, hashes for all others."""
    return BlockCodes() if vocabulary == "HP" else HashCodes(vocabulary)

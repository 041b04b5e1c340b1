"""The attack of who knows some patients' vectors and packets, not the secret: others are rebuilt.

Planes follow from the secret, so bits and bands mean nothing to the attacker. But how many of them
two patients share says what angle their vectors have; with the angles to all known vectors the
attacker takes the vector of least length that has them. Known are the attacker's own cases.
"""

import random
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qis.fingerprint import Fingerprint, VectorScheme

Floats = NDArray[np.float64]
SECRET: Final = bytes(range(32))
_ISSUER: Final = bytes(32)
_FIRST_SEQUENCE: Final = 1_800_000_000_000_000
_VICTIMS: Final = 200
_RIDGE: Final = 0.05
"""Added to the squared lengths, 1: the angles are noisy."""


def known_vector_figures(
    vectors: NDArray[Any], counts: Sequence[int] = (50, 200)
) -> dict[str, float]:
    """Mean cosine between victims' vectors and what is rebuilt of them, by what is seen.

    "Nothing" is what the mean of the known vectors gives, which needs no packet.

    Parameters
    ----------
    vectors
        Shape (patients, components).
    counts
        How many patients are known.

    """
    scheme = VectorScheme(vectors.shape[1], secret=SECRET)
    rows = random.Random(4).sample(range(len(vectors)), max(counts) + _VICTIMS)
    chosen = vectors[rows].astype(np.float64)
    unit = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    opened = scheme.fingerprints(chosen)
    sealed = [scheme.seal(each, _ISSUER, _FIRST_SEQUENCE + n) for n, each in enumerate(opened)]
    base = [scheme.base_keys(vector) for vector in chosen]
    ends = max(counts)
    epochs = [scheme.keys_of_epoch(keys, 200 + (row >= ends)) for row, keys in enumerate(base)]
    seen = {
        "unsealed_sketch": _cosines_of_bits(opened),
        "sketch": _cosines_of_bits(sealed),
        "keys": _cosines_of_keys(base, scheme.band_bits),
        "keys_next_epoch": _cosines_of_keys(epochs, scheme.band_bits),
    }
    found = {}
    for count in counts:
        known, victims = unit[:count], unit[ends:]
        mean = known.mean(axis=0)
        found[f"known_{count}_vector_nothing"] = _cosine(
            np.broadcast_to(mean, victims.shape), victims
        )
        gram = np.linalg.inv(known @ known.T + _RIDGE * np.eye(count))
        for name, cosines in seen.items():
            rebuilt = cosines[ends:, :count] @ gram @ known
            found[f"known_{count}_vector_{name}"] = _cosine(rebuilt, victims)
    return found


def _cosine(rebuilt: Floats, victims: Floats) -> float:
    lengths = np.linalg.norm(rebuilt, axis=1)
    products = (rebuilt * victims).sum(axis=1)
    return float(np.mean(products / np.where(lengths > 0.0, lengths, 1.0)))


def _cosines_of_bits(prints: Sequence[Fingerprint]) -> Floats:
    """What the share of equal bits says of the angle."""
    raw = np.frombuffer(b"".join(each.sketch for each in prints), np.uint8)
    bits = np.unpackbits(raw.reshape(len(prints), -1), axis=1).astype(np.float64)
    equal = bits @ bits.T + (1.0 - bits) @ (1.0 - bits).T
    return np.asarray(np.cos(np.pi * (1.0 - equal / bits.shape[1])))


def _cosines_of_keys(keys: Sequence[tuple[bytes, ...]], band_bits: int) -> Floats:
    """What the share of equal keys says of the angle: all bits of a band are equal by chance."""
    column = {key: number for number, key in enumerate(sorted({k for own in keys for k in own}))}
    rows = np.zeros((len(keys), len(column)))
    for row, own in zip(rows, keys, strict=True):
        row[[column[key] for key in own]] = 1.0
    share = rows @ rows.T / max(len(own) for own in keys)
    return np.asarray(np.cos(np.pi * (1.0 - share ** (1.0 / band_bits))))

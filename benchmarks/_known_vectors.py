"""The attack of who knows some patients' vectors and packets, not the secret: others are rebuilt.

Planes follow from the secret, so bits and bands mean nothing to the attacker. But how many of them
two patients share says what angle their vectors have; with the angles to all known vectors the
attacker takes the vector nearest to their mean that has them (ridge regression, whose parameter is
chosen on the known ones). Known are the attacker's own cases.
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
_PATIENTS: Final = 600
FEW: Final = 16
"""Components that vectors are reduced to: few are what cohorts are described by."""
_RIDGES: Final = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Added to the squared lengths, which are 1: the angles are noisy."""


def reduced(vectors: NDArray[Any]) -> NDArray[Any]:
    """Some of the vectors by their `FEW` principal components."""
    rows = random.Random(9).sample(range(len(vectors)), min(_PATIENTS, len(vectors)))
    chosen = vectors[rows].astype(np.float64)
    centred = chosen - chosen.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(chosen @ directions[:FEW].T)


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
        victims = unit[ends:]
        mean = np.broadcast_to(unit[:count].mean(axis=0), victims.shape)
        found[f"known_{count}_vector_nothing"] = _cosine(mean, victims)
        some, others = slice(0, count // 2), slice(count // 2, count)
        for name, cosines in seen.items():
            tried = [
                _cosine(_rebuilt(unit[some], cosines[others, some], ridge), unit[others])
                for ridge in _RIDGES
            ]
            ridge = _RIDGES[int(np.argmax(tried))]
            rebuilt = _rebuilt(unit[:count], cosines[ends:, :count], ridge)
            found[f"known_{count}_vector_{name}"] = _cosine(rebuilt, victims)
    return found


def _rebuilt(known: Floats, cosines: Floats, ridge: float) -> Floats:
    """The vectors nearest to the mean of the known ones that have these cosines with them."""
    mean = known.mean(axis=0)
    gram = np.linalg.inv(known @ known.T + ridge * np.eye(len(known)))
    rebuilt = mean + (cosines - known @ mean) @ gram @ known
    # Nothing equal to any of the known ones tells nothing.
    is_blind = (cosines == cosines[:, :1]).all(axis=1)
    return np.asarray(np.where(is_blind[:, None], mean, rebuilt))


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

"""How alike sites are by the sketches in their packets."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qis.about import Fingerprint
from qis.errors import InputError
from qis.fingerprint import Scheme
from qis.here.kernel import Likeness

Floats = NDArray[np.float64]

_SMALLEST: Final = 1e-6


def likeness_of_sketches(
    scheme: Scheme[Any], sites: Sequence[Sequence[Fingerprint]]
) -> Likeness | None:
    """How alike k sites are; `None` if no two of them have sketches of this scheme.

    Several cohorts of one site are averaged. A site without a sketch, or with one of another
    scheme, is like any other as chance makes it.

    Parameters
    ----------
    scheme
        The scheme whose sketches are compared.
    sites
        For each site its fingerprints, sealed or open, of any scheme.

    """
    known = [
        (number, scheme.open(fingerprint))
        for number, found in enumerate(sites)
        for fingerprint in found
        if fingerprint.scheme_id == scheme.id
    ]
    if len({number for number, _ in known}) < 2:
        return None
    kernel: Any = getattr(scheme, "kernel", None)
    if kernel is None:
        raise InputError(
            f"{type(scheme).__name__} has no kernel(a, b): a similarity that is positive "
            "semidefinite",
            field="scheme",
        )
    chance = float(getattr(scheme, "chance", 0.0))
    count = len(known)
    similar = np.eye(count)
    for one in range(count):
        for other in range(one):
            similar[one, other] = similar[other, one] = kernel(known[one][1], known[other][1])
    above = (similar - chance) / (1.0 - chance)
    # Means over cohorts, and a diagonal of 1 again: both keep it positive semidefinite.
    means = np.zeros((len(sites), count))
    for column, (number, _) in enumerate(known):
        means[number, column] = 1.0
    means /= np.maximum(means.sum(axis=1, keepdims=True), 1.0)
    averaged = means @ above @ means.T
    size = np.sqrt(np.maximum(np.diag(averaged), _SMALLEST))
    averaged /= np.outer(size, size)
    np.fill_diagonal(averaged, 1.0)
    return Likeness(above_chance=averaged, chance=chance)

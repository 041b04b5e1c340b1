"""Whether sites differ in one coefficient, while they have the others in common."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.models.expansion import Expansion
from qis.picture.html import with_table
from qis.synthesis.natural import summed

Floats = NDArray[np.float64]


@with_table
class CoefficientQ(NamedTuple):
    """Cochran's Q of one coefficient, given the others."""

    name: str
    q: float
    """Twice the gain in log-likelihood if each site has a coefficient of its own."""
    df: int
    """Sites that say something of it, less one."""
    p: float | None
    """P(chi-squared with `df` degrees of freedom ≥ `q`); `None` with one site."""


@with_table
class SiteCoefficient(NamedTuple):
    """What one site says of one coefficient, with the others as all sites together have them."""

    site: str
    estimate: float | None
    """`None` if it says nothing."""
    standard_error: float | None


def by_site(expansions: Sequence[Expansion]) -> dict[str, tuple[Floats, Floats]]:
    """Natural parameters (H, h) of each site, its cohorts together, by name in order."""
    found: dict[str, list[Expansion]] = {}
    for expansion in expansions:
        found.setdefault(expansion.site, []).append(expansion)
    return {
        name: (summed([e.information for e in parts]), summed([e.natural for e in parts]))
        for name, parts in sorted(found.items())
    }


def q_of(index: int, sites: Sequence[tuple[Floats, Floats]], at: Floats) -> tuple[float, int]:
    """Q and its degrees of freedom of the coefficient at `index`, about the pooled point.

    Each site's own coefficient is maximised out (the Schur complement), then the common rest.
    """
    rest = [other for other in range(len(at)) if other != index]
    informations, pulls, gain, informed = [], [], 0.0, 0
    for information, natural in sites:
        pull = natural - information @ at
        own = float(information[index, index])
        if own <= 0.0:
            informations.append(information[np.ix_(rest, rest)])
            pulls.append(pull[rest])
            continue
        informed += 1
        cross = information[rest, index]
        gain += float(pull[index]) ** 2 / own
        informations.append(information[np.ix_(rest, rest)] - np.outer(cross, cross) / own)
        pulls.append(pull[rest] - cross * (float(pull[index]) / own))
    if rest:
        total, pulled = summed(informations), summed(pulls)
        gain += float(pulled @ np.linalg.pinv(total, hermitian=True) @ pulled)
    return max(gain, 0.0), max(informed - 1, 0)


def coefficient_at(
    index: int, site: str, parameters: tuple[Floats, Floats], at: Floats
) -> SiteCoefficient:
    """A site's own coefficient at `index`, with the others at the pooled point."""
    information, natural = parameters
    own = float(information[index, index])
    if own <= 0.0:
        return SiteCoefficient(site, None, None)
    move = float(natural[index] - information[index] @ at) / own
    return SiteCoefficient(site, float(at[index]) + move, float(own**-0.5))

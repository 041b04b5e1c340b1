"""What was computed of single sites, so that one packet more costs what that packet costs.

A site's likelihood, what it says by itself, and its log-marginals depend on its own outcomes only.
They are kept under the content of these, so that nothing that is found here can be out of date.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from qis._canonical import encode
from qis.synthesis.currency import Likelihood, Poolable, is_informative
from qis.synthesis.lattice import Panel, TauPoints
from qis.synthesis.marginals import Marginals, MarginalTable

Floats = NDArray[np.float64]
_MOST_BYTES: Final = 1 << 25
"""Most bytes of log-marginals that one study keeps."""
_AT_ONCE: Final = 256
"""Most sites computed in one step."""


class Facts(NamedTuple):
    """A log-likelihood, and what is always asked of it."""

    likelihood: Likelihood
    limits: tuple[float, float]
    span: tuple[float, float]
    finest: float

    @classmethod
    def of(cls, likelihood: Likelihood) -> Self:
        """Ask them of a log-likelihood."""
        return cls(likelihood, likelihood.limits, likelihood.span, likelihood.finest)


class Said:
    """What one site's informative outcomes say.

    Parameters
    ----------
    outcomes
        Of one site, informative, one or more.
    key
        Depends on their content only.

    """

    __slots__ = ("_likelihoods", "key", "levels", "outcomes", "own", "size", "tables")

    def __init__(self, outcomes: Sequence[Poolable], key: bytes) -> None:
        self.outcomes, self.key = tuple(outcomes), key
        self.size = 0
        """Bytes of the tables."""
        self.own: dict[float, object] = {}
        """What they say by themselves, by the level of the interval."""
        self.tables: dict[tuple[Panel, TauPoints, float], MarginalTable] = {}
        """Log-marginals by panel, values of tau, and unit."""
        self.levels: dict[Panel, Floats] = {}
        """Log-likelihoods at the points of panels."""
        self._likelihoods: dict[float, Facts] = {}

    def forget_coarser(self, points: TauPoints) -> None:
        """Forget tables of the same scale from a time before a sharper site came.

        Those of another scale stay: a synthesis may ask under the scale and under twice the scale.
        """
        stale = [at for at in self.tables if at[1].scale == points.scale and at[1] != points]
        for at in stale:
            table = self.tables.pop(at)
            self.size -= table.values.nbytes + table.bounds.nbytes

    def facts(self, unit: float = 1.0) -> "Facts":
        """What is always asked of their log-likelihood, of the parameter in this unit."""
        found = self._likelihoods.get(unit)
        if found is None:
            whole = Likelihood.of(self.outcomes).moved(0.0, unit)
            self._likelihoods[unit] = found = Facts.of(whole)
        return found

    def likelihood(self, unit: float = 1.0) -> Likelihood:
        """Their log-likelihood, of the parameter in this unit."""
        return self.facts(unit).likelihood


class _Met(NamedTuple):
    """The outcomes of one site, informative or not, and what they say."""

    outcomes: tuple[Poolable, ...]
    said: Said | None


class KeptSites:
    """What was computed for one study, to be given to its next synthesis.

    It changes how long a synthesis takes and no number in it. At most 32 MiB are kept from one
    synthesis to the next: a few thousand sites; of more, each synthesis computes all again.

    Examples
    --------
    >>> from qis.synthesis import KeptSites
    >>> KeptSites()
    <KeptSites of 0 sites>

    """

    def __init__(self) -> None:
        self._sites: dict[bytes, Said] = {}
        self._used: dict[bytes, Said] = {}
        self._whole: tuple[tuple[bytes, ...], Likelihood] | None = None
        # By the objects themselves, which is faster; `outcomes` holds them, so that no other
        # object can have the same identity.
        self._known: dict[tuple[int, ...], _Met] = {}
        self._met: dict[tuple[int, ...], _Met] = {}

    def of(self, outcomes: Sequence[Poolable]) -> Said | None:
        """What the outcomes of one site say; `None` if none of them is informative."""
        objects = tuple(map(id, outcomes))
        met = self._met.get(objects)
        if met is None:
            met = self._known.get(objects) or _Met(tuple(outcomes), self._first(outcomes))
            self._met[objects] = met
            if met.said is not None:
                self._used[met.said.key] = met.said
        return met.said

    def _first(self, outcomes: Sequence[Poolable]) -> Said | None:
        informative = [outcome for outcome in outcomes if is_informative(outcome)]
        if not informative:
            return None
        key = blake3(encode(sorted(outcome.encoded() for outcome in informative))).digest()
        return self._used.get(key) or self._sites.get(key) or Said(informative, key)

    def sum(self, said: Sequence[Said]) -> Likelihood:
        """The sum of the sites' log-likelihoods, in the order given."""
        keys = tuple(site.key for site in said)
        if self._whole is None or self._whole[0] != keys:
            self._whole = keys, Likelihood.sum([site.likelihood() for site in said])
        return self._whole[1]

    def settle(self) -> None:
        """Forget what the last synthesis did not use, and tables beyond the bound."""
        self._sites, self._used = self._used, {}
        self._known, self._met = self._met, {}
        left = _MOST_BYTES
        for said in self._sites.values():
            left -= said.size
            if left < 0:
                said.tables.clear()
                said.levels.clear()
                said.size = 0

    def __repr__(self) -> str:
        return f"<KeptSites of {len(self._sites)} sites>"


class SummedMarginals:
    """Log-marginals summed over sites, in the order given."""

    def __init__(self, sites: Sequence[Said], unit: float = 1.0) -> None:
        self._sites = sites
        self._unit = unit
        self._fresh: dict[tuple[int, ...], Marginals] = {}

    def on(self, panel: Panel, points: TauPoints) -> MarginalTable:
        """Log-marginals and slope bounds, as `Marginals.on`, summed; each of shape (taus, 12)."""
        where = panel, points, self._unit
        taus = points.taus
        missing = [k for k, said in enumerate(self._sites) if where not in said.tables]
        for start in range(0, len(missing), _AT_ONCE):
            some = tuple(missing[start : start + _AT_ONCE])
            if some not in self._fresh:
                likelihoods = [self._sites[k].likelihood(self._unit) for k in some]
                self._fresh[some] = Marginals(likelihoods)
            values, bounds = self._fresh[some].on(panel, taus)
            for row, k in enumerate(some):
                tables = self._sites[k].tables
                self._sites[k].forget_coarser(points)
                bound = bounds[row].copy() if bounds[row].any() else _NO_BOUND
                tables[where] = MarginalTable(values[row].copy(), bound)
                self._sites[k].size += values[row].nbytes + bound.nbytes
        found = [said.tables[where] for said in self._sites]
        total = np.stack([table.values for table in found]).sum(axis=0)
        doubts = [table.bounds for table in found if table.bounds is not _NO_BOUND]
        bound = np.stack(doubts).sum(axis=0) if doubts else np.zeros_like(total)
        return MarginalTable(total, bound)

    def level(self, panel: Panel) -> Floats:
        """Log-likelihoods at the panel's points, summed; shape (12,)."""
        missing = [said for said in self._sites if panel not in said.levels]
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            found = Marginals([said.likelihood(self._unit) for said in some]).level(panel)
            for said, values in zip(some, found, strict=True):
                said.levels[panel] = values.copy()
                said.size += values.nbytes
        total: Floats = np.stack([said.levels[panel] for said in self._sites]).sum(axis=0)
        return total


_NO_BOUND: Final = np.zeros(0)

"""What one site says, and what is always asked of it: computed once, kept under its content."""

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from qis.outcomes import LikelihoodProfile
from qis.outcomes._poisson import PoissonRates
from qis.outcomes.profile import curves_of
from qis.synthesis.currency import Likelihood, Poolable, has_tails
from qis.synthesis.lattice import Panel, TauPoints

Floats = NDArray[np.float64]

Where = tuple[Panel, TauPoints | None, float]
"""Panel, values of tau (`None`: of 0 only, which is the log-likelihood itself), and unit."""
_AT_ONCE: Final = 4
"""Fewer profiles than this are asked one by one, which takes as long."""


class Facts(NamedTuple):
    """A log-likelihood, and what is always asked of it."""

    likelihood: Likelihood
    limits: tuple[float, float]
    span: tuple[float, float]
    finest: float
    kind: Literal["normal", "mean", "rate", "other"]

    @classmethod
    def of(cls, likelihood: Likelihood) -> Self:
        """Ask them of a log-likelihood."""
        kind: Literal["normal", "mean", "rate", "other"] = "other"
        if likelihood.is_parabola:
            kind = "normal"
        elif has_tails(likelihood.exact):
            kind = "mean"
        elif isinstance(likelihood.exact, PoissonRates):
            kind = "rate"
        return cls(likelihood, likelihood.limits, likelihood.span, likelihood.finest, kind)


class Said:
    """What one site's informative outcomes say.

    Parameters
    ----------
    outcomes
        Of one site, informative, one or more.
    key
        Depends on their content only.

    """

    __slots__ = ("_facts", "key", "outcomes", "own", "size", "tables")

    def __init__(self, outcomes: Sequence[Poolable], key: bytes) -> None:
        self.outcomes, self.key = tuple(outcomes), key
        self.size = 0
        """Bytes of the tables."""
        self.own: dict[float, object] = {}
        """What they say by themselves, by the level of the interval."""
        self.tables: dict[Where, Floats] = {}
        """Log-marginals, and bounds of their slopes' errors if there are any: shape (1 or 2, …)."""
        self._facts: dict[float, Facts] = {}

    def keep(self, where: Where, table: Floats) -> None:
        """Keep a table, and forget those of the same scale from before a sharper site came.

        Those of another scale stay: a synthesis may ask under the scale and under twice the scale.
        """
        points = where[1]
        if points is not None:
            stale = [
                at
                for at in self.tables
                if at[1] is not None and at[1].scale == points.scale and at[1] != points
            ]
            for at in stale:
                self.size -= self.tables.pop(at).nbytes
        self.tables[where] = table
        self.size += table.nbytes

    def facts(self, unit: float = 1.0) -> Facts:
        """What is always asked of their log-likelihood, of the parameter in this unit."""
        found = self._facts.get(unit)
        if found is None:
            whole = Likelihood.of(self.outcomes).moved(0.0, unit)
            self._facts[unit] = found = Facts.of(whole)
        return found

    def is_one_profile(self) -> bool:
        """True of a site that sent one profile, of which nothing was asked yet."""
        return (
            1.0 not in self._facts
            and isinstance(self.outcomes[0], LikelihoodProfile)
            and (len(self.outcomes) == 1)
        )

    def learn(self, facts: Facts) -> None:
        """Keep what was found of it together with others."""
        self._facts[1.0] = facts

    def likelihood(self, unit: float = 1.0) -> Likelihood:
        """Their log-likelihood, of the parameter in this unit."""
        return self.facts(unit).likelihood


def ask_all(sites: Sequence[Said]) -> None:
    """Ask `Said.facts` of all sites that sent one profile each at once; the same bits, sooner."""
    asked = [said for said in sites if said.is_one_profile()]
    if len(asked) < _AT_ONCE:
        return
    profiles = [said.outcomes[0] for said in asked]
    curves = curves_of([each for each in profiles if isinstance(each, LikelihoodProfile)])
    limits = (np.column_stack(curves.limits) + 0.0).tolist()  # no -0.0, as in a sum
    spans = np.column_stack(curves.span).tolist()
    sharpest = curves.sharpest.tolist()
    for k, said in enumerate(asked):
        said.learn(
            Facts(
                Likelihood(curves=curves.row(k)),
                limits=(limits[k][0], limits[k][1]),
                span=(spans[k][0], spans[k][1]),
                finest=sharpest[k] ** -0.5 if sharpest[k] > 0.0 else math.inf,
                kind="other",
            )
        )

"""Several sites at once: what they say in sum, made from an earlier sum where that is less work."""

import math
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.outcomes._curves import Curves
from qis.synthesis.currency import Exact, Likelihood, exact_rows
from qis.synthesis.said import Facts, Said, ask_all
from qis.synthesis.totals import Index, RunningTotals, SummedMarginals

Floats = NDArray[np.float64]


class FactTable(NamedTuple):
    """What is always asked of several log-likelihoods, one row each."""

    rows: list[Facts]
    limits: Floats
    """Values at minus and plus infinity, shape (k, 2)."""
    spans: Floats
    """Ends of where they bend, shape (k, 2)."""
    finest: Floats
    """Standard errors at the sharpest, shape (k,)."""
    kinds: set[str]

    @classmethod
    def of(cls, rows: list[Facts]) -> "FactTable":
        """One table of them."""
        return cls._of(rows, np.array([(*row.limits, *row.span, row.finest) for row in rows]))

    @classmethod
    def _of(cls, rows: list[Facts], numbers: Floats) -> "FactTable":
        return cls(
            rows,
            limits=numbers[:, :2],
            spans=numbers[:, 2:4],
            finest=numbers[:, 4],
            kinds={row.kind for row in rows},
        )

    def chosen(self, which: Sequence[int], fresh: list[Facts]) -> "FactTable":
        """Some of these rows and of further ones, which are numbered after them."""
        numbers = np.column_stack((self.limits, self.spans, self.finest))
        if fresh:
            more = FactTable.of(fresh)
            added = np.column_stack((more.limits, more.spans, more.finest))
            numbers = np.concatenate((numbers, added))
        rows = [*self.rows, *fresh]
        return FactTable._of([rows[k] for k in which], numbers[np.array(which, dtype=np.intp)])

    @property
    def sums(self) -> tuple[float, float]:
        """Values of the sum at minus and plus infinity."""
        low, high = (math.fsum(limits.tolist()) for limits in self.limits.T)
        return low, high


class Together:
    """What several informative sites say together.

    Floating-point sums depend on order: that of the content gives every node the same bits.

    Parameters
    ----------
    said
        What each site says, one or more, in any order.
    former
        The same of an earlier set of sites.
    totals
        Sums of log-marginals from before.

    """

    def __init__(
        self,
        said: Sequence[Said],
        *,
        former: "Together | None" = None,
        totals: RunningTotals | None = None,
    ) -> None:
        self.said = sorted(said, key=attrgetter("key"))
        self.index = _index(self.said)
        self._former, self._totals = former, totals
        self._facts: dict[float, FactTable] = {}
        self._whole: Likelihood | None = None
        self._marginals: dict[float, SummedMarginals] = {}

    def __len__(self) -> int:
        return len(self.said)

    def facts(self, unit: float = 1.0) -> FactTable:
        """What is always asked of each of their log-likelihoods, in this unit."""
        found = self._facts.get(unit)
        if found is None:
            if unit == 1.0:
                ask_all(self.said)
            found = self._facts[unit] = FactTable.of([each.facts(unit) for each in self.said])
        return found

    @property
    def whole(self) -> Likelihood:
        """The sum of their log-likelihoods."""
        if self._whole is None:
            former, self._former = self._former, None
            self._whole = None if former is None else self._joined(former)
            if self._whole is None:
                self._whole = Likelihood.sum([row.likelihood for row in self.facts().rows])
        return self._whole

    def marginals(self, unit: float = 1.0) -> SummedMarginals:
        """Their log-marginals, summed."""
        found = self._marginals.get(unit)
        if found is None:
            found = self._marginals[unit] = SummedMarginals(self.index, unit, self._totals)
        return found

    def settle(self) -> None:
        """Forget what was made to compute log-marginals, and is large."""
        self._marginals.clear()

    def _joined(self, former: "Together") -> Likelihood | None:
        """The sum from a former one, if both are of one row a site."""
        whole = former.whole
        known = {key: row for row, key in enumerate(former.index)}
        fresh = {key: said for key, said in self.index.items() if key not in known}
        rows = _only_rows(whole)
        if rows is None or len(rows) != len(former) or 2 * len(fresh) > len(self):
            return None
        parts = [_only_rows(said.likelihood()) for said in fresh.values()]
        alike = [part for part in parts if type(part) is type(rows) and len(part) == 1]
        if len(alike) < len(parts):
            return None
        known.update((key, len(rows) + number) for number, key in enumerate(fresh))
        if alike:
            kind: Any = type(rows)
            rows = kind.stacked([rows, *alike])
        which = [known[key] for key in self.index]
        if 1.0 not in self._facts:
            facts = [said.facts() for said in fresh.values()]
            self._facts[1.0] = former.facts().chosen(which, facts)
        chosen = np.array(which, dtype=np.intp)
        taken = {each.name: getattr(rows, each.name)[chosen] for each in fields(rows)}
        joined: Any = type(rows)(**taken)
        if isinstance(joined, Curves):
            return Likelihood(curves=joined)
        return Likelihood(exact=exact_rows([joined]))


def _index(said: Sequence[Said]) -> Index:
    """Sites by their keys; of those whose content is the same, by a number too."""
    index = {each.key: each for each in said}
    if len(index) == len(said):
        return index
    index = {}
    for each in said:
        key, number = each.key, 0
        while key in index:
            number += 1
            key = each.key + number.to_bytes(4, "big")
        index[key] = each
    return index


def _only_rows(likelihood: Likelihood) -> Curves | Exact | None:
    """Its rows, if it is rows of one kind and nothing else."""
    if likelihood.precision > 0.0 or len(likelihood.rows) != 1:
        return None
    return likelihood.rows[0]

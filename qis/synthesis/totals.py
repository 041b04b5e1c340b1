"""Sums over sites, which are brought up to date by what came and went.

Log-marginals are multiples of 2**-30 (`qis.synthesis.marginals`), so that sums of them are exact
while they stay under 2**22, and do not depend on the order or on what was there in between.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.synthesis.lattice import Panel, TauPoints
from qis.synthesis.marginals import Marginals, MarginalTable
from qis.synthesis.said import Said, Where

Floats = NDArray[np.float64]

Index = Mapping[bytes, Said]
"""Sites by a key of their own, in the order of their content."""

_EXACT: Final = 2.0**22
"""Sums of multiples of 2**-30 are exact while those of their sizes are under this."""
_AT_ONCE: Final = 64
"""Most sites computed in one step."""


class RunningTotals:
    """Summed tables, each with the sites that are in it."""

    def __init__(self) -> None:
        self._held: dict[Where, _Total] = {}
        self._asked: set[Where] = set()
        self._last: tuple[Index, Index, tuple[list[Said], list[Said]]] | None = None

    def at(
        self, where: Where, index: Index, tables: Callable[[Sequence[Said]], Iterator[Floats]]
    ) -> Floats:
        """The sum over these sites of their tables, which `tables` gives."""
        self._asked.add(where)
        total = self._held.get(where)
        if total is None or not total.follow(index, self._change(total.index, index), tables):
            total = self._held[where] = _Total(index, tables(list(index.values())))
        return total.values.copy()

    def _change(self, before: Index, after: Index) -> tuple[list[Said], list[Said]]:
        """Which sites went, and which came."""
        if before is after:
            return [], []
        if self._last is None or self._last[0] is not before or self._last[1] is not after:
            gone = [before[key] for key in before.keys() - after.keys()]
            come = [after[key] for key in after.keys() - before.keys()]
            self._last = before, after, (gone, come)
        return self._last[2]

    def settle(self) -> None:
        """Forget what was not asked for since the last time."""
        self._held = {where: self._held[where] for where in self._asked}
        self._asked, self._last = set(), None


class _Total:
    """One summed table."""

    __slots__ = ("index", "reach", "values")

    def __init__(self, index: Index, tables: Iterable[Floats]) -> None:
        self.index, self.reach = index, 0.0
        alike: dict[int, list[Floats]] = {}
        for table in tables:
            alike.setdefault(len(table), []).append(table)
        sums = {}
        for size, some in sorted(alike.items()):
            stack = np.stack(some)
            sums[size] = stack.sum(axis=0)
            self.reach += float(np.abs(stack).reshape(len(stack), -1).max(axis=1).sum())
        self.values = np.zeros((2, *next(iter(sums.values())).shape[1:]))
        for size, each in sums.items():
            self.values[:size] += each

    def follow(
        self,
        index: Index,
        change: tuple[list[Said], list[Said]],
        tables: Callable[[Sequence[Said]], Iterator[Floats]],
    ) -> bool:
        """Bring it up to date; false if it is to be made anew."""
        gone, come = change
        if 2 * (len(gone) + len(come)) > len(index):
            return False
        for some, sign in ((gone, -1.0), (come, 1.0)):
            for table in tables(some):
                self.reach += float(np.abs(table).max())
                if not self.reach < _EXACT:
                    return False
                self.values[: len(table)] += sign * table
        self.index = index
        return self.reach < _EXACT or not (gone or come)


class SummedMarginals:
    """Log-marginals summed over sites.

    Parameters
    ----------
    index
        The sites.
    unit
        Of the parameter.
    totals
        What was summed before, which is brought up to date; `None`: nothing.

    """

    def __init__(
        self, index: Index, unit: float = 1.0, totals: RunningTotals | None = None
    ) -> None:
        self._index, self._unit = index, unit
        self._totals = RunningTotals() if totals is None else totals
        self._fresh: dict[tuple[bytes, ...], Marginals] = {}

    def on(self, panel: Panel, points: TauPoints) -> MarginalTable:
        """Log-marginals and slope bounds, as `Marginals.on`, summed; each of shape (taus, 12)."""
        return MarginalTable(*self._summed((panel, points, self._unit)))

    def level(self, panel: Panel) -> Floats:
        """Log-likelihoods at the panel's points, summed; shape (12,)."""
        found: Floats = self._summed((panel, None, self._unit))[0]
        return found

    def _summed(self, where: Where) -> Floats:
        def tables(sites: Sequence[Said]) -> Iterator[Floats]:
            return self._tables(where, sites)

        return self._totals.at(where, self._index, tables)

    def _tables(self, where: Where, sites: Sequence[Said]) -> Iterator[Floats]:
        missing = [said for said in sites if where not in said.tables]
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            for said, table in zip(some, self._computed(where, some), strict=True):
                said.keep(where, table)
        return (said.tables[where] for said in sites)

    def _computed(self, where: Where, sites: Sequence[Said]) -> Iterator[Floats]:
        panel, points, unit = where
        keys = tuple(said.key for said in sites)
        marginals = self._fresh.get(keys)
        if marginals is None:
            marginals = Marginals([said.facts(unit) for said in sites])
            self._fresh[keys] = marginals
        if points is None:
            yield from marginals.level(panel)[:, np.newaxis].copy()
            return
        values, bounds = marginals.on(panel, points.taus)
        for value, bound in zip(values, bounds, strict=True):
            yield np.stack((value, bound) if bound.any() else (value,))

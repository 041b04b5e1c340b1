"""The adversary's fast half: many tables sampled once, and every mixture of them tried by addition.

Log-likelihoods add, and so do the errors of their curves. Each table of a library is evaluated once
on a grid of log odds ratios, exactly and as a profile; how far a mixture's pooled estimate and
limits are off then follows from sums, to first order, in a tenth of a millisecond. The worst
mixtures are pooled for real afterwards (`_adversarial_tables.judge`), which alone counts.
"""

import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from _adversarial_tables import LARGEST, Sites, Table, counts_of, drawn, profile_of
from numpy.typing import NDArray

from qis.outcomes.counts import exact_of
from qis.outcomes.profile import curves_of
from qis.synthesis.doubts import _TOLERATED, _UNDERSTATED

Floats = NDArray[np.float64]
_GRID: Final = np.linspace(-8.0, 8.0, 801)
_DROP: Final = 1.9207
_MOST_ALIKE: Final = 300


@dataclass(frozen=True)
class Library:
    """Tables, and on the grid their exact values and what their curves make of them."""

    tables: list[Table]
    values: Floats
    slopes: Floats
    bends: Floats
    value_errors: Floats
    slope_errors: Floats
    lost: Floats
    """Of values and slopes, as the curves tell it: shape (2, tables, grid)."""
    beyond: Floats
    """Bounds of the slopes' errors, and of rises below and above: shape (3, tables, grid)."""

    @classmethod
    def of(cls, rng: np.random.Generator, size: int, *, exact: bool) -> "Library":
        """Informative tables of all sizes."""
        tables: list[Table] = []
        while len(tables) < size:
            most = 10.0 ** rng.uniform(0.7, 6.0)
            (table,) = drawn(rng, sites=1, people=(2, min(most, LARGEST)), tau=1.5)
            if counts_of(table).is_informative:
                tables.append(table)
        values, slopes, bends = exact_of([counts_of(table) for table in tables]).evaluate(_GRID)
        curves = curves_of([profile_of(table, exact=exact) for table in tables])
        found = curves.evaluate(_GRID)
        return cls(
            tables=tables,
            values=values,
            slopes=slopes,
            bends=bends,
            value_errors=found[0] - values,
            slope_errors=found[1] - slopes,
            lost=np.stack(curves.interpolation_error(_GRID)),
            beyond=np.stack((curves.slope_bound(_GRID), *curves.rise_bound(_GRID))),
        )

    def error(self, which: NDArray[np.intp], times: Floats, *, gates: bool) -> float:
        """About how many standard errors a mixture is off; -1 if it says so, or has no interval."""
        slope = times @ self.slopes[which]
        above = int(np.searchsorted(-slope, 0.0))  # slopes fall
        if not 0 < above < _GRID.size:
            return -1.0
        share = slope[above - 1] / (slope[above - 1] - slope[above])
        at = above - 1 if share < 0.5 else above
        information = -float(times @ self.bends[which, at])
        if not information > 0.0:
            return -1.0
        value = times @ self.values[which]
        inside = np.flatnonzero(value > value.max() - _DROP)
        first, last = int(inside[0]), int(inside[-1])
        if first == 0 or last == _GRID.size - 1:
            return -1.0
        error = information**-0.5
        if gates and self._is_marked(which, times, slope, (first, at, last), error):
            return -1.0
        # At the maximum a wrong slope moves the estimate by its error over the information; at a
        # limit a wrong difference of values moves it by that over the slope there.
        moved = abs(float(times @ self.slope_errors[which, at])) / information
        gaps = times @ self.value_errors[which]
        for end in (first, last):
            if end != at and abs(slope[end]) > 0.0:
                moved = max(moved, abs(float(gaps[end] - gaps[at]) / float(slope[end])))
        return moved / error

    def _is_marked(
        self,
        which: NDArray[np.intp],
        times: Floats,
        slope: Floats,
        read: tuple[int, int, int],
        error: float,
    ) -> bool:
        """The rule of `qis.synthesis.doubts`, at the points of the grid."""
        first, at, last = read
        lost, beyond = times @ self.lost[:, which], times @ self.beyond[:, which]
        doubts = [
            error**2 * float(beyond[0, at]),
            _UNDERSTATED * error**2 * abs(float(lost[1, at])),
        ]
        for end in (first, last):
            if slope[end] != 0.0:
                rise = np.abs(beyond[1:, end] - beyond[1:, at]).sum()
                missing = _UNDERSTATED * abs(lost[0, end] - lost[0, at])
                doubts += [float(each / abs(slope[end])) for each in (rise, missing)]
        return max(doubts) > _TOLERATED * error


def worst_mixtures(
    library: Library, seconds: float, rng: np.random.Generator, *, gates: bool, keep: int
) -> list[Sites]:
    """The worst mixtures that climbs from many starts end at, the worst first."""
    ends: list[tuple[float, tuple[int, ...], tuple[int, ...]]] = []
    stop = time.monotonic() + seconds
    size = len(library.tables)
    while time.monotonic() < stop:
        which = rng.integers(size, size=int(rng.integers(1, 9)))
        times = np.floor(_MOST_ALIKE ** rng.random(which.size) * (rng.random() < 0.7) + 0.001)
        times = np.maximum(times, 1.0)
        best = library.error(which, times, gates=gates)
        for _ in range(400):
            other, count = which.copy(), times.copy()
            spot = int(rng.integers(which.size))
            if rng.random() < 0.6:
                other[spot] = rng.integers(size)
            else:
                changed = np.round(count[spot] * np.exp(rng.normal()))
                count[spot] = np.clip(changed, 1.0, _MOST_ALIKE)
            error = library.error(other, count, gates=gates)
            if error >= best:
                best, which, times = error, other, count
        ends.append((best, tuple(which.tolist()), tuple(times.astype(int).tolist())))
    ends.sort(reverse=True)
    return [
        Sites(tuple(library.tables[k] for k in chosen), alike) for _, chosen, alike in ends[:keep]
    ]

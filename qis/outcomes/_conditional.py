"""Exact likelihoods of two arms' counts given their totals, as functions of one log ratio.

Conditioning removes the nuisance parameter (the control arm's odds or rate), so that a site with
few events adds no bias of its own, however many such sites there are.

All functions take many sites at once: row i belongs to site i, column j to the log ratio j.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Evaluation = tuple[Floats, Floats, Floats]
"""Log-likelihoods, their first and their second derivatives, each of shape (k, m)."""

_WIDE: Final = 16.0
"""From this standard deviation of the events on, a sum over every so many of them is exact too."""
_STRIDES: Final = 22
"""Strides of half a standard deviation to each side: 11 of them."""
_STEEPEST: Final = 700.0
"""exp(-700) is still a normal float64; beyond, only one table is left anyway."""
_CELLS: Final = 1 << 20
"""Most numbers in one array; bounds the memory to 8 MiB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Columns of equal length, one entry a site."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def stacked(cls, parts: Sequence[Self]) -> Self:
        """Join one or more of these into one, with all rows in the given order."""
        names = [field.name for field in fields(cls)]
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables(_Rows):
    """Fisher's noncentral hypergeometric likelihoods of a log odds ratio (Fisher 1935).

    Values are log-probabilities: 0 is the limit on a side towards which one rises for ever.

    Parameters
    ----------
    events, total, control_events, control_total
        Events and people of the first arm, then of the control arm; whole, shape (k,).

    """

    events: Floats
    total: Floats
    control_events: Floats
    control_total: Floats

    is_concave: ClassVar[bool] = True

    @property
    def _all_events(self) -> Floats:
        return self.events + self.control_events

    @property
    def support(self) -> tuple[Floats, Floats]:
        """Least and most events that the first arm may have, given those of both."""
        return (
            np.maximum(0.0, self._all_events - self.control_total),
            np.minimum(self.total, self._all_events),
        )

    @property
    def limiting_slopes(self) -> tuple[Floats, Floats]:
        """Slopes at minus and at plus infinity, each of shape (k,)."""
        low, high = self.support
        return self.events - low, self.events - high

    @property
    def limits(self) -> tuple[Floats, Floats]:
        """Values at minus and plus infinity, each of shape (k,); -inf where a slope remains."""
        return _limits(self.limiting_slopes)

    @property
    def span(self) -> tuple[Floats, Floats]:
        """Log ratios at which the least, and the most, events become the likeliest."""
        low, high = self.support
        return -np.log(self._ratio(low, +1.0)), np.log(self._ratio(high, -1.0))

    def _ratio(self, u: Floats, step: float) -> Floats:
        """Weight of one event more (step 1) or less (-1) than u, relative to that of u."""
        on, off = self.total - u, self.control_total - self._all_events + u
        if step > 0.0:
            return on * (self._all_events - u) / ((u + 1.0) * (off + 1.0))
        return u * off / ((on + 1.0) * (self._all_events - u + 1.0))

    @property
    def sharpest(self) -> Floats:
        """An upper bound of the curvature, shape (k,), close where there are many events."""
        low, high = self.support
        u = low[:, np.newaxis] + (high - low)[:, np.newaxis] * np.linspace(0.0, 1.0, 33)
        n1, n2, both = (
            column[:, np.newaxis] for column in (self.total, self.control_total, self._all_events)
        )
        peak: Floats = _variance(n1, n2, both, u).max(axis=1)
        return peak

    def evaluate(self, log_ratio: Floats) -> Evaluation:
        """Log-likelihoods and their derivatives at log ratios of shape (m,).

        Each is a sum over the events that the first arm may have, taken about the likeliest number
        of them: outwards by the ratios of neighbours until nothing is left, or over every so many
        where the distribution is wide. Differences of log-gammas appear only between neighbours, so
        that large totals cost no digits.
        """
        shape = len(self), log_ratio.size
        results = tuple(np.empty(shape) for _ in range(3))
        width = max(_CELLS // 64 // max(len(self), 1), 1)
        for start in range(0, log_ratio.size, width):
            some = log_ratio[start : start + width]
            for result, found in zip(results, self._evaluated(some), strict=True):
                result[:, start : start + width] = found
        return results[0], results[1], results[2]

    def _evaluated(self, log_ratio: Floats) -> Evaluation:
        # For ratios above 1 the arms change places, so that no power of the ratio overflows.
        swap = np.broadcast_to(log_ratio > 0.0, (len(self), log_ratio.size)).ravel()
        tilt = np.broadcast_to(-np.abs(log_ratio), (len(self), log_ratio.size)).ravel()
        own, other, n1, n2 = (
            np.where(swap, np.repeat(b, log_ratio.size), np.repeat(a, log_ratio.size))
            for a, b in (
                (self.events, self.control_events),
                (self.control_events, self.events),
                (self.total, self.control_total),
                (self.control_total, self.total),
            )
        )
        table = _Tilted(n1=n1, n2=n2, both=own + other, tilt=tilt)
        mode = table.mode()
        values = table.log_weight(own, mode)
        log_sum, mean, variance = table.moments(mode)
        values -= log_sum
        slopes = np.where(swap, mean - own, own - mean)
        grid = len(self), log_ratio.size
        return values.reshape(grid), slopes.reshape(grid), -variance.reshape(grid)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tilted:
    """Weights ``C(n1, u) C(n2, both - u) exp(u * tilt)`` with tilt ≤ 0; all of shape (p,)."""

    n1: Floats
    n2: Floats
    both: Floats
    tilt: Floats

    def mode(self) -> Floats:
        """The u of the largest weight, where two neighbours weigh the same (Liao & Rosen 2001)."""
        ratio = np.exp(np.maximum(self.tilt, -_STEEPEST))
        square = ratio - 1.0
        linear = (self.n1 + self.both + 2.0) * ratio + self.n2 - self.both
        constant = ratio * (self.n1 + 1.0) * (self.both + 1.0)
        root = np.sqrt(linear * linear - 4.0 * square * constant)
        # Of the two forms of the root the one that does not cancel.
        negative = np.where(linear < 0.0, square, -1.0)
        u = np.where(
            linear < 0.0,
            (linear - root) / (2.0 * negative),
            2.0 * constant / (np.abs(linear) + root),
        )
        low, high = np.maximum(0.0, self.both - self.n2), np.minimum(self.n1, self.both)
        return np.clip(np.floor(u), low, high)

    def log_weight(self, u: Floats, start: Floats) -> Floats:
        """Logarithm of the weight of u relative to that of `start`."""
        off = self.n2 - self.both
        logs: Floats = (u - start) * self.tilt + (
            _log_factorial_ratio(start, u)
            + _log_factorial_ratio(self.n1 - start, self.n1 - u)
            + _log_factorial_ratio(self.both - start, self.both - u)
            + _log_factorial_ratio(off + start, off + u)
        )
        return logs

    def moments(self, mode: Floats) -> Evaluation:
        """Logarithm of the sum of all weights relative to the mode's; mean and variance of u."""
        spread = np.sqrt(_variance(self.n1, self.n2, self.both, mode))
        octaves = np.where(spread >= _WIDE, 99, np.maximum(np.frexp(spread)[1], 0))
        found = np.empty((3, mode.size))
        for octave in np.unique(octaves).tolist():
            rows = np.flatnonzero(octaves == octave)
            reach = 2 * _STRIDES if octave == 99 else 12 + 10 * 2**octave
            for some in _blocks(rows, max(_CELLS // reach, 1)):
                part = _Tilted(
                    n1=self.n1[some], n2=self.n2[some], both=self.both[some], tilt=self.tilt[some]
                )
                if octave == 99:
                    found[:, some] = part._by_strides(mode[some], spread[some])
                else:
                    found[:, some] = part._by_steps(mode[some], reach)
        log_sum, shift, variance = found
        return log_sum, mode + shift, variance

    def _by_steps(self, mode: Floats, reach: int) -> Floats:
        """Every weight within `reach` of the mode, by ratios of neighbours; none is left beyond."""
        n1, n2, both = (column[:, np.newaxis] for column in (self.n1, self.n2, self.both))
        steps = np.arange(reach, dtype=np.float64)
        ratio = np.exp(np.maximum(self.tilt, -_STEEPEST))[:, np.newaxis]
        up, down = mode[:, np.newaxis] + steps, mode[:, np.newaxis] - steps
        # The factors are 0 from the last possible table on, and so is every product.
        with np.errstate(under="ignore"):
            above = np.maximum(n1 - up, 0.0) * np.maximum(both - up, 0.0) * ratio
            above /= (up + 1.0) * (n2 - both + up + 1.0)
            below = np.maximum(down, 0.0) * np.maximum(n2 - both + down, 0.0)
            below /= (n1 - down + 1.0) * (both - down + 1.0) * ratio
            np.multiply.accumulate(above, axis=1, out=above)
            np.multiply.accumulate(below, axis=1, out=below)
            return _moments(above + below, above - below, steps + 1.0)

    def _by_strides(self, mode: Floats, spread: Floats) -> Floats:
        """Every so many of the weights: half a standard deviation apart.

        The sum of a smooth density at equal distances h is right to 2 exp(-2 pi² sd² / h²), here
        1e-34 (Poisson's summation formula); both ends of the support are 16 standard deviations
        away.
        """
        stride = np.floor(spread / 2.0)
        steps = np.arange(1.0, _STRIDES + 1.0)
        columns = (self.n1, self.n2, self.both, self.tilt)
        wide = _Tilted(
            **dict(
                zip(("n1", "n2", "both", "tilt"), (c[:, np.newaxis] for c in columns), strict=True)
            )
        )
        centre, shift = mode[:, np.newaxis], stride[:, np.newaxis] * steps
        above, below = (np.exp(wide.log_weight(centre + s, centre)) for s in (shift, -shift))
        log_sum, mean, variance = _moments(above + below, above - below, steps)
        return np.stack((log_sum + np.log(stride), mean * stride, variance * stride * stride))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates(_Rows):
    """Conditional likelihoods of a log rate ratio: events of the first arm given those of both.

    The events of both arms are Poisson; so those of the first are binomial, with the odds equal to
    the rate ratio times that of the person-times. With equal person-times and the people without
    event in place of the control arm's events it is the likelihood of one arm's log odds.

    Parameters
    ----------
    events, control_events
        Events of the two arms, shape (k,).
    log_time_ratio
        Logarithm of the ratio of the arms' person-times, shape (k,).

    """

    events: Floats
    control_events: Floats
    log_time_ratio: Floats

    is_concave: ClassVar[bool] = True

    @property
    def limiting_slopes(self) -> tuple[Floats, Floats]:
        """Slopes at minus and at plus infinity, each of shape (k,)."""
        return self.events, -self.control_events

    @property
    def limits(self) -> tuple[Floats, Floats]:
        """Values at minus and plus infinity, each of shape (k,); -inf where a slope remains."""
        return _limits(self.limiting_slopes)

    @property
    def span(self) -> tuple[Floats, Floats]:
        """Log ratios at which no event, and all events, in the first arm become the likeliest."""
        width = np.log(self.events + self.control_events)
        return -self.log_time_ratio - width, -self.log_time_ratio + width

    @property
    def sharpest(self) -> Floats:
        """The largest curvature, shape (k,)."""
        return (self.events + self.control_events) / 4.0

    def evaluate(self, log_ratio: Floats) -> Evaluation:
        """Log-likelihoods and their derivatives at log ratios of shape (m,)."""
        own, other = self.events[:, np.newaxis], self.control_events[:, np.newaxis]
        logit = log_ratio + self.log_time_ratio[:, np.newaxis]
        values = -own * np.logaddexp(0.0, -logit) - other * np.logaddexp(0.0, logit)
        small = np.exp(-np.minimum(np.abs(logit), _STEEPEST))
        nearer, further = small / (1.0 + small), 1.0 / (1.0 + small)
        share = np.where(logit > 0.0, further, nearer)
        return values, own - (own + other) * share, -(own + other) * nearer * further


def _limits(slopes: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    return np.where(slopes[0] > 0.0, -np.inf, 0.0), np.where(slopes[1] < 0.0, -np.inf, 0.0)


def _moments(both: Floats, apart: Floats, steps: Floats) -> Floats:
    """Log sum, mean and variance of steps, whose weights above and below 0 are added and differ."""
    whole = 1.0 + both.sum(axis=1)
    mean = (apart * steps).sum(axis=1) / whole
    square = (both * (steps * steps)).sum(axis=1) / whole
    return np.stack((np.log(whole), mean, square - mean * mean))


def _variance(n1: Floats, n2: Floats, both: Floats, u: Floats) -> Floats:
    """Approximate variance of u about its mode (Cornfield 1956), a little too large."""
    cells = (u, n1 - u, both - u, n2 - both + u)
    variance: Floats = np.reciprocal(np.sum([1.0 / (cell + 1.0) for cell in cells], axis=0))
    return variance


def _blocks(rows: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, rows.size, size):
        yield rows[start : start + size]


def _log_factorial_ratio(x: Floats, y: Floats) -> Floats:
    """log(x! / y!) for whole numbers, by Stirling's series, without the difference of large terms.

    The series is taken at x + 9, where five terms are right to 1e-15.
    """
    far, near = x + 9.0, y + 9.0
    apart = far - near
    logs = apart * (np.log(near) - 1.0) + (far - 0.5) * np.log1p(apart / near)
    ratio: Floats = logs + _stirling(far) - _stirling(near) - np.log(_product(x) / _product(y))
    return ratio


def _stirling(z: Floats) -> Floats:
    """Log gamma(z) less ``(z - 1/2) log z - z + log(2 pi) / 2``, for z of 9 or more."""
    s = 1.0 / (z * z)
    return (
        1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)))
    ) / z


def _product(x: Floats) -> Floats:
    """(x + 1) (x + 2) … (x + 8)."""
    # Pairs whose factors have the sum 9: x² + 9 x + 8, 14, 18 and 20.
    pair = x * (x + 9.0)
    return (pair + 8.0) * (pair + 14.0) * (pair + 18.0) * (pair + 20.0)

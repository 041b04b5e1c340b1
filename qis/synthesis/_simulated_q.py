"""What the likelihood-ratio statistic Q would be by chance, where it is not chi-squared.

With few events Q is far from its limit: a site with one event adds 1.4 to it whatever happens.
So the sites' events are drawn anew, with the pooled estimate as the truth and all else as it is.

Every log-likelihood here is that of an exponential family: other events in the first arm, t more
than were seen, make it ``l(theta) + t * theta`` less a constant that is the same at every theta. So
Q needs only the largest values of curves that are known already, each tilted by a whole number.
A sampled curve tells how many events could have moved to either arm (its limiting slopes), and how
many were to be expected and how much they vary (its derivatives); that fixes two moments of whole
numbers, of which there are few where it matters.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from qis.outcomes._conditional import Rates, Tables
from qis.outcomes._curves import Curves
from qis.outcomes._poisson import PoissonRates
from qis.synthesis.currency import Exact, Likelihood, exact_rows

Floats = NDArray[np.float64]

DRAWS: Final = 1999
"""A p-value of one half is known to about 0.01, one of 0.05 to 0.005."""
FEW: Final = 5.0
"""Fewer expected events than this in an arm, and chi-squared is not to be relied on."""
_MARGIN: Final = 30.0
"""How far the grid goes beyond all spans: from there on exp(-30) of one event is left."""
_ERROR: Final = 1e-6
_WIDEST: Final = 0.25
_MANY: Final = 200.0
"""From this standard deviation on events are drawn as rounded normal numbers."""
_WHOLE: Final = 0.01
"""Limiting slopes this near to whole numbers are those of events."""
_NEWTON: Final = 6
_ROUNDS: Final = 50
_CLOSE: Final = 1e-10
_TIE: Final = 1e-5
"""Values of Q this near, relative to 1 + Q, are equal: the curves are right to about 1e-6."""


class Arms(NamedTuple):
    """Events that a row could have had in its first arm, at one theta."""

    lowest: float
    """Fewest, less those that were seen; -inf: there is no bound, as of a normal estimate."""
    highest: float
    """Most, less those that were seen."""
    mean: float
    """Expected, less those that were seen."""
    variance: float
    """Of the events."""

    @property
    def expects_few(self) -> bool:
        """True if fewer than 5 are expected in an arm, or fewer than 5 people without an event."""
        return min(self.mean - self.lowest, self.highest - self.mean) < FEW

    @property
    def is_whole(self) -> bool:
        """True if it counts something."""
        ends = [end for end in (self.lowest, self.highest) if math.isfinite(end)]
        return bool(ends) and all(abs(end - round(end)) < _WHOLE for end in ends)


def arms_of(site: Likelihood, theta: float) -> list[Arms]:
    """Each row of a site, at one theta; and the parabola, if there is one."""
    found = []
    for rows in site.rows:
        _, slopes, bends = (part[:, 0] for part in rows.evaluate(np.array([theta])))
        if not isinstance(rows, Curves | Tables | Rates | PoissonRates):
            raise TypeError(type(rows).__name__)  # of means, whose statistic is not simulated
        below, above = rows.limiting_slopes
        columns = (-below, -above, -slopes, -bends)
        found += [Arms(*map(float, row)) for row in zip(*columns, strict=True)]
    if site.precision > 0.0:
        mean = site.precision * (theta - site.centre)
        found.append(Arms(-math.inf, math.inf, mean, site.precision))
    return found


def simulated_p(sites: Sequence[Likelihood], theta: float, q: float, seed: bytes) -> float:
    """The share of 1,999 simulated values, and the one seen, that are at least that one.

    Parameters
    ----------
    sites
        One informative log-likelihood a site, none of means, in an order that depends on content.
    theta
        The pooled estimate.
    q
        The statistic.
    seed
        Of the draws: equal seeds, equal draws.

    """
    arms = [arms_of(site, theta) for site in sites]
    uniform = _uniform(seed, sum(map(len, arms)))
    tilts = np.zeros((len(sites), DRAWS))
    row = 0
    for k, of_site in enumerate(arms):
        for each in of_site:
            tilts[k] += _drawn(each, uniform[row])
            row += 1
    curves = _LargestValues(sites)
    drawn = 2.0 * (curves.apart(tilts) - curves.together(tilts.sum(axis=0)))
    nothing = np.zeros((len(sites), 1))
    seen = float(2.0 * (curves.apart(nothing) - curves.together(nothing[0]))[0])
    reached = int((drawn >= min(seen, q) - _TIE * (1.0 + q)).sum())
    return (1 + reached) / (1 + DRAWS)


def _uniform(seed: bytes, rows: int) -> Floats:
    """Numbers in (0, 1), shape (rows, draws), from BLAKE3, whose stream never changes."""
    raw = blake3(seed, derive_key_context="qis 2026 simulated heterogeneity").digest(
        length=8 * max(rows, 1) * DRAWS
    )
    whole = np.frombuffer(raw, dtype="<u8") >> np.uint64(11)
    return (whole.astype(np.float64).reshape(-1, DRAWS) + 0.5) / 2.0**53


def _drawn(arms: Arms, uniform: Floats) -> Floats:
    """Events in the first arm, less those that were seen."""
    sd = math.sqrt(max(arms.variance, 0.0))
    if sd == 0.0:
        return np.full_like(uniform, round(arms.mean) if arms.is_whole else arms.mean)
    if not arms.is_whole or sd > _MANY:
        events = arms.mean + sd * _normal(uniform)
        events = np.round(events) if arms.is_whole else events
        return np.clip(events, arms.lowest, arms.highest)
    reach = math.ceil(12.0 * sd) + 12
    low = max(math.floor(arms.mean) - reach, round(max(arms.lowest, -1e15)))
    high = min(math.ceil(arms.mean) + reach, round(min(arms.highest, 1e15)))
    events = np.arange(low, high + 1.0)
    below = np.add.accumulate(_shares(events, arms))
    return events[np.minimum(np.searchsorted(below / below[-1], uniform), events.size - 1)]


def _shares(events: Floats, arms: Arms) -> Floats:
    """Probabilities of whole numbers between two ends, with this mean and variance.

    Those of events that fall independently into two arms (binomial; Poisson where there is no
    end above), tilted by ``exp(a * t + b * t²)`` until both moments are right: one and two
    events, and binomial and Poisson counts, are exact, hypergeometric ones nearly.
    """
    up = events - arms.lowest
    logs = -_log_factorials(up)
    if math.isfinite(arms.highest):
        logs -= _log_factorials(arms.highest - events)
    apart = (events - arms.mean) / math.sqrt(arms.variance)
    powers = np.stack((apart, apart * apart))
    sd = math.sqrt(arms.variance)
    if math.isfinite(arms.highest):
        odds = (arms.mean - arms.lowest) / (arms.highest - arms.mean)
    else:
        odds = arms.mean - arms.lowest
    tilt, wanted = np.array([math.log(odds) * sd, 0.0]), np.array([0.0, 1.0])
    height, shares = _tilted(logs, powers, tilt, wanted)
    for _ in range(_ROUNDS):
        moments = powers @ shares
        lacking = wanted - moments
        if np.abs(lacking).max() < _CLOSE:
            break
        centred = powers - moments[:, np.newaxis]
        spread = (centred * shares) @ centred.T
        step = np.linalg.lstsq(spread, lacking, rcond=1e-13)[0]
        # Newton's step on a convex function, halved until it goes down.
        for _ in range(_ROUNDS):
            lower, found = _tilted(logs, powers, tilt + step, wanted)
            if lower <= height:
                break
            step = 0.5 * step
        else:
            break
        tilt, height, shares = tilt + step, lower, found
    return shares


def _tilted(logs: Floats, powers: Floats, tilt: Floats, wanted: Floats) -> tuple[float, Floats]:
    """What the right tilt makes least, and the probabilities."""
    tilted = logs + tilt @ powers
    top = float(tilted.max())
    shares: Floats = np.exp(tilted - top)
    whole = float(shares.sum())
    return top + math.log(whole) - float(tilt @ wanted), shares / whole


def _log_factorials(numbers: Floats) -> Floats:
    return np.array([math.lgamma(x + 1.0) for x in np.maximum(numbers, 0.0).tolist()])


def _normal(uniform: Floats) -> Floats:
    """Standard normal quantiles, by Newton's steps on the distribution function."""
    # A start within 0.5 % of the quantile (Abramowitz & Stegun 26.2.23), then Halley's step.
    tail = np.minimum(uniform, 1.0 - uniform)
    t = np.sqrt(-2.0 * np.log(tail))
    z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    )
    for _ in range(2):
        erfc = np.array([math.erfc(x) for x in (z / math.sqrt(2.0)).tolist()])
        error = (0.5 * erfc - tail) * math.sqrt(2.0 * math.pi) * np.exp(0.5 * z * z)
        z += error / (1.0 + 0.5 * z * error)
    signed: Floats = np.where(uniform < 0.5, -z, z)
    return signed


class _LargestValues:
    """The largest value of ``l(theta) + t * theta``, for each site and for all together."""

    def __init__(self, sites: Sequence[Likelihood]) -> None:
        low, high = (
            end(part)
            for end, part in zip(
                (min, max), zip(*(s.span for s in sites), strict=True), strict=True
            )
        )
        sharpest = max(site.finest**-2.0 for site in sites)
        step = min((46080.0 * _ERROR / max(sharpest, 1e-3)) ** (1.0 / 6.0), _WIDEST)
        count = math.ceil((high - low + 2.0 * _MARGIN) / step)
        self._theta = np.linspace(low - _MARGIN, high + _MARGIN, count + 1)
        self._parts = _evaluated(sites, self._theta)
        self._sums = [part.sum(axis=0) for part in self._parts]

    def apart(self, tilts: Floats) -> Floats:
        """The sum of each site's own largest value; `tilts` of shape (sites, m)."""
        total = np.zeros(tilts.shape[1])
        for k, tilt in enumerate(tilts):
            total += self._largest([part[k] for part in self._parts], tilt)
        return total

    def together(self, tilts: Floats) -> Floats:
        """The largest value of the sum; `tilts` of shape (m,)."""
        return self._largest(self._sums, tilts)

    def _largest(self, parts: list[Floats], tilts: Floats) -> Floats:
        unique, which = np.unique(tilts, return_inverse=True)
        values, slopes, bends = parts
        theta, step = self._theta, float(self._theta[1] - self._theta[0])
        # Slopes fall; where rounding makes one rise again, far out, it does no harm.
        falling = np.minimum.accumulate(slopes)
        right = np.searchsorted(-falling, unique)
        cell = np.clip(right, 1, theta.size - 1)
        f0, f1 = values[cell - 1] + unique * theta[cell - 1], values[cell] + unique * theta[cell]
        d0, d1 = (slopes[cell - 1] + unique) * step, (slopes[cell] + unique) * step
        b0, b1 = bends[cell - 1] * step**2, bends[cell] * step**2
        # Hermite's quintic in the position from 0 to 1.
        rise, turn, bend = f1 - f0 - d0 - 0.5 * b0, d1 - d0 - b0, b1 - b0
        c3 = 10.0 * rise - 4.0 * turn + 0.5 * bend
        c4 = -15.0 * rise + 7.0 * turn - bend
        c5 = 6.0 * rise - 3.0 * turn + 0.5 * bend
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.clip(np.nan_to_num(d0 / (d0 - d1), nan=0.5), 0.0, 1.0)
            for _ in range(_NEWTON):
                slope = d0 + x * (b0 + x * (3.0 * c3 + x * (4.0 * c4 + x * 5.0 * c5)))
                curve = b0 + x * (6.0 * c3 + x * (12.0 * c4 + x * 20.0 * c5))
                x = np.clip(x - np.nan_to_num(slope / np.minimum(curve, -1e-300)), 0.0, 1.0)
        inside = f0 + x * (d0 + x * (0.5 * b0 + x * (c3 + x * (c4 + x * c5))))
        largest: Floats = np.maximum(np.maximum(f0, f1), inside)
        return largest[which]


def _evaluated(sites: Sequence[Likelihood], theta: Floats) -> list[Floats]:
    """Each site's values, slopes and bends, each of shape (sites, m)."""
    precisions = np.array([site.precision for site in sites])[:, np.newaxis]
    apart = theta - np.array([site.centre for site in sites])[:, np.newaxis]
    parts = [
        -0.5 * precisions * apart * apart,
        -precisions * apart,
        np.repeat(-precisions, theta.size, axis=1),
    ]
    curves = [(k, site.curves) for k, site in enumerate(sites) if site.curves is not None]
    exact = [(k, site.exact) for k, site in enumerate(sites) if site.exact is not None]
    stacked: list[tuple[list[int], Curves | Exact | None]] = [
        ([k for k, rows in curves for _ in range(len(rows))], None),
        ([k for k, rows in exact for _ in range(len(rows))], exact_rows([e for _, e in exact])),
    ]
    if curves:
        stacked[0] = stacked[0][0], Curves.stacked([rows for _, rows in curves])
    for owners, rows in stacked:
        if rows is not None:
            for part, found in zip(parts, rows.evaluate(theta), strict=True):
                np.add.at(part, np.array(owners), found)
    return parts

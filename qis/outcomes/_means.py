"""Likelihoods of a mean, or of a difference of two, with the variances profiled out.

Of n normal values with mean x and sum of squares ss the log-likelihood of their expectation mu,
largest over the variance, is ``-n/2 * log(1 + n * (x - mu)² / ss)``. It has the tails of Student's
t, so that a few people with a mean far off do not outweigh many: unlike the others it is not
concave, and sums of several may have several maxima.

All functions take many sites at once, as those of `qis.outcomes._conditional`.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np

from qis.outcomes._conditional import Evaluation, Floats, _Rows

_SPAN_DROP: Final = 11.0
"""The span of a row ends where its log-likelihood is this far under its largest value: where that
of two such rows, which is what a random-effects model needs, is 22 under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means(_Rows):
    """Profile likelihoods of the mean of one arm.

    Parameters
    ----------
    people
        Number of values, 3 or more, shape (k,).
    mean, ss
        Their mean and sum of squared deviations, the latter positive; shape (k,).

    """

    people: Floats
    mean: Floats
    ss: Floats

    is_concave: ClassVar[bool] = False

    @property
    def centre(self) -> Floats:
        """Where each row is largest, shape (k,)."""
        return self.mean

    @property
    def limits(self) -> tuple[Floats, Floats]:
        """Values at minus and plus infinity: -inf."""
        low = np.full_like(self.mean, -np.inf)
        return low, low

    @property
    def span(self) -> tuple[Floats, Floats]:
        """Where each row is 11 under its largest value, to both sides; each of shape (k,)."""
        half = np.sqrt(self.ss / self.people * np.expm1(2.0 * _SPAN_DROP / self.people))
        return self.mean - half, self.mean + half

    @property
    def sharpest(self) -> Floats:
        """The largest curvature, that at the mean, shape (k,)."""
        peak: Floats = self.people * (self.people / self.ss)
        return peak

    def evaluate(self, mean: Floats) -> Evaluation:
        """Log-likelihoods and their derivatives at means of shape (m,)."""
        apart = mean - self.mean[:, np.newaxis]
        return _profiled(apart, self.people[:, np.newaxis], self.ss[:, np.newaxis])

    def value(self, mean: Floats) -> Floats:
        """Log-likelihoods at means of shape (m,): float64 of shape (k, m)."""
        return self.evaluate(mean)[0]

    def moved(self, origin: float, unit: float) -> "Means":
        """The same in units of `unit` from `origin`."""
        return replace(self, mean=(self.mean - origin) / unit, ss=self.ss / unit / unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanDifferences(_Rows):
    """Profile likelihoods of the difference of two means, both variances being free.

    Parameters
    ----------
    people, ss, control_people, control_ss
        Number of values and sum of squared deviations of the two arms, as for `Means`.
    difference
        Mean of the first arm less that of the control arm, shape (k,).

    """

    people: Floats
    ss: Floats
    control_people: Floats
    control_ss: Floats
    difference: Floats

    is_concave: ClassVar[bool] = False

    @property
    def centre(self) -> Floats:
        """Where each row is largest, shape (k,)."""
        return self.difference

    @property
    def limits(self) -> tuple[Floats, Floats]:
        """Values at minus and plus infinity: -inf."""
        low = np.full_like(self.difference, -np.inf)
        return low, low

    @property
    def span(self) -> tuple[Floats, Floats]:
        """Beyond where each row is 11 under its largest value, to each side; shape (k,)."""
        arms = ((self.people, self.ss), (self.control_people, self.control_ss))
        half = sum(np.sqrt(ss / n * np.expm1(2.0 * _SPAN_DROP / n)) for n, ss in arms)
        return self.difference - half, self.difference + half

    @property
    def sharpest(self) -> Floats:
        """The largest curvature, that at the difference, shape (k,)."""
        variance = self.ss / self.people**2 + self.control_ss / self.control_people**2
        peak: Floats = 1.0 / variance
        return peak

    def evaluate(self, difference: Floats) -> Evaluation:
        """Log-likelihoods and their derivatives at differences of shape (m,).

        Given a difference the control arm's mean is free, and the distance d from the observed
        difference is split between the arms, u to the control arm and d - u to the first. At the
        best split the slopes of both arms agree, which is a cubic in u.
        """
        n1, s1, n2, s2 = (
            column[:, np.newaxis]
            for column in (self.people, self.ss, self.control_people, self.control_ss)
        )
        apart = difference - self.difference[:, np.newaxis]
        distance = np.abs(apart)
        best = _best_split(distance, n1, s1 / n1, n2, s2 / n2)
        own, slope, bend = _profiled(distance - best, n1, s1)
        other, _, other_bend = _profiled(best, n2, s2)
        both = bend + other_bend
        # The second derivative by the envelope theorem; at the best split the sum is negative.
        bends = bend * other_bend / np.where(both < 0.0, both, -np.inf)
        return own + other, np.sign(apart) * slope, bends

    def value(self, difference: Floats) -> Floats:
        """Log-likelihoods at differences of shape (m,): float64 of shape (k, m)."""
        return self.evaluate(difference)[0]

    def moved(self, origin: float, unit: float) -> "MeanDifferences":
        """The same in units of `unit` from `origin`."""
        return replace(
            self,
            difference=(self.difference - origin) / unit,
            ss=self.ss / unit / unit,
            control_ss=self.control_ss / unit / unit,
        )


def _profiled(apart: Floats, people: Floats, ss: Floats) -> Evaluation:
    """Value, slope and curvature of ``-n/2 log(1 + n apart² / ss)``."""
    variance = ss / people
    square = apart * apart
    values: Floats = -0.5 * people * np.log1p(square / variance)
    slopes = -people * apart / (variance + square)
    bends = -people * (variance - square) / (variance + square) ** 2
    return values, slopes, bends


def _best_split(distance: Floats, n1: Floats, v1: Floats, n2: Floats, v2: Floats) -> Floats:
    """The u in [0, distance] that costs both arms together least; shape (k, m).

    The cubic is ``(n1 + n2) u³ - (n1 + 2 n2) d u² + (n1 v2 + n2 (v1 + d²)) u - n1 v2 d = 0``.
    """
    d = distance
    whole = n1 + n2
    b = -(n1 + 2.0 * n2) * d / whole
    c = (n1 * v2 + n2 * (v1 + d * d)) / whole
    e = -n1 * v2 * d / whole
    # Viète's and Cardano's solutions of the depressed cubic t³ + p t + q = 0, u = t - b / 3.
    p = c - b * b / 3.0
    q = (2.0 / 27.0) * b**3 - b * c / 3.0 + e
    root = np.sqrt(np.maximum(q * q / 4.0 + p**3 / 27.0, 0.0))
    one = np.cbrt(-q / 2.0 + root) + np.cbrt(-q / 2.0 - root)
    size = 2.0 * np.sqrt(np.maximum(-p / 3.0, 0.0))
    cosine = np.divide(3.0 * q, p * size, out=np.zeros_like(q), where=(p * size) != 0.0)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0)) / 3.0
    three = [size * np.cos(angle - turn * 2.0 * math.pi / 3.0) for turn in range(3)]
    best, least = np.zeros_like(d), np.full_like(d, np.inf)
    for t in (one, *three):
        u = np.clip(t - b / 3.0, 0.0, d)
        for _ in range(3):  # Newton's steps: the closed forms lose digits by cancellation
            cubic = ((u + b) * u + c) * u + e
            slope = (3.0 * u + 2.0 * b) * u + c
            step = np.divide(cubic, slope, out=np.zeros_like(u), where=slope > 0.0)
            u = np.clip(u - step, 0.0, d)
        apart = d - u
        cost = n1 * np.log1p(apart * apart / v1) + n2 * np.log1p(u * u / v2)
        best = np.where(cost < least, u, best)
        least = np.minimum(cost, least)
    return best

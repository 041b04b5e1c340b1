"""Quantiles and tails of the normal, Student's t, chi-squared and F distributions.

The normal ones come from the standard library. The others are regularised incomplete gamma and
beta functions, written here because they alone would make scipy, some 100 MB, a requirement of
every random-effects interval. They agree with scipy to 1e-10 for degrees of freedom from .1 to 1e6
and tails down to 1e-300. Three choices make that possible with plain floats:

- Leading factors are written as deviances from the mode (Loader 2000, "Fast and accurate
  computation of binomial probabilities"): logarithms of gamma functions of large arguments would
  cancel and lose six digits.
- The beta function's argument is the log of the odds x / (1 - x): neither end is rounded away.
- Whichever tail is small is computed, never subtracted from 1: by a power series or a continued
  fraction (Legendre's; DiDonato and Morris 1992, "Algorithm 708", equation 9, whose terms do not
  cancel near x = 1), the latter by Lentz's method.
"""

import math
from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import Final

NORMAL: Final = NormalDist()

_Masses = Callable[[float], tuple[float, float, float]]
"""At a logarithm: the masses below and above, and the density by that logarithm."""


def normal_quantile(probability: float) -> float:
    """The standard normal quantile."""
    return NORMAL.inv_cdf(probability)


def normal_two_sided_p(z: float) -> float:
    """Two-sided p-value of a standard normal z, without loss in the tail."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def t_quantile(probability: float, df: float) -> float:
    """The quantile of Student's t."""
    if probability == 0.5:
        return 0.0
    outside = 2.0 * min(probability, 1.0 - probability)  # twice the nearer tail
    log_odds = _solve(partial(_beta, 0.5, df / 2.0), 1.0 - outside, outside)
    return math.copysign(_exp((log_odds + math.log(df)) / 2.0), probability - 0.5)


def t_two_sided_p(t: float, df: float) -> float:
    """Two-sided p-value of Student's t."""
    if t == 0.0:
        return 1.0
    return _beta(0.5, df / 2.0, 2.0 * math.log(abs(t)) - math.log(df))[1]


def chi2_quantile(probability: float, df: float) -> float:
    """The quantile of the chi-squared distribution."""
    log_half = _solve(lambda at: _gamma(df / 2.0, _exp(at)), probability, 1.0 - probability)
    return 2.0 * _exp(log_half)


def chi2_tail(value: float, df: float) -> float:
    """P(chi-squared ≥ value)."""
    return 1.0 if value <= 0.0 else _gamma(df / 2.0, value / 2.0)[1]


def f_quantile(probability: float, df1: float, df2: float) -> float:
    """The quantile of the F distribution."""
    log_odds = _solve(partial(_beta, df1 / 2.0, df2 / 2.0), probability, 1.0 - probability)
    return _exp(log_odds + math.log(df2 / df1))


def f_tail(value: float, df1: float, df2: float) -> float:
    """P(F ≥ value)."""
    if value <= 0.0:
        return 1.0
    return _beta(df1 / 2.0, df2 / 2.0, math.log(value) + math.log(df1 / df2))[1]


def _gamma(s: float, x: float) -> tuple[float, float, float]:
    if x in {0.0, math.inf}:
        return float(x > 0.0), float(x == 0.0), 0.0
    log_peak = 0.5 * math.log(s / (2.0 * math.pi)) - _stirling_error(s)
    density = math.exp(log_peak + s * _deviance(x / s - 1.0, math.log(x) - math.log(s)))
    if x > s + 1.0:
        above = density / _fraction(x + 1.0 - s, lambda i: (i * (s - i), x + 1.0 - s + 2.0 * i))
        return 1.0 - above, above, density
    term = below = density / s
    while term > 1e-17 * below:
        s += 1.0
        term *= x / s
        below += term
    return below, 1.0 - below, density


def _beta(a: float, b: float, log_odds: float) -> tuple[float, float, float]:
    log_odds = max(-1e6, min(1e6, log_odds))  # finite: infinities would cancel to nan
    x, y = 1.0 / (1.0 + _exp(-log_odds)), 1.0 / (1.0 + _exp(log_odds))
    n = a + b
    if x > (a + 1.0) / (n + 2.0):  # the fraction converges on the other side
        above, below, density = _beta(b, a, -log_odds)
        return below, above, density
    log_x = min(log_odds, 0.0) - math.log1p(_exp(-abs(log_odds)))
    p, q = a / n, b / n
    ahead = p - x if p < q else y - q
    density = math.exp(
        0.5 * math.log(a * q / (2.0 * math.pi))
        + (_stirling_error(n) - _stirling_error(a) - _stirling_error(b))
        + a * _deviance(-ahead / p, log_x - math.log(p))
        + b * _deviance(ahead / q, log_x - log_odds - math.log(q))
    )

    def step(i: float) -> tuple[float, float]:
        inner = i * (b - i) * x / (a + 2.0 * i - 1.0)
        outer = (a + i) * (n * ahead + 1.0 + i * (1.0 + y)) / (a + 2.0 * i + 1.0)
        return (a + i - 1.0) * (n + i - 1.0) * x * inner / (a + 2.0 * i - 1.0), i + inner + outer

    below = density / _fraction(a * (n * ahead + 1.0) / (a + 1.0), step)
    return below, 1.0 - below, density


def _fraction(first: float, step: Callable[[float], tuple[float, float]]) -> float:
    """The continued fraction first + n1 / (d1 + n2 / (d2 + …)) with (n, d) = step(i)."""
    value = upper = first
    lower, i, change = 0.0, 0.0, 0.0
    while abs(change - 1.0) > 1e-15:
        i += 1.0
        numerator, denominator = step(i)
        lower = 1.0 / (denominator + numerator * lower)
        upper = denominator + numerator / upper
        change = upper * lower
        value *= change
    return value


def _deviance(u: float, log_ratio: float) -> float:
    """log(1 + u) - u, given log(1 + u), without cancellation near 0."""
    if abs(u) > 0.3:
        return log_ratio - u
    v = u / (2.0 + u)
    return -u * v + 2.0 * v**3 * sum(v ** (2 * k) / (2 * k + 3) for k in range(12))


def _stirling_error(z: float) -> float:
    """The logarithm of Γ(z) minus Stirling's formula."""
    if z < 15.0:
        return math.lgamma(z) - (z - 0.5) * math.log(z) + z - 0.5 * math.log(2.0 * math.pi)
    w = 1.0 / z**2
    return (1.0 / 12.0 - w * (1.0 / 360.0 - w * (1.0 / 1260.0 - w / 1680.0))) / z


def _solve(masses: _Masses, below: float, above: float) -> float:
    """The logarithm with these masses below and above: Newton's method, kept within a bracket."""
    side, target, sign = (0, below, 1.0) if below <= above else (1, above, -1.0)
    if not target:
        return -sign * math.inf
    low, high, at = -1500.0, 1500.0, 0.0
    for _ in range(200):
        found = masses(at)
        mass, density = found[side], found[2]
        low, high = (at, high) if sign * (target - mass) > 0.0 else (low, at)
        step = math.inf
        if min(mass, density) > 0.0:
            step = sign * math.log(target / mass) * mass / density
        if abs(step) <= 1e-15 * max(1.0, abs(at)):
            break
        at = at + step if low < at + step < high else (low + high) / 2.0
    return at


def _exp(x: float) -> float:
    return math.inf if x > 709.78 else math.exp(x)

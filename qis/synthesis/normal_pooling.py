"""Inverse-variance meta-analysis of estimates and standard errors.

Fixed effect: Birge 1932, Cochran 1937. Random effects: DerSimonian & Laird 1986. Modified
Hartung-Knapp: Knapp & Hartung 2003, with the floor of Röver, Knapp & Friede 2015, since without
it the interval can be narrower than that of the normal approximation. Prediction intervals:
Higgins, Thompson & Spiegelhalter 2009. I² and H² as in metafor: relative to tau2, so that they
depend on its estimator (Higgins & Thompson 2002, who define them from Q, as is done for "FE").
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from qis._gate import checked
from qis.errors import InputError
from qis.picture.html import HasTable
from qis.synthesis._quantiles import chi2_tail, normal_quantile, normal_two_sided_p, t_quantile
from qis.synthesis._sites import Sites, check_choice, check_level, check_sites
from qis.synthesis._weights import Weighted, weighted
from qis.synthesis.heterogeneity import (
    TAU2_METHODS,
    estimate_tau2,
    q_profile,
    restricted_log_likelihood,
    typical_variance,
)

INTERVALS: Final = ("z", "hksj", "hk")
PREDICTIONS: Final = ("z", "hk", "hts")

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled(HasTable):
    """The result of `inverse_variance`.

    Per-site tuples are in the order in which the sites were given. All numbers are on the scale
    of the estimates (logarithms for ratios).

    Parameters
    ----------
    estimate
        Estimate of the common effect ("FE") or of the mean of the effects' distribution (all
        others).
    standard_error
        Standard error of `estimate` as the interval uses it: with the Hartung-Knapp factor where
        that was asked for.
    classical_standard_error
        ``1 / sqrt(sum of weights)``, without that factor.
    interval
        Two-sided interval for `estimate`, at `level`.
    interval_method
        "z", "hksj" or "hk". One site alone has its own normal interval, so then "z".
    tau2, tau2_standard_error, tau2_method
        Variance between sites, its large-sample standard error, and the estimator. Both are 0
        for "FE", and for one site, where it cannot be estimated.
    q, df
        Cochran's Q (at tau2 = 0) and its degrees of freedom, the number of sites less one.
    i2
        Per cent, 0-100: tau2 over tau2 plus the typical within-site variance.
    h2
        tau2 over the typical within-site variance, plus 1.
    hartung_knapp_q
        The factor on the variance before it is floored at 1; 1 for one site.
    weights
        Each site's share of `estimate`; they sum to 1.
    level
        Coverage aimed at, in (0, 1).

    Examples
    --------
    >>> import qis
    >>> pooled = qis.inverse_variance([-0.5, -0.1, -0.3], [0.2, 0.2, 0.1], tau2="FE")
    >>> round(pooled.estimate, 2), round(pooled.q, 2), pooled.df
    (-0.3, 2.0, 2)

    """

    estimate: float
    standard_error: float
    classical_standard_error: float
    interval: Interval
    interval_method: str
    tau2: float
    tau2_standard_error: float
    tau2_method: str
    q: float
    df: int
    i2: float
    h2: float
    hartung_knapp_q: float
    weights: tuple[float, ...]
    level: float
    _sites: Sites = field(repr=False, compare=False)

    @property
    def k(self) -> int:
        """Number of sites."""
        return self.df + 1

    @property
    def tau(self) -> float:
        """Standard deviation between sites."""
        return math.sqrt(self.tau2)

    @property
    def z(self) -> float:
        """`estimate` over `classical_standard_error`."""
        return self.estimate / self.classical_standard_error

    @property
    def pval(self) -> float:
        """Two-sided p-value of no effect, from `z`."""
        return normal_two_sided_p(self.z)

    @property
    def q_pval(self) -> float:
        """p-value of homogeneity from `q`; 1 for one site."""
        return chi2_tail(self.q, self.df) if self.df else 1.0

    @property
    def prediction_interval(self) -> Interval:
        """`predict` by the convention that goes with `interval_method`."""
        return self.predict("z" if self.interval_method == "z" else "hk")

    @checked
    def predict(self, convention: str) -> Interval:
        """Where the true effect of a further site is expected to lie.

        Parameters
        ----------
        convention
            "z": ``estimate ± z sqrt(tau2 + se²)`` with the classical standard error, metafor's
            default. "hk": t with k - 1 degrees of freedom and the Hartung-Knapp standard error
            (floored if `interval_method` is "hksj", or is "z"). "hts": t with k - 2 and the
            classical standard error, as Higgins, Thompson and Spiegelhalter have it. The normal
            one is too short for few sites.

        Raises
        ------
        InputError
            If the convention is unknown, or needs more sites ("hk" two, "hts" three).

        """
        check_choice(convention, "convention", PREDICTIONS)
        error = self.classical_standard_error
        probability = 0.5 + self.level / 2.0
        if convention == "z":
            quantile = normal_quantile(probability)
        else:
            df = self.k - (1 if convention == "hk" else 2)
            if df < 1:
                raise InputError(
                    f'a prediction interval by "{convention}" needs {self.k - df + 1} sites '
                    f"or more; there are {self.k}",
                    field="convention",
                    actual=self.k,
                    limit=self.k - df + 1,
                )
            quantile = t_quantile(probability, df)
        if convention == "hk":
            factor = self.hartung_knapp_q
            error *= math.sqrt(factor if self.interval_method == "hk" else max(1.0, factor))
        half = quantile * math.hypot(self.tau, error)
        return self.estimate - half, self.estimate + half

    def tau2_interval(self) -> Interval:
        """Q-profile interval of tau2 at `level`, whatever the estimator (Viechtbauer 2007).

        (0, 0) where the sites agree more than chance lets them, so that no tau2 is compatible
        with Q.

        Raises
        ------
        InputError
            With one site.

        """
        _need(self.k, 2, "an interval of tau2")
        unit = self._sites.scale**2
        low, high = q_profile(self._sites, self.level)
        return low * unit, high * unit

    def i2_interval(self) -> Interval:
        """Limits of I², per cent, that correspond to `tau2_interval`."""
        typical = typical_variance(weighted(self._sites, 0.0)) * self._sites.scale**2
        low, high = self.tau2_interval()
        return 100.0 * low / (low + typical), 100.0 * high / (high + typical)

    def blups(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Best linear unbiased predictions of the sites' true effects, and standard errors.

        Each is the site's own estimate drawn towards `estimate`. With tau2 = 0 all are equal to
        it. The standard errors take tau2 as known, so they are too small with few sites.
        """
        sites = self._sites
        own = self.tau2 / (self.tau2 + sites.variances * sites.scale**2)
        y, v = sites.estimates * sites.scale, sites.variances * sites.scale**2
        means = y + (1.0 - own) * (self.estimate - y)
        errors = np.sqrt(own * v + ((1.0 - own) * self.classical_standard_error) ** 2)
        return sites.as_given(means), sites.as_given(errors)

    def leave_one_out(self) -> "tuple[Pooled, ...]":
        """The synthesis without each site in turn, tau2 estimated anew.

        Raises
        ------
        InputError
            With one site.

        """
        _need(self.k, 2, "leaving one out")
        y = np.array(self._sites.as_given(self._sites.estimates * self._sites.scale))
        s = np.array(self._sites.as_given(np.sqrt(self._sites.variances) * self._sites.scale))
        return tuple(
            inverse_variance(
                np.delete(y, i),
                np.delete(s, i),
                tau2=self.tau2_method,
                interval=self.interval_method,
                level=self.level,
            )
            for i in range(self.k)
        )

    @property
    def restricted_log_likelihood(self) -> float:
        """Restricted log-likelihood at `tau2` and `estimate`, which REML maximises."""
        unit = self._sites.scale
        value = restricted_log_likelihood(self._sites, self.tau2 / unit**2)
        # A density in k - 1 dimensions, back in the units of the estimates.
        return value - (self.k - 1) * math.log(unit)


def inverse_variance(
    estimates: ArrayLike,
    standard_errors: ArrayLike,
    *,
    tau2: str = "REML",
    interval: str = "z",
    level: float = 0.95,
) -> Pooled:
    """Pool estimates, each with the weight ``1 / (standard_error² + tau2)``.

    Parameters
    ----------
    estimates, standard_errors
        Shape (k,), one of each a site; logarithms for ratio measures. Their order changes no bit
        of the result.
    tau2
        "FE" (tau2 = 0: one common effect), or the estimator of the variance between sites:
        "REML", "DL", "PM", "ML", "EB", "HE", "HS", "SJ".
    interval
        "z": normal. "hksj": Hartung-Knapp with the t distribution, modified: its factor is not
        let below 1, so the interval is never narrower than "z". "hk": without that floor. The
        latter two make no sense with "FE", where they are refused.
    level
        Coverage of the intervals, in (0, 1).

    Returns
    -------
    Pooled
        With one site exactly that site's estimate, standard error and normal interval.

    Raises
    ------
    InputError
        If a number is not finite, a standard error not positive, or an option unknown.

    Examples
    --------
    >>> import qis
    >>> pooled = qis.inverse_variance([-0.5, -0.1, -0.3], [0.2, 0.2, 0.1], tau2="REML")
    >>> round(pooled.estimate, 2), round(pooled.interval[0], 2), round(pooled.interval[1], 2)
    (-0.3, -0.46, -0.14)

    """
    check_choice(tau2, "tau2", TAU2_METHODS)
    check_choice(interval, "interval", INTERVALS)
    level = check_level(level)
    if tau2 == "FE" and interval != "z":
        raise InputError(
            f'interval="{interval}" belongs to a random-effects model; with tau2="FE" use "z"',
            field="interval",
            actual=interval,
        )
    sites = check_sites(estimates, standard_errors)
    between, between_error = estimate_tau2(sites, tau2)
    at = weighted(sites, between)
    k, unit = sites.k, sites.scale
    if k == 1:
        interval = "z"
    # One site gives back its own standard error exactly, which 1 / (1 / v) need not.
    classical = math.sqrt(1.0 / at.sum1) if k > 1 else math.sqrt(float(sites.variances[0]))
    factor = at.q / (k - 1) if k > 1 else 1.0
    error = classical * _widening(factor, interval)
    probability = 0.5 + level / 2.0
    quantile = normal_quantile(probability) if interval == "z" else t_quantile(probability, k - 1)
    null = weighted(sites, 0.0)
    q = null.q
    i2, h2 = _relative_heterogeneity(null, tau2, between, q)
    return Pooled(
        estimate=at.mean * unit,
        standard_error=error * unit,
        classical_standard_error=classical * unit,
        interval=((at.mean - quantile * error) * unit, (at.mean + quantile * error) * unit),
        interval_method=interval,
        tau2=between * unit**2,
        tau2_standard_error=between_error * unit**2,
        tau2_method=tau2,
        q=q,
        df=k - 1,
        i2=i2,
        h2=h2,
        hartung_knapp_q=factor,
        weights=sites.as_given(at.weights / at.sum1),
        level=float(level),
        _sites=sites,
    )


def _widening(factor: float, interval: str) -> float:
    """By how much the interval's method multiplies the classical standard error."""
    if interval == "z":
        return 1.0
    return math.sqrt(factor if interval == "hk" else max(1.0, factor))


def _relative_heterogeneity(
    null: Weighted, method: str, tau2: float, q: float
) -> tuple[float, float]:
    """I² in per cent and H²."""
    df = len(null.weights) - 1
    if df == 0:
        return 0.0, 1.0
    if method == "FE":
        return (100.0 * (q - df) / q if q > df else 0.0), q / df
    typical = typical_variance(null)
    return 100.0 * tau2 / (tau2 + typical), tau2 / typical + 1.0


def _need(actual: int, limit: int, what: str) -> None:
    if actual < limit:
        raise InputError(
            f"{what} needs {limit} sites or more; there is {actual}",
            field="estimates",
            actual=actual,
            limit=limit,
        )

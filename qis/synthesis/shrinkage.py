"""Shrinkage: the best estimate of one site's own effect, given what the others found.

Neither its own estimate alone, which is noisy where it is small, nor the pooled one, which is
wrong for it where it differs: each site's estimate is drawn towards the mean of all as far as its
own error outweighs the variance between sites (Robbins 1956; Efron & Morris 1975; Morris 1983).

With few sites the variance between them is hardly known, and its usual estimate is often zero:
then a site would be told the pooled value with a precision that it has not. By default tau is
therefore averaged over its posterior under a half-normal prior, so that the interval tells how
little is known; with "REML" or another estimator the variance is plugged in, as is classical.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from qis._gate import checked
from qis.errors import IncompatibleEvidenceError, InputError, NoEstimateError
from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments, measure_named
from qis.picture.html import HasTable
from qis.synthesis._quantiles import normal_quantile
from qis.synthesis._sites import check_choice, check_level, check_sites
from qis.synthesis.bayesian import bayes
from qis.synthesis.common_effect import common_effect
from qis.synthesis.currency import Poolable
from qis.synthesis.heterogeneity import TAU2_METHODS
from qis.synthesis.kept import KeptSites
from qis.synthesis.normal_pooling import inverse_variance
from qis.synthesis.random_effects import own_given_all
from qis.synthesis.together import Together

Site = Poolable | tuple[float, float]

SHRINK_METHODS: Final = ("bayes", *(name for name in TAU2_METHODS if name != "FE"))

_DEFAULT_TAU_SCALE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunken(HasTable):
    """The result of `shrink`, on the scale of the estimates.

    Parameters
    ----------
    estimate, standard_error, interval
        The site's own true effect, its standard error, and the normal interval about it.
    own_estimate, own_standard_error
        What the site found by itself; `None` where that is not finite.
    centre
        The mean of all sites, which `estimate` is drawn towards.
    own_weight
        How much of `estimate` is the site's own: 1 is all of it, 0 is `centre`; `None` if it has
        no finite estimate of its own.
    tau
        Standard deviation between sites: estimated, or its posterior median.
    method
        "bayes" or the estimator of tau².
    level
        Coverage aimed at.

    Examples
    --------
    >>> import qis
    >>> own, *others = [
    ...     qis.Effect(question="q", measure="OR", estimate=y, standard_error=s)
    ...     for y, s in ((0.9, 0.6), (0.1, 0.2), (0.2, 0.2), (0.0, 0.3))
    ... ]
    >>> 0.0 < qis.shrink(own, others).estimate < 0.9
    True

    """

    estimate: float
    standard_error: float
    interval: tuple[float, float]
    own_estimate: float | None
    own_standard_error: float | None
    centre: float
    own_weight: float | None
    tau: float
    method: str
    level: float


@checked
def shrink(
    own: Site,
    others: Iterable[Site],
    *,
    method: str = "bayes",
    tau_scale: float | None = None,
    level: float = 0.95,
) -> Shrunken:
    """Estimate one site's own effect with the help of the others.

    Parameters
    ----------
    own
        The site's outcome, or a pair (estimate, standard error). Of counts, profiles and moments
        the whole likelihood is used, so that a site without an event may ask too.
    others
        The other sites' outcomes, of one study and measure, of any kinds; or pairs, if `own` is
        one.
    method
        "bayes", or an estimator of tau² as in `inverse_variance`, whose standard error takes
        tau² as known and is too small with few sites.
    tau_scale
        Scale of the half-normal prior on tau for "bayes", in the measure's units. Default 0.5 for
        pairs and for effects whose measure has no units; else it must be given.
    level
        Coverage of the interval.

    Returns
    -------
    Shrunken
        Without others exactly the site's own estimate and standard error.

    Raises
    ------
    InputError
        If a number or option is out of range, or `tau_scale` is missing.
    IncompatibleEvidenceError
        If effects differ in study or measure, or effects and pairs are mixed.

    Examples
    --------
    >>> import qis
    >>> own, *others = [
    ...     qis.Effect(question="q", measure="OR", estimate=y, standard_error=s)
    ...     for y, s in ((0.9, 0.6), (0.1, 0.2), (0.2, 0.2), (0.0, 0.3))
    ... ]
    >>> 0.0 < qis.shrink(own, others).estimate < 0.9
    True

    """
    check_choice(method, "method", SHRINK_METHODS)
    level = check_level(level)
    sites = [own, *others]
    scale = _tau_scale(sites, tau_scale)
    if any(isinstance(site, LikelihoodProfile | Counts | Moments) for site in sites):
        return _of_likelihoods(sites, method, scale, level)
    pairs = [_pair(site) for site in sites]
    estimates, errors = [y for y, _ in pairs], [s for _, s in pairs]
    check_sites(estimates, errors)  # for its errors: with one site nothing else would check
    if len(sites) == 1:
        estimate, error, centre, tau = estimates[0], errors[0], estimates[0], 0.0
    elif method == "bayes":
        posterior = bayes(estimates, errors, tau_scale=scale, level=level)
        estimate, error = posterior.shrinkage_means[0], posterior.shrinkage_sds[0]
        centre, tau = posterior.mean, posterior.tau.median
    else:
        pooled = inverse_variance(estimates, errors, tau2=method, level=level)
        means, sds = pooled.blups()
        estimate, error, centre, tau = means[0], sds[0], pooled.estimate, pooled.tau
    half = normal_quantile(0.5 + level / 2.0) * error
    distance = estimates[0] - centre
    return Shrunken(
        estimate=estimate,
        standard_error=error,
        interval=(estimate - half, estimate + half),
        own_estimate=estimates[0],
        own_standard_error=errors[0],
        centre=centre,
        own_weight=(estimate - centre) / distance if distance else 1.0,
        tau=tau,
        method=method,
        level=float(level),
    )


def _of_likelihoods(sites: list[Any], method: str, tau_scale: float, level: float) -> Shrunken:
    """As `shrink`, of outcomes some of which have more than an estimate and its error."""
    if method != "bayes":
        raise InputError(
            f"{method} takes estimates with standard errors; counts, profiles and moments go with "
            "method='bayes'",
            field="method",
            actual=method,
            limit="bayes",
        )
    kept = KeptSites()
    said = [kept.of([site]) for site in sites]
    own = common_effect([sites[0]] if said[0] else [], level)
    others = [each for each in said[1:] if each is not None]
    all_said = [each for each in said if each is not None]
    if not others:
        raise InputError(
            "no other site says anything of the effect, so there is nothing to draw towards",
            field="others",
            actual=0,
            limit=1,
        )
    limits = Together(all_said).facts().sums
    if max(limits) > -math.inf:
        raise NoEstimateError(
            "all sites together favour ever larger or ever smaller values, so there is no mean to "
            "draw the site towards",
            field="others",
        )
    estimate, error, found = own_given_all(said[0], others, tau_scale=tau_scale, level=level)
    half = normal_quantile(0.5 + level / 2.0) * error
    weight = None
    if own.estimate is not None:
        distance = own.estimate - found.mean
        weight = (estimate - found.mean) / distance if distance else 1.0
    return Shrunken(
        estimate=estimate,
        standard_error=error,
        interval=(estimate - half, estimate + half),
        own_estimate=own.estimate,
        own_standard_error=own.standard_error,
        centre=found.mean,
        own_weight=weight,
        tau=found.tau,
        method=method,
        level=level,
    )


def _pair(site: Site) -> tuple[float, float]:
    if isinstance(site, Effect):
        return site.estimate, site.standard_error
    pair: Any = site
    try:
        estimate, error = pair
        return float(estimate), float(error)
    except (TypeError, ValueError) as cause:
        raise InputError(
            "a site must be an outcome (Effect, LikelihoodProfile, Counts, Moments) or a pair "
            "(estimate, standard error)",
            field="others",
        ) from cause


def _tau_scale(sites: list[Site], given: float | None) -> float:
    """The prior's scale, once it is sure that the sites may be compared."""
    effects = [site for site in sites if isinstance(site, Poolable)]
    if not effects:
        return _DEFAULT_TAU_SCALE if given is None else given
    if len(effects) < len(sites):
        raise IncompatibleEvidenceError(
            "some sites (own, others) are outcomes and some are pairs, which say nothing of their "
            "measure; give all of them as outcomes",
            field="others",
        )
    first = effects[0]
    for effect in effects[1:]:
        if (effect.study_id, effect.measure) != (first.study_id, first.measure):
            raise IncompatibleEvidenceError(
                f"{effect.measure} of {effect.question!r} cannot be combined with "
                f"{first.measure} of {first.question!r}",
                field="others",
                actual=(effect.study_id, effect.measure),
                limit=(first.study_id, first.measure),
            )
    default = measure_named(first.measure).default_tau_scale
    if given is None and default is None:
        raise InputError(
            f"{first.measure} has units, so say how far sites may differ: give tau_scale",
            field="tau_scale",
        )
    return given if given is not None else default or _DEFAULT_TAU_SCALE

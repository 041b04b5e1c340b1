"""Sites that differ by far more than their errors: which tau is too small to matter.

Log-marginals are computed at points as close as the most precise site's standard error demands.
That is needed where tau may be as small as that error. Where two large sites contradict each other
nothing of the posterior is left there, and wider panels say the same in a fraction of the time: 11
seconds for two tables of 1.6 million people were one.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.synthesis.common_effect import own_effect
from qis.synthesis.together import Together

Floats = NDArray[np.float64]

_PRECISE: Final = 1.0 / 16.0
"""Sites are asked whose standard error is smaller than this part of the prior's scale."""
_LEVEL: Final = 0.95
"""Of the intervals with which a site's answer is kept; only its estimate and error are used."""
_OCTAVES: Final = np.arange(-24.0, 3.0)
_NEGLIGIBLE: Final = 400.0
"""A log posterior this far under its largest value is nothing, even if likelihoods fall ten times
less than normal ones."""
_WORTH_IT: Final = 4.0
"""A tau that is at least so many times the smallest standard error. Sites then lie hundreds of
errors apart, where straight tails of sampled curves fall as far as that too."""


def smallest_scale(together: Together, tau_scale: float, unit: float) -> float:
    """The standard error, or the tau, below which no log-marginal that matters changes in mu.

    Normal likelihoods stand for the sites, which is close enough by far. Likelihoods of means have
    heavy tails, and are not asked.
    """
    facts = together.facts(unit)
    finest = float(facts.finest.min())
    precise = np.flatnonzero(facts.finest < _PRECISE * tau_scale)
    if "mean" in facts.kinds or len(precise) < 2:
        return finest
    answers = {k: own_effect(together.said[k], _LEVEL) for k in precise.tolist()}
    told = {
        k: (answer.estimate, answer.standard_error)
        for k, answer in answers.items()
        if answer.estimate is not None and answer.standard_error is not None
    }
    if len(told) < 2:
        return finest
    centres, errors = np.array(list(told.values())).T / unit
    taus = tau_scale * 2.0**_OCTAVES
    heights = _log_posteriors(centres, errors, taus, tau_scale)
    best = int(heights.argmax())
    # What the others may say for a tau of 0 at most, against the best one.
    others = np.delete(facts.finest, list(told))
    in_favour = float(0.5 * np.log1p((taus[best] / others) ** 2).sum())
    matters = heights > heights[best] - _NEGLIGIBLE - in_favour
    first = int(matters.argmax())
    if first == 0 or taus[first - 1] < _WORTH_IT * finest:
        return finest
    return float(taus[first - 1])


def _log_posteriors(centres: Floats, errors: Floats, taus: Floats, tau_scale: float) -> Floats:
    """Log posterior of each tau at the mean that suits it best, less a constant."""
    variances = errors**2 + (taus * taus)[:, np.newaxis]
    weights = 1.0 / variances
    means = (weights @ centres) / weights.sum(axis=1)
    apart = centres - means[:, np.newaxis]
    heights: Floats = -0.5 * (apart * apart * weights + np.log(variances)).sum(axis=1)
    return heights - 0.5 * (taus / tau_scale) ** 2

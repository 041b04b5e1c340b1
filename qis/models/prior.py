"""Priors that a study declares for effects: the way out where the data are separated."""

import numpy as np
from numpy.typing import NDArray

from qis.outcomes import Study
from qis.outcomes._model_study import INTERCEPT

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_MOST_STEPS = 100


def scales_of(study: Study) -> Floats:
    """How much of its feature a coefficient stands for: the declared scale, else one unit."""
    declared = dict(zip(study.features, study.feature_scales, strict=False))
    return np.array([declared.get(name, 1.0) for name in study.coefficients])


def penalised(study: Study) -> Flags:
    """True for each coefficient that has a prior: all but the intercept."""
    return np.array([name != INTERCEPT for name in study.coefficients])


def with_prior(information: Floats, natural: Floats, study: Study) -> tuple[Floats, Floats]:
    """The natural parameters of the summed likelihood and the study's prior together.

    A normal prior is quadratic itself. A log-F(m, m) prior is the likelihood of m pseudo-people for
    each coefficient, of whom half have the event; it is expanded where the posterior is largest.
    """
    if not study.prior or study.prior_scale is None:
        return information, natural
    scales, given = scales_of(study), penalised(study)
    if study.prior == "normal":
        precision = np.where(given, 1.0 / (study.prior_scale / scales) ** 2, 0.0)
        return information + np.diag(precision), natural
    at = np.zeros(len(scales))
    for _ in range(_MOST_STEPS):
        pull, weight = _log_f(at, study.prior_scale, scales, given)
        total = information + np.diag(weight)
        # Where nothing is known of the intercept alone there is no step in its direction.
        step = np.linalg.lstsq(total, natural - information @ at + pull, rcond=1e-12)[0]
        largest = float(np.abs(step * scales).max())
        at = at + step * min(1.0, 2.0 / max(largest, 1e-300))
        if largest < 1e-9:
            break
    pull, weight = _log_f(at, study.prior_scale, scales, given)
    return information + np.diag(weight), natural + pull + weight * at


def _log_f(at: Floats, m: float, scales: Floats, given: Flags) -> tuple[Floats, Floats]:
    """Score and information of m pseudo-people for each coefficient, half with the event."""
    half = np.tanh(0.5 * at * scales)
    pull = np.where(given, -0.5 * m * half * scales, 0.0)
    weight = np.where(given, 0.25 * m * (1.0 - half**2) * scales**2, 0.0)
    return pull, weight

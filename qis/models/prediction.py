"""Predictions of a fitted model, from features in their own units."""

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.outcomes import Study
from qis.outcomes._model_study import INTERCEPT

Floats = NDArray[np.float64]


def design_of(study: Study, features: Floats) -> Floats:
    """The columns of a study's coefficients, from its features in order: shape (n, p).

    Predictions are of features that are standardised as the study declares; an intercept is a
    column of ones.

    Raises
    ------
    InputError
        If the number of columns is not that of the study's features.

    """
    names = study.features
    if features.ndim != 2 or features.shape[1] != len(names):
        raise InputError(
            f"features have shape {features.shape}; the study has {len(names)} features "
            f"({', '.join(names)}), a column each, without an intercept",
            field="features",
            actual=features.shape,
            limit=len(names),
        )
    if study.purpose == "prediction":
        features = (features - np.array(study.feature_means)) / np.array(study.feature_scales)
    if INTERCEPT not in study.coefficients:
        return features
    columns = dict(zip(names, features.T, strict=True))
    ones = np.ones(len(features))
    return np.column_stack([columns.get(name, ones) for name in study.coefficients])


def has_own_intercept(study: Study) -> bool:
    """True if each site has an intercept of its own, which does not travel."""
    return INTERCEPT not in study.coefficients and study.family != "cox"


def is_recalibrated(study: Study) -> bool:
    """True if a site that knows its own rows predicts with an intercept that is fitted to them."""
    is_common = INTERCEPT in study.coefficients and study.purpose == "effect"
    return study.family != "cox" and not is_common


def without_intercept(study: Study, point: Floats) -> Floats:
    """The coefficients, with 0 instead of the intercept that all have in common."""
    names = study.coefficients
    return np.where([name == INTERCEPT for name in names], 0.0, point)


def predicted(study: Study, point: Floats, features: Floats, intercept: float | None) -> Floats:
    """What the family expects of people with these features."""
    if has_own_intercept(study) and intercept is None:
        raise InputError(
            "each site of this model has its own intercept, and none is known here: give "
            "intercept=, or take the model from a loop that has rows of its own",
            field="intercept",
        )
    eta = design_of(study, features) @ point
    if is_recalibrated(study) and intercept is not None:
        eta = design_of(study, features) @ without_intercept(study, point) + intercept
    with np.errstate(over="ignore"):
        if study.family == "logistic":
            return np.asarray(0.5 * (1.0 + np.tanh(0.5 * eta)))
        return np.asarray(eta if study.family == "linear" else np.exp(eta))

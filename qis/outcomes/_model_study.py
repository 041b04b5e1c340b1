"""What a study of a model has to declare, and what makes no sense together."""

from typing import TYPE_CHECKING, Final, NoReturn

from qis.errors import InputError

if TYPE_CHECKING:
    from qis.outcomes.study import Study

INTERCEPT: Final = "intercept"
"""Name of the column of ones that all sites have in common."""
MOST_ANSWERS: Final = 6
"""Answers about the same people, if a model study does not declare another number."""
MOST_ANSWERS_EVER: Final = 64
_MOST_COEFFICIENTS: Final = 14
_OF_MODELS: Final = (
    "family",
    "coefficients",
    "purpose",
    "answers",
    "feature_means",
    "feature_scales",
    "prior",
    "prior_scale",
    "residual_variance",
)


def check_model_study(study: "Study") -> None:
    """Raise `InputError` unless the fields for models fit together."""
    if not study.kind:
        for field in _OF_MODELS:
            if getattr(study, field) not in (None, "", ()):
                _refuse(field, f"{field} is for models: declare kind='model' too")
        return
    _check_required(study)
    _check_features(study)
    _check_prior(study)


def _check_required(study: "Study") -> None:
    if not study.family:
        _refuse("family", "a model has a family: 'logistic', 'poisson', 'linear' or 'cox'")
    if not 1 <= len(study.coefficients) <= _MOST_COEFFICIENTS:
        _refuse(
            "coefficients",
            f"{len(study.coefficients)} coefficients: name from 1 to {_MOST_COEFFICIENTS}, which "
            "a packet carries",
        )
    if len(set(study.coefficients)) < len(study.coefficients) or "" in study.coefficients:
        _refuse("coefficients", "each coefficient has a name of its own")
    if not study.purpose:
        _refuse(
            "purpose",
            "say purpose='effect' (unpenalised coefficients) or purpose='prediction' (own "
            "intercepts and a ridge): it decides the analysis and has no default",
        )
    if (study.residual_variance is None) == (study.family == "linear"):
        _refuse("residual_variance", "linear models declare a residual variance, others have none")
    if study.measure is not None:
        _refuse("measure", "a model has coefficients and no measure")


def _check_features(study: "Study") -> None:
    if INTERCEPT in study.coefficients:
        if study.family == "cox":
            _refuse("coefficients", "Cox's model has no intercept: its baseline hazard is free")
        if study.coefficients == (INTERCEPT,):
            _refuse("coefficients", "an intercept alone is no model: use Counts or Moments")
    for field in ("feature_means", "feature_scales"):
        given = len(getattr(study, field))
        if study.purpose == "prediction" and not given:
            _refuse(field, f"predictions are made of standardised features: declare {field}")
        if given and given != len(study.features):
            _refuse(field, f"{field} has {given} numbers for {len(study.features)} features")


def _check_prior(study: "Study") -> None:
    if bool(study.prior) != (study.prior_scale is not None):
        _refuse("prior_scale", "declare a prior with its prior_scale, or neither")
    if study.prior and study.purpose == "prediction":
        _refuse("prior", "predictions have a ridge already, whose strength the data choose")
    if study.prior == "log-F" and study.family in ("linear", "poisson"):
        _refuse("prior", "a log-F prior is for logistic and Cox models; use 'normal'")


def _refuse(field: str, why: str) -> NoReturn:
    raise InputError(why, field=field)

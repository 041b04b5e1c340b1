"""Estimate and standard error of one coefficient of a model that another library has fitted.

A coefficient is an effect measure only for some models: the logarithm of a hazard ratio in a Cox
model, of an odds ratio in a logistic one. What has no standard errors, or was fitted under a
penalty that pulls coefficients towards zero, is refused: pooled, such numbers are wrong and look
precise.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, NoReturn

from qis._given import shown
from qis.errors import InputError


class Fitted(NamedTuple):
    """One coefficient.

    Parameters
    ----------
    estimate, standard_error
        On the scale of the model's linear predictor.
    measures
        Names of the measures that it may be; any if empty.
    n
        Number of people, if the result knows it.
    source
        In words where it comes from.

    """

    estimate: float
    standard_error: float
    measures: tuple[str, ...]
    n: int | None
    source: str


_LINEAR: Final = ("OLS", "WLS", "GLS", "MixedLM")
_COUNTED: Final = ("Poisson", "NegativeBinomial", "NegativeBinomialP", "GeneralizedPoisson")
_BY_MODEL: Final[dict[str, tuple[str, ...]]] = {
    "Logit": ("OR",),
    "ConditionalLogit": ("OR",),
    "PHReg": ("HR",),
    "ConditionalPoisson": ("IRR",),
    **dict.fromkeys(_COUNTED, ("IRR", "RR")),
    **dict.fromkeys(_LINEAR, ("MD", "RD", "ROM", "IRD")),
}
"""Measures by class of statsmodels' model; a Poisson model of a yes/no outcome gives a RR."""
_BY_FAMILY: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("Binomial", "Logit"): ("OR",),
    ("Binomial", "Log"): ("RR",),
    ("Binomial", "Identity"): ("RD",),
    ("Poisson", "Log"): ("IRR", "RR"),
    ("NegativeBinomial", "Log"): ("IRR", "RR"),
    ("Gaussian", "Identity"): ("MD", "RD", "ROM", "IRD"),
    ("Gaussian", "Log"): ("ROM",),
    ("Gamma", "Log"): ("ROM",),
}
"""Measures by family and link of statsmodels' GLM and GEE."""
_PEOPLE: Final = ("Logit", "OLS", "WLS", "GLS")
"""Models whose rows are people; those of counts or clusters may be groups or visits."""
_ONE: Final = "Build it from the numbers: Effect(measure=…, estimate=…, standard_error=…)"


def read_fitted(result: Any, term: str) -> Fitted:
    """Read a coefficient from a result of lifelines or statsmodels.

    Raises
    ------
    InputError
        If it is no such result, has no standard errors, was penalised or did not converge, or has
        no such term.

    """
    if not isinstance(term, str):
        _refuse("term", f"{shown(term)} is no name of a term")
    libraries = {cls.__module__.partition(".")[0] for cls in type(result).__mro__}
    if isinstance(result, type):
        _refuse("result", f"{shown(result)}; give a fitted result of it")
    if "sklearn" in libraries:
        _refuse(
            "result",
            f"scikit-learn's {type(result).__name__} has no standard errors, and is penalised "
            "unless told otherwise: build a QuadraticLikelihood.from_logistic from the features "
            "and labels, or fit the model with statsmodels",
        )
    if "lifelines" in libraries:
        return _of_lifelines(result, term)
    if "statsmodels" not in libraries:
        _refuse("result", f"{shown(result)} is no fitted model of lifelines or statsmodels. {_ONE}")
    return _of_statsmodels(result, term)


def _of_lifelines(result: Any, term: str) -> Fitted:
    names = {cls.__name__ for cls in type(result).__mro__}
    name = type(result).__name__
    if not names & {"CoxPHFitter", "CoxTimeVaryingFitter"}:
        _refuse(
            "result",
            f"the coefficients of lifelines' {name} are no logarithms of hazard ratios, and there "
            "is no measure for them; fit a CoxPHFitter, or send the likelihood with "
            "LikelihoodProfile.from_survival",
        )
    if _is_positive(getattr(result, "penalizer", 0.0)):
        _refuse("result", f"{name} was fitted with a penalizer, {_PULLED}penalizer=0")
    coefficients = getattr(result, "params_", None)
    if coefficients is None:
        _refuse("result", f"this {name} is not fitted: call its fit first")
    # Cox models with a parametric baseline name each coefficient by its parameter too.
    labels = [label[-1] if isinstance(label, tuple) else label for label in coefficients.index]
    kept = [not isinstance(label, tuple) or label[0] == "beta_" for label in coefficients.index]
    at = _position([lb if keep else None for lb, keep in zip(labels, kept, strict=True)], term)
    weights = getattr(result, "weights", None)
    number = None
    if "CoxTimeVaryingFitter" not in names and weights is not None and bool((weights == 1).all()):
        number = len(weights)
    robust = getattr(result, "robust", False) or getattr(result, "cluster_col", None) is not None
    return Fitted(
        float(coefficients.iloc[at]),
        float(result.standard_errors_.iloc[at]),
        ("HR",),
        number,
        f"lifelines {name}, term {term!r}{', robust standard errors' if robust else ''}",
    )


_PULLED: Final = "which pulls coefficients towards zero and makes their standard errors wrong: use "


def _of_statsmodels(result: Any, term: str) -> Fitted:
    kind = type(result).__name__
    if "Regularized" in kind or kind.startswith("L1") or not hasattr(result, "bse"):
        _refuse(
            "result",
            f"statsmodels' {kind} has no standard errors, or is penalised, {_PULLED}fit() instead "
            "of fit_regularized()",
        )
    model: Any = result.model
    name = type(model).__name__
    if name in ("GLM", "GEE"):
        family = model.family
        described = type(family).__name__, type(family.link).__name__
        measures = _BY_FAMILY.get(described, ())
        name = f"{name} ({described[0]}, {described[1]} link)"
    else:
        measures = _BY_MODEL.get(name, ())
    if not measures:
        _refuse("result", f"no measure fits the coefficients of statsmodels' {name}. {_ONE}")
    returned = getattr(result, "mle_retvals", None)
    converged = returned.get("converged") if isinstance(returned, dict) else None
    if converged is False or getattr(result, "converged", None) is False:
        _refuse("result", f"the fit of this {name} did not converge, so it is no estimate")
    labels = list(getattr(result.params, "index", model.exog_names))
    at = _position(labels, term)
    errors = getattr(result, "cov_type", "nonrobust")
    robust = "" if errors == "nonrobust" else f", standard errors {errors}"
    return Fitted(
        _at(result.params, at),
        _at(result.bse, at),
        measures,
        _people(result, model, name),
        f"statsmodels {name}, term {term!r}{robust}",
    )


def _people(result: Any, model: Any, name: str) -> int | None:
    """Number of people that the rows are, where that is sure."""
    if name == "PHReg":
        return len(model.endog)
    if name in _PEOPLE:
        return int(result.nobs)
    if name.startswith("GLM (Binomial"):
        trials = getattr(model, "n_trials", 1)
        if getattr(model, "_has_var_weights", False) or _is_positive(trials - 1):
            return None
        return round(float(sum(model.freq_weights)))
    return None


def _position(labels: Sequence[Any], term: str) -> int:
    found = [at for at, label in enumerate(labels) if label == term]
    if len(found) != 1:
        known = ", ".join(str(label) for label in labels if label is not None)
        how = "is in it twice" if found else "is not in it"
        _refuse("term", f"{term!r:.60} {how}; the fitted terms are {known:.300}")
    return found[0]


def _at(values: Any, at: int) -> float:
    return float(values.iloc[at] if hasattr(values, "iloc") else values[at])


def _is_positive(penalty: Any) -> bool:
    above = penalty > 0
    return bool(above.any() if hasattr(above, "any") else above)


def _refuse(field: str, message: str) -> NoReturn:
    raise InputError(f"{field}: {message}", field=field)

"""A fitted model in words, and site by site."""

from collections.abc import Iterator
from textwrap import fill
from typing import TYPE_CHECKING, Final

from qis.outcomes._model_study import INTERCEPT

if TYPE_CHECKING:
    from qis.models.fitted import FittedModel, ModelSite

_WIDTH: Final = 100
_FAMILIES: Final = {
    "logistic": ("Logistic regression", "log odds ratio"),
    "poisson": ("Poisson regression", "log rate ratio"),
    "linear": ("Linear regression", "difference"),
    "cox": ("Cox regression", "log hazard ratio"),
}


def summarised(model: "FittedModel") -> str:
    """What the model is of, how far it is, and each coefficient, as lines of text."""
    return "\n".join(fill(line, _WIDTH, subsequent_indent="  ") for line in _lines(model))


def _lines(model: "FittedModel") -> Iterator[str]:
    study = model.study
    family, scale = _FAMILIES[study.family]
    people = f"{len(model.sites)} sites, {model.n} people"
    if model.events is not None:
        people += f", {model.events} events"
    yield study.question
    yield f"{family} for {'effects' if study.purpose == 'effect' else 'prediction'}: {people}."
    yield model.state
    if study.purpose == "prediction" and model.precision is not None:
        own = (
            "the intercept is not shrunk, and a site predicts with its own"
            if INTERCEPT in model.names
            else "each site has its own intercept"
        )
        yield (
            f"Coefficients ({scale}) for one declared standard deviation of each feature, shrunk "
            f"by a ridge of precision {model.precision:.3g}, which the data of all sites chose; "
            f"{own}. Their intervals are not confidence intervals, since the estimates are biased "
            "towards zero."
        )
    elif study.prior:
        yield (
            f"Coefficients ({scale}) under a {study.prior} prior of {study.prior_scale:g} that "
            "the study declares; their intervals are those of a posterior."
        )
    else:
        yield f"Coefficients ({scale}), {model.level:.0%} confidence intervals:"
    yield from _coefficients(model)
    if model.untested and model.is_estimable and not model.is_penalised:
        yield (
            "Whether the data are separated in a part was not tested for "
            f"{', '.join(model.untested)}: declare feature_scales in the study."
        )
    if model.own is not None:
        yield str(model.own)
    if model.left_out:
        yield f"{len(model.left_out)} packets do not count: explain() says which and why."
    if model.silent:
        yield f"Nothing came from {', '.join(model.silent)}."


def _coefficients(model: "FittedModel") -> Iterator[str]:
    point, errors, limits = model.coefficients, model.standard_errors, model.intervals
    if point is None or errors is None or limits is None:
        return
    width = max(map(len, model.names))
    for index, name in enumerate(model.names):
        line = f"  {name:{width}}  {point[index]:.4g} (SE {errors[index]:.3g}) "
        line += f"[{limits[index, 0]:.4g}, {limits[index, 1]:.4g}]"
        q = model.heterogeneity[index] if model.heterogeneity else None
        if q is not None and q.p is not None and name != INTERCEPT:
            line += f", sites differ: Q {q.q:.3g} on {q.df}, p {q.p:.2g}"
        yield line


def explained(model: "FittedModel") -> str:
    """What each site has in a model, and what does not count and why."""
    lines = [f"{model.study.question}: {model.state}"]
    lines += [f"  {_site(model, site)}" for site in model.sites]
    for left in model.left_out:
        name = left.site or "an unknown site"
        lines.append(f"  left out, {name}, packet {left.packet.id.hex()[:16]}: {left.sentence}")
    lines += [f"  {name}: nothing came" for name in model.silent]
    return "\n".join(lines)


def _site(model: "FittedModel", site: "ModelSite") -> str:
    line = f"{site.name}: {site.n} people"
    if site.events is not None and model.study.family != "linear":
        line += f", {site.events} events"
    if model.point is None:
        return line
    line += f"; its anchor is {site.distance:.2g} of its own SE from the pooled coefficients"
    if site.without is None:
        return f"{line}; without it they are not determined"
    return f"{line}; without it the worst of them moves by {site.without:.2g} SE"

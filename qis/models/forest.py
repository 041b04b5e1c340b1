"""One coefficient of a model site by site, as a forest plot: drawn as that of a synthesis is."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from qis.errors import InputError
from qis.outcomes._model_study import INTERCEPT
from qis.synthesis._quantiles import normal_quantile
from qis.synthesis.forest import Forest, ForestGroup, ForestRow, ForestSummary
from qis.synthesis.forest_columns import text
from qis.synthesis.scale import Scale, thousands

if TYPE_CHECKING:
    from qis.models.fitted import FittedModel, ModelSite

_MEASURES: Final = {"logistic": "OR", "poisson": "IRR", "linear": "MD", "cox": "HR"}
_OF_INTERCEPTS: Final = {"logistic": "PLO", "poisson": "IRLN", "linear": "MN"}
"""An intercept is what is expected of somebody whose features are all zero."""


def forest_of(model: "FittedModel", name: str, *, title: str | None, unit: str) -> Forest:
    """What the forest plot of a coefficient shows; it raises what `FittedModel.forest` does."""
    own, table = model.forest(name), model.to_dict()
    index = model.names.index(name)
    measures = _OF_INTERCEPTS if name == INTERCEPT else _MEASURES
    scale = Scale(measure=measures[model.study.family], level=model.level, unit=text(unit, "unit"))
    if unit and model.study.family != "linear":
        raise InputError("only linear models have a unit", field="unit", actual=unit)
    # With the others in common, the sites' own average to the common one by these weights.
    weights = [each.standard_error**-2 if each.standard_error else 0.0 for each in own]
    reach = normal_quantile(0.5 + 0.5 * model.level)
    rows = []
    for each, site, weight in zip(own, model.sites, weights, strict=True):
        interval = None
        if each.estimate is not None and each.standard_error is not None:
            half = reach * each.standard_error
            interval = each.estimate - half, each.estimate + half
        rows.append(
            ForestRow(
                label=each.site,
                estimate=each.estimate,
                interval=interval,
                weight=weight / sum(weights),
                cells=(_people(model, [site]),),
            )
        )
    everybody = ForestSummary(
        label="All sites",
        estimate=table["estimate"][index],
        interval=(table["lower"][index], table["upper"][index]),
        weight=1.0,
        cells=(_people(model, model.sites),),
    )
    return Forest(
        title=f"{model.study.question}: {name}" if title is None else text(title, "title"),
        scale=scale,
        groups=(ForestGroup(rows=tuple(rows)),),
        summaries=(everybody,),
        columns=(("", "n" if model.events is None else "events/n"),),
        notes=tuple(_notes(model, index)),
    )


def _people(model: "FittedModel", sites: "Sequence[ModelSite]") -> str:
    parts = [thousands(sum(site.n for site in sites))]
    if model.events is not None:
        parts.insert(0, thousands(sum(site.events or 0 for site in sites)))
    return "/".join(parts)


def _notes(model: "FittedModel", index: int) -> Iterator[str]:
    yield (
        "Sites: with all other coefficients as in the common model, whose uncertainty their "
        "intervals leave out."
    )
    differ = model.heterogeneity[index]
    if differ.p is not None:
        yield f"Sites differ: Q {differ.q:.2f} on {differ.df} df, p = {differ.p:.2g}."
    if model.study.purpose == "prediction":
        yield "For one declared standard deviation of the feature."
    if model.is_penalised:
        yield "All sites: shrunk towards zero, so that its interval is no confidence interval."
    if not model.is_converged:
        yield model.state
    if model.left_out:
        yield f"Left out: {len(model.left_out)} packets; explain() says which and why."

"""From a synthesis to what its forest plot shows: order, labels, subgroups, counts, totals."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from qis._given import real_number, several, shown
from qis.errors import InputError
from qis.synthesis._sites import check_choice
from qis.synthesis.forest import Forest, ForestGroup, ForestRow, ForestSummary
from qis.synthesis.forest_columns import Columns, pair, text
from qis.synthesis.forest_groups import between_groups, pooled_group
from qis.synthesis.profiles import PooledProfiles
from qis.synthesis.scale import Interval, Scale

if TYPE_CHECKING:
    from qis.synthesis.result import Synthesis
    from qis.synthesis.site_result import SiteResult

ORDERS: Final = ("name", "estimate", "precision", "weight", "n")
_LABELS: Final = {"fixed": "Fixed effect", "random": "Random effects"}


def forest_of(
    synthesis: "Synthesis",
    *,
    order: str | Sequence[str] = "name",
    labels: Mapping[str, str] | None = None,
    subgroups: Mapping[str, str] | None = None,
    arms: tuple[str, str] | None = None,
    favours: tuple[str, str] | None = None,
    unit: str = "",
    limits: Interval | None = None,
    title: str | None = None,
    with_notes: bool = True,
) -> Forest:
    """What the forest plot of a synthesis shows; the parameters are those of `forest_plot`.

    Without notes nothing is simulated for the p-value of heterogeneity.
    """
    scale = _scale(synthesis, unit)
    sites = _ordered(synthesis, order)
    names = [site.name for site in sites]
    shown_as = _mapping(labels, "labels", names)
    groups_of = _mapping(subgroups, "subgroups", names)
    if subgroups is not None and len(groups_of) < len(names):
        absent = next(name for name in names if name not in groups_of)
        raise InputError(f"subgroups does not say where {absent!r} belongs", field="subgroups")
    columns = Columns(synthesis.sites, synthesis.question, arms)
    weights = {s.name: w for s, w in zip(synthesis.sites, synthesis.weights, strict=True)}
    groups = []
    members_of: dict[str, list[SiteResult]] = {}
    for heading in dict.fromkeys(groups_of.get(name, "") for name in names):
        members = [site for site in sites if groups_of.get(site.name, "") == heading]
        rows = tuple(
            ForestRow(
                label=shown_as.get(site.name, site.name),
                estimate=site.estimate,
                interval=site.interval if site.is_informative else None,
                weight=weights[site.name],
                cells=columns.of([site]),
            )
            for site in members
        )
        subtotal = None
        if heading and (pooled := pooled_group(synthesis, members)) is not None:
            own = [weights[site.name] for site in members]
            weight = None if None in own else math.fsum(share or 0.0 for share in own)
            subtotal = _summary(pooled, "Subtotal", columns.of(members), weight=weight)
        groups.append(ForestGroup(rows=rows, heading=heading, subtotal=subtotal))
        members_of[heading] = members
    return Forest(
        title=synthesis.question if title is None else text(title, "title"),
        scale=scale,
        groups=tuple(groups),
        summaries=_summaries(synthesis, columns.of(synthesis.sites)),
        columns=columns.headings,
        weights_of=synthesis.model,
        favours=pair(favours, "favours", "effect to the left and to the right of none"),
        notes=tuple(_notes(synthesis, members_of)) if with_notes else (),
        limits=_limits(limits, scale),
    )


def _scale(synthesis: "Synthesis", unit: str) -> Scale:
    if synthesis.measure is None:
        raise InputError("no evidence counts, so there is nothing to plot", field="rows", actual=0)
    scale = Scale(measure=synthesis.measure, level=synthesis.level, unit=text(unit, "unit"))
    if unit and synthesis.fixed is not None and scale.has_null and scale.is_ratio:
        raise InputError(f"a ratio ({synthesis.measure}) has no unit", field="unit", actual=unit)
    return scale


def _ordered(synthesis: "Synthesis", order: Any) -> "list[SiteResult]":
    sites = list(synthesis.sites)
    if not isinstance(order, str):
        names = several(order, "order", "names of sites")
        by_name = {site.name: site for site in sites}
        if sorted(map(str, names)) != sorted(by_name) or not all(n in by_name for n in names):
            raise InputError(
                f"order must name each site once: {', '.join(sorted(by_name)):.300}",
                field="order",
                actual=names,
            )
        return [by_name[name] for name in names]
    check_choice(order, "order", ORDERS)
    if order == "name":
        return sites
    weights = {s.name: w or 0.0 for s, w in zip(synthesis.sites, synthesis.weights, strict=True)}
    keys: dict[str, Any] = {
        "estimate": lambda s: (s.estimate is None, s.estimate if s.estimate is not None else 0.0),
        "precision": lambda s: s.interval[1] - s.interval[0],
        "weight": lambda s: -weights[s.name],
        "n": lambda s: -(s.n or 0),
    }
    return sorted(sites, key=keys[order])  # equal ones stay in the order of their names


def _summaries(synthesis: "Synthesis", totals: tuple[str, ...]) -> tuple[ForestSummary, ...]:
    """The chosen model, its prediction interval, the other model, and the answer for this site."""
    models = (synthesis.fixed, synthesis.random)
    found: list[ForestSummary] = []
    for result in models if synthesis.model == "fixed" else models[::-1]:
        if result is None:
            continue
        is_chosen = result is synthesis.chosen
        label = _LABELS[result.model]
        if is_chosen:
            weight = None if None in synthesis.weights else 1.0
            found.append(_summary(result, label, totals, weight=weight))
        else:
            found.append(_summary(result, label, (), is_chosen=False))
        if result.prediction_interval is not None and is_chosen:
            found.append(
                ForestSummary(
                    label="Prediction interval",
                    estimate=None,
                    interval=result.prediction_interval,
                    is_model=False,
                )
            )
    if synthesis.here is not None:
        here = synthesis.here.answer
        found.append(ForestSummary(label="For you", estimate=here.median, interval=here.interval))
    return tuple(found)


def _summary(
    result: PooledProfiles,
    label: str,
    cells: tuple[str, ...],
    *,
    weight: float | None = None,
    is_chosen: bool = True,
) -> ForestSummary:
    return ForestSummary(
        label=", ".join((label, *(mark.replace("_", " ") for mark in result.marks))),
        estimate=result.estimate,
        interval=result.interval,
        weight=weight,
        cells=cells,
        is_chosen=is_chosen,
    )


def _notes(synthesis: "Synthesis", members_of: "Mapping[str, Sequence[SiteResult]]") -> "list[str]":
    differ = synthesis.heterogeneity
    notes = [] if differ is None else [str(differ)]
    random = synthesis.random
    if random is not None and random.tau is not None and random.tau_interval is not None:
        low, high = random.tau_interval
        notes.append(
            f"Between sites: tau {random.tau:.2f} [{low:.2f}, {high:.2f}] (posterior median, "
            f"{synthesis.level:.0%} credible interval)."
        )
    if len(members_of) > 1:
        notes.append(between_groups(synthesis, members_of))
    if not synthesis.is_signed:
        notes.append("Unsigned input: nobody vouches for the outcomes.")
    if synthesis.excluded:
        number = len(synthesis.excluded)
        notes.append(f"{number} packet{'s' * (number > 1)} left out; explain() says why.")
    return notes


def _limits(given: Any, scale: Scale) -> Interval | None:
    """Ends of the axis, given as people read them."""
    if given is None:
        return None
    ends = several(given, "limits", "the two ends of the axis")
    if len(ends) != 2:
        raise InputError(f"limits has {len(ends)} ends; give two", field="limits", actual=given)
    low, high = (scale.value(real_number(end, "limits", -1e300, 1e300)) for end in ends)
    if math.isnan(low) or math.isnan(high) or not low < high:
        raise InputError(
            f"limits is {shown(given)}; it must be two ascending values of the axis as it is shown "
            "(ratios above 0, proportions between 0 and 1)",
            field="limits",
            actual=given,
        )
    return low, high


def _mapping(given: Any, field: str, names: Sequence[str]) -> dict[str, str]:
    """What is said of each site, by its name; unknown names are refused."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InputError(
            f"{field} is {shown(given)}; it must map names of sites to texts", field=field
        )
    for name, said in given.items():
        if name not in names:
            raise InputError(
                f"{field} names {name!r:.60}, which is no site here: {', '.join(names):.300}",
                field=field,
                actual=name,
            )
        text(said, field)
    return dict(given)

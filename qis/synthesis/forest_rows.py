"""From a synthesis to what its forest plot shows: order, labels, subgroups, counts, totals."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from qis._given import real_number, several, shown
from qis.errors import InputError
from qis.outcomes import Counts
from qis.synthesis._sites import check_choice
from qis.synthesis.forest import Forest, ForestGroup, ForestRow, ForestSummary
from qis.synthesis.profiles import PooledProfiles, pool_sites
from qis.synthesis.scale import Interval, Scale, thousands

if TYPE_CHECKING:
    from qis.synthesis.result import SiteResult, Synthesis

ORDERS: Final = ("name", "estimate", "precision", "weight", "n")
_LABELS: Final = {"fixed": "Fixed effect", "random": "Random effects"}
_ARMS: Final = re.compile(r"\s*(.+?)\s+(?:vs\.?|versus|against)\s+(.+?)\s*(?:\||$)", re.IGNORECASE)
_UNKNOWN: Final = "?"


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
    columns = _Columns(synthesis.sites, synthesis.question, arms)
    weights = {s.name: w for s, w in zip(synthesis.sites, synthesis.weights, strict=True)}
    groups = []
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
        subtotal = _subtotal(synthesis, members, columns, weights) if heading else None
        groups.append(ForestGroup(rows=rows, heading=heading, subtotal=subtotal))
    return Forest(
        title=synthesis.question if title is None else _text(title, "title"),
        scale=scale,
        groups=tuple(groups),
        summaries=_summaries(synthesis, columns.of(synthesis.sites)),
        columns=columns.headings,
        weights_of=synthesis.model,
        favours=_pair(favours, "favours", "effect to the left and to the right of none"),
        notes=tuple(_notes(synthesis)) if with_notes else (),
        limits=_limits(limits, scale),
    )


def _scale(synthesis: "Synthesis", unit: str) -> Scale:
    if synthesis.measure is None:
        raise InputError("no evidence counts, so there is nothing to plot", field="rows", actual=0)
    scale = Scale(measure=synthesis.measure, level=synthesis.level, unit=_text(unit, "unit"))
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


def _subtotal(
    synthesis: "Synthesis",
    members: "Sequence[SiteResult]",
    columns: "_Columns",
    weights: Mapping[str, float | None],
) -> ForestSummary | None:
    """What a subgroup says under the chosen model; `None` of a single site, which is its row."""
    if len(members) < 2 or synthesis.chosen is None:
        return None
    pooled = pool_sites(
        [site.outcomes for site in members],
        measure=synthesis.chosen.measure,
        tau_scale=synthesis.tau_scale if synthesis.model == "random" else None,
        mean_scale=synthesis.mean_scale,
        level=synthesis.level,
    )
    own = [weights[site.name] for site in members]
    weight = None if None in own else math.fsum(share or 0.0 for share in own)
    return _summary(pooled, "Subtotal", columns.of(members), weight=weight)


def _summaries(synthesis: "Synthesis", totals: tuple[str, ...]) -> tuple[ForestSummary, ...]:
    """The chosen model, its prediction interval, and the other model."""
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


def _notes(synthesis: "Synthesis") -> "list[str]":
    differ = synthesis.heterogeneity
    notes = [] if differ is None else [str(differ)]
    random = synthesis.random
    if random is not None and random.tau is not None and random.tau_interval is not None:
        low, high = random.tau_interval
        notes.append(
            f"Between sites: tau {random.tau:.2f} [{low:.2f}, {high:.2f}] (posterior median, "
            f"{synthesis.level:.0%} credible interval)."
        )
    if not synthesis.is_signed:
        notes.append("Unsigned input: nobody vouches for the outcomes.")
    if synthesis.excluded:
        number = len(synthesis.excluded)
        notes.append(f"{number} packet{'s' * (number > 1)} left out; explain() says why.")
    return notes


class _Columns:
    """Which counts the sites have in common, and their texts.

    Two arms of counts have a column each; of all else there is one, of events and people.
    """

    def __init__(self, sites: "Sequence[SiteResult]", question: str, arms: Any) -> None:
        outcomes = [outcome for site in sites for outcome in site.outcomes]
        named = _pair(arms, "arms", "the treated and the control arm")
        in_question = _ARMS.match(question)
        if not any(named):
            named = (in_question[1], in_question[2]) if in_question else ("treated", "control")
        counts = [outcome for outcome in outcomes if isinstance(outcome, Counts)]
        self._arms: tuple[str, ...] = ()
        self._denominator = "total"
        self.headings: tuple[tuple[str, str], ...] = ()
        if counts and len(counts) == len(outcomes):
            self._denominator = "total" if counts[0].person_time is None else "person_time"
            what = "events/n" if self._denominator == "total" else "events/time"
            two = counts[0].control_events is not None
            self._arms = ("", "control_") if two else ("",)
            self.headings = ((named[0], what), (named[1], what)) if two else (("", what),)
        elif any(site.events is not None for site in sites):
            self.headings = (("", "events/n"),)
        elif any(site.n is not None for site in sites):
            self.headings = (("", "n"),)

    def of(self, sites: "Sequence[SiteResult]") -> tuple[str, ...]:
        """The texts of one site, or of several together; a question mark where one is not known."""
        if self._arms:
            counts: list[Any] = [outcome for site in sites for outcome in site.outcomes]
            return tuple(
                "/".join(
                    thousands(sum(getattr(each, f"{arm}{name}") for each in counts))
                    for name in ("events", self._denominator)
                )
                for arm in self._arms
            )
        if not self.headings:
            return ()
        people = _sum([site.n for site in sites])
        if self.headings[0][1] == "n":
            return (people,)
        return (f"{_sum([site.events for site in sites])}/{people}",)


def _sum(numbers: Sequence[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    return thousands(sum(known)) if len(known) == len(numbers) else _UNKNOWN


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
    for name, text in given.items():
        if name not in names:
            raise InputError(
                f"{field} names {name!r:.60}, which is no site here: {', '.join(names):.300}",
                field=field,
                actual=name,
            )
        _text(text, field)
    return dict(given)


def _pair(given: Any, field: str, what: str) -> tuple[str, str]:
    if given is None:
        return "", ""
    texts = several(given, field, "two texts")
    if len(texts) != 2:
        raise InputError(f"{field} is {shown(given)}; give two texts: {what}", field=field)
    return _text(texts[0], field), _text(texts[1], field)


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{field} is {shown(value)}; it must be a text", field=field, actual=value)
    return value

"""The answer for one site, in lines of text: always everything, always in one order."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from qis.outcomes import measure_named

if TYPE_CHECKING:
    from qis.synthesis.site_answer import Quantiles, SiteAnswer

_CONFLICT: Final = 0.01
_DOUBT: Final = 0.1
_LISTED: Final = 10


def lines_of(here: "SiteAnswer") -> Iterator[str]:
    """The lines, the answer first."""
    words = measure_named(here.measure).label
    yield here.question
    yield f"For you, {words} [{here.level:.0%} interval]: {_numbers(here, here.answer)}"
    half = here.scale.limits(here.answer.middle_half)
    yield f"  as probably inside as outside of {half}"
    yield f"  your own data alone: {_alone(here)}"
    yield f"  if no site were more like you than another: {_numbers(here, here.all_alike)}"
    yield f"What the others predict for you: {_numbers(here, here.from_others)}. {_fit(here)}"
    yield from _similarity(here)
    yield from _weights(here)
    if here.twice_the_scale is not None:
        wider = _numbers(here, here.twice_the_scale)
        yield f"Under twice the prior scale of tau: {wider}"
    if here.as_if_patients is not None:
        yield f"As if you had seen {here.as_if_patients:,.0f} patients of your own."
    if here.silent:
        yield f"Silent, and not known how like you: {_listed(here.silent)}."
    if here.suppressed:
        kept = [
            name if similarity is None else f"{name} (similarity {similarity:.2f})"
            for name, similarity in here.suppressed
        ]
        yield f"Keep their outcome back: {_listed(kept)}."
    yield from here.notes


def _numbers(here: "SiteAnswer", found: "Quantiles") -> str:
    return here.scale.numbers(found.median, found.interval)


def _alone(here: "SiteAnswer") -> str:
    if here.alone_interval is None:
        return "you have none that depend on the effect"
    return here.scale.numbers(here.alone, here.alone_interval)


def _fit(here: "SiteAnswer") -> str:
    if here.fit is None:
        return "You have no data of your own to compare."
    share = f"a disagreement as large has probability {here.fit:.2g}"
    if here.fit < _CONFLICT:
        return f"Your own data contradict it: {share}. Look for what differs at your site."
    if here.fit < _DOUBT:
        return f"Your own data fit it poorly: {share}."
    return f"Your own data fit it: {share}."


def _similarity(here: "SiteAnswer") -> Iterator[str]:
    found = here.similarity
    if found.bayes_factor is None:
        yield f"Evidence that like sites have like effects: none to judge ({found.source})."
        return
    tail = ""
    if not found.decides:
        tail = f" With {found.sites} sites it decides nothing: the prior does."
    yield (
        f"Evidence that like sites have like effects, by {found.source}: {found.word} "
        f"(Bayes factor {found.bayes_factor:.2g}).{tail}"
    )


def _weights(here: "SiteAnswer") -> Iterator[str]:
    if not here.weights:
        yield "No other site counts."
        return
    shown = [
        f"{each.name} {each.weight:.0%}"
        + ("" if each.similarity is None else f" (similarity {each.similarity:.2f})")
        for each in here.weights
    ]
    yield f"Largest weights: {', '.join(shown)}; your own {here.own_weight:.0%}."
    if here.without_largest is not None:
        yield f"Without {here.weights[0].name}: {_numbers(here, here.without_largest)}"


def _listed(names: "tuple[str, ...] | list[str]") -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more

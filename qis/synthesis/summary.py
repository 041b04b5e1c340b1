"""A synthesis in the words of a paper's results and methods."""

from collections.abc import Iterator
from textwrap import fill
from typing import TYPE_CHECKING, Final

from qis.outcomes import measure_named
from qis.synthesis.profiles import PooledProfiles

if TYPE_CHECKING:
    from qis.synthesis.result import Synthesis
    from qis.synthesis.site_result import SiteResult

_WIDTH: Final = 100
_MODELS = {"fixed": "fixed effect, common to all sites", "random": "random effects, mean"}
_METHODS = {
    "fixed": (
        "the common effect is where their sum is largest, and its confidence interval holds all "
        "values whose sum is within half the chi-squared quantile (1 degree of freedom) of that."
    ),
    "curve": (
        "effects vary normally between sites, with a half-normal prior of scale {tau:g} on their "
        "standard deviation tau; the sum, with tau integrated out, has no proper posterior, so the "
        "confidence interval of the mean holds all values within half the chi-squared quantile of "
        "the largest."
    ),
    "random": (
        "effects vary normally between sites; the mean is its posterior median, with the central "
        "credible interval, under a {mean} prior on the mean and a half-normal prior of scale "
        "{tau:g} on the standard deviation tau between sites."
    ),
}


def summarise(synthesis: "Synthesis") -> str:
    """Lines of text: results under the chosen model and the other, and methods."""
    return "\n".join(
        fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False, drop_whitespace=True)
        for line in _lines(synthesis)
    )


def _lines(synthesis: "Synthesis") -> Iterator[str]:
    yield synthesis.question
    if synthesis.measure is None or not synthesis.sites:
        yield "No evidence counts."
        return
    words = measure_named(synthesis.measure).label
    yield f"{words[:1].upper()}{words[1:]} [{synthesis.level:.0%} interval], {_people(synthesis)}:"
    results = (synthesis.fixed, synthesis.random)
    chosen_first = results if synthesis.model == "fixed" else results[::-1]
    for result in chosen_first:
        if result is not None:
            yield f"  {_MODELS[result.model]}: {_numbers(synthesis, result)}"
        if result is not None and result.prediction_interval is not None:
            limits = synthesis.scale.limits(result.prediction_interval)
            yield f"    prediction interval, of a further site: {limits}"
        if result is not None and result.note:
            yield f"    {result.note}"
    if synthesis.heterogeneity is not None:
        yield str(synthesis.heterogeneity)
    yield from _caveats(synthesis)
    yield _methods(synthesis)


def _numbers(synthesis: "Synthesis", result: PooledProfiles) -> str:
    text = synthesis.scale.numbers(result.estimate, result.interval)
    if result.tau is None or result.tau_interval is None:
        return text
    low, high = result.tau_interval
    return f"{text}, tau {result.tau:.2f} [{low:.2f}, {high:.2f}]"


def _people(synthesis: "Synthesis") -> str:
    """How many sites, people and events, and of how many sites the latter are not known."""
    parts = [_count(synthesis.reach.sites, "site")]
    for name, what in (("n", "person"), ("events", "event")):
        known = [getattr(site, name) for site in synthesis.sites if getattr(site, name) is not None]
        if known:
            silent = len(synthesis.sites) - len(known)
            missing = f" ({_count(silent, 'site')} did not say)" if silent else ""
            parts.append(_count(sum(known), what) + missing)
    return ", ".join(parts)


def _caveats(synthesis: "Synthesis") -> Iterator[str]:
    """What a reader has to know beside the numbers."""
    if not synthesis.is_signed:
        yield "Unsigned input: nobody vouches for the outcomes."
    alone = [s for s in synthesis.sites if s.is_informative and s.estimate is None]
    silent = [s for s in synthesis.sites if not s.is_informative]
    if alone:
        yield f"No finite estimate alone: {_names(alone)}."
    if silent:
        yield f"Nothing about the effect (no events, or all in one arm): {_names(silent)}."
    if synthesis.excluded:
        yield f"Left out: {_count(len(synthesis.excluded), 'packet')} (explain() says why)."
    if synthesis.silent:
        yield f"Nothing came from: {', '.join(synthesis.silent)}."


def _names(sites: "list[SiteResult]") -> str:
    return ", ".join(site.name for site in sites)


def _methods(synthesis: "Synthesis") -> str:
    chosen = synthesis.chosen
    if chosen is None:
        return "Methods: the model that was asked for gives no result."
    spread = synthesis.mean_scale
    prior = "flat" if spread is None else f"normal (standard deviation {spread:g})"
    model: str = chosen.model
    if chosen.tau is None:  # without a posterior
        model = "curve" if model == "random" else "fixed"
    how = _METHODS[model].format(mean=prior, tau=synthesis.tau_scale or 0.0)
    return f"Methods: each site enters with its whole log-likelihood; {how}"


def _count(number: int, what: str) -> str:
    plural = {"person": "people"}.get(what, f"{what}s")
    return f"{number} {what if number == 1 else plural}"

"""A synthesis in plain words."""

from collections.abc import Iterator
from contextlib import suppress

from qis.errors import InputError, NoEstimateError
from qis.outcomes import LikelihoodProfile, measure_named
from qis.synthesis.profiles import PooledProfiles
from qis.synthesis.result import Synthesis
from qis.synthesis.site_result import SiteResult
from qis.synthesis.tipping import missing_sites, tipping_points


def explain(synthesis: Synthesis) -> str:
    """Lines of text: the answer, both models, each site, each packet left out."""
    return "\n".join(_lines(synthesis))


def _lines(synthesis: Synthesis) -> Iterator[str]:
    yield synthesis.question
    if synthesis.measure is None or not synthesis.sites:
        yield "No evidence counts."
    else:
        yield from _answer(synthesis)
        yield (
            f"Sites: each alone, its weight under the {synthesis.model} model, and the synthesis "
            "without it."
        )
        try:
            others = synthesis.leave_one_out()
        except InputError as error:  # of fewer sites the answer may not be resolved
            others = {}
            yield f"  Without a site no synthesis can be given: {error}."
        for site, weight in zip(synthesis.sites, synthesis.weights, strict=True):
            yield f"  {_site(synthesis, site, weight, others.get(site.name))}"
    yield from missing(synthesis)
    if synthesis.sites and missing_sites(synthesis):
        # Without an estimate, or a scale of shifts, there is no table; both are told above.
        with suppress(NoEstimateError, InputError):
            yield str(tipping_points(synthesis))


def _answer(synthesis: Synthesis) -> Iterator[str]:
    measure = measure_named(synthesis.measure or "")
    words = measure.label
    yield f"{words[:1].upper()}{words[1:]} ({synthesis.measure}), {synthesis.level:.0%} intervals."
    if synthesis.random is None:
        yield "Random effects: not computed, since the measure has units; give tau_scale."
    for result in (synthesis.fixed, synthesis.random):
        if result is not None:
            yield from _of_model(synthesis, result)
    if synthesis.heterogeneity is not None:
        yield str(synthesis.heterogeneity)
    if synthesis.sites_without_events:
        yield f"{synthesis.sites_without_events} of {len(synthesis.sites)} sites saw no event."
    if synthesis.confidence_sequence is not None and synthesis.fixed is not None:
        limits = synthesis.scale.numbers(synthesis.fixed.estimate, synthesis.confidence_sequence)
        yield f"Common effect, valid however often one looks: {limits}."
    else:
        yield f"No interval that is valid however often one looks: {synthesis.no_sequence}."


def _of_model(synthesis: Synthesis, result: PooledProfiles) -> Iterator[str]:
    name, target = _MODELS[result.model]
    measure = measure_named(result.measure)
    if not measure.has_null:
        target = target.replace("effect", measure.label)
    mark = ""
    if result.model == synthesis.model:
        declared = synthesis.study is not None and synthesis.study.model == synthesis.model
        mark = ", the study's model" if declared else ", the model asked for"
    kind = f"{result.interval_kind} interval"
    yield f"{name} ({target}{mark}): {_numbers(synthesis, result)} ({kind})."
    if result.note:
        yield f"  {result.note}"
    if result.tau is not None and result.tau_interval is not None:
        low, high = result.tau_interval
        share = f", of which {result.prior_share:.0%} is the prior" if result.prior_share else ""
        yield f"  tau {result.tau:.3g} [{low:.3g}, {high:.3g}]{share}"
    if result.prediction_interval is not None:
        limits = synthesis.scale.limits(result.prediction_interval)
        yield f"  At a further site like these: {limits} (prediction interval)"


_LONGEST_NAME = 24
_MODELS = {
    "fixed": ("Fixed effect", "the one effect that all sites share, if they do share one"),
    "random": ("Random effects", "the mean of the effects of sites like these, which differ"),
}


def _numbers(synthesis: Synthesis, result: PooledProfiles) -> str:
    return synthesis.scale.numbers(result.estimate, result.interval)


def _site(
    synthesis: Synthesis, site: SiteResult, share: float | None, others: PooledProfiles | None
) -> str:
    people = "" if site.n is None else f"n {site.n}, "
    if not site.is_informative:
        says = "its evidence does not depend on the effect (no events, or all in one arm)"
    else:
        says = synthesis.scale.numbers(site.estimate, site.interval)
    weight = "" if share is None else f", weight {share:.1%}"
    without = "" if others is None else f"; without it {_numbers(synthesis, others)}"
    ids = ", ".join(packet.id.hex()[:16] for packet in site.packets)
    packets = f"; packet {ids}" if ids else ""
    changed = "".join(
        f"; its counts are not exact: {outcome.protection}"
        for outcome in site.outcomes
        if isinstance(outcome, LikelihoodProfile) and outcome.protection
    )
    return f"{_short(site.name)}: {people}{says}{weight}{without}{changed}{packets}"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def missing(synthesis: Synthesis) -> Iterator[str]:
    """Lines that every explanation ends with: who is not in it, and which synthesis this is."""
    if synthesis.excluded:
        yield "Left out:"
    for left in synthesis.excluded:
        who = _short(left.site or str(left.packet.issuer))
        yield f"  {who}: {left.reason}. {left.sentence} Packet {left.packet.id.hex()[:16]}"
    if synthesis.reach.enrolled is not None:
        yield f"{synthesis.reach.sites} of {synthesis.reach.enrolled} enrolled sites count."
    if synthesis.silent:
        yield f"Nothing came from: {', '.join(synthesis.silent)}."
    if not synthesis.is_signed:
        yield (
            f"Look {synthesis.looks}; method {synthesis.method}; unsigned input: no digest, and "
            "not to be published."
        )
        return
    yield (
        f"Look {synthesis.looks}; method {synthesis.method}; digest {synthesis.digest.hex()[:16]}, "
        f"of everything seen {synthesis.seen_digest.hex()[:16]}."
    )

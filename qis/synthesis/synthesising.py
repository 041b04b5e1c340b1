"""From packets to a synthesis: a pure function of the evidence, alike on every node."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from blake3 import blake3

from qis._canonical import encode
from qis._gate import checked
from qis._given import instance, point_in_time
from qis.errors import IncompatibleEvidenceError, InputError
from qis.evidence import Review, Roster
from qis.identity import Issuer
from qis.outcomes import Effect, Moments, Outcome, Study, measure_named
from qis.packet import Packet
from qis.synthesis._sites import check_choice, check_level, check_scale
from qis.synthesis.answers import Answer
from qis.synthesis.common_effect import own_effect
from qis.synthesis.currency import Poolable
from qis.synthesis.embargo import embargoed
from qis.synthesis.gathering import Gathered, SiteEvidence
from qis.synthesis.given import gather_given
from qis.synthesis.kept import KeptSites
from qis.synthesis.profiles import Model, PooledProfiles, pool_sites, tau_scale_of
from qis.synthesis.result import Synthesis
from qis.synthesis.said import Said
from qis.synthesis.sequence import anytime_interval
from qis.synthesis.site_result import Reach, SiteResult
from qis.synthesis.tabled import Frame

VERSION: Final = 3
"""Version of the method; part of every digest."""
METHOD: Final = "exact-likelihood"


@checked
def synthesise(
    packets: Iterable[Packet] | Iterable[Outcome] | Review | Packet | Outcome | Frame,
    *,
    model: Model | None = None,
    study: Study | None = None,
    roster: Roster | None = None,
    names: Mapping[Issuer, str] | Iterable[str] | None = None,
    method: str = METHOD,
    tau_scale: float | None = None,
    mean_scale: float | None = None,
    level: float = 0.95,
    looks: int = 1,
    now: float | datetime | None = None,
    monitor: bool = False,
    kept: KeptSites | None = None,
) -> Synthesis:
    """Pool the evidence of one study, each site with its whole likelihood.

    Parameters
    ----------
    packets
        What ``store.evidence(study, now=…)`` gives, which knows the sites and what is left out; or
        verified packets of one study, in any order, repeated or not; or outcomes, or a single
        packet or outcome; or a data frame or ``{column: values}`` of one row a site: `site`, and
        `estimate` and `standard_error` (logarithms for ratios), or `ratio`, `lower` and `upper`
        (its 95 % interval), or `events` and `total`, or `mean`, `sd` and `total`, the latter two
        with `control_…` for the other arm; optionally `cohort`, `n`,
        `measure`, `question`. For each site and cohort one packet counts, as in a store. The
        cohorts of one site are combined first. Of outcomes and tables, which nobody has signed, the
        result has no digest and cannot be published (``is_signed`` is false).
    model
        ``"fixed"``: one common effect, estimated where the summed log-likelihood is largest.
        ``"random"``: the mean of effects that differ between sites, with a half-normal prior on
        their standard deviation. Has no default unless the study declares it. Both are computed
        and shown, whichever is chosen.
    study
        The study, if its declaration is at hand: it gives model, measure and prior scales, and
        must be the one that the evidence belongs to.
    roster
        With plain packets: who is believed, and which keys are one site's. Default: everybody, each
        key as a site named by its hexadecimal digits. Evidence from a store brings its own.
    names
        Instead of a roster. With packets: name of each issuer's site, where two issuers of one
        name (a site's former and present key) are one site. With outcomes: a name for each, where
        two of one name are two cohorts of one site.
    method
        ``"exact-likelihood"``: counts by their exact conditional likelihood, profiles by their
        curves, estimates by the normal one.
    tau_scale, mean_scale
        Random: scale of the prior on tau, and standard deviation of the prior on the mean (flat
        if `None`), in the measure's units. Default: the study's; then 0.5 for tau where the
        measure has no units.
    level
        Coverage of the intervals, in (0, 1).
    looks
        How often the study has been looked at, this time included.
    now
        Unix seconds, or a `datetime` with a zone, by which the study's embargo and, with plain
        packets, its validity are judged. Default: the time of the review; needed with plain
        packets if the study ends or is under embargo.
    monitor
        True for a monitoring role, which an embargo does not bind.
    kept
        What was computed for the study before, and is kept for the next time: a `KeptSites` of its
        own for each study. It changes no number; one packet more costs what that packet costs.

    Returns
    -------
    Synthesis
        Until the study's embargo ends, and unless it is for a monitoring role, one that lists the
        sites and hides all numbers (`is_embargoed`).

    Raises
    ------
    InputError
        If the model is not declared, or an argument is out of range or missing.
    IncompatibleEvidenceError
        If the packets belong to several studies, or the model asked for is not the study's.

    Examples
    --------
    >>> import qis
    >>> table = {"site": ["Ulm", "Bern"], "estimate": [-0.7, -0.2], "standard_error": [0.3, 0.4]}
    >>> study = qis.Study(question="drug vs none | death", measure="OR", model="fixed")
    >>> synthesis = qis.synthesise(table, study=study)
    >>> print(synthesis.summary().splitlines()[1])
    Odds ratio [95% interval], 2 sites:

    """
    check_choice(method, "method", (METHOD,))
    level = check_level(level)
    if study is not None:
        instance(study, "study", Study, "Study(question=…), or Study.load(path)")
    chosen = _chosen_model(model, study)
    now = None if now is None else point_in_time(now, "now")
    if study is not None and now is None and not isinstance(packets, Review):
        _require_time(study)
    gathered = gather_given(packets, study=study, roster=roster, names=names, now=now, model=chosen)
    if study is not None:
        tau_scale = study.tau_scale if tau_scale is None else tau_scale
        mean_scale = study.mean_scale if mean_scale is None else mean_scale
    if mean_scale is not None:
        check_scale(mean_scale, "mean_scale")
    tau_scale = _tau_scale(gathered.measure, chosen, tau_scale)
    digest = seen_digest = b""
    if gathered.is_signed:
        digest = _digest(gathered, [method, chosen, tau_scale, mean_scale, level])
        seen_digest = _seen_digest(digest, gathered)
    if (
        study is not None
        and not monitor
        and study.is_embargoed(gathered.now if now is None else now)
    ):
        return embargoed(
            gathered,
            study,
            model=chosen,
            method=method,
            level=level,
            looks=looks,
            digest=digest,
            seen_digest=seen_digest,
        )
    kept = KeptSites() if kept is None else kept
    outcomes = [site.outcomes for site in gathered.sites]
    fixed, random = _pool(gathered, outcomes, tau_scale, mean_scale, level=level, kept=kept)
    no_sequence = next(_why_no_sequence(chosen, fixed, gathered, tau_scale), "")
    sites = () if fixed is None else _sites(gathered, outcomes, level, kept)
    kept.settle()
    return Synthesis(
        study_id=gathered.study_id,
        question=gathered.question,
        study=study,
        measure=gathered.measure,
        model=chosen,
        method=method,
        fixed=fixed,
        random=random,
        tau_scale=tau_scale,
        mean_scale=mean_scale,
        level=level,
        sites=sites,
        excluded=gathered.left_out,
        silent=gathered.silent,
        looks=looks,
        confidence_sequence=None if no_sequence else _sequence(fixed, tau_scale),
        no_sequence=no_sequence,
        reach=Reach(gathered.number, gathered.enrolled),
        digest=digest,
        seen_digest=seen_digest,
    )


def _require_time(study: Study) -> None:
    if (study.valid_until, study.embargo_until) != (None, None):
        raise InputError(
            "the study ends or is under embargo, so it matters when this is: give now= (Unix "
            "seconds)",
            field="now",
        )


def _chosen_model(model: Model | None, study: Study | None) -> Model:
    declared = None if study is None else study.model
    if model is not None:
        check_choice(model, "model", ("fixed", "random"))
        if declared is not None and model != declared:
            raise IncompatibleEvidenceError(
                f"the study declares the {declared}-effect model, not {model}; both are in every "
                "synthesis, as .fixed and .random",
                field="model",
                actual=model,
                limit=declared,
            )
        return model
    if declared is None:
        raise InputError(
            "say model='fixed' (one common effect) or model='random' (effects that differ between "
            "sites); it belongs to the study and has no default",
            field="model",
            limit=("fixed", "random"),
        )
    return declared


def _tau_scale(measure: str | None, chosen: Model, given: float | None) -> float | None:
    if measure is None:
        return None
    if chosen == "random" or given is not None:
        return tau_scale_of(measure, given)
    return measure_named(measure).default_tau_scale


def _pool(
    gathered: Gathered,
    outcomes: Sequence[Sequence[Poolable]],
    tau_scale: float | None,
    mean_scale: float | None,
    *,
    level: float,
    kept: KeptSites,
) -> tuple[PooledProfiles | None, PooledProfiles | None]:
    if gathered.measure is None or not gathered.sites:
        return None, None
    fixed = pool_sites(outcomes, measure=gathered.measure, tau_scale=None, level=level, kept=kept)
    if gathered.number > len(gathered.sites):
        return fixed, None  # a synthesis counts, and says nothing of how its sites differ
    if tau_scale is None:
        return fixed, None
    random = pool_sites(
        outcomes,
        measure=gathered.measure,
        tau_scale=tau_scale,
        mean_scale=mean_scale,
        level=level,
        kept=kept,
    )
    return fixed, random


def _sites(
    gathered: Gathered, outcomes: Sequence[Sequence[Poolable]], level: float, kept: KeptSites
) -> tuple[SiteResult, ...]:
    results = []
    for site, met in zip(gathered.sites, kept.met_all(outcomes), strict=True):
        shown = met.shown.get(level)
        if shown is None or shown.packets != site.packets or shown.name != site.name:
            shown = met.shown[level] = _shown(site, met.said, level)
        results.append(shown)
    return tuple(results)


def _shown(site: SiteEvidence, said: Said | None, level: float) -> SiteResult:
    own = Answer() if said is None else own_effect(said, level)
    return SiteResult(
        name=site.name,
        packets=site.packets,
        outcomes=site.outcomes,
        n=site.n,
        events=site.events,
        estimate=own.estimate,
        interval=own.interval,
        is_informative=said is not None,
    )


_FEWEST_PEOPLE: Final = 50
"""A standard error from so many people is as good as known: 2.01 instead of 1.96."""
_LOPSIDED: Final = 0.1
"""Difference of the two sides of an interval, as a share of its width, that a normal likelihood's
would not have."""


def _why_no_sequence(
    chosen: Model, fixed: PooledProfiles | None, gathered: Gathered, tau_scale: float | None
) -> Iterator[str]:
    """Reasons why the confidence sequence would not hold; none if it does."""
    if fixed is None or fixed.estimate is None or fixed.standard_error is None:
        yield "there is no finite estimate"
        return
    if chosen == "random":
        yield "it holds for one common effect, and the model is random effects"
    if gathered.something_withdrawn:
        yield "something that was used has been withdrawn"
    if measure_named(fixed.measure).default_tau_scale is None and tau_scale is None:
        yield "the measure has units; give tau_scale"
    low, high = fixed.interval
    lopsided = abs((high - fixed.estimate) - (fixed.estimate - low)) / (high - low)
    if not lopsided <= _LOPSIDED:
        yield "it holds for normal likelihoods, and with so few events this one is lopsided"
    outcomes = [outcome for site in gathered.sites for outcome in site.outcomes]
    effects = [outcome for outcome in outcomes if isinstance(outcome, Effect)]
    if any(effect.n is None or effect.n < _FEWEST_PEOPLE for effect in effects):
        yield (
            f"it holds for known standard errors, and one rests on fewer than {_FEWEST_PEOPLE} "
            "people, or on a number that the site did not give"
        )
    means = [outcome for outcome in outcomes if isinstance(outcome, Moments)]
    if any(min(m.total, m.control_total or m.total) < _FEWEST_PEOPLE for m in means):
        yield f"it holds for known variances, and a mean is of fewer than {_FEWEST_PEOPLE} people"


def _sequence(fixed: PooledProfiles | None, tau_scale: float | None) -> tuple[float, float] | None:
    """The confidence sequence's interval, where it holds."""
    if fixed is None or fixed.estimate is None or fixed.standard_error is None:
        return None
    mixing_scale = measure_named(fixed.measure).default_tau_scale or tau_scale
    if mixing_scale is None:
        return None
    return anytime_interval(
        fixed.estimate, fixed.standard_error, mixing_scale=mixing_scale, level=fixed.level
    )


def _digest(gathered: Gathered, asked: list[object]) -> bytes:
    """Digest of what the numbers rest on.

    The numbers themselves are not in it, since their last bits differ between machines.
    """
    ids = sorted([packet.id for site in gathered.sites for packet in site.packets])
    rests_on = [ids, gathered.something_withdrawn]
    return blake3(
        encode([VERSION, gathered.study_id, asked, gathered.roster_digest, *rests_on])
    ).digest()


def _seen_digest(digest: bytes, gathered: Gathered) -> bytes:
    """Digest of `digest` and of every packet left out, which anybody can add to."""
    out = sorted([left.packet.id, left.reason] for left in gathered.left_out)
    return blake3(encode([digest, out])).digest()

"""Pooling of whole log-likelihoods, in which small and zero-count sites need no correction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from qis._gate import checked
from qis.errors import InputError
from qis.outcomes import measure_named
from qis.picture.html import HasTable
from qis.synthesis._foresight import PRIOR_POINT
from qis.synthesis._sites import check_choice, check_level, check_scale
from qis.synthesis.answers import SILENT, Answer, Interval
from qis.synthesis.common_effect import MANY, common_effect, of_many
from qis.synthesis.currency import Poolable, check_poolable
from qis.synthesis.kept import KeptSites
from qis.synthesis.marks import SENTENCES, Mark
from qis.synthesis.mean_effect import mean_effect

Model = Literal["fixed", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledProfiles(HasTable):
    """What several sites say together, on the natural log scale for ratio measures.

    Parameters
    ----------
    measure, model, level
        Name of the measure, model, and coverage of the intervals.
    estimate
        Fixed: where the summed log-likelihood is largest. Random: the posterior median of the mean
        effect. `None` if no finite value is, as `note` then explains.
    standard_error
        Fixed: half the distance between the two values at which the log-likelihood is 1/2 under
        its largest, which is the standard error where it is normal. Random: the posterior standard
        deviation. `None` where it is not finite.
    interval
        Fixed: all values whose summed log-likelihood is within half the chi-squared quantile (1
        degree of freedom) of its largest value, or of its limit on the side where it rises for
        ever: one end is then infinite, and both are if the sites say nothing. Random: the central
        posterior interval; without a posterior, the same rule as for fixed, on the likelihood of
        the mean with tau integrated against its prior.
    tau, tau_interval
        Random: posterior median and central interval of the standard deviation between sites.
    informative, uninformative
        Positions, in the sequence given, of the outcomes that do and do not depend on the effect.
    note
        In words, what stands in the way of an estimate, and the marks; empty if nothing does.
    marks
        Reasons for caution about the numbers.
    prediction_interval
        Random: central posterior interval for the true effect of a further site like these; `None`
        without a posterior.
    prior_share
        Random: how much of what is said of tau is its prior: the overlap of the prior and posterior
        densities, 0 to 1 (1: the sites say nothing of it). `None` without a posterior.
    under_twice_the_scale
        Random, with the mark `prior_contradicted`: the result under twice the prior's scale.

    Examples
    --------
    >>> import qis
    >>> counts = qis.Counts(
    ...     question="q", events=30, total=400, control_events=60, control_total=410
    ... )
    >>> qis.pool_profiles([counts]).informative
    (0,)

    """

    measure: str
    model: Model
    level: float
    estimate: float | None
    standard_error: float | None
    interval: Interval
    tau: float | None
    tau_interval: Interval | None
    informative: tuple[int, ...]
    uninformative: tuple[int, ...]
    note: str
    marks: tuple[Mark, ...] = ()
    prediction_interval: Interval | None = None
    prior_share: float | None = None
    under_twice_the_scale: "PooledProfiles | None" = None

    @property
    def interval_kind(self) -> Literal["confidence", "credible"]:
        """What `interval` is: of a posterior, credible; else by likelihood, confidence.

        A confidence interval covers the truth in that share of repetitions; a credible one holds
        it with that probability, given the priors.
        """
        return "confidence" if self.tau is None else "credible"


@checked
def pool_profiles(
    profiles: Sequence[Poolable],
    *,
    model: Model = "fixed",
    tau_scale: float | None = None,
    mean_scale: float | None = None,
    level: float = 0.95,
) -> PooledProfiles:
    """Pool likelihood profiles, and whatever else has a log-likelihood of the same effect.

    Parameters
    ----------
    profiles
        One or more outcomes of the same study and measure, one from each group of people. Their
        order changes no bit of the result.
    model
        ``"fixed"``: one common effect. ``"random"``: effects vary about a mean, each outcome is a
        site.
    tau_scale
        Random: scale of the half-normal prior on tau in the measure's units (log scale for
        ratios); default 0.5 where the measure has no units.
    mean_scale
        Random: standard deviation of a normal prior on the mean about 0; `None`: flat.
    level
        Coverage of the interval, in (0, 1).

    Raises
    ------
    InputError
        If there is no outcome, an argument is out of range, or the measure has units and no
        tau_scale was given.
    IncompatibleEvidenceError
        If studies or measures differ.

    Examples
    --------
    >>> import qis
    >>> sites = [
    ...     qis.Counts(question="q", events=3, total=40, control_events=9, control_total=41),
    ...     qis.Counts(question="q", events=0, total=11, control_events=2, control_total=12),
    ... ]
    >>> pooled = qis.pool_profiles(sites, model="fixed")
    >>> pooled.measure, round(pooled.estimate, 1)
    ('OR', -1.4)

    """
    check_choice(model, "model", ("fixed", "random"))
    level = check_level(level)
    _, measure = check_poolable(profiles)
    scale = tau_scale_of(measure, tau_scale) if model == "random" else None
    if mean_scale is not None:
        check_scale(mean_scale, "mean_scale")
    return pool_sites(
        [(outcome,) for outcome in profiles],
        measure=measure,
        tau_scale=scale,
        mean_scale=mean_scale,
        level=level,
    )


def tau_scale_of(measure: str, given: float | None) -> float:
    """The scale of the prior on tau.

    Raises
    ------
    InputError
        If it is not positive, or not given though the measure has units.

    """
    if given is not None:
        return check_scale(given, "tau_scale")
    default = measure_named(measure).default_tau_scale
    if default is None:
        raise InputError(
            f"{measure} has units, so a random-effects model needs tau_scale=: how much sites' "
            "effects may plausibly differ, in those units",
            field="tau_scale",
        )
    return default


def pool_sites(
    sites: Sequence[Sequence[Poolable]],
    *,
    measure: str,
    tau_scale: float | None,
    mean_scale: float | None = None,
    level: float = 0.95,
    kept: KeptSites | None = None,
    _is_first: bool = True,
) -> PooledProfiles:
    """Pool outcomes that are grouped by site; `tau_scale` `None`: one common effect.

    What `kept` has of a site is not computed again.
    """
    kept = KeptSites() if kept is None else kept
    says = kept.of_all(sites)
    informative = tuple(k for k, said in enumerate(says) if said is not None)
    uninformative = tuple(k for k, said in enumerate(says) if said is None)
    known = [said for said in says if said is not None]
    wider = None
    if tau_scale is None and len(known) > MANY:
        answer = of_many(kept.together(known), level)
    elif tau_scale is None:
        answer = common_effect([outcome for said in known for outcome in said.outcomes], level)
    elif informative:
        answer = mean_effect(kept.together(known), tau_scale, mean_scale, level)
        answer = answer._replace(marks=(*answer.marks, *_on_the_prior(answer, len(known))))
        if Mark.PRIOR_CONTRADICTED in answer.marks and _is_first:
            wider = pool_sites(
                sites,
                measure=measure,
                tau_scale=2.0 * tau_scale,
                mean_scale=mean_scale,
                level=level,
                kept=kept,
                _is_first=False,
            )
    else:
        answer = Answer(note=SILENT)
    foresight = answer.foresight
    words = {
        "sites": len(informative),
        "share": foresight.prior_share if foresight else 0.0,
        "beyond": foresight.beyond_prior if foresight else 0.0,
        "point": PRIOR_POINT * (tau_scale or 0.0),
    }
    sentences = [SENTENCES[mark].format(**words) for mark in answer.marks]
    if wider is not None:
        sentences.append(f"Under twice the scale: {_in_numbers(wider)}.")
    return PooledProfiles(
        measure=measure,
        model="fixed" if tau_scale is None else "random",
        level=level,
        estimate=answer.estimate,
        standard_error=answer.standard_error,
        interval=answer.interval,
        tau=answer.tau,
        tau_interval=answer.tau_interval,
        informative=informative,
        uninformative=uninformative,
        note=" ".join(filter(None, (answer.note, *sentences))),
        marks=answer.marks,
        prediction_interval=foresight.prediction if foresight else None,
        prior_share=foresight.prior_share if foresight else None,
        under_twice_the_scale=wider,
    )


_FEW = 4
"""Up to so many sites the share of the prior on tau is told."""
_BEYOND = 0.25
"""Sites that differ by tau up to 0.3 reach this probability in 0-3 % of sets under a prior of scale
0.5, those that differ by 1 in 48-90 % (3 to 20 sites)."""


def _on_the_prior(answer: Answer, informative: int) -> Iterator[Mark]:
    """What is to be said of the prior on tau beside a posterior."""
    if answer.foresight is None:
        return
    if informative == 1:
        yield Mark.PRIOR_DOMINATED
    elif informative <= _FEW:
        yield Mark.FEW_SITES
    if answer.foresight.beyond_prior > _BEYOND:
        yield Mark.PRIOR_CONTRADICTED


def _in_numbers(result: PooledProfiles) -> str:
    """Estimate, interval and tau, ratios on their own scale."""
    back = measure_named(result.measure).back
    low, high = (back(limit) for limit in result.interval)
    middle = "no estimate" if result.estimate is None else f"{back(result.estimate):.3g}"
    tau = "" if result.tau is None else f", tau {result.tau:.3g}"
    return f"{middle} [{low:.3g}, {high:.3g}]{tau}"

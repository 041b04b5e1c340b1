"""Pooling of whole log-likelihoods, in which small and zero-count sites need no correction."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple

import numpy as np

from qis._gate import checked
from qis.errors import InputError
from qis.outcomes import Effect, LikelihoodProfile, measure_named
from qis.outcomes._curves import Curves, Floats
from qis.outcomes._sampling import FURTHEST
from qis.picture.html import HasTable
from qis.synthesis._foresight import PRIOR_POINT, Foresight
from qis.synthesis._one_curve import OneCurve
from qis.synthesis._pooled_curve import PooledCurve
from qis.synthesis._quantiles import normal_quantile
from qis.synthesis._sites import check_choice, check_level, check_scale
from qis.synthesis.currency import (
    Likelihood,
    Poolable,
    check_poolable,
    has_tails,
)
from qis.synthesis.kept import KeptSites, Said, SummedMarginals
from qis.synthesis.marks import SENTENCES, Mark
from qis.synthesis.random_effects import open_limit, posterior_of_mean, rough_crossings

Interval = tuple[float, float]
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
    says = [kept.of(site) for site in sites]
    informative = tuple(k for k, said in enumerate(says) if said is not None)
    uninformative = tuple(k for k, said in enumerate(says) if said is None)
    known = [said for said in says if said is not None]
    # Floating-point sums depend on order: that of the content gives every node the same bits.
    parts = sorted(known, key=attrgetter("key"))
    wider = None
    if tau_scale is None and len(parts) > MANY:
        answer = _of_many(kept, parts, level)
    elif tau_scale is None:
        answer = common_effect([outcome for said in known for outcome in said.outcomes], level)
    elif informative:
        answer = _random(kept, parts, tau_scale, mean_scale, level)
        answer = answer._replace(marks=(*answer.marks, *_on_the_prior(answer, len(parts))))
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
        answer = Answer(note=_SILENT)
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


def _on_the_prior(answer: "Answer", informative: int) -> Iterator[Mark]:
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


_SILENT = "No outcome depends on the effect (no events, or all people at risk in one arm)."


class Answer(NamedTuple):
    """What outcomes say of the effect; fields as those of `PooledProfiles`."""

    estimate: float | None = None
    standard_error: float | None = None
    interval: Interval = (-math.inf, math.inf)
    tau: float | None = None
    tau_interval: Interval | None = None
    note: str = ""
    marks: tuple[Mark, ...] = ()
    foresight: Foresight | None = None


def own_effect(said: Said, level: float) -> Answer:
    """What one site says by itself, without marks; computed once for each level."""
    found = said.own.get(level)
    if not isinstance(found, Answer):
        alone = said.outcomes[0] if len(said.outcomes) == 1 else None
        if isinstance(alone, LikelihoodProfile):
            found = _of_profile(alone, normal_quantile(0.5 + level / 2.0))
        else:
            found = common_effect(said.outcomes, level)._replace(marks=())
        said.own[level] = found
    return found


def _of_profile(profile: LikelihoodProfile, quantile: float) -> Answer:
    """What a site says that sent one profile: the maximum is that which it sent."""
    curve, drop = OneCurve(profile), quantile**2 / 2.0
    argmax = profile.maximum
    if argmax is None:
        side = 1 if curve.limits[1] > curve.limits[0] else -1
        level = curve.limits[side > 0] - drop
        border = _meant(curve.crossing(level, curve.far(side, level), -side))
        return _one_side(border, side, drop)
    low, high = (_meant(curve.crossing(-drop, argmax, side)) for side in (-1, 1))
    error = (curve.crossing(-0.5, argmax, 1) - curve.crossing(-0.5, argmax, -1)) / 2.0
    return Answer(
        estimate=argmax,
        standard_error=error if math.isfinite(error) else None,
        interval=(low, high),
        note=_without_limits(low, high),
    )


def common_effect(informative: Sequence[Poolable], level: float) -> Answer:
    """What outcomes that depend on the effect say of it, if it is one and the same."""
    if not informative:
        return Answer(note=_SILENT)
    quantile = normal_quantile(0.5 + level / 2.0)
    alone = informative[0] if len(informative) == 1 else None
    if isinstance(alone, Effect):
        return _normal(alone.estimate, alone.standard_error, quantile)
    if isinstance(alone, LikelihoodProfile):
        found = _of_profile(alone, quantile)
        middle = () if found.estimate is None else (found.estimate,)
        read = (*middle, *found.interval)
        marks = _marks(Likelihood.of(informative), read, found.standard_error or 1.0)
        return found._replace(marks=marks)
    whole = Likelihood.of(informative)
    if whole.is_parabola:
        return _normal(whole.centre, whole.precision**-0.5, quantile)
    origin, unit = whole.frame
    pooled = whole.moved(origin, unit)
    search = PooledCurve(pooled)
    # The chi-squared quantile with 1 degree of freedom is the square of the normal one.
    drop = quantile**2 / 2.0
    argmax, height = search.maximum()
    if math.isinf(argmax):
        return _open(1 if argmax > 0.0 else -1, drop, search, pooled)
    low, high = (search.crossing(argmax, height - drop, side) for side in (-1, 1))
    if pooled.curves is not None:
        low, high = _meant(low), _meant(high)
    one_below = [search.crossing(argmax, height - 0.5, side) for side in (-1, 1)]
    error = (one_below[1] - one_below[0]) / 2.0
    note = _without_limits(low, high)
    scale = error if math.isfinite(error) else 1.0
    return Answer(
        estimate=origin + unit * argmax,
        standard_error=unit * error if math.isfinite(error) else None,
        interval=(origin + unit * low, origin + unit * high),
        note=note,
        marks=_marks(pooled, (argmax, low, high), scale),
    )


def _of_many(kept: KeptSites, said: list[Said], level: float) -> Answer:
    """As `common_effect`, of so many sites that what is known of each is not computed again.

    A sum of polynomials through each log-likelihood shows where the maximum and the limits are;
    steps of Newton's on the log-likelihoods themselves, for all at once, lead there.
    """
    whole = kept.sum(said)
    outcomes = [outcome for site in said for outcome in site.outcomes]
    if whole.is_parabola or has_tails(whole.exact):
        return common_effect(outcomes, level)
    drop = normal_quantile(0.5 + level / 2.0) ** 2 / 2.0
    drops = np.array([0.0, drop, drop, 0.5, 0.5])
    theta = rough_crossings(SummedMarginals(said), [site.facts().span for site in said], drops)
    if theta is None:
        return common_effect(outcomes, level)
    for _ in range(_STEPS):
        values, slopes, bends = whole.evaluate(theta)
        peak = values[0] - 0.5 * slopes[0] ** 2 / bends[0]
        steps = (peak - drops - values) / slopes
        steps[0] = -slopes[0] / bends[0]
        theta += steps
        if np.abs(steps).max() <= _CLOSE * (theta[4] - theta[3]):
            break
    else:
        return common_effect(outcomes, level)
    argmax, low, high, *one_below = theta.tolist()
    error = (one_below[1] - one_below[0]) / 2.0
    marks = _marks(whole, (argmax, low, high), error)
    return Answer(estimate=argmax, standard_error=error, interval=(low, high), marks=marks)


MANY = 64
"""From more sites than this the common effect is found from sums over sites."""
_STEPS = 12
_CLOSE = 1e-10

_TOLERATED = 0.01
"""Part of a standard error by which what was not sampled may move a pooled value, unmarked."""


_HALF = 9
"""At so many values from the estimate to each limit curves are asked how wrong their slopes are."""
_UNDERSTATED = 1.5
"""Factor by which the error of a cubic is hardly ever larger than its estimate from the curve."""


def _marks(pooled: Likelihood, read: Sequence[float], standard_error: float) -> tuple[Mark, ...]:
    """What to say of a common effect whose curves were read at these values."""
    theta = np.array(sorted(value for value in read if math.isfinite(value)))
    if pooled.curves is None or not theta.size:  # nothing was read where there is no limit at all
        return ()
    doubt = float(pooled.curves.slope_bound(theta).sum(axis=0).max())
    return _of_doubts(doubt, _lost(pooled.curves, theta, 0.0), standard_error)


def _of_doubts(extrapolated: float, lost: float, standard_error: float) -> tuple[Mark, ...]:
    # A slope that is wrong by e moves a maximum by e times the squared standard error.
    allowed = _TOLERATED / standard_error
    doubts = {Mark.EXTRAPOLATED: extrapolated, Mark.INTERPOLATED: _UNDERSTATED * lost}
    return tuple(mark for mark, doubt in doubts.items() if doubt > allowed)


def _lost(curves: Curves | None, read: Floats, tau: float) -> float:
    """How much of the slope nine points lose at the estimate, or on the way from it to a limit.

    `read` holds a limit, the estimate and the other limit, or as many of these as are finite.
    """
    if curves is None:
        return 0.0
    ways = list(itertools.pairwise(read.tolist())) or [(float(read[0]), float(read[0]))]
    theta = np.concatenate([np.linspace(start, end, _HALF) for start, end in ways])
    errors = curves.interpolation_error(theta)
    if tau > 0.0:
        # Of a site that is precise beside tau its own effect is known by itself: what its curve
        # says far from there moves the mean the less.
        errors /= 1.0 + np.maximum(-curves.evaluate(theta)[2], 0.0) * tau**2
    sums = errors.sum(axis=0).reshape(len(ways), _HALF)
    at_ends = np.abs(sums[:, [0, -1]] if len(read) < 3 else sums[0, -1:]).max()
    return float(max(at_ends, np.abs(sums.mean(axis=1)).max()))


def _normal(estimate: float, error: float, quantile: float) -> Answer:
    ends = (estimate - quantile * error, estimate + quantile * error)
    return Answer(estimate=estimate, standard_error=error, interval=ends)


def _meant(limit: float) -> float:
    """The limit of a ratio; infinite beyond what a profile may hold: e**64 means nothing."""
    return limit if abs(limit) <= FURTHEST else math.copysign(math.inf, limit)


def _without_limits(low: float, high: float) -> str:
    missing = [name for name, end in (("lower", low), ("upper", high)) if math.isinf(end)]
    if not missing:
        return ""
    return (
        "The log-likelihood does not drop far enough on "
        f"{'either side' if len(missing) == 2 else 'one side'}: "
        f"there is {' and '.join(f'no {name} limit' for name in missing)}."
    )


def _open(side: int, drop: float, search: PooledCurve, pooled: Likelihood) -> Answer:
    # Wherever the walk starts out on the level side, it ends at the same border.
    height = pooled.limits[1 if side > 0 else 0]
    border = search.crossing(search.far(side), height - drop, -side)
    if pooled.curves is not None:
        border = _meant(border)
    answer = _one_side(border, side, drop)
    if math.isfinite(border):
        answer = answer._replace(marks=_marks(pooled, [border], 1.0))
    return answer


def _one_side(border: float, side: int, drop: float) -> Answer:
    if math.isinf(border):
        return Answer(note=_without_limits(-math.inf, math.inf))
    return Answer(
        interval=(border, math.inf) if side > 0 else (-math.inf, border),
        note=_one_sided(side, drop),
    )


def _one_sided(side: int, drop: float) -> str:
    way, bound = ("larger", "lower") if side > 0 else ("smaller", "upper")
    return (
        f"All informative outcomes together favour ever {way} values, so there is no finite "
        f"estimate; the {bound} limit is where the log-likelihood is {drop:.2f} under its limit."
    )


def _random(
    kept: KeptSites,
    said: list[Said],
    tau_scale: float,
    mean_scale: float | None,
    level: float,
) -> Answer:
    limits = [math.fsum(site.facts().limits[end] for site in said) for end in (0, 1)]
    level_ends = [end for end in (0, 1) if limits[end] > -math.inf]
    if mean_scale is None and len(level_ends) == 2:
        return Answer(note=_UNBOUNDED)
    if mean_scale is None and level_ends:
        side = 1 if level_ends[0] else -1
        drop = normal_quantile(0.5 + level / 2.0) ** 2 / 2.0
        whole = kept.sum(said)
        border = open_limit(said, tau_scale=tau_scale, drop=drop, side=side)
        if whole.curves is not None:
            border = _meant(border)
        answer = _one_side(border, side, drop)
        if math.isinf(border):
            return answer
        return answer._replace(
            note=answer.note + " A prior on the mean (mean_scale) would give one.",
            marks=_marks(whole, [border], 1.0),
        )
    if mean_scale is None and _falls_too_slowly(kept.sum(said)):
        return Answer(note=_ENDLESS)
    found = posterior_of_mean(said, tau_scale=tau_scale, mean_scale=mean_scale, level=level)
    low, high = found.interval
    read = [low, found.median, high]  # curves are of ratios, whose origin is 0 and unit 1
    return Answer(
        estimate=found.median,
        standard_error=found.sd,
        interval=(low, high),
        tau=found.tau,
        tau_interval=found.tau_interval,
        foresight=found.foresight,
        marks=_of_doubts(
            found.slope_error,
            _lost(kept.sum(said).curves, np.array(read), found.tau),
            found.sd,
        ),
    )


_UNBOUNDED = (
    "The likelihood of the mean does not fall to nothing on either side, so it has no posterior "
    "under a flat prior; give mean_scale."
)

_FAR = 1e3
"""A log ratio beyond which no posterior is looked for: e**64 means nothing."""
_FAST = 0.1
"""Curves that fall by this each unit or faster have fallen far enough there."""
_NOTHING = 22.0
"""Where a log posterior is this far under its largest value, nothing of it is left."""
_ENDLESS = (
    "The likelihood of the mean falls so slowly that its posterior under a flat prior would reach "
    "beyond any ratio that means something; give mean_scale."
)


def _falls_too_slowly(whole: Likelihood) -> bool:
    if whole.curves is None or whole.precision > 0.0:
        return False
    if max(whole.curves.below.sum(), whole.curves.above.sum()) < -_FAST:
        return False
    start, end = whole.span
    heights = whole.value(np.concatenate(([-_FAR], np.linspace(start, end, 65), [_FAR])))
    return bool(max(heights[0], heights[-1]) > heights.max() - _NOTHING)

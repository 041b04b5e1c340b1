"""The common effect: where the summed log-likelihood is largest, and where it has dropped."""

import math
from collections.abc import Sequence

import numpy as np

from qis.outcomes import Effect, LikelihoodProfile
from qis.synthesis._one_curve import OneCurve
from qis.synthesis._pooled_curve import PooledCurve
from qis.synthesis._quantiles import normal_quantile
from qis.synthesis.answers import SILENT, Answer, meant, normal, one_side, without_limits
from qis.synthesis.currency import Likelihood, Poolable, has_tails
from qis.synthesis.doubts import marks_of_common_effect
from qis.synthesis.rough import rough_crossings
from qis.synthesis.said import Said
from qis.synthesis.together import Together

MANY = 64
"""From more sites than this the common effect is found from sums over sites."""
_STEPS = 12
_CLOSE = 1e-6
"""Of the standard error: after so small a step of Newton's the error is far under a billionth."""


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
        border = meant(curve.crossing(level, curve.far(side, level), -side))
        return one_side(border, side, drop)
    low, high = (meant(curve.crossing(-drop, argmax, side)) for side in (-1, 1))
    error = (curve.crossing(-0.5, argmax, 1) - curve.crossing(-0.5, argmax, -1)) / 2.0
    return Answer(
        estimate=argmax,
        standard_error=error if math.isfinite(error) else None,
        interval=(low, high),
        note=without_limits(low, high),
    )


def common_effect(informative: Sequence[Poolable], level: float) -> Answer:
    """What outcomes that depend on the effect say of it, if it is one and the same."""
    if not informative:
        return Answer(note=SILENT)
    quantile = normal_quantile(0.5 + level / 2.0)
    alone = informative[0] if len(informative) == 1 else None
    if isinstance(alone, Effect):
        return normal(alone.estimate, alone.standard_error, quantile)
    if isinstance(alone, LikelihoodProfile):
        found = _of_profile(alone, quantile)
        marks = marks_of_common_effect(
            Likelihood.of(informative), found.estimate, found.interval, found.standard_error
        )
        return found._replace(marks=marks)
    whole = Likelihood.of(informative)
    if whole.is_parabola:
        return normal(whole.centre, whole.precision**-0.5, quantile)
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
        low, high = meant(low), meant(high)
    one_below = [search.crossing(argmax, height - 0.5, side) for side in (-1, 1)]
    error = (one_below[1] - one_below[0]) / 2.0
    note = without_limits(low, high)
    return Answer(
        estimate=origin + unit * argmax,
        standard_error=unit * error if math.isfinite(error) else None,
        interval=(origin + unit * low, origin + unit * high),
        note=note,
        marks=marks_of_common_effect(
            pooled, argmax, (low, high), error if math.isfinite(error) else None
        ),
    )


def of_many(together: Together, level: float) -> Answer:
    """As `common_effect`, of so many sites that what is known of each is not computed again.

    A sum of polynomials through each log-likelihood shows where the maximum and the limits are;
    steps of Newton's on the log-likelihoods themselves, for all at once, lead there.
    """
    whole = together.whole
    if whole.is_parabola or has_tails(whole.exact):
        return _one_by_one(together, level)
    drop = normal_quantile(0.5 + level / 2.0) ** 2 / 2.0
    drops = np.array([0.0, drop, drop, 0.5, 0.5])
    theta = rough_crossings(together.marginals(), together.facts().spans, drops)
    if theta is None:
        return _one_by_one(together, level)
    for _ in range(_STEPS):
        values, slopes, bends = whole.evaluate(theta)
        peak = values[0] - 0.5 * slopes[0] ** 2 / bends[0]
        steps = (peak - drops - values) / slopes
        steps[0] = -slopes[0] / bends[0]
        theta += steps
        if np.abs(steps).max() <= _CLOSE * (theta[4] - theta[3]):
            break
    else:
        return _one_by_one(together, level)
    argmax, low, high, *one_below = theta.tolist()
    error = (one_below[1] - one_below[0]) / 2.0
    marks = marks_of_common_effect(whole, argmax, (low, high), error)
    return Answer(estimate=argmax, standard_error=error, interval=(low, high), marks=marks)


def _one_by_one(together: Together, level: float) -> Answer:
    return common_effect([outcome for said in together.said for outcome in said.outcomes], level)


def _open(side: int, drop: float, search: PooledCurve, pooled: Likelihood) -> Answer:
    # Wherever the walk starts out on the level side, it ends at the same border.
    height = pooled.limits[1 if side > 0 else 0]
    border = search.crossing(search.far(side), height - drop, -side)
    if pooled.curves is not None:
        border = meant(border)
    answer = one_side(border, side, drop)
    if math.isfinite(border):
        marks = marks_of_common_effect(pooled, None, answer.interval, None)
        answer = answer._replace(marks=marks)
    return answer

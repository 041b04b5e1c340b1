"""The mean of effects that differ between sites, and where it has no posterior."""

import math

import numpy as np

from qis.synthesis._quantiles import normal_quantile
from qis.synthesis.answers import Answer, meant, one_side
from qis.synthesis.currency import Likelihood
from qis.synthesis.doubts import marks_of_common_effect, marks_of_mean_effect
from qis.synthesis.random_effects import open_limit, posterior_of_mean
from qis.synthesis.together import Together


def mean_effect(
    together: Together,
    tau_scale: float,
    mean_scale: float | None,
    level: float,
) -> Answer:
    """Posterior of the mean effect, or what stands in the way of one."""
    limits = together.facts().sums
    level_ends = [end for end in (0, 1) if limits[end] > -math.inf]
    if mean_scale is None and len(level_ends) == 2:
        return Answer(note=_UNBOUNDED)
    if mean_scale is None and level_ends:
        side = 1 if level_ends[0] else -1
        drop = normal_quantile(0.5 + level / 2.0) ** 2 / 2.0
        whole = together.whole
        border = open_limit(together, tau_scale=tau_scale, drop=drop, side=side)
        if whole.curves is not None:
            border = meant(border)
        answer = one_side(border, side, drop)
        if math.isinf(border):
            return answer
        return answer._replace(
            note=answer.note + " A prior on the mean (mean_scale) would give one.",
            marks=marks_of_common_effect(whole, None, answer.interval, None),
        )
    if mean_scale is None and _falls_too_slowly(together.whole):
        return Answer(note=_ENDLESS)
    found = posterior_of_mean(together, tau_scale=tau_scale, mean_scale=mean_scale, level=level)
    low, high = found.interval
    return Answer(
        estimate=found.median,
        standard_error=found.sd,
        interval=(low, high),
        tau=found.tau,
        tau_interval=found.tau_interval,
        foresight=found.foresight,
        marks=marks_of_mean_effect(
            together.whole,
            (low, found.median, high),  # curves are of ratios, whose origin is 0 and unit 1
            tau=found.tau,
            slope_error=found.slope_error,
            sd=found.sd,
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

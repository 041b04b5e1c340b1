"""What outcomes say of the effect together: the numbers, and in words what stands in their way."""

import math
from typing import NamedTuple

from qis.outcomes._sampling import FURTHEST
from qis.synthesis._foresight import Foresight
from qis.synthesis.marks import Mark

Interval = tuple[float, float]

SILENT = "No outcome depends on the effect (no events, or all people at risk in one arm)."


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


def normal(estimate: float, error: float, quantile: float) -> Answer:
    """What a normal likelihood says."""
    ends = (estimate - quantile * error, estimate + quantile * error)
    return Answer(estimate=estimate, standard_error=error, interval=ends)


def meant(limit: float) -> float:
    """The limit of a ratio; infinite beyond what a profile may hold: e**64 means nothing."""
    return limit if abs(limit) <= FURTHEST else math.copysign(math.inf, limit)


def without_limits(low: float, high: float) -> str:
    """Which limits there are not, in words."""
    missing = [name for name, end in (("lower", low), ("upper", high)) if math.isinf(end)]
    if not missing:
        return ""
    return (
        "The log-likelihood does not drop far enough on "
        f"{'either side' if len(missing) == 2 else 'one side'}: "
        f"there is {' and '.join(f'no {name} limit' for name in missing)}."
    )


def one_side(border: float, side: int, drop: float) -> Answer:
    """What a likelihood says that rises for ever to a side."""
    if math.isinf(border):
        return Answer(note=without_limits(-math.inf, math.inf))
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

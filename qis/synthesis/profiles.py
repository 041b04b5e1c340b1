"""Pooling of likelihood profiles: small and zero-count sites count with all that they know."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from qis.errors import IncompatibleEvidenceError, InputError
from qis.outcomes._curves import Curves
from qis.outcomes.profile import LikelihoodProfile, curves_of
from qis.synthesis._pooled_curve import PooledCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledProfiles:
    """What several profiles say together.

    Parameters
    ----------
    measure, model, level
        As given.
    estimate
        Where the summed log-likelihood is largest, on the log scale; `None` if no finite value
        is, because all informative sites rise to the same side or none is informative.
    interval
        All values whose summed log-likelihood is within half the chi-squared quantile (1 degree
        of freedom) of its largest value, or of its limit on the side where it rises for ever:
        one end is then infinite, and both are if the sites say nothing.
    informative, uninformative
        Positions, in the sequence given, of the profiles that do and do not depend on the effect.
    note
        In words, what stands in the way of an estimate; empty if nothing does.

    """

    measure: str
    model: Literal["fixed"]
    level: float
    estimate: float | None
    interval: tuple[float, float]
    informative: tuple[int, ...]
    uninformative: tuple[int, ...]
    note: str


def pool_profiles(
    profiles: Sequence[LikelihoodProfile], *, model: Literal["fixed"], level: float = 0.95
) -> PooledProfiles:
    """Add up the log-likelihoods of sites that estimate one effect.

    Parameters
    ----------
    profiles
        One or more of the same study and measure, one from each group of people. Their order
        changes no bit of the result.
    model
        ``"fixed"``: one common effect.
    level
        Coverage of the interval, in (0, 1).

    Raises
    ------
    InputError
        If there is no profile, or an argument is out of range.
    IncompatibleEvidenceError
        If studies or measures differ.

    """
    if model != "fixed":
        raise InputError(
            f"model is {model!r:.40}; it must be 'fixed'",
            field="model",
            actual=model,
            limit=("fixed",),
        )
    _check_level(level)
    _check_compatible(profiles)
    informative = tuple(k for k, p in enumerate(profiles) if p.is_informative)
    uninformative = tuple(k for k, p in enumerate(profiles) if not p.is_informative)
    estimate, interval, note = None, (-math.inf, math.inf), _SILENT
    if informative:
        estimate, interval, note = _fixed(_ordered([profiles[k] for k in informative]), level)
    return PooledProfiles(
        measure=profiles[0].measure,
        model=model,
        level=level,
        estimate=estimate,
        interval=interval,
        informative=informative,
        uninformative=uninformative,
        note=note,
    )


_SILENT = "No profile depends on the effect (no events, or all people at risk in one arm)."


def _fixed(curves: Curves, level: float) -> tuple[float | None, tuple[float, float], str]:
    pooled = PooledCurve(curves)
    drop = NormalDist().inv_cdf(0.5 + level / 2.0) ** 2 / 2.0
    place, height = pooled.maximum()
    if math.isfinite(place):
        low, high = (pooled.crossing(place, height - drop, side) for side in (-1, 1))
        return place, (low, high), _open_note(low, high)
    side = 1 if place > 0.0 else -1
    # Wherever the walk starts out on the level side, it ends at the same border.
    border = pooled.crossing(pooled.far(side), height - drop, -side)
    interval = (border, math.inf) if side > 0 else (-math.inf, border)
    way = "larger" if side > 0 else "smaller"
    bound = "lower" if side > 0 else "upper"
    note = (
        f"All informative profiles together favour ever {way} values, so there is no finite "
        f"estimate; the {bound} limit is where the log-likelihood is {drop:.2f} under its limit."
    )
    return None, interval, note


def _open_note(low: float, high: float) -> str:
    if math.isfinite(low) and math.isfinite(high):
        return ""
    return "The log-likelihood does not drop far enough on one side: the interval is open there."


def _ordered(profiles: Sequence[LikelihoodProfile]) -> Curves:
    def numbers(p: LikelihoodProfile) -> tuple[object, ...]:
        ends = (p.lower, p.upper, p.slope_below, p.slope_above)
        return (ends, p.values, p.gradients, () if p.maximum is None else (p.maximum,))

    return curves_of(sorted(profiles, key=numbers))


def _check_level(level: object) -> None:
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise InputError(f"level is {level!r:.40}; it must lie in (0, 1)", field="level")


def _check_compatible(profiles: Sequence[LikelihoodProfile]) -> None:
    if not profiles:
        raise InputError("there is no profile to pool", field="profiles")
    for field in ("study_id", "measure"):
        found = {getattr(profile, field) for profile in profiles}
        if len(found) > 1:
            raise IncompatibleEvidenceError(
                f"the profiles differ in {field}; only those of one study and measure are pooled",
                field=field,
                actual=tuple(sorted(found)),
            )

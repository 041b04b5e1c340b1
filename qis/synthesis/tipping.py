"""The tipping-point table: what sites that said nothing would have to say for another answer.

A site is silent or suppressed for reasons that may have to do with its result: small counts are
kept back, and who saw no effect may not write. So the missing sites are put in as if each had the
median precision of those that are there, and an estimate that lies some way off the pooled one.
It is no estimate of what they know.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qis._given import instance, whole_number
from qis.errors import InputError, NoEstimateError
from qis.evidence import Reason
from qis.outcomes import Effect, measure_named
from qis.picture.html import HasLines
from qis.synthesis.answers import Interval
from qis.synthesis.currency import Likelihood, is_informative
from qis.synthesis.profiles import PooledProfiles, pool_sites

if TYPE_CHECKING:
    from qis.synthesis.result import Synthesis

_RATIOS: Final = (1.5, 2.0)
_FURTHEST: Final = (1.0, 2.0, 4.0, 8.0)
"""How far the tipping shift is looked for, in units of the largest shift in the table."""
_MOST: Final = 10_000
_CUTS: Final = 12
"""Halvings of the stretch on which the shift lies; the last steps are straight lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TippingRow:
    """One supposition.

    Parameters
    ----------
    shift
        How far the missing sites' estimates lie from the pooled one, on the measure's scale
        (logarithms for ratios).
    estimate, interval
        What all sites would then say together.

    """

    shift: float
    estimate: float | None
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TippingPoints(HasLines):
    """What the answer would be, had the missing sites reported.

    Parameters
    ----------
    measure, model, level
        As in the synthesis.
    missing
        How many sites are supposed.
    names
        Which they are: silent and suppressed ones; empty if the number was given.
    standard_error
        That of each, from the median precision of the informative sites.
    rows
        Suppositions, by ascending shift.
    tipping_shift
        The smallest shift at which a limit of the interval meets no effect; `None` if there is none
        within eight times the largest shift in the table, or the measure knows no "no effect".

    Examples
    --------
    >>> import qis
    >>> effect = qis.Effect(question="q", measure="OR", estimate=-0.5, standard_error=0.2)
    >>> found = qis.synthesis.tipping_points(qis.synthesise([effect], model="fixed"), missing=1)
    >>> found.missing, found.measure
    (1, 'OR')

    """

    measure: str
    model: str
    level: float
    missing: int
    names: tuple[str, ...]
    standard_error: float
    rows: tuple[TippingRow, ...]
    tipping_shift: float | None

    def __str__(self) -> str:
        back = measure_named(self.measure).back
        is_ratio = measure_named(self.measure).is_ratio
        lines = [f"If the {self.missing} missing sites, each of median precision, had found:"]
        for row in self.rows:
            shown = math.exp(row.shift) if is_ratio else row.shift
            what = f"{shown:.3g} times the pooled" if is_ratio else f"the pooled {shown:+.3g}"
            if row.shift == 0.0:
                what = "the pooled"
            low, high = (back(limit) for limit in row.interval)
            middle = "no estimate" if row.estimate is None else f"{back(row.estimate):.3g}"
            lines.append(f"  {what}: {middle} [{low:.3g}, {high:.3g}]")
        if measure_named(self.measure).has_null:
            lines.append(f"  {self._tipping(is_ratio=is_ratio)}")
        return "\n".join(lines)

    def _tipping(self, *, is_ratio: bool) -> str:
        if self.tipping_shift is None:
            return "No shift that was tried brings a limit of the interval to no effect."
        shift = math.exp(self.tipping_shift) if is_ratio else self.tipping_shift
        what = f"{shift:.3g} times" if is_ratio else f"{shift:+.3g} from"
        return f"The interval meets no effect if they had found {what} the pooled value."


def tipping_points(synthesis: "Synthesis", *, missing: int | None = None) -> TippingPoints:
    """Put in the missing sites, at the pooled value and some way off it.

    Parameters
    ----------
    synthesis
        Its chosen model is used.
    missing
        How many sites to suppose; default: those enrolled of which nothing came, and those whose
        disclosure rules keep their data back.

    Raises
    ------
    InputError
        If it is no synthesis, no site is missing and no number was given, or the measure has units
        and the synthesis no scale for tau.
    NoEstimateError
        If there is no finite estimate to shift.

    Examples
    --------
    >>> import qis
    >>> effect = qis.Effect(question="q", measure="OR", estimate=-0.5, standard_error=0.2)
    >>> found = qis.synthesis.tipping_points(qis.synthesise([effect], model="fixed"), missing=1)
    >>> found.missing, found.measure
    (1, 'OR')

    """
    from qis.synthesis.result import Synthesis  # noqa: PLC0415  which imports this one's siblings

    instance(synthesis, "synthesis", Synthesis, "qis.synthesise(…)")
    result, fixed = synthesis.chosen, synthesis.fixed
    names: tuple[str, ...] = ()
    if missing is None:
        names = missing_sites(synthesis)
        missing = len(names)
        if not missing:
            raise InputError("no site is silent or suppressed; give missing=", field="missing")
    missing = whole_number(missing, "missing", 1, _MOST)
    if result is None or fixed is None or result.estimate is None:
        raise NoEstimateError("there is no finite estimate to shift", field="synthesis")
    error = _median_error(synthesis, result)
    steps = _steps(synthesis, result.measure)

    def supposed(shift: float) -> PooledProfiles:
        others = [
            Effect(
                study_id=synthesis.study_id,
                question=synthesis.question,
                measure=result.measure,
                estimate=(result.estimate or 0.0) + shift,
                standard_error=error,
            )
        ] * missing
        return pool_sites(
            [*(site.outcomes for site in synthesis.sites), *((other,) for other in others)],
            measure=result.measure,
            tau_scale=synthesis.tau_scale if synthesis.model == "random" else None,
            mean_scale=synthesis.mean_scale if synthesis.model == "random" else None,
            level=synthesis.level,
        )

    rows = []
    for shift in (*(-step for step in reversed(steps)), 0.0, *steps):
        found = supposed(shift)
        rows.append(TippingRow(shift=shift, estimate=found.estimate, interval=found.interval))
    tipping = None
    if measure_named(result.measure).has_null:
        tipping = _tipping_shift(lambda shift: supposed(shift).interval, rows, steps[-1])
    return TippingPoints(
        measure=result.measure,
        model=result.model,
        level=synthesis.level,
        missing=missing,
        names=names,
        standard_error=error,
        rows=tuple(rows),
        tipping_shift=tipping,
    )


def missing_sites(synthesis: "Synthesis") -> tuple[str, ...]:
    """Names of the sites that are silent, or suppressed and not there otherwise."""
    there = {site.name for site in synthesis.sites}
    kept_back = {
        left.site or str(left.packet.issuer)
        for left in synthesis.excluded
        if left.reason == Reason.SUPPRESSED.label
    }
    return tuple(sorted({*synthesis.silent, *kept_back} - there))


def _median_error(synthesis: "Synthesis", result: PooledProfiles) -> float:
    """The standard error of the median precision: of the curvature about the estimate."""
    middle, reach = result.estimate or 0.0, result.standard_error or 1.0
    precisions = []
    for site in synthesis.sites:
        outcomes = [outcome for outcome in site.outcomes if is_informative(outcome)]
        if outcomes:
            likelihood = Likelihood.of(outcomes)
            bend = likelihood.bend(middle - reach, middle + reach) / (2.0 * reach)
            precisions.append(max(bend, 0.0))
    precision = statistics.median(precisions)
    if not precision > 0.0:
        raise NoEstimateError(
            "half of the sites say nothing at the estimate, so there is no median precision",
            field="synthesis",
        )
    return float(precision**-0.5)


def _steps(synthesis: "Synthesis", measure: str) -> tuple[float, ...]:
    if measure_named(measure).is_ratio:
        return tuple(math.log(ratio) for ratio in _RATIOS)
    if synthesis.tau_scale is None:
        raise InputError(
            f"{measure} has units: give synthesise() a tau_scale, of which the shifts are one and "
            "two",
            field="tau_scale",
        )
    return synthesis.tau_scale, 2.0 * synthesis.tau_scale


def _tipping_shift(
    interval_at: Callable[[float], Interval], rows: Sequence[TippingRow], furthest: float
) -> float | None:
    """The smallest shift at which a limit is 0; each limit is followed until it changes sign."""
    low, high = next(row.interval for row in rows if row.shift == 0.0)
    if low == 0.0 or high == 0.0:
        return 0.0
    # A limit that lies beyond no effect has to come back; else the nearer one of two goes there.
    sides = [(1, 1)] if high < 0.0 else [(0, -1)] if low > 0.0 else [(0, 1), (1, -1)]
    known = {row.shift: row.interval for row in rows}
    found = [_crossing(interval_at, known, end, side, furthest) for end, side in sides]
    return min((shift for shift in found if shift is not None), key=abs, default=None)


def _crossing(
    interval_at: Callable[[float], Interval],
    known: dict[float, Interval],
    end: int,
    side: int,
    furthest: float,
) -> float | None:
    """Where a limit (0: lower, 1: upper) changes its sign on one side, of shifts."""

    def limit(shift: float) -> float:
        if shift not in known:
            known[shift] = interval_at(shift)
        return known[shift][end]

    near = 0.0
    tried = [shift for shift in sorted(known, key=abs) if shift * side > 0.0]
    for far in (*tried, *(side * furthest * times for times in _FURTHEST[1:])):
        if np.sign(limit(far)) != np.sign(limit(0.0)):
            break
        near = far
    else:
        return None
    below, above, middle = limit(near), limit(far), far
    # The Illinois method: straight lines, none of whose ends stays for long.
    for _ in range(_CUTS):
        line = near + (far - near) * below / (below - above)
        middle = line if math.isfinite(line) else 0.5 * (near + far)
        value = limit(middle)
        if abs(value) < 1e-6 * furthest:
            return middle
        if np.sign(value) == np.sign(below):
            near, below, above = middle, value, 0.5 * above
        else:
            far, above, below = middle, value, 0.5 * below
    return middle

"""Known attacks: what an outsider can compute from an outcome, tried before it is released.

They need the packet and nothing else. If they find nothing, that proves nothing about attacks that
are not here, nor about people who know part of the data already.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis._gate import checked
from qis._given import whole_number
from qis.disclosure.finding import Finding
from qis.disclosure.presets import LARGEST_CELL
from qis.disclosure.printed import TOLERANCE, precision_of
from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments, Outcome, QuadraticLikelihood

Floats = NDArray[np.float64]

SLOPE_TOLERANCE: Final = 1e-3
"""A limiting slope within this of a whole number is taken for a count of events."""
_FINE: Final = 1e-5
"""Estimates known better than this need no search around the solved cell."""
_STEPS: Final = (0, -1, 1, -2, 2)
"""Where rounding is coarser than `_FINE`, the neighbours of the solved cell are tried too."""
_LARGEST_N: Final = 2_000_000
_USUAL_BELOW: Final = 11


class TwoByTwo(NamedTuple):
    """A 2×2 table: events and others of the treated and the control arm."""

    events: int
    others: int
    control_events: int
    control_others: int


def findings(outcome: Outcome, *, below: int) -> list[Finding]:
    """List the counts of people that can be read from an outcome or computed from it.

    Parameters
    ----------
    outcome
        The outcome that is to be released.
    below
        Search estimates for tables with a cell of 1 to `below` − 1; larger cells are not searched.

    """
    for kind, attack in _ATTACKS.items():
        if isinstance(outcome, kind):
            return list(attack(outcome, below))
    return []


def is_known(outcome: Outcome) -> bool:
    """True if `findings` knows which counts of people an outcome of this kind shows."""
    return isinstance(outcome, tuple(_ATTACKS))


def _shown_counts(outcome: Counts, _below: int) -> Iterator[Finding]:
    arms = [("treated", outcome.events, outcome.total)]
    if outcome.control_events is not None and outcome.control_total is not None:
        arms.append(("control", outcome.control_events, outcome.control_total))
    for arm, events, total in arms:
        yield Finding("written", f"people in the {arm} arm", total)
        yield Finding("written", f"events in the {arm} arm", events)
        if outcome.person_time is None or total > events:  # a rate may be of an event as death is
            yield Finding("by subtraction", f"without event in the {arm} arm", total - events)


def _shown_moments(outcome: Moments, _below: int) -> Iterator[Finding]:
    yield Finding("written", "people in the treated arm", outcome.total)
    if outcome.control_total is not None:
        yield Finding("written", "people in the control arm", outcome.control_total)


def _of_profile(outcome: LikelihoodProfile, _below: int) -> Iterator[Finding]:
    """Read events from the limiting slopes.

    Far out, a partial or conditional log-likelihood falls by 1 a unit for each event of one arm.
    """
    yield from _written(outcome.n, outcome.events)
    # Of a 2×2 table they are the smaller cell of each diagonal; both are events if they add up.
    are_events = outcome.events == -round(outcome.slope_below + outcome.slope_above)
    for arm, other, slope in (
        ("treated", "control", outcome.slope_below),
        ("control", "treated", outcome.slope_above),
    ):
        count = round(-slope)
        if abs(-slope - count) <= SLOPE_TOLERANCE:
            cell = f"events in the {arm} arm"
            if outcome.measure == "OR" and not are_events:
                cell += f", or people without event in the {other} arm"
            yield Finding("from the profile's slopes", cell, count)


def _of_quadratic(outcome: QuadraticLikelihood, _below: int) -> Iterator[Finding]:
    yield from _written(outcome.n, outcome.events)


def _written(n: int | None, events: int | None) -> Iterator[Finding]:
    if n is not None:
        yield Finding("written", "people", n)
    if events is not None:
        yield Finding("written", "events", events)
        if n is not None and n >= events:
            yield Finding("by subtraction", "people without event", n - events)


def _of_effect(outcome: Effect, _below: int) -> Iterator[Finding]:
    if outcome.n is not None:
        yield Finding("written", "people", outcome.n)
    if outcome.measure == "HR":
        yield from _of_hazard_ratio(outcome)


def _of_hazard_ratio(outcome: Effect) -> Iterator[Finding]:
    """Read events from SE², which is about 1/a + 1/c, and more where a model is adjusted.

    So there are at least 4/SE² events, and in one of the arms not many more than 2/SE².
    """
    information = outcome.standard_error**-2
    few = max(math.floor(2.0 * information + TOLERANCE), 1)
    rest = (outcome.n or 0) - math.ceil(4.0 * information - TOLERANCE)
    if rest > 0:
        yield Finding("from the standard error", "people without event, about or fewer", rest)
    yield Finding("from the standard error", "events in one of the arms, about or fewer", few)
    yield Finding("from the standard error", "events, about or more", math.ceil(4.0 * information))


@checked
def implied_cells(outcome: Effect, *, below: int) -> list[TwoByTwo]:
    """Find the 2×2 tables with a cell under `below` that give this estimate and standard error.

    This works for a crude OR, RR or RD, or an MD or ROM of a yes/no variable, whose n is known,
    without knowing the sizes of the arms: all small values of each cell are combined with all sizes
    of its arm, and the other cells follow.
    Tables with 0.5 added to every cell, as is done where one is zero, are searched too. An adjusted
    estimate comes from no table, so as a rule none is found. A rounded estimate is searched within
    its rounding, which is no protection where cells are small.

    Parameters
    ----------
    outcome
        An effect. Without n, with more than 2,000,000 people (fewer if `below` is above 11, as it
        takes longer then: `largest_n`), or with another measure no tables are looked for.
    below
        Cells of 1 to `below` − 1 are looked for; 1 to 1,000.

    Raises
    ------
    InputError
        If `below` is out of its range.

    Examples
    --------
    >>> import qis
    >>> from qis.disclosure import implied_cells
    >>> counts = qis.Counts(
    ...     question="a vs b | c", events=3, total=20, control_events=9, control_total=21
    ... )
    >>> len(implied_cells(counts.effect("OR"), below=11)) > 0  # the cells can be read from it
    True

    """
    below = whole_number(below, "below", 1, LARGEST_CELL)
    if outcome.measure not in _CONTROL_RISK or (outcome.n or math.inf) > largest_n(below):
        return []
    found: set[TwoByTwo] = set()
    precision = precision_of(outcome)
    for shift in (0.0, 0.5):
        for cell in range(1, below):
            if (
                outcome.measure == "OR"
                and 1.0 / (cell + shift) > (outcome.standard_error + 2 * precision[1]) ** 2
            ):
                continue  # the variance is a sum of reciprocals, this one among them
            for cell_index in range(4):
                found.update(_tables(outcome, cell, cell_index, shift, precision))
    return sorted(found)


def largest_n(below: int) -> int:
    """Above so many people no tables are searched: it would take more than ten seconds."""
    return _LARGEST_N * _USUAL_BELOW // max(below, _USUAL_BELOW)


def _odds_ratio(risk: Floats, estimate: float) -> Floats:
    odds = risk / (1.0 - risk) * math.exp(-estimate)
    return odds / (1.0 + odds)


_CONTROL_RISK: Final[dict[str, Callable[[Floats, float], Floats]]] = {
    "OR": _odds_ratio,
    "RR": lambda risk, estimate: risk * math.exp(-estimate),
    "RD": lambda risk, estimate: risk - estimate,
    # Means of a yes/no variable, coded 0 and 1, are risks; only their variances differ.
    "ROM": lambda risk, estimate: risk * math.exp(-estimate),
    "MD": lambda risk, estimate: risk - estimate,
}


def _tables(
    outcome: Effect, cell: int, cell_index: int, shift: float, precision: tuple[float, float]
) -> Iterator[TwoByTwo]:
    """Tables with a known cell, number `cell_index` of `TwoByTwo`, for every size of its arm."""
    n, measure = outcome.n or 0, outcome.measure
    in_control = cell_index >= 2
    estimate = -outcome.estimate if in_control else outcome.estimate
    size = np.arange(max(cell, 1), n, dtype=np.float64)
    events = np.full_like(size, cell) if cell_index % 2 == 0 else size - cell
    with np.errstate(all="ignore"):
        risk = (events + shift) / (size + 2 * shift)
        solved = _CONTROL_RISK[measure](risk, estimate) * (n - size + 2 * shift) - shift
        for step in (0,) if precision[0] < _FINE else _STEPS:
            other = np.rint(solved) + step
            cells = [events, size - events, other, n - size - other]
            if in_control:
                cells = cells[2:] + cells[:2]
            gives, error = _estimate(measure, [part + shift for part in cells])
            fits = (
                (other >= 0)
                & (other <= n - size)
                & (np.abs(gives - outcome.estimate) <= precision[0])
                & (np.abs(error - outcome.standard_error) <= precision[1])
            )
            for at in np.flatnonzero(fits):
                yield TwoByTwo(*(int(part[at]) for part in cells))


def _estimate(measure: str, cells: list[Floats]) -> tuple[Floats, Floats]:
    """Estimate and standard error of a measure, by the large-sample formulas."""
    a, b, c, d = cells
    first, second = a + b, c + d
    if measure == "OR":
        return np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    if measure == "RR":
        variance = 1 / a - 1 / first + 1 / c - 1 / second
        return np.log(a / first) - np.log(c / second), np.sqrt(variance)
    if measure == "ROM":
        variance = b / (a * (first - 1)) + d / (c * (second - 1))
        return np.log(a / first) - np.log(c / second), np.sqrt(variance)
    if measure == "MD":
        variance = a * b / (first**2 * (first - 1)) + c * d / (second**2 * (second - 1))
        return a / first - c / second, np.sqrt(variance)
    variance = a * b / first**3 + c * d / second**3
    return a / first - c / second, np.sqrt(variance)


_ATTACKS: Final[dict[type[Outcome], Callable[..., Iterator[Finding]]]] = {
    Counts: _shown_counts,
    Moments: _shown_moments,
    LikelihoodProfile: _of_profile,
    QuadraticLikelihood: _of_quadratic,
    Effect: _of_effect,
}

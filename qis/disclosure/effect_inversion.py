"""The tables behind an estimate and its standard error: of two arms, of one, or of rates."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.any_formula import (
    few_of_rate,
    few_of_share,
    few_of_standardised,
    of_any_step,
    of_other_standardised,
    peto,
)
from qis.disclosure.arm_inversion import arm_systems
from qis.disclosure.attacks import implied_cells
from qis.disclosure.consistent import (
    EXACT,
    MOST_NUMBERS,
    System,
    as_findings,
    most_likely,
    whole_numbers,
)
from qis.disclosure.finding import Finding
from qis.disclosure.printed import half_unit, precision_of, roundings
from qis.disclosure.two_by_two import (
    LARGEST,
    MEASURES,
    OF_MEANS,
    gives_exactly,
    is_coarse,
    number_of_readings,
    tables,
)
from qis.disclosure.without_n import exact_tables, one_arm
from qis.outcomes import Effect

Floats = NDArray[np.float64]

_OF_MODELS: Final = 0.98
"""1/a + 1/c is at least this part of a hazard ratio's SE², where nothing is adjusted for."""
_OTHERWISE: Final[dict[str, tuple[Callable[[Effect, int], System], ...]]] = {
    "OR": (peto,),
    "MD": (of_any_step,),
    "SMD": (of_other_standardised,),
}
"""By measure, what else may be behind numbers that no formula gives."""
_KEPT: Final = 60
"""Most tables of one estimate that are written out; the others are counted."""


def effect_systems(outcome: Effect, n: int, limit: int) -> Iterator[System]:
    """Yield the consistent tables; of 2×2 tables the small ones and a harmless one."""
    estimate, error = outcome.estimate, outcome.standard_error
    of_estimate, of_error = precision_of(outcome)
    if outcome.measure == "SMD":
        arms = _arms_of_standardised(outcome, n, of_estimate, of_error)
        yield arms or few_of_standardised(outcome, n)
    if outcome.measure in MEASURES:
        yield from _two_by_two(outcome, n, limit)
        return
    exact = [cells for cells in one_arm(outcome) if sum(cell.people for cell in cells) == n]
    if exact:  # numbers that a table gives to the last digit are not rounded, though they look so
        yield exact
    elif outcome.measure == "MN":
        yield from _of_mean(outcome, n)
    elif outcome.measure == "PR":
        yield from _of_proportion(outcome, n)
    elif outcome.measure == "PLO":
        system = _of_log_odds(n, estimate, error, (of_estimate, of_error))
        yield system or few_of_share(outcome, 1.0 / (1.0 + math.exp(-estimate)), n)
    elif outcome.measure == "IRLN":
        system = _of_rate(error, EXACT * error, n) or _of_rate(error, of_error, n)
        yield system or few_of_rate(outcome)
    elif outcome.measure == "IRR":
        system = _of_rate_ratio(error, EXACT * error, n) or _of_rate_ratio(error, of_error, n)
        yield system or few_of_rate(outcome)
    elif outcome.measure == "HR":
        yield _of_hazard_ratio(error, of_error, n)
    yield from exact_tables(outcome, n, limit)


def _of_mean(outcome: Effect, n: int) -> Iterator[System]:
    estimate, error = outcome.estimate, outcome.standard_error
    ss = error**2 * n * (n - 1)
    for _, of_error in roundings(outcome):
        part = of_error / error
        of_ss = part * (2.0 + part)
        yield from arm_systems("one arm", n, estimate, ss, ss * of_ss)
        by_n = ss * n / (n - 1) if n > 1 else ss  # as the variance of a proportion is divided
        for system in arm_systems("one arm", n, estimate, by_n, by_n * of_ss):
            yield [table for table in system if len(table) > 1]


def _of_proportion(outcome: Effect, n: int) -> Iterator[System]:
    estimate, error = outcome.estimate, outcome.standard_error
    half = max(half_unit(estimate) * 1.01, EXACT)
    counts = [k for k in _share(n, estimate, half, 0.0) if k <= n]
    for _, of_error in roundings(outcome):
        with_error = [
            k for k in counts if abs(math.sqrt(k * (n - k) / n**3) - error) <= of_error
        ]  # some standard errors are by other formulas, and then only the proportion tells
        system = [_of_one_arm("PR", k, n - k) for k in with_error or counts]
        yield system or few_of_share(outcome, estimate, n)


def _two_by_two(outcome: Effect, n: int, limit: int) -> Iterator[System]:
    """Tables by each reading: with a small cell, and one without if there is one.

    Then nothing is proven by that reading. Numbers that some table gives to the last digit are not
    rounded, however few digits they have (an odds ratio of 4 is 4); then only such tables count.
    """
    attack = f"from {outcome.measure}, SE and n"
    if n > LARGEST:
        small = implied_cells(outcome, below=limit)
        if outcome.measure in OF_MEANS:
            found = np.array(small, dtype=float).reshape(-1, 4)
            exact = np.any(gives_exactly(outcome, found), axis=0).tolist()
            small = [table for table, is_exact in zip(small, exact, strict=True) if is_exact]
        yield [as_findings(attack, table) for table in small]
        yield from exact_tables(outcome, n, limit)
        return
    if is_coarse(outcome):
        return
    searches = [_Search(limit) for _ in range(number_of_readings(outcome))]
    for part in tables(outcome):
        exact = gives_exactly(outcome, part.rows)
        for search, fits, is_exact in zip(searches, part.by_reading, exact, strict=True):
            search.add(part.rows, fits, is_exact & fits, is_plain=part.is_plain)
    exact_ones = [search for search in searches if search.any_exact]
    for search in exact_ones or searches:
        yield search.system(attack)
        if exact_ones and search.harmless is not None:
            break  # which of several formulas gave the very digits is not known
    if not exact_ones:
        yield from exact_tables(outcome, n, limit)
        yield from (solve(outcome, n) for solve in _OTHERWISE.get(outcome.measure, ()))


class _Search:
    """What is found of the tables of one reading."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.any_exact = False
        self._begin()

    def _begin(self) -> None:
        self.small: list[Floats] = []
        self.harmless: Floats | None = None
        self.times, self.total = np.zeros((4, self.limit)), 0

    def add(
        self,
        rows: Floats,
        fits: NDArray[np.bool_],
        exact: NDArray[np.bool_],
        *,
        is_plain: bool,
    ) -> None:
        """Count tables of shape (m, 4) that fit, or only those that fit to the last digit."""
        if exact.any() and not self.any_exact:
            self.any_exact = True
            self._begin()
        kept = rows[exact if self.any_exact else fits]
        without = ((kept == 0) | (kept >= self.limit)).all(axis=1)
        if is_plain and without.any() and self.harmless is None:
            self.harmless = kept[without][0]
        self.small.append(kept[~without])
        self.total += len(kept)
        for cell in range(4):
            few = kept[kept[:, cell] < self.limit, cell].astype(int)
            self.times[cell] += np.bincount(few, minlength=self.limit)

    def system(self, attack: str) -> System:
        """The tables with a small cell, and a harmless one if that clears them."""
        harmless, small = self.harmless, np.concatenate([np.empty((0, 4)), *self.small])
        most = self.times[:, 1:].max(initial=0)
        if most > most_likely(self.limit) * self.total and 2 * len(small) > self.total:
            harmless = None  # a value of one cell is named too well, though it is not proven
        if len(small) > 1:
            attack += f", one of {len(small)} tables with a small cell that fit"
        system = [as_findings(attack, table) for table in small[:_KEPT]]
        return system if harmless is None else [*system, as_findings(attack, harmless)]


def _of_one_arm(measure: str, events: int, others: int) -> tuple[Finding, ...]:
    attack = f"from {measure} and n"
    return Finding(attack, "events", events), Finding(attack, "people without event", others)


def _share(n: int, share: float, half: float, shift: float) -> Iterator[int]:
    """Numbers of events whose share, with `shift` added to both cells, is within `half`."""
    low, high = ((n + 2 * shift) * (share + side * half) - shift for side in (-1, 1))
    yield from whole_numbers(max(low, 0.0), high)


def _of_log_odds(n: int, estimate: float, error: float, precision: tuple[float, float]) -> System:
    system: System = []
    by_estimate: System = []  # some standard errors are by other formulas
    low, high = (1.0 / (1.0 + math.exp(-estimate - side * precision[0])) for side in (-1, 1))
    for shift in (0.0, 0.5):
        for k in _share(n, (low + high) / 2.0, (high - low) / 2.0 + EXACT, shift):
            if shift and 0 < k < n:
                continue  # 0.5 is added where a cell is zero
            cells = k + shift, n - k + shift
            by_estimate.append(_of_one_arm("PLO", k, n - k))
            if (
                min(cells) > 0
                and abs(math.sqrt(sum(1.0 / c for c in cells)) - error) <= precision[1]
            ):
                system.append(_of_one_arm("PLO", k, n - k))
    return system or by_estimate


def _of_rate(error: float, half: float, n: int) -> System:
    low, high = (1.0 / (error + side * half) ** 2 for side in (1, -1))
    attack = "from IRLN and SE"
    return [
        (Finding(attack, "events", k), *_without_event(attack, n - k))
        for k in whole_numbers(low, high)
        if k > 0
    ]


def _without_event(attack: str, people: int) -> Iterator[Finding]:
    """The people left, if the event happens once, such as death; others happen several times."""
    if people >= 0:
        yield Finding(attack, "people without event, if it happens once", people)


def _of_rate_ratio(error: float, half: float, n: int) -> System:
    """Pairs of events with 1/a + 1/c = SE²; the smaller is at most 2/SE²."""
    system: System = []
    low, high = (error - half) ** 2, (error + half) ** 2
    for one in range(1, min(MOST_NUMBERS, math.floor(2.0 / low)) + 1):
        if high <= 1.0 / one:
            continue
        most = 1.0 / (low - 1.0 / one) if low > 1.0 / one else 1e9
        for other in islice(whole_numbers(1.0 / (high - 1.0 / one), most), 2):
            if other >= one:
                attack = "from IRR and SE"
                cells = ("events or others in one arm", one), ("in the other", other)
                found = [Finding(attack, name, c) for name, c in cells]
                system.append((*found, *_without_event(attack, n - one - other)))
    # An event that happens once has no more events than people; only others have more.
    return [table for table in system if len(table) > 2] or system


def _of_hazard_ratio(error: float, half: float, n: int) -> System:
    """All pairs of events with 1/a + 1/c = SE² or a little less, since a model adds to it."""
    system: System = []
    low, high = _OF_MODELS * (error - half) ** 2, (error + half) ** 2
    for one in range(1, min(n, math.floor(2.0 / low)) + 1):
        if high <= 1.0 / one:
            continue
        most = 1.0 / (low - 1.0 / one) if low > 1.0 / one else float(n)
        others = whole_numbers(max(1.0 / (high - 1.0 / one), one), min(most, n - one))
        for other in islice(others, MOST_NUMBERS - len(system)):
            cells = ("events in one arm", one), ("in the other", other)
            system.append(tuple(Finding("from HR and SE", name, c) for name, c in cells))
    return system


def _arms_of_standardised(outcome: Effect, n: int, of_estimate: float, of_error: float) -> System:
    """SE² = 1/n₁ + 1/n₂ + g²/2n gives the arms of any variable, measured ones too."""
    low, high = (
        (outcome.standard_error + side * of_error) ** 2
        - (abs(outcome.estimate) - side * of_estimate) ** 2 / (2.0 * n)
        for side in (-1, 1)
    )
    if low <= 0.0:
        return []
    sizes = np.arange(1, n // 2 + 1)
    inverse = 1.0 / sizes + 1.0 / (n - sizes)
    attack = "from SMD, SE and n"
    return [
        (
            Finding(attack, "people in one arm", int(arm)),
            Finding(attack, "in the other", n - int(arm)),
        )
        for arm in sizes[(inverse >= low) & (inverse <= high)]
    ]

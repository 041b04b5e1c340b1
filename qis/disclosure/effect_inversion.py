"""The tables behind an estimate and its standard error: of two arms, of one, or of rates."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.arm_inversion import arm_systems
from qis.disclosure.attacks import half_unit, implied_cells, precision_of
from qis.disclosure.consistent import (
    EXACT,
    MOST_NUMBERS,
    System,
    as_findings,
    most_likely,
    whole_numbers,
)
from qis.disclosure.finding import Finding
from qis.disclosure.two_by_two import (
    LARGEST,
    MEASURES,
    OF_MEANS,
    gives_exactly,
    is_coarse,
    tables,
)
from qis.outcomes import Effect

Floats = NDArray[np.float64]

_KEPT: Final = 60
"""Most tables of one estimate that are written out; the others are counted."""


def effect_systems(outcome: Effect, n: int, limit: int) -> Iterator[System]:
    """Yield the consistent tables; of 2×2 tables the small ones and a harmless one."""
    estimate, error = outcome.estimate, outcome.standard_error
    of_estimate, of_error = precision_of(outcome)
    if outcome.measure == "SMD":
        yield _arms_of_standardised(outcome, n, of_estimate, of_error)
    if outcome.measure in MEASURES:
        yield _two_by_two(outcome, n, limit)
    elif outcome.measure == "MN":
        ss = error**2 * n * (n - 1)
        part = of_error / error
        yield from arm_systems("one arm", n, estimate, ss, ss * part * (2.0 + part))
    elif outcome.measure == "PR":
        half = max(half_unit(estimate) * 1.01, EXACT)
        counts = [k for k in _share(n, estimate, half, 0.0) if k <= n]
        with_error = [
            k for k in counts if abs(math.sqrt(k * (n - k) / n**3) - error) <= of_error
        ]  # some standard errors are by other formulas, and then only the proportion tells
        yield [_of_one_arm("PR", k, n - k) for k in with_error or counts]
    elif outcome.measure == "PLO":
        yield _of_log_odds(n, estimate, error, (of_estimate, of_error))
    elif outcome.measure == "IRLN":
        low, high = (1.0 / (error + side * of_error) ** 2 for side in (1, -1))
        yield [
            (Finding("from IRLN and SE", "events", k),) for k in whole_numbers(low, high) if k > 0
        ]
    elif outcome.measure == "IRR":
        yield _of_rate_ratio(error, of_error)


def _two_by_two(outcome: Effect, n: int, limit: int) -> System:
    """Tables with a small cell, and one without if there is one: then nothing is proven.

    Numbers that some table gives to the last digit are not rounded, however few digits they have
    (an odds ratio of 4 is 4), and then only such tables count.
    """
    attack = f"from {outcome.measure}, SE and n"
    if n > LARGEST:
        small = implied_cells(outcome, below=limit)
        if outcome.measure in OF_MEANS:
            found = np.array(small, dtype=float).reshape(-1, 4)
            small = [t for t, is_exact in zip(small, gives_exactly(outcome, found), strict=True)
                     if is_exact]  # fmt: skip
        return [as_findings(attack, table) for table in small]
    chosen: list[Floats] = []
    harmless: Floats | None = None
    if is_coarse(outcome):
        return []
    any_exact = False
    times, total = np.zeros((4, limit)), 0
    for part, is_plain in tables(outcome):
        exact = gives_exactly(outcome, part)
        if exact.any() and not any_exact:
            any_exact, harmless, chosen = True, None, []
            times, total = np.zeros((4, limit)), 0
        kept = part[exact] if any_exact else part
        without = ((kept == 0) | (kept >= limit)).all(axis=1)
        if is_plain and without.any() and harmless is None:
            harmless = kept[without][0]
        chosen.append(kept[~without])
        total += len(kept)
        for cell in range(4):
            few = kept[kept[:, cell] < limit, cell].astype(int)
            times[cell] += np.bincount(few, minlength=limit)
    most = times[:, 1:].max(initial=0)
    if most > most_likely(limit) * total and 2 * sum(map(len, chosen)) > total:
        harmless = None  # a value of one cell is named too well, though it is not proven
    small_ones = np.concatenate(chosen) if chosen else np.empty((0, 4))
    if len(small_ones) > 1:
        attack += f", one of {len(small_ones)} tables with a small cell that fit"
    system = [as_findings(attack, table) for table in small_ones[:_KEPT]]
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
    low, high = (1.0 / (1.0 + math.exp(-estimate - side * precision[0])) for side in (-1, 1))
    for shift in (0.0, 0.5):
        for k in _share(n, (low + high) / 2.0, (high - low) / 2.0 + EXACT, shift):
            if shift and 0 < k < n:
                continue  # 0.5 is added where a cell is zero
            cells = k + shift, n - k + shift
            if (
                min(cells) > 0
                and abs(math.sqrt(sum(1.0 / c for c in cells)) - error) <= precision[1]
            ):
                system.append(_of_one_arm("PLO", k, n - k))
    return system


def _of_rate_ratio(error: float, half: float) -> System:
    """Pairs of events with 1/a + 1/c = SE²; the smaller is at most 2/SE²."""
    system: System = []
    low, high = (error - half) ** 2, (error + half) ** 2
    for one in range(1, min(MOST_NUMBERS, math.floor(2.0 / low)) + 1):
        if high <= 1.0 / one:
            continue
        most = 1.0 / (low - 1.0 / one) if low > 1.0 / one else 1e9
        for other in islice(whole_numbers(1.0 / (high - 1.0 / one), most), 2):
            if other >= one:
                cells = ("events or others in one arm", one), ("in the other", other)
                system.append(tuple(Finding("from IRR and SE", name, c) for name, c in cells))
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

"""One table of two arms behind all answers about the same people, or about one of its arms.

An estimate that is rounded fits many tables, and each further answer cuts them: a second estimate,
the number of all events, the size or the events of an arm. Some answer may come from an adjusted
model, and fit no table of these people. So every two or three answers are looked at together, and
all that some table fits; an answer that fits none hides nothing.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.answer_tables import NAMES, PROJECTIONS, answer_tables
from qis.disclosure.consistent import is_told
from qis.disclosure.finding import Finding
from qis.disclosure.printed import precision_of
from qis.disclosure.two_by_two import (
    MEASURES,
    gives,
    gives_exactly,
    number_of_readings,
    tables,
)
from qis.outcomes import Effect, Outcome

Floats = NDArray[np.float64]
Cut = Callable[[Floats], NDArray[np.bool_]]
"""Tells which tables of shape (m, 4) agree with an answer."""

MOST_CUTS: Final = 60
"""Most cuts of one table."""
_RATIO_OF_RATES: Final = "IRR"
_HAZARD_RATIO: Final = "HR"
_OF_MODELS: Final = 0.95
"""A hazard ratio's SE² is 1/a + 1/c or a few percent more."""
_MOST_EVENTS: Final = 2_000
"""Events of an arm up to which the pairs behind a rate ratio are tried."""
_OF_AN_ARM: Final = {"arm": ((0, 1), (2, 3)), "total": ((0,), (2,))}
"""By form of an answer about one arm, the columns of a table that it may be."""
_BASE: Final = 2_048.0
"""Above each cell of a table that is tried, so that four of them make one number."""


class _Masks(NamedTuple):
    """For each combination of cuts that tables agree with: how many, and what is small in them.

    Parameters
    ----------
    masks
        Bit k is set if the tables agree with cut k; int64 of shape (m,).
    tables, with_small
        Number of tables, and of those with a small cell.
    times
        In how many a cell has a value, shape (m, 4, limit).

    """

    masks: NDArray[np.int64]
    tables: Floats
    with_small: Floats
    times: Floats


def is_seed(outcome: Outcome) -> bool:
    """True for an estimate whose tables of two arms can be listed."""
    return (
        isinstance(outcome, Effect)
        and outcome.n is not None
        and outcome.measure in (*MEASURES, _RATIO_OF_RATES, _HAZARD_RATIO)
    )


def cuts_of(answer: Outcome, seed: Effect) -> list[Cut]:
    """What an answer about the same people says of the tables behind an estimate."""
    if isinstance(answer, Effect):
        if answer.measure in MEASURES:
            return [
                partial(_gives_by, answer, reading) for reading in range(number_of_readings(answer))
            ]
        if answer.measure == "IRD" and seed.measure == _RATIO_OF_RATES:
            return [lambda rows: _gives_difference(rows, seed, answer)]
    found = answer_tables(answer).forms
    forms = ["table"] if "table" in found else [form for form in NAMES if form in found]
    return [_member(form, found[form]) for form in forms]


def cuts_of_arm(answer: Outcome) -> list[Cut]:
    """What an answer about a part of the people says, if that part is one of the arms."""
    forms = answer_tables(answer).forms
    form = next((form for form in _OF_AN_ARM if form in forms), None)
    if form is None:
        return []
    allowed = _packed(forms[form])
    return [partial(_is_arm, allowed, columns) for columns in _OF_AN_ARM[form]]


def small_together(
    seed: Effect, cuts: Sequence[Cut], needed: Sequence[Cut], *, limit: int
) -> Finding | None:
    """Return a small cell that an estimate and some of the cuts tell together.

    Parameters
    ----------
    seed
        The estimate whose tables are tried.
    cuts, needed
        What other answers say. One of `needed` is among those that are combined, if there are any:
        combinations without it were looked at before.
    limit
        Smallest count above zero that may be derivable.

    """
    every = [*needed, *cuts][: MOST_CUTS - 1]
    if not every:
        return None
    if seed.measure in MEASURES:  # a number may have few digits and not be rounded
        every.append(partial(_gives_exactly, seed))
    for found in _counted(seed, every, limit):
        small = _small_in(found, len(every), len(needed), limit)
        if small is not None:
            return small
    return None


def _small_in(found: _Masks, size: int, needed: int, limit: int) -> Finding | None:
    """Return a small cell that follows from some of the cuts, one of those that are needed."""
    is_needed = (1 << needed) - 1
    for chosen in _subsets(size, found.masks):
        if needed and not chosen & is_needed:
            continue
        inside = (found.masks & chosen) == chosen
        count, with_small = found.tables[inside].sum(), found.with_small[inside].sum()
        times = found.times[inside].sum(axis=0)[:, 1:]
        if is_told(int(count), int(with_small), int(times.max(initial=0)), limit):
            people, cell = min((int(at[1]) + 1, int(at[0])) for at in np.argwhere(times > 0))
            return Finding("from several answers together", NAMES["table"][cell], people)
    return None


def _subsets(size: int, masks: NDArray[np.int64]) -> Iterator[int]:
    """Up to three cuts, and all cuts with which some table agrees."""
    for number in (1, 2, 3):
        for chosen in itertools.combinations(range(size), number):
            yield sum(1 << cut for cut in chosen)
    yield from (int(mask) for mask in masks if int(mask).bit_count() > 3)


def _counted(seed: Effect, cuts: Sequence[Cut], limit: int) -> Iterator[_Masks]:
    """By reading, count the tables behind an estimate by the cuts with which they agree."""
    counted: list[dict[int, Floats]] = []
    for rows, by_reading in _tables(seed, limit):
        bits = np.zeros(len(rows), dtype=np.int64)
        for nth, cut in enumerate(cuts):
            bits |= cut(rows).astype(np.int64) << nth
        is_small = (rows > 0) & (rows < limit)
        counted += [{} for _ in range(len(by_reading) - len(counted))]
        for found, fits in zip(counted, by_reading, strict=True):
            for mask in np.unique(bits[fits]).tolist():
                chosen = fits & (bits == mask)
                numbers = _numbers(rows[chosen], is_small[chosen], limit)
                found[mask] = found.get(mask, np.zeros(len(numbers))) + numbers
    to_the_digit = 1 << len(cuts) - 1
    if seed.measure in MEASURES and any(mask & to_the_digit for found in counted for mask in found):
        counted = [_merged(counted)]  # which of several formulas gave the very digits is not known
    for found in counted:
        table = np.array(list(found.values())).reshape(-1, 2 + 4 * limit)
        yield _Masks(
            np.array(list(found), dtype=np.int64),
            table[:, 0],
            table[:, 1],
            table[:, 2:].reshape(-1, 4, limit),
        )


def _merged(counted: Sequence[dict[int, Floats]]) -> dict[int, Floats]:
    merged: dict[int, Floats] = {}
    for found in counted:
        for mask, numbers in found.items():
            merged[mask] = merged.get(mask, np.zeros(len(numbers))) + numbers
    return merged


def _numbers(rows: Floats, is_small: NDArray[np.bool_], limit: int) -> list[float]:
    """Number of tables, of those with a small cell, and how often each cell has each value."""
    numbers = [float(len(rows)), float(is_small.any(axis=1).sum())]
    for cell in range(4):
        values = rows[is_small[:, cell], cell].astype(int)
        numbers += np.bincount(values, minlength=limit).tolist()
    return numbers


def _tables(seed: Effect, limit: int) -> Iterator[tuple[Floats, NDArray[np.bool_]]]:
    """The tables of an estimate, and by which reading of its numbers they fit."""
    if seed.measure not in MEASURES:
        parts = list(_events_of_rates(seed))
        if parts:
            rows = np.concatenate(parts)
            yield rows, np.ones((1, len(rows)), dtype=bool)
        return
    for part in tables(seed):
        rows = part.rows
        # 0.5 is added where a cell is zero; such a table speaks for a small cell, never against.
        is_added = (rows == 0).any(axis=1) & ((rows > 0) & (rows < limit)).any(axis=1)
        kept = np.ones(len(rows), dtype=bool) if part.is_plain else is_added
        yield rows[kept], part.by_reading[:, kept]


def _gives_exactly(seed: Effect, rows: Floats) -> NDArray[np.bool_]:
    fits: NDArray[np.bool_] = np.any(gives_exactly(seed, rows), axis=0)
    return fits


def _gives_by(answer: Effect, reading: int, rows: Floats) -> NDArray[np.bool_]:
    fits: NDArray[np.bool_] = gives(answer, rows)[reading]
    return fits


def _events_of_rates(ratio: Effect) -> Iterator[Floats]:
    """All events of two arms with 1/a + 1/c = SE²; nothing is known of people without event."""
    _, half = precision_of(ratio)
    least = _OF_MODELS if ratio.measure == _HAZARD_RATIO else 1.0
    with np.errstate(divide="ignore"):
        inverse = 1.0 / np.arange(_MOST_EVENTS + 1.0)
    for a in range(1, _MOST_EVENTS + 1):
        low, high = ((ratio.standard_error + side * half) ** 2 for side in (-1, 1))
        low = low * least - float(inverse[a])
        high -= float(inverse[a])
        # 1/c lies between these, and falls with c.
        first = int(np.searchsorted(-inverse, -high * (1.0 + 1e-12)))
        last = int(np.searchsorted(-inverse, -max(low, 0.0) * (1.0 - 1e-12), side="right"))
        if first < last:
            c = np.arange(float(first), float(last))
            nothing = np.full(len(c), np.nan)
            yield np.column_stack([np.full(len(c), float(a)), nothing, c, nothing])


def _gives_difference(rows: Floats, ratio: Effect, difference: Effect) -> NDArray[np.bool_]:
    """True where the events give the difference of two rates whose ratio is known.

    The ratio r and the difference d give the rates d/(r - 1) and r d/(r - 1), and with the events
    of each arm its standard error.
    """
    a, c = rows[:, 0], rows[:, 2]
    of_ratio, _ = precision_of(ratio)
    of_difference, of_error = precision_of(difference)
    errors = []
    for side in (-1.0, 1.0):
        for other in (-1.0, 1.0):
            factor = math.expm1(ratio.estimate + side * of_ratio)
            rate = (difference.estimate + other * of_difference) / (factor or 1e-300)
            errors.append(np.abs(rate) * np.sqrt((factor + 1.0) ** 2 / a + 1.0 / c))
    if abs(ratio.estimate) <= of_ratio:
        return np.ones(len(rows), dtype=bool)  # the rates may be equal, and as large as you like
    error = difference.standard_error
    fits: NDArray[np.bool_] = (np.min(errors, axis=0) <= error + of_error) & (
        np.max(errors, axis=0) >= error - of_error
    )
    return fits


def _is_arm(allowed: Floats, columns: tuple[int, ...], rows: Floats) -> NDArray[np.bool_]:
    return np.isin(_packed(rows[:, list(columns)]), allowed)


def _member(form: str, rows: Floats) -> Cut:
    allowed, project = _packed(rows), PROJECTIONS[form]
    return lambda tables: np.isin(_packed(project(tables)), allowed)


def _packed(rows: Floats) -> Floats:
    """One number for each row of whole numbers below `_BASE`; NaN where one is not known."""
    packed: Floats = rows @ _BASE ** np.arange(rows.shape[1])
    return packed

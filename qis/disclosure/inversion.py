"""Inversion: which whole-numbered tables are behind the numbers that are to leave.

An outsider who has the packet asks which tables of people give these bytes. If there is one, and
each of them has some cell from 1 to the limit, a small group is known to be there, and as a rule
which. It need not be the same cell in all: tables come in mirror images. If no table fits, the
numbers come from an adjusted model; if a table without small cells fits too, nothing is proven.
The work is bounded by counts of steps and never by seconds, so that a slow machine releases nothing
that a fast one refuses; where the bound is met, what was found stands.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.attacks import (
    TOLERANCE,
    half_unit,
    implied_cells,
    precision_of,
)
from qis.disclosure.finding import Finding
from qis.disclosure.profiles import arms_of, profile_counts
from qis.disclosure.two_by_two import (
    LARGEST,
    MEASURES,
    OF_MEANS,
    gives_exactly,
    is_coarse,
    tables,
)
from qis.outcomes import Effect, LikelihoodProfile, Moments, Outcome

Floats = NDArray[np.float64]
System = list[tuple[Finding, ...]]
"""All tables that are consistent with one part of an outcome; each is its cells."""

_CODINGS: Final = ((0.0, 1.0), (-1.0, 2.0), (0.0, 100.0), (-0.5, 1.0))
"""Codes of "no", and steps to "yes"; whole numbers next to each other count as the first."""
_EXACT: Final = 1e-9
"""Relative error of numbers that were computed in float64 and not rounded."""
_MOST: Final = 20_000
"""Most candidates for one unknown count."""
_ROOM: Final = 2
"""An arm's size that is known roughly must be this many times the limit."""
_ROOM_OF_REST: Final = 1.5
"""The same of the people without event, who are told less well."""
_KEPT: Final = 60
"""Most tables of one estimate that are written out; the others are counted."""
_SHOWN: Final = 3
"""Tables of one system that a preview lists."""


def proven(outcome: Outcome, *, limit: int) -> Finding | None:
    """Return a small cell if each table that fits some part of the outcome has one.

    Also if only most of them have one, but one value of one cell is so frequent that who names it
    is right much more often than by the commonest guess.

    Parameters
    ----------
    outcome
        The outcome that is to be released.
    limit
        Smallest count above zero that may be derivable.

    """
    # Of 2×2 tables a system lists the small ones and one that is harmless, if that counts.
    is_whole = not isinstance(outcome, Effect) or outcome.measure not in MEASURES
    for system in systems(outcome, limit=limit):
        small = [_smallest(table, limit) for table in system]
        named = next((cell for cell in small if cell is not None), None)
        if named is not None and (all(small) or (is_whole and _is_named(system, limit))):
            return named
    if isinstance(outcome, LikelihoodProfile):
        for arm in arms_of(outcome):
            room = _ROOM if "without event" not in arm.cell else _ROOM_OF_REST
            if arm.people < room * limit:
                return arm
    return None


def readable(outcome: Outcome, *, limit: int) -> list[Finding]:
    """Return the cells that an outsider may read, for the preview; some tables of each part."""
    found: list[Finding] = []
    for system in systems(outcome, limit=limit):
        for table in system[:_SHOWN]:
            found += table
    if isinstance(outcome, LikelihoodProfile):
        found += arms_of(outcome)
    return found


def arm_tables(n: int, mean: float, ss: float) -> Floats:
    """All counts (m, 2) of people with the larger and the smaller value of a yes/no variable."""
    system = next(_arm("", n, mean, ss), [])
    rows = [[float(cell.people) for cell in table] for table in system if len(table) > 1]
    return np.array(rows).reshape(-1, 2)


def systems(outcome: Outcome, *, limit: int) -> Iterator[System]:
    """Yield the consistent tables of each part of an outcome that can be solved by itself."""
    if isinstance(outcome, Moments):
        yield from _arm("treated arm", outcome.total, outcome.mean, outcome.ss)
        if outcome.control_total is not None:
            mean, ss = outcome.control_mean or 0.0, outcome.control_ss or 0.0
            yield from _arm("control arm", outcome.control_total, mean, ss)
    elif isinstance(outcome, Effect) and outcome.n is not None:
        yield from _of_effect(outcome, outcome.n, limit)
    elif isinstance(outcome, LikelihoodProfile):
        tables_of_curve = profile_counts(outcome).get("table", [])
        yield [_as_findings("from the profile's slopes", each) for each in tables_of_curve]


def _smallest(table: Iterable[Finding], limit: int) -> Finding | None:
    small = [cell for cell in table if 0 < cell.people < limit]
    return min(small, key=lambda cell: cell.people, default=None)


def _arm(name: str, n: int, mean: float, ss: float, ss_error: float = 0.0) -> Iterator[System]:
    """Solve an arm's mean and sum of squares for a yes/no variable and for a few odd ones out.

    With k of n people at u + d and the others at u, the mean is u + d k/n and the sum of squares
    d² k(n − k)/n. Whole numbers of which j lie beyond u and u + 1, with u the mean rounded down,
    have Σ(x − u)(x − u − 1) = 2 Σ of j or more terms of at least 1.
    """
    attack = "from mean and sum of squares, if the values are whole numbers"
    # A whole number is taken as exact: a standardised variable has the mean 0, say.
    of_mean, of_ss = (
        0.0 if abs(x - round(x)) <= _EXACT else half_unit(x) * 1.01 for x in (mean, ss)
    )
    mean_error = max(of_mean, _EXACT * max(1.0, abs(mean)))
    ss_error = max(ss_error, of_ss, _EXACT * max(1.0, ss))
    seen: set[int] = set()
    system: System = []
    for zero, step in _CODINGS:
        share, spread = (mean - zero) / step, ss / step**2
        base = math.floor(share + _EXACT)
        low, high = (n * (share - base + side * mean_error / step) for side in (-1, 1))
        for k in _wholes(max(low, 0.0), min(high, float(n))):
            fits = abs(k * (n - k) / n - spread) <= ss_error / step**2
            if fits and k not in seen and n - k not in seen:
                seen.add(k)
                cells = (
                    ("people with the larger value", k),
                    ("people with the smaller value", n - k),
                )
                system.append(tuple(Finding(attack, f"{cell}, {name}", c) for cell, c in cells))
    if system:
        yield system
        return
    for zero, step in _CODINGS:
        total, squares = n * (mean - zero) / step, ss / step**2
        squares += total * total / n
        base = math.floor(total / n)
        beyond = (squares - (2 * base + 1) * total + n * base * (base + 1)) / 2.0
        slack = 1e-6 * max(1.0, abs(squares) * _EXACT * 1e3)
        if all(abs(x - round(x)) <= slack for x in (total, squares, beyond)) and round(beyond) > 0:
            cell = f"people with another value than the two about the mean, or fewer, {name}"
            yield [(Finding(attack, cell, round(beyond)),)]
            return


def _wholes(low: float, high: float) -> Iterator[int]:
    """Whole numbers of an interval, with room for rounding errors, at most `_MOST`."""
    slack = TOLERANCE * max(1.0, abs(high)) * 1e-3
    first, last = math.ceil(low - slack), math.floor(high + slack)
    yield from islice(range(max(0, first), last + 1), _MOST)


def _of_effect(outcome: Effect, n: int, limit: int) -> Iterator[System]:
    estimate, error = outcome.estimate, outcome.standard_error
    of_estimate, of_error = precision_of(outcome)
    if outcome.measure == "SMD":
        yield _arms_of_standardised(outcome, n, of_estimate, of_error)
    if outcome.measure in MEASURES:
        yield _two_by_two(outcome, n, limit)
    elif outcome.measure == "MN":
        ss = error**2 * n * (n - 1)
        part = of_error / error
        yield from _arm("one arm", n, estimate, ss, ss * part * (2.0 + part))
    elif outcome.measure == "PR":
        half = max(half_unit(estimate) * 1.01, _EXACT)
        counts = [k for k in _share(n, estimate, half, 0.0) if k <= n]
        with_error = [
            k for k in counts if abs(math.sqrt(k * (n - k) / n**3) - error) <= of_error
        ]  # some standard errors are by other formulas, and then only the proportion tells
        yield [_of_one_arm("PR", k, n - k) for k in with_error or counts]
    elif outcome.measure == "PLO":
        yield _of_log_odds(n, estimate, error, (of_estimate, of_error))
    elif outcome.measure == "IRLN":
        low, high = (1.0 / (error + side * of_error) ** 2 for side in (1, -1))
        yield [(Finding("from IRLN and SE", "events", k),) for k in _wholes(low, high) if k > 0]
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
        return [_as_findings(attack, table) for table in small]
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
    system = [_as_findings(attack, table) for table in small_ones[:_KEPT]]
    return system if harmless is None else [*system, _as_findings(attack, harmless)]


def most_likely(limit: int) -> float:
    """The largest share that one small value may have among the tables that fit.

    Half as much again as the commonest of `limit` − 1 values has by chance.
    """
    return min(1.0, 1.5 / max(1, limit - 1))


def is_told(tables: int, with_small: int, most: int, limit: int) -> bool:
    """True if each table that fits has a small cell, or most have and one value is too frequent.

    Parameters
    ----------
    tables, with_small
        Number of tables that fit, and of those with a cell of 1 to `limit` - 1.
    most
        In how many of them the commonest of these values is in the cell where it is commonest.
    limit
        Smallest count above zero that may be derivable.

    """
    if with_small == tables or 2 * with_small <= tables:
        return 0 < with_small == tables
    return most > most_likely(limit) * tables


def _is_named(system: System, limit: int) -> bool:
    """True if most tables that fit have a small cell, and one value of one cell is too frequent."""
    if 2 * sum(_smallest(table, limit) is not None for table in system) <= len(system):
        return False
    times = Counter(cell[1:] for table in system for cell in table if 0 < cell.people < limit)
    return max(times.values(), default=0) > most_likely(limit) * len(system)


def _as_findings(attack: str, table: Iterable[float]) -> tuple[Finding, ...]:
    names = "events", "others", "control events", "control others"
    cells = zip(names, table, strict=True)
    return tuple(Finding(attack, name, int(cell)) for name, cell in cells)


def _of_one_arm(measure: str, events: int, others: int) -> tuple[Finding, ...]:
    attack = f"from {measure} and n"
    return Finding(attack, "events", events), Finding(attack, "people without event", others)


def _share(n: int, share: float, half: float, shift: float) -> Iterator[int]:
    """Numbers of events whose share, with `shift` added to both cells, is within `half`."""
    low, high = ((n + 2 * shift) * (share + side * half) - shift for side in (-1, 1))
    yield from _wholes(max(low, 0.0), high)


def _of_log_odds(n: int, estimate: float, error: float, precision: tuple[float, float]) -> System:
    system: System = []
    low, high = (1.0 / (1.0 + math.exp(-estimate - side * precision[0])) for side in (-1, 1))
    for shift in (0.0, 0.5):
        for k in _share(n, (low + high) / 2.0, (high - low) / 2.0 + _EXACT, shift):
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
    for one in range(1, min(_MOST, math.floor(2.0 / low)) + 1):
        if high <= 1.0 / one:
            continue
        most = 1.0 / (low - 1.0 / one) if low > 1.0 / one else 1e9
        for other in islice(_wholes(1.0 / (high - 1.0 / one), most), 2):
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

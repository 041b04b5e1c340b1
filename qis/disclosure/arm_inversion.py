"""The counts of a yes/no variable behind the mean and the sum of squares of one arm."""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.consistent import EXACT, System, whole_numbers
from qis.disclosure.finding import Finding
from qis.disclosure.printed import half_unit

Floats = NDArray[np.float64]

_CODINGS: Final = ((0.0, 1.0), (-1.0, 2.0), (0.0, 100.0), (-0.5, 1.0))
"""Codes of "no", and steps to "yes"; whole numbers next to each other count as the first."""


_TO_THE_DIGIT: Final = 1e-11
"""Relative error of a mean and a sum of squares in float64."""


def arm_tables(n: int, mean: float, ss: float) -> Floats:
    """All counts (m, 2) of people with the larger and the smaller value of a yes/no variable."""
    system = next(arm_systems("", n, mean, ss), [])
    rows = [[float(cell.people) for cell in table] for table in system if len(table) > 1]
    return np.array(rows).reshape(-1, 2)


def arm_systems(
    name: str, n: int, mean: float, ss: float, ss_error: float = 0.0
) -> Iterator[System]:
    """Solve an arm's mean and sum of squares for a yes/no variable and for a few odd ones out.

    With k of n people at u + d and the others at u, the mean is u + d k/n and the sum of squares
    d² k(n − k)/n. Whole numbers of which j lie beyond u and u + 1, with u the mean rounded down,
    have Σ(x − u)(x − u − 1) = 2 Σ of j or more terms of at least 1.
    """
    attack = "from mean and sum of squares, if the values are whole numbers"
    # A whole number is taken as exact: a standardised variable has the mean 0, say.
    of_mean, of_ss = (
        0.0 if abs(x - round(x)) <= EXACT else half_unit(x) * 1.01 for x in (mean, ss)
    )
    mean_error = max(of_mean, EXACT * max(1.0, abs(mean)))
    ss_error = max(ss_error, of_ss, EXACT * max(1.0, ss))
    seen: set[int] = set()
    system: System = []
    for zero, step in _CODINGS:
        share, spread = (mean - zero) / step, ss / step**2
        base = math.floor(share + EXACT)
        low, high = (n * (share - base + side * mean_error / step) for side in (-1, 1))
        for k in whole_numbers(max(low, 0.0), min(high, float(n))):
            fits = abs(k * (n - k) / n - spread) <= ss_error / step**2
            if fits and k not in seen and n - k not in seen:
                seen.add(k)
                cells = (
                    ("people with the larger value", k),
                    ("people with the smaller value", n - k),
                )
                system.append(tuple(Finding(attack, f"{cell}, {name}", c) for cell, c in cells))
    if not system:
        system = _of_any_step(attack, name, n, mean, ss)
    if system:
        yield system
        return
    for zero, step in _CODINGS:
        total, squares = n * (mean - zero) / step, ss / step**2
        squares += total * total / n
        base = math.floor(total / n)
        beyond = (squares - (2 * base + 1) * total + n * base * (base + 1)) / 2.0
        slack = 1e-6 * max(1.0, abs(squares) * EXACT * 1e3)
        if all(abs(x - round(x)) <= slack for x in (total, squares, beyond)) and round(beyond) > 0:
            cell = f"people with another value than the two about the mean, or fewer, {name}"
            yield [(Finding(attack, cell, round(beyond)),)]
            return


def _of_any_step(attack: str, name: str, n: int, mean: float, ss: float) -> System:
    """Values 0 and any other: (Σx)² / Σx² is the number of people with the other."""
    squares = ss + n * mean * mean
    k = n * mean * (n * mean / squares) if squares > 0.0 else 0.0
    if not 0.5 < k < n or abs(k - round(k)) > _TO_THE_DIGIT * k:
        return []
    cells = ("people with another value than 0", round(k)), ("people with 0", n - round(k))
    return [tuple(Finding(attack, f"{cell}, {name}", c) for cell, c in cells)]

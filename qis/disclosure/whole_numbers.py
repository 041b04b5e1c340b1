"""What equations of sizes leave open among whole numbers: integer least squares.

Sizes of groups are whole. Where equations leave a direction open, whole numbers may fit nowhere on
it but once. What they leave open is every whole-number change of the sizes that alters the
equations by less than their errors; such changes are looked for by lattice reduction (Lenstra,
Lenstra & Lovász 1982, *Math Ann* 261:515). A group that none of those found alters counts as told,
so a change that is not found makes the answer less likely to leave, not more.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_GROUPS: Final = 32
"""Most groups among which changes are searched: about half a second."""
SHORT: Final = 0.4
"""Errors by which a change must alter the equations less, to leave them open.

Real errors are about a quarter of those taken, so beyond this the true sizes are more often told
from the changed ones than not.
"""
_STEPS: Final = 50_000
_REDUCED: Final = 0.99


def whole_numbers(scaled: Floats, told: Floats, n: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Whole sizes that fit, by how many each may be off, and which groups have no other size.

    Parameters
    ----------
    scaled
        Coefficients of the groups' sizes in each equation, in units of its error, shape (equations,
        groups).
    told
        What each equation says, in units of its error.
    n
        Number of people; no size is taken to be known worse than to this.

    """
    groups = scaled.shape[1]
    bounded = np.vstack([scaled, np.eye(groups) / n])
    triangle = np.linalg.qr(bounded)[1]
    changes, reduced = _reduced(triangle)
    lengths = np.sqrt((reduced**2).sum(axis=0))
    is_open: NDArray[np.bool_] = (changes[lengths < SHORT] != 0.0).any(axis=0)
    # The nearest whole numbers, one change after the other (Babai 1986).
    left = np.linalg.qr(bounded @ changes.T)
    rest = left[0].T @ np.append(told, np.zeros(groups))
    times = np.zeros(groups)
    for at in range(groups - 1, -1, -1):
        known = left[1][at, at + 1 :] @ times[at + 1 :]
        times[at] = np.rint((rest[at] - known) / left[1][at, at])
    # Below this, the nearest is wrong more often than right.
    is_unsure = (np.abs(np.diagonal(left[1])) < SHORT) & (lengths >= SHORT)
    return times @ changes, np.abs(changes[is_unsure]).sum(axis=0), ~is_open


def _reduced(triangle: Floats) -> tuple[Floats, Floats]:
    """Changes of whole numbers, one a row, and what they do, one a column, the shortest first."""
    done, size = triangle.copy(), len(triangle)
    changes, at = np.eye(size), 1
    for _ in range(_STEPS):
        if at >= size:
            break
        for lower in range(at - 1, -1, -1):
            times = np.rint(done[lower, at] / done[lower, lower])
            if times:
                done[:, at] -= times * done[:, lower]
                changes[at] -= times * changes[lower]
        before = done[at - 1, at - 1]
        if done[at, at] ** 2 + done[at - 1, at] ** 2 >= _REDUCED * before**2:
            at += 1
            continue
        done[:, [at - 1, at]] = done[:, [at, at - 1]]
        changes[[at - 1, at]] = changes[[at, at - 1]]
        first, second = done[at - 1, at - 1], done[at, at - 1]
        turn = np.array([[first, second], [-second, first]]) / np.hypot(first, second)
        done[at - 1 : at + 1, at - 1 :] = turn @ done[at - 1 : at + 1, at - 1 :]
        done[at, at - 1] = 0.0
        at = max(at - 1, 1)
    return changes, done

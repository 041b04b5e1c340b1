"""What every method here takes: one estimate and one standard error a site, checked once.

The sites are sorted by value and brought to a common scale before anything is added up. So the
order in which they came changes no bit of any result, and neither do units that make the numbers
very large or very small. The scale is a power of two: dividing by it rounds nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import vector
from qis._given import real_number, shown
from qis.errors import InputError

Floats = NDArray[np.float64]

_LARGEST: Final = 1e150
"""Largest size of any number; the squares must be finite."""

_LARGEST_RATIO: Final = 1e70
"""Largest ratio of two standard errors, or of an estimate to one; float64 must hold its square."""


_MANY: Final = 300
"""From so many values on splitting is faster than `math.fsum`."""

_SPLITS: Final = 6
_SPLITTABLE: Final = 1e280
"""Numbers beyond this, or below its inverse, are left to `math.fsum`: splitting could overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """Checked estimates and variances, ascending by (estimate, standard error).

    Parameters
    ----------
    estimates, variances
        Shape (k,), in units of `scale` and of its square.
    scale
        A power of two, at most the smallest standard error and more than half of it.
    order
        `order[i]` is the index that the i-th sorted site has in what the caller passed.

    """

    estimates: Floats
    variances: Floats
    scale: float
    order: NDArray[np.intp]

    @property
    def k(self) -> int:
        """Number of sites."""
        return len(self.estimates)

    def as_given(self, values: Floats) -> tuple[float, ...]:
        """Per-site values in the caller's order."""
        given = np.empty_like(values)
        given[self.order] = values
        return tuple(given.tolist())


def total(values: Floats) -> float:
    """The sum, correctly rounded, so that it does not depend on the order.

    The same number as `math.fsum` gives, faster if there are many: the leading bits of all values
    are split off at once, few enough that their sum is exact, then the next ones, until nothing is
    left (Rump, Ogita & Oishi 2008, part I, lemma 3.3).
    """
    rest = values
    sums: list[float] = []
    for _ in range(_SPLITS if values.size >= _MANY else 0):
        largest = float(np.abs(rest).max())
        if largest == 0.0:
            return math.fsum(sums)
        if not 1.0 / _SPLITTABLE < largest < _SPLITTABLE:
            break
        unit = math.ldexp(1.0, math.frexp(largest)[1] + (values.size + 2).bit_length())
        leading = (rest + unit) - unit
        sums.append(float(leading.sum()))
        rest = rest - leading
    return math.fsum(values.tolist())


def check_sites(estimates: ArrayLike, standard_errors: ArrayLike) -> Sites:
    """Check estimates and standard errors, and sort the sites by value.

    Raises
    ------
    InputError
        If there is no site, the lengths differ, a number is not finite, a standard error is not
        positive, numbers are beyond 1e150, or differ by more than a factor of
        1e70.

    """
    y = vector(estimates, "estimates")
    s = vector(standard_errors, "standard_errors")
    if len(y) != len(s):
        raise InputError(
            f"{len(y)} estimates and {len(s)} standard errors; give one of each a site",
            field="standard_errors",
            actual=len(s),
            limit=len(y),
        )
    if not len(y):
        raise InputError("no site was given; at least one is needed", field="estimates", actual=0)
    if not (s > 0.0).all():
        raise InputError(
            "each standard error must be positive; leave out sites that can give none, "
            "or use their likelihood profiles",
            field="standard_errors",
            actual=float(s.min()),
            limit=0.0,
        )
    smallest = float(s.min())
    largest = max(float(s.max()), float(np.abs(y).max()))
    if largest > _LARGEST or smallest < 1.0 / _LARGEST:
        raise InputError(
            f"estimates and standard errors must lie within {_LARGEST:g} and standard errors "
            f"above {1.0 / _LARGEST:g}; choose other units",
            field="estimates",
            actual=largest if largest > _LARGEST else smallest,
            limit=_LARGEST,
        )
    if largest / _LARGEST_RATIO > smallest:
        raise InputError(
            f"numbers as different as {largest:g} and {smallest:g} cannot be combined; "
            "a standard error this small is probably an error",
            field="standard_errors",
            actual=smallest,
            limit=largest / _LARGEST_RATIO,
        )
    scale = math.ldexp(1.0, math.frexp(smallest)[1] - 1)
    order = np.lexsort((s, y))
    scaled = s[order] / scale
    return Sites(estimates=y[order] / scale, variances=scaled * scaled, scale=scale, order=order)


def check_level(level: float) -> float:
    """`level` if it lies in (0, 1); else raise `InputError`."""
    number = check_scale(level, "level")
    if not number < 1.0:
        raise InputError(f"level is {level!r}; it must lie in (0, 1)", field="level", actual=level)
    return number


def check_choice(value: Any, field: str, known: Sequence[str]) -> str:
    """`value` if it is one of `known`; else raise `InputError` that lists them."""
    if not isinstance(value, str) or value not in known:
        raise InputError(
            f"{field} is {shown(value)}; it must be one of {', '.join(known)}",
            field=field,
            actual=value,
            limit=tuple(known),
        )
    return value


def check_scale(value: Any, field: str) -> float:
    """`value` as a positive finite float; else raise `InputError`."""
    number = real_number(value, field, -_LARGEST, _LARGEST)
    if not number > 0.0:
        raise InputError(
            f"{field} is {value!r:.60}; it must be positive and finite", field=field, actual=value
        )
    return number


def check_number(value: Any, field: str) -> float:
    """`value` as a float within ± 1e150; else raise `InputError`."""
    return real_number(value, field, -_LARGEST, _LARGEST)

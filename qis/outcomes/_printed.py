"""A ratio and its interval as they are printed: rounded, each to its own number of decimals.

Of the effects whose three numbers print as given, the one nearest to the printed ratio is taken.
Where there is none, the ratio is not the middle of its interval on the log scale: a digit was
mistyped, or the interval is not of that ratio.
"""

import math
import struct
from decimal import Decimal
from typing import Any

from qis._given import real_number, scalar
from qis.errors import InputError

_SINGLE = struct.Struct("<f")
_NOISE = {True: 1e-6, False: 1e-12}
"""Numbers that were computed, not printed, are off by so much of their size; True: float32."""


def middle_and_half(
    ratio: object, lower: object, upper: object, rounding: float | None
) -> tuple[float, float]:
    """Return the log ratio and half the width of its interval, on the log scale.

    Parameters
    ----------
    ratio, lower, upper
        As printed, ``0 < lower <= ratio <= upper``.
    rounding
        The unit to which all three are rounded; `None` if the decimals of each tell it.

    Raises
    ------
    InputError
        If they are no numbers, not in that order, or cannot be the rounded numbers of one effect.

    """
    given = {"lower": lower, "ratio": ratio, "upper": upper}
    for field, value in given.items():
        real_number(value, field, -1e300, 1e300)
    (low, _), (mid, _), (high, _) = numbers = [_as_printed(value) for value in given.values()]
    if not (0.0 < low <= mid <= high and low < high):
        raise InputError(
            f"need 0 < lower <= ratio <= upper, not {low!r}, {mid!r}, {high!r}",
            field="ratio",
            actual=(low, mid, high),
        )
    own = [unit for _, unit in numbers]
    # A float does not tell 7.10 from 7.1, so all three are first read to the finest unit.
    ways = [[min(own)] * 3, own]
    if rounding is not None:
        ways = [[real_number(rounding, "rounding", 0.0, 1e300)] * 3]
    for units in ways:
        found = _nearest((low, mid, high), units)
        if found is not None:
            return found
    raise InputError(
        f"ratio {mid:g} is not the middle of [lower, upper] = [{low:g}, {high:g}] on the log "
        f"scale, {math.sqrt(low) * math.sqrt(high):.4g} is, and rounding does not explain the "
        "difference. Is a digit mistyped, or the interval another ratio's? If the numbers were "
        "rounded more than their decimals tell, or the interval was not computed on the log "
        "scale, say to which unit they are rounded at worst: rounding=0.1",
        field="ratio",
        actual=mid,
        limit=math.sqrt(low) * math.sqrt(high),
    )


def _nearest(numbers: tuple[float, float, float], units: list[float]) -> tuple[float, float] | None:
    """The effect nearest to the ratio of those that print as the three numbers; `None` if none."""
    ends = []
    for number, unit in zip(numbers, units, strict=True):
        room = unit / 2.0 * (1.0 - 1e-9)  # ends round to even: stay inside
        ends.append((_log(number - room), math.log(number + room)))
    (low_from, low_to), (mid_from, mid_to), (high_from, high_to) = ends
    least, most = (low_from + high_from) / 2.0, (low_to + high_to) / 2.0
    if mid_from > most or least > mid_to:
        return None
    low, mid, high = map(math.log, numbers)
    middle = min(max(mid, least), most)
    narrowest = max(high_from - middle, middle - low_to)
    widest = min(high_to - middle, middle - low_from)
    return middle, min(max((high - low) / 2.0, narrowest), widest)


def _log(number: float) -> float:
    return math.log(number) if number > 0.0 else -math.inf


def _as_printed(value: Any) -> tuple[float, float]:
    """A number and the value of its last decimal: .01 of 0.73, .1 of 2.0, 1 of 2."""
    value = scalar(value)
    if isinstance(value, Decimal):
        return float(value), 10.0 ** int(value.as_tuple().exponent)
    number = float(value)
    if isinstance(value, int):
        return number, 1.0
    single = _single(number)
    is_single = _SINGLE.unpack(single)[0] == number
    text = repr(number)
    if is_single and len(text) > 9:  # a column of float32, widened: 0.7300000190734863 was 0.73
        shorter = (f"{number:.{digits}g}" for digits in range(1, 10))
        text = next(each for each in shorter if _single(float(each)) == single)
    digits, _, power = text.partition("e")
    decimals = len(digits.partition(".")[2])
    unit = 10.0 ** (int(power or 0) - decimals)
    was_computed = len(digits.replace(".", "").strip("0")) > (7 if is_single else 14)
    return float(text), max(unit, _NOISE[is_single] * number) if was_computed else unit


def _single(number: float) -> bytes:
    return _SINGLE.pack(min(max(number, -3e38), 3e38))

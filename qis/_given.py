"""The gate for what an application passes in: numbers, times, bytes and lists of any make.

Each function returns a plain value of Python's, or raises an `InputError` that names the
parameter, what was given and what is expected (tables: `qis._columns`). Numbers are taken by what
they are, not by their class: numpy's scalars, arrays without dimensions, `Decimal` and `Fraction`
are numbers; booleans, texts and missing values are none, whatever a conversion would make of them.

What comes from the network never passes here: it is decoded to plain values, and refused as
`MalformedPacketError`.
"""

import math
import operator
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from numbers import Rational, Real
from typing import Any, Final, TypeVar

from qis.errors import InputError

Kind = TypeVar("Kind")

END_OF_TIME_S: Final = 2**32
"""Times are Unix seconds before this (February 2106): four bytes hold them in a packet."""

_MISSING: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
"""Names of the classes of the missing values of pandas and numpy, neither of which is imported."""

_DATES: Final = frozenset({"M", "m"})
"""The kinds of numpy's types of dates and durations."""


def whole_number(value: object, field: str, low: int, high: int) -> int:
    """Return a whole number in [low, high] as an `int`.

    Floats are refused even where they are whole: counts become floats where some are missing or
    where they were weighted.
    """
    number = value if type(value) is int else as_int(value)
    if number is None or not low <= number <= high:
        if number is not None:
            why = ""
        elif isinstance(value, Real) and not isinstance(value, bool):
            why = " (a float is not counted, even if it is whole: convert it with int())"
        else:
            why = hint(value)
        raise InputError(
            f"{field} is {shown(value)}; it must be a whole number from {low} to {high}{why}",
            field=field,
            actual=value,
            limit=(low, high),
        )
    return number


def real_number(value: object, field: str, low: float, high: float) -> float:
    """Return a finite number in [low, high] as a `float`; -0.0 becomes 0.0."""
    number = as_float(value)
    if number is None:
        raise InputError(
            f"{field} is {shown(value)}; it must be a number{hint(value)}",
            field=field,
            actual=value,
        )
    if not math.isfinite(number) or not low <= number <= high:
        within = "" if low <= -1e300 and high >= 1e300 else f" and from {low:g} to {high:g}"
        raise InputError(
            f"{field} is {number!r}; it must be finite{within}",
            field=field,
            actual=number,
            limit=(low, high),
        )
    return number + 0.0  # equal values must have one encoding


def point_in_time(value: object, field: str) -> float:
    """Return a time as Unix seconds, `int` or `float` as it was given.

    Numbers are Unix seconds. A `datetime` needs a zone: without one each machine would read it in
    its own.
    """
    if type(value) is float or type(value) is int:
        number: float = value
    elif isinstance(value, datetime) and type(value).__name__ not in _MISSING:
        if value.tzinfo is None or value.utcoffset() is None:
            raise InputError(
                f"{field} is {shown(value)}, a time without a zone, which each machine would read "
                "in its own: give datetime(…, tzinfo=UTC), or Unix seconds",
                field=field,
                actual=value,
            )
        number = value.timestamp()
    else:
        given = as_int(value)
        real = as_float(value) if given is None else given
        if real is None:
            raise InputError(
                f"{field} is {shown(value)}; it must be Unix seconds (int or float) or a datetime "
                f"with a zone{hint(value)}",
                field=field,
                actual=value,
            )
        number = real
    if not 0 <= number < END_OF_TIME_S:
        scale = " (is it in milliseconds or microseconds?)" if number >= END_OF_TIME_S else ""
        raise InputError(
            f"{field} is {number!r}; it must be Unix seconds in [0, 2**32){scale}",
            field=field,
            actual=number,
            limit=(0, END_OF_TIME_S),
        )
    return number


def whole_second(value: object, field: str) -> int:
    """Return a time as whole Unix seconds: that of `point_in_time`, rounded down."""
    if type(value) is int and 0 <= value < END_OF_TIME_S:
        return value
    return math.floor(point_in_time(value, field))


def duration_s(value: object, field: str, low: float, high: float) -> float:
    """Return a duration in seconds, in [low, high]; given as a number or a `timedelta`."""
    if isinstance(value, timedelta) and type(value).__name__ not in _MISSING:
        value = value.total_seconds()
    elif type(value).__name__ == "timedelta64":
        raise InputError(
            f"{field} is {shown(value)}; give a datetime.timedelta, or seconds",
            field=field,
            actual=value,
        )
    return real_number(value, field, low, high)


def whole_seconds(value: object, field: str) -> int:
    """Return a duration as whole seconds, rounded down; given as a number or a `timedelta`."""
    if type(value) is int:
        return value
    return math.floor(duration_s(value, field, -float(END_OF_TIME_S), float(END_OF_TIME_S)))


def byte_string(value: object, field: str, size: int | None = None) -> bytes:
    """Return bytes (given as `bytes`, `bytearray` or a contiguous `memoryview`) of a size."""
    if type(value) is bytes:
        found = value
    elif isinstance(value, (bytes, bytearray)) or (
        isinstance(value, memoryview) and value.c_contiguous
    ):
        found = bytes(value)
    else:
        raise InputError(
            f"{field} is {shown(value)}; it must be bytes{hint(value)}", field=field, actual=value
        )
    if size is not None and len(found) != size:
        raise InputError(
            f"{field} must be exactly {size} bytes, not {len(found)}",
            field=field,
            actual=len(found),
            limit=size,
        )
    return found


def instance(value: Kind, field: str, kind: Any, how: str = "") -> Kind:
    """Return `value` if it is of a class; `how` says how one comes by such an object."""
    if not isinstance(value, kind):
        known = "a text" if kind is str else f"a qis.{kind.__name__}"
        raise InputError(
            f"{field} is {shown(value)}; it must be {known}{how and ': ' + how}",
            field=field,
            actual=value,
            limit=kind.__name__,
        )
    return value


def truth_value(value: object, field: str) -> bool:
    """Return `value` if it is True or False: a text that says no would be true."""
    if type(value) is not bool:
        raise InputError(
            f"{field} is {shown(value)}; it must be True or False", field=field, actual=value
        )
    return value


def several(value: Any, field: str, what: str) -> list[Any]:
    """Return the items of an iterable; a text, bytes or a mapping is not one of them."""
    return list(iterable(value, field, what))


def iterable(value: Any, field: str, what: str) -> Iterable[Any]:
    """Return an iterable as it is; see `several`."""
    if type(value) is tuple or type(value) is list:  # each signature and each match comes by here
        return value
    if isinstance(value, (str, bytes, bytearray, memoryview, dict)) or not is_iterable(value):
        raise InputError(
            f"{field} is {shown(value)}; it must be a list of {what}", field=field, actual=value
        )
    found: Iterable[Any] = value
    return found


def callable_(value: object, field: str, what: str) -> Callable[..., Any]:
    """Return `value` if it can be called; `what` says with what and for what."""
    if not callable(value) or isinstance(value, type):
        raise InputError(
            f"{field} is {shown(value)}; it must be a function: {what}", field=field, actual=value
        )
    return value


def shown(value: object) -> str:
    """A value in the words of an error: short, on one line, whatever it is."""
    if isinstance(value, (bool, int, float, str, bytes, Decimal, Fraction)) or value is None:
        try:
            text = repr(value)
        except ValueError:  # an int of more than 4300 digits
            return "a number of many digits"
        return text if len(text) <= 60 else f"{text[:57]}…"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"a {type(value).__name__} of shape {shape!r:.40}"
    if isinstance(value, datetime):
        return f"{value!s:.40}"
    return f"a {type(value).__name__}"


def is_iterable(value: object) -> bool:
    if isinstance(value, type):
        return False
    try:
        items = iter(value)  # type: ignore[call-overload]  # asks whether it can
        if not isinstance(value, Iterable):  # it has __getitem__, and may still refuse numbers
            next(items, None)
    except Exception:  # noqa: BLE001  any class may raise anything
        return False
    return True


def scalar(value: Any) -> Any:
    """An array without dimensions as the scalar in it; everything else as it is."""
    if type(value).__name__ in _MISSING or getattr(value, "shape", None) != ():
        return value
    if holds_dates(value):
        return None  # numpy gives those in nanoseconds as whole numbers, which they are not
    if getattr(value, "mask", False):
        return None  # what lies below a mask is not a value
    item = getattr(value, "item", None)
    return item() if callable(item) and not isinstance(value, type) else value


def holds_dates(value: Any) -> bool:
    """True of an array, a column or a scalar of numpy's dates or durations."""
    return getattr(getattr(value, "dtype", None), "kind", "") in _DATES


def as_int(value: Any) -> int | None:
    """A whole number that is no float as an `int`; `None` for everything else."""
    value = scalar(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, Rational) and value.denominator == 1:
        return int(value.numerator)
    if isinstance(value, Decimal):
        whole = value.is_finite() and abs(value.adjusted()) < 40 and value == int(value)
        return int(value) if whole else None
    if isinstance(value, type):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_float(value: Any) -> float | None:
    """A real number of any make as the nearest `float`; `None` for everything else."""
    value = scalar(value)
    if isinstance(value, (bool, type)) or type(value).__name__ in _MISSING:
        return None
    try:
        if isinstance(value, (Real, Decimal)):
            return float(value)
        return float(operator.index(value))
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):  # ValueError: a signalling NaN
        return None


def hint(value: object) -> str:
    """What was probably meant, in brackets."""
    if type(value).__name__ in {*_MISSING, "MaskedArray"}:
        return " (this is a missing value)"
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return " (a truth value is none)"
    if isinstance(value, str):
        return " (a text is not converted)"
    if holds_dates(value):
        return " (dates and durations are not converted: give numbers, such as days)"
    return ""

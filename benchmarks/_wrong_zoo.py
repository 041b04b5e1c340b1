"""A zoo of values, and which of them an annotation allows."""

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import InitVar
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from numbers import Rational, Real
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
import pandas as pd
import polars as pl
from scipy import sparse

import qis


class Level(IntEnum):
    """An enumeration that is a number too."""

    LOW = 1


class Rude:
    """Raises whatever it is asked."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Refuse to be an array."""
        raise RuntimeError("no array")

    def __len__(self) -> int:
        """Refuse to have a length."""
        raise RuntimeError("no length")


DATES = ("M8[s]", "m8[s]", "M8[ns]", "m8[ns]")
"""Dates and durations of numpy; those in nanoseconds become whole numbers by its conversions."""


async def coroutine() -> None:
    """Do nothing."""


def plain() -> Iterator[Any]:
    """Yield fresh values of Python's and of numpy's, since iterators are used up."""
    yield from (None, True, "", "text", "3", "ab" * 32, "a\0b", b"", b"bytes", bytes(8))
    yield from (bytearray(32), memoryview(b"ab"), 0, 1, -1, 2**64, 10**400, 0.5, -0.0, 1e300)
    yield from (float("nan"), float("inf"), 3j, 1_800_000_000_000)
    yield from (Decimal("0.5"), Decimal("NaN"), Decimal("sNaN"), Fraction(1, 3), Level.LOW)
    yield from ([], [1, 2], ["a", "b"], [None], [[1, 2], [3]], (), (1,), {}, {"a": 1}, {1, 2})
    for dtype in ("i8", "u1", "f4", "f8", "?", "c16", "U3", "S3", "O", *DATES):
        yield np.zeros(3, dtype=dtype)
    yield from (np.datetime64(3, "ns"), np.timedelta64(3, "ns"))
    yield from (np.array(5), np.array(0.5), np.zeros((2, 2)), np.int64(3), np.float32(0.5))
    yield from (np.ma.masked, np.ma.array([1.0, 2.0], mask=[True, False]), np.True_, np.str_("a"))
    yield from (datetime(2027, 1, 1), datetime(2027, 1, 1, tzinfo=UTC), timedelta(1))  # noqa: DTZ001
    yield from (Path("nowhere/at.all"), int, qis.Packet, object(), len, lambda: None, Rude())
    yield from ((n for n in (1, 2)), iter(["a"]), coroutine, range(3), slice(1), NotImplemented)
    yield from (np, Ellipsis, [b"x"], [bytes(8)])


def foreign() -> Iterator[Any]:
    """Yield values of other libraries."""
    yield from (
        pd.NA,
        pd.NaT,
        pd.Timestamp("2027-01-01"),
        pd.Series([1, 2]),
        pd.Series([None, 1.0]),
    )
    yield from (pd.Series(["a"]), pd.Categorical(["a", "b"]), pd.DataFrame({"a": [1, 2]}))
    yield from (pl.Series([1, None]), pl.DataFrame({"a": [1]}), pl.LazyFrame({"a": [1]}))
    yield from (sparse.csr_array(np.eye(2)), sparse.coo_array(np.eye(2)))


def fits(value: Any, kind: Any) -> bool:  # noqa: C901, PLR0911, PLR0912  one line a kind of annotation
    """True if an annotation allows a value, with numbers of any library for numbers."""
    if kind in {Any, object} or isinstance(kind, (str, TypeVar)):
        return True
    if isinstance(kind, InitVar):
        return fits(value, kind.type)
    if kind is None or kind is type(None):
        return value is None
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return any(fits(value, each) for each in parts)
    if origin is Literal:
        return isinstance(value, str) and value in parts
    kind = origin or kind
    if getattr(getattr(value, "dtype", None), "kind", "") in {"m", "M"}:
        return kind is np.ndarray  # no number, and no list of numbers
    if (
        isinstance(value, (np.ndarray, np.generic))
        and value.shape == ()
        and not np.ma.is_masked(value)
    ):
        value = value.item()
    if kind is int:
        whole = isinstance(value, (Rational, np.integer)) and not isinstance(
            value, (bool, np.bool_)
        )
        return whole and getattr(value, "denominator", 1) == 1
    if kind is float:
        return isinstance(value, (Real, Decimal)) and not isinstance(value, (bool, np.bool_))
    if kind is bytes:
        return isinstance(value, (bytes, bytearray, memoryview))
    if kind is PathLike:
        return isinstance(value, (str, Path))
    if "Callable" in str(kind) or kind is Callable:
        return callable(value)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        items = parts if len(parts) == 2 else (Any, Any)
        return isinstance(value, Mapping) and all(
            fits(key, items[0]) and fits(each, items[1]) for key, each in value.items()
        )
    if isinstance(kind, type) and issubclass(kind, (str, bytes)):
        return isinstance(value, kind)
    if getattr(value, "shape", None) == ():
        return False  # a scalar in an array is no list
    if isinstance(kind, type) and issubclass(kind, Iterable):
        if not isinstance(value, Iterable) or isinstance(value, (str, bytes, bytearray, Mapping)):
            return False
        of = [part for part in parts if part is not Ellipsis][:1] or [Any]
        used_up = isinstance(value, Iterator)  # nobody can look at its items any more
        return used_up or all(fits(each, of[0]) for each in value)
    if isinstance(kind, type) and not getattr(kind, "_is_protocol", False):
        return isinstance(value, kind)
    # Array-likes: `qis._columns` refuses what holds anything but numbers.
    return isinstance(value, (Iterable, Real, Decimal)) and not isinstance(value, (str, bytes))

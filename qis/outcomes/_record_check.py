"""Check that a record's content may travel, and compute the size of its one encoding.

The content is checked level by level, all items of a level at once: one function call for each of
300 items would cost a receiver more than ten signature verifications.

The size proves that a received content is in its one encoding, without encoding it again: no
encoding of the same values is shorter, and one with a longer head or a longer real is longer.
"""

import math
import struct
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final, NoReturn

from qis.errors import InputError
from qis.outcomes._text import check_normal

MAX_DEPTH: Final = 4
"""Most levels of maps and lists, the outermost map included."""
LARGEST_INT: Final = 2**53 - 1
_KINDS: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict})
_SIMPLE: Final = frozenset({type(None), bool})
_CONTAINERS: Final = frozenset({list, dict})
_SHORTER: Final = (("f", 4, 3.4028234663852886e38), ("e", 2, 65504.0))
"""Shorter forms of reals: `struct` letter, bytes saved over the next longer form, largest value."""


def checked_size(content: Any) -> int:
    """The size in bytes of the deterministic encoding of a content.

    Raises
    ------
    InputError
        If it holds anything that may not travel, is nested too deep, or is not in its normal form:
        keys ascending, texts normal, reals that are no whole numbers.

    """
    size, depth, level = 0, 1, [content]
    while level:
        kinds = set(map(type, level))
        if not kinds <= _KINDS:
            _refuse_kind(kinds - _KINDS)
        if depth > MAX_DEPTH and not kinds.isdisjoint(_CONTAINERS):
            raise InputError(
                f"content is nested deeper than {MAX_DEPTH}", field="content", limit=MAX_DEPTH
            )
        size += len(level)  # the head of each, and all that null and booleans take
        inner: list[Any] = []
        texts: list[str] = []
        for kind in kinds - _SIMPLE:
            alike: list[Any] = (
                level if len(kinds) == 1 else [item for item in level if type(item) is kind]
            )
            if kind is str:
                texts += alike
            elif kind is dict:
                size += _maps(alike, texts, inner)
            else:
                size += _SIZES[kind](alike, inner)
        if texts:
            lengths = check_normal(texts, "content")
            size += sum(lengths) + _longer_heads(lengths)
        level, depth = inner, depth + 1
    return size


def _maps(maps: Sequence[Any], texts: list[str], inner: list[Any]) -> int:
    """Bytes of the heads of maps beyond the first byte, and of the first byte of each key.

    Adds the keys to `texts` and the values to `inner`. The caller counts the first byte
    of each map, and the rest of each key with the texts.
    """
    keys = list(chain.from_iterable(maps))
    if not keys:
        return 0
    if set(map(type, keys)) != {str}:
        refuse_key(next(key for key in keys if type(key) is not str))
    texts += keys
    inner += chain.from_iterable(map(dict.values, maps))
    lengths = list(map(len, maps))
    if max(lengths) > 1:
        _check_order(keys, lengths)
    return len(keys) + _longer_heads(lengths)


def _check_order(keys: Sequence[str], lengths: Sequence[int]) -> None:
    """Raise `InputError` unless the keys of each map ascend as they are encoded.

    The keys are those of all maps, one after another; `lengths` says how many each map has.
    """
    encoded = list(map(str.encode, keys))
    ordered = list(zip(map(len, encoded), encoded, strict=True))
    falls = [i for i, (one, other) in enumerate(pairwise(ordered), 1) if one >= other]
    if not set(falls) <= set(accumulate(lengths)):
        raise InputError("the keys of content ascend, shorter ones first", field="content")


def _lists(lists: Sequence[Any], inner: list[Any]) -> int:
    """Bytes of the heads of lists beyond the first byte; adds the items to `inner`."""
    held = list(chain.from_iterable(lists))
    inner += held
    return _longer_heads(list(map(len, lists))) if len(held) >= 24 else 0


def _byte_strings(strings: Sequence[Any], _inner: list[Any]) -> int:
    lengths = list(map(len, strings))
    return sum(lengths) + _longer_heads(lengths)


def _longer_heads(numbers: Sequence[int]) -> int:
    """Bytes that CBOR heads with these arguments take beyond the first (RFC 8949, section 3)."""
    if not numbers or max(numbers) < 24:
        return 0
    return sum([0 if n < 24 else 1 if n < 256 else 2 if n < 65_536 else 4 for n in numbers])


def _integers(numbers: Sequence[int], _inner: list[Any]) -> int:
    largest, smallest = max(numbers), min(numbers)
    if largest > LARGEST_INT or smallest < -LARGEST_INT:
        refuse_integer(largest if largest > LARGEST_INT else smallest)
    if largest < 24 and smallest >= -24:
        return 0
    sizes = [
        0 if n < 24 else 1 if n < 256 else 2 if n < 65_536 else 4 if n < 2**32 else 8
        for n in [n if n >= 0 else ~n for n in numbers]
    ]
    return sum(sizes)


def _reals(numbers: Sequence[float], _inner: list[Any]) -> int:
    """Bytes of reals beyond their first, each in the shortest form that is exact."""
    if not all(map(math.isfinite, numbers)) or any(map(float.is_integer, numbers)):
        raise InputError(
            "reals in content are finite; whole numbers are integers, not reals", field="content"
        )
    size = 8 * len(numbers)
    for form, saved, largest in _SHORTER:
        numbers = [number for number in numbers if -largest <= number <= largest]
        many = f"<{len(numbers)}{form}"
        same = struct.unpack(many, struct.pack(many, *numbers))
        numbers = [number for number, other in zip(numbers, same, strict=True) if number == other]
        size -= saved * len(numbers)
    return size


def refuse_integer(given: float) -> NoReturn:
    """Raise `InputError` for a whole number beyond ±(2**53 - 1), where float64 skips some."""
    raise InputError(
        "whole numbers in content lie within ±(2**53 - 1), which every language reads alike",
        field="content",
        actual=given,
        limit=LARGEST_INT,
    )


def refuse_key(key: object) -> NoReturn:
    """Raise `InputError` for a key that is no text, or that occurs twice."""
    raise InputError(f"the keys of content are distinct texts, not {key!r:.60}", field="content")


def _refuse_kind(kinds: set[type]) -> NoReturn:
    name = min(kind.__name__ for kind in kinds)
    raise InputError(
        f"content holds a {name}; it may hold None, booleans, numbers, text, bytes, lists and maps",
        field="content",
        actual=name,
    )


_SIZES: Final[dict[type, Callable[[Sequence[Any], list[Any]], int]]] = {
    list: _lists,
    bytes: _byte_strings,
    int: _integers,
    float: _reals,
}
"""By type: the bytes that values take beyond the first byte of each."""

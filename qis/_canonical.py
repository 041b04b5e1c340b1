"""The only gate to CBOR: deterministic encoding (RFC 8949, section 4.2.1) and strict decoding.

cbor2 reads far more than a packet may hold: tags that build regular expressions or cyclic lists,
indefinite lengths, duplicate keys, non-minimal integers. `decode` refuses the dangerous part; what
is left (order, minimal heads, trailing bytes) the caller refuses by encoding what it understood
and comparing the bytes, which only one encoding of each content survives.
"""

from typing import Any

import cbor2

MAX_DEPTH = 8
_PLAIN = frozenset({int, str, bytes, bool, float, type(None)})
_INTEGER_LIMIT = 2**64


def encode(value: object) -> bytes:
    """Encode a value whose maps are already in deterministic order (the fast way)."""
    return cbor2.dumps(value)


def encode_sorted(value: object) -> bytes:
    """Encode deterministically: maps (text keys) sorted, floats in their shortest exact form."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes) -> Any:
    """Decode one item made of integers, strings, byte strings, floats, lists and maps.

    Raises
    ------
    ValueError
        If the bytes are not well-formed, nested deeper than `MAX_DEPTH`, or contain a tag, an
        indefinite length, a duplicate key, undefined or another simple value. Never anything else.

    """
    value = loads(data)
    check_types(value)
    return value


def loads(data: bytes) -> Any:
    """`decode`, but of values whose types the caller checks; raises `ValueError`, as that does."""
    try:
        return cbor2.loads(
            data, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False
        )
    except Exception as error:  # noqa: BLE001  whatever a decoder may raise on hostile bytes
        raise ValueError(f"not well-formed CBOR: {type(error).__name__}") from None


def check_types(value: object) -> None:
    """Raise `ValueError` unless a value is made of what a packet may hold."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not int and type(key) is not str:
                raise ValueError(f"a map key is {type(key).__name__}; keys are integers or text")
            if type(item) not in _PLAIN:
                check_types(item)
    elif kind is list:
        for item in value:  # type: ignore[attr-defined]
            if type(item) not in _PLAIN:
                check_types(item)
    elif kind not in _PLAIN:
        raise ValueError(f"holds {kind.__name__}, which no packet may hold")

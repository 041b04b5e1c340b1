"""The only gate to CBOR: deterministic encoding (RFC 8949, section 4.2.1) and strict decoding.

cbor2 reads far more than a packet may hold: tags that build regular expressions or cyclic lists,
indefinite lengths, duplicate keys, non-minimal integers. `decode` refuses the dangerous part while
it is read: a tag is refused at its head, before anything inside it is decoded. What is left
(order, minimal heads, trailing bytes) the caller refuses by encoding what it understood and
comparing the bytes, which only one encoding of each content survives.
"""

from typing import Any, NoReturn

import cbor2

MAX_DEPTH = 8
_PLAIN = frozenset({int, str, bytes, bool, float, type(None)})


class _NoTags(dict[int, Any]):
    """The table in which cbor2 looks up the decoder of a tag, at the tag's head; it refuses all.

    A table of the tags that cbor2 knows would fall short as soon as it learns another one.
    """

    def __missing__(self, tag: int) -> NoReturn:
        raise ValueError(f"tag {tag}")


_NO_TAGS = _NoTags()


def _refuse_tag(*_: object) -> NoReturn:
    """Refuse a tag in a version of cbor2 that does not look up unknown tags in `_NO_TAGS`."""
    raise ValueError("a tag")


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


def loads(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Decode without `check_types`, which the caller does; raises `ValueError` only."""
    try:
        return cbor2.loads(
            data,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_NO_TAGS,
            tag_hook=_refuse_tag,
        )
    except Exception as error:  # noqa: BLE001  whatever a decoder may raise on hostile bytes
        raise ValueError(f"not well-formed CBOR: {_reason(error)}") from None
    except BaseException as error:
        # What a fault in the compiled decoder becomes; it is no `Exception`, on purpose.
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError("not well-formed CBOR: the decoder failed") from None


def _reason(error: Exception) -> str:
    """Name the error's class, or our reason if a tag was refused; no text that a sender chose."""
    cause = error.__cause__
    return f"holds {cause}" if type(cause) is ValueError else type(error).__name__


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

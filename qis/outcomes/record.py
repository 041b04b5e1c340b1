"""A small map of the application's own, for outcomes that none of the other kinds fits.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort): key 8, the map. Its keys are
text, sorted as RFC 8949, section 4.2.1 says; reals are in their shortest exact form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from qis._canonical import encode_sorted
from qis._layout import BODY_ROOM
from qis.errors import InputError, OutcomeTooLargeError
from qis.outcomes._base import KEY_DETAIL, Body, Outcome, check_real, common_fields
from qis.outcomes._text import normal_text
from qis.outcomes.study import Study

Value = None | bool | int | float | str | bytes | tuple["Value", ...] | Mapping[str, "Value"]

MAX_DEPTH: Final = 4
"""Maps and lists within each other, the outermost map counted."""
_LARGEST_INT: Final = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record(Outcome):
    """A map of text keys to values.

    Parameters
    ----------
    content
        Values are `None`, booleans, integers within ±(2⁵³ − 1), finite reals (integral ones become
        integers), text, bytes, and lists and maps of these, four levels deep at most. Kept as
        read-only maps and tuples.

    Raises
    ------
    InputError
        If a key is no text, or a value is of another type or out of range.
    OutcomeTooLargeError
        If the map takes more bytes than question and cohort leave.

    """

    kind: ClassVar[int] = 6

    content: Mapping[str, Any]

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        if not isinstance(self.content, Mapping):
            raise InputError(
                f"content is a {type(self.content).__name__}; it must be a map", field="content"
            )
        object.__setattr__(self, "content", _Frozen().value(self.content, 1))
        size = len(encode_sorted(_plain(self.content)))
        room = BODY_ROOM - len(self.encoded()) + size
        if size > room:
            raise OutcomeTooLargeError(
                f"content takes {size} bytes; beside question and cohort there is room for {room} "
                f"of {BODY_ROOM}: shorten keys and texts, or send several records",
                field="content",
                actual=size,
                limit=room,
            )

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        body[KEY_DETAIL] = _plain(self.content)
        return body

    def encoded(self) -> bytes:
        """The body in deterministic CBOR: here maps have to be sorted and reals shortened."""
        return encode_sorted(self.body())

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        return cls(**common_fields(body), content=body[KEY_DETAIL])

    # By the encoding, since for Python 1 and True are equal.
    def __eq__(self, other: object) -> bool:
        return self.encoded() == other.encoded() if isinstance(other, Record) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.encoded())


class _Frozen:
    """Checks and freezes a value, counting what it has seen so that no input takes long."""

    def __init__(self) -> None:
        self._items = 0

    def value(self, given: Any, depth: int) -> Any:
        self._items += 1
        if self._items > BODY_ROOM:
            raise InputError(
                f"content has more than {BODY_ROOM} items; each takes a byte or more of a packet",
                field="content",
                limit=BODY_ROOM,
            )
        if given is None or type(given) is bool:
            return given
        if type(given) is str:
            return normal_text(given, "content", BODY_ROOM) if given else given
        if type(given) is bytes:
            return given
        if type(given) in (int, float):
            return self._number(given)
        if depth > MAX_DEPTH:
            raise InputError(
                f"content is nested deeper than {MAX_DEPTH}", field="content", limit=MAX_DEPTH
            )
        if isinstance(given, (list, tuple)):
            return tuple(self.value(item, depth + 1) for item in given)
        if isinstance(given, Mapping):
            return self._map(given, depth)
        raise InputError(
            f"content holds a {type(given).__name__}; it may hold None, booleans, numbers, text, "
            "bytes, lists and maps",
            field="content",
            actual=type(given).__name__,
        )

    def _map(self, given: Mapping[Any, Any], depth: int) -> Mapping[str, Any]:
        kept: dict[str, Any] = {}
        for key, item in given.items():
            name = normal_text(key, "content", BODY_ROOM) if key else key
            if type(name) is not str or name in kept:
                raise InputError(
                    f"the keys of content are distinct texts, not {key!r:.60}", field="content"
                )
            kept[name] = self.value(item, depth + 1)
        return MappingProxyType(
            dict(sorted(kept.items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode())))
        )

    @staticmethod
    def _number(given: float) -> int | float:
        real = given if type(given) is int else check_real(given, "content")
        if real == int(real):
            whole = int(real)
            if abs(whole) > _LARGEST_INT:
                raise InputError(
                    "whole numbers in content lie within ±(2**53 - 1), which every language reads "
                    "alike",
                    field="content",
                    actual=given,
                    limit=_LARGEST_INT,
                )
            return whole
        return real


def _plain(value: Any) -> Any:
    """As maps and lists, which the encoder takes."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value

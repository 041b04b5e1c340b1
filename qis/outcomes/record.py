"""A small map of the application's own, for outcomes that no other kind fits.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort): key 8, the map. Its keys are
text, sorted as RFC 8949, section 4.2.1 says; reals are in their shortest exact form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

from qis._canonical import encode, encode_sorted
from qis._layout import BODY_ROOM
from qis.errors import InputError, OutcomeTooLargeError
from qis.outcomes._base import KEY_DETAIL, Body, Outcome, check_real, common_fields
from qis.outcomes._record_check import (
    LARGEST_INT,
    MAX_DEPTH,
    checked_size,
    refuse_integer,
    refuse_key,
)
from qis.outcomes._text import normal_text
from qis.outcomes.study import Study

Value = None | bool | int | float | str | bytes | tuple["Value", ...] | Mapping[str, "Value"]


class _Checked(NamedTuple):
    """Content from a packet that `checked_size` has accepted, with its size."""

    content: Any
    size: int


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

    Examples
    --------
    >>> import qis
    >>> qis.Record(question="case | gene", content={"gene": "CYBB", "count": 2}).content["gene"]
    'CYBB'

    """

    kind: ClassVar[int] = 6

    content: Mapping[str, Any]
    _size: int = field(init=False, repr=False)
    _plain: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        given: Any = self.content
        if type(given) is _Checked:
            content, size = given
        elif isinstance(given, Mapping):
            content = _Normal().value(given, 1)
            size = checked_size(content)
        else:
            raise InputError(
                f"content is a {type(given).__name__}; it must be a map", field="content"
            )
        object.__setattr__(self, "_plain", content)
        object.__setattr__(self, "_size", size)
        # `__getattr__` freezes the content when it is first read: most receivers never read it.
        object.__delattr__(self, "content")
        if type(given) is _Checked:
            return
        room = BODY_ROOM - len(self._head())
        if size > room:
            raise OutcomeTooLargeError(
                f"content takes {size} bytes; beside question and cohort there is room for {room} "
                f"of {BODY_ROOM}: shorten keys and texts, or send several records",
                field="content",
                actual=size,
                limit=room,
            )

    def __getattr__(self, name: str) -> Any:
        """Build `content` when it is first asked for."""
        if name != "content":
            raise AttributeError(f"a Record has no attribute {name!r}")
        content = _frozen(self._plain)
        object.__setattr__(self, "content", content)
        return content

    def _head(self) -> bytes:
        """The encoded body up to the content. The last byte, cut off, stands for the content."""
        return encode({**Outcome.body(self), KEY_DETAIL: None})[:-1]

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        body[KEY_DETAIL] = _copied(self._plain)
        return body

    def encoded(self) -> bytes:
        """The body in deterministic CBOR, with maps sorted and reals in their shortest form."""
        return encode_sorted({**Outcome.body(self), KEY_DETAIL: self._plain})

    def encoded_at(self, data: bytes) -> int:
        """The size of the body in bytes if `data` begins with its one encoding, else 0.

        The size of the content proves that (see `qis.outcomes._record_check`), so it is not encoded
        again.
        """
        head = self._head()
        return len(head) + self._size if data.startswith(head) else 0

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`; a content that is not in its normal form is refused."""
        content: Any = body[KEY_DETAIL]
        if type(content) is not dict:
            raise InputError("content is no map", field="content", actual=type(content).__name__)
        return cls(**common_fields(body), content=_Checked(content, checked_size(content)))  # type: ignore[arg-type]

    # Compared by the encoding, because in Python 1 == True.
    def __eq__(self, other: object) -> bool:
        return self.encoded() == other.encoded() if isinstance(other, Record) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.encoded())


class _Normal:
    """Brings a value into its normal form, and counts items so that no input takes long.

    The result is always a new value, since the caller may change the given one later.
    """

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
            return [self.value(item, depth + 1) for item in given]
        if isinstance(given, Mapping):
            return self._map(given, depth)
        raise InputError(
            f"content holds a {type(given).__name__}; it may hold None, booleans, numbers, text, "
            "bytes, lists and maps",
            field="content",
            actual=type(given).__name__,
        )

    def _map(self, given: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, item in given.items():
            name = normal_text(key, "content", BODY_ROOM) if key else key
            if type(name) is not str or name in kept:
                refuse_key(key)
            kept[name] = self.value(item, depth + 1)
        ordered = sorted(kept.items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode()))
        return dict(ordered)

    @staticmethod
    def _number(given: float) -> int | float:
        real = given if type(given) is int else check_real(given, "content")
        if real == int(real):
            whole = int(real)
            if abs(whole) > LARGEST_INT:
                refuse_integer(given)
            return whole
        return real


def _frozen(value: Any) -> Any:
    """Turn maps into read-only maps, and lists into tuples."""
    if type(value) is dict:
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return tuple(map(_frozen, value)) if type(value) is list else value


def _copied(value: Any) -> Any:
    """Copy maps and lists, so that the caller may change them."""
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return list(map(_copied, value)) if type(value) is list else value

"""The gate of public functions: their annotations, kept.

``@checked`` makes a function refuse, in our words, whatever its annotations do not allow, before
its first line runs; numbers, times and bytes of any make become Python's own (`qis._given`). What
an annotation cannot say (a range, a length, which of two parameters) the function checks itself.
Parameters annotated as `Any`, with a type variable or as arrays are its own business too. A number
called ``now`` is a time.

The checks of a function are built from its annotations when it is first called.
"""

import inspect
import math
import os
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set as AbstractSet
from datetime import datetime, timedelta
from functools import wraps
from os import PathLike
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from qis._given import (
    byte_string,
    duration_s,
    is_iterable,
    point_in_time,
    real_number,
    shown,
    truth_value,
    whole_number,
)
from qis.errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])
Check = Callable[[Any, str], Any]
"""Takes a value and the parameter's name; gives the value that the function gets, or raises."""

_WIDEST: Final = 2**64
_TEXT_OF: Final = {str: "a text", bytes: "bytes", bool: "True or False", int: "a whole number"}
_ALL_OF: Final = {str: "texts", bytes: "bytes", bool: "True and False", float: "numbers"}


def checked(function: Function) -> Function:
    """Return the function, which refuses with an `InputError` what its annotations do not allow."""
    plans: list[_Plan] = []  # one, once it is called

    def admitted(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        if not plans:
            plans.append(_plan_of(function))
        return _admitted(plans[0], args, kwargs)

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            given = admitted(args, kwargs)
            return await function(*given, **kwargs)
    else:

        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            given = admitted(args, kwargs)
            return function(*given, **kwargs)

    return cast("Function", wrapper)


def _admitted(plan: "_Plan", args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    names, rest, checks, as_they_are = plan
    # Usually all is of the very class that is asked for: seen without a call or a new list.
    for name, value in zip(names, args, strict=False):
        if name in checks and type(value) not in as_they_are[name]:
            break
    else:
        if not kwargs and len(args) <= len(names):
            return args
    if len(args) > len(names):
        names = names + rest * (len(args) - len(names))
    name = ""
    try:
        for index, name in enumerate(names[: len(args)]):
            if name in checks and type(args[index]) not in as_they_are[name]:
                args = (*args[:index], checks[name](args[index], name), *args[index + 1 :])
        for name, value in kwargs.items():
            if name in checks and type(value) not in as_they_are[name]:
                kwargs[name] = checks[name](value, name)
    except InputError as error:
        error.field = name  # the parameter, where the message names an item of it
        raise
    return args


class _Plan(NamedTuple):
    """What `checked` knows of a function."""

    positional: list[str]
    rest: list[str]
    """The name of ``*args``, if it has them."""
    checks: dict[str, Check]
    as_they_are: dict[str, frozenset[type]]
    """Classes whose very instances need no check; this makes the usual call cheap."""


def _plan_of(function: Callable[..., Any]) -> _Plan:
    plan = _Plan([], [], {}, {})
    hints = get_type_hints(function)  # texts in annotations too, which a signature leaves as texts
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            plan.rest.append(name)
        elif parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            plan.positional.append(name)
        if parameter.annotation is parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
            continue
        kind = float | datetime if (name, hints[name]) == ("now", float) else hints[name]
        check = check_of(kind)
        if check is not None:
            plan.checks[name] = check
            plan.as_they_are[name] = _as_they_are(kind)
    return plan


def _as_they_are(kind: Any) -> frozenset[type]:
    if get_origin(kind) in {Union, types.UnionType}:
        parts = get_args(kind)
        if any((get_origin(part) or part) is PathLike for part in parts):
            return frozenset()  # a text that is a path may not be empty
        return frozenset().union(*map(_as_they_are, parts))
    is_simple = isinstance(kind, type) and get_origin(kind) is None
    return frozenset({kind}) if is_simple and kind not in _MORE_TO_CHECK else frozenset()


def check_of(kind: Any) -> Check | None:  # noqa: C901, PLR0911  one line a kind of annotation
    """The check of an annotation; `None` if it allows anything."""
    if isinstance(kind, (str, TypeVar)) or kind in {Any, object}:
        return None
    if kind is None or kind is type(None):
        return _nothing
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return _union(parts)
    if origin is Literal:
        return _choice(parts)
    kind = origin or kind
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind is PathLike:
        return _path
    if kind is Callable:
        return _callable
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return None  # array-likes and protocols: whoever uses the value finds out
    if issubclass(kind, Mapping):
        return _mapping(parts)
    if kind is not str and issubclass(kind, (Iterable, tuple)) and kind in _SEVERAL:
        return _several(kind, parts)
    return _instance(kind)


def _nothing(value: Any, field: str) -> None:
    if value is not None:
        raise _refusal(value, field, "None")


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise _refusal(value, field, "a text")
    return value if type(value) is str else str.__str__(value)  # numpy's, or of an enumeration


def _whole(value: Any, field: str) -> Any:
    if type(value) is int and -_WIDEST <= value < _WIDEST:
        return value
    return whole_number(value, field, -_WIDEST, _WIDEST - 1)


def _real(value: Any, field: str) -> Any:
    if type(value) is float and not math.isnan(value):
        return value
    number = real_number(value, field, -1e300, 1e300)
    return value if type(value) is int else number


def _path(value: Any, field: str) -> Any:
    if not isinstance(value, (str, PathLike)):
        raise _refusal(value, field, _named(PathLike))
    name = os.fspath(value)
    if isinstance(name, str) and (not name.strip() or "\0" in name):
        raise _refusal(name, field, _named(PathLike))  # the name is what is wrong
    return value  # who opens it says whether it names a file


def _callable(value: Any, field: str) -> Any:
    if not callable(value):
        raise _refusal(value, field, "a function")
    return value


_PLAIN: Final[dict[Any, Check]] = {
    str: _text,
    int: _whole,
    float: _real,
    bool: truth_value,
    bytes: byte_string,
    datetime: point_in_time,
    timedelta: lambda value, field: duration_s(value, field, -1e12, 1e12),
}
_MORE_TO_CHECK: Final = {int, float, datetime, timedelta, *(list, tuple, set, frozenset, dict)}
_BUILT_IN: Final = {list, tuple, set, frozenset}
_SEVERAL: Final = {*_BUILT_IN, Iterable, Collection, Sequence, AbstractSet}


def _union(parts: tuple[Any, ...]) -> Check | None:
    if datetime in parts or timedelta in parts:  # with float: the one check takes both
        parts = tuple(part for part in parts if part not in {int, float})
    if str in parts and any((get_origin(part) or part) is PathLike for part in parts):
        parts = tuple(part for part in parts if part is not str)
    checks = [check_of(part) for part in parts]
    is_optional = type(None) in parts
    others = [check for part, check in zip(parts, checks, strict=True) if part is not type(None)]
    if None in others:
        return None

    def check(value: Any, field: str) -> Any:
        if value is None and is_optional:
            return None
        refusals = []
        for each in others:
            try:
                return cast("Check", each)(value, field)
            except InputError as error:
                refusals.append(error)
        # One that is about an item knew the container, and says more than a list of kinds.
        deeper = [each for each in refusals if not str(each).startswith(f"{field} is ")]
        if len(refusals) == 1 or deeper:
            raise (deeper or refusals)[0]
        raise _refusal(value, field, " or ".join(map(_named, parts)))

    return check


def _choice(known: tuple[Any, ...]) -> Check:
    def check(value: Any, field: str) -> Any:
        if not isinstance(value, str) or value not in known:
            raise _refusal(value, field, f"one of {', '.join(map(str, known))}")
        return value

    return check


def _instance(kind: type) -> Check:
    def check(value: Any, field: str) -> Any:
        if not isinstance(value, kind):
            raise _refusal(value, field, _named(kind))
        return value

    return check


def _mapping(parts: tuple[Any, ...]) -> Check:
    of_key, of_value = map(check_of, parts or (Any, Any))

    def check(value: Any, field: str) -> Any:
        if not isinstance(value, Mapping):
            raise _refusal(value, field, "a mapping, such as a dict")
        found = {}
        is_as_it_was = True
        for key, each in value.items():
            new_key = key if of_key is None else of_key(key, f"a key of {field}")
            new = each if of_value is None else of_value(each, f"{field}[{shown(key)}]")
            found[new_key] = new
            is_as_it_was = is_as_it_was and new_key is key and new is each
        return value if is_as_it_was else found  # iterators among the values are used up

    return check


def _several(kind: Any, parts: tuple[Any, ...]) -> Check:
    kinds = tuple(part for part in parts if part is not Ellipsis)
    is_fixed = kind is tuple and Ellipsis not in parts and len(parts) > 0
    checks = [check_of(part) for part in kinds]
    what = f"a list of {_named_all(kinds[:1])}"
    if is_fixed:
        what = f"{len(kinds)} values ({', '.join(map(_named, kinds))})"
    as_they_are = frozenset() if is_fixed else frozenset().union(*map(_as_they_are, kinds[:1]))

    def check(value: Any, field: str) -> Any:
        if not is_fixed and type(value) in _BUILT_IN and as_they_are.issuperset(map(type, value)):
            return value  # the usual case, as in `_admitted`: no call an item
        if isinstance(value, (str, bytes, bytearray, memoryview, dict)) or not is_iterable(value):
            raise _refusal(value, field, what)
        items = value if isinstance(value, (Sequence, AbstractSet)) else list(value)
        if is_fixed and (isinstance(items, AbstractSet) or len(items) != len(kinds)):
            raise _refusal(value, field, what)
        each = checks if is_fixed else checks[:1] * len(items)
        found = [
            item if one is None else one(item, f"{field}[{index}]")
            for index, (item, one) in enumerate(zip(items, each, strict=False))
        ]
        if not each or all(new is old for new, old in zip(found, items, strict=True)):
            return items
        return tuple(found) if kind is tuple else found

    return check


def _named(kind: Any) -> str:
    """A kind of value in the words of an error."""
    if kind in _TEXT_OF:
        return _TEXT_OF[kind]
    if kind is float:
        return "a number"
    if (get_origin(kind) or kind) is PathLike:
        return "a path (not empty, without null characters)"
    name = getattr(get_origin(kind) or kind, "__name__", str(kind))
    module = getattr(kind, "__module__", "") or ""
    return f"a qis.{name}" if module.startswith("qis") else f"a {name}"


def _named_all(kinds: tuple[Any, ...]) -> str:
    """Several of a kind of value in the words of an error."""
    if not kinds or kinds[0] in {Any, object}:
        return "values"
    if get_origin(kinds[0]) in {Union, types.UnionType}:
        return " or ".join(_named_all((part,)) for part in get_args(kinds[0]))
    return _ALL_OF.get(kinds[0]) or f"{_named(kinds[0]).partition(' ')[2]}s"


def _refusal(value: Any, field: str, expected: str) -> InputError:
    return InputError(
        f"{field} is {shown(value)}; it must be {expected}",
        field=field,
        actual=value,
        limit=expected,
    )

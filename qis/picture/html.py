"""Tables of HTML for notebooks: the fields of a result, and columns of many rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

_MOST_ROWS: Final = 50
_LONGEST: Final = 120
"""Most characters of one value that are shown; an ellipsis stands for the rest."""


class HasTable:
    """A dataclass that notebooks show as a table of its public fields."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return table_of(_rows_of(self))


def with_table(kind: type[_T]) -> type[_T]:
    """Let notebooks show a named tuple as a table of its fields: it can have no other base."""
    kind._repr_html_ = HasTable._repr_html_  # type: ignore[attr-defined]
    return kind


class HasLines:
    """Something that notebooks show as its words, a paragraph for each line."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return paragraphs_of(str(self))


def paragraphs_of(text: str) -> str:
    """A paragraph of HTML for each line of a text; all of it is escaped."""
    return "".join(f"<p>{escape(line)}</p>" for line in text.splitlines() if line)


def table_of(rows: Iterable[tuple[str, str]]) -> str:
    """An HTML table of two columns; all text is escaped."""
    lines = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{lines}</table>"


def grid_of(columns: Mapping[str, Sequence[Any]], caption: str) -> str:
    """An HTML table of columns, under a caption; of many rows the first, and how many there are."""
    rows = list(zip(*columns.values(), strict=True))
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text_of(cell))}</td>' for cell in row)}</tr>"
        for row in rows[:_MOST_ROWS]
    )
    more = f"<p>… and {len(rows) - _MOST_ROWS} more.</p>" if len(rows) > _MOST_ROWS else ""
    return f"<p>{escape(caption)}</p><table><tr>{head}</tr>{body}</table>{more}"


def text_of(value: Any) -> str:
    """A value for people: four digits of a number, nothing for None, bytes in hexadecimal."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        shown = ", ".join(f"{text_of(key)}: {text_of(item)}" for key, item in value.items())
    elif isinstance(value, (tuple, list)):
        shown = f"[{', '.join(map(text_of, value))}]"
    else:
        shown = str(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _rows_of(result: Any) -> Iterator[tuple[str, str]]:
    yield "", type(result).__name__
    if hasattr(result, "_fields"):  # a named tuple
        names = result._fields
    else:
        names = tuple(each.name for each in fields(result) if each.repr)
    for name in names:
        if not name.startswith("_"):
            yield name.replace("_", " "), text_of(getattr(result, name)) or "none"

"""Tables of HTML for notebooks: the fields of a result, and columns of many rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any, Final

_MOST_ROWS: Final = 50
_LONGEST: Final = 120
"""Most characters of one value that are shown; an ellipsis stands for the rest."""


class HasTable:
    """A dataclass that notebooks show as a table of its public fields."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return table_of(_rows_of(self))


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
    for field in fields(result):
        if not field.name.startswith("_"):
            text = text_of(getattr(result, field.name))
            yield field.name.replace("_", " "), text or "none"

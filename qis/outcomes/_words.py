"""Show an outcome's fields as text and as HTML, safely: strangers have written them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from html import escape
from typing import TYPE_CHECKING, Any, Final

from qis.outcomes.measures import MEASURES

if TYPE_CHECKING:
    from qis.outcomes._base import Outcome

_LONGEST: Final = 120
"""Most characters of one value that are shown; an ellipsis stands for the rest."""
_COMMON: Final = frozenset({"study", "question", "cohort", "study_id"})
_LOCAL: Final = frozenset({"provenance", "data_summary"})
"""What stays at the site: of a packet there is nothing to say of it."""


def rows_of(outcome: "Outcome") -> Iterator[tuple[str, str]]:
    """Yield name and value of each field, as text."""
    yield "kind", f"{outcome.kind}, {type(outcome).__name__}"
    yield "question", outcome.question
    yield "study", outcome.study_id.hex()
    if outcome.cohort:
        yield "cohort", outcome.cohort
    for field in fields(outcome):
        value = getattr(outcome, field.name)
        if field.name in _COMMON or field.name[0] == "_" or (field.name in _LOCAL and not value):
            continue
        if value not in ("", ()):
            yield field.name.replace("_", " "), _shown(field.name, value)


def table_of(rows: Iterable[tuple[str, str]]) -> str:
    """An HTML table of two columns; all text is escaped."""
    lines = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{lines}</table>"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "not said"
    if name == "measure":
        measure = MEASURES[value]
        scale = ", on the natural log scale" if measure.is_logarithmic else ""
        scale = ", on the logit scale" if measure.scale == "logit" else scale
        return f"{value}, {measure.label}{scale}"
    if isinstance(value, bytes):
        shown = value.hex()
    elif isinstance(value, Mapping):
        shown = ", ".join(f"{key}: {_nested(item)}" for key, item in value.items())
    elif isinstance(value, tuple):
        shown = ", ".join(map(_nested, value))
    else:
        shown = f"{value:.10g}" if isinstance(value, float) else str(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _nested(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_nested(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_nested, value)) + "]"
    return value if isinstance(value, str) else repr(value)

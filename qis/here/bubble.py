"""The bubble plot: estimates against a moderator, bubbles by precision, and the predicted line."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from qis.errors import InputError
from qis.picture import Area, Axis, Dot, Element, Line, Picture, Words, cut
from qis.picture.elements import GREY, INK
from qis.synthesis.scale import Scale, linear_ticks

if TYPE_CHECKING:
    from qis.here.meta_regression import MetaRegression

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 600.0, 70.0, 580.0, 44.0, 364.0
_SITE, _LINE, _BAND = "#1f4e8c", "#b03030", "#f1dcdc"
_SMALLEST, _LARGEST = 2.0, 12.0
_STEPS: Final = 40
_SMALL: Final = 11.0


def bubble_picture(found: "MetaRegression", moderator: str) -> Picture:
    """Draw it; sites without a finite estimate are named below.

    Raises
    ------
    InputError
        If the moderator is none of the numbers, or no site has an estimate.

    """
    numbers = {each.name: each for each in found._columns.moderators if each.is_number}  # noqa: SLF001  drawn for that class
    if moderator not in numbers:
        raise InputError(
            f"moderator is {moderator!r:.60}; numbers are {', '.join(numbers) or 'none'}",
            field="moderator",
            actual=moderator,
            limit=tuple(numbers),
        )
    points, absent = [], []
    for name, values, (estimate, error) in zip(found.sites, found._values, found._own, strict=True):  # noqa: SLF001
        if estimate is None or error is None:
            absent.append(name)
        else:
            points.append((name, float(values[moderator] or 0.0), estimate, error))
    if not points:
        raise InputError("no site has a finite estimate", field="sites", actual=0)
    drawn = _Bubbles(found, moderator, points)
    lines = [f"Not shown, without a finite estimate: {', '.join(absent)}."] if absent else []
    table = [f"{name}  {x:g}  {drawn.scale.number(y)}" for name, x, y, _ in sorted(points)]
    notes = (Words(10.0, _BOTTOM + 54.0, cut(line, 580.0)) for line in lines)
    return Picture(
        title=f"Bubble plot: {found.question}",
        width=_WIDTH,
        height=_BOTTOM + 50.0 + 15.0 * len(lines),
        elements=(*drawn.elements(), *notes),
        axis=drawn.axis,
        text="\n".join((found.question, f"Site  {moderator}  {found.measure}", *table, *lines)),
    )


class _Bubbles:
    """Both axes, and what is drawn in them."""

    def __init__(
        self, found: "MetaRegression", moderator: str, points: list[tuple[str, float, float, float]]
    ) -> None:
        self.scale = Scale(measure=found.measure, level=found.level)
        self._found, self._moderator, self._points = found, moderator, points
        values = [x for _, x, _, _ in points]
        margin = 0.05 * (max(values) - min(values)) or 1.0
        self.axis = Axis(_LEFT, _RIGHT, min(values) - margin, max(values) + margin)
        self._line = list(self._predicted(min(values), max(values)))
        shown = [y for _, _, y, _ in points]
        shown += [end for _, _, ends in self._line for end in ends]
        room = 0.05 * (max(shown) - min(shown)) or 1.0
        self._low, self._high = min(shown) - room, max(shown) + room

    def _predicted(self, low: float, high: float) -> Iterator[tuple[float, float, Any]]:
        held = dict(self._held())
        for step in range(_STEPS + 1):
            x = low + (high - low) * step / _STEPS
            term = self._found.predict({**held, self._moderator: x})
            yield x, term.estimate, term.interval

    def _held(self) -> Iterator[tuple[str, Any]]:
        """Yield the other moderators: numbers at their mean, categories at the first."""
        columns, rows = self._found._columns, self._found._values  # noqa: SLF001
        for each in columns.moderators:
            if each.is_number:
                known = [float(row[each.name] or 0.0) for row in rows]
                yield each.name, sum(known) / len(known)
            else:
                yield each.name, columns.categories[each.name][0]

    def _y(self, value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - self._low) / (self._high - self._low)

    def elements(self) -> Iterator[Element]:
        yield Words(10.0, 20.0, cut(self._found.question, _WIDTH - 20.0), size=13.0, is_bold=True)
        upper = [(self.axis.x(x), self._y(ends[1])) for x, _, ends in self._line]
        lower = [(self.axis.x(x), self._y(ends[0])) for x, _, ends in reversed(self._line)]
        yield Area((*upper, *lower), _BAND)
        if self.scale.has_null and self._low < 0.0 < self._high:
            yield Line(((_LEFT, self._y(0.0)), (_RIGHT, self._y(0.0))), GREY, 1.0, is_dashed=True)
        most = min(error for _, _, _, error in self._points)
        for _, x, y, error in self._points:
            radius = max(_LARGEST * most / error, _SMALLEST)
            yield Dot(self.axis.x(x), self._y(y), radius, _SITE)
        yield Line(tuple((self.axis.x(x), self._y(y)) for x, y, _ in self._line), _LINE, 1.5)
        yield Line(((_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)), INK)
        for value in linear_ticks(self.axis.low, self.axis.high):
            x = self.axis.x(value)
            yield Line(((x, _BOTTOM), (x, _BOTTOM + 4.0)), INK)
            yield Words(x, _BOTTOM + 16.0, f"{value:g}", "middle", _SMALL)
        for value, label in self.scale.ticks(self._low, self._high):
            yield Line(((_LEFT - 4.0, self._y(value)), (_LEFT, self._y(value))), INK)
            yield Words(_LEFT - 8.0, self._y(value) + 4.0, label, "end", _SMALL)
        yield Words(0.5 * (_LEFT + _RIGHT), _BOTTOM + 33.0, self._moderator, "middle", _SMALL)
        yield Words(10.0, _TOP - 8.0, self.scale.axis_label, "start", _SMALL)

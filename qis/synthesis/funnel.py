"""The funnel plot: each site's estimate against its standard error, the precise ones at the top.

Where sites differ by chance only, 95 % of them lie in the funnel. Small sites on one side may be
missing ones, other patients, or chance: with fewer than ten sites it says hardly anything (Sterne
et al. 2011).
"""

import math
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from qis.errors import InputError
from qis.picture import Area, Axis, Dot, Element, Line, Picture, Words, cut
from qis.picture.elements import GREY, INK
from qis.synthesis._quantiles import normal_quantile
from qis.synthesis.common_effect import common_effect
from qis.synthesis.currency import is_informative
from qis.synthesis.scale import Scale, linear_ticks

if TYPE_CHECKING:
    from qis.synthesis.result import Synthesis

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 600.0, 70.0, 580.0, 44.0, 364.0
_SITE, _CENTRE, _SHADE, _FAINT = "#1f4e8c", "#b03030", "#e4e4e4", "#555555"
_CONTOURS: Final = ((0.99, "#d9d9d9"), (0.95, "#ececec"), (0.90, "#ffffff"))
"""Probability inside, and the colour of what is inside and not within the next."""
_SMALL: Final = 11.0


def funnel_picture(synthesis: "Synthesis", *, contours: bool, unit: str) -> Picture:
    """Draw the funnel; sites without a finite estimate are named below it.

    Raises
    ------
    InputError
        If no site has an estimate, or there is none of all.

    """
    scale = Scale(measure=synthesis.scale.measure, level=synthesis.level, unit=unit)
    points: list[tuple[str, float, float]] = []
    absent: list[str] = []
    for site in synthesis.sites:
        own = common_effect([o for o in site.outcomes if is_informative(o)], synthesis.level)
        if own.estimate is None or own.standard_error is None:
            absent.append(site.name)
        else:
            points.append((site.name, own.estimate, own.standard_error))
    if not points or synthesis.estimate is None:
        raise InputError(
            "no site has a finite estimate, or all together have none; look at profile_plot()",
            field="sites",
            actual=len(points),
        )
    funnel = _Funnel(scale, points, synthesis.estimate, contours=contours)
    lines = [f"Not shown, without a finite estimate: {', '.join(absent)}."] if absent else []
    if contours:
        lines.append("Shades, from white: p > .1, .05 to .1, .01 to .05, < .01 (of no effect).")
    notes = [line for note in lines for line in wrap(note, 94)]
    elements = (*funnel.elements(synthesis.question), *_notes(notes))
    return Picture(
        title=f"Funnel plot: {synthesis.question}",
        width=_WIDTH,
        height=_BOTTOM + 50.0 + 15.0 * len(notes),
        elements=elements,
        axis=funnel.axis,
        text="\n".join((synthesis.question, *_table(scale, points), *lines)),
    )


def _table(scale: Scale, points: Sequence[tuple[str, float, float]]) -> Iterator[str]:
    width = max(len(name) for name, _, _ in points)
    yield f"{'Site':<{width}}  {scale.measure:>8}  standard error"
    for name, estimate, error in sorted(points, key=lambda point: point[2]):
        yield f"{name:<{width}}  {scale.number(estimate):>8}  {error:.3g}"


def _notes(lines: Sequence[str]) -> Iterator[Element]:
    for index, line in enumerate(lines):
        yield Words(10.0, _BOTTOM + 54.0 + 15.0 * index, line, "start", _SMALL, colour=_FAINT)


class _Funnel:
    """Both axes, and what is drawn in them."""

    def __init__(
        self,
        scale: Scale,
        points: Sequence[tuple[str, float, float]],
        centre: float,
        *,
        contours: bool,
    ) -> None:
        self._scale = scale
        self._points = points
        self._centre = centre
        self._contours = contours
        self._largest = 1.05 * max(error for _, _, error in points)
        reach = normal_quantile(0.5 + (0.99 if contours else scale.level) / 2.0) * self._largest
        middle = 0.0 if contours else centre
        shown = [middle - reach, middle + reach, centre, *(y for _, y, _ in points)]
        margin = 0.03 * (max(shown) - min(shown))
        ends = scale.within(min(shown) - margin, max(shown) + margin)
        self.axis = Axis(_LEFT, _RIGHT, *ends)

    def elements(self, title: str) -> Iterator[Element]:
        yield Words(10.0, 20.0, cut(title, _WIDTH - 20.0), size=13.0, is_bold=True)
        yield from self._background()
        for error in linear_ticks(0.0, self._largest):
            y = self._y(error)
            yield Line(((_LEFT - 4.0, y), (_LEFT, y)), INK)
            yield Words(_LEFT - 8.0, y + 4.0, f"{error:.4g}", "end", _SMALL)
        yield Words(10.0, _TOP - 8.0, "standard error", "start", _SMALL)
        x = self.axis.x(self._centre)
        yield Line(((x, _TOP), (x, _BOTTOM)), _CENTRE, 1.0, is_dashed=True)
        yield Line(((_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)), INK)
        for value, label in self._scale.ticks(self.axis.low, self.axis.high):
            x = self.axis.x(value)
            yield Line(((x, _BOTTOM), (x, _BOTTOM + 4.0)), INK)
            yield Words(x, _BOTTOM + 16.0, label, "middle", _SMALL)
        middle = 0.5 * (_LEFT + _RIGHT)
        yield Words(middle, _BOTTOM + 33.0, self._scale.axis_label, "middle", _SMALL)
        for _, estimate, error in self._points:
            yield Dot(self.axis.x(estimate), self._y(error), 3.5, _SITE)

    def _background(self) -> Iterator[Element]:
        corners = ((_LEFT, _TOP), (_RIGHT, _TOP), (_RIGHT, _BOTTOM), (_LEFT, _BOTTOM))
        if self._contours:
            yield Area(corners, "#bdbdbd")
            for inside, colour in _CONTOURS:
                yield Area(self._triangle(0.0, inside), colour)
            return
        yield Area(corners, _SHADE)
        triangle = self._triangle(self._centre, self._scale.level)
        yield Area(triangle, "#ffffff")
        yield Line((triangle[1], triangle[0], triangle[2]), GREY, 1.0, is_dashed=True)

    def _triangle(self, centre: float, inside: float) -> tuple[tuple[float, float], ...]:
        """Top and both lower corners of the region in which so much of the probability is."""
        reach = normal_quantile(0.5 + inside / 2.0) * self._largest
        ends = (centre - reach, centre + reach)
        return (
            (self.axis.x(centre), _TOP),
            *((self.axis.x(end), _BOTTOM) for end in ends),
        )

    def _y(self, error: float) -> float:
        return _TOP + (_BOTTOM - _TOP) * math.fabs(error) / self._largest

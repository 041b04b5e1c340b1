"""The log-likelihood of each site and of all together, as curves below their maximum in sight.

A curve that stays high on one side is a site that cannot exclude any value there, for example one
without events in an arm; the sum is what the fixed model estimates from.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.picture import Axis, Element, Line, Picture, Words, cut
from qis.picture.elements import GREY, INK
from qis.synthesis._quantiles import normal_quantile
from qis.synthesis.currency import Likelihood, is_informative
from qis.synthesis.scale import Scale

if TYPE_CHECKING:
    from qis.synthesis.result import Synthesis

Floats = NDArray[np.float64]

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760.0, 60.0, 560.0, 44.0, 364.0
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Six that those who see few colours can tell apart (Okabe & Ito 2008); then with dashes."""
_MOST_NAMED: Final = 12
_PALE, _SUM = "#c8c8c8", "#b03030"
_DEPTH: Final = 4.0
_POINTS: Final = 481
_SMALL: Final = 11.0


def profile_picture(synthesis: "Synthesis", axis: tuple[float, float], *, unit: str) -> Picture:
    """Draw the curves between both ends of `axis`.

    Raises
    ------
    InputError
        If no site says anything about the effect.

    """
    scale = Scale(measure=synthesis.scale.measure, level=synthesis.level, unit=unit)
    sites = [
        (site.name, Likelihood.of([o for o in site.outcomes if is_informative(o)]))
        for site in synthesis.sites
        if site.is_informative
    ]
    if not sites:
        raise InputError("no site says anything about the effect", field="sites", actual=0)
    theta = np.linspace(*axis, _POINTS)
    curves = [(name, _below_its_maximum(likelihood, theta)) for name, likelihood in sites]
    whole = _below_its_maximum(Likelihood.sum([likelihood for _, likelihood in sites]), theta)
    drop = normal_quantile(0.5 + synthesis.level / 2.0) ** 2 / 2.0
    horizontal = Axis(_LEFT, _RIGHT, *axis)
    elements = (
        Words(10.0, 20.0, cut(synthesis.question, _WIDTH - 20.0), size=13.0, is_bold=True),
        *_frame(scale, horizontal, drop),
        *_lines(curves, whole, theta, horizontal, f"{scale.level:.0%} interval"),
    )
    return Picture(
        title=f"Log-likelihoods: {synthesis.question}",
        width=_WIDTH,
        height=_BOTTOM + 50.0,
        elements=elements,
        axis=horizontal,
        text="\n".join((synthesis.question, *_table(scale, curves, whole, theta))),
    )


def _below_its_maximum(likelihood: Likelihood, theta: Floats) -> Floats:
    """Log-likelihood less its largest value in sight, shape (m,)."""
    values: Floats = likelihood.value(theta)
    values -= values.max()
    return values


def _y(value: float) -> float:
    return _TOP + (_BOTTOM - _TOP) * min(-value, _DEPTH) / _DEPTH


def _frame(scale: Scale, axis: Axis, drop: float) -> Iterator[Element]:
    yield Words(10.0, _TOP - 8.0, "log-likelihood below its maximum", "start", _SMALL)
    for depth in range(int(_DEPTH) + 1):
        y = _y(-float(depth))
        yield Line(((_LEFT - 4.0, y), (_LEFT, y)), INK)
        yield Words(_LEFT - 8.0, y + 4.0, f"−{depth}" if depth else "0", "end", _SMALL)
    if axis.low <= 0.0 <= axis.high and scale.has_null:
        yield Line(((axis.x(0.0), _TOP), (axis.x(0.0), _BOTTOM)), GREY)
    level = _y(-drop)
    yield Line(((_LEFT, level), (_RIGHT, level)), GREY, 1.0, is_dashed=True)
    yield Line(((_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)), INK)
    for value, label in scale.ticks(axis.low, axis.high):
        x = axis.x(value)
        yield Line(((x, _BOTTOM), (x, _BOTTOM + 4.0)), INK)
        yield Words(x, _BOTTOM + 16.0, label, "middle", _SMALL)
    yield Words(0.5 * (_LEFT + _RIGHT), _BOTTOM + 33.0, scale.axis_label, "middle", _SMALL)


def _lines(
    curves: Sequence[tuple[str, Floats]], whole: Floats, theta: Floats, axis: Axis, level: str
) -> Iterator[Element]:
    """The curves with their names on the right; more than twelve are pale and have none."""
    y = _TOP + 8.0
    names_end = _WIDTH - _RIGHT - 50.0
    for index, (name, values) in enumerate(curves):
        is_named = len(curves) <= _MOST_NAMED
        colour = _COLOURS[index % len(_COLOURS)] if is_named else _PALE
        dashed = is_named and index >= len(_COLOURS)
        yield from _curve(values, theta, axis, colour, 1.3, is_dashed=dashed)
        if is_named:
            yield Line(((_RIGHT + 14.0, y - 4.0), (_RIGHT + 34.0, y - 4.0)), colour, 1.3, dashed)
            yield Words(_RIGHT + 40.0, y, cut(name, names_end, _SMALL), "start", _SMALL, whole=name)
            y += 18.0
    if len(curves) > _MOST_NAMED:
        yield Line(((_RIGHT + 14.0, y - 4.0), (_RIGHT + 34.0, y - 4.0)), _PALE, 1.3)
        yield Words(_RIGHT + 40.0, y, f"{len(curves)} sites", "start", _SMALL)
        y += 18.0
    yield from _curve(whole, theta, axis, _SUM, 2.4, is_dashed=False)
    yield Line(((_RIGHT + 14.0, y - 4.0), (_RIGHT + 34.0, y - 4.0)), _SUM, 2.4)
    yield Words(_RIGHT + 40.0, y, "all together", "start", _SMALL, is_bold=True)
    y += 18.0
    yield Line(((_RIGHT + 14.0, y - 4.0), (_RIGHT + 34.0, y - 4.0)), GREY, 1.0, is_dashed=True)
    yield Words(_RIGHT + 40.0, y, level, "start", _SMALL)


def _curve(
    values: Floats, theta: Floats, axis: Axis, colour: str, width: float, *, is_dashed: bool
) -> Iterator[Line]:
    """The parts of a curve that are high enough to be seen, to the very edge of the picture."""
    above = values + _DEPTH
    before = np.flatnonzero(above[:-1] * above[1:] < 0.0)
    crossing = theta[before] + (theta[before + 1] - theta[before]) * (
        above[before] / (above[before] - above[before + 1])
    )
    theta = np.insert(theta, before + 1, crossing)
    values = np.insert(values, before + 1, -_DEPTH)
    part: list[tuple[float, float]] = []
    for at, value in zip(theta.tolist(), values.tolist(), strict=True):
        if value >= -_DEPTH:
            part.append((axis.x(at), _y(value)))
            continue
        if len(part) > 1:
            yield Line(tuple(part), colour, width, is_dashed)
        part = []
    if len(part) > 1:
        yield Line(tuple(part), colour, width, is_dashed)


def _table(
    scale: Scale, curves: Sequence[tuple[str, Floats]], whole: Floats, theta: Floats
) -> Iterator[str]:
    """The curves at the ticks of the axis."""
    ticks = scale.ticks(float(theta[0]), float(theta[-1]))
    width = max(len("all together"), *(len(name) for name, _ in curves))
    yield f"{scale.measure:<{width}}" + "".join(f"{label:>9}" for _, label in ticks)
    for name, values in (*curves, ("all together", whole)):
        found = np.interp([x for x, _ in ticks], theta, values)
        yield f"{name:<{width}}" + "".join(f"{value:>9.2f}".replace("-", "−") for value in found)

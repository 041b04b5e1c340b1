"""A picture by matplotlib: as a figure of its own, or in given axes. Needs the extra [plot]."""

from collections.abc import Iterable
from typing import Any, Final

from qis._given import shown
from qis.errors import InputError, MissingExtraError
from qis.picture.elements import Area, Axis, Dot, Element, Line, printable

_PIXELS: Final = 96.0
"""Pixels of a picture in an inch."""
_POINTS: Final = 0.75
"""Points in a pixel."""
_FONT: Final = 0.9
"""matplotlib's own font is about a tenth wider than those that browsers take."""
_SIDES: Final = {"start": "left", "middle": "center", "end": "right"}


def figure_of(size: tuple[float, float], axis: Axis, elements: Iterable[Element]) -> Any:
    """A figure of this size, in pixels."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  an extra, and slow to import
    except ImportError as error:
        raise _missing() from error
    figure = Figure(figsize=(size[0] / _PIXELS, size[1] / _PIXELS))
    paint(figure.add_axes((0.0, 0.0, 1.0, 1.0)), size, axis, elements)
    return figure


def paint(ax: Any, size: tuple[float, float], axis: Axis, elements: Iterable[Element]) -> None:
    """Draw all elements into `ax`, x in data and y in pixels."""
    try:
        from matplotlib.axes import Axes  # noqa: PLC0415  an extra, and slow to import
    except ImportError as error:
        raise _missing() from error
    if not isinstance(ax, Axes):
        raise InputError(f"ax is {shown(ax)}; it must be axes of matplotlib", field="ax", actual=ax)
    box = ax.get_window_extent()
    dpi = ax.figure.dpi
    scale = min(box.width / size[0], box.height / size[1]) * _PIXELS / dpi
    ax.set_axis_off()
    for element in elements:
        _put(ax, axis, element, scale * _POINTS)
    ax.set_xlim(axis.value(0.0), axis.value(size[0]))
    ax.set_ylim(size[1], 0.0)
    # A pixel is as high as it is wide.
    ax.set_aspect(axis.value(1.0) - axis.value(0.0), adjustable="box", anchor="NW")


def _put(ax: Any, axis: Axis, element: Element, points: float) -> None:
    """Draw one element; `points` is the size of a pixel in points."""
    value = axis.value
    if isinstance(element, Line):
        ax.plot(
            [value(x) for x, _ in element.points],
            [y for _, y in element.points],
            color=element.colour,
            linewidth=element.width * points,
            linestyle=(0, (4, 3)) if element.is_dashed else "solid",
            solid_capstyle="butt",
            clip_on=False,
        )
    elif isinstance(element, Area):
        ax.fill(
            [value(x) for x, _ in element.points],
            [y for _, y in element.points],
            color=element.colour,
            linewidth=0.0,
            clip_on=False,
        )
    elif isinstance(element, Dot):
        ax.plot(
            [value(element.x)],
            [element.y],
            marker="o",
            markersize=2.0 * element.radius * points,
            markeredgewidth=0.0,
            color=element.colour,
            linestyle="none",
            clip_on=False,
        )
    else:
        ax.text(
            value(element.x),
            element.y,
            printable(element.text),
            ha=_SIDES[element.anchor],
            va="baseline",
            fontsize=element.size * points * _FONT,
            fontweight="bold" if element.is_bold else "normal",
            color=element.colour,
            clip_on=False,
            parse_math=False,  # a dollar sign starts no formula
        )


def _missing() -> MissingExtraError:
    return MissingExtraError(
        'this needs matplotlib: pip install "qis-protocol[plot]"; SVG needs nothing', field="plot"
    )

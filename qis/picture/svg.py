"""A picture as SVG: for notebooks, pages and vector programs, without any dependency."""

from collections.abc import Iterable
from html import escape

from qis.picture.elements import Area, Dot, Element, Line, Point, printable


def svg_of(title: str, size: tuple[float, float], elements: Iterable[Element]) -> str:
    """An ``<svg>`` element that may stand in a page of HTML or be a file."""
    width, height = (f"{length:.0f}" for length in size)
    label = escape(printable(title), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="Helvetica, Arial, sans-serif">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(map(_drawn, elements))}</svg>"
    )


def _drawn(element: Element) -> str:
    if isinstance(element, Line):
        dashes = ' stroke-dasharray="4 3"' if element.is_dashed else ""
        return (
            f'<polyline points="{_points(element.points)}" fill="none" stroke="{element.colour}" '
            f'stroke-width="{element.width:g}"{dashes}/>'
        )
    if isinstance(element, Area):
        return f'<polygon points="{_points(element.points)}" fill="{element.colour}"/>'
    if isinstance(element, Dot):
        return (
            f'<circle cx="{element.x:.1f}" cy="{element.y:.1f}" r="{element.radius:.1f}" '
            f'fill="{element.colour}"/>'
        )
    tooltip = f"<title>{escape(printable(element.whole))}</title>" if element.whole else ""
    weight = ' font-weight="bold"' if element.is_bold else ""
    return (
        f'<text x="{element.x:.1f}" y="{element.y:.1f}" text-anchor="{element.anchor}" '
        f'font-size="{element.size:g}" fill="{element.colour}"{weight}>'
        f"{escape(printable(element.text))}{tooltip}</text>"
    )


def _points(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)

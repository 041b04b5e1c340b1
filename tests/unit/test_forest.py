import math
import sys
import xml.etree.ElementTree as ET
from io import BytesIO

import pytest
from hypothesis import given, strategies as st

from qis.errors import InputError, MissingExtraError
from qis.synthesis.forest import Forest, ForestRow, ForestSummary
from qis.synthesis.forest_figure import forest_figure
from qis.synthesis.forest_svg import forest_svg

INF = math.inf


def forest(measure="OR", **changes):
    settings = {
        "title": "a vs b | death",
        "measure": measure,
        "rows": (
            ForestRow(label="one", estimate=-0.3, interval=(-0.9, 0.3), weight=0.6, n=12345),
            ForestRow(label="two", estimate=0.2, interval=(-1.0, 1.4), weight=0.4),
            ForestRow(label="rises", estimate=None, interval=(-0.4, INF)),
            ForestRow(label="silent", estimate=None, interval=None),
        ),
        "summaries": (
            ForestSummary(
                label="Random", estimate=-0.2, interval=(-0.6, 0.2), prediction=(-1.0, 0.6)
            ),
            ForestSummary(label="Open", estimate=None, interval=(-INF, 0.5)),
        ),
        "note": "tau 0.1",
    }
    return Forest(**(settings | changes))


def words(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.text]  # noqa: S314


def test_both_drawings_show_the_same_words():
    plot = forest()
    shown = set(words(forest_svg(plot)))
    figure = forest_figure(plot)
    (axes,) = figure.axes
    drawn = {text.get_text() for text in [*axes.texts, *figure.texts]}
    drawn |= {label.get_text() for label in axes.get_xticklabels()} | {axes.get_xlabel()}
    assert shown == drawn
    assert {"0.74 [0.41, 1.35]", "no estimate [0.67, ∞]", "no information"} <= shown
    assert {"no estimate [0, 1.65]", "60.0 %", "12\u202f345", "OR [95 %]", "tau 0.1"} <= shown


def test_places_are_to_scale():
    plot = forest()
    root = ET.fromstring(forest_svg(plot))  # noqa: S314
    squares = [e for e in root.iter() if e.tag.endswith("rect") and e.get("fill") == "#1f4e8c"]
    centres = [float(e.get("x")) + float(e.get("width")) / 2 for e in squares]
    low, high = plot.axis()
    # 300 pixels an axis; the two estimates are 0.5 apart.
    assert centres[1] - centres[0] == pytest.approx(300 * 0.5 / (high - low), abs=0.2)


@pytest.mark.parametrize(
    "label",
    ["<script>alert(1)</script>", '"><b>', "&amp;", "]]>", "$\\frac", "x" * 500, "\u202eabc"],
)
def test_hostile_labels_are_text(label):
    row = ForestRow(label=label, estimate=0.0, interval=(-1.0, 1.0))
    plot = forest(title=label, rows=(row,), note=label)
    svg = forest_svg(plot)
    ET.fromstring(svg)  # noqa: S314  (our own text)
    assert "<script" not in svg
    assert "<b>" not in svg
    forest_figure(plot).savefig(BytesIO())


@pytest.mark.parametrize(
    ("measure", "value", "text"),
    [
        ("OR", math.log(0.73), "0.73"),
        ("OR", math.log(12.3), "12.3"),
        ("OR", math.log(123.4), "123"),
        ("OR", math.log(0.00123), "0.0012"),
        ("OR", -INF, "0"),
        ("OR", INF, "∞"),
        ("MD", -INF, "−∞"),
        ("MD", -1.234, "−1.23"),
        ("MD", 0.0, "0.00"),
        ("OR", 1e6, "1e+304"),
    ],
)
def test_numbers_as_text(measure, value, text):
    assert forest(measure).number(value) == text


ESTIMATES = st.floats(-20, 20)
HALVES = st.floats(1e-3, 50)


@given(
    st.sampled_from(["OR", "MD"]),
    st.lists(st.tuples(ESTIMATES, HALVES), min_size=1, max_size=8),
    st.floats(1e-3, 5),
)
def test_the_axis_shows_no_effect_and_all_estimates_with_few_ticks(measure, sites, half):
    rows = tuple(ForestRow(label="s", estimate=y, interval=(y - h, y + h)) for y, h in sites)
    middle = sites[0][0]
    summary = ForestSummary(label="all", estimate=middle, interval=(middle - half, middle + half))
    plot = forest(measure, rows=rows, summaries=(summary,))
    low, high = plot.axis()
    assert low < min(0.0, middle - half)
    assert high > max(0.0, middle + half)
    assert all(low <= y <= high for y, _ in sites)
    ticks = plot.ticks()
    assert 2 <= len(ticks) <= 8
    assert all(low <= x <= high for x, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)
    assert "nan" not in forest_svg(plot)


def test_without_rows_there_is_no_plot():
    with pytest.raises(InputError):
        forest(rows=())


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"qis-protocol\[plot\]"):
        forest_figure(forest())

"""Pictures: one list of elements, written as SVG, PNG and PDF and into given axes."""

import math
import sys
import xml.etree.ElementTree as ET

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import qis
from qis.errors import InputError, MissingExtraError
from qis.picture import cut, text_width

STUDY = qis.Study(question="drug vs none | death", measure="OR", model="random")
TABLE = {
    "site": ["Bern", "Oslo", "Ulm"],
    "events": [3, 50, 0],
    "total": [40, 600, 11],
    "control_events": [9, 40, 2],
    "control_total": [41, 550, 12],
}
SYNTHESIS = qis.synthesise(TABLE, study=STUDY)
PLOTS = {
    "forest": SYNTHESIS.forest_plot,
    "funnel": SYNTHESIS.funnel_plot,
    "profile": SYNTHESIS.profile_plot,
}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_every_kind_of_file_and_of_page(plot, tmp_path):
    picture = plot()
    for name, start in (("a.svg", b"<svg"), ("a.png", b"\x89PNG"), ("a.PDF", b"%PDF")):
        picture.save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    root = ET.fromstring(picture.svg())  # noqa: S314  our own
    assert root.get("aria-label") == picture.title
    assert picture._repr_svg_() == picture.svg()
    assert repr(picture).startswith("<Picture of ")
    assert str(picture).startswith("drug vs none | death\n")


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_in_given_axes_x_is_in_data_and_all_of_it_fits(plot):
    figure = Figure(figsize=(12.0, 4.0))
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.subplots(1, 2)[1]
    picture = plot(ax=axes)
    figure.canvas.draw()
    box = axes.get_window_extent()
    ours = axes.transData
    left, top = ours.transform((picture.axis.value(0.0), 0.0))
    right, bottom = ours.transform((picture.axis.value(picture.width), picture.height))
    assert box.x0 - 1 <= left < right <= box.x1 + 1
    assert box.y0 - 1 <= bottom < top <= box.y1 + 1
    zero, _ = ours.transform((0.0, 0.0))
    expected = left + (right - left) * picture.axis.x(0.0) / picture.width
    assert zero == pytest.approx(expected, abs=0.5)
    for text in axes.texts:
        extent = text.get_window_extent(renderer)
        assert left - 2 <= extent.x0
        assert extent.x1 <= right + 2


def test_no_words_of_a_row_lie_over_each_other():
    picture = SYNTHESIS.forest_plot(labels={"Oslo": "W" * 60}, arms=("m" * 40, "none"))
    figure = picture.figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart = one.x1 <= other.x0 + 1 or other.x1 <= one.x0 + 1
            assert apart or one.y1 <= other.y0 + 2 or other.y1 <= one.y0 + 2


def test_what_cannot_be_written_is_said(tmp_path):
    picture = SYNTHESIS.forest_plot()
    with pytest.raises(InputError, match=r"must end with \.svg, \.png, \.pdf"):
        picture.save(tmp_path / "plot.jpg")
    with pytest.raises(InputError, match="cannot write"):
        picture.save(tmp_path / "nowhere" / "plot.svg")
    with pytest.raises(InputError, match="dpi"):
        picture.save(tmp_path / "plot.png", dpi=0)
    with pytest.raises(InputError, match="axes of matplotlib"):
        picture.draw(None)


def test_without_matplotlib_svg_still_works(monkeypatch, tmp_path):
    for name in ("matplotlib.figure", "matplotlib.axes"):
        monkeypatch.setitem(sys.modules, name, None)
    picture = SYNTHESIS.forest_plot()
    picture.save(tmp_path / "plot.svg")
    for use in (picture.figure, lambda: picture.save(tmp_path / "a.png"), lambda: picture.draw(3)):
        with pytest.raises(MissingExtraError, match=r"qis-protocol\[plot\]"):
            use()


def test_funnel_names_who_is_not_in_it_and_its_shades():
    text = str(SYNTHESIS.funnel_plot(contours=True))
    assert "Not shown, without a finite estimate: Ulm." in text
    assert "p > .1" in text
    alone = qis.Counts(question="q", events=0, total=10, control_events=3, control_total=9)
    with pytest.raises(InputError, match="profile_plot"):
        qis.synthesise(alone, model="fixed").funnel_plot()
    one_arm = qis.synthesise(qis.Counts(question="q", events=3, total=10), model="fixed")
    with pytest.raises(InputError, match="no value of no effect"):
        one_arm.funnel_plot(contours=True)
    assert "percent" in one_arm.funnel_plot().svg()


def test_the_funnel_is_where_so_much_of_the_normal_distribution_is():
    picture = SYNTHESIS.funnel_plot()
    triangle = next(e.points for e in picture.elements if getattr(e, "colour", "") == "#ffffff")
    centre, left, right = (picture.axis.value(x) for x, _ in triangle)
    assert centre == pytest.approx(SYNTHESIS.estimate)
    largest = (right - left) / 2.0 / 1.959964
    errors = [site.interval[1] - site.interval[0] for site in SYNTHESIS.sites[:2]]
    assert largest == pytest.approx(1.05 * max(errors) / 2.0 / 1.959964, rel=0.15)


def test_profile_curves_are_the_log_likelihoods():
    picture = SYNTHESIS.profile_plot()
    counts = qis.Counts(question="q", **{k: TABLE[k][2] for k in list(TABLE)[1:]})
    text = str(picture).splitlines()
    row = next(line for line in text if line.startswith("Ulm")).replace("−", "-").split()[1:]
    heads = text[1].split()[1:]
    drop = float(row[-1]) - float(row[1])
    theta = [math.log(float(heads[i])) for i in (1, -1)]
    low, high = counts.log_likelihood(theta)
    assert drop == pytest.approx(high - low, abs=0.011)
    limited = SYNTHESIS.profile_plot(limits=(0.5, 2.0))
    assert limited.axis.low == pytest.approx(math.log(0.5))


def test_many_sites_are_not_named():
    table = {
        "site": [f"site {i:02}" for i in range(20)],
        "estimate": [0.01 * i for i in range(20)],
        "standard_error": [0.2] * 20,
    }
    picture = qis.synthesise(table, study=STUDY).profile_plot()
    assert "20 sites" in picture.svg()
    assert "site 07" not in picture.svg()


def test_texts_are_cut_to_what_fits():
    assert cut("short", 100.0) == "short"
    short = cut("W" * 100, 100.0)
    assert short.endswith("…")
    assert text_width(short) <= 100.0
    assert text_width("日本") > text_width("ab")

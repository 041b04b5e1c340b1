"""The forest plot: what it shows, in which order, and that every form shows the same."""

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.errors import InputError
from qis.synthesis.forest import Forest, ForestGroup, ForestRow, ForestSummary
from qis.synthesis.forest_picture import forest_picture
from qis.synthesis.forest_text import forest_text
from qis.synthesis.scale import Scale

INF = math.inf
STUDY = qis.Study(question="drug vs none | death", measure="OR", model="random")
TABLE = {
    "site": ["Bern", "Oslo", "Ulm", "Wien"],
    "events": [3, 50, 0, 0],
    "total": [40, 600, 11, 4],
    "control_events": [9, 40, 2, 0],
    "control_total": [41, 550, 12, 5],
}


def synthesis(**options):
    return qis.synthesise(TABLE, study=STUDY, **options)


def forest(measure="OR", *, level=0.95, rows=None, **changes):
    rows = rows or (
        ForestRow(label="one", estimate=-0.3, interval=(-0.9, 0.3), weight=0.6, cells=("12 345",)),
        ForestRow(label="two", estimate=0.2, interval=(-1.0, 1.4), weight=0.4, cells=("9",)),
        ForestRow(label="rises", estimate=None, interval=(-0.4, INF), cells=("8",)),
        ForestRow(label="silent", estimate=None, interval=None, cells=("7",)),
    )
    settings = {
        "title": "a vs b | death",
        "scale": Scale(measure=measure, level=level),
        "groups": (ForestGroup(rows=rows),),
        "columns": (("", "n"),) if rows[0].cells else (),
        "summaries": (
            ForestSummary(label="Random", estimate=-0.2, interval=(-0.6, 0.2), cells=("12 369",)),
            ForestSummary(label="Range", estimate=None, interval=(-1.0, 0.6), is_model=False),
            ForestSummary(label="Open", estimate=None, interval=(-INF, 0.5), is_chosen=False),
        ),
        "notes": ("tau 0.1",),
    }
    if not rows[0].cells:
        settings["summaries"] = ()
    return Forest(**(settings | changes))


def words(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.text]  # noqa: S314


def areas(svg, colour):
    found = re.findall(rf'<polygon points="([^"]*)" fill="{colour}"/>', svg)
    return [[tuple(map(float, point.split(","))) for point in each.split()] for each in found]


def test_all_forms_show_the_same_words():
    picture = forest_picture(forest(favours=("favours a", "favours b")))
    shown = words(picture.svg())
    (axes,) = picture.figure().axes
    assert sorted(text.get_text() for text in axes.texts) == sorted(
        shown
    )  # no word more, none less
    assert {"0.74 [0.41, 1.35]", "no estimate [0.67, ∞]", "no information"} <= {*shown}
    assert {"no estimate [0, 1.65]", "[0.37, 1.82]", "60.0 %", "12 345", "OR [95 %]"} <= {*shown}
    assert {"tau 0.1", "← favours a", "favours b →", "odds ratio (logarithmic scale)"} <= {*shown}
    text = str(picture)
    for word in shown:
        if "favours" not in word and "scale" not in word:
            assert word in text


def test_what_is_drawn_is_to_scale():
    plot = forest()
    picture = forest_picture(plot)
    axis = picture.axis
    assert (axis.low, axis.high) == plot.axis()
    squares = areas(picture.svg(), "#1f4e8c")
    centres = [sum(x for x, _ in each) / 4 for each in squares if len(each) == 4]
    assert centres == pytest.approx([axis.x(-0.3), axis.x(0.2)], abs=0.2)
    sides = [each[1][0] - each[0][0] for each in squares if len(each) == 4]
    assert sides[0] > sides[1]  # more weight, larger
    (diamond,) = (each for each in areas(picture.svg(), "#b03030") if len(each) == 4)
    assert [x for x, _ in diamond] == pytest.approx(
        [axis.x(-0.6), axis.x(-0.2), axis.x(0.2), axis.x(-0.2)], abs=0.2
    )
    assert axis.value(axis.x(0.1)) == pytest.approx(0.1)


def test_an_interval_that_leaves_the_axis_ends_in_an_arrow_and_others_do_not():
    arrows = [each for each in areas(forest_picture(forest()).svg(), "#1f4e8c") if len(each) == 3]
    assert len(arrows) == 1
    short = forest_picture(forest(limits=(-0.5, 0.5)))
    arrows = [each for each in areas(short.svg(), "#1f4e8c") if len(each) == 3]
    assert len(arrows) == 4  # one's lower end, both of two, the upper of the open one
    assert "←" in str(short)


@pytest.mark.parametrize(
    "label",
    ["<script>alert(1)</script>", '"><b>', "&amp;", "]]>", "$\\frac", "x" * 500, "\u202eabc", "\0"],
)
def test_hostile_labels_are_text(label, tmp_path):
    row = ForestRow(label=label, estimate=0.0, interval=(-1.0, 1.0))
    picture = forest_picture(forest(title=label, rows=(row,), notes=(label,)))
    svg = picture.svg()
    ET.fromstring(svg)  # noqa: S314  (our own text)
    assert "<script" not in svg
    assert "<b>" not in svg
    assert "\u202e" not in svg
    assert picture.width < 900
    picture.save(tmp_path / "plot.png")


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
        ("PLO", 0.0, "50.0 %"),
    ],
)
def test_numbers_as_text(measure, value, text):
    assert Scale(measure=measure).number(value) == text


ESTIMATES = st.floats(-20, 20)
HALVES = st.floats(1e-3, 50)


@given(
    st.sampled_from(["OR", "MD"]),
    st.lists(st.tuples(ESTIMATES, HALVES), min_size=1, max_size=8),
    st.floats(1e-3, 5),
)
@settings(max_examples=50)
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
    picture = forest_picture(plot)
    assert "nan" not in picture.svg()
    assert all(0 <= x <= picture.width for line in areas(picture.svg(), "#1f4e8c") for x, _ in line)
    lines = forest_text(plot).splitlines()
    assert len({line.index("┬") >= 0 for line in lines if "┬" in line}) == 1


@pytest.mark.parametrize(("limits", "shown"), [((0.0, 1.5), True), ((0.2, 1.5), False)])
def test_no_effect_is_marked_at_the_end_of_the_axis_too(limits, shown):
    rows = (ForestRow(label="one", estimate=0.9, interval=(0.6, 1.2), weight=1.0),)
    lines = forest_text(forest(rows=rows, limits=limits)).splitlines()
    (line,) = (line for line in lines if line.startswith("one"))
    assert ("│" in line) == shown


def test_without_rows_there_is_no_plot():
    with pytest.raises(InputError):
        forest(groups=(ForestGroup(rows=()),))


def test_events_totals_and_the_chosen_models_weights():
    text = str(synthesis().forest_plot())
    assert "drug events/n" in text
    assert "none events/n" in text
    row = next(line for line in text.splitlines() if line.startswith("Oslo"))
    weight = synthesis().weights[1]
    assert "50/600" in row
    assert "40/550" in row
    assert f"{100 * weight:.1f} %" in row
    total = next(line for line in text.splitlines() if line.startswith("Random effects"))
    assert "53/655" in total
    assert "51/608" in total
    assert "100.0 %" in total
    fixed = qis.synthesise(
        TABLE, study=qis.Study(question="drug vs none | death", measure="OR", model="fixed")
    )
    text = str(fixed.forest_plot())
    assert text.index("\nFixed effect") < text.index("\nRandom effects")
    assert f"{100 * fixed.weights[1]:.1f} %" in str(fixed.forest_plot())
    assert fixed.weights[1] != pytest.approx(weight, abs=0.01)


def test_heterogeneity_is_said():
    found = synthesis()
    text = str(found.forest_plot())
    assert f"tau {found.tau:.2f} [" in text
    assert str(found.heterogeneity) in " ".join(text.splitlines())


def test_the_prediction_interval_is_a_row_of_random_effects_only():
    found = synthesis()
    row = next(x for x in str(found.forest_plot()).splitlines() if x.startswith("Prediction"))
    assert found.scale.limits(found.prediction_interval) in row
    assert "◆" not in row
    fixed = qis.Study(question="drug vs none | death", measure="OR", model="fixed")
    assert "Prediction" not in str(qis.synthesise(TABLE, study=fixed).forest_plot())


def names(picture):
    return [
        n for n in (line.split("  ")[0] for line in str(picture).splitlines()) if n in TABLE["site"]
    ]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("name", "Bern Oslo Ulm Wien"),
        ("n", "Oslo Bern Ulm Wien"),
        ("weight", "Oslo Bern Ulm Wien"),
        ("precision", "Oslo Bern Ulm Wien"),
        ("estimate", "Bern Oslo Ulm Wien"),
        (["Wien", "Ulm", "Oslo", "Bern"], "Wien Ulm Oslo Bern"),
    ],
)
def test_order(order, expected):
    assert names(synthesis().forest_plot(order=order)) == expected.split()


def test_labels_titles_arms_unit_and_limits():
    text = str(
        synthesis().forest_plot(
            labels={"Oslo": "Oslo (2019)"}, title="Deaths", arms=("active", "inert")
        )
    )
    assert text.startswith("Deaths\n")
    assert "Oslo (2019)" in text
    assert "active events/n" in text
    assert "inert events/n" in text
    plot = synthesis().forest_plot(limits=(0.1, 10.0))
    assert (plot.axis.low, plot.axis.high) == pytest.approx((math.log(0.1), math.log(10.0)))
    means = {"site": ["a"], "mean": [5.0], "sd": [1.0], "total": [9]}
    means |= {f"control_{name}": means[name] for name in ("mean", "sd", "total")}
    study = qis.Study(question="pressure", measure="MD", model="fixed")
    svg = qis.synthesise(means, study=study).forest_plot(unit="mmHg").svg()
    assert "mean difference (mmHg)" in svg


def test_the_label_of_a_subtotal_is_not_cut_though_it_stands_further_in():
    table = {
        "site": ["Ulm", "Bern", "Lyon", "Turin", "Gent", "Graz"],
        "events": [3, 12, 0, 30, 4, 15],
        "total": [40, 80, 20, 300, 33, 120],
        "control_events": [9, 20, 3, 45, 2, 22],
        "control_total": [41, 79, 22, 310, 30, 118],
    }
    groups = {
        site: "north" if site in {"Ulm", "Bern", "Gent"} else "south" for site in table["site"]
    }
    svg = qis.synthesise(table, study=STUDY).forest_plot(subgroups=groups).svg()
    assert ">Subtotal, few sites<" in svg
    assert "…<" not in svg


def starts_of(svg):
    """Where each text begins, by its words."""
    found = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314
    return {element.text: float(element.get("x")) for element in found}


def test_sites_stand_further_in_than_the_heading_of_their_group_and_are_not_cut():
    groups = {"Bern": "north", "Oslo": "north", "Ulm": "south", "Wien": "south"}
    long = {"Bern": "a hospital with a longer name"}
    grouped = starts_of(synthesis().forest_plot(subgroups=groups, labels=long).svg())
    assert {long["Bern"], "Ulm"} <= set(grouped)  # whole
    assert grouped["Ulm"] == grouped["Wien"] == grouped[long["Bern"]] > grouped["north"]
    assert grouped["Subtotal"] == grouped["Ulm"]
    plain = starts_of(synthesis().forest_plot().svg())
    assert plain["Ulm"] == plain["Site"] == grouped["north"]


def test_a_heading_of_two_lines_stands_above_the_columns_that_have_one():
    rows = (ForestRow(label="one", estimate=0.1, interval=(0.0, 0.2), cells=("12", "3/40")),)
    columns = ("", "n"), ("treated", "events/n")
    svg = forest_picture(forest(rows=rows, columns=columns, summaries=())).svg()
    assert {"n", "treated", "events/n"} <= {*words(svg)}


def test_squares_and_diamonds_stand_in_the_middle_of_their_line():
    svg = forest_picture(forest()).svg()
    (diamond,) = (each for each in areas(svg, "#b03030") if len(each) == 4)
    squares = [each for each in areas(svg, "#1f4e8c") if len(each) == 4]
    for corners in (*squares, diamond):
        heights = sorted({y for _, y in corners})
        assert heights[-1] - heights[0] == pytest.approx(
            2 * (heights[-1] - sum(heights) / len(heights)), abs=0.2
        )
    assert squares
    for square in squares:
        assert len(set(square)) == 4
        (left, right), (top, bottom) = (sorted({v[i] for v in square}) for i in (0, 1))
        assert right - left == pytest.approx(bottom - top, abs=0.2)


def test_subgroups_have_headings_and_subtotals_of_their_own():
    groups = {"Bern": "north", "Oslo": "north", "Ulm": "south", "Wien": "south"}
    text = str(synthesis().forest_plot(subgroups=groups)).splitlines()
    assert text.index("north") < text.index("south")
    subtotals = [line for line in text if line.startswith("Subtotal")]
    alone = qis.synthesise({name: values[:2] for name, values in TABLE.items()}, study=STUDY)
    assert alone.scale.numbers(alone.estimate, alone.interval) in subtotals[0]
    assert "53/640" in subtotals[0]
    assert len(subtotals) == 2
    single = {**groups, "Bern": "south"}
    assert (
        len(
            [
                x
                for x in str(synthesis().forest_plot(subgroups=single)).splitlines()
                if x.startswith("Subtotal")
            ]
        )
        == 1
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "size"}, "order is 'size'"),
        ({"order": ["Bern"]}, "each site once: Bern, Oslo, Ulm, Wien"),
        ({"order": 3}, "order is 3"),
        ({"labels": {"Rom": "x"}}, "labels names 'Rom'"),
        ({"labels": {"Ulm": 3}}, "labels['Ulm'] is 3"),
        ({"labels": ["x"]}, "it must be a mapping"),
        ({"subgroups": {"Ulm": "x"}}, "does not say where 'Bern' belongs"),
        ({"favours": ("x",)}, "must be 2 values (a text, a text)"),
        ({"favours": "ab"}, "favours is 'ab'"),
        ({"unit": "kg"}, "has no unit"),
        ({"limits": (1.0, 0.5)}, "two ascending values"),
        ({"limits": (-1.0, 1.0)}, "ratios above 0"),
        ({"limits": 3}, "limits is 3"),
        ({"title": 3}, "title is 3"),
        ({"ax": 3}, "axes of matplotlib"),
    ],
)
def test_wrong_options_are_refused_in_words(options, words):
    with pytest.raises(InputError, match=re.escape(words)):
        synthesis().forest_plot(**options)


def test_without_evidence_there_is_no_plot():
    study = qis.Study(question="q", model="fixed")
    empty = qis.synthesise(
        qis.MemoryStore(roster=qis.Roster.open()).evidence(study, now=1_800_000_000), study=study
    )
    for plot in (empty.forest_plot, empty.funnel_plot, empty.profile_plot):
        with pytest.raises(InputError, match="no evidence counts"):
            plot()


def test_profiles_and_estimates_have_their_columns():
    data = Path(__file__).parents[2] / "examples" / "data" / "cgd.csv"
    import pandas as pd  # noqa: PLC0415  one test needs it

    patients = pd.read_csv(data)
    profile = qis.LikelihoodProfile.from_frame(
        patients,
        time="days",
        event=("infection", 1, 0),
        treated=("treatment", "interferon gamma", "placebo"),
        question="q",
    )
    assert "44/128" in str(qis.synthesise(profile, model="fixed").forest_plot())
    effect = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=0.2, n=1234)
    other = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=0.2)
    text = str(qis.synthesise([effect, other], model="fixed").forest_plot())
    assert "1\u202f234" in text
    assert re.search(r"outcome 2 +\? ", text)
    assert re.search(r"Fixed effect +\? ", text)  # a total of which a part is not known


def test_extreme_and_tiny_numbers_are_shown():
    far = {"site": ["a", "b"], "estimate": [49.0, -49.0], "standard_error": [0.001, 1000.0]}
    found = qis.synthesise(far, study=STUDY)
    for picture in (found.forest_plot(), found.funnel_plot(), found.profile_plot()):
        assert "nan" not in picture.svg()
        assert "inf" not in picture.svg()
    assert Scale(measure="MD").numbers(-4.2e-15, (-76462.0, 76462.0)) == "0.00 [−76462, 76462]"
    assert Scale(measure="MD").numbers(-4.2e-15, (-1e-14, 1e-14)).startswith("−4.2e−15")


def test_the_marks_of_a_result_are_in_its_label():
    alone = {name: values[:1] for name, values in TABLE.items()}
    assert "Random effects, prior dominated" in str(
        qis.synthesise(alone, study=STUDY).forest_plot()
    )

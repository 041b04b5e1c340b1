"""Outcomes from tables: three libraries and plain columns, and what tables get wrong."""

import csv
import datetime as dt
import math
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

import qis

DATA = Path(__file__).parents[2] / "examples" / "data"
MAKERS = {
    "columns": dict,
    "pandas": pd.DataFrame,
    "pandas, nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "pandas, categories": lambda columns: pd.DataFrame(columns).astype({"arm": "category"}),
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}
ARM = ("arm", "drug", "none")
EVENT = ("died", "yes", "no")
PATIENTS = {
    "arm": ["drug", "none", "drug", "none", "drug"],
    "died": ["no", "yes", "yes", "no", "no"],
    "days": [5, 3, 8, 2, 9],
}


def four(counts):
    return counts.events, counts.total, counts.control_events, counts.control_total


def profile(table, **others):
    given = {"time": "days", "event": EVENT, "treated": ARM, "question": "q"} | others
    return qis.LikelihoodProfile.from_frame(table, **given)


def refusal(call, *arguments, **named):
    with pytest.raises(qis.InputError) as caught:
        call(*arguments, **named)
    return str(caught.value)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_every_library_gives_the_same_outcomes(make):
    table = make(PATIENTS)
    counts = qis.Counts.from_frame(table, arm=ARM, event=EVENT, question="q")
    assert four(counts) == (1, 3, 1, 2)
    moments = qis.Moments.from_frame(table, arm=ARM, value="days", question="q")
    assert moments == qis.Moments.from_values([5, 8, 9], [3, 2], question="q")
    assert profile(table) == qis.LikelihoodProfile.from_survival(
        times=PATIENTS["days"], events=[0, 1, 1, 0, 0], treated=[1, 0, 1, 0, 1], question="q"
    )


def test_the_lung_trial_gives_the_hazard_ratio_of_rs_survival_package():
    # R: coxph(Surv(time, status) ~ sex, lung): coef -0.5310, se 0.1672 (women against men)
    lung = pd.read_csv(DATA / "lung_ncctg.csv")
    outcome = qis.LikelihoodProfile.from_frame(
        lung, time="time", event=("status", 2, 1), treated=("sex", 2, 1), question="lung | death"
    )
    pooled = qis.pool_profiles([outcome], model="fixed")
    assert pooled.estimate == pytest.approx(-0.5310, abs=5e-4)
    assert (outcome.n, outcome.events) == (228, 165)
    # and the trap of this file: 1 is censored, 2 is dead
    words = refusal(
        qis.LikelihoodProfile.from_frame,
        lung,
        time="time",
        event=("status", 1, 0),
        treated=("sex", 2, 1),
        question="q",
    )
    assert "165 of 228 rows of column 'status' are neither 1 nor 0 but 2 (165)" in words


def test_all_rows_of_the_trial_of_interferon_come_to_the_published_hazard_ratio():
    with (DATA / "cgd.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["days"] = [float(days) for days in columns["days"]]
    outcome = qis.LikelihoodProfile.from_frame(
        columns,
        time="days",
        event=("infection", "1", "0"),
        treated=("treatment", "interferon gamma", "placebo"),
        strata="hospital",
        question="q",
    )
    assert qis.pool_profiles([outcome], model="fixed").estimate == pytest.approx(-1.1404, abs=1e-3)
    assert outcome.provenance == (
        "treatment: interferon gamma (rows: 63) against placebo (rows: 65); event: infection = 1"
    )


def test_where_it_came_from_stays_here_and_makes_no_difference():
    first = qis.Counts.from_frame(PATIENTS, arm=ARM, event=EVENT, question="q")
    second = qis.Counts(events=1, total=3, control_events=1, control_total=2, question="q")
    assert first == second
    assert hash(first) == hash(second)
    assert first.encoded() == second.encoded()
    assert "drug (rows: 3) against none (rows: 2)" in repr(first)
    assert "drug (rows: 3) against none (rows: 2)" in first._repr_html_()


@pytest.mark.parametrize("make", list(MAKERS.values())[:3] + list(MAKERS.values())[4:])
def test_missing_values_are_refused_with_their_number_or_dropped_and_said(make):
    holes = PATIENTS | {"died": ["no", None, "yes", "no", None], "unused": [None] * 5}
    words = refusal(qis.Counts.from_frame, make(holes), arm=ARM, event=EVENT, question="q")
    assert "2 of 5 rows lack a value (died 2), the first: 2, 5" in words
    dropped = qis.Counts.from_frame(make(holes), arm=ARM, event=EVENT, question="q", missing="drop")
    assert four(dropped) == (1, 2, 0, 1)
    assert "2 of 5 rows dropped, missing: died 2" in dropped.provenance


@pytest.mark.parametrize(
    "gap", [None, math.nan, np.nan, pd.NA, pd.NaT, np.ma.masked, Decimal("nan")]
)
def test_every_kind_of_gap_is_missing(gap):
    words = refusal(profile, PATIENTS | {"days": [1.0, gap, 2.0, 3.0, 4.0]})
    assert "1 of 5 rows lack a value (days 1), the first: 2" in words


def test_masked_arrays_keep_their_masks():
    days = np.ma.masked_array([1, 2, 3, 4, 5], mask=[0, 0, 1, 0, 0])
    assert "(days 1), the first: 3" in refusal(profile, PATIENTS | {"days": days})


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (["5", "3,5", "8", "2", "9"], "row 1 of column 'days' is '5': a text"),
        (["5,0", "3,5", "8", "2", "1,2"], "3 of 5 are texts with a decimal comma"),
        (["2024-03-01"] * 5, "a date, where a number is needed"),
        (["3-Mar", "1", "2", "3", "4"], "a date, where a number is needed"),
        (["31.12.2024"] * 5, "a date, where a number is needed"),
        ([dt.date(2024, 3, 1)] * 5, "a date, where a number is needed"),
        ([dt.timedelta(days=3)] * 5, "a duration: divide it by its unit"),
        ([True, 2, 3, 4, 5], "a bool, where a number is needed"),
        ([1, 2, 3, 4, math.inf], "row 5 of column 'days' is inf; it must be finite"),
        ([1, 2, -3, 4, 5], "row 3 of column 'days' is -3; it must be finite and 0 or more"),
    ],
)
def test_what_is_no_time_is_named_with_its_row(days, words):
    assert words in refusal(profile, PATIENTS | {"days": days})


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_dates_of_each_library_are_named(make):
    dates = [dt.datetime(2024, 3, day, tzinfo=None) for day in range(1, 6)]  # noqa: DTZ001
    assert "a date, where a number" in refusal(profile, make(PATIENTS | {"days": dates}))


def test_dates_as_a_spreadsheets_numbers_are_warned_of():
    serial = PATIENTS | {"days": [45352, 45353, 45360, 45361, 45400]}
    with pytest.warns(UserWarning, match="as dates do that a spreadsheet") as caught:
        profile(serial)
    assert caught[0].filename == __file__  # the line that called, not one of the library's


def test_a_level_that_a_spreadsheet_made_a_date_is_named():
    doses = PATIENTS | {"arm": ["1-2", dt.datetime(2024, 2, 1, tzinfo=dt.UTC), "3-4", "1-2", "3-4"]}
    assert "turned it into a date" in refusal(profile, doses, treated=("arm", "1-2", "3-4"))


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"treated": ("arm", "Drug", "none")}, "3 of 5 rows of column 'arm' are neither 'Drug'"),
        ({"treated": ("arm", "drug", "drug")}, "must be two different levels"),
        ({"treated": ("arm", "drug", None)}, "must be two different levels"),
        ({"treated": "arm"}, "(column, treated arm, control arm)"),
        ({"event": "died"}, "which level is which decides the sign"),
        ({"event": ("died", 1, 0)}, "neither 1 nor 0 but 'no' (3), 'yes' (2)"),
        ({"time": "months"}, "no column 'months'; it has arm, died, days"),
        ({"time": 3}, "3 is no name of a column"),
        ({"missing": "ignore"}, "'ignore' must be 'refuse' or 'drop'"),
        ({"patient": "arm"}, "2 ids of column 'arm' in several rows"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(named, words):
    assert words in refusal(profile, PATIENTS, **named)


def test_a_number_and_its_text_are_two_levels():
    words = refusal(profile, PATIENTS | {"died": [0, 1, 1, 0, 0]}, event=("died", "1", "0"))
    assert "text and numbers are told apart" in words


ODD = [3, b"arm", ["arm"], np.array([1, 2]), pd.Series([1, 2]), object(), {"a": 1}, math.nan]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
@pytest.mark.parametrize("field", ["time", "event", "treated", "strata", "patient", "missing"])
def test_odd_parameters_are_refused_by_their_name(field, odd):
    assert refusal(profile, PATIENTS, **{field: odd}).startswith(f"{field}: ")
    if field in ("event", "treated") and odd is not ODD[0]:
        column = {"event": "died", "treated": "arm"}[field]
        assert refusal(profile, PATIENTS, **{field: (column, odd, "x")}).startswith(f"{field}: ")


def test_odd_cells_and_names_of_columns_are_refused():
    odd = PATIENTS | {"arm": ["drug", np.array([1, 2]), ["none"], {"a": 1}, "none"]}
    assert "3 of 5 rows of column 'arm' are neither" in refusal(profile, odd)
    assert "must be texts" in refusal(profile, PATIENTS | {1: [1] * 5})


@pytest.mark.parametrize(("kind", "words"), [("M8[ns]", "a date"), ("m8[ns]", "a duration")])
@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame])
def test_dates_and_durations_of_any_library_are_no_numbers(make, kind, words):
    odd = make(PATIENTS | {"days": np.array([1, 2, 3, 4, 5], kind)})
    assert words in refusal(profile, odd)


@pytest.mark.parametrize("frame", [None, 3, "file.csv", [1, 2], object(), pd.Series([1])])
def test_what_is_no_table_is_refused(frame):
    assert "it must be a data frame" in refusal(profile, frame)


def test_lazy_frames_twice_named_columns_and_empty_tables_are_refused():
    assert "collected" in refusal(profile, pl.LazyFrame(PATIENTS))
    twice = pd.DataFrame(PATIENTS).assign(more=1).set_axis(["arm", "died", "days", "days"], axis=1)
    assert "a name of its own" in refusal(profile, twice)
    assert "no rows" in refusal(profile, pd.DataFrame(PATIENTS).iloc[:0])
    assert "differ in length" in refusal(profile, PATIENTS | {"days": [1]})


def test_repeated_ids_are_refused_by_their_column_and_else_warned_of():
    table = PATIENTS | {"patient_id": [1, 2, 2, 3, 4]}
    with pytest.warns(UserWarning, match="1 id of column .patient_id. in several") as caught:
        profile(table)
    assert caught[0].filename == __file__
    words = refusal(profile, table, patient="patient_id")
    assert "such as rows 2, 3; each row must be one patient" in words
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile(PATIENTS | {"patient_id": [1, 2, 3, 4, 5]})


def test_an_arm_without_rows_is_refused_where_a_comparison_needs_it():
    table = PATIENTS | {"arm": ["drug"] * 5}
    words = refusal(qis.Counts.from_frame, table, arm=ARM, event=EVENT, question="q")
    assert "no row is in the arm 'none'" in words
    words = refusal(qis.Moments.from_frame, table, arm=ARM, value="days", question="q")
    assert "no row is in the arm 'none'" in words
    assert not profile(table).is_informative  # a hospital with one arm takes part all the same


AGGREGATED = {"arm": ["drug", "none"], "deaths": [3, 7], "people": [40, 41]}
FREQUENCIES = {
    "arm": ["drug", "drug", "none", "none"],
    "died": ["yes", "no", "yes", "no"],
    "Freq": [3, 37, 7, 34],
}


def test_rows_that_are_arms_and_rows_that_are_patients_are_told_apart():
    by_arm = qis.Counts.from_frame(
        AGGREGATED, arm=ARM, events="deaths", total="people", question="q"
    )
    assert four(by_arm) == (3, 40, 7, 41)
    words = refusal(
        qis.Counts.from_frame, AGGREGATED, arm=ARM, event=("deaths", 1, 0), question="q"
    )
    assert "if each row is a whole arm" in words
    words = refusal(qis.Counts.from_frame, FREQUENCIES, arm=ARM, event=EVENT, question="q")
    assert "give frequency='Freq'" in words
    weighted = qis.Counts.from_frame(
        pd.DataFrame(FREQUENCIES), arm=ARM, event=EVENT, frequency="Freq", question="q"
    )
    assert four(weighted) == four(by_arm)


@pytest.mark.parametrize(
    "named",
    [
        {"arm": ARM},
        {"arm": ARM, "event": EVENT, "events": "deaths", "total": "people"},
        {"arm": ARM, "events": "deaths"},
        {"arm": ARM, "events": "deaths", "total": "people", "frequency": "people"},
    ],
)
def test_the_sort_of_the_rows_has_to_be_said_once(named):
    assert "event" in refusal(qis.Counts.from_frame, AGGREGATED, question="q", **named)


def test_events_beyond_the_people_are_refused_unless_they_are_rates():
    table = {"arm": ["drug", "none"], "deaths": [50, 7], "people": [40, 41], "years": [80.5, 90]}
    words = refusal(
        qis.Counts.from_frame, table, arm=ARM, events="deaths", total="people", question="q"
    )
    assert "row 1 has 50 events in 40 people" in words
    rates = qis.Counts.from_frame(
        table, arm=ARM, events="deaths", total="people", person_time="years", question="q"
    )
    assert (rates.measure, rates.person_time) == ("IRR", 80.5)


def test_counts_that_gaps_made_floats_pass_and_halves_do_not():
    table = pd.DataFrame({"arm": ["drug", "none", "none"], "d": [3, 7, None], "n": [40, 41, 5]})
    named = {"arm": ARM, "events": "d", "total": "n", "question": "q", "missing": "drop"}
    assert four(qis.Counts.from_frame(table, **named)) == (3, 40, 7, 41)
    table.loc[0, "d"] = 2.5
    assert "is 2.5, no whole number" in refusal(qis.Counts.from_frame, table, **named)


def test_moments_of_groups_are_those_of_their_people():
    rng = np.random.default_rng(5)
    groups = [rng.normal(140, 12, size) for size in (7, 12, 1)]
    table = pd.DataFrame(
        {
            "mean": [group.mean() for group in groups],
            "sd": [group.std(ddof=1) if len(group) > 1 else 0.0 for group in groups],
            "n": [len(group) for group in groups],
        }
    )
    merged = qis.Moments.from_frame(
        table, mean="mean", standard_deviation="sd", total="n", question="q"
    )
    people = np.concatenate(groups)
    assert merged.total == 20
    assert merged.mean == pytest.approx(people.mean(), rel=1e-12)
    assert merged.ss == pytest.approx(((people - people.mean()) ** 2).sum(), rel=1e-12)


def test_published_ratios_become_effects_by_their_trials():
    # Two of the trials of BCG (Colditz et al. 1994), as printed
    table = {
        "trial": ["Aronson", "Ferguson"],
        "rr": [0.41, 0.20],
        "lo": [0.13, 0.09],
        "n": [262, 609],
    }
    table["hi"] = [1.26, 0.49]
    named = {"site": "trial", "measure": "RR", "ratio": "rr", "lower": "lo", "upper": "hi"}
    effects = qis.Effect.from_columns(pl.DataFrame(table), n="n", question="BCG", **named)
    assert list(effects) == ["Aronson", "Ferguson"]
    assert effects["Ferguson"] == qis.Effect.from_ratio(
        measure="RR", ratio=0.20, lower=0.09, upper=0.49, n=609, question="BCG"
    )
    wrong = table | {"hi": [1.26, 0.1]}
    words = refusal(qis.Effect.from_columns, wrong, question="BCG", **named)
    assert words.startswith("row 2 (Ferguson): need 0 < lower <= ratio <= upper")
    again = table | {"trial": ["A", "A"]}
    assert "row 2 names 'A' a second time" in refusal(
        qis.Effect.from_columns, again, question="BCG", **named
    )
    assert "give the columns" in refusal(
        qis.Effect.from_columns, table, site="trial", measure="RR", ratio="rr", question="BCG"
    )


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["drug", "none", None]),
        st.sampled_from(["yes", "no", None]),
        st.integers(1, 50),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(rows=ROWS, maker=st.sampled_from([dict, pd.DataFrame, pl.DataFrame]), seed=st.integers(0, 9))
def test_the_order_of_rows_does_not_matter_and_each_complete_row_counts_once(rows, maker, seed):
    order = np.random.default_rng(seed).permutation(len(rows))
    complete = [row for row in rows if None not in row]
    table = maker(
        {name: [rows[i][at] for i in order] for at, name in enumerate(("arm", "died", "days"))}
    )
    by_hand = tuple(
        sum(row[0] == arm and (row[1] == "yes" or not dead) for row in complete)
        for arm in ("drug", "none")
        for dead in (True, False)
    )
    named = {"arm": ARM, "event": EVENT, "question": "q", "missing": "drop"}
    if 0 in (by_hand[1], by_hand[3]):
        refusal(qis.Counts.from_frame, table, **named)
        return
    assert four(qis.Counts.from_frame(table, **named)) == by_hand
    if len(complete) < len(rows):
        refusal(qis.Counts.from_frame, table, **(named | {"missing": "refuse"}))


BASE = {"arm": list("TTTCCC"), "died": [1, 0, 1, 0, 0, 1], "days": [5.0, 6.0, 7.0, 8.0, 9.0, 3.0]}
TC = {"arm": ("arm", "T", "C")}
READERS = {
    "counts": lambda table: qis.Counts.from_frame(table, event=("died", 1, 0), question="q", **TC),
    "moments": lambda table: qis.Moments.from_frame(table, value="days", question="q", **TC),
    "profile": lambda table: qis.LikelihoodProfile.from_frame(
        table, time="days", event=("died", 1, 0), treated=("arm", "T", "C"), question="q"
    ),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_column_that_may_be_a_frequency_is_noticed(read):
    with pytest.warns(UserWarning, match="'Freq' is not used") as caught:
        read(pd.DataFrame(BASE | {"Freq": [4, 1, 2, 8, 3, 1]}))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(BASE | {"Freq": [1] * 6, "n": [0.5] * 6, "count": list("abcdef")})


def test_rows_that_are_arms_are_no_patients():
    arms = {"arm": ["T", "C"], "days": [5.5, 6.1], "n": [40, 38]}
    assert "total='n'" in refusal(READERS["moments"], pd.DataFrame(arms))


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "name", ["ID", "Patient ID", "patient_nr", "Fallnummer", "USUBJID", "record id", "participant"]
)
def test_ids_that_repeat_are_noticed_whatever_the_column_is_called(read, name):
    with pytest.warns(UserWarning, match="1 id of column") as caught:
        read(pd.DataFrame(BASE | {name: ["p1", "p2", " P2", "p4", "p5", "p6"]}))
    assert "rows 2, 3" in str(caught[0].message)
    assert "p2" not in str(caught[0].message).casefold()  # warnings get into logs
    assert caught[0].filename == __file__


def test_columns_of_studies_sites_and_numbers_are_no_ids():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        READERS["counts"](BASE | {name: [1] * 6 for name in ("study_id", "site", "number", "no")})


def test_a_named_index_of_pandas_is_a_column():
    frame = pd.DataFrame(BASE, index=pd.Index([7, 7, 8, 9, 10, 11], name="patient"))
    with pytest.warns(UserWarning, match="1 id of column 'patient'"):
        READERS["counts"](frame)
    by_arm = pd.DataFrame(BASE).set_index(["arm", "died"])
    assert READERS["profile"](by_arm) == READERS["profile"](BASE)
    sites = pd.DataFrame(
        {"estimate": [0.1, 0.2], "standard_error": [0.1, 0.1]},
        index=pd.Index(["Ulm", "Bern"], name="site"),
    )
    study = qis.Study(question="q", measure="OR", model="fixed")
    assert [site.name for site in qis.synthesise(sites, study=study).sites] == ["Bern", "Ulm"]


def test_values_that_are_serial_dates_are_noticed_and_others_are_not():
    dates = BASE | {"days": [45_000, 45_010, 45_020, 45_001, 44_999, 45_300]}
    with pytest.warns(UserWarning, match="as dates do"):
        READERS["moments"](dates)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        READERS["moments"](BASE | {"days": [25_900, 31_000, 28_500, 30_100, 26_400, 29_000]})


def test_a_level_that_is_unknown_is_not_taken_for_a_count():
    assert "whole arm" not in refusal(READERS["counts"], BASE | {"died": [1, 0, 1, 0, 0, 9]})

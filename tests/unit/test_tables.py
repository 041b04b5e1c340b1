"""Tables in and out: synthesise reads one row a site, and what there is can be shown as a frame."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import qis
from qis.errors import IncompatibleEvidenceError, InputError, MissingExtraError

NOW = 1_800_000_000
FINGERPRINT = qis.Fingerprint(bytes(32), bytes(8))
STUDY = qis.Study(question="a vs b | death", measure="OR", model="fixed")
COUNTS = {
    "site": ["Bern", "Ulm", "Oslo"],
    "events": [3, 0, 5],
    "total": [40, 11, 60],
    "control_events": [9, 2, 4],
    "control_total": [41, 12, 55],
}
MAKERS = {"mapping": dict, "pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
BACKENDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.Table}


def refusal(table, error=InputError, **options):
    with pytest.raises(error) as caught:
        qis.synthesise(table, **({"study": STUDY} | options))
    return str(caught.value)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_table_of_counts_is_the_same_as_its_outcomes(make):
    outcomes = [
        qis.Counts(study=STUDY, **{name: COUNTS[name][i] for name in list(COUNTS)[1:]})
        for i in range(3)
    ]
    expected = qis.synthesise(outcomes, study=STUDY, names=COUNTS["site"])
    found = qis.synthesise(make(COUNTS), study=STUDY)
    assert found == expected
    assert [site.name for site in found.sites] == ["Bern", "Oslo", "Ulm"]
    assert not found.is_signed
    assert found.digest == b""
    assert "unsigned input" in found.explain().lower()


def test_every_kind_of_row_may_stand_in_one_table():
    gap = np.nan
    table = pd.DataFrame(
        {
            "site": ["a", "b", "c"],
            "estimate": [-0.4, gap, gap],
            "standard_error": [0.2, gap, gap],
            "ratio": [gap, 0.8, gap],
            "lower": [gap, 0.4, gap],
            "upper": [gap, 1.6, gap],
            "events": [gap, gap, 3],
            "total": [gap, gap, 20],
            "control_events": [gap, gap, 6],
            "control_total": [gap, gap, 21],
            "n": [100, gap, gap],
        }
    )
    found = qis.synthesise(table, study=STUDY)
    assert [type(site.outcomes[0]).__name__ for site in found.sites] == [
        "Effect",
        "Effect",
        "Counts",
    ]
    assert found.sites[0].n == 100
    assert found.sites[1].estimate == pytest.approx(np.log(0.8))
    assert found.sites[2].n == 41


def test_means_and_standard_deviations():
    study = qis.Study(question="score", measure="MD", model="random", tau_scale=2.0)
    table = {
        "site": ["a", "b"],
        "mean": [5.0, 6.0],
        "sd": [2.0, 1.5],
        "total": [10, 12],
        "control_mean": [4.0, 4.5],
        "control_sd": [2.5, 1.0],
        "control_total": [11, 9],
    }
    found = qis.synthesise(table, study=study)
    assert found.sites[0].outcomes[0].ss == 36.0
    assert found.sites[0].outcomes[0].control_ss == 62.5
    assert "sd" in refusal({"site": ["a"], "mean": [1.0], "total": [9]}, study=study)


def test_rates_and_cohorts_of_one_site():
    table = {
        "site": ["a", "a", "b"],
        "cohort": ["men", "women", None],
        "events": [3, 4, 5],
        "total": [30, 40, 50],
        "person_time": [100.0, 120.0, 130.0],
        "question": ["falls"] * 3,
    }
    found = qis.synthesise(table, model="fixed")
    assert found.measure == "IRLN"
    assert [len(site.outcomes) for site in found.sites] == [2, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"events": [3, None, 5]}, "row 2 (Ulm): it has control_events, control_total, total"),
        ({"events": [3, 12, 5]}, "row 2 (Ulm)"),
        ({"events": [3, 1.5, 5]}, "row 2 of column 'events' is 1.5, no whole number"),
        ({"events": ["3", "0", "5,0"]}, "a text"),
        ({"events": ["3,5", 0, 5]}, "decimal comma"),
        ({"events": [True, 0, 5]}, "bool"),
        ({"site": ["Bern", "Bern", "Oslo"]}, "Bern comes twice"),
        ({"estimate": [0.1, None, None]}, "row 1 (Bern): it has"),
        ({"counts": [True, False, True]}, "row 2 (Ulm) is marked as not counting"),
        (
            {"kind": ["Counts", "Counts", "LikelihoodProfile"]},
            "row 3 (Oslo) is a LikelihoodProfile",
        ),
        ({"measure": ["OR", "OR", "RR"]}, "row 3 (Oslo) says the measure is RR; it pools as OR"),
        ({"events": [3, 0]}, "differ in length"),
    ],
)
def test_a_wrong_row_is_named(changes, words):
    assert words in refusal(COUNTS | changes)


def test_tables_of_something_else_are_refused():
    assert "one row a site" in refusal(pd.DataFrame({"patient": [1, 2], "died": [0, 1]}))
    assert "no rows" in refusal({"site": [], "events": [], "total": []})
    assert "Study(question" in refusal(COUNTS, study=None, model="fixed")
    assert "column site gives the names" in refusal(COUNTS, names=["a", "b", "c"])
    assert "no issuers" in refusal(COUNTS, roster=qis.Roster.open())
    effects = {"site": ["a"], "estimate": [0.1], "standard_error": [0.1], "question": ["q"]}
    assert "Study(measure" in refusal(effects, study=None, model="fixed")
    other = COUNTS | {"study": ["00" * 8] * 3}
    assert "is of study" in refusal(other, IncompatibleEvidenceError)


def store_of(*outcomes):
    store = qis.MemoryStore(roster=qis.Roster.open())
    for number, outcome in enumerate(outcomes, start=1):
        packet = qis.Packet.sign(
            qis.Identity.from_seed(bytes([number]) * 32),
            outcome=outcome,
            fingerprint=FINGERPRINT,
            issued_at=NOW,
            lifetime_s=86_400,
        )
        store.add(packet, now=NOW)
    return store


OUTCOMES = (
    qis.Counts(study=STUDY, events=3, total=40, control_events=9, control_total=41),
    qis.Effect(study=STUDY, measure="OR", estimate=-0.4, standard_error=0.2, n=300),
    qis.Retraction(study=STUDY, reason="error"),
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_evidence_as_a_frame_shows_what_counts_and_what_does_not_and_why(backend):
    review = store_of(*OUTCOMES).evidence(STUDY, now=NOW)
    frame = review.to_frame(backend=backend)
    assert type(frame) is BACKENDS[backend]
    columns = review.to_dict()
    assert sorted(columns["counts"]) == [False, True, True]
    assert columns["why_not"][2] == "retracted"
    assert sorted(columns["kind"]) == ["Counts", "Effect", "Retraction"]
    assert sorted(columns["n"][:2]) == [81, 300]
    assert "not counting" in refusal(frame)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_counts_may_be_read_again(backend):
    review = store_of(*OUTCOMES[:2]).evidence(STUDY, now=NOW)
    again = qis.synthesise(review.to_frame(backend=backend), study=STUDY)
    whole = qis.synthesise(review, study=STUDY)
    assert (again.estimate, again.interval) == (whole.estimate, whole.interval)
    assert qis.synthesise(review.to_frame(backend=backend), model="fixed").study_id == STUDY.id


@pytest.mark.parametrize("backend", BACKENDS)
def test_packets_as_a_frame(backend):
    packets = list(store_of(*OUTCOMES).evidence(STUDY, now=NOW))
    frame = qis.packets_to_frame(packets, backend=backend)
    assert type(frame) is BACKENDS[backend]
    assert len(frame) == 2
    assert len(qis.packets_to_frame(packets[0], backend=backend)) == 1
    assert len(qis.packets_to_frame([], backend=backend)) == 0
    with pytest.raises(InputError, match="it must be a"):
        qis.packets_to_frame([b"x"], backend=backend)


def test_whole_numbers_and_times_keep_their_kind_in_pandas():
    frame = store_of(*OUTCOMES).evidence(STUDY, now=NOW).to_frame()
    assert str(frame.dtypes["n"]) == "Int64"
    assert str(frame.dtypes["issued_at"]).endswith("UTC]")
    assert frame.set_index("kind").loc["Counts", "events"] == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_synthesis_as_a_frame(backend):
    synthesis = qis.synthesise(COUNTS, study=STUDY)
    frame = synthesis.to_frame(backend=backend)
    assert type(frame) is BACKENDS[backend]
    plain = synthesis.to_frame()
    ratios = synthesis.to_frame(back_transform=True)
    assert list(plain.site) == ["Bern", "Oslo", "Ulm"]
    finite = np.isfinite(plain.estimate.astype(float))
    assert list(ratios.estimate[finite]) == pytest.approx(
        list(np.exp(plain.estimate[finite].astype(float)))
    )
    assert list(ratios.lower) == pytest.approx(list(np.exp(plain.lower)))
    assert list(ratios.weight) == list(plain.weight)


def test_a_backend_that_is_not_there_or_not_known_is_named(monkeypatch):
    synthesis = qis.synthesise(COUNTS, study=STUDY)
    with pytest.raises(InputError, match="pandas, polars, pyarrow"):
        synthesis.to_frame(backend="R")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match="pip install polars, or give backend='pandas'"):
        synthesis.to_frame(backend="polars")

"""Validity and embargo of a study: what counts when, and that what is hidden cannot be read."""

import copy
import dataclasses
import logging
import math
import pickle

import pytest

import qis
from qis.errors import EmbargoError, InputError
from tests._builders import effect, signed

NOW = 1_800_000_000
DAY = 86_400
NUMBERS = (
    *("fixed", "random", "confidence_sequence", "estimate", "standard_error", "interval"),
    *("tau", "note", "chosen", "back_transformed"),
)


def study(**times):
    return qis.Study(question="drug vs placebo | death", measure="OR", model="fixed", **times)


def packet(number, of, estimate=-0.731, at=NOW):
    return signed(number, effect(estimate, 0.217, study=of, n=400 + number), at=at)


def test_what_was_issued_outside_the_validity_is_listed_and_not_used():
    of = study(valid_from=NOW, valid_until=NOW + 10 * DAY)
    early = packet(1, of, 0.9, at=NOW - 1)
    late = packet(2, of, 0.8, at=NOW + 10 * DAY)
    within = [packet(3, of, -0.2), packet(4, of, -0.4, at=NOW + 10 * DAY - 1)]
    found = qis.synthesise([early, late, *within], study=of, now=NOW + 9 * DAY)
    assert found.estimate == pytest.approx(-0.3)
    assert {left.packet: left.reason for left in found.excluded} == {
        early: "issued early",
        late: "issued late",
    }
    assert "before the study's validity began" in found.explain()


def test_the_estimate_goes_when_the_validity_ends_and_is_not_there_before_it_begins():
    of = study(valid_from=NOW, valid_until=NOW + DAY)
    store = qis.MemoryStore(roster=qis.Roster.open())
    for number in (1, 2):
        store.add(packet(number, of), now=NOW)
    states = []
    for now in (NOW - 1, NOW, NOW + DAY - 1, NOW + DAY):
        found = qis.synthesise(store.review(of, now=now), study=of)
        states.append((found.estimate, {left.reason for left in found.excluded}))
    assert [round(estimate, 3) if estimate else None for estimate, _ in states] == [
        *(None, -0.731, -0.731, None)
    ]
    assert [reasons for _, reasons in states] == [{"not started"}, set(), set(), {"ended"}]


@pytest.mark.parametrize("times", [{"valid_until": NOW + DAY}, {"embargo_until": NOW + DAY}])
def test_a_study_that_ends_wants_to_know_the_time(times):
    of = study(**times)
    with pytest.raises(InputError, match="now="):
        qis.synthesise([packet(1, of)], study=of)


@pytest.fixture
def hidden():
    of = study(embargo_until=NOW + DAY)
    return qis.synthesise([packet(n, of) for n in (1, 2, 3)], study=of, now=NOW)


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_can_be_read(hidden, name):
    with pytest.raises(EmbargoError, match=r"2027-01-16 08:00:00 UTC.*monitoring role") as refused:
        getattr(hidden, name)
    assert refused.value.limit == NOW + DAY


@pytest.mark.parametrize("name", ["outcomes", "events", "estimate", "interval"])
def test_no_sites_number_can_be_read(hidden, name):
    with pytest.raises(EmbargoError, match=name):
        getattr(hidden.sites[0], name)


def test_every_field_is_either_listed_or_refused(hidden):
    """A field added to `Synthesis` some day is hidden until somebody decides to show it."""
    shown, refused = set(), set()
    for field in dataclasses.fields(hidden):
        try:
            getattr(hidden, field.name)
            shown.add(field.name)
        except EmbargoError:
            refused.add(field.name)
    assert refused >= {"fixed", "random", "confidence_sequence"}
    assert shown == {
        *("study_id", "question", "study", "measure", "model", "method", "level", "sites"),
        *("excluded", "silent", "looks", "reach", "digest", "seen_digest", "embargo_until"),
    }


@pytest.mark.parametrize(
    "leak",
    [
        lambda found: found.weights,
        *(qis.Synthesis.forest_plot, qis.Synthesis.funnel_plot, qis.Synthesis.profile_plot),
        qis.Synthesis.leave_one_out,
        *(dataclasses.asdict, dataclasses.astuple),
    ],
)
def test_plots_and_copies_into_other_forms_are_refused(hidden, leak):
    with pytest.raises(EmbargoError):
        leak(hidden)


def test_words_columns_and_markup_list_the_sites_and_no_number(hidden, caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("qis").warning("%r %s %r", hidden, hidden, hidden.sites)
    said = [
        *(repr(hidden), str(hidden), hidden.explain(), hidden._repr_html_(), caplog.text),
        *(str(hidden.to_dict()), repr(hidden.sites), repr(hidden.excluded)),
        repr(pickle.loads(pickle.dumps(hidden))),  # noqa: S301  our own
    ]
    numbers = ("731", "-0.7", "0.48", "0.217", "0.125")  # the log odds ratio, its exponential, SEs
    for text in said:
        assert not any(number in text for number in numbers), text
    assert "3 sites so far" in hidden.explain()
    assert "n 401" in hidden.explain()
    assert "2027-01-16 08:00:00 UTC" in hidden.explain()
    assert [len(ids) for ids in hidden.to_dict()["packets"]] == [1, 1, 1]
    assert (hidden.reach.sites, hidden.looks, hidden.is_embargoed) == (3, 0, True)


def test_copies_stay_hidden_and_equal(hidden):
    again = dataclasses.replace(hidden, looks=hidden.looks)
    other = dataclasses.replace(hidden, looks=7)
    assert (other.looks, other == hidden, other.is_embargoed) == (7, False, True)
    pickled = pickle.loads(pickle.dumps(hidden))  # noqa: S301  our own
    for twin in (copy.copy(hidden), copy.deepcopy(hidden), pickled, again):
        assert (twin, hash(twin)) == (hidden, hash(hidden))
        assert twin.sites == hidden.sites
        with pytest.raises(EmbargoError):
            twin.estimate  # noqa: B018
    assert hidden != copy.copy(hidden).sites[0]


def test_a_monitor_sees_it_and_everybody_does_once_the_date_has_come(hidden):
    of = hidden.study
    packets = [site.packets[0] for site in hidden.sites]
    seen = qis.synthesise(packets, study=of, now=NOW, monitor=True)
    later = qis.synthesise(packets, study=of, now=NOW + DAY)
    for found in (seen, later):
        assert found.estimate == pytest.approx(-0.731)
        assert found.interval == pytest.approx(
            (-0.731 - 1.959964 * 0.217 / math.sqrt(3), -0.731 + 1.959964 * 0.217 / math.sqrt(3)),
            abs=1e-6,
        )
        assert not found.is_embargoed
        assert found.digest == hidden.digest, "the evidence is the same"
        assert found.seen_digest == hidden.seen_digest
        assert "hidden" not in found.explain()


def test_what_is_not_there_is_still_an_attribute_error(hidden):
    with pytest.raises(AttributeError, match="nonsense"):
        hidden.nonsense  # noqa: B018
    assert not hasattr(hidden.sites[0], "nonsense")

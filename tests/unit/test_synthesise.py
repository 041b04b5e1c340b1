"""From packets to a synthesis: the reference trial, what is left out and why, and the words."""

import csv
import math
from dataclasses import replace

import pytest

import qis
from qis.errors import IncompatibleEvidenceError, InputError
from qis.evidence import Roster, Site, SiteKey
from qis.synthesis import heterogeneity_of
from tests._builders import site

NOW = 1_800_000_000
QUESTION = "a vs b | death"
FINGERPRINT = qis.Fingerprint(bytes(32), bytes(8))


def sign(number, outcome, second=0):
    return qis.Packet.sign(
        site(number),
        outcome=outcome,
        fingerprint=FINGERPRINT,
        issued_at=NOW + second,
        lifetime_s=3600,
    )


def effect(estimate=-0.3, error=0.1, **others):
    return qis.Effect(
        **{"question": QUESTION, "measure": "OR", **others},
        estimate=estimate,
        standard_error=error,
    )


def monotone(*, up, **others):
    return qis.LikelihoodProfile.from_function(
        **{"question": QUESTION, "measure": "OR", **others},
        log_likelihood=lambda theta: -3 * math.log1p(math.exp(-theta if up else theta)),
    )


@pytest.fixture(scope="module")
def trial(request):
    path = request.config.rootpath / "examples" / "data"
    study = qis.Study.load(path / "cgd_study.toml")
    rows = list(csv.DictReader((path / "cgd.csv").read_text(encoding="utf-8").splitlines()))
    packets = []
    for number, hospital in enumerate(sorted({row["hospital"] for row in rows})):
        mine = [row for row in rows if row["hospital"] == hospital]
        profile = qis.LikelihoodProfile.from_survival(
            study=study,
            times=[float(row["days"]) for row in mine],
            events=[int(row["infection"]) for row in mine],
            treated=[row["treatment"] == "interferon gamma" for row in mine],
        )
        packets.append(qis.Packet.parse(bytes(sign(number, profile))))
    return study, packets


def test_thirteen_packets_are_the_pooled_trial(trial):
    study, packets = trial
    found = qis.synthesise(packets, study=study)
    # Cox model stratified by hospital, profile limits (R, survival).
    assert (found.estimate, *found.interval) == pytest.approx((-1.1404, -1.8417, -0.4931), abs=3e-3)
    assert found.back_transformed == pytest.approx((0.320, 0.159, 0.611), abs=2e-3)
    assert (found.model, found.measure, len(found.sites)) == ("fixed", "HR", 13)
    assert sum(not site.is_informative for site in found.sites) == 2
    assert sum(site.estimate is not None for site in found.sites) == 7
    assert sum(found.weights) == pytest.approx(1.0)
    assert sum(site.n for site in found.sites) == 128
    assert found.reach.pairs == found.reach.pairs_possible == 78
    low, high = found.confidence_sequence
    assert low < found.interval[0] < found.interval[1] < high


def test_effects_pool_as_inverse_variance_and_as_bayes():
    numbers = [(0.2, 0.3), (-0.4, 0.2), (0.9, 0.5)]
    packets = [sign(i, effect(y, s)) for i, (y, s) in enumerate(numbers)]
    found = qis.synthesise(packets, model="fixed")
    classic = qis.inverse_variance(*zip(*numbers, strict=True), tau2="FE")
    assert found.estimate == pytest.approx(classic.estimate, abs=1e-12)
    assert found.standard_error == pytest.approx(classic.standard_error, abs=1e-12)
    assert found.interval == pytest.approx(classic.interval, abs=1e-12)
    posterior = qis.bayes(*zip(*numbers, strict=True), tau_scale=0.5)
    assert found.random.estimate == pytest.approx(posterior.median, abs=1e-9)
    assert found.random.interval == pytest.approx(posterior.interval, abs=1e-9)


def test_the_model_must_be_said_and_a_declared_one_kept():
    packets = [sign(1, effect())]
    with pytest.raises(InputError, match="model="):
        qis.synthesise(packets)
    study = qis.Study(question=QUESTION, measure="OR", model="fixed")
    of_study = [sign(1, qis.Effect(study=study, measure="OR", estimate=0.1, standard_error=1.0))]
    assert qis.synthesise(of_study, study=study).model == "fixed"
    with pytest.raises(IncompatibleEvidenceError, match="declares"):
        qis.synthesise(of_study, study=study, model="random")
    with pytest.raises(InputError, match="one of fixed, random"):
        qis.synthesise(packets, model="both")
    with pytest.raises(InputError, match="likelihood"):
        qis.synthesise(packets, model="fixed", method="vote")


def test_several_studies_are_never_pooled():
    packets = [sign(1, effect()), sign(2, effect(question="another"))]
    with pytest.raises(IncompatibleEvidenceError, match="2 studies"):
        qis.synthesise(packets, model="fixed")
    with pytest.raises(InputError, match="nothing to synthesise"):
        qis.synthesise([], model="fixed")


def test_several_measures_are_never_pooled_and_the_others_are_listed():
    packets = [sign(1, effect()), sign(2, effect()), sign(3, effect(measure="HR"))]
    found = qis.synthesise(packets, model="fixed")
    assert (found.measure, len(found.sites)) == ("OR", 2)
    assert [left.reason for left in found.excluded] == ["another measure"]
    assert "never pooled" in found.explain()


@pytest.mark.parametrize("declared", [True, False])
def test_another_question_under_a_studys_id_is_listed_and_never_pooled(declared):
    study = qis.Study(question=QUESTION)
    reversed_arms = qis.Effect(
        question="b vs a | death",
        study_id=study.id,
        measure="OR",
        estimate=5.0,
        standard_error=0.01,
    )
    packets = [sign(1, effect()), *(sign(i, reversed_arms) for i in (2, 3))]
    found = qis.synthesise(packets, model="fixed", study=study if declared else None)
    assert (found.question, found.estimate) == (QUESTION, -0.3)
    assert [left.reason for left in found.excluded] == ["another question"] * 2
    assert "b vs a | death" in found.explain()


def test_measures_with_units_need_a_scale_for_random_effects_only():
    packets = [sign(i, effect(3.0 + i, measure="MD")) for i in (1, 2)]
    assert qis.synthesise(packets, model="fixed").random is None
    with pytest.raises(InputError, match="tau_scale"):
        qis.synthesise(packets, model="random")
    found = qis.synthesise(packets, model="random", tau_scale=2.0)
    assert found.estimate == pytest.approx(4.5, abs=1e-6)
    assert found.back_transformed[0] == found.estimate


def test_of_one_site_and_cohort_the_newest_counts_and_equivocation_counts_for_nothing():
    old, new = sign(1, effect(0.5)), sign(1, effect(0.1), second=5)
    found = qis.synthesise([new, old], model="fixed")
    assert found.estimate == 0.1
    twice = [sign(1, effect(0.5)), sign(1, effect(0.6)), sign(2, effect(0.2))]
    found = qis.synthesise(twice, model="fixed")
    assert found.estimate == 0.2
    assert [left.reason for left in found.excluded] == ["equivocation"]


def test_a_retraction_removes_and_voids_the_confidence_sequence():
    gone = sign(1, qis.Retraction(question=QUESTION, reason="consent"), second=9)
    found = qis.synthesise([sign(1, effect(0.5)), gone, sign(2, effect(0.2))], model="fixed")
    assert (found.estimate, found.confidence_sequence) == (0.2, None)
    assert [left.packet for left in found.excluded] == [gone]


def test_the_cohorts_of_one_site_are_one_site():
    roster = Roster(
        (
            Site(name="A", keys=(SiteKey(issuer=site(1).issuer),)),
            Site(name="B", keys=(SiteKey(issuer=site(2).issuer),)),
            Site(name="silent", keys=(SiteKey(issuer=site(3).issuer),)),
        )
    )
    store = qis.MemoryStore(roster=roster)
    parts = [(0.5, 0.2, "north"), (0.1, 0.3, "south")]
    for second, (estimate, error, cohort) in enumerate(parts):
        outcome = effect(estimate, error, cohort=cohort, n=10)
        store.add(sign(1, outcome, second=second), now=NOW)
    store.add(sign(2, effect(-0.2, 0.3)), now=NOW)
    found = qis.synthesise(store.review(QUESTION, now=NOW), model="random")
    own = qis.inverse_variance([0.5, 0.1], [0.2, 0.3], tau2="FE")
    assert [one.name for one in found.sites] == ["A", "B"]
    assert found.sites[0].estimate == pytest.approx(own.estimate)
    assert (found.sites[0].n, found.sites[1].n) == (20, None)
    expected = qis.bayes([own.estimate, -0.2], [own.standard_error, 0.3])
    assert found.estimate == pytest.approx(expected.median, abs=1e-9)
    assert (found.silent, found.reach.pairs, found.reach.pairs_possible) == (("silent",), 1, 3)
    assert "2 of 3 enrolled sites count" in found.explain()
    assert "Nothing came from: silent" in found.explain()


@pytest.mark.parametrize("model", ["fixed", "random"])
def test_monotone_evidence_gives_a_bound_and_a_sentence_and_no_number(model):
    found = qis.synthesise([sign(i, monotone(up=True)) for i in (1, 2)], model=model)
    assert found.estimate is None
    assert found.interval[1] == math.inf
    assert -2.0 < found.interval[0] < 3.0
    assert "no finite estimate" in found.note
    assert found.confidence_sequence is None
    assert "no estimate [" in found.explain()
    other = qis.synthesise([sign(i, monotone(up=False)) for i in (1, 2)], model=model)
    assert other.interval[0] == -math.inf
    assert other.interval[1] == pytest.approx(-found.interval[0], abs=0.02)


def test_without_heterogeneity_the_bound_of_the_mean_is_that_of_the_common_effect():
    packets = [sign(i, monotone(up=True)) for i in (1, 2, 3)]
    found = qis.synthesise(packets, model="random", tau_scale=1e-3)
    assert found.random.interval[0] == pytest.approx(found.fixed.interval[0], abs=1e-3)
    wide = qis.synthesise(packets, model="random", tau_scale=2.0)
    assert abs(wide.random.interval[0] - wide.fixed.interval[0]) > 0.05


def test_leave_one_out_names_each_site_and_equals_a_synthesis_of_the_rest():
    packets = [sign(i, effect(0.1 * i, 0.2)) for i in range(1, 5)]
    found = qis.synthesise(packets, model="random")
    others = found.leave_one_out()
    assert set(others) == {one.name for one in found.sites}
    first = found.sites[0]
    rest = [packet for packet in packets if packet not in first.packets]
    assert others[first.name] == qis.synthesise(rest, model="random").random


def test_the_simulation_of_heterogeneity_runs_once(monkeypatch):
    from qis.synthesis import result as module  # noqa: PLC0415

    rare = [
        qis.Counts(question="q", events=a, total=300, control_events=1 - a, control_total=300)
        for a in (0, 1, 0, 1)
    ]
    found = qis.synthesise(rare, model="fixed")
    asked = []

    def counting(sites):
        asked.append(len(sites))
        return heterogeneity_of(sites)

    monkeypatch.setattr(module, "heterogeneity_of", counting)
    again = [found.heterogeneity, found.heterogeneity]
    found.explain()
    assert again[0] == again[1] == heterogeneity_of(rare)
    assert again[0].method == "monte carlo"
    assert asked == [4]
    assert found == replace(found, looks=found.looks)


def test_the_digest_covers_packets_and_method():
    packets = [sign(i, effect(0.1 * i)) for i in (1, 2)]
    digests = {
        qis.synthesise(packets, model="fixed").digest,
        qis.synthesise(packets, model="random").digest,
        qis.synthesise(packets, model="random", tau_scale=0.7).digest,
        qis.synthesise(packets, model="random", level=0.9).digest,
        qis.synthesise(packets[:1], model="fixed").digest,
    }
    assert len(digests) == 5


def test_one_digest_is_of_the_evidence_and_one_of_everything_seen():
    packets = [sign(i, effect(0.1 * i)) for i in (1, 2)]
    plain = qis.synthesise(packets, model="random")
    somebody_s = qis.Derived(
        question=packets[0].outcome.question,
        measure=packets[0].outcome.measure,
        model="fixed",
        estimate=0.1,
        standard_error=0.5,
        sites=2,
    )
    unused = {
        "derived": sign(3, somebody_s),
        "record": sign(3, qis.Record(question=packets[0].outcome.question, content={"a": 1})),
        "suppressed": sign(3, qis.Suppressed(question=packets[0].outcome.question)),
    }
    seen = {plain.seen_digest}
    for packet in unused.values():
        found = qis.synthesise([*packets, packet], model="random")
        assert [left.packet for left in found.excluded] == [packet]
        assert found.digest == plain.digest
        seen.add(found.seen_digest)
        assert found.seen_digest.hex()[:16] in found.explain()
    assert len(seen) == 1 + len(unused)
    # What voids the confidence sequence is part of what the numbers rest on.
    withdrawn = sign(3, qis.Retraction(question=packets[0].outcome.question))
    found = qis.synthesise([*packets, withdrawn], model="random")
    assert found.digest != plain.digest


def test_columns_and_html_show_every_site_and_run_nothing():
    hostile = effect(question="<script>alert(1)</script>")
    found = qis.synthesise([sign(1, hostile), sign(2, hostile)], model="fixed")
    columns = found.to_dict()
    assert {len(column) for column in columns.values()} == {2}
    assert columns["estimate"] == [-0.3, -0.3]
    assert "<script" not in found._repr_html_()
    assert "<svg" in found._repr_html_()
    assert found.forest_plot().figure().axes
    assert "2 sites" in repr(found)


def test_nothing_that_counts_is_said_in_words():
    gone = sign(1, qis.Retraction(question=QUESTION))
    found = qis.synthesise([gone], model="random")
    assert (found.estimate, found.interval, found.sites) == (None, (-math.inf, math.inf), ())
    assert "No evidence counts" in found.explain()
    assert "no evidence" in found._repr_html_()
    assert found.to_dict()["site"] == []
    assert found.leave_one_out() == {}


def test_the_confidence_sequence_is_left_out_where_it_does_not_hold_and_says_why():
    known = [sign(i, effect(0.1 * i, n=500)) for i in (1, 2)]
    held = qis.synthesise(known, model="fixed")
    assert held.confidence_sequence is not None
    assert held.no_sequence == ""
    few = sign(3, effect(n=11))
    unsaid = sign(3, effect())
    lopsided = qis.Counts(question=QUESTION, events=1, total=20, control_events=4, control_total=20)
    gone = sign(3, qis.Retraction(question=QUESTION))
    cases = {
        "random effects": qis.synthesise(known, model="random"),
        "fewer than 50 people": qis.synthesise([*known, few], model="fixed"),
        "did not give": qis.synthesise([*known, unsaid], model="fixed"),
        "lopsided": qis.synthesise([sign(1, lopsided)], model="fixed"),
        "withdrawn": qis.synthesise([*known, gone], model="fixed"),
        "no finite estimate": qis.synthesise([sign(1, monotone(up=True))], model="fixed"),
    }
    for reason, found in cases.items():
        assert found.confidence_sequence is None
        assert reason in found.no_sequence
        assert reason in found.explain()


EMPTY = {"events": 0, "total": 31, "control_events": 0, "control_total": 20}


@pytest.mark.parametrize("model", ["fixed", "random"])
@pytest.mark.parametrize("informative", [1, 2, 3])
def test_a_site_without_any_event_moves_nothing(model, informative):
    tables = [(3, 20, 1, 22), (5, 40, 9, 41), (1, 9, 2, 11)][:informative]
    names = "events", "total", "control_events", "control_total"
    outcomes = [
        qis.Counts(question=QUESTION, **dict(zip(names, table, strict=True))) for table in tables
    ]
    empty = [qis.Counts(question=QUESTION, **EMPTY), qis.Counts(question=QUESTION, **EMPTY)]
    for kept, added in ((outcomes, empty), ([o.profile() for o in outcomes], empty[:1])):
        without = qis.synthesise([sign(i, o) for i, o in enumerate(kept)], model=model)
        withal = qis.synthesise([sign(i, o) for i, o in enumerate([*kept, *added])], model=model)
        for name in ("estimate", "interval", "standard_error", "tau", "note", "marks"):
            assert getattr(withal, name) == getattr(without, name)


def test_one_informative_site_has_one_answer_everywhere():
    site, empty = (
        qis.Effect(question=QUESTION, measure="OR", estimate=0.4, standard_error=0.3, n=80),
        qis.Counts(question=QUESTION, **EMPTY),
    )
    alone = qis.synthesise([sign(1, site)], model="random")
    posterior = qis.bayes([0.4], [0.3])
    assert alone.estimate == posterior.median
    assert alone.interval == pytest.approx(posterior.interval, abs=1e-9)
    assert alone.fixed.interval[0] > alone.interval[0]
    assert alone.random == qis.pool_profiles([site], model="random")
    assert alone.marks == (qis.synthesis.Mark.PRIOR_DOMINATED,)
    assert "prior on tau" in alone.note
    beside = qis.synthesise([sign(1, site), sign(2, empty)], model="random")
    assert beside.interval == alone.interval
    names = {found.is_informative: found.name for found in beside.sites}
    left = beside.leave_one_out()[names[False]]
    assert (left.interval, left.marks, left.note) == (alone.interval, alone.marks, alone.note)
    other = qis.synthesise([sign(1, site), sign(2, effect(n=90))], model="random")
    name = next(found.name for found in other.sites if found.estimate != 0.4)
    assert other.leave_one_out()[name] == alone.random
    assert other.marks == (qis.synthesis.Mark.FEW_SITES,)

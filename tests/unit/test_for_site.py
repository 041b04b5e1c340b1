"""`qis.for_site`: the answer for one site, and everything beside it."""

import math
from functools import cache

import numpy as np
import pytest

import qis
from qis.errors import EmbargoError, IncompatibleEvidenceError, InputError
from qis.synthesis import Similarity

STUDY = qis.Study(question="drug vs none | death", measure="OR", model="random")
SCHEME = qis.VectorScheme(dimensions=8)
NOW = 1_800_000_000


def packets_of_two_kinds(k, *, study=STUDY, scheme=SCHEME):
    """Sites of two kinds, whose effects are -0.7 and 0.7; and what they are like."""
    rng = np.random.default_rng(1)
    kinds, packets = rng.normal(size=(2, 8)), []
    for number in range(k):
        error = (0.15, 0.57, 1.3)[number // 2 % 3]
        effect = qis.Effect(
            study=study,
            measure="OR",
            estimate=(-0.7, 0.7)[number % 2] + error * rng.normal(),
            standard_error=error,
            n=60,
        )
        features = kinds[number % 2] + 0.1 * rng.normal(size=8)
        packets.append(
            qis.Packet.sign(
                qis.Identity.from_seed(bytes([number + 1]) * 32),
                outcome=effect,
                fingerprint=scheme.fingerprint(features),
                issued_at=NOW,
                lifetime_s=86_400,
                seal=scheme.seal,
            )
        )
    return kinds, packets


(ONE, OTHER), PACKETS = packets_of_two_kinds(16)
KINDS = (ONE, OTHER)
OWN = qis.Effect(study=STUDY, measure="OR", estimate=0.0, standard_error=1.3, n=11)


@cache
def usual(kind):
    return qis.for_site(PACKETS, OWN, about=KINDS[kind], scheme=SCHEME, study=STUDY)


def ask(about, evidence=PACKETS, own=OWN, **settings):
    if evidence is PACKETS and own is OWN and not settings:
        return usual(0 if about is KINDS[0] else 1)
    return qis.for_site(evidence, own, about=about, scheme=SCHEME, study=STUDY, **settings)


def test_each_site_gets_an_answer_of_its_own():
    one, other = ask(KINDS[0]), ask(KINDS[1])
    assert one.answer.median < -0.4 < 0.4 < other.answer.median
    assert one.similarity.word == "strong"
    assert one.similarity.decides
    # Beside it: its own data alone, and what it would be if likeness did not matter.
    assert one.alone == 0.0
    assert one.answer.median < one.all_alike.median < 0.3
    assert one.answer.interval[1] - one.answer.interval[0] < 0.7 * (
        one.all_alike.interval[1] - one.all_alike.interval[0]
    )
    assert one.as_if_patients > 60
    assert all(weight.similarity > 0.8 for weight in one.weights)
    assert len(one.weights) == 5


def test_the_lines_come_in_one_order():
    starts = (
        "drug vs none | death",
        "For you, odds ratio [95% interval]: ",
        "  as probably inside as outside of ",
        "  your own data alone: ",
        "  if no site were more like you than another: ",
        "What the others predict for you: ",
        "Evidence that like sites have like effects, by sketches: strong",
        "Largest weights: ",
        "Without ",
        "As if you had seen ",
    )
    lines = ask(KINDS[0]).summary().splitlines()
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)
    assert "<p>" in ask(KINDS[0])._repr_html_()
    assert "<SiteAnswer OR" in repr(ask(KINDS[0]))


def test_order_and_repetition_of_packets_change_nothing():
    one = ask(KINDS[0])
    again = ask(KINDS[0], [*reversed(PACKETS), PACKETS[3]])
    assert again == one
    assert again.digest == one.digest


def test_the_digest_covers_whose_answer_it_is():
    digests = {
        ask(KINDS[0]).digest,
        ask(KINDS[1]).digest,
        ask(KINDS[0], PACKETS[1:]).digest,
        ask(KINDS[0], own=None).digest,
        ask(KINDS[0], tau_scale=0.4).digest,
        qis.for_site(PACKETS, OWN, study=STUDY).digest,
    }
    assert len(digests) == 6
    assert {len(digest) for digest in digests} == {32}
    assert qis.for_site([OWN], None, study=STUDY).digest == b""


def test_own_data_that_are_in_the_evidence_count_once():
    own = PACKETS[0].outcome
    by_outcome = ask(KINDS[0], own=own)
    by_name = ask(KINDS[0], own=None, site=str(PACKETS[0].issuer))
    assert by_outcome.answer == by_name.answer
    assert by_name.answer == ask(KINDS[0], PACKETS[1:], own=own).answer


def test_a_site_without_data_gets_what_the_others_predict():
    here = ask(KINDS[0], own=None)
    for mine, theirs in zip(here.answer[:3], here.from_others[:3], strict=True):
        assert mine == pytest.approx(theirs, abs=0.01)
    assert here.fit is None
    assert here.alone_interval is None
    assert here.as_if_patients is None
    assert here.own_weight == pytest.approx(0.0, abs=1e-6)
    assert "you have none that depend on the effect" in here.summary()


def test_without_a_scheme_all_are_alike_and_that_is_said():
    here = qis.for_site(PACKETS, OWN, study=STUDY)
    assert here.answer == here.all_alike
    assert here.similarity.word == "none"
    assert "no scheme was given" in here.summary()
    # The same as `shrink`, up to its flat prior on the mean and to the tails.
    others = [packet.outcome for packet in PACKETS]
    assert here.answer.mean == pytest.approx(qis.shrink(OWN, others).estimate, abs=0.1)


def test_sites_with_another_scheme_are_like_any_other_and_that_is_said():
    other = qis.VectorScheme(dimensions=8, bands=12)
    _, mixed = packets_of_two_kinds(4, scheme=other)
    here = ask(KINDS[0], [*PACKETS[4:], *mixed])
    assert "4 sites have no sketch of this scheme" in here.summary()
    unknown = {str(packet.issuer) for packet in mixed}
    assert all(w.similarity is None for w in here.weights if w.name in unknown)


def test_sealed_sketches_are_opened():
    keyed = qis.VectorScheme(dimensions=8, secret=bytes(32))
    kinds, packets = packets_of_two_kinds(12, scheme=keyed)
    here = qis.for_site(packets, OWN, about=kinds[0], scheme=keyed, study=STUDY)
    assert here.weights[0].similarity > 0.8


def test_below_eight_sites_the_prior_decides_and_twice_its_scale_is_shown():
    here = ask(KINDS[0], PACKETS[:4])
    assert not here.similarity.decides
    assert "it decides nothing: the prior does" in here.summary()
    assert here.twice_the_scale is not None
    assert ask(KINDS[0]).twice_the_scale is None


@pytest.mark.parametrize(
    ("factor", "word"),
    [(None, "none"), (0.3, "against"), (0.4, "does not say"), (3.1, "some"), (10.1, "strong")],
)
def test_four_words_for_the_evidence(factor, word):
    assert Similarity(bayes_factor=factor, sites=9, source="sketches").word == word


def test_the_answer_without_the_largest_is_that_without_its_data():
    here = ask(KINDS[0])
    largest = here.weights[0].name
    rest = [packet for packet in PACKETS if str(packet.issuer) != largest]
    without = ask(KINDS[0], rest).answer
    assert here.without_largest.median == pytest.approx(without.median, abs=0.02)
    assert here.without_largest.interval == pytest.approx(without.interval, abs=0.05)


def test_own_data_that_contradict_the_others_are_told_so():
    mine = qis.Effect(study=STUDY, measure="OR", estimate=3.0, standard_error=0.4, n=40)
    here = ask(KINDS[0], own=mine)
    assert here.fit < 0.01
    assert "Your own data contradict it" in here.summary()
    assert ask(KINDS[0]).fit > 0.3


def test_where_all_sites_favour_one_side_the_prior_is_named():
    sites = [
        qis.Counts(study=STUDY, events=0, total=n, control_events=2, control_total=n)
        for n in (20, 31, 44)
    ]
    here = qis.for_site(sites[1:], sites[0], study=STUDY)
    assert here.alone is None
    assert math.isinf(here.alone_interval[0])
    assert math.isfinite(here.answer.interval[0])
    assert "how far the answer goes is the prior's" in here.summary()


def test_measures_with_units_scale_with_their_unit():
    def asked(unit):
        study = qis.Study(question="days", measure="MD", model="random", tau_scale=2.0 * unit)
        effects = [
            qis.Effect(study=study, measure="MD", estimate=y * unit, standard_error=s * unit)
            for y, s in ((-3.0, 1.0), (1.0, 2.0), (-4.0, 0.7))
        ]
        return qis.for_site(effects[1:], effects[0], study=study).answer

    assert asked(1000.0).interval == pytest.approx([1000.0 * x for x in asked(1.0).interval])


def test_to_frame_has_a_row_for_each_way_to_answer():
    pytest.importorskip("pandas")
    here = ask(KINDS[0])
    frame = here.to_frame(back_transform=True)
    assert list(frame["what"])[:4] == [
        "answer",
        "own data alone",
        "all sites alike",
        "from the others",
    ]
    assert frame["estimate"][0] == pytest.approx(math.exp(here.answer.median))
    assert here.to_dict()["lower"][0] == here.answer.interval[0]


def test_an_embargo_hides_it():
    study = qis.Study(question="q", measure="OR", model="random", embargo_until=NOW + 100)
    own = qis.Effect(study=study, measure="OR", estimate=0.1, standard_error=0.2)
    with pytest.raises(EmbargoError, match="hidden until"):
        qis.for_site([own], own, study=study, now=NOW)
    assert qis.for_site([own], own, study=study, now=NOW + 101).answer.sd > 0.0
    assert qis.for_site([own], own, study=study, now=NOW, monitor=True).answer.sd > 0.0


def test_what_does_not_belong_together_is_refused():
    foreign = qis.Effect(question="other", measure="OR", estimate=0.1, standard_error=0.2)
    with pytest.raises(IncompatibleEvidenceError, match="own has the study_id"):
        ask(KINDS[0], own=foreign)
    with pytest.raises(InputError, match="same cohort"):
        ask(KINDS[0], own=[OWN, OWN])
    with pytest.raises(InputError, match="no site that counts is called 'Ulm'"):
        ask(KINDS[0], own=None, site="Ulm")
    with pytest.raises(InputError, match="has no log-likelihood"):
        ask(KINDS[0], own=qis.Suppressed(study=STUDY))
    study = qis.Study(question="p", measure="PLO", model="random")
    one = qis.Counts(study=study, events=3, total=20)
    with pytest.raises(InputError, match="give mean_scale="):
        qis.for_site([one], None, study=study)
    with pytest.raises(InputError, match="neither the evidence"):
        qis.for_site([], None, study=STUDY, now=NOW)


def test_who_is_silent_or_keeps_back_is_listed():
    keys = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 90, 91)]
    roster = qis.Roster(
        tuple(
            qis.Site.of(name, key.issuer)
            for name, key in zip(("Ulm", "Bern", "Linz", "Graz"), keys, strict=True)
        )
    )
    kept = qis.Packet.sign(
        keys[2],
        outcome=qis.Suppressed(study=STUDY),
        fingerprint=SCHEME.fingerprint(KINDS[0]),
        issued_at=NOW,
        lifetime_s=86_400,
    )
    here = ask(KINDS[0], [*PACKETS[:2], kept], roster=roster)
    assert [name for name, _ in here.suppressed] == ["Linz"]
    assert here.suppressed[0][1] > 0.95
    assert "Keep their outcome back: Linz (similarity 1.00)" in here.summary()


def test_cohorts_of_one_site_are_one_site():
    """Two halves of the data under one key weigh as the whole did."""
    parts = [
        qis.Effect(
            study=STUDY, measure="OR", estimate=0.4, standard_error=0.3 * 2**0.5, cohort=cohort
        )
        for cohort in ("a", "b")
    ]
    whole = qis.Effect(study=STUDY, measure="OR", estimate=0.4, standard_error=0.3)
    one = qis.for_site([whole], OWN, study=STUDY, names=["Ulm"])
    two = qis.for_site(parts, OWN, study=STUDY, names=["Ulm", "Ulm"])
    assert two.answer.median == pytest.approx(one.answer.median, abs=1e-6)
    assert [weight.name for weight in two.weights] == ["Ulm"]


@pytest.mark.parametrize("tau", [1e-3, 0.5, 300.0])
@pytest.mark.parametrize("factor", [1e-300, 1e-7, 1e-3, 10.0, 1e4, 9e5, 1e7, 1e100])
def test_under_any_prior_scales_there_is_an_answer_or_an_error(factor, tau):
    """Where nothing can be computed, quantiles of nothing would look like numbers."""
    effects = [
        qis.Effect(question="a vs b | c", measure="OR", estimate=x, standard_error=0.2)
        for x in (0.1, 0.3, -0.2)
    ]
    try:
        found = qis.for_site(
            effects, effects[0], names=["b", "c", "d"], tau_scale=tau, mean_scale=tau * factor
        )
    except InputError as error:
        found = error
    if isinstance(found, InputError):
        refused = found.field, 1e-6 < factor < 10.0
        assert refused == ("mean_scale", False)
    else:
        low, high = found.answer.interval
        assert low < found.answer.median < high
        assert abs(found.answer.mean) < 0.5
        assert 0.0 < found.answer.sd < 0.5


def test_of_very_many_sites_the_most_precise_are_asked_and_that_is_said(monkeypatch):
    monkeypatch.setattr("qis.here.asking.MOST_SITES", 5)
    here = ask(KINDS[0], own=None)
    assert "Of 16 other sites the 5 most precise are in the answer" in here.summary()
    assert len(here.weights) == 5


def test_features_without_a_scheme_are_refused():
    with pytest.raises(InputError, match="give scheme="):
        qis.for_site(PACKETS, OWN, about=KINDS[0], study=STUDY)


def test_a_site_at_the_ends_of_what_may_travel_breaks_nothing():
    """Found by a fuzzer: the likelihood beside it fell between two points, and had no width."""
    sites = [
        qis.Counts(study=STUDY, events=0, total=1, control_events=1, control_total=1),
        qis.Effect(study=STUDY, measure="OR", estimate=-50.0, standard_error=1e-8),
        qis.Counts(study=STUDY, events=0, total=10**6, control_events=133, control_total=400),
    ]
    here = qis.for_site(sites, OWN, study=STUDY)
    numbers = (*here.answer.interval, *here.from_others.interval, here.answer.sd)
    assert all(math.isfinite(number) for number in numbers)


@pytest.mark.parametrize("wrong", [3, None, [], [3], {"x": [1]}, [OWN, PACKETS[0]]])
def test_refusals_name_the_parameter_as_it_is_called_here(wrong):
    for ask_with in (qis.for_site, lambda it: qis.meta_regression(it, study=MODERATED)):
        with pytest.raises(InputError) as refusal:
            ask_with(wrong)
        assert refusal.value.field in {"evidence", "study"}
        assert not str(refusal.value).startswith("packets")


MODERATED = qis.Study(
    question="drug vs none | death",
    measure="OR",
    model="random",
    moderators=(qis.Moderator(name="latitude", low=0.0, high=60.0),),
)

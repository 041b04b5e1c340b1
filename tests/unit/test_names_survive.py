"""From a store, a file of packets or plain outcomes to a synthesis: sites and names are kept."""

import asyncio
from datetime import UTC, datetime

import pytest

import qis
from qis.errors import IncompatibleEvidenceError, InputError, SchemeMismatchError
from qis.evidence import Review, Roster, Site, SiteKey

NOW = 1_800_000_000
QUESTION = "a vs b | death"
FINGERPRINT = qis.Fingerprint(bytes(32), bytes(8))
OLD, NEW, OTHER = (qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
ROSTER = Roster(
    (
        Site(
            name="Ulm",
            keys=(
                SiteKey(issuer=OLD.issuer, valid_until=NOW + 10),
                SiteKey(issuer=NEW.issuer, valid_from=NOW + 10),
            ),
        ),
        Site.of("Bern", OTHER.issuer),
    )
)


def effect(estimate, cohort="", **others):
    return qis.Effect(
        **{"question": QUESTION, "measure": "OR", **others},
        estimate=estimate,
        standard_error=0.1,
        cohort=cohort,
    )


def sign(identity, outcome, second=0):
    return qis.Packet.sign(
        identity,
        outcome=outcome,
        fingerprint=FINGERPRINT,
        issued_at=NOW + second,
        lifetime_s=3600,
    )


PACKETS = [
    sign(OLD, effect(-0.5, "men")),
    sign(NEW, effect(0.5, "women"), 20),
    sign(OTHER, effect(0.1)),
]


def names(synthesis):
    return [site.name for site in synthesis.sites]


def test_two_cohorts_under_an_old_and_a_new_key_are_one_site_whichever_way_they_come(tmp_path):
    store = qis.MemoryStore(roster=ROSTER)
    store.add_many(PACKETS, now=NOW + 30)
    qis.write_packets(tmp_path / "packets", PACKETS)
    whole = qis.synthesise(store.review(QUESTION, now=NOW + 30), model="random")
    assert names(whole) == ["Bern", "Ulm"]
    for given, options in (
        (store.evidence(QUESTION, now=datetime.fromtimestamp(NOW + 30, UTC)), {}),
        (PACKETS, {"roster": ROSTER, "now": NOW + 30}),
        (qis.read_packets(tmp_path / "packets"), {"roster": ROSTER, "now": NOW + 30}),
    ):
        found = qis.synthesise(given, model="random", **options)
        assert names(found) == names(whole)
        assert (found.estimate, found.tau, found.digest) == (
            whole.estimate,
            whole.tau,
            whole.digest,
        )
    named = qis.synthesise(
        PACKETS, model="random", names={OLD.issuer: "Ulm", NEW.issuer: "Ulm", OTHER.issuer: "Bern"}
    )
    assert names(named) == ["Bern", "Ulm"]
    assert named.tau == whole.tau
    # Without either, as it was: three sites named by hexadecimal digits, and another tau.
    bare = qis.synthesise(PACKETS, model="random")
    assert len(bare.sites) == 3
    assert bare.tau != whole.tau


def test_evidence_is_a_sequence_that_equals_its_packets_and_keeps_the_rest():
    store = qis.MemoryStore(roster=ROSTER)
    stranger = sign(qis.Identity.from_seed(bytes([9]) * 32), effect(3.0))
    store.add_many([*PACKETS, stranger], now=NOW + 30)
    evidence = store.evidence(QUESTION, now=NOW + 30)
    assert isinstance(evidence, Review)
    assert evidence == sorted(PACKETS, key=lambda packet: packet.id)
    assert evidence[0] in evidence
    assert (len(evidence), len(evidence[1:])) == (3, 2)
    assert stranger not in evidence
    (left,) = qis.synthesise(evidence, model="fixed").excluded
    assert left.packet == stranger
    assert "3 packets of 2 sites count, 1 do not" in repr(evidence)
    assert not store.evidence("another", now=NOW + 30)
    assert evidence == store.evidence(QUESTION, now=NOW + 30)
    assert evidence != store.evidence(QUESTION, now=NOW + 31)


def test_outcomes_pool_as_their_packets_do_and_say_that_nobody_signed_them():
    outcomes = [packet.outcome for packet in PACKETS]
    whole = qis.synthesise(PACKETS, model="random", roster=ROSTER, now=NOW + 30)
    found = qis.synthesise(outcomes, model="random", names=["Ulm", "Ulm", "Bern"])
    assert names(found) == names(whole)
    assert (found.estimate, found.interval, found.tau) == (
        whole.estimate,
        whole.interval,
        whole.tau,
    )
    assert (found.digest, found.seen_digest, found.is_signed) == (b"", b"", False)
    assert whole.is_signed
    assert not any(site.packets for site in found.sites)
    assert "unsigned input" in found.explain()
    assert "unsigned" not in whole.explain()
    assert names(qis.synthesise(outcomes, model="fixed")) == [f"outcome {n}" for n in (1, 2, 3)]


def test_one_packet_and_one_outcome_are_enough():
    alone = qis.synthesise(PACKETS[2], model="fixed")
    assert alone.estimate == pytest.approx(0.1, abs=1e-9)
    assert qis.synthesise(PACKETS[2].outcome, model="fixed").estimate == alone.estimate


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ([PACKETS[0], effect(1.0)], {}, "outcomes only"),
        ([bytes(PACKETS[0])], {}, "Packet.parse verifies"),
        (None, {}, "must be a list"),
        ("packets", {}, "must be a list"),
        (5, {}, "must be a list"),
        (PACKETS, {"names": ["a", "b", "c"]}, "maps issuers"),
        (PACKETS, {"names": {"a": "b"}}, "Issuer"),
        (PACKETS, {"names": {OLD.issuer: 5}}, "name"),
        (PACKETS, {"names": {}, "roster": ROSTER}, "not both"),
        (PACKETS, {"roster": [OLD.issuer]}, "qis.Roster"),
        (PACKETS, {"study": QUESTION}, "qis.Study"),
        ([effect(0.0)], {"roster": ROSTER}, "no issuer"),
        ([effect(0.0)], {"names": {OLD.issuer: "a"}}, "as a list"),
        ([effect(0.0)], {"names": ["a", "b"]}, "2 names for 1"),
        ([effect(0.0)] * 2, {"names": ["a", "a"]}, "comes twice"),
        ([effect(0.0), effect(0.0, measure="RR")], {}, "of RR"),
        ([effect(0.0), effect(0.0, question="q")], {}, "answers 'q'"),
        ([qis.Retraction(question=QUESTION)], {}, "no log-likelihood"),
    ],
)
def test_what_cannot_be_pooled_is_refused_in_words(given, options, words):
    with pytest.raises(InputError, match=words):
        qis.synthesise(given, model="fixed", **options)


def test_a_study_is_checked_against_what_is_pooled():
    store = qis.MemoryStore(roster=ROSTER)
    store.add_many(PACKETS, now=NOW + 30)
    evidence = store.evidence(QUESTION, now=NOW + 30)
    other = qis.Study(question=QUESTION, measure="OR", model="fixed")
    for given in (evidence, PACKETS, [packet.outcome for packet in PACKETS]):
        with pytest.raises(IncompatibleEvidenceError, match="stud"):
            qis.synthesise(given, study=other)
    with pytest.raises(InputError, match="store's roster"):
        qis.synthesise(evidence, roster=ROSTER, model="fixed")


def test_a_packet_of_another_scheme_than_the_study_declares_is_left_out_and_named():
    own, other = FINGERPRINT, qis.Fingerprint(bytes(32), b"another.")
    study = qis.Study(question=QUESTION, scheme=own.scheme_id.hex(), measure="OR", model="fixed")
    packets = [
        qis.Packet.sign(
            identity,
            outcome=qis.Effect(study=study, measure="OR", estimate=-0.3, standard_error=0.1),
            fingerprint=fingerprint,
            issued_at=NOW,
            lifetime_s=3600,
        )
        for identity, fingerprint in ((OLD, own), (OTHER, other))
    ]
    found = qis.synthesise(packets, study=study, names={OLD.issuer: "Ulm", OTHER.issuer: "Bern"})
    assert [site.name for site in found.sites] == ["Ulm"]
    assert [(left.site, left.reason) for left in found.excluded] == [("Bern", "another scheme")]
    assert other.scheme_id.hex() in found.excluded[0].sentence
    bare = qis.Study(question=QUESTION, measure="OR", model="fixed")
    assert bare.id != study.id  # what the study declares is in its id


def test_a_loop_checks_its_studies_against_the_scheme_and_its_interests():
    scheme = qis.VectorScheme(dimensions=2)
    transport = qis.MemoryTransport(qis.MemoryNetwork(), OLD)
    near, far = (scheme.interest([1.0, 0.0], min_similarity=level) for level in (0.7, 0.9))

    def loop(study, interest=(near, far)):
        return qis.SynthesisLoop(OLD, transport, scheme, interest=interest, studies=[study])

    loop(qis.Study(question="q", scheme=scheme.id.hex(), min_similarity=0.9))
    with pytest.raises(SchemeMismatchError):
        loop(qis.Study(question="q", scheme="00" * 8))
    with pytest.raises(InputError, match="min_similarity"):
        loop(qis.Study(question="q", min_similarity=0.8))
    with pytest.raises(InputError, match=r"^studies\[0\] is 'text'"):
        loop("text")

    async def open_twice():
        async with transport, loop(qis.Study(question="q"), [near, near]) as opened:
            assert opened.health is not None

    asyncio.run(open_twice())

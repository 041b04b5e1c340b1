"""The store: any order and repetition give one state, and the newest packet decides."""

import pytest
from hypothesis import given, strategies as st

import qis
from qis.errors import InputError
from qis.evidence import Reason, Site, SiteKey
from qis.evidence.roster import Roster
from tests._builders import effect, signed

NOW = 1_800_000_000
FINGERPRINT = qis.Fingerprint(bytes(32), bytes(8))
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in range(1, 4)]
QUESTION = "a vs b | death"


def packet(site, second=0, *, estimate=0.0, cohort="", lifetime_s=3600):
    outcome = effect(estimate, 1.0, question=QUESTION, cohort=cohort)
    return signed(SITES[site], outcome, at=NOW + second, lifetime_s=lifetime_s)


POOL = [
    packet(site, second, estimate=estimate, cohort=cohort)
    for site in range(3)
    for second in (0, 1)
    for estimate in (0.1, 0.2)
    for cohort in ("", "north")
]


@given(st.lists(st.sampled_from(POOL), max_size=30), st.randoms())
def test_order_and_repetition_change_nothing(packets, random):
    stores = [qis.MemoryStore(roster=Roster.open()) for _ in range(2)]
    shuffled = [*packets, *packets]
    random.shuffle(shuffled)
    stores[0].add_many(packets, now=NOW)
    for item in shuffled:
        stores[1].add(item, now=NOW)
    first, second = (store.review(QUESTION, now=NOW) for store in stores)
    assert first == second
    assert stores[0].equivocations() == stores[1].equivocations()


@given(st.lists(st.sampled_from(POOL), max_size=30))
def test_the_store_agrees_with_a_model_of_a_few_lines(packets):
    store = qis.MemoryStore(roster=Roster.open())
    store.add_many(packets, now=NOW)
    seen = set(packets)
    expected = set()
    for issuer, cohort in {(p.issuer, p.outcome.cohort) for p in seen}:
        mine = [p for p in seen if p.issuer == issuer]
        top = max(p.sequence for p in mine if p.outcome.cohort == cohort)
        at_top = [p for p in mine if p.sequence == top]
        if len(at_top) == 1:
            expected.update(at_top)
    assert set(store.evidence(QUESTION, now=NOW)) == expected


def test_verdicts():
    store = qis.MemoryStore(roster=Roster.open())
    old, new = packet(0, 0), packet(0, 1)
    assert store.add(new, now=NOW) is qis.Admission.ACCEPTED
    assert store.add(new, now=NOW) is qis.Admission.DUPLICATE
    assert store.add(old, now=NOW) is qis.Admission.SUPERSEDED
    assert store.add(packet(0, 1, estimate=9.0), now=NOW) is qis.Admission.EQUIVOCATION
    assert store.evidence(QUESTION, now=NOW) == []
    assert store.flagged == {SITES[0].issuer}
    assert store.add(packet(1), now=NOW + 4000) is qis.Admission.EXPIRED
    assert store.add(packet(1, 1000), now=NOW) is qis.Admission.NOT_YET_VALID


def test_accepted_evidence_outlives_its_expiry():
    store = qis.MemoryStore(roster=Roster.open())
    store.add(packet(0), now=NOW)
    assert store.evidence(QUESTION, now=NOW + 10**7) == [packet(0)]


def test_a_revoked_site_leaves_when_the_roster_says_so():
    roster = Roster((Site.of("north", SITES[0].issuer), Site.of("south", SITES[1].issuer)))
    store = qis.MemoryStore(roster=roster)
    assert store.add(packet(0), now=NOW) is qis.Admission.ACCEPTED
    assert store.add(packet(2), now=NOW) is qis.Admission.UNTRUSTED
    revoked = SiteKey(issuer=SITES[0].issuer, revoked=True)
    store.roster = Roster((Site(name="north", keys=(revoked,)),))
    review = store.review(QUESTION, now=NOW)
    assert review.evidence == ()
    assert {left.reason for left in review.excluded} == {Reason.REVOKED, Reason.UNTRUSTED}


def test_of_two_sites_that_share_patients_the_first_on_the_roster_counts():
    registry = Site(
        name="registry",
        keys=(SiteKey(issuer=SITES[1].issuer),),
        shares_patients_with=frozenset({"hospital"}),
    )
    store = qis.MemoryStore(roster=Roster((Site.of("hospital", SITES[0].issuer), registry)))
    store.add_many([packet(1), packet(0)], now=NOW)
    assert store.evidence(QUESTION, now=NOW) == [packet(0)]
    assert store.review(QUESTION, now=NOW).excluded_for(Reason.OVERLAPPING) == (packet(1),)


def test_a_full_store_cuts_the_heaviest_issuer_first():
    store = qis.MemoryStore(roster=Roster.open(), capacity=10)
    store.add(packet(1), now=NOW)
    for second in range(30):
        store.add(packet(0, second, cohort=f"c{second}"), now=NOW)
    assert len(store) <= 10
    assert packet(1) in store.evidence(QUESTION, now=NOW)


def test_a_store_needs_a_roster():
    with pytest.raises(InputError, match="roster"):
        qis.MemoryStore(roster=None)

"""Derived packets count once or not at all, and gossip under the rule keeps its coverage."""

import importlib.util
from pathlib import Path

import pytest

import qis
from qis.evidence import MemoryStore, Reason, Roster, Site, SiteKey, expiry_of, with_derived
from qis.evidence.lineage import has_void_leaf
from qis.outcomes import Derived, Retraction, Suppressed

NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in range(1, 6)]
NAMES = ["a", "b", "c", "d", "e"]


def roster(*, revoked=(), shares=()):
    return Roster(
        tuple(
            Site(
                name=name,
                keys=(SiteKey(issuer=key.issuer, revoked=name in revoked),),
                shares_patients_with=frozenset(shares) if name == "a" else frozenset(),
            )
            for name, key in zip(NAMES, SITES, strict=True)
        )
    )


def sign(site, outcome, second=0, **options):
    options.setdefault("lifetime_s", 3600)
    return qis.Packet.sign(
        SITES[site],
        outcome=outcome,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=NOW + second,
        **options,
    )


def primary(site, second=0):
    effect = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=1.0)
    return sign(site, effect, second)


def derived(site, *leaves, second=5, model="fixed", sites=None, **options):
    outcome = Derived(
        question="q",
        measure="OR",
        model=model,
        estimate=0.1,
        standard_error=0.5,
        sites=len(leaves) if sites is None else sites,
    )
    return sign(site, outcome, second, leaves=[leaf.leaf for leaf in leaves], **options)


def judged(packets, *, by=None, now=NOW + 10):
    by = by or roster()
    store = MemoryStore(roster=by)
    store.add_many(packets, now=NOW + 10)
    return with_derived(store.review("q", now=now), by, now=now)


def test_a_synthesis_of_others_counts_beside_ones_own():
    other = derived(1, primary(1), primary(2))
    review = judged([primary(0), other])
    assert set(review.evidence) == {primary(0), other}
    assert review.site_names[other.id] == "b + c"
    assert review.excluded == ()


@pytest.mark.parametrize(
    ("packets", "options", "reason"),
    [
        ([primary(1), derived(1, primary(1), primary(2))], {}, Reason.LEAF_COUNTED),
        ([derived(1, primary(1), primary(2), model="random")], {}, Reason.DERIVED),
        ([derived(1, primary(1), primary(2), sites=3)], {}, Reason.INCOMPLETE),
        ([derived(1, primary(1), primary(1, 1), sites=2)], {}, Reason.INCOMPLETE),
        ([derived(1, primary(1), primary(2), lifetime_s=10)], {"now": NOW + 20},
         Reason.LEAF_EXPIRED),
        ([derived(1, primary(1), primary(2))], {"by": roster(revoked=["c"])},
         Reason.LEAF_UNKNOWN),
        ([derived(1, primary(1), primary(2)), sign(2, Retraction(question="q"), 3)], {},
         Reason.LEAF_WITHDRAWN),
        ([primary(0), derived(1, primary(1), primary(2))], {"by": roster(shares=["c"])},
         Reason.LEAF_COUNTED),
        ([derived(1, primary(0), primary(2))], {"by": roster(shares=["c"])},
         Reason.LEAF_COUNTED),
    ],
)  # fmt: skip
def test_why_a_synthesis_does_not_count(packets, options, reason):
    review = judged(packets, **options)
    assert [left.reason for left in review.excluded if isinstance(
        left.packet.outcome, Derived)] == [reason]  # fmt: skip
    assert not any(isinstance(packet.outcome, Derived) for packet in review.evidence)


def test_a_leaf_published_after_its_site_had_withdrawn_an_older_one_counts():
    again = primary(2, 4)
    synthesis = derived(1, primary(1), again)
    review = judged([sign(2, Retraction(question="q"), 3), synthesis])
    assert synthesis in review.evidence


def test_of_two_syntheses_with_a_site_in_common_the_larger_counts_whatever_the_order():
    large = derived(3, primary(1), primary(2), primary(3))
    small = derived(4, primary(3), primary(4))
    for packets in ([large, small], [small, large]):
        review = judged(packets)
        assert review.evidence == (large,)
        assert review.excluded_for(Reason.LEAF_COUNTED) == (small,)


def test_an_open_roster_knows_no_sites_so_nothing_derived_counts():
    review = judged([derived(1, primary(1), primary(2))], by=Roster.open())
    assert review.excluded[0].reason is Reason.LEAF_UNKNOWN


def test_a_synthesis_expires_with_its_first_leaf():
    assert expiry_of([primary(0, 7), primary(1)]) == NOW + 3600
    with pytest.raises(qis.InputError):
        expiry_of([])


def test_gossip_keeps_its_coverage_and_the_naive_rule_loses_it():
    path = Path(__file__).parents[2] / "benchmarks" / "lineage.py"
    spec = importlib.util.spec_from_file_location("lineage_benchmark", path)
    gossip = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gossip)
    result = gossip.coverage(runs=40, rounds=6, seed=11)
    assert 0.93 <= result["coverage"] <= 0.97
    assert result["coverage_naive"] < 0.5
    assert result["sites_in_a_synthesis"] > 10


def test_a_synthesis_counts_what_derived_packets_add_and_nothing_twice():
    first, second, third = primary(0), primary(1), primary(2)
    apart = derived(4, second, third)  # of sites of which nothing else came
    by = roster()
    store = MemoryStore(roster=by)
    for packet in (first, apart):
        store.add(packet, now=NOW + 10)
    review = with_derived(store.review("q", now=NOW + 10), by, now=NOW + 10)
    plain = qis.synthesise(store.review("q", now=NOW + 10), model="fixed")
    assert plain.reach.sites == 1
    found = qis.synthesise(review, model="fixed")
    # Standard errors 1 and 0.5: precisions 1 and 4.
    assert found.standard_error == pytest.approx(5**-0.5, rel=1e-9)
    assert [site.name for site in found.sites] == ["a", "b + c"]
    assert found.reach.sites == 3
    assert found.random is None
    assert found.sites[1].packets == (apart,)
    assert found.digest != plain.digest
    # Under the random model it does not count, and is listed.
    random = qis.synthesise(review, model="random")
    assert random.reach.sites == 1
    assert [left.reason for left in random.excluded] == ["derived"]
    # Once the leaves themselves are there, they count and the synthesis of them does not.
    for packet in (second, third):
        store.add(packet, now=NOW + 10)
    whole = qis.synthesise(
        with_derived(store.review("q", now=NOW + 10), by, now=NOW + 10), model="fixed"
    )
    assert whole.standard_error == pytest.approx(3**-0.5, rel=1e-9)
    assert [left.reason for left in whole.excluded] == ["counted leaf"]
    assert whole.random is not None


def test_the_withdrawal_of_a_synthesis_withdraws_nothing_else():
    first, second = primary(1), primary(2)
    synthesis = derived(1, first, second)
    withdrawn = sign(1, Retraction(question="q", reason="superseded", role="derived"), 7)
    review = judged([first, second, synthesis, withdrawn])
    assert set(review.evidence) == {first, second}
    assert [left.reason for left in review.excluded] == [Reason.SIDE_RETRACTED]
    # It voids no leaf either: another's synthesis of site b counts beside it.
    other = derived(2, first, second)
    assert other in judged([withdrawn, other]).evidence
    found = qis.synthesise(judged([first, second, withdrawn]), model="fixed")
    assert not any(left.is_withdrawn for left in found.excluded)
    assert "its own evidence is not concerned. Its reason: superseded." in found.explain()


@pytest.mark.parametrize(
    ("taken_back", "is_void"),
    [
        (Retraction(question="q"), True),
        (Suppressed(question="q"), True),
        (Retraction(question="q", role="derived"), False),
        (None, False),
    ],
)
def test_a_leaf_is_void_once_its_site_has_taken_it_back(taken_back, is_void):
    leaves = primary(1), primary(2)
    after = [] if taken_back is None else [sign(2, taken_back, 7)]
    left_out = judged([*leaves, *after]).excluded
    assert has_void_leaf(derived(1, *leaves), left_out) is is_void
    incomplete = derived(1, sites=20)
    assert has_void_leaf(incomplete, left_out) is is_void
    assert not has_void_leaf(derived(1, primary(1), primary(2, 8)), left_out)

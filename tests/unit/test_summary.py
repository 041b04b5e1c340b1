"""`synthesise(packets, roster=)` and `Synthesis.summary()`."""

import qis
from tests._builders import signed

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=2)


def identity(number):
    return qis.Identity.from_seed(bytes([number]) * 32)


def packet(number, *, cohort="", **counts):
    given = {"events": 4, "total": 40, "control_events": 9, "control_total": 41} | counts
    outcome = qis.Counts(question="q", cohort=cohort, **given)
    return signed(identity(number), outcome, scheme=SCHEME, about=[1.0, -1.0], at=NOW)


def roster(**sites):
    return qis.Roster(
        [
            qis.Site.of(name, *(identity(number).issuer for number in numbers))
            for name, numbers in sites.items()
        ]
    )


def test_names_come_from_the_roster_and_two_keys_of_a_site_are_one_site():
    packets = [packet(1, cohort="a"), packet(2, cohort="b", events=6), packet(3)]
    both = qis.synthesise(packets, model="random", roster=roster(north=[1, 2], south=[3]))
    assert [site.name for site in both.sites] == ["north", "south"]
    assert both.sites[0].n == 162
    open_roster = qis.synthesise(packets, model="random")
    assert len(open_roster.sites) == 3  # without it, the old and the new key are two hospitals
    assert both.digest != open_roster.digest


def test_it_is_the_synthesis_of_a_store_with_this_roster():
    sites = roster(north=[1], south=[2], east=[3], west=[4])
    packets = [packet(1), packet(2, events=1), packet(3)]
    store = qis.MemoryStore(roster=sites)
    store.add_many(packets, now=NOW)
    expected = qis.synthesise(store.review("q", now=NOW), model="fixed")
    assert qis.synthesise(packets, model="fixed", roster=sites) == expected
    assert expected.silent == ("west",)


def test_who_is_not_on_the_roster_is_left_out_and_named():
    stranger = packet(9)
    result = qis.synthesise([packet(1), stranger], model="fixed", roster=roster(north=[1]))
    assert [site.name for site in result.sites] == ["north"]
    assert [left.packet for left in result.excluded] == [stranger]
    assert "Left out: 1 packet" in result.summary()


def test_what_nobody_signed_is_called_so():
    outcome = packet(1).outcome
    assert "Unsigned input" in qis.synthesise([outcome], model="fixed", names=["a"]).summary()
    assert "Unsigned" not in qis.synthesise([packet(1)], model="fixed").summary()


def test_the_summary_says_results_of_both_models_who_gives_none_and_the_methods():
    packets = [packet(1), packet(2, events=0), packet(3, events=0, control_events=0), packet(4)]
    sites = roster(north=[1], south=[2], east=[3], west=[4], far=[5])
    for model, first in (("fixed", "fixed effect"), ("random", "random effects")):
        result = qis.synthesise(packets, model=model, roster=sites)
        lines = result.summary().splitlines()
        assert lines[:2] == ["q", "Odds ratio [95% interval], 4 sites, 324 people, 35 events:"]
        assert lines[2].startswith(f"  {first}")
        numbers = result.scale.numbers(result.estimate, result.interval)
        assert numbers in lines[2]
        assert "No finite estimate alone: south." in lines
        assert "Nothing about the effect (no events, or all in one arm): east." in lines
        assert "Nothing came from: far." in lines
        methods = " ".join(lines).partition("Methods: ")[2]
        assert ("half-normal prior of scale 0.5" in methods) == (model == "random")
        assert max(map(len, lines)) <= 100


def test_one_site_is_summarised_by_the_rule_that_made_its_interval():
    result = qis.synthesise([packet(1)], model="random", roster=roster(north=[1]))
    assert "Prior-dominated: one informative site tells nothing" in result.summary()
    assert ("half-normal" in result.summary()) == (result.tau is not None)
    fixed = qis.synthesise([packet(1)], model="fixed", roster=roster(north=[1]))
    assert "half-normal" not in fixed.summary()
    assert "1 site, 81 people, 13 events" in result.summary()


def test_nothing_is_summarised_as_nothing():
    study = qis.Study(question="q", model="fixed")
    assert qis.synthesise([], study=study).summary() == "q\nNo evidence counts."


def test_an_embargo_hides_the_summary_too():
    study = qis.Study(question="q", model="fixed", embargo_until=NOW + 1000)
    signed = qis.Packet.sign(
        identity(1),
        outcome=qis.Counts(study=study, events=4, total=40, control_events=9, control_total=41),
        fingerprint=SCHEME.fingerprint([1.0, -1.0]),
        issued_at=NOW,
        lifetime_s=86_400,
    )
    hidden = qis.synthesise([signed], study=study, now=NOW).summary()
    assert "Numbers are hidden" in hidden
    assert "0.4" not in hidden

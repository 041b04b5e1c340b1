"""Fingerprints of terms: what they hold, what they find, and what a secret hides."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.errors import InputError, SchemeMismatchError
from qis.fingerprint import Everything, LoadBudget, Ontology, TermScheme

SECRET = bytes(range(32))
SIZE = 400
# A tree of 400 terms, four below each, with some second parents; information grows with depth.
PARENTS = {
    f"T:{n}": [f"T:{(n - 1) // 4}", *([f"T:{(n - 1) // 7}"] if n % 5 == 0 else [])]
    for n in range(1, SIZE)
}
BELOW = dict.fromkeys(("T:0", *PARENTS), 1)
for number in range(SIZE - 1, 0, -1):
    BELOW[f"T:{(number - 1) // 4}"] += BELOW[f"T:{number}"]
INFORMATION = {term: math.log(SIZE + 1) - math.log(count) for term, count in BELOW.items()}
ONTOLOGY = Ontology(
    "toy/1", PARENTS, INFORMATION, replacements={"T:old": "T:7"}, obsolete=["T:gone"]
)
SCHEME = TermScheme(ONTOLOGY)
KEYED = TermScheme(ONTOLOGY, secret=SECRET)
TODAY = 1_800_000_000
TERMS = st.sets(st.sampled_from(ONTOLOGY.terms), min_size=1, max_size=30)


def weights(terms):
    """Squared weights of the closure, by the definition."""
    found = {}
    for term in ONTOLOGY.closure(terms):
        own = ONTOLOGY.information(term)
        above = max((ONTOLOGY.information(p) for p in PARENTS.get(term, ())), default=0.0)
        found[term] = own * max(own - above, 0.0)
    return found


def cosine(a, b):
    if a == b:
        return 1.0
    one, other = weights(a), weights(b)
    shared = sum(one[term] for term in one.keys() & other.keys())
    length = math.sqrt(sum(one.values()) * sum(other.values()))
    return shared / length if length else 0.0


def relevance(own, theirs):
    """Two thirds cosine, one third of how well each own term is met, by the definition."""
    if own == theirs:
        return 1.0
    having = ONTOLOGY.closure(theirs)
    telling = ONTOLOGY.most_specific(own)
    met = sum(
        max((ONTOLOGY.information(x) for x in ONTOLOGY.closure([term]) & having), default=0.0)
        for term in telling
    )
    total = sum(ONTOLOGY.information(term) for term in telling)
    return (2.0 * cosine(own, theirs) + (met / total if total else 0.0)) / 3.0


@given(TERMS, TERMS, st.sampled_from([SCHEME, KEYED]))
@settings(max_examples=200)
def test_similarity_is_the_weighted_cosine_of_what_the_sketches_hold(a, b, scheme):
    one, other = scheme.fingerprint(a), scheme.fingerprint(b)
    held = [frozenset(scheme.terms_of(fingerprint)) for fingerprint in (one, other)]
    assert scheme.similarity(one, other) == pytest.approx(cosine(*held), abs=1e-6)
    assert scheme.similarity(one, other) == scheme.similarity(other, one)
    assert scheme.kernel(one, other) == scheme.similarity(one, other)
    assert scheme.relevance(a, other) == pytest.approx(relevance(frozenset(a), held[1]), abs=1e-6)
    assert 0.0 <= scheme.relevance(a, other) <= 1.0
    assert scheme.similarity(one, one) == 1.0


@given(TERMS)
def test_a_sketch_holds_the_most_specific_terms_and_says_which_did_not_fit(terms):
    telling = ONTOLOGY.most_specific(terms)
    fingerprint = SCHEME.fingerprint(terms)
    held = set(SCHEME.terms_of(fingerprint))
    assert held <= telling
    assert len(held) == min(len(telling), 12) == min(len(telling), SCHEME.capacity)
    said = " ".join(fingerprint.warnings).replace(",", "").split()
    assert {term for term in telling if term in said} == telling - held


@given(TERMS, TERMS)
def test_what_is_left_out_does_not_depend_on_the_release(terms, more):
    """Not on information either, which another release counts anew."""
    other = TermScheme(Ontology("toy/9", PARENTS, dict.fromkeys(ONTOLOGY.terms, 1.0)))
    assert other.id == SCHEME.id
    assert other.fingerprint(terms) == SCHEME.fingerprint(terms)
    # What stays of a set stays in every subset of it that holds it: one order chooses.
    held = set(SCHEME.terms_of(SCHEME.fingerprint(ONTOLOGY.most_specific(terms | more))))
    few = held | set(sorted(ONTOLOGY.most_specific(terms | more))[:2])
    assert held <= set(SCHEME.terms_of(SCHEME.fingerprint(few)))


@given(st.lists(st.sampled_from(ONTOLOGY.terms), min_size=1), st.randoms())
def test_order_and_repetition_change_nothing(terms, random):
    again = [*terms, *random.choices(terms, k=3)]
    random.shuffle(again)
    for scheme in (SCHEME, KEYED):
        assert scheme.fingerprint(terms) == scheme.fingerprint(iter(again))
        assert scheme.base_keys(terms) == scheme.base_keys(iter(again))
    # What others imply says nothing more.
    assert SCHEME.fingerprint(ONTOLOGY.closure(terms)) == SCHEME.fingerprint(terms)


@given(TERMS, st.floats(0.05, 8.0), st.floats(0.5, 6.0))
def test_the_keys_of_a_budget_are_the_nearest_terms_that_fit_it(terms, budget, target):
    level = LoadBudget(budget, target)
    keys = SCHEME.routing_keys(terms, levels=[level])
    assert keys == tuple(sorted(set(keys)))
    single = {term: SCHEME._routing_key(0, b"term " + term.encode()) for term in ONTOLOGY.terms}
    chosen = {term for term in ONTOLOGY.closure(terms) if single[term] in keys}
    assert len(chosen) == len(keys) <= 32
    share = {term: math.exp(-ONTOLOGY.information(term)) for term in ONTOLOGY.closure(terms)}
    load = sum(share[term] for term in chosen)
    if len(chosen) > 1:
        assert load <= budget + 1e-8
    nearness = {term: (abs(ONTOLOGY.information(term) - target), term) for term in share}
    for term in share.keys() - chosen:
        if len(chosen) == 32 or not ONTOLOGY.information(term):
            continue
        # It did not fit beside the nearer ones that were taken before it.
        before = sum(share[other] for other in chosen if nearness[other] < nearness[term])
        assert before + share[term] > budget - 1e-8


def test_levels_take_turns_until_there_are_32_keys_and_none_is_left_out_whole():
    many = [f"T:{n}" for n in range(100, 400)]
    alone = SCHEME.routing_keys(many, levels=[LoadBudget(8.0, 5.0)])
    everything = SCHEME.routing_keys(many, levels=[Everything(24)])
    both = SCHEME.routing_keys(many, levels=[LoadBudget(8.0, 5.0), Everything(24)])
    assert (len(alone), len(everything), len(both)) == (32, 1, 32)
    assert set(everything) < set(both)
    assert len(set(both) & set(alone)) == 31
    # Whoever takes everything and whoever publishes under it meet, whatever the terms.
    assert SCHEME.routing_keys(["T:5"], levels=[Everything(3)]) == everything
    with pytest.raises(InputError, match="LoadBudget"):
        Everything(1_001)
    with pytest.raises(InputError, match="levels"):
        SCHEME.interest(many, levels=[])


def test_without_the_secret_keys_are_meaningless():
    terms = ["T:100", "T:201", "T:399"]
    schemes = (SCHEME, KEYED, TermScheme(ONTOLOGY, secret=bytes(32)))
    assert len({scheme.id for scheme in schemes}) == 3
    keys = [set(scheme.routing_keys(terms, at=TODAY)) for scheme in schemes]
    assert keys[0].isdisjoint(keys[1])
    assert keys[1].isdisjoint(keys[2])


def test_unknown_obsolete_and_merged_ids_are_said_and_never_dropped_silently():
    fingerprint = SCHEME.fingerprint(["T:old", "T:gone", "T:none", "T:30"])
    assert fingerprint == SCHEME.fingerprint(["T:7", "T:30"])
    assert len(fingerprint.warnings) == 3
    assert SCHEME.fingerprint(["T:7", "T:30"]).warnings == ()
    assert SCHEME.resolve(["T:old", "T:30"]).replaced == {"T:old": "T:7"}
    assert "T:none is not in this release" in SCHEME.explain(["T:none", "T:30"], fingerprint)


@pytest.mark.parametrize("terms", [[], ["T:none"], ["T:gone"], ["HP:1", "HP:2"]])
def test_a_set_of_which_nothing_is_known_is_an_error(terms):
    for ask in (SCHEME.fingerprint, SCHEME.routing_keys, SCHEME.interest):
        with pytest.raises(InputError, match="none of the"):
            ask(terms)


@pytest.mark.parametrize("terms", [[1.5], [None], [b"T:1"], [True], [math.nan], [["T:1"]]])
def test_terms_are_texts_or_whole_numbers(terms):
    with pytest.raises(InputError, match="a text or a whole number"):
        SCHEME.fingerprint(terms)


@pytest.mark.parametrize(
    "spelling",
    [
        "HP:0001250",
        " HP:0001250\n",
        "hp:0001250",
        "HP_0001250",
        "hp_0001250",
        "http://purl.obolibrary.org/obo/HP_0001250",
        np.str_("HP:0001250"),
    ],
)
def test_ids_are_taken_in_every_usual_spelling(spelling):
    hpo = TermScheme(Ontology("hp/1", {"HP:0001250": ["HP:0000118"]}, None))
    assert hpo.fingerprint(spelling) == hpo.fingerprint(["HP:0001250"])
    assert hpo.fingerprint([spelling]).warnings == ()
    for make in (np.array, pd.Series, tuple, iter):
        assert hpo.fingerprint(make([spelling])) == hpo.fingerprint(["HP:0001250"])


def test_whole_numbers_are_ids():
    """OMOP's concepts are."""
    omop = TermScheme(Ontology("OMOP/2024", {"316139": ["321588"], "4229440": ["316139"]}, None))
    for ids in ([316139, "4229440"], np.array([316139, 4229440]), pd.Series([316139, 4229440])):
        assert omop.fingerprint(ids) == omop.fingerprint(["316139", "4229440"])
    assert omop.fingerprint(316139) == omop.fingerprint("316139")


def test_what_lies_outside_the_branch_is_named_and_not_weighed():
    """Two patients with nothing in common but their onset used to be alike (.84)."""
    parents = {
        "HP:0000118": ["HP:0000001"],
        "HP:0003674": ["HP:0000001"],
        "HP:0003577": ["HP:0003674"],
        **{f"HP:000{n}": ["HP:0000118"] for n in range(1000, 1040)},
    }
    ontology = Ontology("hp/1", parents, None, names={"HP:0003577": "Congenital onset"})
    scheme = TermScheme(ontology)
    one = scheme.fingerprint(["HP:0001001", "HP:0003577"])
    other = scheme.fingerprint(["HP:0001002", "HP:0003577"])
    assert scheme.similarity(one, other) < 0.001
    assert one == scheme.fingerprint(["HP:0001001"])
    (said,) = one.warnings
    assert "HP:0003577 (Congenital onset) is no kind of HP:0000118" in said
    with pytest.raises(InputError, match="none of the 1 terms is used"):
        scheme.fingerprint(["HP:0003577"])
    # Somebody else's sketch may hold what ours would not: it weighs nothing.
    whole = TermScheme(Ontology("hp/1", parents, None, root="HP:0000001"))
    assert whole.id == scheme.id
    theirs = whole.fingerprint(["HP:0001002", "HP:0003577"])
    assert scheme.similarity(one, theirs) == scheme.similarity(one, other)
    with pytest.raises(InputError, match="is no term"):
        Ontology("hp/1", parents, None, root="HP:9")


def test_terms_that_only_the_other_release_has_are_said():
    old = TermScheme(Ontology("v/1", {"V:1": ["V:0"], "V:2": ["V:0"]}, None))
    new = TermScheme(
        Ontology("v/2", {"V:1": ["V:0"], "V:3": ["V:0"]}, None, replacements={"V:2": "V:1"})
    )
    theirs = new.fingerprint(["V:1", "V:3"])
    assert old.terms_of(theirs) == ("V:1",)
    assert "1 of 2 terms there are not in v/1" in old.explain(["V:2"], theirs)
    # What was merged since is read as what it was merged into.
    assert new.terms_of(old.fingerprint(["V:2"])) == ("V:1",)


def test_a_block_of_ids_that_is_newer_than_the_table_is_said():
    ontology = Ontology("hp/1", {"HP:0001250": ["HP:0000118"], "HP:9999001": ["HP:0000118"]}, None)
    fingerprint = TermScheme(ontology).fingerprint(["HP:0001250", "HP:9999001"])
    assert fingerprint.warnings == (
        "HP:9999001 is newer than this version's table of ids: not in the sketch",
    )


def test_one_id_alone_is_a_set_of_one():
    assert SCHEME.fingerprint("T:30") == SCHEME.fingerprint(["T:30"])


def test_another_scheme_is_refused_and_the_error_tells_the_difference():
    other = Ontology("other/2", {"O:new": ["O:1"]}, None)
    fingerprint = TermScheme(other).fingerprint(["O:1"])
    with pytest.raises(SchemeMismatchError, match=r"terms of T.*terms of O"):
        SCHEME.similarity(SCHEME.fingerprint(["T:30"]), fingerprint)
    with pytest.raises(SchemeMismatchError, match="differ in the secret"):
        KEYED.relevance(["T:30"], TermScheme(ONTOLOGY, secret=bytes(32)).fingerprint(["T:30"]))
    with pytest.raises(SchemeMismatchError, match="not made in this process"):
        SCHEME.relevance(["T:30"], qis.Fingerprint(bytes(32), b"stranger"))


def test_vocabulary_and_secret_make_a_scheme_and_neither_release_nor_levels_do():
    same = [
        TermScheme(ONTOLOGY, levels=[LoadBudget(2.0, 3.5), Everything(9)]),
        TermScheme(Ontology("toy/3", PARENTS, None)),
    ]
    assert {scheme.id for scheme in same} == {SCHEME.id}
    others = [
        TermScheme(ONTOLOGY, secret=SECRET),
        TermScheme(Ontology("toy/1", PARENTS, None, vocabulary="U")),
        TermScheme(Ontology("x", {"HP:0000002": ["HP:0000001"]}, None)),
    ]
    assert len({scheme.id for scheme in (SCHEME, *others)}) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": []},
        {"levels": 5},
        {"levels": [8]},
        {"secret": b"short"},
    ],
)
def test_parameters_out_of_range_are_refused(changes):
    with pytest.raises(InputError):
        TermScheme(ONTOLOGY, **changes)
    with pytest.raises(InputError):
        TermScheme("hp.json")


@pytest.mark.parametrize("numbers", [(0.0, 4.0), (9.0, 4.0), (1.5, 0.0), (1.5, math.nan), ("1", 4)])
def test_budgets_out_of_range_are_refused(numbers):
    with pytest.raises(InputError):
        LoadBudget(*numbers)


def test_percentiles_are_those_of_random_profiles():
    shares = [SCHEME.percentile(x / 20) for x in range(21)]
    assert shares == sorted(shares)
    assert (shares[0], SCHEME.percentile(1.0)) == (0.0, 1.0)
    for fraction in (1.0, 0.5, 0.1, 0.02, 0.001):
        reached = SCHEME.similarity_at(fraction)
        assert 1.0 - SCHEME.percentile(reached) <= fraction + 1e-12
    assert SCHEME.similarity_at(1.0) == 0.0
    # The same for the ontology whatever the secret, and for ever.
    assert KEYED.percentile(0.3) == SCHEME.percentile(0.3)
    with pytest.raises(InputError):
        SCHEME.percentile(1.5)
    with pytest.raises(InputError):
        SCHEME.similarity_at(0.0)


def test_any_bits_can_be_read():
    for sketch in (bytes(32), b"\xff" * 32, bytes(range(32))):
        fingerprint = qis.Fingerprint(sketch, SCHEME.id)
        assert 0.0 <= SCHEME.relevance(["T:30"], fingerprint) <= 1.0
        assert SCHEME.explain(["T:30"], fingerprint)


@pytest.mark.parametrize("secret", [None, SECRET])
def test_codes_are_one_to_one_and_survive_the_secret(secret):
    """Blocks exactly, hashes but for few: of two with one code the commoner is read."""
    blocks = Ontology(
        "hp/1", {f"HP:{n:07}": ["HP:0000118"] for n in range(119, 13_000)}, None, root="HP:0000118"
    )
    scheme = TermScheme(blocks, secret=secret)
    assert (scheme.capacity, len(scheme._term)) == (16, 12_882)
    assert 0 not in scheme._term
    large = Ontology("wide", {f"W:{n}": ["W:0"] for n in range(1, 2**15 + 1)}, None)
    scheme = TermScheme(large, secret=secret)
    assert scheme.capacity == 12
    lost = len(large) - len(scheme._term)
    assert 400 < lost < 640  # n²/2m = 512 expected
    terms = [f"W:{n}" for n in range(5, 15)]
    assert scheme.terms_of(scheme.fingerprint(terms)) == tuple(sorted(terms))


def test_the_likelihood_ratio_grows_with_relevance_and_odds_need_a_prior():
    ids = [f"HP:{n:07}" for n in range(1000, 1100)]
    graph = {each: ["HP:0000118"] for each in ids}
    scheme = TermScheme(Ontology("hp/1", graph, None), secret=SECRET)
    asked = ids[:8]
    ratios = []
    for shared in range(9):
        theirs = scheme.fingerprint([*ids[:shared], *ids[50 : 58 - shared]])
        ratios.append(scheme.likelihood_ratio(asked, theirs))
        assert f"same disease: {ratios[-1]:.2g}" in scheme.explain(asked, theirs)
        odds = scheme.odds(asked, theirs, prior=0.2)
        assert odds == pytest.approx(ratios[-1] / 4.0)
    assert ratios == sorted(ratios)
    assert ratios[0] < 0.02
    assert 1.0 < ratios[4] < 1_000.0 < ratios[-1] < 2_400.0
    for prior in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(InputError, match="prior"):
            scheme.odds(asked, theirs, prior=prior)
    # Not where nobody has calibrated.
    with pytest.raises(InputError, match="calibrated for the Human Phenotype"):
        SCHEME.likelihood_ratio(["T:30"], SCHEME.fingerprint(["T:30"]))


@given(st.lists(TERMS, min_size=2, max_size=12))
@settings(max_examples=30)
def test_the_kernel_is_positive_semidefinite(sets):
    prints = SCHEME.fingerprints(sets)
    matrix = np.array([[SCHEME.kernel(a, b) for a in prints] for b in prints])
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_explanations_name_what_is_shared_and_what_is_not():
    named = Ontology("n", {"a": [], "b": ["a"], "c": ["a"], "d": ["b"]}, None, names={"d": "Dog"})
    scheme = TermScheme(named)
    words = scheme.explain(["d", "c"], scheme.fingerprint(["d"]))
    assert "shared: Dog" in words
    assert "only here: c" in words
    assert "only there: nothing" in words


def test_interests_of_terms_travel_by_their_keys_and_judge_by_relevance():
    interest = KEYED.interest(["T:30", "T:121"]).at(TODAY)
    near = KEYED.fingerprint(["T:121", "T:31"])
    assert interest.relevance(near) == KEYED.relevance(["T:30", "T:121"], near)
    assert interest.matches(near, b"studyid1", KEYED.routing_keys(["T:121", "T:31"], at=TODAY))
    assert not interest.matches(near, b"studyid1", (b"otherkey",))
    # No filter unless it is asked for.
    far = KEYED.fingerprint(["T:399"])
    assert interest.matches(far, b"studyid1", KEYED.routing_keys(["T:30"], at=TODAY))
    filtered = KEYED.interest(["T:30", "T:121"], top_fraction=0.1).at(TODAY)
    assert not filtered.fingerprint.warnings
    narrow = KEYED.interest(["T:30", "T:121"], top_fraction=0.05)
    assert "loses three in ten" in narrow.fingerprint.warnings[-1]
    assert not filtered.matches(far, b"studyid1", KEYED.routing_keys(["T:30"], at=TODAY))
    wide = KEYED.interest(["T:30"], levels=[Everything(10)])
    assert wide.routing_keys == KEYED.base_keys(["T:1"], levels=[Everything(5)])


def test_the_readers_list_is_ordered_by_relevance_and_cut_only_if_it_is_asked_for():
    mine = ["T:30", "T:121"]
    others = [["T:399"], ["T:30"], mine, ["T:31", "T:121"], ["T:30"]]
    packets = [
        qis.Packet.sign(
            qis.Identity.from_seed(bytes([number]) * 32),
            outcome=qis.Counts(question="a vs b | c", events=30, total=200),
            fingerprint=KEYED.fingerprint(terms),
            seal=KEYED.seal,
            issued_at=1_800_000_000,
            lifetime_s=86_400,
        )
        for number, terms in enumerate(others)
    ]
    found = KEYED.ranked(mine, iter(packets))
    assert found[0] == (packets[2], 1.0)
    assert [each.relevance for each in found] == sorted(
        (KEYED.relevance(mine, KEYED.fingerprint(terms)) for terms in others), reverse=True
    )
    same = [each.packet for each in found if each.packet in (packets[1], packets[4])]
    assert same == [packets[1], packets[4]]
    assert KEYED.ranked(mine, packets, top=2) == found[:2]
    least = found[1].relevance
    assert KEYED.ranked(mine, packets, min_similarity=least) == found[:2]
    limit = KEYED.similarity_at(0.1)
    near = [each for each in found if each.relevance >= limit]
    assert KEYED.ranked(mine, packets, top_fraction=0.1) == near
    assert 0 < len(near) < len(found)
    assert KEYED.ranked(mine, []) == []
    for options in ({"top": 0}, {"top": 1.5}, {"top_fraction": 0.1, "min_similarity": 0.2}):
        with pytest.raises(InputError):
            KEYED.ranked(mine, packets, **options)
    with pytest.raises(InputError, match="min_similarity"):
        KEYED.ranked(mine, packets, min_similarity=1.1)
    with pytest.raises(SchemeMismatchError):
        KEYED.ranked(mine, [*packets, SCHEME.fingerprint(mine)])


def test_terms_that_were_excluded_are_named_where_the_other_side_has_them():
    theirs = SCHEME.fingerprint(["T:121", "T:50"])
    above = next(iter(PARENTS["T:50"]))
    words = SCHEME.explain(["T:121"], theirs, excluded=[above, "T:399"])
    assert f"excluded here, present there: {ONTOLOGY.name(above)}" in words
    assert "T:399" not in words
    assert "present there: nothing" in SCHEME.explain(["T:121"], theirs, excluded=["T:399"])
    assert "excluded" not in SCHEME.explain(["T:121"], theirs)


def test_whole_numbers_are_ids_everywhere_as_in_the_tables_of_omop():
    numbers = Ontology(
        "omop/1",
        {201820: [442793], 4034964: [442793]},
        {201820: 2.0, 4034964: 3.0, 442793: 0.0},
        names={201820: "Diabetes mellitus"},
        replacements={1: 201820},
        obsolete=[7],
        root=442793,
    )
    texts = Ontology(
        "omop/1",
        {"201820": ["442793"], "4034964": ["442793"]},
        {"201820": 2.0, "4034964": 3.0, "442793": 0.0},
        replacements={"1": "201820"},
        root="442793",
    )
    assert numbers.digest == texts.digest
    assert numbers.name("201820") == "Diabetes mellitus"
    assert numbers.resolve([1, 7, "4034964"]).obsolete == ("7",)
    one, other = (TermScheme(each).fingerprint([201820, 4034964]) for each in (numbers, texts))
    assert one == other


@pytest.mark.shared
def test_published_cases_find_their_disease(shared_data, load_benchmark):
    found = load_benchmark("fingerprint_quality").term_figures(
        shared_data / "phenotypes", limit=1500
    )
    assert found["term_relevance_map"] >= 0.98 * found["ceiling_map"]
    assert found["term_similarity_map"] >= 0.97 * found["ceiling_map"]
    assert found["default_recall_delivered"] >= 0.80
    assert found["default_wire_touched"] <= 0.20
    assert found["no_mate_fraction"] <= 0.06

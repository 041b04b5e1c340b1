"""Fingerprints of terms: what they hold, what they find, and what a secret hides."""

import math

import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.errors import InputError, SchemeMismatchError
from qis.fingerprint import Ontology, TermScheme

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


@given(TERMS, TERMS, st.sampled_from([SCHEME, KEYED]))
@settings(max_examples=200)
def test_similarity_is_the_weighted_cosine_of_what_the_sketches_hold(a, b, scheme):
    one, other = scheme.fingerprint(a), scheme.fingerprint(b)
    held = [frozenset(scheme.terms_of(fingerprint)) for fingerprint in (one, other)]
    assert scheme.similarity(one, other) == pytest.approx(cosine(*held), abs=1e-6)
    assert scheme.similarity(one, other) == scheme.similarity(other, one)
    assert scheme.relevance(a, other) == pytest.approx(cosine(frozenset(a), held[1]), abs=1e-6)
    assert 0.0 <= scheme.relevance(a, other) <= 1.0
    assert scheme.similarity(one, one) == 1.0


@given(TERMS)
def test_a_sketch_holds_the_rarest_of_the_most_specific_terms(terms):
    telling = ONTOLOGY.most_specific(terms)
    held = set(SCHEME.terms_of(SCHEME.fingerprint(terms)))
    assert held <= telling
    assert len(held) == min(len(telling), 17)
    left_out = telling - held
    if left_out:
        least = min(ONTOLOGY.steps(term)[0] for term in held)
        assert max(ONTOLOGY.steps(term)[0] for term in left_out) <= least


@given(st.lists(st.sampled_from(ONTOLOGY.terms), min_size=1), st.randoms())
def test_order_and_repetition_change_nothing(terms, random):
    again = [*terms, *random.choices(terms, k=3)]
    random.shuffle(again)
    for scheme in (SCHEME, KEYED):
        assert scheme.fingerprint(terms) == scheme.fingerprint(again)
        assert scheme.routing_keys(terms) == scheme.routing_keys(iter(again))
    # What others imply says nothing more.
    assert SCHEME.fingerprint(ONTOLOGY.closure(terms)) == SCHEME.fingerprint(terms)


@given(TERMS, st.integers(1, 32), st.floats(0.5, 6.0))
def test_routing_keys_are_the_terms_nearest_to_the_target(terms, count, target):
    scheme = TermScheme(ONTOLOGY, keys=count, target_information=target)
    keys = scheme.routing_keys(terms)
    closure = ONTOLOGY.closure(terms)
    assert len(keys) == len(set(keys)) == min(count, len(closure))
    assert keys == tuple(sorted(keys))
    single = {term: scheme._routing_key(0, term.encode()) for term in closure}
    chosen = [term for term in closure if single[term] in keys]
    distance = {term: abs(ONTOLOGY.steps(term)[0] - scheme._target) for term in closure}
    rest = closure - set(chosen)
    assert not rest or max(map(distance.get, chosen)) <= min(map(distance.get, rest))


def test_without_the_secret_sketches_and_keys_are_meaningless():
    terms = ["T:100", "T:201", "T:399"]
    other = TermScheme(ONTOLOGY, secret=bytes(32))
    schemes = (SCHEME, KEYED, other)
    assert len({scheme.id for scheme in schemes}) == 3
    sketches = [scheme.fingerprint(terms).sketch for scheme in schemes]
    assert len(set(sketches)) == 3
    # Read with another secret, the codes are other terms, as good as drawn at random.
    hits = 0
    for start in range(0, 390, 3):
        mine = {f"T:{start + n}" for n in range(3)}
        sketch = KEYED.fingerprint(mine).sketch
        read = {other._term[code] for code in other.codes(sketch)}
        hits += len(read & mine)
    assert hits < 8  # of 390; chance gives three
    keys = [set(scheme.routing_keys(terms)) for scheme in schemes]
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


@pytest.mark.parametrize("terms", [[1], [None], [b"T:1"]])
def test_terms_are_texts(terms):
    with pytest.raises(InputError, match="texts"):
        SCHEME.fingerprint(terms)


def test_one_id_alone_is_a_set_of_one():
    assert SCHEME.fingerprint("T:30") == SCHEME.fingerprint(["T:30"])


def test_another_scheme_is_refused_and_the_error_tells_the_difference():
    newer = Ontology("toy/2", {**PARENTS, "T:new": ["T:1"]}, {**INFORMATION, "T:new": 5.9})
    fingerprint = TermScheme(newer).fingerprint(["T:30"])
    with pytest.raises(SchemeMismatchError, match=r"toy/1.*toy/2"):
        SCHEME.similarity(SCHEME.fingerprint(["T:30"]), fingerprint)
    with pytest.raises(SchemeMismatchError, match="differ in the secret"):
        KEYED.relevance(["T:30"], TermScheme(ONTOLOGY, secret=bytes(32)).fingerprint(["T:30"]))
    with pytest.raises(SchemeMismatchError, match="not made in this process"):
        SCHEME.relevance(["T:30"], qis.Fingerprint(bytes(32), b"stranger"))


def test_every_parameter_is_in_the_id():
    ids = {
        TermScheme(ONTOLOGY, **changes).id
        for changes in ({}, {"keys": 9}, {"target_information": 4.0}, {"secret": SECRET})
    }
    assert len(ids) == 4
    assert TermScheme(Ontology("toy/3", PARENTS, INFORMATION)).id != SCHEME.id  # no replacements


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": 0},
        {"keys": 33},
        {"keys": 8.0},
        {"target_information": 0.0},
        {"target_information": math.nan},
        {"secret": b"short"},
    ],
)
def test_parameters_out_of_range_are_refused(changes):
    with pytest.raises(InputError):
        TermScheme(ONTOLOGY, **changes)
    with pytest.raises(InputError):
        TermScheme("hp.json")


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


def test_large_ontologies_take_wider_codes():
    large = Ontology("wide", {f"W:{n}": ["W:0"] for n in range(1, 2**15 + 1)}, None)
    scheme = TermScheme(large)
    assert scheme.capacity == 16
    terms = [f"W:{n}" for n in range(5, 15)]
    assert scheme.terms_of(scheme.fingerprint(terms)) == tuple(sorted(terms))


def test_explanations_name_what_is_shared_and_what_is_not():
    named = Ontology("n", {"a": [], "b": ["a"], "c": ["a"], "d": ["b"]}, None, names={"d": "Dog"})
    scheme = TermScheme(named)
    words = scheme.explain(["d", "c"], scheme.fingerprint(["d"]))
    assert "shared: Dog" in words
    assert "only here: c" in words
    assert "only there: nothing" in words


def test_interests_of_terms_travel_by_their_keys_and_judge_by_relevance():
    interest = KEYED.interest(["T:30", "T:121"])
    near = KEYED.fingerprint(["T:121", "T:31"])
    assert interest.relevance(near) == KEYED.relevance(["T:30", "T:121"], near)
    assert interest.matches(near, b"studyid1", KEYED.routing_keys(["T:121", "T:31"]))
    far = KEYED.fingerprint(["T:399"])
    assert not interest.matches(far, b"studyid1", KEYED.routing_keys(["T:399"]))


@pytest.mark.shared
def test_published_cases_find_their_disease(shared_data, load_benchmark):
    found = load_benchmark("fingerprint_quality").term_figures(
        shared_data / "phenotypes", limit=1500
    )
    assert found["term_relevance_map"] >= 0.98 * found["ceiling_map"]
    assert found["term_similarity_map"] >= 0.97 * found["ceiling_map"]
    assert found["keys8_recall"] >= 0.68
    assert found["keys8_candidates"] <= 0.06
    assert found["keys16_recall"] >= 0.80
    assert found["keys16_candidates"] <= 0.12

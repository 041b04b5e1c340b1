"""SetScheme: order, repetition, normal form and batch change nothing."""

from unicodedata import normalize

from hypothesis import given, strategies as st

from qis.fingerprint import SetScheme

SCHEME = SetScheme(secret=bytes(range(32)))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
sets = st.sets(texts, min_size=1, max_size=90)


@given(st.data(), sets)
def test_order_repetition_and_normal_form_change_nothing(data, features):
    shuffled = data.draw(st.permutations(sorted(features)))
    other = [normalize("NFD", text) for text in shuffled] + shuffled[:3]
    assert SCHEME.fingerprint(other) == SCHEME.fingerprint(features)
    assert SCHEME.base_keys(iter(other)) == SCHEME.base_keys(features)


@given(st.lists(sets, max_size=5))
def test_a_batch_is_its_members(batch):
    assert SCHEME.fingerprints(batch) == [SCHEME.fingerprint(features) for features in batch]


@given(sets, sets)
def test_similarity_is_symmetric_in_range_and_one_for_equal_sets(left, right):
    a, b = SCHEME.fingerprints([left, right])
    assert 0.0 <= SCHEME.similarity(a, b) == SCHEME.similarity(b, a) <= 1.0
    assert SCHEME.similarity(a, a) == 1.0
    assert SCHEME.percentile(SCHEME.similarity(a, b)) <= SCHEME.percentile(1.0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_percentile_never_falls(a, b):
    low, high = sorted([a, b])
    assert SCHEME.percentile(low) <= SCHEME.percentile(high)


@given(st.floats(1e-60, 1.0))
def test_similarity_at_is_the_smallest_that_suffices(fraction):
    threshold = SCHEME.similarity_at(fraction)
    assert threshold in SCHEME.similarities
    lower = [value for value in SCHEME.similarities if value < threshold]
    if lower:
        assert 1.0 - SCHEME.percentile(lower[-1]) > fraction * (1 - 1e-12) - 1e-15
    if threshold > 0.0:
        assert 1.0 - SCHEME.percentile(threshold) <= fraction * (1 + 1e-12) + 1e-15

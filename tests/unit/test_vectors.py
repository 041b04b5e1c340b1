"""VectorScheme: the same bits as plain integers give, whatever the batch and the dtype."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from qis.errors import InputError, SchemeMismatchError
from qis.fingerprint import VectorScheme

SCHEME = VectorScheme(dimensions=6)
finite = st.floats(-1e9, 1e9, width=32)
vectors = st.lists(finite, min_size=6, max_size=6).filter(any)


def by_integers(scheme, vector):
    """The sketch by Python integers, from the definition."""
    largest = max(abs(x) for x in vector)
    scale = 2**24 // scheme.dimensions - 1
    quantised = [round(x / largest * scale) for x in vector]
    planes = scheme._derive(b"hyperplanes", 32 * scheme.dimensions)
    bits = []
    for plane in range(256):
        total = 0
        for row, value in enumerate(quantised):
            byte = planes[32 * row + plane // 8]
            total += value if byte >> (7 - plane % 8) & 1 else -value
        bits.append(total > 0)
    return sum(bit << (255 - i) for i, bit in enumerate(bits)).to_bytes(32, "big")


@given(vectors)
def test_a_sketch_is_what_exact_integers_give(vector):
    assert SCHEME.fingerprint(vector).sketch == by_integers(SCHEME, vector)


@given(st.lists(vectors, min_size=1, max_size=9))
def test_batch_and_dtype_change_no_bit(batch):
    alone = [SCHEME.fingerprint(vector) for vector in batch]
    assert SCHEME.fingerprints(np.asarray(batch)) == alone
    assert SCHEME.fingerprints(np.asarray(batch, dtype=np.float32)) == alone


def test_similarity_follows_the_angle():
    rng = np.random.default_rng(0)
    scheme = VectorScheme(dimensions=200)
    for degrees in (10, 60, 90, 150):
        shares = []
        for _ in range(40):
            x, y = np.linalg.qr(rng.normal(size=(200, 2)))[0].T
            angle = np.radians(degrees)
            z = np.cos(angle) * x + np.sin(angle) * y
            shares.append(scheme.similarity(scheme.fingerprint(x), scheme.fingerprint(z)))
        assert np.mean(shares) == pytest.approx(1 - degrees / 180, abs=0.02)


@pytest.mark.parametrize(
    "features", [[0.0] * 6, [1.0] * 5, [np.nan] + [0.0] * 5, [np.inf] * 6, ["x"] * 6]
)
def test_what_has_no_direction_is_refused(features):
    with pytest.raises(InputError):
        SCHEME.fingerprint(features)


def test_another_parameter_or_secret_is_another_scheme():
    others = [
        VectorScheme(dimensions=7),
        VectorScheme(dimensions=6, bands=23),
        VectorScheme(dimensions=6, secret=bytes(32)),
        VectorScheme(dimensions=6, secret=bytes([1] * 32)),
    ]
    assert len({SCHEME.id, *(scheme.id for scheme in others)}) == 5
    vector = [1.0, 2.0, -3.0, 4.0, 5.0, -6.0]
    keyed, other = others[2], others[3]
    assert keyed.fingerprint(vector).sketch != SCHEME.fingerprint(vector).sketch
    assert not set(keyed.routing_keys(vector)) & set(other.routing_keys(vector))
    with pytest.raises(SchemeMismatchError):
        SCHEME.similarity(SCHEME.fingerprint(vector), keyed.fingerprint(vector))


def test_an_explanation_says_how_relevant_and_how_rare_that_is():
    vector = [1.0, 2.0, -3.0, 4.0, 5.0, -6.0]
    words = SCHEME.explain(vector, SCHEME.fingerprint(vector))
    assert words == "relevance 1.00, above 100.0% of random pairs"

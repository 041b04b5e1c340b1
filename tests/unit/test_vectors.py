"""VectorScheme: the same bits as plain integers give, whatever the batch and the dtype."""

import math
import os
import subprocess
import sys
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from qis.errors import InputError, SchemeMismatchError
from qis.fingerprint import VectorScheme

SCHEME = VectorScheme(dimensions=6)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
doubles = st.floats(allow_nan=False, allow_infinity=False)


def vectors(values):
    return st.lists(values, min_size=6, max_size=6).filter(any)


def by_integers(scheme, vector):
    """The sketch by Python's exact fractions and integers, from the definition."""
    exact = [Fraction(float(x)) for x in vector]
    largest = max(abs(x) for x in exact)
    factor = Fraction(2) ** (24 - math.ceil(math.log2(scheme.dimensions)))
    while largest >= 1:
        largest, factor = largest / 2, factor / 2
    while largest < Fraction(1, 2):
        largest, factor = largest * 2, factor * 2
    quantised = [round(x * factor) for x in exact]  # half to even
    planes = scheme._derive(b"hyperplanes", 32 * scheme.dimensions)
    bits = []
    for plane in range(256):
        total = 0
        for row, value in enumerate(quantised):
            byte = planes[32 * row + plane // 8]
            total += value if byte >> (7 - plane % 8) & 1 else -value
        bits.append(total > 0)
    return sum(bit << (255 - i) for i, bit in enumerate(bits)).to_bytes(32, "big")


@given(vectors(finite) | vectors(doubles))
@example([2.0**-149] * 6)
@example([5e-324, 0.0, 0.0, 0.0, 0.0, -5e-324])
@example([1.7976931348623157e308, 1.0, 0.5, 0.0, -1.7976931348623157e308, 1e292])
@example([3.4028234663852886e38, 2.0**-149, 1.0, 2.0, 3.0, 2.0**105])
@example([1.0, 2.0**-22, 3 * 2.0**-22, 5 * 2.0**-23, -(2.0**-23), 0.0])  # halves, to even
def test_a_sketch_is_what_exact_integers_give(vector):
    assert SCHEME.fingerprint(vector).sketch == by_integers(SCHEME, vector)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 512, 513, 4000])
def test_sketches_at_other_dimensions_are_exact_too(dimensions):
    scheme = VectorScheme(dimensions)
    for vector in (np.ones(dimensions), np.random.default_rng(1).normal(size=dimensions)):
        assert scheme.fingerprint(vector).sketch == by_integers(scheme, vector.tolist())
        assert scheme.fingerprint(3e-40 * vector).sketch == by_integers(scheme, 3e-40 * vector)


@given(st.lists(vectors(finite), min_size=1, max_size=9))
def test_batch_dtype_and_layout_change_no_bit(batch):
    alone = [SCHEME.fingerprint(vector) for vector in batch]
    assert SCHEME.fingerprints(np.asarray(batch)) == alone
    assert SCHEME.fingerprints(np.asarray(batch, dtype=np.float32)) == alone
    assert SCHEME.fingerprints(np.asarray(batch, dtype=np.float32, order="F")) == alone
    assert SCHEME.fingerprints(np.asarray(batch)[::-1]) == alone[::-1]
    # One float64 array alone takes a way of its own, to the same bits.
    for exponent in (0, -850, 800):  # no value becomes zero or infinite, so no sketch is undefined
        scaled = np.ldexp(np.array(batch), exponent)
        assert [SCHEME.fingerprint(vector) for vector in scaled] == SCHEME.fingerprints(scaled)


def test_a_large_batch_has_the_bits_of_its_parts_and_leaves_its_input_alone():
    scheme = VectorScheme(dimensions=300)
    batch = np.random.default_rng(2).normal(size=(700, 300)).astype(np.float32)
    before = batch.copy()
    whole = scheme.fingerprints(batch)
    assert (batch == before).all()
    assert whole == [scheme.fingerprint(vector) for vector in batch]
    assert whole == scheme.fingerprints(batch[:333]) + scheme.fingerprints(batch[333:])
    assert whole[17].sketch == by_integers(scheme, batch[17])
    assert hash(whole[3]) == hash(scheme.fingerprint(batch[3]))
    assert {fingerprint.scheme_id for fingerprint in whole} == {scheme.id}
    assert {asdict(fingerprint)["warnings"] for fingerprint in whole} == {()}


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_the_number_of_blas_threads_changes_no_bit(threads):
    code = (
        "import numpy as np; from qis.fingerprint import VectorScheme;"
        "batch = np.random.default_rng(3).normal(size=(256, 512));"
        "prints = VectorScheme(512).fingerprints(batch);"
        "print(b''.join(p.sketch for p in prints).hex())"
    )
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, threads)
    result = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    batch = np.random.default_rng(3).normal(size=(256, 512))
    prints = VectorScheme(512).fingerprints(batch)
    assert result.stdout.strip() == b"".join(p.sketch for p in prints).hex()


@pytest.mark.parametrize("factor", [2.0**-140, 2.0**-80, 1 / 3, 7.0, 2.0**120])
def test_only_the_direction_counts(factor):
    vector = np.array([1.0, 2.0, -3.0, 4.0, 5.0, -6.0])
    assert SCHEME.fingerprint(vector * factor) == SCHEME.fingerprint(vector)


def test_an_empty_batch_has_no_fingerprints():
    assert SCHEME.fingerprints(np.empty((0, 6))) == []


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
    "features",
    [
        [0.0] * 6,
        [1.0] * 5,
        [1.0] * 7,
        1.0,
        [[1.0] * 6],
        [np.nan] + [0.0] * 5,
        [1.0, -np.inf, *[0.0] * 4],
        [np.inf] * 6,
        ["x"] * 6,
        [1j] * 6,
        ["1"] * 6,
        np.ones(6, dtype="M8[s]"),
        None,
        np.array([1, 2, 3, 4, 5, np.nan], dtype=np.float32),
    ],
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

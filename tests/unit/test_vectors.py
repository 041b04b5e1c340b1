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
    factor = Fraction(2) ** (53 - 10 - (scheme.dimensions - 1).bit_length())
    while largest >= 1:
        largest, factor = largest / 2, factor / 2
    while largest < Fraction(1, 2):
        largest, factor = largest * 2, factor * 2
    quantised = [round(x * factor) for x in exact]  # half to even
    bits = []
    for plane in scheme._planes.T.tolist():
        assert all(value.is_integer() and abs(value) <= 1024 for value in plane)
        total = sum(int(value) * x for value, x in zip(plane, quantised, strict=True))
        assert sum(abs(int(value) * x) for value, x in zip(plane, quantised, strict=True)) <= 2**53
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
    assert not set(keyed.base_keys(vector)) & set(other.base_keys(vector))
    with pytest.raises(SchemeMismatchError):
        SCHEME.similarity(SCHEME.fingerprint(vector), keyed.fingerprint(vector))


def test_an_explanation_says_how_relevant_and_how_rare_that_is():
    vector = [1.0, 2.0, -3.0, 4.0, 5.0, -6.0]
    words = SCHEME.explain(vector, SCHEME.fingerprint(vector))
    assert words == "similarity 1.00, above 100.0% of random pairs; relevance 1.00"


@pytest.mark.parametrize("dimensions", [1, 2, 3, 8, 32])
def test_planes_in_few_dimensions_are_orthogonal_in_groups(dimensions):
    planes = VectorScheme(dimensions)._planes.T
    for start in range(0, 256 - dimensions, dimensions):
        group = planes[start : start + dimensions]
        products = group @ group.T / 1024**2
        assert np.allclose(products, np.eye(dimensions), atol=0.01)


def test_in_three_dimensions_similarity_follows_the_angle_too():
    """Planes of plus and minus one gave 14 sketches there, and a deviation of .18."""
    rng = np.random.default_rng(4)
    scheme = VectorScheme(3)
    sketches = {scheme.fingerprint(vector).sketch for vector in rng.normal(size=(300, 3))}
    assert len(sketches) > 290
    errors = []
    for _ in range(200):
        x, y = rng.normal(size=(2, 3))
        angle = math.acos(x @ y / math.sqrt((x @ x) * (y @ y)))
        found = scheme.similarity(scheme.fingerprint(x), scheme.fingerprint(y))
        errors.append(found - (1.0 - angle / math.pi))
    assert np.std(errors) < 1.0 / 32.0


def test_orthogonal_vectors_of_two_ones_are_not_alike():
    scheme = VectorScheme(400)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        a, b, c, d = rng.choice(400, 4, replace=False)
        one, other = np.zeros((2, 400))
        one[[a, b]] = other[[c, d]] = 1.0
        found.append(scheme.similarity(scheme.fingerprint(one), scheme.fingerprint(other)))
    assert abs(np.mean(found) - 0.5) < 0.02


def cohorts(count=50):
    """Age, height in metres and body mass index of unlike patients."""
    rng = np.random.default_rng(6)
    return np.column_stack(
        [rng.uniform(1, 90, count), rng.normal(1.6, 0.2, count), rng.normal(25, 5, count)]
    )


def test_raw_scales_are_said_and_a_fitted_scheme_tells_cohorts_apart():
    raw = VectorScheme(3).fingerprints(cohorts())
    assert sum("pairs of these vectors" in " ".join(each.warnings) for each in raw) == 50
    assert any("component 0 is over 90%" in " ".join(each.warnings) for each in raw)
    scheme = VectorScheme.fit(cohorts())
    prints = scheme.fingerprints(cohorts())
    assert not any("pairs" in " ".join(each.warnings) for each in prints)
    similarities = [scheme.similarity(prints[0], other) for other in prints[1:]]
    assert min(similarities) < 0.2
    assert max(similarities) > 0.8
    # Others make the same scheme from what is told, and no other is compared with it.
    same = VectorScheme(3, centre=scheme.centre, scale=scheme.scale)
    assert same.id == scheme.id
    assert same.fingerprints(cohorts()) == prints
    ids = {VectorScheme(3).id, VectorScheme(3, centre=scheme.centre).id, scheme.id}
    assert len(ids | {VectorScheme(3, scale=scheme.scale).id}) == 4
    exact = [(x - c) / s for x, c, s in zip(cohorts()[3], scheme.centre, scheme.scale, strict=True)]
    assert prints[3].sketch == by_integers(scheme, exact)


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": [1.0, 0.0, 1.0]},
        {"scale": [1.0, -2.0, 1.0]},
        {"scale": [1.0]},
        {"centre": [0.0, math.nan, 0.0]},
        {"centre": "abc"},
    ],
)
def test_a_wrong_centre_or_scale_is_refused(changes):
    with pytest.raises(InputError):
        VectorScheme(3, **changes)


@pytest.mark.parametrize("sample", [[[1.0, 2.0]], [1.0, 2.0], [[1.0, math.inf], [2.0, 3.0]], None])
def test_a_sample_that_cannot_be_fitted_is_refused(sample):
    with pytest.raises(InputError):
        VectorScheme.fit(sample)


def test_a_component_that_never_varies_is_not_scaled():
    assert VectorScheme.fit([[1.0, 5.0], [3.0, 5.0]]).scale == (1.0, 1.0)


def test_relevance_finds_more_of_the_nearest_than_similarity():
    rng = np.random.default_rng(7)
    scheme = VectorScheme(64)
    many = rng.normal(size=(300, 64)) + 0.8 * rng.normal(size=(300, 8)) @ rng.normal(size=(8, 64))
    prints = scheme.fingerprints(many)
    lengths = np.linalg.norm(many, axis=1)
    by_similarity = by_relevance = 0
    for row in range(12):
        exact = many @ many[row] / lengths
        nearest = set(np.argsort(-exact)[1:11].tolist())
        scores = [scheme.relevance(many[row], other) for other in prints]
        assert scores[row] == 1.0
        assert all(0.0 <= score <= 1.0 for score in scores)
        by_relevance += len(nearest & set(np.argsort(scores)[::-1][1:11].tolist()))
        scores = [scheme.similarity(prints[row], other) for other in prints]
        by_similarity += len(nearest & set(np.argsort(scores)[::-1][1:11].tolist()))
    assert by_relevance > by_similarity
    assert "relevance 1.00" in scheme.explain(many[0], prints[0])


def test_vectors_of_any_library_are_numbers_and_nothing_else_is():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    scheme = VectorScheme(3)
    expected = scheme.fingerprint([1.0, 0.0, 1.0])
    columns = ([1, 0, 1], (1, 0, 1), np.array([1, 0, 1], "u1"), [True, False, True])
    series = (pandas.Series([1, 0, 1], index=list("xyz")), polars.Series([1, 0, 1]))
    for vector in (*columns, *series, np.ma.array([1, 0, 1], mask=False)):
        assert scheme.fingerprint(vector) == expected
        assert scheme.fingerprints([vector, vector]) == [expected] * 2
    masked = np.ma.array([1.0, 0.0, 1.0], mask=[True, False, False])
    texts = (["1", "0", "1"], np.array(["1", "0", "1"], object))
    for wrong in (masked, *texts, pandas.Series([1, None, 1]), [1.0, 0.0], [[1.0, 0.0, 1.0]], 1.0):
        for many in ([wrong], [wrong, wrong], [[1.0, 0.0, 1.0], wrong]):
            with pytest.raises(InputError, match="features"):
                scheme.fingerprints(many)


@pytest.mark.parametrize("name", ["centre", "scale"])
def test_what_is_wrong_with_centre_or_scale_is_told_by_its_name(name):
    for wrong in ("text", [1.0, 2.0], ["1", "2", "3"], [1.0, 2.0, float("nan")], 3.0):
        with pytest.raises(InputError, match=name) as refused:
            VectorScheme(3, **{name: wrong})
        assert refused.value.field == name

"""SetScheme: the sketch that its definition gives, an unbiased Jaccard estimate, frozen vectors."""

import json
import math
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from blake3 import blake3

from qis.errors import InputError, SchemeMismatchError
from qis.fingerprint import SetScheme, VectorScheme

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "fingerprints_sets.json").read_text(encoding="utf-8")
)
SCHEME = SetScheme()


def samples_by_definition(scheme, texts):
    """What each of the 64 bins keeps, by Python integers and one rule after the other."""
    key = scheme._derive(b"elements", 32)
    streams = [blake3(text.encode(), key=key).digest(1024) for text in set(texts)]
    kept = {}
    for round_ in range(128):
        words = [int.from_bytes(stream[8 * round_ :][:8], "little") for stream in streams]
        candidates = {}
        for word in words:
            bin_ = word % 64 if round_ < 64 else round_ - 64
            candidates[bin_] = min(candidates.get(bin_, word), word)
        kept = candidates | kept
    return [kept[bin_] for bin_ in range(64)]


def sketch_by_definition(scheme, texts):
    kept = samples_by_definition(scheme, texts)
    planes = [[word >> 6 + plane & 1 for word in kept] for plane in range(4)]
    digits = "".join(str(bit) for plane in planes for bit in plane)
    return int(digits, 2).to_bytes(32, "big")


def codes(first, last):
    return {f"code {i}" for i in range(first, last)}


# 74, 75 and 76 lie on both sides of the step from the long to the short hash output.
@pytest.mark.parametrize("size", [1, 2, 5, 40, 74, 75, 76, 120, 300, 1000])
def test_a_sketch_is_what_the_definition_gives(size):
    for start in (0, 10_000):
        texts = codes(start, start + size)
        assert SCHEME.fingerprint(texts).sketch == sketch_by_definition(SCHEME, texts)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_frozen_vectors(case):
    secret = None if case["secret"] is None else bytes.fromhex(case["secret"])
    scheme = SetScheme(secret=secret, bands=case["bands"], rows=case["rows"])
    assert scheme.id.hex() == case["scheme_id"]
    assert scheme.fingerprint(case["strings"]).sketch.hex() == case["sketch"]
    texts = {normalize("NFC", text) for text in case["strings"]}
    assert sketch_by_definition(scheme, texts).hex() == case["sketch"]
    assert [key.hex() for key in scheme.base_keys(case["strings"])] == case["routing_keys"]


@pytest.mark.parametrize("size", [6, 40, 400])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.5, 0.8])
def test_the_estimate_is_unbiased_with_the_stated_error(size, overlap):
    shared = round(size * overlap)
    alone = (size - shared) // 2
    true = shared / (shared + 2 * alone)
    errors = []
    for trial in range(400):
        common = {f"{trial} both {i}" for i in range(shared)}
        a = common | {f"{trial} left {i}" for i in range(alone)}
        b = common | {f"{trial} right {i}" for i in range(alone)}
        x, y = SCHEME.fingerprints([a, b])
        fields = np.unpackbits(np.frombuffer(x.sketch + y.sketch, np.uint8)).reshape(2, 4, 64)
        equal = (fields[0] == fields[1]).all(axis=0).sum()
        assert SCHEME.similarity(x, y) == max(0, equal - 4) / 60
        errors.append((equal - 4) / 60 - true)
    stated = math.sqrt((1 + 15 * true) * (1 - true) / 960)
    assert abs(np.mean(errors)) <= 4 * stated / math.sqrt(len(errors))
    assert np.std(errors) <= 1.15 * stated  # 4 standard errors; without replacement it is smaller


def test_two_sets_share_a_key_as_often_as_stated():
    hits = 0
    for trial in range(600):
        a = {f"{trial} {i}" for i in range(50)}
        b = {f"{trial} {i}" for i in range(30, 80)}  # J = .25
        hits += bool(set(SCHEME.routing_keys(a)) & set(SCHEME.routing_keys(b)))
    assert hits / 600 == pytest.approx(1 - (1 - 0.25**2) ** 24, abs=4 * 0.017)


def test_the_same_text_in_another_normal_form_is_the_same_element():
    composed, decomposed = "Sjögren", "Sjo\u0308gren"
    assert composed != decomposed
    assert SCHEME.fingerprint({composed}) == SCHEME.fingerprint([decomposed, composed])
    assert SCHEME.fingerprint({"a"}) != SCHEME.fingerprint({"A"})


@pytest.mark.parametrize(
    "features",
    [set(), [], "HP:0000001", b"HP:0000001", ["a", 1], ["a", b"b"], [["a"]], 7, None, ["\ud800"]],
)
def test_what_is_no_set_of_strings_is_refused(features):
    with pytest.raises(InputError) as caught:
        SCHEME.fingerprint(features)
    assert caught.value.field == "features"
    with pytest.raises(InputError):
        SCHEME.routing_keys(features)


@pytest.mark.parametrize(
    ("bands", "rows"), [(0, 1), (43, 1), (33, 2), (22, 3), (1, 65), (24, 0), (2.0, 2), (True, 1)]
)
def test_bands_that_do_not_fit_are_refused(bands, rows):
    with pytest.raises(InputError):
        SetScheme(bands=bands, rows=rows)


def test_another_parameter_or_secret_is_another_scheme():
    others = [SetScheme(bands=23), SetScheme(rows=1)]
    others += [SetScheme(secret=bytes([i] * 32)) for i in range(2)]
    others.append(VectorScheme(dimensions=3))
    assert len({SCHEME.id, *(scheme.id for scheme in others)}) == 6
    texts = codes(0, 30)
    keyed, other = others[2], others[3]
    assert keyed.fingerprint(texts).sketch != SCHEME.fingerprint(texts).sketch
    assert not set(keyed.base_keys(texts)) & set(other.base_keys(texts))
    with pytest.raises(SchemeMismatchError):
        SCHEME.similarity(SCHEME.fingerprint(texts), keyed.fingerprint(texts))
    with pytest.raises(SchemeMismatchError):
        SCHEME.relevance(texts, keyed.fingerprint(texts))


def test_relevance_and_interest_go_by_similarity():
    mine, theirs = codes(0, 60), SCHEME.fingerprint(codes(20, 80))
    relevance = SCHEME.relevance(mine, theirs)
    assert relevance == SCHEME.similarity(SCHEME.fingerprint(mine), theirs)
    interest = SCHEME.interest(mine, top_fraction=1e-3)
    assert interest.min_similarity == SCHEME.similarity_at(1e-3)
    assert interest.relevance(theirs) == relevance
    assert interest.matches(theirs, bytes(8), SCHEME.routing_keys(codes(20, 80)))
    assert not interest.matches(theirs, bytes(8), SCHEME.routing_keys(codes(900, 980)))


def test_the_null_distribution_is_that_of_sets_with_nothing_in_common():
    prints = SCHEME.fingerprints([codes(30 * i, 30 * i + 30) for i in range(200)])
    drawn = [SCHEME.similarity(a, b) for i, a in enumerate(prints) for b in prints[:i]]
    for similarity in (0.0, 1 / 60, 3 / 60, 5 / 60):
        share = np.mean(np.array(drawn) < similarity - 1e-9)
        assert SCHEME.percentile(similarity) == pytest.approx(share, abs=0.015)
    assert SCHEME.percentile(0.0) == 0.0
    assert SCHEME.percentile(1.0) == 1.0
    assert SCHEME.similarity_at(1.0) == 0.0


# P(X >= 8) and P(X >= 9) for X ~ Binomial(64, 1/16), by scipy.stats.binom.sf.
@pytest.mark.parametrize(("equal", "tail"), [(8, 0.045432558866887504), (9, 0.01767001531103044)])
def test_percentile_and_its_inverse(equal, tail):
    similarity = (equal - 4) / 60
    assert 1.0 - SCHEME.percentile(similarity) == pytest.approx(tail, rel=1e-6)
    assert SCHEME.similarity_at(tail * 1.0001) == similarity
    assert SCHEME.similarity_at(tail * 0.9999) == (equal - 3) / 60


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_shares_out_of_range_are_refused(value):
    with pytest.raises(InputError):
        SCHEME.percentile(value)
    with pytest.raises(InputError):
        SCHEME.similarity_at(value)

"""FingerprintIndex: blocks, ties, the file and what is refused; exactness is in property/."""

import numpy as np
import pytest

from qis.about import Fingerprint
from qis.errors import InputError, SchemeMismatchError, StorageError
from qis.fingerprint import FingerprintIndex, Scheme, SetScheme, VectorScheme
from qis.fingerprint._bit_index import _BLOCK

VECTORS = VectorScheme(dimensions=4)
SETS = SetScheme()


def random_fingerprints(scheme, count, seed=0):
    data = np.random.default_rng(seed).bytes(32 * count)
    return [Fingerprint(data[32 * i : 32 * (i + 1)], scheme.id) for i in range(count)]


@pytest.fixture
def index():
    index = FingerprintIndex(VECTORS)
    index.add(random_fingerprints(VECTORS, 20))
    return index


@pytest.mark.parametrize("scheme", [VECTORS, SETS], ids=["vectors", "sets"])
def test_over_several_blocks_it_finds_what_brute_force_finds(scheme):
    prints = random_fingerprints(scheme, 2 * _BLOCK + 5)
    index = FingerprintIndex(scheme)
    index.add(prints[:100])
    index.add(prints[100:])
    query = prints[_BLOCK + 1]
    ranked = sorted((-scheme.similarity(query, other), at) for at, other in enumerate(prints))
    assert index.search(query, 25) == [(at, -negative) for negative, at in ranked[:25]]
    least = -ranked[300][0]
    expected = [(at, -negative) for negative, at in ranked if -negative >= least]
    assert index.within(query, least) == expected


def test_a_complement_differs_in_256_bits_and_not_in_none():
    zeros, ones = (Fingerprint(byte * 32, VECTORS.id) for byte in (b"\x00", b"\xff"))
    index = FingerprintIndex(VECTORS)
    index.add([ones] * 3 + [zeros])
    assert index.search(zeros, 2) == [(3, 1.0), (0, 0.0)]
    assert index.within(zeros, 0.1) == [(3, 1.0)]
    assert index.within(zeros, 0.0) == [(3, 1.0), (0, 0.0), (1, 0.0), (2, 0.0)]


def test_equally_similar_ones_come_in_the_order_they_were_added():
    prints = random_fingerprints(SETS, 3)
    index = FingerprintIndex(SETS)
    index.add(prints * 40_000)
    assert [match.position for match in index.search(prints[1], 4)] == [1, 4, 7, 10]
    assert len(index.within(prints[1], 1.0)) == 40_000


def test_sets_that_share_less_than_chance_are_all_equally_far():
    planes = [byte + b"\xff" * 7 + bytes(24) for byte in (b"\xf1", b"\xff", b"\xf0")]
    far = [Fingerprint(sketch, SETS.id) for sketch in planes]  # 3, 0 and 4 equal fields of 64
    query = Fingerprint(bytes(32), SETS.id)
    assert [SETS.similarity(query, other) for other in far] == [0.0, 0.0, 0.0]
    index = FingerprintIndex(SETS)
    index.add(far)
    assert [match.position for match in index.search(query, 3)] == [0, 1, 2]


def test_positions_are_never_given_twice(index):
    query = random_fingerprints(VECTORS, 20)[7]
    assert index.search(query, 1) == [(7, 1.0)]
    index.remove([7, 19, 7])
    assert 7 not in index
    assert len(index) == 18
    assert index.search(query, 1)[0].position != 7
    assert index.add([query]) == range(20, 21)
    assert index.search(query, 1) == [(20, 1.0)]


@pytest.mark.parametrize("positions", [[20], [-1], [3, 99]])
def test_removing_what_is_not_there_removes_nothing(index, positions):
    with pytest.raises(InputError) as caught:
        index.remove(positions)
    assert caught.value.field == "positions"
    assert len(index) == 20


def test_an_empty_index_finds_nothing():
    index = FingerprintIndex(SETS)
    query = random_fingerprints(SETS, 1)[0]
    assert index.search(query, 3) == []
    assert index.within(query, 0.0) == []
    assert index.add([]) == range(0)


def test_fingerprints_of_another_scheme_are_refused(index):
    strangers = random_fingerprints(VectorScheme(dimensions=4, secret=bytes(32)), 1)
    own = random_fingerprints(VECTORS, 1)
    for refused in (
        lambda: index.add(own + strangers),
        lambda: index.search(strangers[0], 1),
        lambda: index.within(strangers[0], 0.5),
    ):
        with pytest.raises(SchemeMismatchError):
            refused()
    assert len(index) == 20


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None])
def test_k_is_a_whole_number_from_one_on(index, k):
    with pytest.raises(InputError):
        index.search(random_fingerprints(VECTORS, 1)[0], k)


@pytest.mark.parametrize("least", [-0.01, 1.01, float("nan")])
def test_a_similarity_out_of_range_is_refused(index, least):
    with pytest.raises(InputError):
        index.within(random_fingerprints(VECTORS, 1)[0], least)


def test_a_scheme_without_an_index_is_refused():
    class Strange(Scheme):
        fingerprints = base_keys = similarity = relevance = percentile = similarity_at = None

    with pytest.raises(InputError):
        FingerprintIndex(Strange(["strange"], secret=None))


def test_a_saved_index_goes_on_where_it_was(index, tmp_path):
    index.remove([19, 3])
    path = tmp_path / "index"
    path.write_bytes(b"older")
    index.save(path)
    loaded = FingerprintIndex.load(str(path), VECTORS)
    query = random_fingerprints(VECTORS, 1, seed=9)[0]
    assert loaded.search(query, 99) == index.search(query, 99)
    assert loaded.add([query]) == range(20, 21)


def test_a_file_that_is_torn_or_changed_anywhere_is_refused(index, tmp_path):
    path = tmp_path / "index"
    index.save(path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError) as caught:
            FingerprintIndex.load(path, VECTORS)
        assert caught.value.field == "path"
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(InputError):
            FingerprintIndex.load(path, VECTORS)
    path.write_bytes(whole + b"\x00")
    with pytest.raises(InputError):
        FingerprintIndex.load(path, VECTORS)


def test_a_file_of_another_scheme_and_a_missing_one_are_refused(index, tmp_path):
    index.save(tmp_path / "index")
    with pytest.raises(SchemeMismatchError):
        FingerprintIndex.load(tmp_path / "index", VectorScheme(dimensions=5))
    with pytest.raises(StorageError, match="No such file"):
        FingerprintIndex.load(tmp_path / "none", VECTORS)


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(index, tmp_path, monkeypatch):
    path = tmp_path / "index"
    index.save(path)
    before = path.read_bytes()
    index.remove([0])

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        index.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["index"]

"""Speed of fingerprints as ratios to peers, interleaved in one run.

``python benchmarks/fingerprint_speed.py [--json] [--threads N]`` needs datasketch, faiss-cpu and
threadpoolctl, which comes with scikit-learn (none of them a dependency of qis). BLAS and faiss run
with one thread: with more, on a busy machine, the raw product takes once or six times its time, as
its threads get their cores or not. `vector_batch_ratio`: 1,000 float32 vectors of 512 dimensions
against the raw float32 product of the same shape, `vector_batch64_ratio` with float64 vectors;
`vector_single_ratio`: one float32 vector. `term_vs_hashing`: a term fingerprint of 30 terms against
hashing 30 strings with BLAKE3. `set_vs_datasketch`: a set of 300 strings against update_batch with
128 permutations. `index_vs_faiss`: the 10 nearest of 10⁶ bit sketches against IndexBinaryFlat.
`term_index_ms`: the 10 nearest of 10⁵ term sketches.
"""

import argparse
import json
import math

import faiss
import numpy as np
from _ratio import median_seconds
from blake3 import blake3
from datasketch import MinHash
from threadpoolctl import threadpool_limits

from qis.fingerprint import (
    Fingerprint,
    FingerprintIndex,
    Ontology,
    SetScheme,
    TermScheme,
    VectorScheme,
)

MANY = 10**6
MANY_TERMS = 10**5


def vectors() -> dict[str, float]:
    """Batch and single, to the raw product."""
    rng = np.random.default_rng(1)
    scheme = VectorScheme(512)
    batch64 = rng.normal(size=(1000, 512))
    batch = batch64.astype(np.float32)
    single = batch[0].copy()
    planes = rng.choice(np.array([-1.0, 1.0], np.float32), size=(512, 256))
    seconds = median_seconds(
        {
            "product": lambda: batch @ planes,
            "batch": lambda: scheme.fingerprints(batch),
            "batch64": lambda: scheme.fingerprints(batch64),
        },
        calls=3,
        rounds=31,
    )
    alone = median_seconds(
        {"product": lambda: single @ planes, "single": lambda: scheme.fingerprint(single)},
        calls=200,
        rounds=31,
    )
    return {
        "vector_batch_ratio": seconds["batch"] / seconds["product"],
        "vector_batch64_ratio": seconds["batch64"] / seconds["product"],
        "vector_single_ratio": alone["single"] / alone["product"],
    }


def toy_ontology(size: int) -> Ontology:
    """A tree of terms, four below each, with information by the number below."""
    below = np.ones(size)
    for number in range(size - 1, 0, -1):
        below[(number - 1) // 4] += below[number]
    return Ontology(
        "toy",
        {f"T:{n}": [f"T:{(n - 1) // 4}"] for n in range(1, size)},
        {f"T:{n}": math.log(size + 1) - math.log(float(below[n])) for n in range(size)},
    )


def terms() -> dict[str, float]:
    """One fingerprint of 30 terms, and a search among many."""
    rng = np.random.default_rng(2)
    ontology = toy_ontology(20_000)
    scheme = TermScheme(ontology)
    some = [f"T:{n}" for n in rng.choice(20_000, 30, replace=False)]
    seconds = median_seconds(
        {
            "hashing": lambda: [blake3(term.encode()).digest() for term in some],
            "terms": lambda: scheme.fingerprint(some),
        },
        calls=200,
        rounds=31,
    )
    index = FingerprintIndex(scheme)
    sets = rng.integers(0, 20_000, size=(MANY_TERMS, 12))
    index.add(scheme.fingerprint([f"T:{n}" for n in row]) for row in sets.tolist())
    query = scheme.fingerprint(some)
    search = median_seconds({"search": lambda: index.search(query, 10)}, calls=5, rounds=15)
    return {
        "term_vs_hashing": seconds["terms"] / seconds["hashing"],
        "term_fingerprint_us": 1e6 * seconds["terms"],
        "term_index_ms": 1e3 * search["search"],
    }


def sets() -> dict[str, float]:
    """A set of 300 strings, to datasketch."""
    scheme = SetScheme()
    strings = [f"string {number}" for number in range(300)]
    encoded = [string.encode() for string in strings]

    empty = MinHash(num_perm=128)

    def peer() -> None:
        empty.copy().update_batch(encoded)

    seconds = median_seconds(
        {"datasketch": peer, "sets": lambda: scheme.fingerprint(strings)}, calls=50, rounds=31
    )
    return {"set_vs_datasketch": seconds["sets"] / seconds["datasketch"]}


def index(threads: int = 1) -> dict[str, float]:
    """The ten nearest of a million sketches, to faiss."""
    faiss.omp_set_num_threads(threads)
    rng = np.random.default_rng(3)
    sketches = rng.integers(0, 256, size=(MANY, 32), dtype=np.uint8)
    scheme = VectorScheme(8)
    ours = FingerprintIndex(scheme)
    ours.add(Fingerprint(row.tobytes(), scheme.id) for row in sketches)
    theirs = faiss.IndexBinaryFlat(256)
    theirs.add(sketches)
    query = rng.integers(0, 256, size=(1, 32), dtype=np.uint8)
    wanted = Fingerprint(query.tobytes(), scheme.id)
    distances, _ = theirs.search(query, 10)
    found = [round(256 * (1.0 - match.similarity)) for match in ours.search(wanted, 10)]
    if found != distances[0].tolist():
        raise AssertionError("the two indexes disagree")
    seconds = median_seconds(
        {"faiss": lambda: theirs.search(query, 10), "index": lambda: ours.search(wanted, 10)},
        calls=2,
        rounds=15,
    )
    return {"index_vs_faiss": seconds["index"] / seconds["faiss"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=1, help="of BLAS and faiss")
    options = parser.parse_args()
    with threadpool_limits(options.threads):
        results = {**vectors(), **sets(), **terms(), **index(options.threads)}
    if options.json:
        print(json.dumps(results))
        return
    for name, value in results.items():
        print(f"{name:24}{value:8.3f}")


if __name__ == "__main__":
    main()

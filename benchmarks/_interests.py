"""Who wants what in the routing benchmark: clustered sketches, skewed terms, published cases."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

from blake3 import blake3

from qis.about import SKETCH_SIZE, Fingerprint, Interest
from qis.fingerprint import Ontology, TermScheme

BANDS, BAND_BITS, RADIUS = 24, 5, 80
MANY = 30_000  # agents above which 42 bands of 6 bits are taken, as VectorScheme advises
SKETCH_BITS = 8 * SKETCH_SIZE
TERMS, TERM_KEYS, SKEW = 400, 8, 0.8


def bands_for(nodes: int) -> tuple[int, int]:
    """Bands and their bits for a network of this size."""
    return (42, 6) if nodes > MANY else (BANDS, BAND_BITS)


def closed_form(distance: int, bands: int = BANDS, bits: int = BAND_BITS) -> float:
    """Probability that two sketches at a distance share a band: 1 − (1 − (1 − d/256)^r)^L."""
    return 1 - (1 - (1 - distance / SKETCH_BITS) ** bits) ** bands


def clustered_sketches(count: int, rng: random.Random) -> list[int]:
    """Sketches in clusters of 5–50 at Hamming distances 5–100 from their centre."""
    sketches = []
    while len(sketches) < count:
        centre = rng.getrandbits(SKETCH_BITS)
        for _ in range(min(rng.randint(5, 50), count - len(sketches))):
            flips = rng.sample(range(SKETCH_BITS), rng.randint(5, 100))
            sketches.append(centre ^ sum(1 << bit for bit in flips))
    rng.shuffle(sketches)
    return sketches


def topic_sketches(count: int, rng: random.Random) -> list[int]:
    """Sketches at Hamming distances 5–60 from one centre."""
    centre = rng.getrandbits(SKETCH_BITS)
    flips = (rng.sample(range(SKETCH_BITS), rng.randint(5, 60)) for _ in range(count))
    return [centre ^ sum(1 << bit for bit in bits) for bits in flips]


def band_keys(sketch: int, bands: int = BANDS, bits: int = BAND_BITS) -> tuple[bytes, ...]:
    """One key a band, of the same bits as `VectorScheme` takes, hashed without its secret."""
    shifts = (SKETCH_BITS - (band + 1) * bits for band in range(bands))
    values = ((sketch >> shift) & ((1 << bits) - 1) for shift in shifts)
    return tuple(blake3(bytes([band, value])).digest(8) for band, value in enumerate(values))


def vector_interests(
    count: int, rng: random.Random, *, hot: int = 0, share_sketch: bool = True
) -> list[Interest]:
    """Interests in whatever differs in at most `RADIUS` bits; the first `hot` work on one topic."""
    return [
        Interest(
            Fingerprint(sketch.to_bytes(SKETCH_SIZE), b"clusters"),
            band_keys(sketch, *bands_for(count)),
            1.0 - RADIUS / SKETCH_BITS,
            share_sketch=share_sketch,
        )
        for sketch in topic_sketches(hot, rng) + clustered_sketches(count - hot, rng)
    ]


def audience(wanted: list[Interest], authors: list[Interest]) -> list[Interest | list[bytes]]:
    """The interests near to one of the authors' own, and nothing in place of the others."""
    centres = [int.from_bytes(author.fingerprint.sketch) for author in authors]

    def is_near(each: Interest) -> bool:
        sketch = int.from_bytes(each.fingerprint.sketch)
        return any((sketch ^ centre).bit_count() <= RADIUS for centre in centres)

    return [each if is_near(each) else [] for each in wanted]


def term_keys(count: int, rng: random.Random) -> list[list[bytes]]:
    """8 keys each of 400, the i-th by weight i^−0.8: 54 % of pairs share any, 40 % just one."""
    weights = [(i + 1) ** -SKEW for i in range(TERMS)]
    wanted = []
    for _ in range(count):
        keys: set[bytes] = set()
        while len(keys) < TERM_KEYS:
            keys.add(rng.choices(range(TERMS), weights)[0].to_bytes(8))
        wanted.append(sorted(keys))
    return wanted


class Cases:
    """Published rare-disease cases (phenopacket-store, BSD-3) and the HPO slice they use."""

    def __init__(self, folder: Path, limit: int, rng: random.Random) -> None:
        with gzip.open(folder / "hpo_slice.json.gz", "rt", encoding="utf-8") as file:
            content = json.load(file)
        terms = content["terms"]
        ontology = Ontology(
            f"hp/{content['meta']['hpo_version']}",
            {term: entry[3] for term, entry in terms.items()},
            {term: entry[1] for term, entry in terms.items()},
        )
        with gzip.open(folder / "dev.json.gz", "rt", encoding="utf-8") as file:
            cases: list[dict[str, Any]] = json.load(file)["cases"]
        cases = [case for case in cases if any(term in ontology for term in case["o"])]
        cases = rng.sample(cases, min(limit, len(cases)))
        self.disease = [case["d"] for case in cases]
        self.paper = [case["p"] for case in cases]
        scheme = TermScheme(ontology)
        self.interests = [
            scheme.interest(frozenset(t for t in case["o"] if t in ontology)) for case in cases
        ]

    def of_disease(self, case: int, *, other_papers: bool) -> set[int]:
        """The other cases of a case's disease, those of its own paper left out if so wished."""
        return {
            i
            for i, disease in enumerate(self.disease)
            if disease == self.disease[case]
            and i != case
            and not (other_papers and self.paper[i] == self.paper[case])
        }

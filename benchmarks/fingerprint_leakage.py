"""What can be read back from a fingerprint of a patient's terms, with and without a secret.

``python benchmarks/fingerprint_leakage.py --data DIR [--cases 8] [--json]``, data as for
fingerprint_quality.py. The attacker knows the ontology and the scheme's parameters, not the secret.
First, who knows some patients (own cases) reads the others: see `_known_patients`. Who knows none
links a patient who is published anew with one term less, and recognises common terms by their
frequency: see `_linking`. Each by level of routing keys, of sketches as they are (sealed) and as
they were (unsealed, their codes unknown), and for an epoch after the one that is known. Vectors of
others are rebuilt from known ones: see `_known_vectors`. Then a sketch of terms is decoded. Bits of
vectors (SimHash) and of sets (MinHash) are attacked greedily: the term whose addition makes the
attacker's own fingerprint agree most with the stolen one is added, until
none helps. Printed are the share of the patient's most specific terms that are found, and of those
found that are right; and the same where an ancestor or descendant counts as found.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _known_patients import known_figures
from _known_vectors import known_vector_figures, reduced
from _linking import unsecret_figures
from fingerprint_quality import PublishedCases

from qis.fingerprint import Fingerprint, Ontology, Scheme, SetScheme, TermScheme, VectorScheme

SECRET = bytes(range(32))
MOST_STEPS = 16
_CHUNK = 512
Terms = frozenset[str]


class Attack:
    """Greedy reconstruction of a set of terms from a fingerprint that is made of it."""

    def __init__(
        self, ontology: Ontology, make: Callable[[list[Terms]], Sequence[Fingerprint]]
    ) -> None:
        self._ontology = ontology
        self._make = make
        self._telling = [term for term in ontology.terms if ontology.information(term) > 0.0]

    def recover(self, stolen: Fingerprint) -> Terms:
        """The terms that the attacker believes are in it."""
        target = np.frombuffer(stolen.sketch, np.uint8)
        found: Terms = frozenset()
        agreement = 0
        for _ in range(MOST_STEPS):
            agreements = self._agreements(found, target)
            best = int(agreements.argmax())
            if agreements[best] <= agreement:
                break
            agreement, found = int(agreements[best]), found | {self._telling[best]}
        return self._ontology.most_specific(found)

    def _agreements(self, found: Terms, target: Any) -> Any:
        """Bits that agree once a term is added, for each telling term."""
        made = []
        for start in range(0, len(self._telling), _CHUNK):
            made += self._make([found | {term} for term in self._telling[start : start + _CHUNK]])
        sketches = np.frombuffer(b"".join(each.sketch for each in made), np.uint8)
        bits = sketches.reshape(len(made), -1) ^ target
        return 256 - np.bitwise_count(bits).sum(axis=1, dtype=np.int64)


class VectorAttack(Attack):
    """The same for vectors, whose heights over the planes add up: a term's to those of the others.

    That the scheme rounds them is left out, which changes a few bits.
    """

    def __init__(self, ontology: Ontology) -> None:
        scheme = VectorScheme(len(ontology))
        super().__init__(ontology, lambda sets: scheme.fingerprints(vectors_of(ontology, sets)))
        self._row = {term: number for number, term in enumerate(ontology.terms)}
        weights = np.array([ontology.information(term) for term in ontology.terms])
        self._heights = np.asarray(scheme._planes * weights[:, None], np.float32)  # noqa: SLF001
        implied = [[self._row[each] for each in ontology.closure([t])] for t in self._telling]
        self._implied = np.concatenate(implied)
        self._starts = np.cumsum([0, *map(len, implied[:-1])])
        some = self._telling[:: len(self._telling) // 8]
        for term in some:  # what is added up is what the library makes
            (made,) = self._make([frozenset(some) | {term}])
            agreements = self._agreements(frozenset(some), np.frombuffer(made.sketch, np.uint8))
            if agreements[self._telling.index(term)] < 250:
                raise AssertionError("the attack computes other vectors than the library")

    def _agreements(self, found: Terms, target: Any) -> Any:
        is_in = np.zeros(len(self._row), np.float32)
        is_in[[self._row[each] for each in self._ontology.closure(found)]] = 1.0
        added = self._heights[self._implied] * (1.0 - is_in[self._implied, None])
        heights = is_in @ self._heights + np.add.reduceat(added, self._starts, axis=0)
        return ((heights > 0.0) == (np.unpackbits(target) > 0)).sum(axis=1)


def vectors_of(ontology: Ontology, sets: Iterable[Terms]) -> Any:
    """Information of the ancestor-closed terms, shape (sets, terms)."""
    column = {term: number for number, term in enumerate(ontology.terms)}
    sets = list(sets)
    rows = np.zeros((len(sets), len(column)), np.float32)
    for row, terms in zip(rows, sets, strict=True):
        for term in ontology.closure(terms):
            row[column[term]] = ontology.information(term)
    return rows


def figures(cases: PublishedCases, count: int) -> dict[str, dict[str, float]]:
    """Recall and precision of each attack."""
    ontology = cases.ontology
    several = [terms for terms in cases.terms if 5 <= len(ontology.most_specific(terms)) <= 15]
    patients = several[:: max(len(several) // count, 1)][:count]
    found: dict[str, list[Terms]] = {}
    for name, secret in (("without a secret", None), ("with a secret", SECRET)):
        theirs = TermScheme(ontology, secret=secret)
        ours = TermScheme(ontology)
        found[f"terms, {name}"] = [
            frozenset(ours.terms_of(Fingerprint(_carried(theirs, f).sketch, ours.id)))
            for f in theirs.fingerprints(patients)
        ]
        vectors = VectorScheme(len(ontology), secret=secret)
        attack = VectorAttack(ontology)
        found[f"vectors, {name}"] = [
            attack.recover(_carried(vectors, f))
            for f in vectors.fingerprints(vectors_of(ontology, patients))
        ]
        sets = SetScheme(secret=secret)
        attack = Attack(ontology, _guessing_sets(ontology))
        found[f"sets, {name}"] = [
            attack.recover(_carried(sets, sets.fingerprint(ontology.closure(p)))) for p in patients
        ]
    return {name: _scored(ontology, patients, guesses) for name, guesses in found.items()}


def _carried(scheme: Scheme[Any], fingerprint: Fingerprint) -> Fingerprint:
    """The fingerprint as a packet carries it."""
    return scheme.seal(fingerprint, bytes(32), 2**32)


def _guessing_sets(ontology: Ontology) -> Callable[[list[Terms]], Sequence[Fingerprint]]:
    scheme = SetScheme()
    return lambda sets: scheme.fingerprints([ontology.closure(terms) for terms in sets])


def _scored(ontology: Ontology, patients: list[Terms], guesses: list[Terms]) -> dict[str, float]:
    exact = near = said = near_said = total = 0
    for patient, guess in zip(patients, guesses, strict=True):
        truth = ontology.most_specific(patient)
        total += len(truth)
        said += len(guess)
        exact += len(truth & guess)
        related = [
            (t, g)
            for t in truth
            for g in guess
            if t in ontology.closure([g]) or g in ontology.closure([t])
        ]
        near += len({t for t, _ in related})
        near_said += len({g for _, g in related})
    return {
        "recall": exact / total,
        "precision": exact / max(said, 1),
        "recall_of_relatives": near / total,
        "precision_of_relatives": near_said / max(said, 1),
    }


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=8)
    options = parser.parse_args()
    cases = PublishedCases(options.data, None)
    cells = cases.cells()
    known = known_figures(cases.ontology, cases.terms, cells)
    known |= unsecret_figures(cases.ontology, cases.terms, cells)
    known |= known_vector_figures(reduced(vectors_of(cases.ontology, cases.terms)))
    if options.json:
        found = figures(cases, options.cases)
        flat = {
            f"{name.replace(', ', '_').replace(' ', '_')}_{key}": value
            for name, scores in found.items()
            for key, value in scores.items()
        }
        print(json.dumps({**known, **flat}))
        return
    for name, share in known.items():
        print(f"{name:40}{share:.3f}")
    results = figures(cases, options.cases)
    for name, scores in results.items():
        numbers = "  ".join(f"{key} {value:.2f}" for key, value in scores.items())
        print(f"{name:28}{numbers}")


if __name__ == "__main__":
    main()

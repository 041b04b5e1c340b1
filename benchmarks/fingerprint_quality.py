"""Do fingerprints find the right peers? Published rare-disease cases look for their disease.

``python benchmarks/fingerprint_quality.py --data DIR [--json] [--cases N]``, where DIR has the
files of 4,947 published cases (phenopacket-store, BSD-3) and the slice of the Human Phenotype
Ontology that they use; docs/fingerprints.md says how to make them.

A case ranks all others; relevant are those of the same disease *from other papers*, and the cases
of its own paper are left out, since one curator's vocabulary would be found again. The ceiling is
the exact cosine over ancestor-closed terms weighted by information content, on all terms. Routing:
recall is the share of such pairs that have a routing key in common, candidates that of all pairs.
A reader's list is ordered by relevance; its gain over that cosine has 95 % intervals (bootstrap of
whole diseases). Weights were chosen on diseases with an even number: `_odd` are the others, which
were looked at along the way but not chosen on.
Three seeds change the hyperplanes, the hash functions and the secret; sketches of terms do not
depend on them.
"""

import argparse
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from _known_patients import known_figures
from _ranking import (
    Ranking,
    best_matches,
    calibration_slope,
    interval,
    let_go,
    mate_in_first,
    ranking,
    relevances,
)
from _releases import release_identical
from numpy.typing import NDArray

from qis.fingerprint import (
    Cells,
    Fingerprint,
    LoadBudget,
    NearestCells,
    Ontology,
    TermScheme,
    VectorScheme,
    build_cells,
)

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
CELL_KEYS = (6, 8, 12)
SEEDS = (1, 2, 3)


class PublishedCases:
    """The cases with their diseases and papers, and the ontology."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        with gzip.open(folder / "hpo_slice.json.gz", "rt", encoding="utf-8") as file:
            content = json.load(file)
        terms = content["terms"]
        self.parents = {term: entry[3] for term, entry in terms.items()}
        self.ontology = Ontology(
            f"hp/{content['meta']['hpo_version']}",
            self.parents,
            {term: entry[1] for term, entry in terms.items()},
            names={term: entry[0] for term, entry in terms.items()},
        )
        with gzip.open(folder / "dev.json.gz", "rt", encoding="utf-8") as file:
            cases = json.load(file)["cases"]
        cases = [case for case in cases if any(t in self.ontology for t in case["o"])][:limit]
        self.terms = [frozenset(t for t in case["o"] if t in self.ontology) for case in cases]
        self.disease = np.array([case["d"] for case in cases])
        self.papers = paper = np.array([case["p"] for case in cases])
        self.other_paper = paper[:, None] != paper[None, :]
        self.relevant = self.other_paper & (self.disease[:, None] == self.disease[None, :])
        of = {name: len(set(paper[self.disease == name])) for name in set(self.disease.tolist())}
        self._papers = np.array([of[name] for name in self.disease.tolist()])
        self._profiles = folder / "hpoa_profiles.json.gz"

    def cells(self, count: int = 512) -> Cells:
        """Cells of the published profiles of all other diseases than the cases'."""
        with gzip.open(self._profiles, "rt", encoding="utf-8") as file:
            profiles = json.load(file)["profiles"]
        others = {name: profiles[name] for name in profiles.keys() - set(self.disease.tolist())}
        return build_cells(self.ontology, others, source="HPO annotations", count=count)

    def __len__(self) -> int:
        return len(self.terms)

    def matrix(self, sets: list[frozenset[str]], weight: Callable[[str], float]) -> Floats:
        """Unit rows over the ancestor-closed terms, shape (cases, terms)."""
        column = {term: number for number, term in enumerate(self.ontology.terms)}
        rows = np.zeros((len(sets), len(column)), np.float32)
        for row, terms in zip(rows, sets, strict=True):
            for term in self.ontology.closure(terms):
                row[column[term]] = weight(term)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths > 0.0, lengths, 1.0)

    def shares_key(self, keys: list[tuple[bytes, ...]]) -> Flags:
        """Whether two cases have a key in common, shape (cases, cases)."""
        column = {
            key: number for number, key in enumerate(sorted({k for some in keys for k in some}))
        }
        rows = np.zeros((len(keys), len(column)), np.float32)
        for row, own in zip(rows, keys, strict=True):
            row[[column[key] for key in own]] = 1.0
        return rows @ rows.T > 0.0

    def ranking(self, scores: Floats) -> Ranking:
        """How the list of each case that has a mate is ordered; `scores[query, other]`."""
        return ranking(scores, self.relevant, self.other_paper)

    def queries(self) -> NDArray[np.intp]:
        """The cases that have a mate in another paper, in the order of a `Ranking`."""
        return np.flatnonzero(self.relevant.any(axis=1))

    def routing(self, shares: Flags) -> "Routing":
        """What sharing a key finds, and what it costs; `shares` is as `shares_key` says."""
        queries = self.queries()
        recalls = np.array([shares[query][self.relevant[query]].mean() for query in queries])
        diseases = [recalls[self.disease[queries] == name] for name in set(self.disease[queries])]
        pairs = len(self) * (len(self) - 1)
        return Routing(
            by_query=float(recalls.mean()),
            by_disease=fmean(float(of.mean()) for of in diseases),
            by_pair=float(shares[self.relevant].mean()),
            two_papers=float(recalls[self._papers[queries] == 2].mean()),
            no_mate=float((recalls == 0.0).mean()),
            touched=float(shares.sum() - np.trace(shares)) / pairs,
        )


class Routing(NamedTuple):
    """Recall of the cases of one's disease in other papers, and the load."""

    by_query: float
    """Mean over patients."""
    by_disease: float
    """Mean over diseases of the mean over their patients."""
    by_pair: float
    """Over pairs: diseases with many cases count most."""
    two_papers: float
    """Mean over patients whose disease is known from two papers only."""
    no_mate: float
    """Share of patients who find nobody though there is somebody."""
    touched: float
    """Share of all pairs that have a key in common."""


def term_figures(folder: Path, limit: int | None = None) -> dict[str, float]:
    """Of term sketches and routing keys only; the first are those that bars are set for."""
    return _term_figures(PublishedCases(folder, limit))[0]


def draw_routing(folder: Path, path: Path) -> list[tuple[float, float, float, float]]:
    """Recall against the share of pairs touched, by budget and target; drawn as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  the extra [plot]

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "qis"
    cases = PublishedCases(folder, None)
    rows = []
    figure, axes = plt.subplots(figsize=(5.6, 3.6))
    scheme = TermScheme(cases.ontology)
    for target, colour in ((3.5, "#999999"), (4.0, "#1f4e8c"), (5.5, "#b3622d")):
        points = []
        for budget in (0.1, 0.25, 0.5, 1.0, 1.5, 2.0):
            level = LoadBudget(budget, target)
            keys = [scheme.routing_keys(terms, levels=[level]) for terms in cases.terms]
            found = cases.routing(cases.shares_key(keys))
            rows.append((target, budget, found.by_query, found.touched))
            points.append((100.0 * found.touched, found.by_query))
            axes.annotate(f"{budget:g}", points[-1], xytext=(4, -9), textcoords="offset points")
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=f"target {target:g} nats")
    axes.set_xlabel("agents touched, per cent of all pairs")
    axes.set_ylabel("recall of same-disease cases")
    axes.set_xlim(0.0, 25.0)
    axes.set_ylim(0.0, 1.0)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return rows


def _term_figures(cases: PublishedCases) -> tuple[dict[str, float], Floats]:
    ontology = cases.ontology
    scheme = TermScheme(ontology)
    exact = cases.matrix(cases.terms, cache(ontology.information))
    cosines = exact @ exact.T
    ceiling = cases.ranking(cosines)

    @cache
    def weight(term: str) -> float:
        own, added = ontology.steps(term)
        return float(np.sqrt(own * added))

    full = cases.matrix(cases.terms, weight)
    prints = scheme.fingerprints(cases.terms)
    written = [frozenset(scheme.terms_of(f)) for f in prints]
    held = cases.matrix(written, weight)
    own = [frozenset(scheme.resolve(terms).terms) for terms in cases.terms]
    has = cases.matrix(written, lambda _: 1.0).T > 0.0
    scores = relevances(full @ held.T, best_matches(ontology, own, has))
    _require_same(cases, scheme, prints, scores)
    relevance = cases.ranking(scores)
    keys = [scheme.routing_keys(terms) for terms in cases.terms]
    shares = cases.shares_key(keys)
    found = cases.routing(shares)
    few = let_go(scores, cases.relevant, shares & cases.other_paper)
    results = {
        **_gains(cases, ceiling, relevance, scores),
        "mate_in_first_10": mate_in_first(scores, cases.relevant, shares & cases.other_paper),
        "top_10_missing_after_withdrawals": few.missing,
        "mate_in_first_10_after_withdrawals": few.mate_kept_all,
        "mate_in_top_10_after_withdrawals": few.mate_let_go,
        "default_wire_touched": found.touched,
        "default_recall_delivered": found.by_query,
        "default_recall_by_disease": found.by_disease,
        "default_recall_by_pair": found.by_pair,
        "default_recall_two_papers": found.two_papers,
        "no_mate_fraction": found.no_mate,
        "ceiling_map": ceiling.mean,
        "ceiling_map_by_disease": _by_disease(cases, ceiling),
        "term_relevance_map": relevance.mean,
        "term_relevance_map_by_disease": _by_disease(cases, relevance),
        "cosine_relevance_map": cases.ranking(full @ held.T).mean,
        "term_similarity_map": cases.ranking(held @ held.T).mean,
    }
    return results, full


def cell_figures(cases: PublishedCases, cells: Cells) -> dict[str, float]:
    """What cells bring and cost, by the number of keys."""
    scheme = TermScheme(cases.ontology)
    results = {}
    for keys in CELL_KEYS:
        level = NearestCells(cells, keys)
        of_all = [scheme.routing_keys(terms, levels=[level]) for terms in cases.terms]
        found = cases.routing(cases.shares_key(of_all))
        name = f"cells_{len(cells)}x{keys}"
        results[f"{name}_recall"] = found.by_query
        results[f"{name}_recall_by_disease"] = found.by_disease
        results[f"{name}_recall_by_pair"] = found.by_pair
        results[f"{name}_recall_two_papers"] = found.two_papers
        results[f"{name}_no_mate"] = found.no_mate
        results[f"{name}_touched"] = found.touched
    return results


def _gains(
    cases: PublishedCases, theirs: Ranking, ours: Ranking, scores: Floats
) -> dict[str, float]:
    """What the relevance adds to the exact cosine, with the lower ends of 95 % intervals."""
    queries = cases.queries()
    is_even = np.array([int(name.split(":")[1]) % 2 == 0 for name in cases.disease])
    found = {}
    for name, gain in (
        ("map", ours.precision - theirs.precision),
        ("top1", ours.is_first.astype(float) - theirs.is_first),
    ):
        found[f"{name}_minus_cosine"] = float(gain.mean())
        found[f"{name}_minus_cosine_low"] = interval(gain, cases.disease[queries])[0]
        others = ~is_even[queries]
        if others.any():
            found[f"{name}_minus_cosine_odd"] = float(gain[others].mean())
            found[f"{name}_minus_cosine_odd_low"] = interval(
                gain[others], cases.disease[queries][others]
            )[0]
    everywhere = np.ones(len(cases), bool)
    for name, rows in (("", everywhere), ("_odd", ~is_even)):
        if (rows & cases.relevant.any(axis=1)).any():
            slope = calibration_slope(scores, cases.relevant, cases.other_paper, rows)
            found[f"likelihood_slope{name}"] = slope
    return found


def _require_same(
    cases: PublishedCases, scheme: TermScheme, prints: list[Fingerprint], scores: Floats
) -> None:
    """What was computed with matrices is what the library gives."""
    rng = np.random.default_rng(1)
    for one, other in rng.integers(0, len(cases), size=(200, 2)).tolist():
        given = scheme.relevance(cases.terms[one], prints[other])
        if abs(given - scores[one, other]) > 1e-4 and given < 1.0:
            raise AssertionError(f"relevance of {one} and {other}: {given}, {scores[one, other]}")


def figures(folder: Path, limit: int | None = None) -> dict[str, float]:
    """All figures."""
    cases = PublishedCases(folder, limit)
    cells = cases.cells()
    found, full = _term_figures(cases)
    known = known_figures(cases.ontology, cases.terms, cells)
    # Codes of noise are by chance those of a term once in some 15,000 times; printed as it is seen.
    known["known_50_read_sketch"] = round(known["known_50_read_sketch"], 3)
    return {
        **found,
        **cell_figures(cases, cells),
        **known,
        **vector_recall(full),
        **hashed_figures(cases),
        **_with_help(cases),
    }


def _with_help(cases: PublishedCases) -> dict[str, float]:
    """Figures that need something else: what is missing is said, and the others are given."""
    found = {}
    try:
        found["release_identical"] = release_identical(cases.terms[::2])
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no release_identical: pip has not installed pyhpo: {error}", file=sys.stderr)
    try:
        from fingerprint_speed import index  # noqa: PLC0415  imports peers
    except ImportError as error:
        print(f"no index_vs_faiss: {error} (extra [bench])", file=sys.stderr)
    else:
        found.update(index())
    return found


def vector_recall(vectors: Floats, count: int = 10) -> dict[str, float]:
    """Share of the vectors nearest by cosine that are nearest by sketches, mean over 500 rows.

    By `relevance`, which knows the reader's vector in full, and by `similarity` of two sketches.
    """
    scheme = VectorScheme(vectors.shape[1])
    chosen = np.unique(vectors, axis=0)
    rows = np.random.default_rng(1).permutation(len(chosen))[:500]
    prints = scheme.fingerprints(chosen)
    sketches = np.frombuffer(b"".join(each.sketch for each in prints), np.uint8)
    signs = np.unpackbits(sketches.reshape(-1, 32), axis=1).astype(np.float32) * 2.0 - 1.0
    planes = scheme._planes  # noqa: SLF001  checked below against `relevance`
    found: dict[str, list[float]] = {"vector_recall_at_10": [], "vector_recall_at_10_bits": []}
    for number, row in enumerate(rows.tolist()):
        exact = chosen @ chosen[row]
        exact[row] = -np.inf
        nearest = set(np.argsort(-exact, kind="stable")[:count].tolist())
        heights = np.asarray(chosen[row] @ planes, np.float32)
        scores = dict(zip(found, (signs @ heights, signs @ signs[row]), strict=True))
        if number < 2:  # what was computed with matrices is what the library gives
            order = np.argsort(-scores["vector_recall_at_10"])[:50].tolist()
            given = [scheme.relevance(chosen[row], prints[other]) for other in order]
            if np.max(np.diff(given)) > 1e-6:
                raise AssertionError("relevance orders otherwise")
        for name, ours in scores.items():
            ours[row] = -np.inf
            seen = set(np.argsort(-ours, kind="stable")[:count].tolist())
            found[name].append(len(nearest & seen) / count)
    return {name: fmean(values) for name, values in found.items()}


def hashed_figures(cases: PublishedCases) -> dict[str, float]:
    """Codes of 20 bits, as other vocabularies than HPO have them (OMOP, SNOMED CT), of HPO's terms.

    The loss is against codes that are one to one.
    """
    ontology = cases.ontology
    other = Ontology(
        ontology.release,
        cases.parents,
        {term: ontology.information(term) for term in ontology.terms},
        vocabulary="hashed",
    )
    found = {}
    for name, scheme in (("blocks", TermScheme(ontology)), ("hashed", TermScheme(other))):
        written = [frozenset(scheme.terms_of(each)) for each in scheme.fingerprints(cases.terms)]
        weight = cache(lambda term: float(np.sqrt(np.prod(ontology.steps(term), dtype=float))))
        held = cases.matrix(written, weight)
        found[name] = cases.ranking(held @ held.T).mean
    return {
        "hashed_similarity_map": found["hashed"],
        "hashed_loss": found["blocks"] - found["hashed"],
    }


def _by_disease(cases: PublishedCases, found: Ranking) -> float:
    """Every disease counts once, however many cases it has."""
    groups: dict[str, list[float]] = {}
    for query, score in zip(cases.queries().tolist(), found.precision.tolist(), strict=True):
        groups.setdefault(str(cases.disease[query]), []).append(score)
    return fmean(fmean(group) for group in groups.values())


def peers(folder: Path, limit: int | None = None) -> dict[str, float]:
    """SimHash and MinHash of the same terms, median of the seeds."""
    cases = PublishedCases(folder, limit)
    full = _term_figures(cases)[1]
    simhash: list[float] = []
    minhash: list[float] = []
    for seed in SEEDS:
        vectors = VectorScheme(len(cases.ontology), secret=bytes([seed]) * 32)
        sketches = b"".join(f.sketch for f in vectors.fingerprints(full))
        bits = np.unpackbits(np.frombuffer(sketches, np.uint8).reshape(len(cases), 32), axis=1)
        signs = bits.astype(np.float32) * 2.0 - 1.0
        simhash.append(cases.ranking(signs @ signs.T).mean)
        minhash.append(cases.ranking(_minhash(cases, seed)).mean)
    return {"simhash_map": float(np.median(simhash)), "minhash128_map": float(np.median(minhash))}


def _minhash(cases: PublishedCases, seed: int) -> Floats:
    """Shares of equal values of datasketch's MinHash of 128 permutations, on closed sets."""
    from datasketch import MinHash  # noqa: PLC0415  a peer, not a dependency

    rows = []
    for terms in cases.terms:
        minhash = MinHash(num_perm=128, seed=seed)
        minhash.update_batch([term.encode() for term in sorted(cases.ontology.closure(terms))])
        rows.append(minhash.hashvalues)
    values = np.array(rows)
    equal = np.zeros((len(rows), len(rows)), np.float32)
    for column in values.T:
        equal += column[:, None] == column[None, :]
    return equal / 128.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--draw", type=Path, help="only draw recall against load, to this SVG")
    parser.add_argument("--peers", action="store_true", help="SimHash and MinHash instead")
    options = parser.parse_args()
    if options.draw is not None:
        for target, budget, recall, touched in draw_routing(options.data, options.draw):
            print(f"target {target:g}, budget {budget:g}: {recall:.3f}, touched {touched:.4f}")
        return
    results = (peers if options.peers else figures)(options.data, options.cases)
    if options.json:
        print(json.dumps(results))
        return
    for name, value in results.items():
        print(f"{name:40}{value:8.4f}")


if __name__ == "__main__":
    main()

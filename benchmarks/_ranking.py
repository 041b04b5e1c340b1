"""How well the reader's list is ordered, against the exact cosine, with intervals by disease."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.fingerprint import Ontology
from qis.fingerprint.matching import joined, likelihood_ratio

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
_DRAWS = 2_000
_OTHERS = 60
"""Pairs of other diseases that are drawn for each patient, for the calibration."""


def best_matches(ontology: Ontology, own: Sequence[frozenset[str]], theirs: Flags) -> Floats:
    """`best_match` of every case's terms in what every case has, shape (cases, cases).

    Parameters
    ----------
    own
        Terms of each case, those that are used.
    theirs
        Whether a case has a term, itself or implied; shape (terms of the ontology, cases).

    """
    column = {term: number for number, term in enumerate(ontology.terms)}
    met: dict[str, Floats] = {}
    found = np.zeros((len(own), theirs.shape[1]), np.float32)
    for number, terms in enumerate(own):
        telling = sorted(ontology.most_specific(terms))
        for term in telling:
            if term not in met:
                above = sorted(ontology.closure((term,)))
                worth = np.array([ontology.steps(each)[0] for each in above], np.float32)
                has = theirs[[column[each] for each in above]]
                met[term] = (has * worth[:, None]).max(axis=0)
            found[number] += met[term]
        found[number] /= max(sum(ontology.steps(term)[0] for term in telling), 1)
    return found


def relevances(cosines: Floats, best: Floats) -> Floats:
    """The relevance that `TermScheme.relevance` gives, of all pairs."""
    both: Any = (cosines, best)
    return np.asarray(joined(*both), np.float32)


class Ranking(NamedTuple):
    """Of each patient who has a mate in another paper."""

    precision: NDArray[np.float64]
    """Average precision of the list of all."""
    is_first: Flags
    """Whether a mate is on top."""

    @property
    def mean(self) -> float:
        """Mean average precision."""
        return float(self.precision.mean())


def ranking(scores: Floats, relevant: Flags, others: Flags) -> Ranking:
    """Order all others of each patient; `relevant` and `others` have shape (cases, cases)."""
    precision, first = [], []
    for query in np.flatnonzero(relevant.any(axis=1)).tolist():
        order = np.argsort(-np.where(others[query], scores[query], -np.inf), kind="stable")
        is_mate = relevant[query][order]
        hits = np.flatnonzero(is_mate)
        precision.append(float(np.mean(np.arange(1, len(hits) + 1) / (hits + 1))))
        first.append(bool(is_mate[0]))
    return Ranking(np.array(precision), np.array(first))


def mate_in_first(scores: Floats, relevant: Flags, delivered: Flags, count: int = 10) -> float:
    """Share of patients with a mate in the first of what was delivered, most relevant first."""
    found = []
    for query in np.flatnonzero(relevant.any(axis=1)).tolist():
        order = np.argsort(-np.where(delivered[query], scores[query], -np.inf), kind="stable")
        first = order[:count]
        found.append(bool((relevant[query][first] & delivered[query][first]).any()))
    return float(np.mean(found))


class LetGo(NamedTuple):
    """What an interest loses that holds only the best few, once some packets are withdrawn."""

    missing: float
    """Share of the list that is missing, mean over patients."""
    mate_kept_all: float
    """Share of patients with a mate on the list of an interest that holds all that came."""
    mate_let_go: float
    """The same of one that has let go of all but the best few of what had come."""


def let_go(
    scores: Floats,
    relevant: Flags,
    delivered: Flags,
    count: int = 10,
    withdrawn: float = 0.1,
) -> LetGo:
    """Order what was delivered to each patient, before and after some of all packets go."""
    is_gone = np.random.default_rng(1).random(len(scores)) < withdrawn
    missing, kept_all, few = [], [], []
    for query in np.flatnonzero(relevant.any(axis=1)).tolist():
        came = np.flatnonzero(delivered[query])
        order = came[np.argsort(-scores[query, came], kind="stable")]
        held = order[:count][~is_gone[order[:count]]]
        first = order[~is_gone[order]][:count]
        missing.append(1.0 - len(held) / max(len(first), 1))
        kept_all.append(bool(relevant[query][first].any()))
        few.append(bool(relevant[query][held].any()))
    return LetGo(float(np.mean(missing)), float(np.mean(kept_all)), float(np.mean(few)))


def interval(differences: NDArray[Any], diseases: NDArray[Any]) -> tuple[float, float]:
    """95 % interval of the mean over patients; whole diseases are drawn again (bootstrap)."""
    _, group = np.unique(diseases, return_inverse=True)
    sums = np.bincount(group, weights=differences)
    sizes = np.bincount(group)
    drawn = np.random.default_rng(1).integers(0, len(sums), size=(_DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def calibration_slope(scores: Floats, relevant: Flags, others: Flags, rows: Flags) -> float:
    """Slope of the log odds of "same disease" over ln of the likelihood ratio; 1 is perfect.

    Logistic regression; each patient counts once, with as much weight for pairs of one disease as
    for pairs of two. `rows` says which patients count, shape (cases,).
    """
    rng = np.random.default_rng(1)
    logs, labels, weights = [], [], []
    for query in np.flatnonzero(rows & relevant.any(axis=1)).tolist():
        mates = np.flatnonzero(relevant[query])
        strangers = np.flatnonzero(others[query] & ~relevant[query])
        strangers = strangers[rng.integers(0, len(strangers), _OTHERS)]
        for chosen, label in ((mates, 1.0), (strangers, 0.0)):
            logs += [np.log(likelihood_ratio(float(score))) for score in scores[query, chosen]]
            labels += [label] * len(chosen)
            weights += [1.0 / len(chosen)] * len(chosen)
    matrix = np.column_stack([np.ones(len(logs)), logs])
    label, weight = np.array(labels), np.array(weights)
    fitted = np.array([0.0, 1.0])
    for _ in range(30):  # Newton's steps
        chance = 1.0 / (1.0 + np.exp(-matrix @ fitted))
        gradient = matrix.T @ (weight * (label - chance))
        information = (matrix * (weight * chance * (1.0 - chance))[:, None]).T @ matrix
        fitted = fitted + np.linalg.solve(information, gradient)
    return float(fitted[1])

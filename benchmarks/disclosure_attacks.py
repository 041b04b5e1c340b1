"""How well members of a site are told from others by score and information, by people and size.

Two attacks on packets as they travel, with features normal or yes/no, taken at a zero anchor. The
attacker knows the population and one record:

- sums: the likelihood ratio of two normal laws of the sums (Sankararaman et al. 2009);
- shape: that of two Wishart laws of the information, bordered by the score: exact for normal
  features, and stronger where people are few, because a member's leverage is never above 1.

Beside them what `qis.disclosure.membership_auc` predicts from the numbers of numbers and people.

    python benchmarks/disclosure_attacks.py --json
"""

import argparse
import json

import numpy as np
from numpy.typing import NDArray

from qis.disclosure import membership_auc
from qis.errors import InputError
from qis.outcomes import QuadraticLikelihood

Floats = NDArray[np.float64]

SIZES = (2, 4, 8, 14)
RATIOS = (1, 2, 5, 10, 20)
POPULATION = 50_000


def auc(members: list[float], others: list[float]) -> float:
    """Area under the ROC curve, ties counted half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, "left")
    return float((below + np.searchsorted(ordered, members, "right")).mean() / 2 / len(others))


def people(random: np.random.Generator, n: int, size: int, *, yes_no: bool) -> tuple[Floats, ...]:
    """Features, the first one for all, and labels."""
    drawn = random.normal(size=(n, size - 1))
    if yes_no:
        drawn = (drawn > 0.0).astype(float)
    x = np.column_stack([np.ones(n), drawn])
    chance = 1.0 / (1.0 + np.exp(-x @ np.full(size, 0.3)))
    return x, (random.random(n) < chance).astype(float)


def terms(x: Floats, y: Floats) -> Floats:
    """What each person adds to score and information."""
    rows, columns = np.tril_indices(x.shape[1])
    return np.column_stack([(y - 0.5)[:, None] * x, 0.25 * x[:, rows] * x[:, columns]])


def bordered(x: Floats, y: Floats) -> Floats:
    """Features and, as one more, the residual at a zero anchor."""
    return np.column_stack([x, y - 0.5])


class Sums:
    """The first attack."""

    def __init__(self, x: Floats, y: Floats) -> None:
        sample = terms(x, y)
        self.mean = sample.mean(axis=0)
        self.inverse = np.linalg.pinv(np.cov(sample.T), rcond=1e-9)

    def scores(self, packet: QuadraticLikelihood, x: Floats, y: Floats) -> Floats:
        """Log-likelihood ratio of each record, but for a constant."""
        lower = np.tril_indices(x.shape[1])
        total = np.concatenate([packet.score, packet.information[lower]])
        off = terms(x, y) - self.mean
        pull = off @ self.inverse
        ratio: Floats = pull @ (total - packet.n * self.mean) - 0.5 * (pull * off).sum(axis=1)
        return ratio


class Shape:
    """The second attack."""

    def __init__(self, x: Floats, y: Floats) -> None:
        sample = bordered(x, y)
        self.inverse = np.linalg.pinv(sample.T @ sample / len(sample))

    def scores(self, packet: QuadraticLikelihood, x: Floats, y: Floats) -> Floats:
        """Log-likelihood ratio of each record; who cannot be a member comes last."""
        table = np.block([[4.0 * packet.information, packet.score[:, None]],
                          [packet.score[None, :], np.array([[packet.n / 4.0]])]])  # fmt: skip
        inverse = np.linalg.pinv(table, rcond=1e-6, hermitian=True)
        rows = bordered(x, y)
        leverage = (rows @ inverse * rows).sum(axis=1)
        missed = rows - rows @ inverse @ table
        outside = (missed**2).sum(axis=1) > 1e-3 * (rows**2).sum(axis=1)
        left = np.maximum(1.0 - leverage, 1e-6)
        freedom = packet.n - len(table) - 1
        ratio = 0.5 * freedom * np.log(left) + 0.5 * (rows @ self.inverse * rows).sum(axis=1)
        return np.where(outside | (leverage > 1.01), -1e9 - leverage, ratio)


def measured(size: int, n: int, *, yes_no: bool, seed: int) -> dict[str, float]:
    """Both attacks on 2,500 members or more and as many others."""
    random = np.random.default_rng(seed)
    population = people(random, POPULATION, size, yes_no=yes_no)
    attacks = {"sums": Sums(*population), "shape": Shape(*population)}
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in attacks}
    for _ in range(max(40, 2_500 // n)):
        x, y = people(random, n, size, yes_no=yes_no)
        try:
            packet = QuadraticLikelihood.from_logistic(
                question="q", features=x, labels=y, anchor=np.zeros(size)
            )
        except InputError:  # people so alike that the score has no information behind it
            continue
        stranger = people(random, n, size, yes_no=yes_no)
        for name, attack in attacks.items():
            found[name][0].extend(attack.scores(packet, x, y))
            found[name][1].extend(attack.scores(packet, *stranger))
    result = {name: auc(*scores) for name, scores in found.items()}
    numbers = size + size * (size + 1) // 2 - 1 - (size - 1 if yes_no else 0)
    return result | {"predicted": membership_auc(numbers, n)}


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results: dict[str, float] = {}
    cases = [(size, ratio * size) for size in SIZES for ratio in RATIOS] + [(14, 11)]
    for seed, (size, n) in enumerate(cases):
        for yes_no in (False, True):
            kind = "yes_no" if yes_no else "normal"
            for name, value in measured(size, n, yes_no=yes_no, seed=seed).items():
                results[f"{kind}_p{size}_n{n}_{name}"] = round(value, 3)
    print(json.dumps(results) if arguments.json else "\n".join(map(str, results.items())))


if __name__ == "__main__":
    main()

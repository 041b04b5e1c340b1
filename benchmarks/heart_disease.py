"""Four hospitals of the UCI heart disease data: one packet each against the pooled fit.

``python benchmarks/heart_disease.py --data DIR [--json]``, where DIR/synthesis has the files
heart_{cleveland,hungarian,switzerland,va}.csv (Janosi et al. 1988, UCI Machine Learning
Repository, CC BY 4.0). Ten features as in FLamby (du Terrail et al. 2022), in 13 columns after
coding, and a column of ones; people with a missing one are left out.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import qis
from qis.outcomes import Anchor, QuadraticLikelihood
from qis.synthesis import CombinedQuadratics, combine_quadratics, next_anchor

Floats = NDArray[np.float64]
Sites = list[tuple[Floats, Floats]]
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
KEPT = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")


def hospitals(folder: Path) -> Sites:
    """Features of shape (n, 14) and labels of shape (n,), a hospital at a time."""
    return [_hospital(folder / f"heart_{name}.csv") for name in HOSPITALS]


def _hospital(path: Path) -> tuple[Floats, Floats]:
    rows, labels = [], []
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        if "?" in (row[key] for key in KEPT):
            continue
        value = {key: float(row[key]) for key in KEPT}
        codes = [*(value["cp"] == code for code in (2, 3, 4))]
        codes += [value["restecg"] == code for code in (1, 2)]
        numbers = [value[key] for key in KEPT if key not in {"cp", "restecg"}]
        rows.append([1.0, *numbers, *map(float, codes)])
        labels.append(float(float(row["num"]) > 0))
    return np.array(rows), np.array(labels)


def pooled_fit(sites: Sites) -> Floats:
    """Logistic regression of everybody's rows together, by Newton's method to convergence."""
    x, y = (np.concatenate(parts) for parts in zip(*sites, strict=True))
    b = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-x @ b))
        b = b + np.linalg.solve(x.T @ ((p * (1.0 - p))[:, np.newaxis] * x), x.T @ (y - p))
    return b


def rounds(sites: Sites, count: int, *, intercept: int | None) -> Iterator[CombinedQuadratics]:
    """What the sites' packets give, round by round, beginning at zero."""
    question = "x | heart"
    anchor = Anchor(question=question, model="logistic", coefficients=(0.0,) * 14)
    for _ in range(count):
        outcomes = [_sent(number, x, y, anchor) for number, (x, y) in enumerate(sites)]
        combined = combine_quadratics(outcomes, anchors=[anchor])
        yield combined
        anchor = next_anchor(combined, intercept=intercept, question=question)


def _sent(number: int, x: Floats, y: Floats, anchor: Anchor) -> QuadraticLikelihood:
    """A site's outcome as it comes out of its packet at the other end."""
    packet = qis.Packet.sign(
        qis.Identity.from_seed(bytes([number]) * 32),
        outcome=QuadraticLikelihood.from_logistic(
            question=anchor.question, features=x, labels=y, anchor=anchor
        ),
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=1_800_000_000,
        lifetime_s=60,
    )
    received = qis.Packet.parse(bytes(packet)).outcome
    assert isinstance(received, QuadraticLikelihood)  # noqa: S101  we made it
    return received


def auc(scores: Floats, labels: Floats) -> float:
    """Area under the receiver operating characteristic, ties counted half."""
    cases, rest = scores[labels == 1.0], scores[labels == 0.0]
    return float((cases[:, None] > rest).mean() + 0.5 * (cases[:, None] == rest).mean())


def figures(folder: Path) -> dict[str, float]:
    """Gaps to the pooled fit: AUC after one packet a site, coefficients after three."""
    sites = hospitals(folder)
    x, y = (np.concatenate(parts) for parts in zip(*sites, strict=True))
    fit = pooled_fit(sites)
    one, _, three = rounds(sites, 3, intercept=0)
    *_, newton = rounds(sites, 3, intercept=None)
    return {
        "uci_auc_gap_one_packet": abs(auc(x @ one.coefficients, y) - auc(x @ fit, y)),
        "uci_coefficient_gap_three_packets": float(np.abs(three.coefficients - fit).max()),
        "uci_coefficient_gap_three_newton_steps": float(np.abs(newton.coefficients - fit).max()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    found = figures(options.data / "synthesis")
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:40} {value:.5f}")


if __name__ == "__main__":
    main()

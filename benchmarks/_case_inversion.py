"""Records rebuilt from what sites send: gradients of federated averaging, and quadratic packets.

Records are people of ACTG 175, 13 features each. One counts as rebuilt if every feature is right to
.05 of its scale (a standard deviation; yes/no features then are exact). Attackers know the labels,
the number of people and how features are scaled, which favours them.

Against gradients: Zhu et al. (2019) fit dummy records until their gradients are those that were
sent; here with labels known, several starts, and only in the space that the gradients span, against
a network of one hidden layer. The closed
form (one person, any model with an intercept: the slope of a weight over that of its intercept) is
exact. Against packets: with fewer people than coefficients at a zero anchor the information is
X'X / 4, so every record lies in a space of few dimensions, where yes/no features take two values
and a record's leverage is one: what fits is listed. Otherwise records are fitted to all answers.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from _case_asked import Asked
from _case_data import ACTG, Floats, Site, actg
from scipy.optimize import least_squares, linear_sum_assignment, minimize

from qis.disclosure import PRESETS, Disclosure, subject_hashes
from qis.errors import DisclosureError
from qis.outcomes import QuadraticLikelihood

CLOSE = 0.05
HIDDEN = 16
SIZES = (1, 2, 4, 8, 11, 50, 200)
SCALED = len(ACTG) + 1
"""Columns after the intercept up to here are numbers; the others are yes or no."""
ANSWERS = 6
GRADIENTS = ((1, 1, 12), (2, 1, 12), (4, 1, 12), (4, 3, 12), (8, 1, 6))
"""People, local steps and repetitions of Zhu's attack."""
STARTS = 20
MODELS = ([0, 1, 4], [0, 1, 4, 5, 6, 2], [0, 1, 4, 8, 13])
"""Columns of the models that are put to the gate: two numbers, five, and two with two yes/no."""
SCALES = list(ACTG.values())
WHOLE = [1, 3, 4, 5]
"""Columns of whole numbers: age, Karnofsky's index (in tens), CD4 and CD8 cells."""


def share(found: Floats, truth: Floats) -> float:
    """Share of the true records that are among those found, each at most once."""
    if not len(found):
        return 0.0
    is_same = (np.abs(found[:, np.newaxis] - truth) <= CLOSE).all(axis=-1)
    rows, columns = linear_sum_assignment(~is_same)
    return float(is_same[rows, columns].sum() / len(truth))


# --- gradients -----------------------------------------------------------------------------------


class Network:
    """One hidden layer of tanh units and a logistic output, as a site would be sent it."""

    def __init__(self, features: int, rng: np.random.Generator) -> None:
        self.first = rng.normal(0.0, 0.5, (features, HIDDEN))
        self.bias = rng.normal(0.0, 0.1, HIDDEN)
        self.last = rng.normal(0.0, 0.5, HIDDEN)

    def update(self, x: Floats, y: Floats, steps: int = 1, rate: float = 0.1) -> Floats:
        """What a site sends after some steps, as gradients: change over rate.

        Parameters
        ----------
        x, y
            Many sets of people at once, shape (sets, people, features), and labels (people,).
        steps, rate
            Of gradient descent.

        Returns
        -------
        numpy.ndarray
            Shape (sets, parameters).

        """
        sets = len(x)
        first = np.broadcast_to(self.first, (sets, *self.first.shape))
        bias = np.broadcast_to(self.bias, (sets, HIDDEN))
        last = np.broadcast_to(self.last, (sets, HIDDEN))
        begun = first, bias, last
        for _ in range(steps):
            hidden = np.tanh(x @ first + bias[:, np.newaxis])
            eta = (hidden @ last[..., np.newaxis])[..., 0]
            residual = (0.5 + 0.5 * np.tanh(0.5 * eta) - y) / len(y)
            back = residual[..., np.newaxis] * last[:, np.newaxis] * (1.0 - hidden**2)
            first = first - rate * (np.swapaxes(x, -1, -2) @ back)
            bias = bias - rate * back.sum(axis=1)
            last = last - rate * (residual[:, np.newaxis] @ hidden)[:, 0]
        changed = zip(begun, (first, bias, last), strict=True)
        return np.concatenate([((a - b) / rate).reshape(sets, -1) for a, b in changed], axis=1)


def by_zhu(
    network: Network, y: Floats, sent: Floats, features: int, *, rng: np.random.Generator,
    starts: int, steps: int,
) -> Floats:  # fmt: skip
    """Dummy records whose update is nearest to the one sent, of several starts.

    The gradients of the first layer's weights and biases are (X, 1)' D, whatever comes back to the
    units in D: so every (x, 1) lies in the space of n dimensions that they span, which leaves n - 1
    unknown numbers of each record. Zhu's attack knows nothing of that, and needs many more starts.
    """
    n = len(y)
    told = sent[: (features + 1) * HIDDEN].reshape(features + 1, HIDDEN)
    spanned = np.linalg.svd(told)[0][:, :n]
    last = spanned[-1]
    middle = spanned[:-1] @ (last / (last @ last))
    if n == 1:
        return middle[np.newaxis]  # the closed form
    free = spanned[:-1] @ np.linalg.svd(last[np.newaxis])[2][1:].T
    size = n * (n - 1)
    each = 1e-6 * np.eye(size)

    def off(many: Floats) -> Floats:
        x = middle + many.reshape(-1, n, n - 1) @ free.T
        return 1e2 * (network.update(x, y, steps) - sent)

    def slopes(flat: Floats) -> Floats:
        return (off(flat + each) - off(flat - each)).T / 2e-6

    best = None
    for _ in range(starts):
        fit = least_squares(
            lambda flat: off(flat)[0], rng.normal(0.0, 1.5, size), jac=slopes, max_nfev=100
        )
        if best is None or fit.cost < best.cost:
            best = fit
        if best.cost < 1e-12:  # exact
            break
    return middle + best.x.reshape(n, n - 1) @ free.T


# --- packets -------------------------------------------------------------------------------------


def _pinned(basis: Floats) -> tuple[list[int], list[tuple[float, ...]]]:
    """Columns that take few values and together tell a record's place, and those values.

    Yes/no columns first; then age and Karnofsky's index, until one number is left free.
    """
    rank = basis.shape[1]
    chosen: list[int] = [0]
    levels: list[tuple[float, ...]] = [(1.0,)]
    tried: list[tuple[int, tuple[float, ...], int]] = [
        (column, (0.0, 1.0), rank) for column in range(SCALED + 1, len(basis))
    ]
    tried.append((1, tuple(((np.arange(12, 71) - 35) / 9).tolist()), rank - 1))
    tried.append((3, tuple(((np.arange(70, 101, 10) - 95) / 6).tolist()), rank - 1))
    for column, values, most in tried:
        told = np.linalg.svd(basis[[*chosen, column]], compute_uv=False)
        if len(chosen) < most and told[-1] > 1e-3:
            chosen.append(column)
            levels.append(values)
    return chosen, levels


def listed(information: Floats, n: int) -> Floats:
    """Records that fit an information at zero of fewer people than coefficients, best first.

    A record lies in the space that the information spans. Columns that take few values are given
    each of them; what is left free is one number at most, which the leverage of one decides.
    """
    products = 4.0 * information
    values, vectors = np.linalg.eigh(products)
    spanned = values > 1e-6 * values[-1]
    rank = int(spanned.sum())
    if rank >= len(products):
        return np.empty((0, len(products) - 1))
    basis = vectors[:, spanned] * np.sqrt(values[spanned])  # rows of X are w @ basis.T, |w| = 1
    chosen, levels = _pinned(basis)
    if len(chosen) < rank - 1:
        return np.empty((0, len(products) - 1))
    fixed = np.array(list(itertools.product(*levels)))
    inverse = np.linalg.pinv(basis[chosen])
    weights = fixed @ inverse.T
    if len(chosen) == rank - 1:  # along the free direction to where the length is one
        free = np.linalg.svd(basis[chosen])[2][-1]
        left = np.maximum(1.0 - (weights**2).sum(axis=1), 0.0)
        reach = np.sqrt(left)[:, np.newaxis] * free
        weights = np.concatenate((weights + reach, weights - reach))
    rows = weights @ basis.T
    binary = rows[:, SCALED + 1 :]
    # How far a candidate is from having all that a record has.
    off = np.abs(binary - np.rint(np.clip(binary, 0.0, 1.0))).max(axis=1, initial=0.0)
    off = np.maximum(off, np.abs((weights**2).sum(axis=1) - 1.0))
    off = np.maximum(off, np.abs(rows[:, 0] - 1.0))
    centre, scale = np.array([SCALES[column - 1] for column in WHOLE], float).T
    whole = rows[:, WHOLE] * scale + centre
    whole[:, 1] /= 10.0
    off = off + 0.1 * np.abs(whole - np.rint(whole)).max(axis=1)
    kept: list[int] = []  # records are at right angles: X (X'X)^+ X' is the identity
    for index in np.argsort(off, kind="stable")[:4_000].tolist():
        if (np.abs(weights[kept] @ weights[index]) < 0.1).all():
            kept.append(index)
        if len(kept) == n:
            break
    found = rows[kept, 1:]
    found[:, SCALED:] = np.rint(np.clip(found[:, SCALED:], 0.0, 1.0))
    return found


def by_fitting(
    answers: Sequence[tuple[Floats, QuadraticLikelihood]], y: Floats, rng: np.random.Generator,
    starts: int,
) -> Floats:  # fmt: skip
    """Records whose score and information at every anchor are nearest to the answers."""
    n, p = len(y), len(answers[0][0])
    told = [(at, outcome.score, outcome.information) for at, outcome in answers]
    scale = sum(float((information**2).sum()) for _, _, information in told)

    def loss(flat: Floats) -> tuple[float, Floats]:
        x = np.column_stack((np.ones(n), flat.reshape(n, p - 1)))
        total, slope = 0.0, np.zeros_like(x)
        for at, score, information in told:
            chance = 0.5 + 0.5 * np.tanh(0.5 * (x @ at))
            spread = chance * (1.0 - chance)
            off = x.T @ (spread[:, np.newaxis] * x) - information
            missed = x.T @ (y - chance) - score
            total += float((off**2).sum() + (missed**2).sum())
            along = x @ off
            bend = spread * (1.0 - 2.0 * chance) * (along * x).sum(axis=1)
            slope += 4.0 * spread[:, np.newaxis] * along + 2.0 * np.outer(bend, at)
            slope += 2.0 * np.outer(y - chance, missed)
            slope -= 2.0 * np.outer(spread * (x @ missed), at)
        return total / scale, slope[:, 1:].ravel() / scale

    fits = [
        minimize(
            loss, rng.normal(size=n * (p - 1)), jac=True, method="L-BFGS-B",
            options={"maxiter": 300, "maxfun": 400, "ftol": 1e-18, "gtol": 1e-12},
        )
        for _ in range(starts)
    ]  # fmt: skip
    return min(fits, key=lambda fit: float(fit.fun)).x.reshape(n, p - 1)


def answer(x: Floats, y: Floats, at: Floats) -> QuadraticLikelihood:
    """A site's packet about an anchor."""
    return QuadraticLikelihood.from_logistic(question="x", features=x, labels=y, anchor=at)


def rebuilt(x: Floats, y: Floats, anchors: Sequence[Floats], rng: np.random.Generator) -> float:
    """The attack: the better of listing and fitting, told by which the attacker would believe."""
    answers = [(at, answer(x, y, at)) for at in anchors]
    found = listed(answers[0][1].information, len(y)) if not anchors[0].any() else np.empty((0, 0))
    best = share(found, x[:, 1:]) if found.size else 0.0
    return max(best, share(by_fitting(answers, y, rng, starts=2), x[:, 1:]))


def drawn(people: Site, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Some people; not all labels alike where there are several."""
    while True:
        rows = rng.choice(len(people.y), n, replace=False)
        if n == 1 or 0.0 < people.y[rows].sum() < n:
            return people.x[rows], people.y[rows]


def anchors_of(p: int, count: int, rng: np.random.Generator) -> list[Floats]:
    """Zero, and then points that a fit might pass through."""
    return [np.zeros(p), *rng.normal(0.0, 0.3, (count - 1, p))]


# --- what passes the gate ------------------------------------------------------------------------


def passing(
    people: Site, preset: str, columns: list[int], count: int, rng: np.random.Generator
) -> tuple[int, Floats, Floats, list[Floats]] | None:
    """The smallest n at which so many answers pass a preset, with the people and the anchors."""
    at = anchors_of(len(columns), count, np.random.default_rng(count))
    n = max(PRESETS[preset].people_per_coefficient * len(columns) * count, 2)
    while n < len(people.y) // 2:
        for _ in range(6):
            x, y = drawn(people, n, rng)
            x = x[:, columns]
            if _passes(preset, x, y, at):
                return n, x, y, at
        n += max(1, n // 20)
    return None


def _passes(preset: str, x: Floats, y: Floats, anchors: Sequence[Floats]) -> bool:
    gate = Disclosure.preset(preset)
    subjects = subject_hashes([str(number) for number in range(len(y))], key=bytes(32))
    try:
        for number, at in enumerate(anchors):
            outcome = answer(x, y, at)
            gate.check(outcome, subjects=subjects)
            gate.release(outcome, now=1_800_000_000.0 + number, subjects=subjects)
    except DisclosureError:
        return False
    finally:
        gate.close()
    return True


def part(asked: Asked) -> dict[str, Any]:
    """Without rules."""
    people, rng = actg(), np.random.default_rng(2_019)
    p = people.x.shape[1]
    repeats = asked.of(4, 8, 100)
    found: dict[str, Any] = {"packets_no_rules": {}, "zhu": {}}
    for n in SIZES if asked.effort else SIZES[:4]:
        times = repeats if n <= 11 else max(2, repeats // 10)
        shares = []
        for _ in range(times):
            x, y = drawn(people, n, rng)
            shares.append(rebuilt(x, y, [np.zeros(p)], rng))
        found["packets_no_rules"][str(n)] = float(np.mean(shares))
        asked.said(f"packets of {n} people, no rules: {found['packets_no_rules'][str(n)]:.2f}")
    for n, steps, times in GRADIENTS if asked.effort else ((2, 1, 2),):
        shares = []
        for _ in range(times * asked.of(1, 1, 8)):
            x, y = drawn(people, n, rng)
            network = Network(p - 1, rng)
            sent = network.update(x[np.newaxis, :, 1:], y, steps)[0]
            found_there = by_zhu(network, y, sent, p - 1, rng=rng, starts=STARTS, steps=steps)
            shares.append(share(found_there, x[:, 1:]))
        found["zhu"][f"{n} people, {steps} steps"] = float(np.mean(shares))
        asked.said(f"gradients of {n} people, {steps} steps: {np.mean(shares):.2f}")
    found["closed_form_one_person"] = closed_form(people, rng, repeats)
    return found


def thresholds(asked: Asked) -> dict[str, Any]:
    """The same attack at the smallest number of people that passes each preset."""
    people, rng = actg(), np.random.default_rng(2_020)
    return {
        "passing": [
            row
            for preset in ("cms", "acro", "ohdsi", "datashield", "nhs")
            for row in _at_the_threshold(people, preset, asked, rng)
        ]
    }


def _at_the_threshold(
    people: Site, preset: str, asked: Asked, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The attack at the smallest n that passes a preset, beside guessing other people instead."""
    rows = []
    for columns in MODELS[: asked.of(1, 3, 3)]:
        most = ANSWERS if columns[-1] < SCALED + 1 else 2  # yes/no columns take a long search
        for count in range(1, min(most, asked.of(2, ANSWERS, ANSWERS)) + 1):
            made = passing(people, preset, columns, count, rng)
            if made is None:
                continue
            n, x, y, at = made
            others = people.x[rng.choice(len(people.y), n, replace=False)][:, columns[1:]]
            rows.append(
                {
                    "preset": preset,
                    "coefficients": len(columns),
                    "answers": count,
                    "n": n,
                    "rebuilt": rebuilt(x, y, at, rng),
                    "guessed": share(others, x[:, 1:]),
                }
            )
        asked.said(f"the smallest n that passes {preset}, {len(columns)} coefficients")
    return rows


def closed_form(people: Site, rng: np.random.Generator, repeats: int) -> float:
    """Share of single people given away by a logistic gradient: each slope over the intercept's."""
    hits: list[float] = []
    for _ in range(repeats):
        x, y = drawn(people, 1, rng)
        at = rng.normal(0.0, 0.3, x.shape[1])
        slope = (0.5 + 0.5 * np.tanh(0.5 * (x @ at)) - y) @ x
        hits.append(share((slope[1:] / slope[0])[np.newaxis], x[:, 1:]))
    return float(np.mean(hits))

"""An outsider who has the bytes and what is public, and tries every table or solves for the groups.

Written apart from the gate: no line of `qis.disclosure` is used. Where the gate solves for one cell
from the others, all tables of n people are tried here one by one; where it compares information
entry by entry, the sizes of all groups are solved for at once, with the weights that the anchor
gives.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from _disclosure_sites import VARIANCE, Made, one_by_formula
from numpy.typing import NDArray

from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments, QuadraticLikelihood

Floats = NDArray[np.float64]
Fitting = Callable[[Effect, Floats], NDArray[np.bool_]]
Z = 1.959963984540054
_CHUNK = 1 << 17


class Read(NamedTuple):
    """What the outsider says of the planted cell.

    Parameters
    ----------
    proved
        True if every table that fits has a cell from 1 to the limit.
    guess
        The value that is most frequent among the tables that fit; `None` if nothing can be said.

    """

    proved: bool
    guess: int | None


NOTHING = Read(proved=False, guess=None)


def read(made: Made, limit: int) -> Read:
    """Attack one outcome, together with the former answers about the same people."""
    outcome = made.outcome
    if isinstance(outcome, Effect):
        return _of_effect(outcome, made, limit)
    if isinstance(outcome, Counts):
        return _of_counts(outcome, made.target, limit)
    if isinstance(outcome, Moments):
        return _of_moments(outcome, made.target, limit, made.public.get("codes"))
    if isinstance(outcome, LikelihoodProfile):
        attack = _parabola if made.public else _of_profile
        return attack(outcome, made.target, limit)
    if isinstance(outcome, QuadraticLikelihood) and made.public:
        return _of_model(outcome, made.public, made.target, limit)
    return NOTHING


def _of_effect(outcome: Effect, made: Made, limit: int) -> Read:
    formula = made.public.get("formula", "")
    if outcome.measure in ("PR", "PLO", "IRLN") and formula:
        return _one_by_formula(outcome, formula, made.target, limit)
    if formula in ("any", "peto", "cohen"):
        is_peto = formula == "peto"
        found = _peto(outcome) if is_peto else tables_that_fit([outcome], _OTHERWISE[formula])
        proved = bool(((found > 0) & (found < limit)).any(axis=0).all()) and found.size > 0
        return said(found[made.target], limit, proved=proved)
    if made.public and not made.others:
        return _with_knowledge(outcome, made.public, made.target, limit)
    return _of_effects([outcome, *(other for other, _ in made.others)], made.target, limit)


def _with_knowledge(effect: Effect, told: dict[str, Any], target: Any, limit: int) -> Read:
    """Try every table where the formula, the coding, the people or the rounding are told too."""
    scale, n = told.get("scale", 1.0), told.get("n", effect.n)
    estimate, error = effect.estimate / scale, effect.standard_error / scale
    width = told.get("width", 0.0)
    near = max(1e-9, width * 1.001), max(1e-9 * error, width / 1.96 * 1.001)
    kept = [np.empty((4, 0))]
    for a, first in _arms(n):
        low = np.ceil((n - first) * (a / first - estimate - near[0]) - 1e-6)
        high = np.floor((n - first) * (a / first - estimate + near[0]) + 1e-6)
        for step in range(int((high - low).max(initial=-1.0)) + 1):
            other = low + step
            table = np.stack([a, first - a, other, n - first - other])
            inside = (other <= high) & (table >= 0).all(axis=0)
            table = table[:, inside]
            with np.errstate(all="ignore"):
                gives, errors = _forward(effect.measure, *table)
                if told.get("formula") == "pooled":
                    n1, n0 = table[0] + table[1], table[2] + table[3]
                    squares = table[0] * table[1] / n1 + table[2] * table[3] / n0
                    errors = np.sqrt(squares / (n - 2) * (1 / n1 + 1 / n0))
                fits = (np.abs(gives - estimate) <= near[0]) & (np.abs(errors - error) <= near[1])
            kept.append(table[:, fits])
    found = np.concatenate(kept, axis=1)
    if not found.shape[1]:
        return NOTHING
    proved = bool(((found > 0) & (found < limit)).any(axis=0).all())
    return said(found[target], limit, proved=proved)


def said(values: Floats, limit: int, *, proved: bool | None = None) -> Read:
    """The most frequent value of the planted cell among the candidates."""
    if not len(values):
        return NOTHING
    found, times = np.unique(values, return_counts=True)
    is_small = bool(((values > 0) & (values < limit)).all())
    return Read(is_small if proved is None else proved, int(found[times.argmax()]))


def half(number: float) -> float:
    """Half a unit of the last printed decimal; numbers of more than six were not rounded."""
    text = repr(number)
    decimals = len(text.partition(".")[2]) if "e" not in text else 17
    return 0.5 * 10.0**-decimals * 1.001 if decimals <= 6 else 1e-9 * max(1.0, abs(number))


def _forward(measure: str, a: Floats, b: Floats, c: Floats, d: Floats) -> tuple[Floats, Floats]:
    """The textbook's estimate and standard error, from risks and the arms' sizes."""
    n1, n0 = a + b, c + d
    p, q = a / n1, c / n0
    s1, s0 = p * (1 - p) * n1 / (n1 - 1), q * (1 - q) * n0 / (n0 - 1)
    if not len(a):
        return a, a
    m = n1[0] + n0[0] - 2
    phi = (p - q) * np.sqrt(n1 * n0 / ((a + c) * (b + d)))
    pooled = np.sqrt(((n1 - 1) * s1 + (n0 - 1) * s0) / m)
    j = math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2)) * math.sqrt(2 / m)
    g = j * (p - q) / pooled
    if measure in ("OR", "RR", "RD"):
        return {
            "OR": (np.log(a) + np.log(d) - np.log(b) - np.log(c),
                   np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)),
            "RR": (np.log(p / q), np.sqrt((1 - p) / a + (1 - q) / c)),
            "RD": (p - q, np.sqrt(p * (1 - p) / n1 + q * (1 - q) / n0)),
        }[measure]  # fmt: skip
    return {
        "MD": (p - q, np.sqrt(s1 / n1 + s0 / n0)),
        "ROM": (np.log(p / q), np.sqrt(s1 / (n1 * p * p) + s0 / (n0 * q * q))),
        "SMD": (g, np.sqrt(1 / n1 + 1 / n0 + g * g / (2 * (n1 + n0)))),
        "COR": (phi, (1 - phi * phi) / np.sqrt(n1 + n0 - 1)),
        "ZCOR": (np.arctanh(phi), 1 / np.sqrt(n1 + n0 - 3)),
    }[measure]


def _arms(n: int) -> Iterator[tuple[Floats, Floats]]:
    """Each size of the first arm with each number of events in it, in parts of shape (m,)."""
    sizes = np.arange(1, n)
    for part in np.array_split(sizes, math.ceil(n * n / 2 / _CHUNK)):
        yield (
            np.concatenate([np.arange(size + 1.0) for size in part]),
            np.repeat(part, part + 1).astype(float),
        )


def _least(measure: str, bound: float, a: Floats, first: Floats, n: int) -> Floats:
    """The least number of events of the other arm at which the estimate is not above a bound."""
    low, high = np.zeros(len(a)), n - first + 1.0
    for _ in range(n.bit_length()):
        middle = np.floor((low + high) / 2)
        with np.errstate(all="ignore"):
            estimate, _ = _forward(measure, a, first - a, middle, n - first - middle)
        is_below = (estimate <= bound) | (low >= high)
        high = np.where(is_below, np.minimum(middle, high), high)
        low = np.where(is_below, low, middle + 1.0)
    return high


def _is_printed_ratio(effect: Effect) -> bool:
    ratio = math.exp(effect.estimate)
    return effect.measure == "OR" and abs(ratio - round(ratio, 2)) < 1e-12 * max(1.0, ratio)


def _of_effects(effects: list[Effect], target: Any, limit: int) -> Read:
    n = effects[0].n or 0
    measure = effects[0].measure
    if measure in ("PR", "PLO", "MN"):
        return _of_one_arm(effects[0], n, target, limit)
    if measure == "IRLN":
        k = np.arange(1.0, n + 1)
        fits = np.abs(1 / np.sqrt(k) - effects[0].standard_error) <= half(effects[0].standard_error)
        return said(k[fits], limit)
    if measure in ("IRR", "HR"):
        return _of_rates(effects[0], limit)
    if measure == "IRD":
        return NOTHING  # two equations for two counts and two times
    found = tables_that_fit(effects)
    if not found.shape[1]:
        return NOTHING
    proved = bool(((found > 0) & (found < limit)).any(axis=0).all())
    return said(found[target], limit, proved=proved)


def _one_by_formula(effect: Effect, formula: str, target: int, limit: int) -> Read:
    """Try each number of events, by a formula that the outsider knows."""
    n = effect.n or 0
    k = np.arange(1.0, n)
    if formula == "left":
        return said(n - k[np.abs(1 / np.sqrt(k) - effect.standard_error) < 1e-9], limit)
    estimate, error = one_by_formula(k, n)[formula]
    fits = np.abs(error - effect.standard_error) < 1e-9
    if effect.measure != "IRLN":
        fits &= np.abs(estimate - effect.estimate) < 1e-9
    cells = np.stack([k, n - k])
    if effect.measure == "IRLN":
        cells = cells[:1]
    found = cells[:, fits]
    proved = bool(((found > 0) & (found < limit)).any(axis=0).all()) and found.size > 0
    return said(found[target], limit, proved=proved)


def _peto(effect: Effect) -> Floats:
    """Sizes and events whose hypergeometric variance is 1/SE², and the cell that follows."""
    n, variance = float(effect.n or 0), effect.standard_error**-2
    sizes, events = np.meshgrid(np.arange(1.0, n), np.arange(1.0, n))
    gives = sizes * (n - sizes) * events * (n - events) / (n * n * (n - 1))
    fits = np.abs(gives / variance - 1) < 1e-10
    sizes, events = sizes[fits], events[fits]
    a = effect.estimate * variance + sizes * events / n
    table = np.stack([a, sizes - a, events - a, n - sizes - events + a])
    whole = np.rint(table)
    is_table = (np.abs(table - whole) < 1e-6).all(axis=0) & (whole >= 0).all(axis=0)
    return whole[:, is_table]


def _parabola(curve: LikelihoodProfile, target: int, limit: int) -> Read:
    """The peak is the estimate, and the curvature its standard error, in 32 bits."""
    at = np.asarray(curve.points) - (curve.maximum or 0.0)
    error = abs(float(at[0])) / math.sqrt(-2.0 * float(curve.values[0]))
    effect = Effect(question="q", measure=curve.measure, estimate=curve.maximum or 0.0,
                    standard_error=error, n=curve.n)  # fmt: skip
    found = tables_that_fit([effect], _in_single_precision, width=1e-6)
    proved = bool(((found > 0) & (found < limit)).any(axis=0).all()) and found.size > 0
    return said(found[target], limit, proved=proved)


def _in_single_precision(effect: Effect, table: Floats) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        estimate, error = _forward(effect.measure, *table)
        near = np.abs(estimate - effect.estimate) <= 5e-7
        return near & (np.abs(error - effect.standard_error) <= 2e-7)


def _by_any_error(effect: Effect, table: Floats) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        estimate, error = _forward(effect.measure, *table)
        ratio = effect.standard_error / error
        return (np.abs(estimate - effect.estimate) <= 1e-11) & (ratio > 0.99) & (ratio < 1.3)


def _without_correction(effect: Effect, table: Floats) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        n1, n0 = table[0] + table[1], table[2] + table[3]
        squares = table[0] * table[1] / n1 + table[2] * table[3] / n0
        d = (table[0] / n1 - table[2] / n0) / np.sqrt(squares / (n1 + n0 - 2))
        error = np.sqrt(1 / n1 + 1 / n0 + d * d / (2 * (n1 + n0 - 2)))
        near = np.abs(d - effect.estimate) <= 1e-10
        return near & (np.abs(error - effect.standard_error) <= 1e-10)


def tables_that_fit(
    effects: list[Effect], fitting: Fitting | None = None, *, width: float | None = None
) -> Floats:
    """Every table of two arms that gives all of these numbers, of shape (4, m).

    With more events in the other arm every measure falls, so that the bounds of the first
    estimate are looked for by halving.
    """
    head = effects[0]
    n, width = head.n or 0, 2 * half(head.estimate) if width is None else width
    if fitting is _without_correction:
        width = abs(head.estimate) * 4.0 / n
    elif fitting is None and _is_printed_ratio(head):
        width = 0.01 / math.exp(head.estimate)
    kept = [np.empty((4, 0))]
    for a, first in _arms(n):
        low, high = (
            _least(head.measure, head.estimate + side * width, a, first, n) for side in (1, -1)
        )
        low, high = np.maximum(low - 1, 0), np.minimum(high + 1, n - first)
        times = (high - low + 1).astype(int)
        within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        events, size = np.repeat(a, times), np.repeat(first, times)
        other = np.repeat(low, times) + within
        table = np.stack([events, size - events, other, n - size - other])
        fits = np.ones(table.shape[1], dtype=bool)
        for effect in effects:
            fits &= (fitting or _fits)(effect, table)
        kept.append(table[:, fits])
    return np.concatenate(kept, axis=1)


_OTHERWISE: dict[str, Fitting] = {
    "any": _by_any_error,
    "cohen": _without_correction,
}


def _fits(effect: Effect, table: Floats) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        estimate, error = _forward(effect.measure, *table)
        if _is_printed_ratio(effect):
            low, high = (np.round(np.exp(estimate + side * Z * error), 2) for side in (-1, 1))
            width = (np.log(high) - np.log(low)) / (2 * Z)
            ratio = np.round(np.exp(estimate), 2)
            fits: NDArray[np.bool_] = (np.abs(width - effect.standard_error) < 1e-9) & (
                np.abs(np.log(ratio) - effect.estimate) < 1e-9
            )
            return fits
        fits = np.abs(estimate - effect.estimate) <= half(effect.estimate)
        return fits & (np.abs(error - effect.standard_error) <= half(effect.standard_error))


def _of_one_arm(effect: Effect, n: int, target: Any, limit: int) -> Read:
    k = np.arange(1.0, n)
    p = k / n
    estimate, error = {
        "PR": (p, np.sqrt(p * (1 - p) / n)),
        "PLO": (np.log(p / (1 - p)), np.sqrt(1 / k + 1 / (n - k))),
        "MN": (p, np.sqrt(p * (1 - p) / (n - 1))),
    }[effect.measure]
    fits = np.abs(estimate - effect.estimate) <= half(effect.estimate)
    fits &= np.abs(error - effect.standard_error) <= half(effect.standard_error)
    cells = np.stack([k, n - k])[:, fits]
    proved = bool(((cells > 0) & (cells < limit)).any(axis=0).all()) and cells.shape[1] > 0
    return said(cells[target], limit, proved=proved)


def _of_rates(effect: Effect, limit: int) -> Read:
    a, c = np.meshgrid(np.arange(1.0, 401.0), np.arange(1.0, 401.0), indexing="ij")
    error = np.sqrt(1 / a + 1 / c)
    fits = np.abs(error - effect.standard_error) <= half(effect.standard_error)
    if effect.measure == "HR":  # a model's is a little larger
        fits = (error <= effect.standard_error) & (error >= effect.standard_error / 1.02)
    low = np.minimum(a, c)[fits]
    return said(low, limit)


def _of_counts(outcome: Counts, target: Any, limit: int) -> Read:
    cells = [outcome.events, outcome.total - outcome.events]
    if outcome.control_total is not None and outcome.control_events is not None:
        cells += [outcome.control_events, outcome.control_total - outcome.control_events]
        if outcome.person_time is not None:
            cells = [outcome.events, outcome.control_events]
    return said(np.array([cells[target]], dtype=float), limit)


def _of_moments(
    outcome: Moments, target: Any, limit: int, told: tuple[float, float] | None = None
) -> Read:
    if target == "third":  # 0, 1 and 2: N1 + 2 N2 and N1 + 4 N2 are known
        total = outcome.total * outcome.mean
        squares = outcome.ss + outcome.total * outcome.mean**2
        return said(np.array([round((squares - total) / 2)], dtype=float), limit)
    arms = [(outcome.total, outcome.mean, outcome.ss)]
    if outcome.control_total is not None:
        arms.append((outcome.control_total, outcome.control_mean or 0.0, outcome.control_ss or 0.0))
    n, mean, ss = arms[target // 2]
    for zero, step in (told,) if told else ((0.0, 1.0), (1.0, 1.0), (0.0, 100.0)):
        k = n * (mean - zero) / step
        if abs(k - round(k)) < 1e-6 and abs(k * (n - k) / n * step**2 - ss) < 1e-6 * max(1.0, ss):
            cells = round(k), n - round(k)
            return said(np.array([cells[target % 2]], dtype=float), limit)
    return NOTHING


def _of_profile(outcome: LikelihoodProfile, target: Any, limit: int) -> Read:
    """Events from the limiting slopes, people from the slope at a ratio of 1, table or survival."""
    n, events = outcome.n or 0, outcome.events or 0
    own, other = round(-outcome.slope_below), round(-outcome.slope_above)
    low, high = outcome.log_likelihood([-1e-3, 1e-3])
    slope = float(high - low) / 2e-3
    happened = events if not other else own
    size = round(n * (own - slope) / max(events, 1))
    if isinstance(target, int):  # the cells of a table, or the events of two rates
        cells = (own, size - own, other, n - size - other)
        if outcome.measure == "IRR":
            cells = (own, other, 0, 0)
        return said(np.array([cells[target]], dtype=float), limit, proved=0 < cells[target] < limit)
    guess = {"people": size, "events": happened if own else 0, "others": size - own}[target]
    return Read(target == "events" and 0 < guess < limit, guess)


def _of_model(
    outcome: QuadraticLikelihood, public: dict[str, Any], target: Any, limit: int
) -> Read:
    solve = _own if public["own"] else _common
    guess = solve(outcome, public, tuple(target))
    if guess is None:
        return NOTHING
    whole = round(guess)
    return Read(abs(guess - whole) < 0.2 and 0 < whole < limit, whole)


def _common(
    outcome: QuadraticLikelihood, public: dict[str, Any], target: tuple[int, ...]
) -> float | None:
    """Solve for the sizes of all groups of features; then the score gives the events."""
    anchor, n = public["anchor"], outcome.n
    features = len(anchor) - 1
    groups = np.array(list(itertools.product((0.0, 1.0), repeat=features)))
    wide = np.insert(public["zero"] + public["step"] * groups, public["place"], 1.0, axis=1)
    eta = wide @ anchor
    expected: Floats = {
        "logistic": 1 / (1 + np.exp(-eta)), "poisson": np.exp(eta), "linear": eta / VARIANCE,
    }[outcome.model]  # fmt: skip
    weight: Floats = {
        "logistic": expected * (1 - expected), "poisson": expected,
        "linear": np.full(len(groups), 1 / VARIANCE),
    }[outcome.model]  # fmt: skip
    rows, values = [np.ones(len(groups))], [float(n)]
    for one, other in itertools.combinations_with_replacement(range(features + 1), 2):
        rows.append(weight * wide[:, one] * wide[:, other])
        values.append(float(outcome.information[one, other]))
    sizes = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    inside = [each for each in target if each < features]
    chosen = groups[:, inside].all(axis=1) if inside else np.ones(len(groups), dtype=bool)
    if features not in target:
        return float(sizes[chosen].sum())
    # Scores are sums of x (y - expected): what is expected is known, so the sums of x y are.
    scale = VARIANCE if outcome.model == "linear" else 1.0
    sums = outcome.score * scale + wide.T @ (sizes * expected) * scale
    if not inside:
        return float(sums[public["place"]])
    column = inside[0] + (inside[0] >= public["place"])
    of_all = float(sums[public["place"]])
    return float((sums[column] - public["zero"] * of_all) / public["step"])


def _own(
    outcome: QuadraticLikelihood, public: dict[str, Any], target: tuple[int, ...]
) -> float | None:
    """Everybody weighs the same at a zero anchor: N(n - N)/n; the smaller root is taken."""
    del public
    n, events = outcome.n, outcome.events
    share = (events or 0) / n
    weight = {"logistic": share * (1 - share), "poisson": share, "linear": 1 / VARIANCE}
    table = outcome.information / weight[outcome.model]
    features = len(outcome.diagonal)
    roots = []
    for column in range(features):
        left = n * n - 4 * n * float(table[column, column])
        half = math.sqrt(max(left, 0.0)) / 2
        roots.append((n / 2 - half, n / 2 + half))
    inside = [each for each in target if each < features]
    if features in target:
        if events is None or not inside:
            return None if events is None else float(events)
        found = [outcome.score[inside[0]] + share * root for root in roots[inside[0]]]
        whole = [value for value in found if abs(value - round(value)) < 0.05]
        return float((whole or found)[0])
    if len(inside) == 1:
        return roots[inside[0]][0]
    one, other = inside
    options = [
        table[one, other] + first * second / n
        for first in roots[one]
        for second in roots[other]
    ]  # fmt: skip
    whole = [value for value in options if abs(value - round(value)) < 0.05 and value > -0.5]
    return float(min(whole or options, key=abs))

"""Seeded sites with one small cell, or with none, and every form of packet made of their data.

A site is a few hundred people. A form makes one outcome of them, and says what outsiders know
beside its bytes and which cell was planted. `HARMLESS` sites have no group, by up to three columns,
under three times the limit.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qis.disclosure import PRESETS, rounded_counts
from qis.errors import QISError
from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments, Outcome, QuadraticLikelihood

Floats = NDArray[np.float64]
ROUNDED = (2, 3, 4)
"""Decimals to which estimates are printed; each site prints to one of them."""
MODELS = ("logistic", "poisson", "linear")
VARIANCE = 0.37
"""Residual variance of linear models, which is public."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An outcome, what is public beside it, and the cell that an attacker is after.

    Parameters
    ----------
    outcome
        What leaves; `None` if the library makes none of these data.
    form
        Its name.
    target
        Which cell was planted, in the words of the attacker for this form.
    truth
        Its number of people.
    public
        What outsiders know beside the bytes.
    others
        Former answers, with what is public of each.
    who
        Whom each of the former answers and this one is about; by default all about the same people.

    """

    outcome: Outcome
    form: str
    target: Any
    truth: int
    public: dict[str, Any] = field(default_factory=dict)
    others: tuple[tuple[Outcome, dict[str, Any]], ...] = ()
    who: tuple[range, ...] = ()


class Site:
    """Data of one site under one limit.

    Parameters
    ----------
    seed
        All of its randomness.
    limit
        The preset's smallest cell.
    is_small
        True to plant one cell of 1 to `limit` - 1.
    base
        Cells of sites without a small one are multiples of this.

    """

    def __init__(self, seed: int, limit: int, *, is_small: bool, base: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.limit = limit
        self.is_small = is_small
        self.base = base

    def cells(self, count: int) -> tuple[list[int], int]:
        """Cells of 3 to 6 limits, 200 people or more; and which of them is small, or the first."""
        low = max(3 * self.limit, math.ceil(200 / count))
        cells = self.rng.integers(low, 3 * low // 2, size=count)
        cells = -(-cells // self.base) * self.base
        which = int(self.rng.integers(count))
        if self.is_small:
            cells[which] = self.rng.integers(1, self.limit)
        return [int(cell) for cell in cells], which


def table(cells: list[int]) -> Counts:
    """Counts of two arms from events and others of each."""
    a, b, c, d = cells
    return Counts(question="q", events=a, total=a + b, control_events=c, control_total=c + d)


def rounded(effect: Effect, decimals: int) -> Effect | None:
    """The effect as a paper would print it; `None` if nothing is left of its standard error."""
    error = round(effect.standard_error, decimals)
    if error <= 0.0:
        return None
    return Effect(
        question="q",
        measure=effect.measure,
        estimate=round(effect.estimate, decimals),
        standard_error=error,
        n=effect.n,
    )


def _effects(cells: list[int]) -> Iterator[Effect]:
    whole = table(cells)
    values = [1.0] * cells[0] + [0.0] * cells[1], [1.0] * cells[2] + [0.0] * cells[3]
    sources: list[tuple[Any, tuple[str, ...]]] = [
        (whole, ("OR", "RR", "RD")),
        (Moments.from_values(*values, question="q"), ("MD", "SMD", "ROM")),
    ]
    for source, measures in sources:
        for measure in measures:
            try:
                yield source.effect(measure)
            except QISError:
                continue
    a, b, c, d = cells
    phi = (a * d - b * c) / math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    n = sum(cells)
    yield Effect(question="q", measure="COR", estimate=phi,
                 standard_error=(1 - phi**2) / math.sqrt(n - 1), n=n)  # fmt: skip
    yield Effect(question="q", measure="ZCOR", estimate=math.atanh(phi),
                 standard_error=1 / math.sqrt(n - 3), n=n)  # fmt: skip


def of_two_arms(site: Site) -> Iterator[Made]:
    """Everything that can be made of a 2×2 table."""
    cells, which = site.cells(4)
    printed_to = (ROUNDED[sum(cells) % len(ROUNDED)],)
    truth = cells[which]
    whole = table(cells)
    forms: list[tuple[str, Outcome]] = [("counts", whole), ("counts_profile", whole.profile())]
    for effect in _effects(cells):
        name = f"effect_{effect.measure}"
        forms.append((name, effect))
        forms += [
            (f"{name}_{decimals}_decimals", printed)
            for decimals in printed_to
            if (printed := rounded(effect, decimals)) is not None
        ]
    odds = whole.effect("OR")
    ratio, half = math.exp(odds.estimate), 1.959963984540054 * odds.standard_error
    ends = [round(ratio * math.exp(side * half), 2) for side in (-1, 1)]
    if 0.0 < ends[0] < round(ratio, 2) < ends[1]:
        printed_ratio = Effect.from_ratio(
            question="q",
            measure="OR",
            ratio=round(ratio, 2),
            lower=ends[0],
            upper=ends[1],
            n=odds.n,
        )
        forms.append(("effect_OR_published", printed_ratio))
    yield from _other_readings(cells, which)
    for zero, step in ((0.0, 1.0), (1.0, 1.0), (0.0, 100.0)):
        a, b, c, d = cells
        arms = [zero + step] * a + [zero] * b, [zero + step] * c + [zero] * d
        forms.append(
            (f"moments_{zero:g}_{zero + step:g}", Moments.from_values(*arms, question="q"))
        )
    for form, outcome in forms:
        yield Made(outcome=outcome, form=form, target=which, truth=truth)
    yield from _by_other_formulas(cells, which)
    if site.limit == PRESETS["nhs"].minimum_cell and not site.is_small:
        yield Made(outcome=rounded_counts(whole, PRESETS["nhs"]), form="rounded_counts",
                   target=which, truth=truth)  # fmt: skip
    # Several answers about the same people: each alone may be rounded enough.
    printed_all = [
        printed for effect in _effects(cells) if (printed := rounded(effect, 2)) is not None
    ]
    chosen = site.rng.permutation(len(printed_all))[:3]
    answers = [printed_all[int(nth)] for nth in chosen]
    yield Made(outcome=answers[-1], form="several_effects", target=which, truth=truth,
               others=tuple((each, {}) for each in answers[:-1]))  # fmt: skip


def _other_readings(cells: list[int], which: int) -> Iterator[Made]:
    """A pooled variance, percent, an n that counts people without a value, an interval's width."""
    a, b, c, d = cells
    n, m = a + b, c + d
    p, q = a / n, c / m
    pooled = math.sqrt((n * p * (1 - p) + m * q * (1 - q)) / (n + m - 2) * (1 / n + 1 / m))
    by_n = math.sqrt(p * (1 - p) / n + q * (1 - q) / m)
    by_less = math.sqrt(p * (1 - p) / (n - 1) + q * (1 - q) / (m - 1))
    ends = [round(p - q + side * 1.96 * by_n, 4) for side in (-1, 0, 1)]
    away = n + m + (5 if n % 5 == m % 5 == 0 else 2)
    forms: list[tuple[str, str, float, float, int, dict[str, Any]]] = [
        ("RD_pooled", "RD", p - q, pooled, n + m, {"formula": "pooled"}),
        ("MD_pooled", "MD", p - q, pooled, n + m, {"formula": "pooled"}),
        ("MD_percent", "MD", 100 * (p - q), 100 * by_less, n + m, {"scale": 100.0}),
        ("RD_width", "RD", ends[1], (ends[2] - ends[0]) / 3.92, n + m, {"width": 0.5e-4}),
        ("RD_other_n", "RD", p - q, by_n, away, {"n": n + m}),
    ]
    if abs(60.0 * (p - q) - round(60.0 * (p - q))) < 1e-9:
        forms = forms[2:4]  # simple fractions are those of other tables too
    for name, measure, estimate, error, people, public in forms:
        outcome = Effect(
            question="q", measure=measure, estimate=estimate, standard_error=error, n=people
        )
        yield Made(outcome=outcome, form=f"effect_{name}", target=which, truth=cells[which],
                   public=public)  # fmt: skip


def _by_other_formulas(cells: list[int], which: int) -> Iterator[Made]:
    """Other intervals, Peto's odds ratio, Cohen's d, any two codes, a curve that is a parabola."""
    a, b, c, d = cells
    n1, n0, n, truth = a + b, c + d, sum(cells), cells[which]
    wider = 1.0 + (n % 7) / 25.0
    forms: list[tuple[str, Outcome, dict[str, Any]]] = []
    for effect in itertools.islice(_effects(cells), 3):
        is_simple = effect.measure != "RD" and _is_simple(effect.estimate)
        if effect.estimate and not is_simple:
            other = _like(effect, standard_error=wider * effect.standard_error)
            forms.append((f"effect_{effect.measure}_other_error", other, {"formula": "any"}))
    variance = n1 * n0 * (a + c) * (b + d) / (n * n * (n - 1.0))
    log_ratio = (a - n1 * (a + c) / n) / variance
    if log_ratio:
        made = Effect(
            question="q", measure="OR", estimate=log_ratio, standard_error=variance**-0.5, n=n
        )
        forms.append(("effect_OR_peto", made, {"formula": "peto"}))
    zero, step = 3.2, 4.7
    coded = [[zero + step] * yes + [zero] * no for yes, no in ((a, b), (c, d))]
    moments = Moments.from_values(*coded, question="q")
    codes = {"codes": (zero, step)}
    forms.append(("moments_any_codes", Moments.from_body(moments.body()), codes))
    forms.append(("effect_MD_any_codes", moments.effect("MD"), {"scale": step}))
    difference = a / n1 - c / n0
    if difference:
        spread = math.sqrt((a * b / n1 + c * d / n0) / (n - 2))
        error = math.sqrt(1 / n1 + 1 / n0 + (difference / spread) ** 2 / (2 * (n - 2)))
        cohen = Effect(
            question="q", measure="SMD", estimate=difference / spread, standard_error=error, n=n
        )
        forms.append(("effect_SMD_cohen", cohen, {"formula": "cohen"}))
    odds = table(cells).effect("OR")
    curve = LikelihoodProfile.from_function(
        question="q",
        measure="OR",
        log_likelihood=lambda x: -((x - odds.estimate) ** 2) / (2 * odds.standard_error**2),
        n=n,
    )
    forms.append(("profile_parabola", curve, {"formula": "parabola"}))
    for form, outcome, public in forms:
        yield Made(outcome=outcome, form=form, target=which, truth=truth, public=public)


def _like(effect: Effect, **changed: Any) -> Effect:
    return replace(effect, study=None, **changed)


def _is_simple(log_ratio: float) -> bool:
    """True for ratios that many tables have, of small whole numbers."""
    ratio = math.exp(log_ratio)
    return any(abs(ratio * whole - round(ratio * whole)) < 1e-9 for whole in range(1, 40))


def of_one_arm(site: Site) -> Iterator[Made]:
    """Proportions, rates and means of one group."""
    cells, which = site.cells(2)
    printed_to = (ROUNDED[sum(cells) % len(ROUNDED)],)
    k, others = cells
    truth = cells[which]
    n = k + others
    counts = Counts(question="q", events=k, total=n)
    time = float(site.rng.uniform(0.5, 3.0) * n)
    rates = Counts(question="q", events=k, total=n, person_time=time)
    values = Moments.from_values([1.0] * k + [0.0] * others, question="q")
    forms: list[tuple[str, Outcome]] = [
        ("counts_one_arm", counts),
        ("moments_one_arm", values),
    ]
    for effect in (counts.effect("PLO"), counts.effect("PR"), values.effect("MN")):
        forms.append((f"effect_{effect.measure}", effect))
        forms += [
            (f"effect_{effect.measure}_{decimals}_decimals", printed)
            for decimals in printed_to
            if (printed := rounded(effect, decimals)) is not None
        ]
    if which == 0:  # events; people without one are not in a rate
        forms += [("counts_rate", rates), ("effect_IRLN", rates.effect("IRLN"))]
        printed_rate = rounded(rates.effect("IRLN"), 3)
        forms += [("effect_IRLN_3_decimals", printed_rate)] if printed_rate else []
    for form, outcome in forms:
        yield Made(outcome=outcome, form=form, target=which, truth=truth)
    yield from _of_one_by_other_formulas(cells, which, time)
    # A third value that few people have.
    few = cells[which] if site.is_small else -(-3 * site.limit // site.base) * site.base
    rest = [0.0] * cells[1 - which] + [1.0] * cells[1 - which]
    yield Made(outcome=Moments.from_values([*rest, *[2.0] * few], question="q"),
               form="moments_three_values", target="third", truth=few)  # fmt: skip


def _of_one_by_other_formulas(cells: list[int], which: int, time: float) -> Iterator[Made]:
    """Agresti and Coull's proportion, widths of exact intervals, and few who have no event."""
    k, others = cells
    n, truth = k + others, cells[which]
    forms: list[tuple[str, Effect]] = []
    for formula, (estimate, error) in one_by_formula(float(k), float(n)).items():
        measure = formula.partition("_")[0]
        if measure == "IRLN" and which:
            continue  # people without an event are not in a rate
        told = float(estimate) - (math.log(time) if measure == "IRLN" else 0.0)
        effect = Effect(
            question="q", measure=measure, estimate=told, standard_error=float(error), n=n
        )
        forms.append((formula, effect))
    for formula, effect in forms:
        yield Made(outcome=effect, form=f"effect_{formula}", target=which, truth=truth,
                   public={"formula": formula})  # fmt: skip
    if which == 1:  # of an event that happens once, such as death
        rate = Counts(question="q", events=k, total=n, person_time=time)
        yield Made(outcome=rate, form="counts_rate_few_left", target=1, truth=truth)
        yield Made(outcome=rate.effect("IRLN"), form="effect_IRLN_few_left", target=1,
                   truth=truth, public={"formula": "left"})  # fmt: skip


def one_by_formula(k: Any, n: float) -> dict[str, tuple[Any, Any]]:
    """Estimate and standard error of k events of n people by formulas that programs use."""
    share = (k + 2.0) / (n + 4.0)
    low = k * (1 - 1 / (9 * k) - 1.96 / (3 * np.sqrt(k))) ** 3
    high = (k + 1) * (1 - 1 / (9 * (k + 1)) + 1.96 / (3 * np.sqrt(k + 1))) ** 3
    return {
        "PR_agresti_coull": (share, np.sqrt(share * (1 - share) / (n + 4.0))),
        "PLO_other_error": (np.log(k / (n - k)), 1.11 * np.sqrt(1 / k + 1 / (n - k))),
        "IRLN_byar": (np.log(k), np.log(high / np.maximum(low, 1e-9)) / 3.92),
    }


def of_rates(site: Site) -> Iterator[Made]:
    """Two arms with person-time; the cells are the events."""
    cells, which = site.cells(2)
    a, c = cells
    people = (400, 300)
    times = [float(site.rng.uniform(0.5, 3.0) * n) for n in people]
    counts = Counts(question="q", events=a, total=people[0], control_events=c,
                    control_total=people[1], person_time=times[0],
                    control_person_time=times[1])  # fmt: skip
    irr = counts.effect("IRR")
    forms: list[tuple[str, Outcome]] = [
        ("rates", counts),
        ("rates_profile", counts.profile()),
        ("effect_IRR", irr),
        ("effect_IRD", counts.effect("IRD")),
        (
            "effect_HR",
            Effect(question="q", measure="HR", estimate=irr.estimate, n=irr.n,
                   standard_error=1.01 * irr.standard_error),
        ),
    ]  # fmt: skip
    forms += [(f"effect_IRR_{decimals}_decimals", printed) for decimals in (3, 4)
              if (printed := rounded(irr, decimals)) is not None]  # fmt: skip
    for form, outcome in forms:
        yield Made(outcome=outcome, form=form, target=which, truth=cells[which])


def of_survival(site: Site) -> Iterator[Made]:
    """Arms with few people, few events, or few without; and none with events at all."""
    rng, low = site.rng, max(3 * site.limit, 40)
    few = int(rng.integers(1, site.limit)) if site.is_small else low
    happening = int(rng.integers(0, few + 1)) if site.is_small else low
    people = few - happening if site.is_small else low
    arms = (
        ("arm_without_events", 0, few, "people"),
        ("arm_of_few", happening, people, "people"),
        ("few_events", few, 2 * low, "events"),
        ("few_without_event", 2 * low, few, "others"),
    )
    control = low, 2 * low
    for name, events, others, target in arms:
        for ties in ("efron", "breslow"):
            own, rest = events + others, sum(control)
            treated = np.arange(own + rest) < own
            happened = np.r_[np.arange(own) < events, np.arange(rest) < control[0]]
            times = np.where(happened, rng.uniform(0.0, 9.0, len(treated)).round(1), 10.0)
            outcome = LikelihoodProfile.from_survival(
                question="q", times=times, events=happened.astype(float), treated=treated, ties=ties
            )
            truth = {"people": own, "events": events, "others": others}[target]
            yield Made(outcome=outcome, form=f"survival_{name}_{ties}", target=target, truth=truth)


def fitted(model: str, x: Floats, y: Floats, at: Floats, **options: bool) -> QuadraticLikelihood:
    """Score and information of a model; the event is the response of the linear one too."""
    if model == "logistic":
        return QuadraticLikelihood.from_logistic(
            question="q", features=x, labels=y, anchor=at, **options
        )
    if model == "poisson":
        return QuadraticLikelihood.from_poisson(
            question="q", features=x, events=y, anchor=at, **options
        )
    return QuadraticLikelihood.from_linear(
        question="q", features=x, responses=y, residual_variance=VARIANCE, anchor=at, **options
    )


def _rows(site: Site, columns: int) -> tuple[Floats, tuple[int, ...], int]:
    """Yes/no columns whose groups are all large, but for one group by one or two of them."""
    groups = list(itertools.product((0.0, 1.0), repeat=columns))
    low = max(3 * site.limit, math.ceil(200 / len(groups)))
    sizes = [-(-int(size) // site.base) * site.base
             for size in site.rng.integers(low, 2 * low, size=len(groups))]  # fmt: skip
    rows = np.repeat(groups, sizes, axis=0)
    if not site.is_small:
        return rows, (0,), sizes[0]
    few = int(site.rng.integers(1, site.limit))
    chosen = tuple(sorted(site.rng.choice(columns, size=min(2, columns), replace=False).tolist()))
    inside = rows[:, list(chosen)].all(axis=1)
    keep = np.flatnonzero(inside)[:few]
    rows = rows[np.sort(np.r_[np.flatnonzero(~inside), keep])]
    return rows, chosen, len(keep)


def of_models(site: Site) -> Iterator[Made]:
    """Score and information of models of 1 to 3 yes/no features, at several anchors.

    The last column is the event, so that a group by two columns may be events by a feature.
    """
    features = int(site.rng.integers(1, 4))
    rows, chosen, truth = _rows(site, features + 1)
    x, y = rows[:, :-1], rows[:, -1]
    n = len(rows)
    measured = site.rng.normal(size=n).round(2)
    for model in MODELS:
        for name, place, zero, step, anchor in (
            ("zero", 0, 0.0, 1.0, np.zeros(features + 1)),
            ("zero_ones_last", features, 0.0, 1.0, np.zeros(features + 1)),
            ("zero_coded_1_2", 0, 1.0, 1.0, np.zeros(features + 1)),
            ("zero_coded_-1_1", 0, -1.0, 2.0, np.zeros(features + 1)),
            ("intercept_only", 0, 0.0, 1.0, np.r_[-0.6, np.zeros(features)]),
            ("other", 0, 0.0, 1.0, site.rng.normal(0.0, 0.7, features + 1)),
        ):
            wide = np.insert(zero + step * x, place, 1.0, axis=1)
            at = anchor.astype(np.float32).astype(float)
            public = {"place": place, "zero": zero, "step": step, "anchor": at, "own": False}
            yield Made(outcome=fitted(model, wide, y, at), form=f"{model}_{name}", target=chosen,
                       truth=truth, public=public)  # fmt: skip
        own: dict[str, Any] = {"own": True, "anchor": np.zeros(features), "zero": 0.0, "step": 1.0}
        yield Made(
            outcome=fitted(model, x, y, own["anchor"], own_intercept=True),
            form=f"{model}_own_intercept",
            target=chosen,
            truth=truth,
            public=own,
        )
    wide = np.column_stack([np.ones(n), x, measured])
    at = np.r_[0.1, np.zeros(features), 0.3].astype(np.float32).astype(float)
    yield Made(outcome=fitted("logistic", wide, y, at), form="logistic_with_measured",
               target=chosen, truth=truth)  # fmt: skip
    outcome = QuadraticLikelihood.from_cox(
        question="q",
        features=x,
        times=site.rng.uniform(0.0, 9.0, n),
        events=y,
        anchor=[0.0] * features,
    )
    yield Made(outcome=outcome, form="cox_zero", target=chosen, truth=truth)
    # The same without what the site knows of its rows, as after a restart.
    wide = np.insert(x, 0, 1.0, axis=1)
    at = np.zeros(features + 1)
    bare = QuadraticLikelihood.from_body(fitted("logistic", wide, y, at).body())
    yield Made(
        outcome=bare,
        form="logistic_zero_read_back",
        target=chosen,
        truth=truth,
        public={"place": 0, "zero": 0.0, "step": 1.0, "anchor": at, "own": False},
    )


KINDS: dict[str, Callable[[Site], Iterator[Made]]] = {
    "two_arms": of_two_arms,
    "one_arm": of_one_arm,
    "rates": of_rates,
    "survival": of_survival,
    "models": of_models,
}

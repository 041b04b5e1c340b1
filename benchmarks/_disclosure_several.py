"""Seeded sites that answer more than once: about nested groups of people, or about the same ones.

Each answer alone is harmless or rounded, and a small cell is in what is left after subtracting one
from the other, or in the one table that fits them all.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from _disclosure_sites import MODELS, Made, Site, fitted, rounded, table

from qis.errors import QISError
from qis.outcomes import Counts, Moments, Outcome

Maker = Callable[[list[int]], Outcome]
ROUNDED = (4, 3)
EACH = 2
"""Pairs of one form, and of two forms, that a site makes of each size."""
OF_TABLES = ("OR", "RR", "RD")
OF_VALUES = ("MD", "SMD", "ROM")
OF_ONE = ("PLO", "PR")


def values(cells: list[int]) -> Moments:
    """Means of a yes/no variable of two arms, or of one."""
    arms = [[1.0] * yes + [0.0] * no for yes, no in zip(cells[::2], cells[1::2], strict=True)]
    return Moments.from_values(*arms, question="q")


def one_arm(cells: list[int]) -> Counts:
    """Counts of one group."""
    return Counts(question="q", events=cells[0], total=sum(cells))


def _effect(source: Callable[[list[int]], Any], measure: str, decimals: int | None = None) -> Maker:
    def make(cells: list[int]) -> Outcome:
        effect = source(cells).effect(measure)
        printed = effect if decimals is None else rounded(effect, decimals)
        if printed is None:
            raise QISError("nothing is left of its standard error")
        return printed

    return make


def _model(model: str) -> Maker:
    def make(cells: list[int]) -> Outcome:
        kinds = np.array([(1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (1.0, 0.0, 0.0)])
        rows = np.repeat(kinds, cells, axis=0)
        return fitted(model, rows[:, :2], rows[:, 2], np.zeros(2))

    return make


def _makers() -> dict[str, tuple[int, Maker]]:
    """By form: the number of cells, and what makes the outcome of them."""
    found: dict[str, tuple[int, Maker]] = {
        "counts": (4, table),
        "profile": (4, lambda cells: table(cells).profile()),
        "moments": (4, values),
        "counts_one_arm": (2, one_arm),
        "moments_one_arm": (2, values),
    }
    for source, measures, size in (
        (table, OF_TABLES, 4),
        (values, OF_VALUES, 4),
        (one_arm, OF_ONE, 2),
        (values, ("MN",), 2),
    ):
        for measure in measures:
            found[f"effect_{measure}"] = size, _effect(source, measure)
            for decimals in ROUNDED:
                name = f"effect_{measure}_{decimals}_decimals"
                found[name] = size, _effect(source, measure, decimals)
    for model in MODELS:
        found[f"model_{model}"] = 4, _model(model)
    return found


MAKERS = _makers()


def of_nested(site: Site) -> Iterator[Made]:
    """A first release, and a second one of more people or fewer; the rest has the small cell."""
    for size in (4, 2):
        rest, which = site.cells(size)
        part = Site(int(site.rng.integers(2**32)), site.limit, is_small=False, base=site.base)
        inside, _ = part.cells(size)
        whole = [a + b for a, b in zip(rest, inside, strict=True)]
        forms = {name: make for name, (cells, make) in MAKERS.items() if cells == size}
        names = list(forms)
        chosen = site.rng.choice(len(names), size=EACH, replace=False)
        pairs = [(names[int(nth)],) * 2 for nth in chosen]
        pairs += [
            (names[int(one)], names[int(other)])
            for one, other in site.rng.integers(len(names), size=(EACH, 2))
            if one != other
        ]
        for first, second in pairs:
            try:
                answers = forms[first](inside), forms[second](whole)
            except QISError:
                continue
            who = range(sum(inside)), range(sum(whole))
            name = first if first == second else "mixed"
            order = 1 if site.rng.random() < 0.5 else -1  # the part is published first, or later
            former, outcome = answers[::order]
            yield Made(
                outcome=outcome,
                form=f"nested_{name}",
                target=("rest", which),
                truth=rest[which],
                public={"part": answers[0], "whole": answers[1]},
                others=((former, {}),),
                who=who[::order],
            )


def of_overlaps(site: Site) -> Iterator[Made]:
    """Of X and Y, of Y and Z, and of all: Y has the small cell, and each release is harmless."""
    for name, size in (("counts", 4), ("profile", 4), ("moments", 4), ("counts_one_arm", 2)):
        middle, which = site.cells(size)
        ends = [Site(int(site.rng.integers(2**32)), site.limit, is_small=False, base=site.base)
                .cells(size)[0] for _ in range(2)]  # fmt: skip
        make = MAKERS[name][1]
        first, last = ends
        people = [sum(first), sum(first) + sum(middle), sum(first) + sum(middle) + sum(last)]
        releases = [
            (make([a + b for a, b in zip(first, middle, strict=True)]), range(people[1])),
            (make([a + b for a, b in zip(middle, last, strict=True)]), range(people[0], people[2])),
            (make([sum(each) for each in zip(first, middle, last, strict=True)]), range(people[2])),
        ]
        shown = dict(zip(("one", "other", "all"), (answer for answer, _ in releases), strict=True))
        releases = [
            (replace(answer, study=None, cohort=cohort), people)
            for cohort, (answer, people) in zip(shown, releases, strict=True)
        ]
        order = site.rng.permutation(3)
        *formers, (outcome, _) = [releases[int(nth)] for nth in order]
        yield Made(
            outcome=outcome,
            form=f"overlap_{name}",
            target=("middle", which),
            truth=middle[which],
            public=shown,
            others=tuple((each, {}) for each, _ in formers),
            who=tuple(releases[int(nth)][1] for nth in order),
        )


def of_the_same(site: Site) -> Iterator[Made]:
    """A rounded estimate, and what another kind of answer says about the same people or an arm."""
    cells, which = site.cells(4)
    a, b, c, d = cells
    n = a + b + c + d
    everybody, arms = range(n), (range(a + b), range(a + b, n))
    measured = site.rng.normal(50.0, 8.0, n).round(1)
    of_all = [a + c, b + d]
    seconds: list[tuple[str, Outcome, range]] = [
        ("counts_of_all", one_arm(of_all), everybody),
        ("PR_of_all", one_arm(of_all).effect("PR"), everybody),
        ("PLO_of_all", one_arm(of_all).effect("PLO"), everybody),
        ("values_of_all", values(of_all), everybody),
        ("counts_of_an_arm", one_arm([c, d]), arms[1]),
        ("PR_of_an_arm", one_arm([a, b]).effect("PR"), arms[0]),
        (
            "measured_means",
            Moments.from_values(measured[: a + b], measured[a + b :], question="q"),
            everybody,
        ),
    ]
    for source, measure in (
        *((table, each) for each in OF_TABLES),
        *((values, each) for each in OF_VALUES),
    ):
        printed = rounded(source(cells).effect(measure), 2)
        if printed is None:
            continue
        name, second, who = seconds[int(site.rng.integers(len(seconds)))]
        order = 1 if site.rng.random() < 0.5 else -1
        former, outcome = ((printed, everybody), (second, who))[::order]
        yield Made(
            outcome=outcome[0],
            form=f"same_{name}",
            target=("same", which),
            truth=cells[which],
            public={"effect": printed, "second": (name, second)},
            others=((former[0], {}),),
            who=(former[1], outcome[1]),
        )
    yield from _of_rates(site)


def _of_rates(site: Site) -> Iterator[Made]:
    """A rounded rate ratio and the rate difference of the same people."""
    cells, which = site.cells(2)
    people = (400, 300)
    times = [float(site.rng.uniform(0.5, 3.0) * n) for n in people]
    counts = Counts(question="q", events=cells[0], total=people[0], control_events=cells[1],
                    control_total=people[1], person_time=times[0],
                    control_person_time=times[1])  # fmt: skip
    printed = rounded(counts.effect("IRR"), 3)
    difference = counts.effect("IRD")
    other = 1 - which
    one_arm = Counts(
        question="q", events=cells[other], total=people[other], person_time=times[other]
    )
    first = sum(people[:other])
    yield Made(
        outcome=difference,
        form="same_rate_of_an_arm",
        target=("rate", which),
        truth=cells[which],
        public={"difference": difference, "arm": one_arm, "sign": (-1.0, 1.0)[other]},
        others=((one_arm, {}),),
        who=(range(first, first + people[other]), range(sum(people))),
    )
    if printed is None:
        return
    for order in (1, -1):
        former, outcome = (printed, difference)[::order]
        yield Made(
            outcome=outcome,
            form="same_rates",
            target=("rates", which),
            truth=cells[which],
            public={"ratio": printed, "difference": difference},
            others=((former, {}),),
            who=(range(sum(people)), range(sum(people))),
        )

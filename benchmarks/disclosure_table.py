"""From which smallest cell on a site may publish what: each form, under each preset, by the gate.

Three cells of a 2×2 table are large, the fourth has 1, 2, 3 … people, each of the four in turn; for
curves of survival it is the people of an arm, and for measured values those of the smaller arm. A
size passes if the gate lets all of its tables out. Printed is the smallest size from which on every
one passes, and whether an empty cell does.

    python benchmarks/disclosure_table.py          # the table of docs/disclosure.md
    python benchmarks/disclosure_table.py --json
"""

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from qis.disclosure import PRESETS, Disclosure
from qis.errors import DisclosureError, InputError
from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments, Outcome, QuadraticLikelihood

NAMES: Final = tuple(name for name in PRESETS if name != "none")
LARGE: Final = (80, 120, 90, 100)
"""The other cells: multiples of 5, so that `nhs` lets them be written."""
Cells = tuple[int, int, int, int]


def _table(cells: Cells) -> Counts:
    a, b, c, d = cells
    return Counts(question="q", events=a, total=a + b, control_events=c, control_total=c + d)


def _yes_no(cells: Cells) -> Moments:
    a, b, c, d = cells
    return Moments.from_values([1.0] * a + [0.0] * b, [1.0] * c + [0.0] * d, question="q")


def _rounded(effect: Effect) -> Effect:
    return Effect(
        question="q",
        measure=effect.measure,
        estimate=round(effect.estimate, 2),
        standard_error=round(effect.standard_error, 2),
        n=effect.n,
    )


def _model(cells: Cells) -> QuadraticLikelihood:
    """The event by an arm, at an anchor that is not zero."""
    rows = np.repeat([(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)], cells, axis=0)
    features = np.column_stack([np.ones(len(rows)), rows[:, 0]])
    return QuadraticLikelihood.from_logistic(
        question="q", features=features, labels=rows[:, 1], anchor=[-0.4, 0.3]
    )


def _measured(cells: Cells) -> Moments:
    rng = np.random.default_rng(cells)
    one, other = rng.normal(size=cells[0]), rng.normal(size=cells[1])
    return Moments.from_values(one, other, question="q")


def _survival(cells: Cells) -> LikelihoodProfile:
    """An arm of few people, half of whom have the event."""
    few, rng = cells[0], np.random.default_rng(cells)
    treated = np.arange(few + 200) < few
    happened = np.r_[np.arange(few) < few // 2, np.arange(200) < 100]
    times = np.where(happened, rng.uniform(0.0, 9.0, few + 200), 10.0)
    return LikelihoodProfile.from_survival(
        question="q", times=times, events=happened.astype(float), treated=treated
    )


FORMS: Final[dict[str, tuple[Callable[[Cells], Outcome], int]]] = {
    "`Counts`": (_table, 4),
    "its `LikelihoodProfile`": (lambda cells: _table(cells).profile(), 4),
    "its OR, RR, RD": (lambda cells: _table(cells).effect("OR"), 4),
    "its OR with 2 decimals": (lambda cells: _rounded(_table(cells).effect("OR")), 4),
    "`Moments` of a yes/no variable": (_yes_no, 4),
    "its MD": (lambda cells: _yes_no(cells).effect("MD"), 4),
    "`QuadraticLikelihood` of it": (_model, 4),
    "`Moments` of measured values: people of an arm": (_measured, 1),
    "survival profile: people of an arm": (_survival, 1),
}


def passes(preset: str, form: str, size: int) -> bool:
    """Whether the gate lets out every table of a form whose smallest cell has this size."""
    make, positions = FORMS[form]
    gate = Disclosure.preset(preset)
    for cells in _with_cell(size, positions):
        try:
            gate.check(make(cells))
        except DisclosureError:
            return False
        except InputError:  # the library makes no such outcome
            return False
    return True


def _with_cell(size: int, positions: int) -> Iterator[Cells]:
    for position in range(positions):
        a, b, c, d = (size if nth == position else LARGE[nth] for nth in range(4))
        yield a, b, c, d


def steps(preset: str, form: str) -> range:
    """Sizes that are tried; under a preset that rounds, those that give multiples."""
    rules = PRESETS[preset]
    step = rules.rounding
    most = 2 * rules.minimum_cell + 3
    if FORMS[form][0] is _survival:  # whose arms are told about, and half of them have the event
        step, most = (2 * step if step > 1 else 1), 4 * rules.minimum_cell
    return range(step, most + step, step)


def least(preset: str, form: str) -> int:
    """The smallest size from which on each passes; one more than the last tried if none does."""
    tried = steps(preset, form)
    found = tried[-1] + tried.step
    for size in reversed(tried):
        if not passes(preset, form, size):
            break
        found = size
    return found


def lines() -> list[str]:
    """The table in Markdown."""
    table = [f"| what leaves | {' | '.join(f'`{name}`' for name in NAMES)} |", "| --- " * 6 + "|"]
    for form in FORMS:
        cells = []
        for preset in NAMES:
            found = least(preset, form)
            zero = "0, " if FORMS[form][1] > 1 and passes(preset, form, 0) else ""
            cells.append(f"{zero}≥ {found}")
        table.append(f"| {form} | {' | '.join(cells)} |")
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one line of JSON at the end")
    if parser.parse_args().json:
        print(json.dumps({f"{p}: {form}": least(p, form) for p in NAMES for form in FORMS}))
    else:
        print("\n".join(lines()))


if __name__ == "__main__":
    main()

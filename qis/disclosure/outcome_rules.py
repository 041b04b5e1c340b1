"""Rules on a single outcome: number of people, small cells, size of a matrix, and rounding."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from qis.disclosure.any_formula import as_effect, with_people
from qis.disclosure.attacks import findings, is_known
from qis.disclosure.finding import Finding
from qis.disclosure.inversion import proven, systems
from qis.disclosure.ledger import Subjects
from qis.disclosure.models import read
from qis.disclosure.presets import Preset
from qis.disclosure.refusal import refuse
from qis.disclosure.unsearched import not_searched
from qis.errors import InputError
from qis.outcomes import (
    Effect,
    LikelihoodProfile,
    Moments,
    Outcome,
    QuadraticLikelihood,
    Record,
)

_WAYS_OUT_OF_SEARCH: Final = (
    "the numbers unrounded, which can be searched; counts or moments in place of them; more people"
)
_PEOPLE: Final[dict[type[Outcome], tuple[str, ...]]] = {
    Effect: ("n",),
    Moments: ("total", "control_total"),
}
"""By kind, the numbers of people that may be rounded while the others are exact."""


def check_outcome(rules: Preset, outcome: Outcome, subjects: Subjects | None) -> None:
    """Raise `DisclosureError` if a rule that looks at the outcome alone keeps it back.

    Parameters
    ----------
    rules
        The preset in force.
    outcome
        An outcome that is made from patients' data.
    subjects
        Hashes of the people it is made from, if given.

    Raises
    ------
    InputError
        If outcome and subjects differ in the number of people.

    """
    _check_people(rules, outcome, subjects)
    outcome = with_people(outcome, subjects)
    _check_cells(rules, outcome)
    curve = as_effect(outcome) if isinstance(outcome, LikelihoodProfile) else None
    if curve is not None:
        _check_cells(rules, curve)
    _check_dominance(rules, outcome)
    _check_matrix(rules, outcome)
    _check_searched(rules, outcome)
    _check_rounding(rules, outcome)


def _check_people(rules: Preset, outcome: Outcome, subjects: Subjects | None) -> None:
    n = getattr(outcome, "n", None)
    if subjects is not None:
        is_exact = not getattr(outcome, "protection", "")
        if n is not None and is_exact and n != len(subjects):
            raise InputError(
                f"the outcome has {n} people, subjects has {len(subjects)}", field="subjects"
            )
        n = len(subjects)
    if isinstance(outcome, Record):
        refuse(rules, "record", "what a Record holds cannot be checked", None)
    if not is_known(outcome):
        # A kind that was added elsewhere and forgotten here must not pass unseen.
        what = f"it is not known which counts of people a {type(outcome).__name__} shows"
        refuse(rules, "kind", what, None)
    if n is None:
        refuse(rules, "minimum_n", "the number of people is unknown: give n", None)
    if n < rules.minimum_cell:
        refuse(rules, "minimum_n", "it is made from too few people", n)


def _check_cells(rules: Preset, outcome: Outcome) -> None:
    for finding in findings(outcome, below=rules.minimum_cell):
        if 0 < finding.people < rules.minimum_cell:
            shown = finding.attack in ("written", "by subtraction")
            rule = "minimum_cell" if shown else "implied_cell"
            refuse(rules, rule, f"too few {finding.where}", finding.people)
    small = _proven(outcome, rules) or _of_rows(outcome, rules.minimum_cell)
    if small is not None:
        refuse(rules, "implied_cell", f"too few {small.where}", small.people)
    if isinstance(outcome, QuadraticLikelihood):
        _check_model(rules, outcome)
    if isinstance(outcome, Moments) and 0.0 in (outcome.ss, outcome.control_ss):
        refuse(rules, "no_variation", "everybody in an arm has the same value", 0)


def _proven(outcome: Outcome, rules: Preset) -> Finding | None:
    """Return a small cell that follows whichever number of people was rounded to the written one.

    A table without a small cell clears the outcome, if it has a number of people that may be meant.
    """
    limit = rules.minimum_cell
    small = proven(outcome, limit=limit)
    if small is not None or rules.rounding < 2 or any(systems(outcome, limit=limit)):
        return small
    found = None
    for numbers in _unrounded(outcome, rules.rounding):
        small = proven(numbers, limit=limit)
        if small is None and any(systems(numbers, limit=limit)):
            return None
        found = found or small
    return found


def _unrounded(outcome: Outcome, base: int) -> Iterator[Outcome]:
    """The outcome with each other number of people that is rounded to the written one."""
    for field in _PEOPLE.get(type(outcome), ()):
        written = getattr(outcome, field)
        for step in range(-(base // 2), base - base // 2) if written is not None else ():
            if step and written + step > 1:
                changed: dict[str, Any] = {"study": None, field: written + step}
                yield replace(outcome, **changed)


def _of_rows(outcome: Outcome, limit: int) -> Finding | None:
    """Return the smallest group of people with one value, if a variable of few values has one."""
    known = outcome.known if isinstance(outcome, Moments | Effect) else None
    cell = (known.smallest_cell or 0) if known is not None else 0
    if not 0 < cell < limit:
        return None
    return Finding("as the rows show", "people with one of two or three values", cell)


def _check_dominance(rules: Preset, outcome: Outcome) -> None:
    """Apply the p % rule and the (n, k) rule to a mean, whose sum others may know."""
    known = outcome.known if isinstance(outcome, Moments | Effect) else None
    if known is None or not known.largest_share or known.largest_two is None:
        return
    if known.largest_two > rules.dominance_two:
        what = "the two people with the largest values have too much of the sum"
        refuse(rules, "dominance", what, known.largest_two, limit=rules.dominance_two)
    rest = (1.0 - known.largest_two) / known.largest_share
    if rest < rules.dominance_p:
        what = "whoever has the second largest value can tell the largest too well from the sum"
        refuse(rules, "dominance", what, rest, limit=rules.dominance_p)


def _check_model(rules: Preset, outcome: QuadraticLikelihood) -> None:
    limit = rules.minimum_cell
    reading = read(outcome, limit=limit)
    if reading.small is not None:
        refuse(rules, "implied_cell", f"too few {reading.small.where}", reading.small.people)
    known = outcome.known
    share = known.largest_share if known is not None else None
    if share is not None and share > 1.0 / limit:
        what = "one person has too much of the information at this anchor"
        ways_out = "an anchor nearer to what the data say, or more people"
        refuse(rules, "largest_share", what, share, limit=1.0 / limit, ways_out=ways_out)
    least = rules.people_per_coefficient * len(outcome.diagonal) * limit
    if reading.not_searched and outcome.n < least:
        what = f"{reading.not_searched}; from {least} people on it would pass"
        refuse(rules, "not_searched", what, outcome.n, limit=least)


def _check_searched(rules: Preset, outcome: Outcome) -> None:
    """An estimate of few people must be searched whole; models have a rule of their own."""
    if not isinstance(outcome, Effect) or outcome.n is None:
        return
    least = rules.people_per_coefficient * rules.minimum_cell
    for said in not_searched(outcome, limit=rules.minimum_cell) if outcome.n < least else ():
        refuse(rules, "not_searched", f"{said}; from {least} people on it would pass", outcome.n,
               limit=least, ways_out=_WAYS_OUT_OF_SEARCH)  # fmt: skip


def _check_matrix(rules: Preset, outcome: Outcome) -> None:
    if isinstance(outcome, QuadraticLikelihood):
        size = len(outcome.diagonal)
        least = rules.people_per_coefficient * size
        if outcome.n < least:
            what = f"{outcome.n} people for {size} coefficients, at least {least} are needed"
            refuse(rules, "people_per_coefficient", what, outcome.n, limit=least)


def _check_rounding(rules: Preset, outcome: Outcome) -> None:
    base = rules.rounding
    for finding in findings(outcome, below=1) if base > 1 else ():
        if finding.attack == "written" and finding.people % base:
            what = f"{finding.sentence} is no multiple of {base}"
            refuse(rules, "rounding", what, finding.people, limit=base)

"""Several answers of a model: their budget, what they say together, and what one leaves of another.

Score and information are sums over people. Answers at several anchors are more equations for the
same groups; and of two answers at one anchor, where one is about a part of the other's people, the
difference is the answer of the others, and must pass as if it were released itself.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NoReturn

import numpy as np

from qis.disclosure.margins import Margins
from qis.disclosure.models import read_at_anchor, smallest, tables_of
from qis.disclosure.own_groups import own_groups
from qis.disclosure.presets import Preset
from qis.disclosure.refusal import refuse
from qis.disclosure.solved_groups import solved
from qis.disclosure.told_groups import ToldGroups, told_groups
from qis.disclosure.triples import small_of_three
from qis.errors import InputError
from qis.outcomes import Outcome, QuadraticLikelihood

RULE: Final = "answers"
_UNSOLVED: Final = (
    "groups by all columns, which several answers may tell together (an anchor moves a measured "
    "column, there are more than five yes/no columns, it is a Cox model, or the rows are not known)"
)
_FLOOR: Final = 1e-9
"""Least eigenvalue of a difference of matrices, as a share of the largest: they were rounded."""


def check_budget(rules: Preset, outcome: Outcome, same: Sequence[Outcome]) -> None:
    """Each answer of p coefficients takes its people; linear ones say the same at each anchor."""
    if not isinstance(outcome, QuadraticLikelihood):
        return
    models = [answer for answer in same if isinstance(answer, QuadraticLikelihood)]
    linear: set[bytes] = set()
    spent = 0
    for answer in (*models, outcome):
        said = answer.information.tobytes()
        if answer.model != "linear" or said not in linear:
            spent += len(answer.diagonal)
        if answer.model == "linear":
            linear.add(said)
    least = rules.people_per_coefficient * spent
    if models and outcome.n < least:
        what = (
            f"{len(models) + 1} answers about the same people have {spent} coefficients together, "
            f"which takes {least} people"
        )
        ways_out = "an answer that was given already, which costs nothing; fewer coefficients"
        refuse(rules, RULE, what, outcome.n, limit=least, ways_out=ways_out)


def check_anchors(rules: Preset, outcome: Outcome, same: Sequence[Outcome]) -> None:
    """Answers at several anchors are more equations for the sizes of the same groups.

    Groups by all columns at once are no concern of a single answer, which is searched by two and
    three; but what a further answer tells of them beyond the former ones, an anchor that others
    steer can ask for.
    """
    if not isinstance(outcome, QuadraticLikelihood):
        return
    said = unsolved(outcome, same)
    if said and (outcome.known is None or outcome.known.smallest_cell is None):
        answered = 1 + sum(isinstance(answer, QuadraticLikelihood) for answer in same)
        least = rules.people_per_coefficient * len(outcome.diagonal) * answered * rules.minimum_cell
        if outcome.n < least:
            refuse(rules, "not_searched", said, outcome.n, limit=least)
    models = _solvable(outcome, same)
    if not models:
        return
    small = newly_told(outcome, models, limit=rules.minimum_cell)
    if small:
        what = f"too few people in a group by all columns (from {len(models) + 1} answers together)"
        refuse(rules, RULE, what, min(small.values()))
    is_own = outcome.known is not None and outcome.known.own_intercept
    if is_own or _knows_no_small(outcome, rules):
        return
    table = solved([outcome, *models])
    if table is None:
        return
    limit = rules.minimum_cell
    found = smallest(table, limit) or small_of_three(table, limit=limit)[0]
    if found is not None:
        what = f"too few {found.cell} (from {len(models) + 1} answers together)"
        refuse(rules, RULE, what, found.people)


def newly_told(
    outcome: QuadraticLikelihood, models: Sequence[QuadraticLikelihood], *, limit: int
) -> dict[tuple[float, ...], int]:
    """Small groups by all yes/no columns that an answer tells together with former ones."""
    now, before = _told([*models, outcome], outcome), _told(models, outcome)
    if now is None:
        return {}
    known = {} if before is None else before.surely_small(limit)
    return {group: size for group, size in now.small(limit).items() if group not in known}


def _told(
    answers: Sequence[QuadraticLikelihood], outcome: QuadraticLikelihood
) -> ToldGroups | None:
    """What answers tell of the groups of one whose rows are known; `None` if it is not known."""
    known = outcome.known
    if known is not None and known.own_intercept:
        return own_groups(answers, known)
    return told_groups(answers)


def unsolved(outcome: Outcome, same: Sequence[Outcome]) -> str:
    """Why answers of a model are not solved together, in words; empty if they are, or it is one.

    A linear model says the same at each anchor.
    """
    if not isinstance(outcome, QuadraticLikelihood) or outcome.model == "linear":
        return ""
    others = [
        answer
        for answer in same
        if isinstance(answer, QuadraticLikelihood) and answer.model == outcome.model
    ]
    models = _solvable(outcome, same)
    found = _told([*models, outcome], outcome) if len(models) == len(others) else None
    return "" if not others or (found is not None and found.is_solved) else _UNSOLVED


def told_together(outcome: Outcome, same: Sequence[Outcome]) -> str:
    """What an answer says together with the former ones about the same people, in words."""
    if not isinstance(outcome, QuadraticLikelihood):
        return ""
    models = _solvable(outcome, same)
    number = 1 + sum(isinstance(answer, QuadraticLikelihood) for answer in same)
    if number == 1:
        return ""
    head = f"answer {number} about the same people: with the first {number - 1} one could read"
    now = _told([*models, outcome], outcome) if models else None
    if now is None:
        return f"{head} what the anchors move; groups by all columns cannot be solved for"
    groups = f"the sizes of {int(now.is_told.sum())} of {len(now.sizes)} groups"
    columns = ", ".join(f"feature {column + 1}" for column in now.columns)
    hidden = "" if now.is_solved else ", the others hidden by how a measured column is moved"
    return f"{head} {groups} by all of {columns}{hidden}"


def _solvable(outcome: QuadraticLikelihood, same: Sequence[Outcome]) -> list[QuadraticLikelihood]:
    """The former answers whose equations are those of the same groups."""
    if outcome.known is None:
        return []
    return [
        answer
        for answer in same
        if isinstance(answer, QuadraticLikelihood)
        and answer.known is not None
        and answer.model == outcome.model
        and len(answer.diagonal) == len(outcome.diagonal)
        and answer.known.own_intercept == outcome.known.own_intercept
    ]


def _knows_no_small(outcome: Outcome, rules: Preset) -> bool:
    known = outcome.known
    if known is None or known.smallest_cell is None or known.smallest_of_three is None:
        return False
    cells = known.smallest_cell, known.smallest_of_three
    return not any(0 < cell < rules.minimum_cell for cell in cells)


def check_models_apart(rules: Preset, whole: Outcome, part: Outcome, cohort: str) -> None:
    """Raise `DisclosureError` if a model's answer less that of a part of its people says too much.

    Parameters
    ----------
    rules
        The preset in force.
    whole, part
        Two answers, the second about some of the people of the first; other kinds pass.
    cohort
        The cohort of the one that was released before.

    """
    if not isinstance(whole, QuadraticLikelihood) or not isinstance(part, QuadraticLikelihood):
        return
    limit, size = rules.minimum_cell, len(whole.diagonal)
    if whole.model != part.model or size != len(part.diagonal):
        return
    rest = _rest(whole, part)
    tables = _tables_less(whole, part)
    for table in tables:
        small = smallest(table, limit)
        if small is not None:
            refuse_rest(rules, small.cell, small.people, cohort)
    people, least = whole.n - part.n, rules.people_per_coefficient * size
    if people < least:
        refuse_rest(rules, f"people for {size} coefficients", people, cohort, limit=least)
    if rest is None:
        return
    reading = read_at_anchor(rest, limit=limit)
    if reading.small is not None:
        refuse_rest(rules, reading.small.cell, reading.small.people, cohort)
    if reading.not_searched and people < least * limit:
        what = f"people for what cannot be searched; {reading.not_searched}"
        refuse_rest(rules, what, people, cohort, limit=least * limit)


def refuse_rest(
    rules: Preset, what: str, actual: int, cohort: str, *, limit: int | None = None
) -> NoReturn:
    """Refuse for too few of something among the people in one release and not in another."""
    text = f"too few {what} (by comparing with what was released for cohort {cohort!r})"
    refuse(rules, RULE, text, actual, limit=limit)


def _rest(whole: QuadraticLikelihood, part: QuadraticLikelihood) -> QuadraticLikelihood | None:
    """The answer of the people in one and not in the other; `None` unless anchors are the same."""
    if whole.anchor_id != part.anchor_id or whole.known is None or whole.known.own_intercept:
        return None
    values, vectors = np.linalg.eigh(whole.information - part.information)
    values = np.maximum(values, _FLOOR * max(float(values[-1]), _FLOOR))
    events = None if whole.events is None else whole.events - (part.events or 0)
    try:
        return QuadraticLikelihood.from_terms(
            question="-",
            model=whole.model,
            score=whole.score - part.score,
            information=vectors @ np.diag(values) @ vectors.T,
            anchor=whole.known.anchor,
            n=whole.n - part.n,
            events=events,
        )
    except InputError:
        return None  # no people have these numbers, so they are of others


def _tables_less(whole: QuadraticLikelihood, part: QuadraticLikelihood) -> Iterator[Margins]:
    """Tables of yes/no columns of the people in one answer and not in another."""
    for table in tables_of(whole):
        for other in tables_of(part):
            pairs = table.pairs - other.pairs if table.names == other.names else None
            if pairs is not None and (pairs >= 0).all():
                yield Margins(table.names, table.people - other.people, pairs)

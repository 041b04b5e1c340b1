"""Several answers about the same people are one answer: their budget, and what they say together.

Outsiders keep every packet. So what a new answer says is looked at together with all former ones
about the same rows (the same subjects; without subjects, the same cohort and number of people) and
with those about a part of them, or about more, since one can be subtracted from the other.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from qis import _canonical
from qis.disclosure.finding import Finding
from qis.disclosure.ledger import Emission
from qis.disclosure.margins import Margins, solved
from qis.disclosure.models import smallest, tables_of
from qis.disclosure.presets import Preset
from qis.disclosure.refusal import refuse
from qis.disclosure.subtraction import Sum, less, small_in, sum_of
from qis.disclosure.triples import small_of_three
from qis.disclosure.two_by_two import MEASURES, gives, tables
from qis.errors import QISError
from qis.outcomes import Effect, Outcome, QuadraticLikelihood, outcome_from_body
from qis.outcomes._base import knowing
from qis.outcomes._data_summary import DataSummary

Floats = NDArray[np.float64]

RULE: Final = "answers"
_LABELS: Final = ("events", "others", "control events", "control others")


def check_answers(
    rules: Preset, outcome: Outcome, new: Emission, formers: Sequence[Emission]
) -> None:
    """Raise `DisclosureError` if an answer says too much together with former ones.

    Parameters
    ----------
    rules
        The preset in force.
    outcome
        What is to leave.
    new
        Its entry for the ledger.
    formers
        What left under the same study.

    """
    others = [former for former in formers if former.digest != new.digest and former.body]
    same = [answer for former in others if _is_same_rows(new, former) and (answer := _read(former))]
    _check_budget(rules, outcome, same)
    _check_effects(rules, outcome, same)
    _check_models(rules, outcome, same)
    own: Sum | None = None
    left: Sum | None = None
    taken: set[bytes] = set()
    for other in others:
        is_part, is_whole = _is_part(other, new), _is_part(new, other)
        answer = _read(other) if is_part or is_whole else None
        if answer is None:
            continue
        own = own or sum_of(outcome)
        said = sum_of(answer)
        _check_rest(rules, less(own, said) if is_part else less(said, own), other.cohort)
        pair = (outcome, answer) if is_part else (answer, outcome)
        for table in _tables_less(*pair):
            small = smallest(table, rules.minimum_cell)
            if small is not None:
                _refuse_rest(rules, small, other.cohort)
        # Disjoint parts are subtracted one after the other too.
        if is_part and other.subjects is not None and taken.isdisjoint(other.subjects):
            taken |= other.subjects.keys()
            left = less(left or own, said)
            _check_rest(rules, left, other.cohort)


def _is_same_rows(new: Emission, former: Emission) -> bool:
    if new.subjects is not None and former.subjects is not None:
        return new.subjects.keys() == former.subjects.keys()
    return new.cohort == former.cohort and new.n == former.n


def _is_part(one: Emission, other: Emission) -> bool:
    """True if one release is about some of the people of another, and about no others."""
    if one.subjects is not None and other.subjects is not None:
        return one.subjects.keys() < other.subjects.keys()
    return one.cohort == other.cohort and (one.n or 0) < (other.n or 0)


def _read(former: Emission) -> Outcome | None:
    """The outcome of a ledger's entry, with what is public of it; `None` if it cannot be read."""
    try:
        outcome = outcome_from_body(former.kind, _canonical.decode(former.body))
        public: dict[str, Any] = json.loads(former.public) if former.public else {}
    except (QISError, ValueError, KeyError, TypeError):
        return None  # of another version: what it says is not searched
    if public:
        summary = DataSummary(
            anchor=tuple(map(float, public["anchor"])),
            weight=public["weight"],
            own_intercept=bool(public["own_intercept"]),
        )
        knowing(outcome, summary)
    return outcome


def _check_budget(rules: Preset, outcome: Outcome, same: Sequence[Outcome]) -> None:
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


def _check_effects(rules: Preset, outcome: Outcome, same: Sequence[Outcome]) -> None:
    """Rounded estimates of one table leave fewer tables together than each alone."""
    effects = [
        answer
        for answer in same
        if isinstance(answer, Effect) and answer.measure in MEASURES and answer.n is not None
    ]
    if not effects or not isinstance(outcome, Effect) or outcome.measure not in MEASURES:
        return
    first, *rest = sorted([outcome, *effects], key=_coarseness)
    limit = rules.minimum_cell
    small: Floats | None = None
    for part, is_plain in tables(first):
        kept = part
        for effect in rest:
            kept = kept[gives(effect, kept)]
        without = ((kept == 0) | (kept >= limit)).all(axis=1)
        if is_plain and without.any():
            return
        if not without.all():
            small = kept[~without][0]
    if small is not None:
        cell, people = min(
            ((name, int(count)) for name, count in zip(_LABELS, small, strict=True)
             if 0 < count < limit), key=lambda pair: pair[1],
        )  # fmt: skip
        what = f"too few {cell} (from {len(effects) + 1} estimates of the same people together)"
        refuse(rules, RULE, what, people)


def _coarseness(effect: Effect) -> int:
    """Number of digits, fewest last: the finest leaves the fewest tables to try."""
    return -len(f"{effect.estimate!r}{effect.standard_error!r}")


def _check_models(rules: Preset, outcome: Outcome, same: Sequence[Outcome]) -> None:
    """Answers at several anchors are more equations for the sizes of the same groups."""
    if not isinstance(outcome, QuadraticLikelihood) or _knows_no_small(outcome, rules):
        return
    models = [
        answer
        for answer in same
        if isinstance(answer, QuadraticLikelihood)
        and answer.known is not None
        and answer.model == outcome.model
        and len(answer.diagonal) == len(outcome.diagonal)
        and not answer.known.own_intercept
    ]
    if not models or outcome.known is None or outcome.known.own_intercept:
        return
    table = solved([outcome, *models])
    if table is None:
        return
    limit = rules.minimum_cell
    found = smallest(table, limit) or small_of_three(table, limit=limit)[0]
    if found is not None:
        what = f"too few {found.cell} (from {len(models) + 1} answers together)"
        refuse(rules, RULE, what, found.people)


def _knows_no_small(outcome: Outcome, rules: Preset) -> bool:
    known = outcome.known
    if known is None or known.smallest_cell is None or known.smallest_of_three is None:
        return False
    cells = known.smallest_cell, known.smallest_of_three
    return not any(0 < cell < rules.minimum_cell for cell in cells)


def _tables_less(whole: Outcome, part: Outcome) -> Iterator[Margins]:
    """Tables of yes/no columns of the people in one answer and not in another."""
    if not isinstance(whole, QuadraticLikelihood) or not isinstance(part, QuadraticLikelihood):
        return
    for table in tables_of(whole):
        for other in tables_of(part):
            pairs = table.pairs - other.pairs if table.names == other.names else None
            if pairs is not None and (pairs >= 0).all():
                yield Margins(table.names, table.people - other.people, pairs)


def _check_rest(rules: Preset, rest: Sum, cohort: str) -> None:
    """A difference of two releases must pass as if it were released itself."""
    small = small_in(rest, limit=rules.minimum_cell)
    if small is not None:
        _refuse_rest(rules, small, cohort)


def _refuse_rest(rules: Preset, small: Finding, cohort: str) -> NoReturn:
    what = f"too few {small.cell} (by comparing with what was released for cohort {cohort!r})"
    refuse(rules, RULE, what, small.people)

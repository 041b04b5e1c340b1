"""Several answers about the same people are one answer: their budget, and what they say together.

Outsiders keep every packet. So what a new answer says is looked at together with all former ones
about the same rows (the same subjects; without subjects, the same cohort and number of people) and
with those about a part of them, or about more, since one can be subtracted from the other.
"""

import json
from collections.abc import Sequence
from typing import Any

from qis import _canonical
from qis.disclosure.answer_tables import AnswerTables, answer_tables
from qis.disclosure.ledger import Emission
from qis.disclosure.model_answers import (
    RULE,
    check_anchors,
    check_budget,
    check_models_apart,
    refuse_rest,
)
from qis.disclosure.presets import Preset
from qis.disclosure.refusal import refuse
from qis.disclosure.subtraction import less, small_in
from qis.disclosure.together import Cut, cuts_of, cuts_of_arm, is_seed, small_together
from qis.errors import QISError
from qis.outcomes import Effect, Outcome, outcome_from_body
from qis.outcomes._base import knowing
from qis.outcomes._data_summary import DataSummary


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
    others = [
        (former, answer)
        for former in formers
        if former.digest != new.digest and former.body
        if _is_related(new, former) and (answer := _read(former)) is not None
    ]
    same = [answer for former, answer in others if _is_same_rows(new, former)]
    check_budget(rules, outcome, same)
    _check_together(rules, outcome, new, others)
    check_anchors(rules, outcome, same)
    own: AnswerTables | None = None
    left: AnswerTables | None = None
    taken: set[bytes] = set()
    for other, answer in others:
        is_part = _is_part(other, new)
        if not is_part and not _is_part(new, other):
            continue
        own = own or answer_tables(outcome)
        said = answer_tables(answer)
        _check_rest(rules, less(own, said) if is_part else less(said, own), other.cohort)
        pair = (outcome, answer) if is_part else (answer, outcome)
        check_models_apart(rules, *pair, other.cohort)
        # Disjoint parts are subtracted one after the other too.
        if is_part and other.subjects is not None and taken.isdisjoint(other.subjects):
            taken |= other.subjects.keys()
            left = less(left or own, said)
            _check_rest(rules, left, other.cohort)


def _is_same_rows(new: Emission, former: Emission) -> bool:
    if new.subjects is not None and former.subjects is not None:
        return new.subjects.keys() == former.subjects.keys()
    return new.cohort == former.cohort and new.n == former.n


def _is_related(one: Emission, other: Emission) -> bool:
    """True if one release is about the same people as the other, or a part of them, or more."""
    return _is_same_rows(one, other) or _is_part(one, other) or _is_part(other, one)


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


def _check_together(
    rules: Preset, outcome: Outcome, new: Emission, formers: Sequence[tuple[Emission, Outcome]]
) -> None:
    """Cut the tables behind each estimate by what all others say of the same people."""
    answers = [(new, outcome), *formers]
    for own, seed in answers:
        if not isinstance(seed, Effect) or not is_seed(seed):
            continue
        cuts: list[Cut] = []
        needed: list[Cut] = []
        for other, answer in answers:
            if other is own:
                continue
            said = needed if other is new else cuts
            if _is_same_rows(own, other):
                said += cuts_of(answer, seed)
            elif _is_part(other, own):
                said += cuts_of_arm(answer)
        if own is not new and not needed:
            continue  # what is new says nothing of this one
        small = small_together(seed, cuts, needed, limit=rules.minimum_cell)
        if small is not None:
            refuse(rules, RULE, f"too few {small.where}", small.people)


def _check_rest(rules: Preset, rest: AnswerTables, cohort: str) -> None:
    """A difference of two releases must pass as if it were released itself."""
    small = small_in(rest, limit=rules.minimum_cell)
    if small is not None:
        refuse_rest(rules, small.cell, small.people, cohort)

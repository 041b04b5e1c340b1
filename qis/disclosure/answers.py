"""Several answers about the same people are one answer: their budget, and what they say together.

Outsiders keep every packet. So what a new answer says is looked at together with all former ones
about the same rows (the same subjects; without subjects, the same cohort and number of people) and
with those about a part of them, or about more, since one can be subtracted from the other.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import numpy as np

from qis import _canonical
from qis.disclosure.answer_tables import NAMES, AnswerTables, answer_tables
from qis.disclosure.any_formula import as_effect, with_people
from qis.disclosure.ledger import Emission
from qis.disclosure.model_answers import (
    RULE,
    check_anchors,
    check_budget,
    check_models_apart,
    refuse_rest,
    told_together,
    unsolved,
)
from qis.disclosure.presets import Preset
from qis.disclosure.rates import few_events
from qis.disclosure.refusal import refuse
from qis.disclosure.subtraction import less, small_in
from qis.disclosure.together import Cut, cuts_of, cuts_of_arm, is_seed, small_together
from qis.disclosure.two_by_two import CORRECTED
from qis.disclosure.unions import Release, of_unions, unsearched
from qis.errors import QISError
from qis.outcomes import Effect, LikelihoodProfile, Moments, Outcome, outcome_from_body
from qis.outcomes._base import knowing
from qis.outcomes._data_summary import DataSummary

_EXACT_TABLES: Final = 8
"""A table that is known has at most so many mirror images."""


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
    outcome = _as_read(outcome, new)
    every = _readable(new, formers)
    others = [(former, answer) for former, answer in every if _is_related(new, former)]
    same = [answer for former, answer in others if _is_same_rows(new, former)]
    check_budget(rules, outcome, same)
    _check_corrected(rules, outcome, new, others)
    _check_together(rules, outcome, new, others)
    check_anchors(rules, outcome, same)
    _check_unions(rules, outcome, new, every)
    for other, answer in others:
        is_part = _is_part(other, new)
        if not is_part and not _is_part(new, other):
            continue
        pair = (outcome, answer) if is_part else (answer, outcome)
        for corrected in (True, False) if any(map(_may_be_corrected, pair)) else (True,):
            whole, part = (answer_tables(each, corrected=corrected) for each in pair)
            _check_rest(rules, less(whole, part), other.cohort)
        check_models_apart(rules, *pair, other.cohort)


def _may_be_corrected(outcome: Outcome) -> bool:
    return isinstance(outcome, Effect) and outcome.measure in CORRECTED


def told_by_answers(outcome: Outcome, new: Emission, formers: Sequence[Emission]) -> list[str]:
    """What a model's answer says together with the former ones about the same people, in words."""
    every = _readable(new, formers)
    same = [answer for former, answer in every if _is_same_rows(new, former)]
    told = told_together(outcome, same)
    return [told] if told else []


def not_searched_together(
    outcome: Outcome, new: Emission, formers: Sequence[Emission]
) -> tuple[str, ...]:
    """What is not searched in an answer together with the former ones, in words without numbers."""
    every = _readable(new, formers)
    same = [answer for former, answer in every if _is_same_rows(new, former)]
    together = _releases(outcome, new, every)
    said = (unsolved(outcome, same), "" if together is None else unsearched(*together))
    return tuple(each for each in said if each)


def _readable(new: Emission, formers: Sequence[Emission]) -> list[tuple[Emission, Outcome]]:
    """The former releases whose content is known, each with that."""
    return [
        (former, answer)
        for former in formers
        if former.digest != new.digest and former.body
        if (answer := _read(former)) is not None
    ]


def _as_read(outcome: Outcome, emission: Emission) -> Outcome:
    """The outcome as one reads it who knows its people; a curve that is a parabola is an effect."""
    whole = with_people(outcome, emission.subjects)
    curve = as_effect(whole) if isinstance(whole, LikelihoodProfile) else None
    return whole if curve is None else curve


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
    return _as_read(outcome, former)


def _check_corrected(
    rules: Preset, outcome: Outcome, new: Emission, formers: Sequence[tuple[Emission, Outcome]]
) -> None:
    """Two tables of the same people that differ by a few show a few whose data were changed."""
    own = answer_tables(outcome).forms
    for former, answer in formers:
        if not _is_same_rows(new, former):
            continue
        said = answer_tables(answer).forms
        form = next((form for form in NAMES if form in own and form in said), None)
        if form is not None and max(len(own[form]), len(said[form])) <= _EXACT_TABLES:
            apart = np.abs(own[form][:, np.newaxis] - said[form]).max(axis=2)
            changed = int(apart.min())
            if 0 < changed < rules.minimum_cell:
                _refuse_corrected(rules, changed, former.cohort)
        elif isinstance(outcome, Moments) and isinstance(answer, Moments):
            # Else the ledger has compared the data of each person.
            is_untold = not all((new.subjects or {}).values())
            if is_untold and answer_tables(outcome).arms != answer_tables(answer).arms:
                _refuse_corrected(rules, None, former.cohort)


def _refuse_corrected(rules: Preset, changed: int | None, cohort: str) -> NoReturn:
    what = (
        "it is of the same people as what was released for cohort "
        f"{cohort!r}, and a few of them, or nobody knows how many, have other data now"
    )
    ways_out = "what was released already; more corrections at once; data in subject_hashes"
    refuse(rules, "difference", what, changed, ways_out=ways_out)


def _check_unions(
    rules: Preset, outcome: Outcome, new: Emission, formers: Sequence[tuple[Emission, Outcome]]
) -> None:
    """Whatever group several releases show by sums and differences must pass itself."""
    together = _releases(outcome, new, formers)
    if together is None:
        return
    for found in of_unions(*together):
        small = small_in(found, limit=rules.minimum_cell)
        if small is not None:
            what = f"too few {small.cell} in a group that several releases show together"
            refuse(rules, RULE, what, small.people)
    said = unsearched(*together)
    least = rules.people_per_coefficient * rules.minimum_cell
    if said and len(new.subjects or ()) < least:
        refuse(rules, "not_searched", said, len(new.subjects or ()), limit=least)


def _releases(
    outcome: Outcome, new: Emission, formers: Sequence[tuple[Emission, Outcome]]
) -> tuple[Release, list[Release]] | None:
    """A release and the former ones whose people are known; `None` if there is one of these."""
    known = [
        Release(former.subjects, answer_tables(answer))
        for former, answer in formers
        if former.subjects is not None
    ]
    if new.subjects is None or len(known) < 2:
        return None
    return Release(new.subjects, answer_tables(outcome)), known


def _check_together(
    rules: Preset, outcome: Outcome, new: Emission, formers: Sequence[tuple[Emission, Outcome]]
) -> None:
    """Cut the tables behind each estimate by what all others say of the same people."""
    answers = [(new, outcome), *formers]
    for own, seed in answers:
        if isinstance(seed, Effect) and seed.measure == "IRD":
            _check_rates(rules, (own, seed), new, answers)
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


def _check_rates(
    rules: Preset,
    difference: tuple[Emission, Effect],
    new: Emission,
    answers: Sequence[tuple[Emission, Outcome]],
) -> None:
    """Solve a difference of rates with each other rate of these people, or of one arm."""
    own, effect = difference
    for other, answer in answers:
        if other is own or (own is not new and other is not new):
            continue
        is_arm = _is_part(other, own)
        if not is_arm and not _is_same_rows(own, other):
            continue
        small = few_events(effect, answer, is_arm=is_arm, limit=rules.minimum_cell)
        if small is not None:
            refuse(rules, RULE, f"too few {small.where}", small.people)


def _check_rest(rules: Preset, rest: AnswerTables, cohort: str) -> None:
    """A difference of two releases must pass as if it were released itself."""
    small = small_in(rest, limit=rules.minimum_cell)
    if small is not None:
        refuse_rest(rules, small.cell, small.people, cohort)

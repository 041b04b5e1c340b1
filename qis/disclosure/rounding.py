"""Rounded counts whose likelihood accounts for the rounding.

Rounded counts pooled as if exact give intervals that are too narrow where counts are small. Here
the table is rounded first, and the likelihood is then that of all tables that round to it. It is a
function of the rounded counts alone, so it reveals nothing that they do not.
"""

from typing import Final

import numpy as np

from qis._gate import checked
from qis.disclosure.coarse import Arm, CoarseOddsRatio
from qis.disclosure.envelope import Envelope
from qis.disclosure.presets import Preset
from qis.disclosure.refusal import refuse
from qis.errors import InputError
from qis.outcomes import Counts, LikelihoodProfile

_HIDDEN: Final = "minimum_cell"


@checked
def rounded_counts(counts: Counts, rules: Preset) -> LikelihoodProfile:
    """Log-likelihood of the log odds ratio, given all four counts as a preset rounds them.

    Zero stays zero; larger counts go to the nearest multiple.

    Parameters
    ----------
    counts
        Two arms, without person-time.
    rules
        A preset that rounds: "nhs".

    Returns
    -------
    LikelihoodProfile
        A profile of measure "OR". Its numbers of people and events are the rounded ones, and its
        `protection` says to what they were rounded.

    Raises
    ------
    DisclosureError
        If a cell, events or people without event, is above zero and below the preset's smallest.
    InputError
        If there is one arm only, person-time, or a preset that does not round.

    Examples
    --------
    >>> import qis
    >>> counts = qis.Counts(
    ...     question="a vs b | c", events=30, total=400, control_events=50, control_total=410
    ... )
    >>> from qis.disclosure import PRESETS, rounded_counts
    >>> rounded_counts(counts, PRESETS["nhs"]).measure
    'OR'

    """
    if rules.rounding < 2:
        raise InputError(f"the preset {rules.name} does not round counts", field="rules")
    if counts.control_events is None or counts.control_total is None:
        raise InputError("one arm has no odds ratio", field="control_events")
    if counts.person_time is not None:
        raise InputError("rounded rates have no likelihood here; send an Effect", field="counts")
    arms = (counts.events, counts.total), (counts.control_events, counts.control_total)
    for events, total in arms:
        for cell in (events, total - events):
            if 0 < cell < rules.minimum_cell:
                refuse(rules, _HIDDEN, "a cell of too few people", cell)
    base = rules.rounding
    shown = [(_rounded(events, base), _rounded(total, base)) for events, total in arms]
    likelihood = CoarseOddsRatio(*(_arm(events, total, rules) for events, total in shown))
    return LikelihoodProfile.from_evaluation(
        Envelope(likelihood),
        None,
        measure="OR",
        n=sum(total for _, total in shown),
        events=sum(events for events, _ in shown),
        protection=f"rounded to {base}",
        study_id=counts.study_id,
        question=counts.question,
        cohort=counts.cohort,
    )


def _rounded(number: int, base: int) -> int:
    return (number + base // 2) // base * base


def _arm(events: int, total: int, rules: Preset) -> Arm:
    """All pairs of true counts that would have been released as these, with equal weights."""
    base, least = rules.rounding, rules.minimum_cell
    near = np.arange(-(base // 2), base - base // 2)
    pairs = [
        (a, n)
        for a in ([0] if events == 0 else events + near)
        for n in total + near
        if 0 <= a <= n and all(not 0 < cell < least for cell in (a, n - a))
    ]
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Arm(table[:, 0], table[:, 1], np.zeros(len(table)), total)

"""A synthesis of outcomes that nobody has signed: for an analysis at hand, before any packet.

Nothing says who found them or when, so the result has no digest, cannot be compared with another
site's, and cannot be published. What cannot be pooled is refused instead of being left out: whoever
passes it holds it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from qis._given import several, shown
from qis.errors import IncompatibleEvidenceError, InputError
from qis.outcomes import Outcome, Study
from qis.synthesis.currency import Poolable, is_poolable, measure_of
from qis.synthesis.gathering import Gathered, SiteEvidence


def gather_outcomes(
    outcomes: Sequence[Outcome], study: Study | None, names: object, now: float | None
) -> Gathered:
    """Gather outcomes, each of one site unless `names` says that some are of one.

    Raises
    ------
    InputError
        If one cannot be pooled, the names are not one for each, or a name has two outcomes of one
        cohort.
    IncompatibleEvidenceError
        If they are of several studies, questions or measures, or not of the study given.

    """
    first = outcomes[0]
    expected = (first.study_id, first.question) if study is None else (study.id, study.question)
    measure = None if study is None else study.measure
    sites: dict[str, dict[str, Poolable]] = {}
    for name, outcome in zip(_names(names, len(outcomes)), outcomes, strict=True):
        if (outcome.study_id, outcome.question) != expected:
            raise IncompatibleEvidenceError(
                f"{name} answers {outcome.question!r}, this synthesis {expected[1]!r}"
                + (" of another study" if outcome.question == expected[1] else "")
                + "; they are never pooled",
                field="study",
                actual=outcome.study_id,
                limit=expected[0],
            )
        if not is_poolable(outcome):
            raise InputError(
                f"{name} is a {type(outcome).__name__}, which has no log-likelihood of one effect; "
                "other functions read it",
                field="packets",
                actual=type(outcome).__name__,
            )
        measure = measure or measure_of(outcome)
        if measure_of(outcome) != measure:
            raise IncompatibleEvidenceError(
                f"{name} is of {measure_of(outcome)}, this synthesis of {measure}; they are never "
                "pooled",
                field="measure",
                actual=measure_of(outcome),
                limit=measure,
            )
        cohorts = sites.setdefault(name, {})
        if outcome.cohort in cohorts:
            raise InputError(
                f"{name} comes twice with the cohort {outcome.cohort!r}: name another cohort, or "
                "give one of the two",
                field="names",
                actual=name,
            )
        cohorts[outcome.cohort] = outcome
    return Gathered(
        study_id=expected[0],
        question=expected[1],
        measure=measure,
        sites=tuple(
            SiteEvidence(name=name, packets=(), outcomes=tuple(found.values()))
            for name, found in sorted(sites.items())
        ),
        left_out=(),
        silent=(),
        enrolled=None,
        roster_digest=b"",
        now=0.0 if now is None else now,
        is_signed=False,
    )


def _names(names: Any, number: int) -> list[str]:
    if names is None:
        width = len(str(number))
        return [f"outcome {n:0{width}}" for n in range(1, number + 1)]
    if isinstance(names, Mapping):
        raise InputError(
            "outcomes have no issuer to look up: give names as a list, one for each outcome",
            field="names",
        )
    found = several(names, "names", "names, one for each outcome")
    if len(found) != number:
        raise InputError(
            f"{len(found)} names for {number} outcomes; give one for each",
            field="names",
            actual=len(found),
            limit=number,
        )
    for name in found:
        if type(name) is not str or not name or not name.isprintable():
            raise InputError(f"names holds {shown(name)}; a name is printable text", field="names")
    return found

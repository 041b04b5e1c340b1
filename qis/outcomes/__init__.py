"""Outcomes: what a site distils from its own data, in one of ten kinds."""

from typing import Any

from qis.errors import InputError
from qis.outcomes._base import Outcome
from qis.outcomes.effect import Effect
from qis.outcomes.measures import MEASURES, Measure, measure_named
from qis.outcomes.profile import LikelihoodProfile
from qis.outcomes.study import Study

__all__ = [
    "MEASURES",
    "Effect",
    "LikelihoodProfile",
    "Measure",
    "Outcome",
    "Study",
    "measure_named",
    "outcome_from_body",
]

_KINDS: dict[int, type[Outcome]] = {cls.kind: cls for cls in (Effect, LikelihoodProfile)}


def outcome_from_body(kind: int, body: Any) -> Outcome:
    """The outcome of that kind that a decoded body map stands for.

    Raises
    ------
    InputError
        If the kind is unknown or the body is no map.
    LookupError, ValueError, TypeError, struct.error
        If the body lacks an entry or holds a wrong one.

    """
    cls = _KINDS.get(kind)
    if cls is None:
        raise InputError(
            f"kind {kind} is unknown here; known are {sorted(_KINDS)}",
            field="kind",
            actual=kind,
            limit=tuple(sorted(_KINDS)),
        )
    if type(body) is not dict:
        raise InputError("the body is no map", field="body", actual=type(body).__name__)
    return cls.from_body(body)

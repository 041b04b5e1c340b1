"""Outcomes: what a site distils from its own data, in one of ten kinds."""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from qis._lazy import attach
from qis.errors import InputError as _InputError
from qis.outcomes._base import (
    Outcome as Outcome,
)
from qis.outcomes.effect import (
    Effect as Effect,
)
from qis.outcomes.measures import (
    MEASURES as MEASURES,
    Measure as Measure,
    measure_named as measure_named,
)
from qis.outcomes.moderators import (
    Moderator as Moderator,
)
from qis.outcomes.study import (
    Study as Study,
)

if TYPE_CHECKING:
    from qis.outcomes.anchor import (
        Anchor as Anchor,
    )
    from qis.outcomes.counts import (
        Counts as Counts,
    )
    from qis.outcomes.derived import (
        Derived as Derived,
    )
    from qis.outcomes.moments import (
        Moments as Moments,
    )
    from qis.outcomes.profile import (
        LikelihoodProfile as LikelihoodProfile,
    )
    from qis.outcomes.quadratic import (
        QuadraticLikelihood as QuadraticLikelihood,
    )
    from qis.outcomes.record import (
        Record as Record,
    )
    from qis.outcomes.retraction import (
        Retraction as Retraction,
    )
    from qis.outcomes.suppressed import (
        Suppressed as Suppressed,
    )
    from qis.outcomes.unknown import (
        UnknownOutcome as UnknownOutcome,
    )

# Kinds that compute need numpy, whose import takes longer than all else: on first use (PEP 562).
_KINDS = {
    1: ("qis.outcomes.effect", "Effect"),
    2: ("qis.outcomes.counts", "Counts"),
    3: ("qis.outcomes.moments", "Moments"),
    4: ("qis.outcomes.profile", "LikelihoodProfile"),
    5: ("qis.outcomes.quadratic", "QuadraticLikelihood"),
    6: ("qis.outcomes.record", "Record"),
    7: ("qis.outcomes.anchor", "Anchor"),
    8: ("qis.outcomes.derived", "Derived"),
    9: ("qis.outcomes.retraction", "Retraction"),
    10: ("qis.outcomes.suppressed", "Suppressed"),
}


@cache
def _class_of(kind: int) -> type[Outcome]:
    module, name = _KINDS[kind]
    cls: type[Outcome] = getattr(import_module(module), name)
    return cls


@cache
def _reader_of(kind: int) -> Callable[[Any], Outcome]:
    # Every packet passes here, with a map that the decoder made: what the gate of a public method
    # asks again cost as much as reading the body.
    cls = _class_of(kind)
    return partial(unwrap(cls.from_body.__func__), cls)  # type: ignore[attr-defined]


def outcome_from_body(kind: int, body: Any) -> Outcome:
    """Build the outcome of a kind from its decoded body map.

    Raises
    ------
    InputError
        If there can be no such kind, or the body is no map.
    LookupError, ValueError, TypeError, struct.error
        If the body lacks an entry or holds a wrong one.

    Examples
    --------
    >>> import qis
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> outcome_from_body(effect.kind, effect.body()) == effect
    True

    """
    if type(body) is not dict:
        raise _InputError("the body is no map", field="body", actual=type(body).__name__)
    if kind not in _KINDS:
        from qis.outcomes.unknown import UnknownOutcome  # noqa: PLC0415  for mixed networks only

        return UnknownOutcome.of_kind(kind, body)
    return _reader_of(kind)(body)


__all__, __dir__, __getattr__ = attach(
    globals(),
    {module: (name,) for module, name in _KINDS.values() if name != "Effect"}
    | {"qis.outcomes.unknown": ("UnknownOutcome",)},
)

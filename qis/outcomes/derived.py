"""The result of a synthesis, as an outcome of its own.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort):

=====  =============  ==========================================================================
key    content        meaning
=====  =============  ==========================================================================
3      uint           code of the measure
6      bstr(24)       estimate, standard error, tau², little-endian float64
7      array of uint  sites that went into it
8      uint           model: 0 fixed, 1 random
=====  =============  ==========================================================================

The leaves are in the packet's lineage, 12 bytes each; where there are fewer than sites, the
lineage is incomplete.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from qis.errors import InputError
from qis.outcomes._base import (
    KEY_COUNTS,
    KEY_DETAIL,
    KEY_MEASURE,
    KEY_REALS,
    Body,
    Outcome,
    check_real,
    common_fields,
    set_counts,
)
from qis.outcomes.measures import MEASURES, MEASURES_BY_CODE, measure_named
from qis.outcomes.study import Model, Study

_REALS = struct.Struct("<3d")
_MODELS: tuple[Model, ...] = ("fixed", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Outcome):
    """Estimate and standard error from a synthesis. It is not evidence unless explicitly asked for.

    Parameters
    ----------
    measure
        A name from `qis.outcomes.MEASURES`.
    model
        "fixed" or "random".
    estimate, standard_error
        On the natural log scale for ratio measures, else in the measure's units.
    tau2
        Variance between sites, not negative, in squared units of the estimate; 0 under the fixed
        model.
    sites
        Number of sites that it pools.

    Raises
    ------
    InputError
        If a number is not finite or outside the measure's bounds.

    Examples
    --------
    >>> import qis
    >>> qis.Derived(
    ...     question="a vs b | death", measure="OR", model="fixed", estimate=-0.3,
    ...     standard_error=0.1, sites=4,
    ... ).sites
    4

    """

    kind: ClassVar[int] = 8

    measure: str
    model: Model
    estimate: float
    standard_error: float
    tau2: float = 0.0
    sites: int

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        measure = measure_named(self.measure)
        model: Any = self.model
        if not isinstance(model, str) or model not in _MODELS:
            raise InputError(
                f"model is {self.model!r:.40}; it is 'fixed' or 'random'",
                field="model",
                actual=self.model,
                limit=_MODELS,
            )
        largest = measure.errors[1]
        for field, low, high in (
            ("estimate", *measure.bounds),
            ("standard_error", *measure.errors),
            ("tau2", 0.0, 0.0 if self.model == "fixed" else largest**2),
        ):
            object.__setattr__(self, field, check_real(getattr(self, field), field, low, high))
        set_counts(self, ("sites",), 1)

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        body[KEY_MEASURE] = MEASURES[self.measure].code
        body[KEY_REALS] = _REALS.pack(self.estimate, self.standard_error, self.tau2)
        body[KEY_COUNTS] = [self.sites]
        body[KEY_DETAIL] = _MODELS.index(self.model)
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        estimate, standard_error, tau2 = _REALS.unpack(body[KEY_REALS])
        return cls(
            **common_fields(body),
            measure=MEASURES_BY_CODE[body[KEY_MEASURE]].name,
            model=_MODELS[body[KEY_DETAIL]],
            estimate=estimate,
            standard_error=standard_error,
            tau2=tau2,
            sites=body[KEY_COUNTS][0],
        )

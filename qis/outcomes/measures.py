"""The effect measures that outcomes are stated in, with metafor's codes.

The wire code of a measure is fixed for ever; new measures get new codes.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from qis._gate import checked
from qis._given import shown
from qis.errors import InputError


@dataclass(frozen=True, slots=True)
class Measure:
    """An effect measure.

    Parameters
    ----------
    name
        metafor's code, or HR for hazard ratios.
    code
        The number on the wire, 1–255.
    label
        The name in words.
    is_ratio
        True if estimates travel as natural logarithms and are shown exponentiated.
    default_tau_scale
        Scale of the half-normal prior on the between-site standard deviation, in the measure's
        own units; `None` where it has units, so that the analyst must choose one.
    scale
        Of measures of one arm that travel transformed: ``"log"`` or ``"logit"``.
    bounds
        Domain of the parameter on the scale that it travels in. Without units it ends at ±50,
        with units at ±1e30: beyond that a number is a mistake or an attack, and pooling it with
        others would leave float64.
    errors
        Smallest and largest standard error, limited for the same reason.

    Examples
    --------
    >>> from qis.outcomes import MEASURES
    >>> MEASURES["OR"].label, MEASURES["OR"].is_ratio
    ('odds ratio', True)

    """

    name: str
    code: int
    label: str
    is_ratio: bool
    default_tau_scale: float | None
    scale: Literal["identity", "log", "logit"] = "identity"
    bounds: tuple[float, float] = (-50.0, 50.0)
    errors: tuple[float, float] = (1e-8, 1e4)

    @property
    def is_logarithmic(self) -> bool:
        """True if it travels as a natural logarithm."""
        return self.is_ratio or self.scale == "log"

    @property
    def has_null(self) -> bool:
        """True if 0 means no effect; a proportion, rate or mean of one arm has no such value."""
        return self.name not in ("PLO", "IRLN", "MN", "PR")

    @checked
    def back(self, value: float) -> float:
        """A value as people read it: ratio, rate, proportion in [0, 1], or as it is."""
        if self.is_logarithmic:
            # exp(700) is near the largest float64.
            return math.exp(value) if value < 700.0 else math.inf
        if self.scale == "logit":
            return 1.0 / (1.0 + math.exp(-value)) if value > -700.0 else 0.0
        return value


_UNITS: Final[dict[str, Any]] = {"bounds": (-1e30, 1e30), "errors": (1e-30, 1e30)}

_ALL: Final = (
    Measure("OR", 1, "odds ratio", is_ratio=True, default_tau_scale=0.5),
    Measure("RR", 2, "risk ratio", is_ratio=True, default_tau_scale=0.5),
    Measure("HR", 3, "hazard ratio", is_ratio=True, default_tau_scale=0.5),
    Measure("IRR", 4, "incidence rate ratio", is_ratio=True, default_tau_scale=0.5),
    Measure("ROM", 5, "ratio of means", is_ratio=True, default_tau_scale=0.5),
    Measure("PLO", 6, "proportion", is_ratio=False, default_tau_scale=1.0, scale="logit"),
    Measure("IRLN", 7, "incidence rate", is_ratio=False, default_tau_scale=1.0, scale="log"),
    Measure("SMD", 8, "standardised mean difference", is_ratio=False, default_tau_scale=0.5),
    Measure("MD", 9, "mean difference", is_ratio=False, default_tau_scale=None, **_UNITS),
    Measure("MN", 10, "mean", is_ratio=False, default_tau_scale=None, **_UNITS),
    Measure(
        "RD", 11, "risk difference", is_ratio=False, default_tau_scale=None, bounds=(-1.0, 1.0)
    ),
    Measure("PR", 12, "proportion", is_ratio=False, default_tau_scale=None, bounds=(0.0, 1.0)),
    Measure(
        "IRD",
        13,
        "incidence rate difference",
        is_ratio=False,
        default_tau_scale=None,
        **_UNITS,
    ),
    Measure("COR", 14, "correlation", is_ratio=False, default_tau_scale=None, bounds=(-1.0, 1.0)),
    Measure("ZCOR", 15, "Fisher's z of a correlation", is_ratio=False, default_tau_scale=None),
)

MEASURES: Final = {measure.name: measure for measure in _ALL}
"""Every effect measure, by its name."""
MEASURES_BY_CODE: Final = {measure.code: measure for measure in _ALL}


def measure_named(measure: Any) -> Measure:
    """Return the measure of that name.

    Raises
    ------
    InputError
        If there is none, or `measure` is no string; the message lists the names.

    Examples
    --------
    >>> from qis.outcomes import measure_named
    >>> measure_named("HR").label
    'hazard ratio'

    """
    found = MEASURES.get(measure) if isinstance(measure, str) else None
    if found is None:
        raise InputError(
            f"measure is {shown(measure)}, none that is known; there are {', '.join(MEASURES)}",
            field="measure",
            actual=measure,
            limit=tuple(MEASURES),
        )
    return found

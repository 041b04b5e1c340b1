"""The study: what exactly is estimated and how it is analysed, agreed before any outcome exists.

A line of text is no estimand: another spelling splits the evidence, reversed coding or other units
pool wrongly. A study's id is a hash of everything that it fixes, so that only outcomes of the same
estimand and the same analysis ever pool.
"""

import math
import tomllib
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

from blake3 import blake3

from qis._canonical import encode_sorted
from qis.errors import InputError
from qis.outcomes._text import normal_text
from qis.outcomes.measures import measure_named

QUESTION_SIZE = 48
"""Most bytes of UTF-8 in a question."""
COHORT_SIZE = 24
"""Most bytes of UTF-8 in a cohort's name."""
STUDY_ID_SIZE = 8
_TEXT_SIZE = 1000

Model = Literal["fixed", "random"]


@dataclass(frozen=True, kw_only=True)
class Study:
    """An estimand and its analysis. Sites that declare the same study get the same id.

    Parameters
    ----------
    question
        For people, arms in order: ``"interferon gamma vs placebo | first infection"``; at most
        48 bytes of UTF-8.
    measure
        A name from `qis.outcomes.MEASURES`, such as ``"HR"``; `None`: not fixed.
    model
        ``"fixed"`` (one common effect) or ``"random"``; `None`: not fixed, so each synthesis says.
    population, intervention, comparator, endpoint, time_frame, arm_coding, units
        The estimand, in words (at most 1,000 bytes each).
    adjustment
        Names of the covariates adjusted for; empty means crude.
    ties
        How tied event times are handled: ``"efron"``, ``"breslow"`` or ``"exact"``.
    tau_scale
        Scale of the half-normal prior on the between-site standard deviation, in the measure's
        units (log scale for ratios).
    mean_scale
        Standard deviation of the normal prior on the mean effect; `None`: flat.
    scheme
        Id of the fingerprint scheme, 16 hexadecimal digits.
    baseline_features
        Names of the features that the fingerprint is made of, in order.
    min_similarity
        Similarity from which an outcome is relevant, in [0, 1].
    valid_from, valid_until, embargo_until
        Unix seconds. Outcomes count from, until; syntheses of arms are hidden until.
    analysis_version
        Changes when the analysis changes.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range.

    """

    question: str
    measure: str | None = None
    model: Model | None = None
    population: str = ""
    intervention: str = ""
    comparator: str = ""
    endpoint: str = ""
    time_frame: str = ""
    arm_coding: str = ""
    units: str = ""
    adjustment: tuple[str, ...] = ()
    ties: str = ""
    tau_scale: float | None = None
    mean_scale: float | None = None
    scheme: str = ""
    baseline_features: tuple[str, ...] = ()
    min_similarity: float | None = None
    valid_from: int | None = None
    valid_until: int | None = None
    embargo_until: int | None = None
    analysis_version: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, _checked(field.name, value))
        if not self.question:
            raise InputError("a study needs a question", field="question")
        if self.valid_from is not None and self.valid_until is not None:  # noqa: SIM102
            if self.valid_from >= self.valid_until:
                raise InputError(
                    f"valid_until ({self.valid_until}) is not after valid_from ({self.valid_from})",
                    field="valid_until",
                    actual=self.valid_until,
                    limit=self.valid_from,
                )

    @cached_property
    def id(self) -> bytes:
        """First 8 bytes of BLAKE3 over the deterministic CBOR of all fields that are set."""
        said = {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) not in (None, "", ())
        }
        return blake3(encode_sorted(said)).digest(STUDY_ID_SIZE)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a study from a TOML file whose keys are the fields of this class.

        Raises
        ------
        InputError
            If the file is not TOML, or a key is unknown or has a wrong value.
        OSError
            If the file cannot be read.

        """
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not a TOML file: {error}", field="path") from error
        known = [field.name for field in fields(cls)]
        for key in table:
            if key not in known:
                raise InputError(
                    f"{path}: unknown key {key!r}; a study has {', '.join(known)}",
                    field=key,
                    limit=tuple(known),
                )
        if "question" not in table:
            raise InputError(f"{path}: a study needs a question", field="question")
        arguments: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
        }
        return cls(**arguments)


_CHOICES = {"model": ("fixed", "random"), "ties": ("", "efron", "breslow", "exact")}
_POSITIVE = ("tau_scale", "mean_scale")
_TIMES = ("valid_from", "valid_until", "embargo_until")


def _checked(name: str, value: Any) -> Any:  # noqa: PLR0911  one return a kind of field
    if value is None and name != "question":
        return None
    if name == "question":
        return normal_text(value, name, QUESTION_SIZE)
    if name == "measure":
        return measure_named(value).name
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise InputError(
                f"{name} is {value!r:.60}; it is one of {', '.join(_CHOICES[name])}",
                field=name,
                actual=value,
                limit=_CHOICES[name],
            )
        return value
    if name in _TIMES:
        return _in_range(name, value, int, 0, 2**32 - 1)
    if name == "min_similarity":
        return float(_in_range(name, value, (int, float), 0.0, 1.0))
    if name in _POSITIVE:
        return float(_in_range(name, value, (int, float), math.ulp(0.0), 1e6))
    if isinstance(value, (tuple, list)) and name in ("adjustment", "baseline_features"):
        return tuple(normal_text(item, name, _TEXT_SIZE) for item in value)
    return normal_text(value, name, _TEXT_SIZE)


def _in_range(name: str, value: Any, kind: Any, low: float, high: float) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(
            f"{name} is {value!r:.60}; it must be a number from {low} to {high}",
            field=name,
            actual=value,
            limit=(low, high),
        )
    return value
